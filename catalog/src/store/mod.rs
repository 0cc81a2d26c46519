//! The tables, and the one way to change them.
//!
//! Every table is a persistent ordered map, so a clone shares everything and costs O(1). Keys are folded names; rows are
//! shared with readers. [`Store::apply`] is the only write.

mod apply;
mod checks;
mod coordinates;
mod delays;
mod key;
mod kv;
mod locks;
mod nodes;
mod part;
mod prepared;
mod register;
mod restore;
mod services;
mod sessions;
mod snapshot;
mod staging;
mod txn;

pub use part::Scope;
pub use restore::{Census, Damaged, Restore};
pub(crate) use txn::each;

use crate::command::SessionCommand;
use crate::model::{
    Authority, Autopilot, Check, CheckId, Index, KvRow, Node, NodeCoordinate, NodeName, PreparedQuery, Sequencer,
    Service, Session, folded,
};
use crate::txn::TxnResult;
use checks::Checks;
use coordinates::Coordinates;
use delays::Delays;
use kv::Kv;
use nodes::Nodes;
use prepared::Prepared;
use services::Services;
use sessions::Sessions;
use staging::Staging;
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

/// The replicated truth at one index. A clone is a snapshot and costs O(1).
#[derive(Clone, Default, PartialEq)]
pub struct Store {
    index: Index,
    time_ms: u64,
    feature_level: u32,
    /// How far the indexes of rows are ahead of the log's: a restored snapshot may come from a log that had got further.
    lift: u64,
    /// The restore that was committed last, by its id.
    restored: Option<u64>,
    staging: Option<Arc<Staging>>,
    /// What a partial store holds; `None` for the whole truth.
    scope: Option<Scope>,
    pub(crate) nodes: Nodes,
    pub(crate) services: Services,
    pub(crate) checks: Checks,
    pub(crate) coordinates: Coordinates,
    pub(crate) kv: Kv,
    pub(crate) sessions: Sessions,
    pub(crate) prepared: Prepared,
    authority: Option<Arc<Authority>>,
    delays: Delays,
    autopilot: Autopilot,
}

impl Store {
    /// The index of the last command applied, refused ones included.
    #[must_use]
    pub const fn index(&self) -> Index {
        self.index
    }

    /// Log time in ms. It never falls.
    #[must_use]
    pub const fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// The level of commands that every server reads. It never falls.
    #[must_use]
    pub const fn feature_level(&self) -> u32 {
        self.feature_level
    }

    /// How the leader is to tend the servers.
    #[must_use]
    pub const fn autopilot(&self) -> &Autopilot {
        &self.autopilot
    }

    /// How many rows there are.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes {
            nodes: self.nodes.len(),
            services: self.services.names().len(),
            instances: self.services.len(),
            checks: self.checks.len(),
            keys: self.kv.len(),
            sessions: self.sessions.len(),
            mortal_sessions: self.sessions.mortal(),
            prepared: self.prepared.len(),
        }
    }

    /// A node by its name, in whatever case.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.get(&folded(name)).map(|row| &row.node)
    }

    /// A node by its id.
    #[must_use]
    pub fn node_by_id(&self, id: Uuid) -> Option<&Arc<Node>> {
        self.nodes.by_id(id).map(|row| &row.node)
    }

    /// Every node, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.iter().map(|row| &row.node)
    }

    /// One instance of a service.
    #[must_use]
    pub fn service(&self, node: &str, id: &str) -> Option<&Arc<Service>> {
        self.services.get(&folded(node), &folded(id))
    }

    /// Every instance of every service, by node and id.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.iter()
    }

    /// The instances on a node, by id.
    pub fn services_of(&self, node: &str) -> impl Iterator<Item = &Arc<Service>> + use<'_> {
        self.services.of_node(&folded(node))
    }

    /// One check.
    #[must_use]
    pub fn check(&self, node: &str, id: &str) -> Option<&Arc<Check>> {
        self.checks.get(&folded(node), &folded(id))
    }

    /// Every check on a node, its services' checks included, by id.
    pub fn checks_of(&self, node: &str) -> impl Iterator<Item = &Arc<Check>> + use<'_> {
        self.checks.of_node(&folded(node))
    }

    /// Where a node is.
    #[must_use]
    pub fn coordinate(&self, node: &str) -> Option<&Arc<NodeCoordinate>> {
        self.coordinates.get(&folded(node))
    }

    /// The keys that start with `prefix`, in order.
    pub fn keys_under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a KvRow> {
        self.kv.under(prefix)
    }

    /// A key.
    #[must_use]
    pub fn key(&self, key: &str) -> Option<&KvRow> {
        self.kv.get(key)
    }

    /// A session that lives.
    #[must_use]
    pub fn session(&self, id: Uuid) -> Option<&Arc<Session>> {
        self.sessions.get(id).map(|row| &row.session)
    }

    /// A prepared query by its id.
    #[must_use]
    pub fn prepared(&self, id: Uuid) -> Option<&Arc<PreparedQuery>> {
        self.prepared.get(id)
    }

    /// Who signs certificates, once there is somebody.
    #[must_use]
    pub const fn authority(&self) -> Option<&Arc<Authority>> {
        self.authority.as_ref()
    }

    /// What ends the sessions whose time to live is over at this log time.
    pub fn expiries(&self, now_ms: u64) -> impl Iterator<Item = SessionCommand> {
        self.sessions.due(now_ms).map(|row| SessionCommand::Expire { id: row.session.id, renewed_ms: row.renewed_ms })
    }
}

