//! Reads: pure functions of a store.
//!
//! The index of an answer says when it last may have changed; it is what a blocking query waits on. Two promises hold for
//! every query: whenever its rows change, its index rises and one of its watches is touched; and its index is never 0,
//! which clients take for "no index" and would turn their waiting into a busy loop. ([`Query::Execute`] alone is not to be
//! waited for.)

mod coordinates;
mod dump;
mod health;
mod kv;
mod nodes;
mod prepared;
mod services;
mod sessions;
mod txn;

use crate::acl::Authorizer;
use crate::model::{
    Authority, Check, Index, KvRow, Node, NodeCoordinate, PreparedQuery, Service, Session, Status, folded,
};
use crate::store::{Store, Watch};
use crate::txn::{TxnLook, TxnResult};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use uuid::Uuid;

/// A read of the catalog, as a value. Names are compared case-blind. `meta` pairs and `tags` must all match.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Query {
    /// Every node.
    Nodes {
        /// What the nodes' meta must say.
        meta: Vec<(String, String)>,
    },
    /// Every service name with its tags.
    Services {
        /// What the nodes' meta must say.
        meta: Vec<(String, String)>,
    },
    /// A node and its services.
    Node {
        /// The name.
        name: String,
    },
    /// Nodes with all that is on them.
    Dump {
        /// The name of one; `None`: every node.
        node: Option<String>,
    },
    /// Instances of a service, without their checks.
    ServiceNodes {
        /// The name.
        name: String,
        /// Only those that speak the mesh's protocol themselves.
        native: bool,
        /// What the instances must be tagged with.
        tags: Vec<String>,
        /// What the nodes' meta must say.
        meta: Vec<(String, String)>,
    },
    /// Instances of a service with their checks and their nodes' checks.
    HealthService {
        /// The name.
        name: String,
        /// Only those that speak the mesh's protocol themselves.
        native: bool,
        /// What the instances must be tagged with.
        tags: Vec<String>,
        /// What the nodes' meta must say.
        meta: Vec<(String, String)>,
        /// Only instances all of whose checks pass.
        passing: bool,
    },
    /// A node's checks, those of its services included.
    HealthNode {
        /// The name.
        name: String,
    },
    /// The checks of a service.
    HealthChecks {
        /// The service's name.
        service: String,
        /// What the nodes' meta must say.
        meta: Vec<(String, String)>,
    },
    /// Every check in a state.
    HealthState {
        /// The state; `None`: any.
        state: Option<Status>,
        /// What the nodes' meta must say.
        meta: Vec<(String, String)>,
    },
    /// Where every node is that has a coordinate.
    Coordinates,
    /// Where a node is.
    Coordinate {
        /// The name.
        node: String,
    },
    /// One key.
    KvGet {
        /// The key.
        key: String,
    },
    /// Every key under a prefix.
    KvList {
        /// The prefix; the empty one means every key.
        prefix: String,
    },
    /// Keys under `prefix`, each cut after the first `separator` beyond it (an empty separator cuts nothing).
    KvKeys {
        /// The prefix; the empty one means every key.
        prefix: String,
        /// Where to cut.
        separator: String,
    },
    /// One session.
    Session {
        /// The id.
        id: Uuid,
    },
    /// The sessions of a node.
    SessionsOfNode {
        /// The name.
        node: String,
    },
    /// Every session.
    Sessions,
    /// One prepared query.
    PreparedQuery {
        /// The id.
        id: Uuid,
    },
    /// Every prepared query.
    PreparedQueries,
    /// The prepared query that would be carried out.
    Explain {
        /// Its name or id.
        name: String,
    },
    /// What a prepared query finds.
    Execute(Execution),
    /// Who signs certificates.
    Authority,
    /// A transaction that only looks.
    Txn {
        /// Its operations.
        looks: Vec<TxnLook>,
    },
}

/// What a [`Query`] found. Rows are shared with the store, not copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Nodes, by name.
    Nodes(Vec<Arc<Node>>),
    /// Service names with the union of their tags.
    Services(BTreeMap<String, BTreeSet<String>>),
    /// A node and the instances on it, by id; `None` when it is not there.
    Node(Option<(Arc<Node>, Vec<Arc<Service>>)>),
    /// Nodes with all that is on them, by name.
    Dump(Vec<NodeDump>),
    /// Instances, by node and id.
    Instances(Vec<Instance>),
    /// Checks, by node and id.
    Checks(Vec<Arc<Check>>),
    /// Coordinates, by node.
    Coordinates(Vec<Arc<NodeCoordinate>>),
    /// A key; `None` when it is not there.
    KvEntry(Option<KvRow>),
    /// Keys with their values, by key.
    KvEntries(Vec<KvRow>),
    /// Keys alone, in order.
    Keys(Vec<String>),
    /// Sessions, by id.
    Sessions(Vec<Arc<Session>>),
    /// Prepared queries, by id.
    PreparedQueries(Vec<Arc<PreparedQuery>>),
    /// What a prepared query found; `None` when there is none of this name.
    Executed(Option<Executed>),
    /// Who signs certificates; `None` while nobody does.
    Authority(Option<Arc<Authority>>),
    /// What a transaction found.
    Txn(TxnResult),
}

