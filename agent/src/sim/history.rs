//! What clients did and were told, and what the nodes showed: the material of every invariant.

use crate::http::call::Reply;
use lictor_catalog::Index;
use uuid::Uuid;

/// How fresh a read was asked to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Default,
    Consistent,
    Stale,
}

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Put {
        key: String,
        value: String,
    },
    Cas {
        key: String,
        value: String,
        index: u64,
    },
    Delete {
        key: String,
    },
    Get {
        key: String,
        mode: Mode,
    },
    /// A blocking read: answered when the key's index is above `index`, or after `wait_ms`.
    Wait {
        key: String,
        index: u64,
        wait_ms: u64,
    },
    /// Makes a session.
    Open,
    Renew {
        session: Uuid,
    },
    /// Destroys a session.
    Close {
        session: Uuid,
    },
    Lock {
        key: String,
        value: String,
        session: Uuid,
    },
    Unlock {
        key: String,
        value: String,
        session: Uuid,
    },
    /// Asks who holds a lock.
    Sequencer {
        key: String,
    },
    /// Writes while this sequencer is not stale.
    Fenced {
        key: String,
        value: String,
        sequencer: String,
    },
    Other,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A write was made (`true`), or a compare-and-set did not match, a lock was not taken, a sequencer was stale.
    Acked(bool),
    /// The session's id, or the sequencer, that was asked for.
    Given(String),
    /// A read's value, its `ModifyIndex` and the answer's index.
    Found { value: Option<String>, modified: u64, index: u64 },
    /// It surely did not happen.
    Failed(String),
    /// It may have happened.
    Unknown,
    /// Any other answer.
    Replied,
}

/// One operation of a client.
#[derive(Clone, Debug)]
pub struct Op {
    pub node: usize,
    pub kind: Kind,
    /// The world's time, in ns.
    pub begun: u64,
    pub ended: Option<(u64, Deed)>,
    pub reply: Option<Reply>,
}

/// Something that a node showed.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: u64,
    pub node: usize,
    pub sight: Sight,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// It was elected, whatever came of it.
    Elected { epoch: u64 },
    /// It leads, and knows everything agreed before.
    Leads { epoch: u64 },
    /// Its state at an index.
    State { applied: Index, hash: u64 },
    /// It takes part in this cluster.
    Cluster(Uuid),
    /// It shows a lower index than it did.
    WentBack { from: Index, to: Index },
    /// It ended of its own accord.
    Ended(String),
    /// It could not start.
    Dead(String),
}
