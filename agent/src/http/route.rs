//! The one table of routes: what there is, who may ask, how large a body may be, and where a call is answered. Dispatch,
//! 404, 405 and OPTIONS come from it, and so will access control.

use super::Handler;
use super::call::{Call, Method, Reply};
use super::{
    acl as lists, agent, answer, autopilot, catalog, connect, coordinate, event, health, kv, lock, operator, prepared,
    session, snapshot, status, txn, ui, usage, watch,
};
use crate::gossip::EVENT_MAX;
use crate::view::Facts;
use std::borrow::Cow;

/// One method of one endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    pub method: Method,
    /// Ends in `/` when the rest of the path is an id.
    pub pattern: &'static str,
    pub permission: Permission,
    pub body: Body,
    pub place: Place,
    pub handler: Handler,
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
    /// How many bytes are read at most; more is [`answer::too_large`].
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

const fn get(pattern: &'static str, permission: Permission, place: Place, handler: Handler) -> Route {
    Route { method: Method::Get, pattern, permission, body: Body::None, place, handler }
}

/// A PUT to the agent that was asked.
const fn put(pattern: &'static str, permission: Permission, body: Body, handler: Handler) -> Route {
    Route { method: Method::Put, pattern, permission, body, place: Agent, handler }
}

const fn change(method: Method, pattern: &'static str, permission: Permission, body: Body, handler: Handler) -> Route {
    Route { method, pattern, permission, body, place: Catalog, handler }
}

/// What would be about access control lists. Any agent can say that there are none.
const fn acl(method: Method, pattern: &'static str) -> Route {
    Route { method, pattern, permission: Open, body: Body::None, place: Agent, handler: lists::disabled }
}

use Permission::{Filtered, Open, Read, Write};
use Place::{Agent, Catalog};
use Resource as R;