/// One instance of a service, its node, and the checks that speak of either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Where it runs.
    pub node: Arc<Node>,
    /// The instance.
    pub service: Arc<Service>,
    /// The node's checks, then the instance's; empty when the query did not ask for checks.
    pub checks: Vec<Arc<Check>>,
}

impl Query {
    /// The answer and its index (Consul's rules: per key, prefix, service or table), which is never 0.
    #[must_use]
    pub fn run(&self, store: &Store, authorizer: &dyn Authorizer) -> (Index, Rows) {
        let (index, rows) = self.answer(store, authorizer);
        (index.max(Index(1)), rows)
    }

    fn answer(&self, store: &Store, may: &dyn Authorizer) -> (Index, Rows) {
        match self {
            Self::Nodes { meta } => with(nodes::nodes(store, meta, may), Rows::Nodes),
            Self::Services { meta } => with(services::names(store, meta, may), Rows::Services),
            Self::Node { name } => with(nodes::node(store, name, may), Rows::Node),
            Self::Dump { node: None } => with(dump::all(store, may), Rows::Dump),
            Self::Dump { node: Some(name) } => with(dump::one(store, name, may), Rows::Dump),
            Self::ServiceNodes { name, native, tags, meta } => {
                let wanted = Wanted { native: *native, tags, meta };
                with(services::instances(store, name, &wanted, may), Rows::Instances)
            }
            Self::HealthService { name, native, tags, meta, passing } => {
                let wanted = Wanted { native: *native, tags, meta };
                with(health::service(store, name, &wanted, *passing, may), Rows::Instances)
            }
            Self::HealthNode { name } => with(nodes::checks(store, name, may), Rows::Checks),
            Self::HealthChecks { service, meta } => with(health::checks(store, service, meta, may), Rows::Checks),
            Self::HealthState { state, meta } => with(health::state(store, *state, meta, may), Rows::Checks),
            Self::Coordinates => with(coordinates::all(store, may), Rows::Coordinates),
            Self::Coordinate { node } => with(coordinates::of_node(store, node, may), Rows::Coordinates),
            Self::KvGet { key } => with(kv::get(store, key, may), Rows::KvEntry),
            Self::KvList { prefix } => with(kv::list(store, prefix, may), Rows::KvEntries),
            Self::KvKeys { prefix, separator } => with(kv::keys(store, prefix, separator, may), Rows::Keys),
            Self::Session { id } => with(sessions::one(store, *id, may), Rows::Sessions),
            Self::SessionsOfNode { node } => with(sessions::of_node(store, node, may), Rows::Sessions),
            Self::Sessions => with(sessions::all(store, may), Rows::Sessions),
            Self::PreparedQuery { id } => with(prepared::one(store, *id, may), Rows::PreparedQueries),
            Self::PreparedQueries => with(prepared::all(store, may), Rows::PreparedQueries),
            Self::Explain { name } => with(prepared::explain(store, name, may), Rows::PreparedQueries),
            Self::Execute(execution) => {
                let index = prepared::execution_index(store, &execution.name);
                (index, Rows::Executed(execute(store, execution, may)))
            }
            Self::Authority => {
                let authority = store.authority().cloned();
                (authority.as_ref().map_or(Index(0), |authority| authority.modify_index), Rows::Authority(authority))
            }
            Self::Txn { looks } => with(txn::run(store, looks, may), Rows::Txn),
        }
    }

    /// Whether every change of what it watches, at which its index rises, shows in its rows. Where not, the index may rise
    /// while the answer stays the same: what rose it was another column, or a row that is left out.
    #[must_use]
    pub fn shows_what_it_watches(&self) -> bool {
        match self {
            Self::Nodes { meta } | Self::Services { meta } | Self::HealthState { state: None, meta } => meta.is_empty(),
            Self::HealthService { name: _, native, tags, meta, passing } => {
                !native && tags.is_empty() && meta.is_empty() && !passing
            }
            Self::Coordinates | Self::KvGet { .. } | Self::KvList { .. } => true,
            _ => false,
        }
    }

