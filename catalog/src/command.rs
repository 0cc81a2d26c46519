//! Every write that may enter the replicated log: one closed enum, numbered and encoded here.
//!
//! An entry of the log is an [`Entry`]: the time its batch was proposed at, an id by which the proposer finds the answer,
//! and the command. An entry that this release cannot read stops the server rather than letting it diverge.

use crate::model::{Check, CheckId, Index, Node, NodeName, Service, ServiceId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The highest feature level that this release reads and, once every server offers it, writes.
pub const FEATURE_LEVEL: u32 = 1;

/// First byte of every encoded entry.
const FORMAT: u8 = 1;

/// One entry of the replicated log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Log time in ms: it never falls, and stands still while there is no leader (DESIGN §2).
    pub time_ms: u64,
    /// Chosen by the proposer, unique enough to find the answer by; 0 when nobody waits.
    pub id: u64,
    pub command: Command,
}

/// A write. Everything volatile (time, ids, tokens) has been resolved into it by the proposer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    Register(Box<Register>),
    Deregister(Deregister),
    Kv(KvCommand),
    /// Every server offers this level now: commands of it may be proposed from here on. It never falls.
    FeatureLevel(u32),
}

/// A node, with any of: one of its services, some of its checks. All or nothing. The indexes in the rows are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    pub node: Node,
    /// Leave the node's row as it is if it exists; its address may then be empty.
    pub skip_node_update: bool,
    pub service: Option<Service>,
    pub checks: Vec<Check>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deregister {
    /// The node and everything on it.
    Node(NodeName),
    /// The service and its checks.
    Service(NodeName, ServiceId),
    Check(NodeName, CheckId),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvCommand {
    Set {
        key: String,
        value: Bytes,
        flags: u64,
    },
    /// Sets when the key's `modify_index` equals `index`; 0 means "must not exist".
    Cas {
        key: String,
        value: Bytes,
        flags: u64,
        index: Index,
    },
    Delete {
        key: String,
    },
    /// Deletes when the key's `modify_index` equals `index`; an absent key counts as deleted.
    DeleteCas {
        key: String,
        index: Index,
    },
    /// Deletes every key that starts with `prefix`.
    DeleteTree {
        prefix: String,
    },
}

/// An entry that this release cannot read. The server that meets one must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    Empty,
    /// Written by a newer release, or damaged.
    Format(u8),
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
