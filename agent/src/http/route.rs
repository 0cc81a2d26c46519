//! The one table of routes: what there is, who may ask, how large a body may be, where a call is answered, and what a client must
//! know. Dispatch, 404, 405, OPTIONS and `/v1/openapi.json` come from it, and so will access control.

mod find;
mod pattern;

pub use find::{Found, body, find};
pub use pattern::Pattern;

use super::Handler;
use super::agent::health::Fare;
use super::agent::identity::{Identity, Version};
use super::call::Method;
use super::openapi::body as b;
use super::openapi::param as p;
use super::openapi::param::Param;
use super::openapi::{self, ARCHIVE, BYTES, Content, Doc, EVENTS, Other, PEM, TEXT, json, list, one, shape, words};
use super::wire::{
    AgentService, CatalogService, HealthEntry, Leaf, Listed, Metrics, NodeList, NodeMap, Overview, Topology, WireCheck,
    WireConfiguration, WireDump, WireEvent, WireExecuted, WireExplained, WireId, WireMember, WireNode, WirePlace,
    WireQuery, WireRoots, WireSequencer, WireSession, WireTxn,
};
use super::{
    acl as lists, agent, autopilot, catalog, connect, coordinate, event, health, kv, lock, operator, prepared, session,
    snapshot, status, txn, ui, usage, watch,
};
use crate::gossip::EVENT_MAX;
use crate::server::role::recovery::Prospect;
use crate::view::Facts;
use serde_json::Value;
use std::collections::BTreeMap;

/// One method of one endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    pub method: Method,
    pub pattern: Pattern,
    pub permission: Permission,
    pub body: Body,
    pub place: Place,
    pub handler: Handler,
    pub doc: Doc,
}

/// Where a call is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// By the agent that was asked; never forwarded.
    Agent,
    /// By a server; forwarded to one if need be.
    Catalog,
}

/// What a token must allow. The name that it speaks of is in the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Everybody may.
    Open,
    /// Rows are filtered, nothing is refused.
    Filtered,
    Read(Resource),
    Write(Resource),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    Agent,
    Node,
    Service,
    Key,
    Query,
    Session,
    Operator,
    Event,
    Acl,
}

/// What body a call may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Not looked at, and not refused either: clients send `{}` where nothing is asked for.
    None,
    /// A JSON document.
    Json,
    /// A key's value (`limits.kv_max_value_size`).
    KvValue,
    /// What an event carries.
    Payload,
    /// The operations of a transaction (`limits.txn_max_req_len`).
    Transaction,
    /// Read as it comes ([`ARCHIVE_MAX`](crate::archive::ARCHIVE_MAX)), and never part of the call.
    Streamed,
}

/// Bytes of a JSON document. The largest sensible one is a node with all its checks.
const JSON_MAX: usize = 2 << 20;

impl Body {
    /// How many bytes are read at most; more is [`super::answer::too_large`].
    #[must_use]
    pub const fn max(self, facts: &Facts) -> usize {
        match self {
            Self::Streamed => 0,
            Self::None | Self::Json => JSON_MAX,
            Self::KvValue => facts.kv_value_max,
            Self::Payload => EVENT_MAX,
            Self::Transaction => facts.txn_max,
        }
    }
}

/// A route that says nothing of itself yet: [`Entry::says`] makes it whole.
struct Entry {
    method: Method,
    pattern: &'static str,
    permission: Permission,
    body: Body,
    place: Place,
    handler: Handler,
}

impl Entry {
    /// What it is for, what it takes, and what its answer is.
    const fn says(
        self,
        summary: &'static str,
        params: &'static [&'static [Param]],
        answers: &'static [Content],
    ) -> Route {
        let Self { method, pattern, permission, body, place, handler } = self;
        let doc = Doc { summary, params, body: None, body_required: false, answers, others: &[] };
        Route { method, pattern: Pattern::new(pattern), permission, body, place, handler, doc }
    }
}

