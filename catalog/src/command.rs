//! Every write that may enter the replicated log: one closed enum, numbered and encoded here.
//!
//! An entry of the log is an [`Entry`]: the time its batch was proposed at, an id by which the proposer finds the answer,
//! and the command. An entry that this release cannot read stops the server rather than letting it diverge.

use crate::model::{
    Authority, Autopilot, Check, CheckId, Index, Node, NodeCoordinate, NodeName, PreparedQuery, Sequencer, Service,
    ServiceId, Session, Signing,
};
use crate::txn::Txn;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// The highest feature level that this release reads and, once every server offers it, writes.
pub const FEATURE_LEVEL: u32 = 1;

/// First byte of every encoded entry.
const FORMAT: u8 = 1;

/// One entry of the replicated log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Log time in ms: it never falls, and stands still while there is no leader.
    pub time_ms: u64,
    /// Chosen by the proposer, unique enough to find the answer by; 0 when nobody waits.
    pub id: u64,
    /// What is to be done.
    pub command: Command,
}

/// A write. Everything volatile (time, ids, tokens) has been resolved into it by the proposer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Something comes or changes.
    Register(Box<Register>),
    /// Something goes.
    Deregister(Deregister),
    /// Keys change.
    Kv(KvCommand),
    /// Keys change if the sequencer is not stale.
    Fenced(Box<Sequencer>, KvCommand),
    /// Several operations, all or none.
    Txn(Txn),
    /// A session comes, is renewed or goes.
    Session(SessionCommand),
    /// A prepared query comes, changes or goes.
    Prepared(PreparedCommand),
    /// A snapshot takes the place of everything, step by step.
    Restore(RestoreCommand),
    /// How the leader tends the servers.
    Autopilot {
        /// Takes the place of what was set; its indexes are ignored.
        settings: Box<Autopilot>,
        /// Only if its `modify_index` equals this.
        cas: Option<Index>,
    },
    /// Who signs certificates from now on, unless somebody does already. Its indexes are ignored.
    Authority(Box<Authority>),
    /// Every server offers this level now: commands of it may be proposed from here on. It never falls.
    FeatureLevel(u32),
    /// A node is placed. One that is not there is left out.
    Coordinate(NodeCoordinate),
    /// What certificates are made by from now on.
    Signing(Box<Signing>),
}

/// A node, with any of: one of its services, some of its checks. All or nothing. The indexes in the rows are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// The node everything in it is on.
    pub node: Node,
    /// Leave the node's row as it is if it exists. One that does not is created, with an empty address if none is given.
    pub skip_node_update: bool,
    /// An instance on the node.
    pub service: Option<Service>,
    /// Checks of the node, of that instance, or of others on the node.
    pub checks: Vec<Check>,
}

/// What goes. Unknown things count as gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deregister {
    /// The node and everything on it.
    Node(NodeName),
    /// The service and its checks.
    Service(NodeName, ServiceId),
    /// The check alone.
    Check(NodeName, CheckId),
}

/// A change of keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvCommand {
    /// Sets whatever was there before, and leaves a lock on it alone.
    Set {
        /// The key.
        key: String,
        /// Its value from now on.
        value: Bytes,
        /// Its flags from now on.
        flags: u64,
    },
    /// Sets when the key's `modify_index` equals `index`; 0 means "must not exist".
    Cas {
        /// The key.
        key: String,
        /// Its value from now on.
        value: Bytes,
        /// Its flags from now on.
        flags: u64,
        /// What its `modify_index` must be.
        index: Index,
    },
    /// Deletes whatever was there before.
    Delete {
        /// The key.
        key: String,
    },
    /// Deletes when the key's `modify_index` equals `index`; an absent key counts as deleted.
    DeleteCas {
        /// The key.
        key: String,
        /// What its `modify_index` must be.
        index: Index,
    },
    /// Deletes every key that starts with `prefix`.
    DeleteTree {
        /// The prefix; the empty one means every key.
        prefix: String,
    },
    /// Locks the key for the session, and sets it. The session that holds it already may set it so.
    Acquire {
        /// The key.
        key: String,
        /// Its value from now on.
        value: Bytes,
        /// Its flags from now on.
        flags: u64,
        /// Who is to hold it.
        session: Uuid,
    },
    /// Unlocks the key if the session holds it, and sets it.
    Release {
        /// The key.
        key: String,
        /// Its value from now on.
        value: Bytes,
        /// Its flags from now on.
        flags: u64,
        /// Who must hold it.
        session: Uuid,
    },
    /// Creates a key out of the prefix and a number of ten digits that is higher than any number given before
    /// (ZooKeeper's sequential nodes).
    Sequence {
        /// What the key begins with.
        prefix: String,
        /// Its value.
        value: Bytes,
        /// Its flags.
        flags: u64,
        /// Who holds it from the beginning, if anybody.
        session: Option<Uuid>,
    },
}