/// Every endpoint. Methods of one pattern stand together, in the order in which `Allow` names them.
pub static ROUTES: &[Route] = &[
    get("/v1/health/service/", Read(R::Service), Catalog, health::service),
    get("/v1/health/node/", Filtered, Catalog, health::node),
    get("/v1/health/checks/", Filtered, Catalog, health::checks),
    get("/v1/health/state/", Filtered, Catalog, health::state),
    get("/v1/kv/", Read(R::Key), Catalog, kv::get),
    change(Method::Put, "/v1/kv/", Write(R::Key), Body::KvValue, kv::put),
    change(Method::Delete, "/v1/kv/", Write(R::Key), Body::None, kv::delete),
    get("/v1/lock/sequencer/", Read(R::Key), Catalog, lock::sequencer),
    change(Method::Put, "/v1/session/create", Write(R::Session), Body::Json, session::create),
    change(Method::Put, "/v1/session/destroy/", Write(R::Session), Body::None, session::destroy),
    change(Method::Put, "/v1/session/renew/", Write(R::Session), Body::None, session::renew),
    get("/v1/session/info/", Filtered, Catalog, session::info),
    get("/v1/session/node/", Filtered, Catalog, session::of_node),
    get("/v1/session/list", Filtered, Catalog, session::list),
    change(Method::Post, "/v1/query", Write(R::Query), Body::Json, prepared::create),
    get("/v1/query", Filtered, Catalog, prepared::list),
    get("/v1/query/", Filtered, Catalog, prepared::get),
    change(Method::Put, "/v1/query/", Write(R::Query), Body::Json, prepared::update),
    change(Method::Delete, "/v1/query/", Write(R::Query), Body::None, prepared::delete),
    change(Method::Put, "/v1/txn", Filtered, Body::Transaction, txn::put),
    get("/v1/catalog/datacenters", Open, Catalog, catalog::datacenters),
    get("/v1/catalog/nodes", Filtered, Catalog, catalog::nodes),
    get("/v1/catalog/node/", Filtered, Catalog, catalog::node),
    get("/v1/catalog/node-services/", Filtered, Catalog, catalog::node_services),
    get("/v1/catalog/services", Filtered, Catalog, catalog::services),
    get("/v1/catalog/service/", Read(R::Service), Catalog, catalog::service),
    change(Method::Put, "/v1/catalog/register", Write(R::Node), Body::Json, catalog::register),
    change(Method::Put, "/v1/catalog/deregister", Write(R::Node), Body::Json, catalog::deregister),
    get("/v1/connect/ca/roots", Open, Catalog, connect::roots),
    get("/v1/connect/ca/configuration", Read(R::Operator), Catalog, connect::configuration),
    change(Method::Put, "/v1/connect/ca/configuration", Write(R::Operator), Body::Json, connect::set_configuration),
    change(Method::Put, "/v1/internal/connect/sign", Write(R::Service), Body::Json, connect::sign),
    get("/v1/internal/ui/nodes", Filtered, Catalog, ui::nodes),
    get("/v1/internal/ui/node/", Filtered, Catalog, ui::node),
    get("/v1/internal/ui/services", Filtered, Catalog, ui::services),
    get("/v1/internal/ui/catalog-overview", Filtered, Catalog, ui::overview),
    get("/v1/internal/ui/service-topology/", Read(R::Service), Catalog, ui::topology),
    get("/v1/internal/ui/gateway-services-nodes/", Read(R::Service), Catalog, ui::of_gateway),
    get("/v1/internal/ui/gateway-intentions/", Read(R::Service), Catalog, ui::of_gateway),
    get("/v1/internal/ui/exported-services", Filtered, Catalog, ui::exported),
    get("/v1/internal/ui/metrics-proxy/", Filtered, Agent, ui::metrics_proxy),
    get("/v1/coordinate/datacenters", Open, Catalog, coordinate::datacenters),
    get("/v1/coordinate/nodes", Filtered, Catalog, coordinate::nodes),
    get("/v1/coordinate/node/", Filtered, Catalog, coordinate::node),
    change(Method::Put, "/v1/coordinate/update", Write(R::Node), Body::Json, coordinate::update),
    put("/v1/event/fire/", Write(R::Event), Body::Payload, event::fire),
    get("/v1/event/list", Filtered, Agent, event::list),
    get("/v1/watch", Filtered, Agent, watch::stream),
    get("/v1/snapshot", Write(R::Acl), Agent, snapshot::save),
    put("/v1/snapshot", Write(R::Acl), Body::Streamed, snapshot::restore),
    get("/v1/status/leader", Open, Catalog, status::leader),
    get("/v1/status/peers", Open, Catalog, status::peers),
    get("/v1/operator/raft/configuration", Read(R::Operator), Catalog, operator::raft_configuration),
    change(Method::Delete, "/v1/operator/raft/peer", Write(R::Operator), Body::None, operator::remove_peer),
    change(
        Method::Post,
        "/v1/operator/raft/transfer-leader",
        Write(R::Operator),
        Body::None,
        operator::transfer_leader,
    ),
    change(Method::Put, "/v1/operator/raft/transfer-leader", Write(R::Operator), Body::None, operator::transfer_leader),
    get("/v1/operator/autopilot/configuration", Read(R::Operator), Catalog, autopilot::configuration),
    change(
        Method::Put,
        "/v1/operator/autopilot/configuration",
        Write(R::Operator),
        Body::Json,
        autopilot::set_configuration,
    ),
    get("/v1/operator/autopilot/health", Read(R::Operator), Catalog, autopilot::health),
    get("/v1/operator/autopilot/state", Read(R::Operator), Catalog, autopilot::state),
    get("/v1/operator/usage", Read(R::Operator), Catalog, usage::usage),
    get("/v1/operator/raft/recover", Read(R::Operator), Agent, operator::recover),
    put("/v1/operator/raft/recover", Write(R::Operator), Body::None, operator::recover),
    get("/v1/agent/self", Read(R::Agent), Agent, agent::identity::show),
    get("/v1/agent/version", Open, Agent, agent::identity::version),
    get("/v1/agent/metrics", Read(R::Agent), Agent, agent::insight::metrics),
    get("/v1/agent/monitor", Read(R::Agent), Agent, agent::insight::monitor),
    get("/v1/agent/host", Read(R::Operator), Agent, agent::insight::host),
    get("/v1/agent/members", Filtered, Agent, agent::members::list),
    put("/v1/agent/join/", Write(R::Agent), Body::None, agent::members::join),
    put("/v1/agent/leave", Write(R::Agent), Body::None, agent::members::leave),
    put("/v1/agent/force-leave/", Write(R::Operator), Body::None, agent::members::force_leave),
    put("/v1/agent/maintenance", Write(R::Node), Body::None, agent::maintenance::node),
    get("/v1/agent/services", Filtered, Agent, agent::services::list),
    get("/v1/agent/service/", Read(R::Service), Agent, agent::services::show),
    put("/v1/agent/service/register", Write(R::Service), Body::Json, agent::services::register),
    put("/v1/agent/service/deregister/", Write(R::Service), Body::None, agent::services::deregister),
    put("/v1/agent/service/maintenance/", Write(R::Service), Body::None, agent::maintenance::service),
    get("/v1/agent/checks", Filtered, Agent, agent::checks::list),
    put("/v1/agent/check/register", Write(R::Service), Body::Json, agent::checks::register),
    put("/v1/agent/check/deregister/", Write(R::Service), Body::None, agent::checks::deregister),
    put("/v1/agent/check/pass/", Write(R::Service), Body::None, agent::checks::pass),
    put("/v1/agent/check/warn/", Write(R::Service), Body::None, agent::checks::warn),
    put("/v1/agent/check/fail/", Write(R::Service), Body::None, agent::checks::fail),
    put("/v1/agent/check/update/", Write(R::Service), Body::Json, agent::checks::update),
    get("/v1/agent/connect/ca/roots", Open, Catalog, connect::roots),
    get("/v1/agent/connect/ca/leaf/", Write(R::Service), Agent, connect::leaf),
    Route {
        method: Method::Post,
        ..put("/v1/agent/connect/authorize", Write(R::Service), Body::Json, connect::authorize)
    },
    get("/v1/agent/health/service/id/", Read(R::Service), Agent, agent::health::by_id),
    get("/v1/agent/health/service/name/", Read(R::Service), Agent, agent::health::by_name),
    acl(Method::Put, "/v1/acl/bootstrap"),
    acl(Method::Get, "/v1/acl/replication"),
    acl(Method::Post, "/v1/acl/login"),
    acl(Method::Post, "/v1/acl/logout"),
    acl(Method::Get, "/v1/acl/tokens"),
    acl(Method::Put, "/v1/acl/token"),
    acl(Method::Get, "/v1/acl/token/"),
    acl(Method::Put, "/v1/acl/token/"),
    acl(Method::Delete, "/v1/acl/token/"),
    acl(Method::Get, "/v1/acl/policies"),
    acl(Method::Put, "/v1/acl/policy"),
    acl(Method::Get, "/v1/acl/policy/"),
    acl(Method::Put, "/v1/acl/policy/"),
    acl(Method::Delete, "/v1/acl/policy/"),
    acl(Method::Get, "/v1/acl/roles"),
    acl(Method::Put, "/v1/acl/role"),
    acl(Method::Get, "/v1/acl/role/"),
    acl(Method::Put, "/v1/acl/role/"),
    acl(Method::Delete, "/v1/acl/role/"),
    acl(Method::Get, "/v1/acl/auth-methods"),
    acl(Method::Put, "/v1/acl/auth-method"),
    acl(Method::Get, "/v1/acl/auth-method/"),
    acl(Method::Put, "/v1/acl/auth-method/"),
    acl(Method::Delete, "/v1/acl/auth-method/"),
    acl(Method::Get, "/v1/acl/binding-rules"),
    acl(Method::Put, "/v1/acl/binding-rule"),
    acl(Method::Get, "/v1/acl/binding-rule/"),
    acl(Method::Put, "/v1/acl/binding-rule/"),
    acl(Method::Delete, "/v1/acl/binding-rule/"),
    acl(Method::Get, "/v1/acl/templated-policies"),
    acl(Method::Get, "/v1/acl/templated-policy/name/"),
    acl(Method::Post, "/v1/acl/templated-policy/preview/"),
    acl(Method::Post, "/v1/internal/acl/authorize"),
    acl(Method::Put, "/v1/agent/token/"),
];