impl Route {
    /// What the body of a request is.
    const fn reads(self, body: Content) -> Self {
        Self { doc: Doc { body: Some(body), body_required: true, ..self.doc }, ..self }
    }

    /// What the body of a request is, if there is one.
    const fn may_read(self, body: Content) -> Self {
        Self { doc: Doc { body: Some(body), ..self.doc }, ..self }
    }

    /// Which other statuses there are.
    const fn or(self, others: &'static [Other]) -> Self {
        Self { doc: Doc { others, ..self.doc }, ..self }
    }
}

const fn get(pattern: &'static str, permission: Permission, place: Place, handler: Handler) -> Entry {
    Entry { method: Method::Get, pattern, permission, body: Body::None, place, handler }
}

/// A PUT to the agent that was asked.
const fn put(pattern: &'static str, permission: Permission, body: Body, handler: Handler) -> Entry {
    Entry { method: Method::Put, pattern, permission, body, place: Agent, handler }
}

const fn change(method: Method, pattern: &'static str, permission: Permission, body: Body, handler: Handler) -> Entry {
    Entry { method, pattern, permission, body, place: Catalog, handler }
}

const DISABLED: &[Other] = &[words(401, "Always, until there is.")];

/// What would be about access control lists. Any agent can say that there are none.
const fn acl(method: Method, pattern: &'static str) -> Route {
    let entry = Entry { method, pattern, permission: Open, body: Body::None, place: Agent, handler: lists::disabled };
    entry.says("Says that there is no access control", &[], &[]).or(DISABLED)
}

use Permission::{Filtered, Open, Read, Write};
use Place::{Agent, Catalog};
use Resource as R;

/// What is answered to most writes.
const TRUE: &[Content] = one::<bool>();
const NONE: &[Content] = list::<()>();
const ABSENT: Other = words(404, "There is none.");
/// What a command refuses that makes no sense against the state, or in itself: Consul says 500, and clients expect it.
const SENSELESS: Other = words(500, "It makes no sense, or not in this state of the catalog; the text says why.");
const UNWELL: &[Other] = &[
    shape::<Fare<'_>>(429, "A check warns."),
    shape::<Fare<'_>>(503, "A check is critical, or the service is in maintenance."),
    shape::<Fare<'_>>(404, "There is none."),
];
const UNWELL_SEVERAL: &[Other] = &[
    shape::<Vec<Fare<'_>>>(429, "A check warns."),
    shape::<Vec<Fare<'_>>>(503, "A check is critical, or a service is in maintenance."),
    shape::<Vec<Fare<'_>>>(404, "There is none."),
];
const UNRUNNABLE: Other = words(500, "Scripts are disabled, or the definition cannot be kept.");
const TTL: &[Other] = &[ABSENT, words(500, "It is no TTL check.")];
const STALE_SEQUENCER: Other = words(409, "The lock of the sequencer is no longer held; the text names the holder.");