impl KvCommand {
    /// The key that it is about, or the prefix.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Set { key, .. }
            | Self::Cas { key, .. }
            | Self::Delete { key }
            | Self::DeleteCas { key, .. }
            | Self::DeleteTree { prefix: key }
            | Self::Acquire { key, .. }
            | Self::Release { key, .. }
            | Self::Sequence { prefix: key, .. } => key,
        }
    }
}

/// A change of sessions. Unknown sessions count as gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionCommand {
    /// Makes it; its index is ignored.
    Create(Box<Session>),
    /// Its time to live begins anew.
    Renew(Uuid),
    /// Ends it.
    Destroy(Uuid),
    /// Ends it if its time to live has passed, and it was not renewed since this log time.
    Expire {
        /// The session.
        id: Uuid,
        /// When it was renewed last, as the proposer knew.
        renewed_ms: u64,
    },
}

/// A change of prepared queries. Their indexes are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PreparedCommand {
    /// Makes it.
    Create(Box<PreparedQuery>),
    /// Puts it in place of the one with its id, which must be there.
    Update(Box<PreparedQuery>),
    /// Removes it; it must be there.
    Delete(Uuid),
}

/// A step of restoring a snapshot. Rows are staged, on every server alike, until all have come: a restore that is given up or
/// interrupted leaves the tables as they were. A step that is repeated counts as done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestoreCommand {
    /// Rows will come under this id. Whatever was staged before is dropped.
    Begin {
        /// Chosen by whoever restores; never used again.
        id: u64,
    },
    /// The next rows.
    Stage {
        /// The restore.
        id: u64,
        /// How many such steps came before.
        number: u64,
        /// Some of [`Store::tables`](crate::Store::tables).
        rows: Vec<Bytes>,
    },
    /// What was staged takes the place of the tables.
    Commit {
        /// The restore.
        id: u64,
        /// How many [`Self::Stage`] there were.
        count: u64,
    },
    /// What was staged is dropped.
    Abort {
        /// The restore.
        id: u64,
    },
}

/// An entry that this release cannot read. The server that meets one must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// There are no bytes.
    Empty,
    /// Written by a newer release, or damaged.
    Format(u8),
    /// Damaged, or written by a newer release.
    Damaged,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the entry is empty"),
            Self::Format(format) => write!(
                f,
                "the entry has format {format}, this release reads format {FORMAT}: upgrade this server to the release of the others"
            ),
            Self::Damaged => f.write_str("the entry does not decode: it is damaged, or written by a newer release"),
        }
    }
}

impl std::error::Error for Unreadable {}

impl Entry {
    /// The bytes that go into the log.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let start = vec![FORMAT];
        postcard::to_extend(self, start).expect("a command is a plain value and memory is the only sink").into()
    }

    /// The entry back from the log.
    ///
    /// # Errors
    /// [`Unreadable`] when the bytes are not an entry of this release; nothing was changed.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        match bytes.split_first() {
            None => Err(Unreadable::Empty),
            Some((&FORMAT, body)) => match postcard::take_from_bytes(body) {
                Ok((entry, [])) => Ok(entry),
                Ok(_) | Err(_) => Err(Unreadable::Damaged),
            },
            Some((&format, _)) => Err(Unreadable::Format(format)),
        }
    }
}