/// Where a call leads.
#[derive(Debug)]
pub enum Found<'c> {
    /// To a handler, with what follows the pattern, decoded.
    Route(&'static Route, Cow<'c, str>),
    /// To an answer that needs no handler.
    Answer(Reply),
}

/// Finds the route of a call by its longest pattern, or the answer that Consul gives instead.
#[must_use]
pub fn find<'c>(facts: &Facts, call: &'c Call) -> Found<'c> {
    let path = call.path.as_str();
    let Some(decoded) = decode(path) else {
        return Found::Answer(Reply::text(400, format!("invalid URL escape or encoding in {path:?}")));
    };
    if !printable(&decoded) {
        return Found::Answer(Reply::empty(400));
    }
    if facts.block_endpoints.iter().any(|prefix| path.starts_with(prefix.as_str())) {
        return Found::Answer(Reply::text(403, "Endpoint is blocked by agent configuration"));
    }
    let Some(pattern) = longest(path) else { return Found::Answer(unknown(facts, path)) };
    let mut methods = ROUTES.iter().filter(|route| route.pattern == pattern);
    match methods.clone().find(|route| route.method == call.method) {
        Some(route) => {
            let rest = path.get(pattern.len()..).unwrap_or_default();
            Found::Route(route, decode(rest).unwrap_or_default())
        }
        None => {
            let allow = methods.by_ref().fold(String::from("OPTIONS"), |all, route| all + "," + route.method.as_str());
            let reply = match call.method {
                Method::Options => Reply::empty(200),
                other => Reply::text(405, format!("method {} not allowed", other.as_str())),
            };
            Found::Answer(reply.with("allow", allow))
        }
    }
}