    /// What must be touched for the answer to change.
    #[must_use]
    pub fn watches(&self) -> Vec<Watch> {
        let name = |name: &str| Arc::from(&*folded(name));
        let and_nodes = |watch, meta: &[_]| if meta.is_empty() { vec![watch] } else { vec![Watch::Nodes, watch] };
        match self {
            Self::Nodes { .. } => vec![Watch::Nodes],
            Self::Services { meta } => and_nodes(Watch::Services, meta),
            Self::Node { name: node } | Self::HealthNode { name: node } | Self::Dump { node: Some(node) } => {
                vec![Watch::Node(name(node))]
            }
            Self::Dump { node: None } => vec![Watch::AnyNode],
            // A change of a node touches the services on it, so their readers need not watch nodes.
            Self::ServiceNodes { name: service, .. }
            | Self::HealthService { name: service, .. }
            | Self::HealthChecks { service, .. } => vec![Watch::Service(name(service))],
            Self::HealthState { meta, .. } => and_nodes(Watch::Checks, meta),
            Self::Coordinates | Self::Coordinate { .. } => vec![Watch::Coordinates],
            Self::KvGet { key } => vec![Watch::Key(Arc::from(&**key))],
            Self::KvList { prefix } | Self::KvKeys { prefix, .. } => vec![Watch::Prefix(Arc::from(&**prefix))],
            Self::Session { .. } | Self::SessionsOfNode { .. } | Self::Sessions => vec![Watch::Sessions],
            Self::PreparedQuery { .. } | Self::PreparedQueries | Self::Explain { .. } => vec![Watch::Prepared],
            // Nobody may wait for it: which service it looks at is known only when it is run.
            Self::Execute(_) => vec![Watch::Prepared],
            Self::Authority => vec![Watch::Authority],
            Self::Txn { looks } => looks.iter().map(txn::watch).collect(),
        }
    }
}

pub use dump::NodeDump;
pub use prepared::{Executed, Execution, execute, resolve};

/// Instances of a service with their checks, by node and id. Allocates for the checks only.
pub fn instances<'a>(store: &'a Store, name: &str) -> impl Iterator<Item = Instance> + use<'a> {
    services::rows(store, &folded(name)).map(|(node, service)| health::instance(store, node, service))
}

/// The nodes, and the instances with their nodes, that have this address of their own: what a reverse look-up names.
#[must_use]
pub fn at_address(store: &Store, address: IpAddr) -> (Vec<Arc<Node>>, Vec<Arc<Service>>) {
    let nodes = store.nodes().filter(|node| is_address(&node.address, address)).cloned().collect();
    let services = store.services().filter(|service| is_address(&service.address, address)).cloned().collect();
    (nodes, services)
}

/// The node from whose address somebody asks (`near=_ip`).
#[must_use]
pub fn node_at(store: &Store, address: IpAddr) -> Option<&Arc<Node>> {
    store.nodes().find(|node| is_address(&node.address, address))
}

fn is_address(text: &str, address: IpAddr) -> bool {
    text.parse::<IpAddr>().is_ok_and(|parsed| parsed.to_canonical() == address.to_canonical())
}

fn with<T>((index, rows): (Index, T), shape: impl FnOnce(T) -> Rows) -> (Index, Rows) {
    (index, shape(rows))
}

/// What instances of a service are asked for beyond its name.
struct Wanted<'a> {
    native: bool,
    tags: &'a [String],
    meta: &'a [(String, String)],
}

impl Wanted<'_> {
    fn is(&self, node: &Node, service: &Service) -> bool {
        (service.connect.native || !self.native)
            && tags_match(&service.tags, self.tags)
            && meta_match(&node.meta, self.meta)
    }
}

/// Whether a node's meta says all of this.
#[must_use]
pub fn meta_match(meta: &BTreeMap<String, String>, wanted: &[(String, String)]) -> bool {
    wanted.iter().all(|(key, value)| meta.get(key) == Some(value))
}

/// Consul compares tags case-blind here, and nowhere else.
fn tags_match(tags: &[String], wanted: &[String]) -> bool {
    wanted.iter().all(|wanted| tags.iter().any(|tag| tag == wanted || folded(tag) == folded(wanted)))
}

fn may_read_instance(may: &dyn Authorizer, service: &Service) -> bool {
    may.node_read(&service.node) && may.service_read(&service.name)
}

fn may_read(may: &dyn Authorizer, check: &Check) -> bool {
    may.node_read(&check.node) && (check.service_name.is_empty() || may.service_read(&check.service_name))
}
