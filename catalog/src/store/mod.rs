//! The tables, and the one way to change them.

use crate::command::Command;
use crate::model::{Index, KvEntry, NodeName, ServiceName};
use std::fmt;
use std::sync::Arc;

/// The replicated truth at one index. A clone is a snapshot and costs O(1).
#[derive(Clone, Debug, Default)]
pub struct Store {}

/// What a command did, and what it touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    pub outcome: Outcome,
    pub touched: Touched,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, or nothing needed doing.
    Done,
    /// A compare-and-set: whether it matched.
    Matched(bool),
    /// The command makes no sense against this state; nothing was changed.
    Refused(Refusal),
}

/// Why a command was refused by the state. Codes, not texts: HTTP chooses the words.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Refusal {
    /// A check names a service that its node does not have.
    MissingService { node: NodeName, service: String },
    /// `SkipNodeUpdate` for a node that is not there.
    MissingNode { node: NodeName },
    /// The node id belongs to `holder`, which is alive.
    IdTaken { id: uuid::Uuid, node: NodeName, holder: NodeName },
    /// The name belongs to a live node with another id.
    NameTaken { node: NodeName, holder: uuid::Uuid },
}

/// What a batch of commands changed: the keys under which waiting reads are found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// The whole store was replaced: everybody wakes.
    pub all: bool,
    pub watches: Vec<Watch>,
}

/// A thing that a read may wait for, and a write may touch. Names are folded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Watch {
    Nodes,
    Node(Arc<str>),
    /// The list of service names and tags.
    Services,
    Service(Arc<str>),
    /// Any check at all (`health/state`).
    Checks,
    /// One key was written or deleted. Prefix waiters are matched against it by the hub.
    Key(Arc<str>),
    /// All keys under a prefix: what a read waits for; never touched by a write as such.
    Prefix(Arc<str>),
}