const UNDONE: Other = Other {
    status: 409,
    text: "Nothing was done: what failed, or in words that the lock of the sequencer is no longer held.",
    answers: &[json::<WireTxn<'_>>(), TEXT],
};

/// Every endpoint. Methods of one pattern stand together, in the order in which `Allow` names them.
pub static ROUTES: &[Route] = &[
    get("/v1/openapi.json", Open, Agent, openapi::serve).says("This document", &[], one::<BTreeMap<String, Value>>()),
    get("/v1/health/service/{service}", Read(R::Service), Catalog, health::service).says(
        "The instances of a service, each with its node and its checks",
        &[p::READ, p::FILTER, p::NEAR, p::META, p::TAG, p::PASSING],
        list::<HealthEntry<'_>>(),
    ),
    get("/v1/health/connect/{service}", Read(R::Service), Catalog, health::native).says(
        "The instances of a service that are in a mesh without a proxy, each with its node and its checks",
        &[p::READ, p::FILTER, p::NEAR, p::META, p::TAG, p::PASSING],
        list::<HealthEntry<'_>>(),
    ),
    get("/v1/health/node/{node}", Filtered, Catalog, health::node).says(
        "The checks of a node and of all that is on it",
        &[p::READ, p::FILTER, p::NEAR],
        list::<WireCheck<'_>>(),
    ),
    get("/v1/health/checks/{service}", Filtered, Catalog, health::checks).says(
        "The checks of a service",
        &[p::READ, p::FILTER, p::NEAR, p::META],
        list::<WireCheck<'_>>(),
    ),
    get("/v1/health/state/{state}", Filtered, Catalog, health::state).says(
        "The checks in a state",
        &[p::READ, p::FILTER, p::NEAR, p::META],
        list::<WireCheck<'_>>(),
    ),
    get("/v1/kv/{key}", Read(R::Key), Catalog, kv::get)
        .says("A key, or all that begin with it", &[p::READ, p::KEYS], &[json::<b::Keys<'_>>(), TEXT])
        .or(&[ABSENT]),
    change(Method::Put, "/v1/kv/{key}", Write(R::Key), Body::KvValue, kv::put)
        .says(
            "Writes a key, takes its lock or gives it back; `false` when a condition is not met",
            &[p::KEY_PUT],
            one::<b::Written>(),
        )
        .may_read(BYTES)
        .or(&[STALE_SEQUENCER, SENSELESS]),
    change(Method::Delete, "/v1/kv/{key}", Write(R::Key), Body::None, kv::delete)
        .says("Deletes a key, or all that begin with it", &[p::KEY_DELETE], TRUE)
        .or(&[STALE_SEQUENCER]),
    get("/v1/lock/sequencer/{key}", Read(R::Key), Catalog, lock::sequencer)
        .says(
            "Who holds the lock on a key, to show to whoever is written to; an addition to Consul's API",
            &[p::READ],
            one::<WireSequencer<'_>>(),
        )
        .or(&[ABSENT]),
    change(Method::Put, "/v1/session/create", Write(R::Session), Body::Json, session::create)
        .says("Creates a session, by which locks are held", &[p::HERE], one::<WireId>())
        .may_read(json::<b::SessionRequest>())
        .or(&[SENSELESS]),
    change(Method::Put, "/v1/session/destroy/{session}", Write(R::Session), Body::None, session::destroy).says(
        "Ends a session; one that is unknown counts as ended",
        &[p::HERE],
        TRUE,
    ),
    change(Method::Put, "/v1/session/renew/{session}", Write(R::Session), Body::None, session::renew)
        .says("Lets a session live on for its time", &[p::HERE], list::<WireSession<'_>>())
        .or(&[ABSENT]),
    get("/v1/session/info/{session}", Filtered, Catalog, session::info).says(
        "A session, in a list that is empty when there is none",
        &[p::READ],
        list::<WireSession<'_>>(),
    ),
    get("/v1/session/node/{node}", Filtered, Catalog, session::of_node).says(
        "The sessions of a node",
        &[p::READ],
        list::<WireSession<'_>>(),
    ),
    get("/v1/session/list", Filtered, Catalog, session::list).says(
        "All sessions",
        &[p::READ],
        list::<WireSession<'_>>(),
    ),
    change(Method::Post, "/v1/query", Write(R::Query), Body::Json, prepared::create)
        .says("Creates a prepared query", &[p::HERE], one::<WireId>())
        .reads(json::<b::QueryDefinition>())
        .or(&[SENSELESS]),
    get("/v1/query", Filtered, Catalog, prepared::list).says(
        "All prepared queries",
        &[p::READ],
        list::<WireQuery<'_>>(),
    ),
    get("/v1/query/{query}", Filtered, Catalog, prepared::get)
        .says("A prepared query, in a list", &[p::READ], list::<WireQuery<'_>>())
        .or(&[ABSENT]),
    change(Method::Put, "/v1/query/{query}", Write(R::Query), Body::Json, prepared::update)
        .says("Replaces a prepared query", &[p::HERE], &[])
        .reads(json::<b::QueryDefinition>())
        .or(&[SENSELESS]),
    change(Method::Delete, "/v1/query/{query}", Write(R::Query), Body::None, prepared::delete)
        .says("Deletes a prepared query", &[p::HERE], &[])
        .or(&[SENSELESS]),
    get("/v1/query/{id}/execute", Filtered, Catalog, prepared::execute)
        .says(
            "Carries out a prepared query, known by its id or name",
            &[p::FRESH, p::NEAR, p::EXECUTE],
            one::<WireExecuted<'_>>(),
        )
        .or(&[ABSENT]),
    get("/v1/query/{id}/explain", Filtered, Catalog, prepared::explain)
        .says(
            "The query that this id or name would carry out, its template filled in",
            &[p::FRESH],
            one::<WireExplained<'_>>(),
        )
        .or(&[ABSENT]),
    change(Method::Put, "/v1/txn", Filtered, Body::Transaction, txn::put)
        .says("Several operations, all or none", &[p::FRESH, p::FENCE], one::<WireTxn<'_>>())
        .reads(json::<Vec<b::Operation>>())
        .or(&[UNDONE]),
    get("/v1/catalog/datacenters", Open, Catalog, catalog::datacenters).says(
        "The datacenters that are known",
        &[],
        list::<String>(),
    ),
    get("/v1/catalog/nodes", Filtered, Catalog, catalog::nodes).says(
        "All nodes",
        &[p::READ, p::FILTER, p::NEAR, p::META],
        list::<WireNode<'_>>(),
    ),
    get("/v1/catalog/node/{node}", Filtered, Catalog, catalog::node).says(
        "A node and its services by id; `null` when there is none",
        &[p::READ, p::FILTER],
        one::<Option<NodeMap<'_>>>(),
    ),
    get("/v1/catalog/node-services/{node}", Filtered, Catalog, catalog::node_services).says(
        "A node and its services in a list",
        &[p::READ, p::FILTER],
        one::<NodeList<'_>>(),
    ),
    get("/v1/catalog/services", Filtered, Catalog, catalog::services).says(
        "The names of all services, with all tags of their instances",
        &[p::READ, p::FILTER, p::META],
        one::<BTreeMap<String, Vec<String>>>(),
    ),
    get("/v1/catalog/service/{service}", Read(R::Service), Catalog, catalog::service).says(
        "The instances of a service, each with its node",
        &[p::READ, p::FILTER, p::NEAR, p::META, p::TAG],
        list::<CatalogService<'_>>(),
    ),
    get("/v1/catalog/connect/{service}", Read(R::Service), Catalog, catalog::native).says(
        "The instances of a service that are in a mesh without a proxy, each with its node",
        &[p::READ, p::FILTER, p::NEAR, p::META, p::TAG],
        list::<CatalogService<'_>>(),
    ),
    change(Method::Put, "/v1/catalog/register", Write(R::Node), Body::Json, catalog::register)
        .says("Registers a node, a service on it and checks", &[p::HERE], TRUE)
        .reads(json::<b::Registration>())
        .or(&[SENSELESS]),
    change(Method::Put, "/v1/catalog/deregister", Write(R::Node), Body::Json, catalog::deregister)
        .says("Takes a service, a check or a whole node out of the catalog", &[p::HERE], TRUE)
        .reads(json::<b::Deregistration>())
        .or(&[SENSELESS]),
    get("/v1/connect/ca/roots", Open, Catalog, connect::roots).says(
        "The root that signs certificates of services",
        &[p::READ, p::PEM],
        &[json::<WireRoots>(), PEM],
    ),
    get("/v1/connect/ca/configuration", Read(R::Operator), Catalog, connect::configuration).says(
        "How long certificates live",
        &[p::READ],
        one::<WireConfiguration>(),
    ),
    change(Method::Put, "/v1/connect/ca/configuration", Write(R::Operator), Body::Json, connect::set_configuration)
        .says("Says how long certificates live; the root stays what it is", &[p::HERE], &[])
        .reads(json::<b::CertificateSettings>())
        .or(&[SENSELESS]),
    change(Method::Put, "/v1/internal/connect/sign", Write(R::Service), Body::Json, connect::sign)
        .says("Signs for a service, on behalf of an agent", &[], one::<Leaf>())
        .reads(json::<b::SigningRequest>()),
    get("/v1/internal/ui/nodes", Filtered, Catalog, ui::nodes).says(
        "All nodes, each with all that is on it",
        &[p::READ, p::FILTER],
        list::<WireDump<'_>>(),
    ),
    get("/v1/internal/ui/node/{node}", Filtered, Catalog, ui::node)
        .says("A node with all that is on it", &[p::READ], one::<WireDump<'_>>())
        .or(&[ABSENT]),
    get("/v1/internal/ui/services", Filtered, Catalog, ui::services).says(
        "What the instances of each service add up to",
        &[p::READ, p::FILTER],
        list::<Listed<'_>>(),
    ),
    get("/v1/internal/ui/catalog-overview", Filtered, Catalog, ui::overview).says(
        "How many nodes, instances and checks are in which state",
        &[p::READ],
        one::<Overview<'_>>(),
    ),
    get("/v1/internal/ui/service-topology/{service}", Read(R::Service), Catalog, ui::topology).says(
        "Which services one is a client of, and which are clients of it",
        &[p::READ, p::KIND],
        one::<Topology<'_>>(),
    ),
    get("/v1/internal/ui/gateway-services-nodes/{service}", Read(R::Service), Catalog, ui::of_gateway).says(
        "The services behind a gateway: none",
        &[p::READ],
        NONE,
    ),
    get("/v1/internal/ui/gateway-intentions/{service}", Read(R::Service), Catalog, ui::of_gateway).says(
        "The intentions about the services behind a gateway: none",
        &[p::READ],
        NONE,
    ),
    get("/v1/internal/ui/exported-services", Filtered, Catalog, ui::exported).says(
        "The services that other clusters may see: none",
        &[p::READ],
        NONE,
    ),
    get("/v1/internal/ui/metrics-proxy/{name}", Filtered, Agent, ui::metrics_proxy)
        .says("Would ask a metrics server; there is none", &[], &[])
        .or(&[ABSENT]),
    get("/v1/coordinate/datacenters", Open, Catalog, coordinate::datacenters).says(
        "Where the servers are among each other",
        &[],
        list::<coordinate::Datacenter<'_>>(),
    ),
    get("/v1/coordinate/nodes", Filtered, Catalog, coordinate::nodes).says(
        "Where all nodes are",
        &[p::READ, p::SEGMENT],
        list::<WirePlace<'_>>(),
    ),
    get("/v1/coordinate/node/{node}", Filtered, Catalog, coordinate::node)
        .says("Where a node is", &[p::READ, p::SEGMENT], list::<WirePlace<'_>>())
        .or(&[ABSENT]),
    change(Method::Put, "/v1/coordinate/update", Write(R::Node), Body::Json, coordinate::update)
        .says("Says where a node is", &[p::HERE], &[])
        .reads(json::<b::CoordinateUpdate>())
        .or(&[SENSELESS]),
    put("/v1/event/fire/{name}", Write(R::Event), Body::Payload, event::fire)
        .says("Fires a user event; the body is what it carries", &[p::EVENT], one::<WireEvent<'_>>())
        .may_read(BYTES),
    get("/v1/event/list", Filtered, Agent, event::list).says(
        "The events that this agent has heard, the oldest first",
        &[p::EVENTS, p::BLOCK],
        list::<WireEvent<'_>>(),
    ),
    get("/v1/watch", Filtered, Agent, watch::stream).says(
        "One stream for many watches, which refuses parameters that it does not know; an addition to Consul's API",
        &[p::WATCH, p::FILTER, p::NEAR, p::META, p::TAG, p::PASSING],
        &[EVENTS],
    ),
    get("/v1/snapshot", Write(R::Acl), Agent, snapshot::save).says(
        "The whole catalog as an archive",
        &[p::BACKUP],
        &[ARCHIVE],
    ),
    put("/v1/snapshot", Write(R::Acl), Body::Streamed, snapshot::restore)
        .says("Puts an archive in the place of the catalog", &[p::BACKUP], &[])
        .reads(ARCHIVE)
        .or(&[words(500, "The archive is damaged, or no archive; nothing was changed.")]),
    get("/v1/status/leader", Open, Catalog, status::leader).says(
        "The address of the leader; empty when there is none",
        &[p::HERE],
        one::<String>(),
    ),
    get("/v1/status/peers", Open, Catalog, status::peers).says(
        "The addresses of all servers",
        &[p::HERE],
        list::<String>(),
    ),
    get("/v1/operator/raft/configuration", Read(R::Operator), Catalog, operator::raft_configuration).says(
        "The servers that have agreed to be the cluster",
        &[p::ANYONE],
        one::<operator::Configuration<'_>>(),
    ),
    change(Method::Delete, "/v1/operator/raft/peer", Write(R::Operator), Body::None, operator::remove_peer)
        .says("Takes a server off the cluster", &[p::PEER], &[])
        .or(&[words(500, "There is no such server, or it cannot be removed.")]),
    change(
        Method::Post,
        "/v1/operator/raft/transfer-leader",
        Write(R::Operator),
        Body::None,
        operator::transfer_leader,
    )
    .says("Hands leadership to another server", &[p::SUCCESSOR], one::<b::Success>())
    .or(&[words(500, "Nobody can take it.")]),
    change(Method::Put, "/v1/operator/raft/transfer-leader", Write(R::Operator), Body::None, operator::transfer_leader)
        .says("Hands leadership to another server", &[p::SUCCESSOR], one::<b::Success>())
        .or(&[words(500, "Nobody can take it.")]),
    get("/v1/operator/autopilot/configuration", Read(R::Operator), Catalog, autopilot::configuration).says(
        "How the leader tends the servers",
        &[p::ANYONE],
        one::<autopilot::Configuration<'_>>(),
    ),
    change(
        Method::Put,
        "/v1/operator/autopilot/configuration",
        Write(R::Operator),
        Body::Json,
        autopilot::set_configuration,
    )
    .says("Says how the leader is to tend the servers", &[p::SETTINGS], TRUE)
    .reads(json::<b::AutopilotSettings>()),
    get("/v1/operator/autopilot/health", Read(R::Operator), Catalog, autopilot::health)
        .says("How well each server is", &[p::HERE], one::<autopilot::HealthReport<'_>>())
        .or(&[shape::<autopilot::HealthReport<'_>>(429, "Some are not.")]),
    get("/v1/operator/autopilot/state", Read(R::Operator), Catalog, autopilot::state).says(
        "All that the leader knows of the servers",
        &[p::HERE],
        one::<autopilot::StateReport<'_>>(),
    ),
    get("/v1/operator/usage", Read(R::Operator), Catalog, usage::usage).says(
        "How much of everything the catalog holds",
        &[p::ANYONE, p::GLOBAL],
        one::<usage::Report<'_>>(),
    ),
    get("/v1/operator/raft/recover", Read(R::Operator), Agent, operator::recover)
        .says(
            "What recovering from the loss of most servers would do here; an addition to Consul's API",
            &[],
            one::<Prospect>(),
        )
        .or(&[words(409, "There is nothing to recover, or not here.")]),
    put("/v1/operator/raft/recover", Write(R::Operator), Body::None, operator::recover)
        .says("Recovers from the loss of most servers", &[p::CONFIRM], one::<Prospect>())
        .or(&[words(409, "There is nothing to recover, or not here, or not so.")]),
    get("/v1/agent/self", Read(R::Agent), Agent, agent::identity::show).says(
        "Who this agent is and what it runs with",
        &[],
        one::<Identity<'_>>(),
    ),
    get("/v1/agent/version", Open, Agent, agent::identity::version).says(
        "Which release this agent is",
        &[],
        one::<Version>(),
    ),
    get("/v1/agent/metrics", Read(R::Agent), Agent, agent::insight::metrics)
        .says("The figures of the last ten seconds", &[p::METRICS], &[json::<Metrics<'_>>(), TEXT])
        .or(&[words(415, "Prometheus' form is off.")]),
    get("/v1/agent/metrics/stream", Read(R::Agent), Agent, agent::insight::figures).says(
        "The figures of each ten seconds as they end, JSON objects one after the other",
        &[],
        &[TEXT],
    ),
    get("/v1/agent/monitor", Read(R::Agent), Agent, agent::insight::monitor).says(
        "This agent's log from now on, as a stream of lines",
        &[p::LOG],
        &[TEXT],
    ),
    get("/v1/agent/host", Read(R::Operator), Agent, agent::insight::host).says(
        "The machine that this agent runs on",
        &[],
        one::<BTreeMap<String, Value>>(),
    ),
    get("/v1/agent/members", Filtered, Agent, agent::members::list).says(
        "The members that this agent knows",
        &[p::WAN, p::FILTER],
        list::<WireMember<'_>>(),
    ),
    put("/v1/agent/join/{address}", Write(R::Agent), Body::None, agent::members::join)
        .says("Joins a member", &[p::WAN], &[])
        .or(&[words(500, "It does not answer, or refuses.")]),
    put("/v1/agent/leave", Write(R::Agent), Body::None, agent::members::leave).says(
        "Leaves, and ends the agent",
        &[],
        &[],
    ),
    put("/v1/agent/force-leave/{node}", Write(R::Operator), Body::None, agent::members::force_leave)
        .says("Counts a failed member as left", &[p::SEND_AWAY], &[])
        .or(&[words(500, "No member has this name.")]),
    put("/v1/agent/maintenance", Write(R::Node), Body::None, agent::maintenance::node).says(
        "Takes this node out of service, or back",
        &[p::MAINTENANCE],
        &[],
    ),
    get("/v1/agent/services", Filtered, Agent, agent::services::list).says(
        "This agent's services by id",
        &[p::FILTER],
        one::<BTreeMap<String, AgentService<'_>>>(),
    ),
    get("/v1/agent/service/{id}", Read(R::Service), Agent, agent::services::show)
        .says("A service of this agent", &[p::HASH], one::<AgentService<'_>>())
        .or(&[ABSENT]),
    put("/v1/agent/service/register", Write(R::Service), Body::Json, agent::services::register)
        .says("Registers a service of this agent, with its checks", &[p::REGISTER], &[])
        .reads(json::<b::ServiceDefinition>())
        .or(&[UNRUNNABLE]),
    put("/v1/agent/service/deregister/{id}", Write(R::Service), Body::None, agent::services::deregister)
        .says("Removes a service of this agent", &[], &[])
        .or(&[ABSENT]),
    put("/v1/agent/service/maintenance/{id}", Write(R::Service), Body::None, agent::maintenance::service)
        .says("Takes a service of this agent out of service, or back", &[p::MAINTENANCE], &[])
        .or(&[ABSENT]),
    get("/v1/agent/checks", Filtered, Agent, agent::checks::list).says(
        "This agent's checks by id",
        &[p::FILTER],
        one::<BTreeMap<String, WireCheck<'_>>>(),
    ),
    put("/v1/agent/check/register", Write(R::Service), Body::Json, agent::checks::register)
        .says("Registers a check of this agent", &[], &[])
        .reads(json::<b::CheckDefinition>())
        .or(&[words(404, "There is no such service."), UNRUNNABLE]),
    put("/v1/agent/check/deregister/{check}", Write(R::Service), Body::None, agent::checks::deregister)
        .says("Removes a check of this agent", &[], &[])
        .or(&[ABSENT]),
    put("/v1/agent/check/pass/{check}", Write(R::Service), Body::None, agent::checks::pass)
        .says("Says that a TTL check passes", &[p::NOTE], &[])
        .or(TTL),
    put("/v1/agent/check/warn/{check}", Write(R::Service), Body::None, agent::checks::warn)
        .says("Says that a TTL check warns", &[p::NOTE], &[])
        .or(TTL),
    put("/v1/agent/check/fail/{check}", Write(R::Service), Body::None, agent::checks::fail)
        .says("Says that a TTL check is critical", &[p::NOTE], &[])
        .or(TTL),
    put("/v1/agent/check/update/{check}", Write(R::Service), Body::Json, agent::checks::update)
        .says("Says how a TTL check fares", &[], &[])
        .reads(json::<b::CheckUpdate>())
        .or(TTL),
    get("/v1/agent/connect/ca/roots", Open, Catalog, connect::roots).says(
        "The root that signs certificates of services",
        &[p::READ, p::PEM],
        &[json::<WireRoots>(), PEM],
    ),
    get("/v1/agent/connect/ca/leaf/{service}", Write(R::Service), Agent, connect::leaf).says(
        "A certificate of a service and its key, which this agent keeps",
        &[p::HERE, p::BLOCK],
        one::<Leaf>(),
    ),
    Route {
        method: Method::Post,
        ..put("/v1/agent/connect/authorize", Write(R::Service), Body::Json, connect::authorize)
            .says("Whether a client may connect to a service", &[], one::<connect::Verdict>())
            .reads(json::<b::Connection>())
    },
    get("/v1/agent/health/service/id/{id}", Read(R::Service), Agent, agent::health::by_id)
        .says("How a service of this agent fares", &[p::FORMAT], &[json::<Fare<'_>>(), TEXT])
        .or(UNWELL),
    get("/v1/agent/health/service/name/{service}", Read(R::Service), Agent, agent::health::by_name)
        .says(
            "How the instances of a service on this agent fare; the worst gives the status",
            &[p::FORMAT],
            &[json::<Vec<Fare<'_>>>(), TEXT],
        )
        .or(UNWELL_SEVERAL),
    acl(Method::Put, "/v1/acl/bootstrap"),
    acl(Method::Get, "/v1/acl/replication"),
    acl(Method::Post, "/v1/acl/login"),
    acl(Method::Post, "/v1/acl/logout"),
    acl(Method::Get, "/v1/acl/tokens"),
    acl(Method::Put, "/v1/acl/token"),
    acl(Method::Get, "/v1/acl/token/{id}"),
    acl(Method::Put, "/v1/acl/token/{id}"),
    acl(Method::Delete, "/v1/acl/token/{id}"),
    acl(Method::Get, "/v1/acl/policies"),
    acl(Method::Put, "/v1/acl/policy"),
    acl(Method::Get, "/v1/acl/policy/{id}"),
    acl(Method::Put, "/v1/acl/policy/{id}"),
    acl(Method::Delete, "/v1/acl/policy/{id}"),
    acl(Method::Get, "/v1/acl/roles"),
    acl(Method::Put, "/v1/acl/role"),
    acl(Method::Get, "/v1/acl/role/{id}"),
    acl(Method::Put, "/v1/acl/role/{id}"),
    acl(Method::Delete, "/v1/acl/role/{id}"),
    acl(Method::Get, "/v1/acl/auth-methods"),
    acl(Method::Put, "/v1/acl/auth-method"),
    acl(Method::Get, "/v1/acl/auth-method/{name}"),
    acl(Method::Put, "/v1/acl/auth-method/{name}"),
    acl(Method::Delete, "/v1/acl/auth-method/{name}"),
    acl(Method::Get, "/v1/acl/binding-rules"),
    acl(Method::Put, "/v1/acl/binding-rule"),
    acl(Method::Get, "/v1/acl/binding-rule/{id}"),
    acl(Method::Put, "/v1/acl/binding-rule/{id}"),
    acl(Method::Delete, "/v1/acl/binding-rule/{id}"),
    acl(Method::Get, "/v1/acl/templated-policies"),
    acl(Method::Get, "/v1/acl/templated-policy/name/{name}"),
    acl(Method::Post, "/v1/acl/templated-policy/preview/{name}"),
    acl(Method::Post, "/v1/internal/acl/authorize"),
    acl(Method::Put, "/v1/agent/token/{name}"),
];