/// How many rows a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Nodes.
    pub nodes: usize,
    /// Names of services.
    pub services: usize,
    /// Instances of services.
    pub instances: usize,
    /// Checks.
    pub checks: usize,
    /// Keys.
    pub keys: usize,
    /// Sessions.
    pub sessions: usize,
    /// Those of them that have a time to live.
    pub mortal_sessions: usize,
    /// Prepared queries.
    pub prepared: usize,
}

/// Sizes only: a store may hold a million rows.
impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("index", &self.index)
            .field("time_ms", &self.time_ms)
            .field("feature_level", &self.feature_level)
            .field("scope", &self.scope)
            .field("sizes", &self.sizes())
            .finish()
    }
}

/// What a command did, and what it touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What the proposer is answered.
    pub outcome: Outcome,
    /// What waiting reads must be shown.
    pub touched: Touched,
}

/// What the proposer of a command is answered.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Outcome {
    /// Done, or nothing needed doing.
    Done,
    /// A compare-and-set, or a lock: whether it matched, or was taken or given back.
    Matched(bool),
    /// A session was made or renewed; `None`: there is none to renew.
    Session(Option<Arc<Session>>),
    /// Something was made, and has this id.
    Made(Uuid),
    /// A sequential key was created: this one.
    Key(String),
    /// A transaction was done, or failed; then nothing was changed.
    Txn(TxnResult),
    /// The command makes no sense against this state; nothing was changed.
    Refused(Refusal),
}

/// Why a command was refused by the state. Codes, not texts: HTTP chooses the words.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Refusal {
    /// A check names a service that its node does not have.
    MissingService {
        /// The node.
        node: NodeName,
        /// The id that the check gave.
        service: String,
    },
    /// `SkipNodeUpdate` for a node that is not there.
    MissingNode {
        /// The node.
        node: NodeName,
    },
    /// The node id belongs to `holder`, which is alive.
    IdTaken {
        /// The id.
        id: Uuid,
        /// Who asked for it.
        node: NodeName,
        /// Who has it.
        holder: NodeName,
    },
    /// Nothing is staged under this id: another restore came in between, or this one took too long.
    NotStaged {
        /// The restore.
        id: u64,
    },
    /// The rows to restore are unsound. Nothing is staged any more.
    Unsound(Damaged),
    /// The snapshot was written at a feature level that this cluster has not reached.
    Level {
        /// The snapshot's.
        snapshot: u32,
        /// The cluster's.
        cluster: u32,
    },
    /// The name belongs to a live node with another id.
    NameTaken {
        /// The name.
        node: NodeName,
        /// The id of the node that has it.
        holder: Uuid,
    },
    /// Nobody signs certificates yet.
    NoAuthority,
    /// A session is to need a check that its node does not have.
    MissingCheck {
        /// The check.
        check: CheckId,
    },
    /// A session is to need a check that is critical.
    CriticalCheck {
        /// The check.
        check: CheckId,
    },
    /// There is a session with this id already.
    SessionTaken {
        /// The id.
        id: Uuid,
    },
    /// There is a prepared query with this id already.
    QueryTaken {
        /// The id.
        id: Uuid,
    },
    /// There is no prepared query with this id that could be changed.
    MissingQuery {
        /// The id.
        id: Uuid,
    },
    /// Another prepared query has this name.
    QueryNameTaken {
        /// The name; empty for the template of every name.
        name: String,
    },
    /// The name is the id of a prepared query.
    QueryNameIsId {
        /// The name.
        name: String,
    },
    /// There is no session with this id that could lock anything, or bind anything to its life.
    MissingSession {
        /// The id.
        id: Uuid,
    },
    /// Every number that a sequential key can have has been given.
    NumbersSpent,
    /// The lock that a sequencer speaks of has passed to somebody else, or to nobody.
    StaleSequencer {
        /// The key that was locked.
        key: String,
        /// The sequencer of who holds it now.
        holder: Option<Box<Sequencer>>,
    },
}

/// What a batch of commands changed: the keys under which waiting reads are found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// The whole store was replaced: everybody wakes.
    pub all: bool,
    /// Sorted, each once.
    pub watches: Vec<Watch>,
}

impl Touched {
    /// Adds what a later batch touched.
    pub fn merge(&mut self, later: Self) {
        self.all |= later.all;
        self.watches.extend(later.watches);
        self.watches.sort_unstable();
        self.watches.dedup();
    }
}

/// A thing that a read may wait for, and a write may touch. Names are folded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Watch {
    /// Any node's own row.
    Nodes,
    /// A node or anything on it.
    Node(Arc<str>),
    /// The list of service names and tags.
    Services,
    /// A service: its instances, their nodes, and the checks of both.
    Service(Arc<str>),
    /// Any check at all (`health/state`).
    Checks,
    /// Any coordinate.
    Coordinates,
    /// One key was written or deleted. Prefix waiters are matched against it by the hub.
    Key(Arc<str>),
    /// Any session came or went.
    Sessions,
    /// Any prepared query came, went or changed.
    Prepared,
    /// There is somebody who signs certificates, or he signs by other rules.
    Authority,
    /// All keys under a prefix: what a read waits for; never touched by a write as such.
    Prefix(Arc<str>),
    /// Any node or anything on it: what a read waits for; a write touches the [`Self::Node`].
    AnyNode,
}