/// What body a call may have, known from its head alone.
#[must_use]
pub fn body(method: Method, path: &str) -> Body {
    longest(path)
        .and_then(|pattern| ROUTES.iter().find(|route| route.pattern == pattern && route.method == method))
        .map_or(Body::None, |route| route.body)
}

fn longest(path: &str) -> Option<&'static str> {
    let matches = |pattern: &str| match pattern.strip_suffix('/') {
        // Without its slash the pattern stands for an empty id, unless another route is exactly that.
        Some(short) => path.starts_with(pattern) || path == short,
        None => path == pattern,
    };
    let known = ROUTES.iter().map(|route| route.pattern).filter(|pattern| matches(pattern));
    known.max_by_key(|pattern| (*pattern == path, pattern.len()))
}

fn unknown(facts: &Facts, path: &str) -> Reply {
    if path == "/" && facts.ui {
        return Reply::empty(301).with("location", "/ui/");
    }
    if path == "/" {
        return Reply::text(
            200,
            "Consul Agent: UI disabled. This release of lictor has no web page; the API begins at /v1/.",
        );
    }
    answer::not_found(path)
}

fn decode(path: &str) -> Option<Cow<'_, str>> {
    let bytes = path.as_bytes();
    let hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    if bytes.iter().enumerate().any(|(at, byte)| *byte == b'%' && !(hex(at + 1) && hex(at + 2))) {
        return None;
    }
    percent_encoding::percent_decode_str(path).decode_utf8().ok()
}

/// Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols, and the ASCII space.
fn printable(path: &str) -> bool {
    path.chars().all(|c| match c {
        ' '..='~' => true,
        c if c.is_ascii() => false,
        // Rust's own table decides the rest. A mark is escaped only when it stands first, so something stands before it.
        c => !String::from_iter(['x', c]).escape_debug().any(|shown| shown == '\\'),
    })
}
