//! Known bugs, to be injected into every node of a world: the proof that the invariants are sharp.
//!
//! Each is a mistake that a real system shipped, or one that a rule of ours exists to prevent. They are decorators: around
//! the log store ([`storage`]), around the consensus engine ([`engine`]), around gossip's bytes ([`refutation`]), and here
//! around the calls, the hub, the clocks and the engine's id. Nothing of them is in the program, which has no switch for any.

mod engine;
mod refutation;
mod storage;

pub(super) use engine::engine;
pub(super) use storage::storage;

use super::rpc::{Failure, Response};
use crate::effect::Pushed;
use bytes::Bytes;
use lictor_catalog::Outcome;
use uuid::Uuid;

/// See the module's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// The log store keeps the term and forgets for whom this server voted: restarted, it votes a second time. Raft's paper
    /// (§5.2, figure 2) has both on stable storage before the answer.
    VoteNotPersisted,
    /// Batches are reported as stored before they are synced. LazyFS showed such losses in seven systems; etcd
    /// #14370 is a lost acknowledged write.
    AckBeforeSync,
    /// An earlier answer about the read index is given again without asking the quorum: etcd #20418, a stale
    /// linearizable read after a pause.
    StaleReadIndex,
    /// Some publications never reach the hub: a blocking read sleeps through a change.
    LostWakeup,
    /// No member's incarnation ever rises in the eyes of others: whoever is suspected dies, however alive he is (SWIM, §4.2).
    RefutationIgnored,
    /// The bootstrap promise is forgotten: after a crash at the right moment one set of servers makes two clusters.
    PromiseNotPersisted,
    /// An emptied server comes back under the id of its lost log and votes again, as where Raft's id is the node's own.
    ReusedEngineId,
    /// A push that failed is believed to be written: the catalog lacks what the agent owns until the next full sync.
    ForgetfulSync,
    /// The ticks of the time it was down are made up for at the start, so that a restarted server votes inside a lease that it
    /// helped to grant.
    VoteInsideLease,
    /// The lease outlives the beginning of a transfer: the heir writes while the old leader still answers (Raft's
    /// dissertation, §6.4.1).
    LeaseInTransfer,
    /// A compaction stores the state of the one before: the snapshot says less than its index.
    SnapshotOfEarlier,
    /// Clocks run three times too fast, and log time with them: sessions end before their TTL, and locks pass on under the
    /// hands of their holders (Burrows 2006, §2.8: how much faster than a client its master's clock runs must be bounded).
    RunawayClock,
    /// A lost answer to a forwarded call is taken for a refused connection, and the write is made again.
    LostTakenForUnsent,
}

impl Bug {
    pub const ALL: [Self; 13] = [
        Self::VoteNotPersisted,
        Self::AckBeforeSync,
        Self::StaleReadIndex,
        Self::LostWakeup,
        Self::RefutationIgnored,
        Self::PromiseNotPersisted,
        Self::ReusedEngineId,
        Self::ForgetfulSync,
        Self::VoteInsideLease,
        Self::LeaseInTransfer,
        Self::SnapshotOfEarlier,
        Self::RunawayClock,
        Self::LostTakenForUnsent,
    ];

    /// As it is written in the line that replays a run.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::VoteNotPersisted => "vote-not-persisted",
            Self::AckBeforeSync => "ack-before-sync",
            Self::StaleReadIndex => "stale-read-index",
            Self::LostWakeup => "lost-wakeup",
            Self::RefutationIgnored => "refutation-ignored",
            Self::PromiseNotPersisted => "promise-not-persisted",
            Self::ReusedEngineId => "reused-engine-id",
            Self::ForgetfulSync => "forgetful-sync",
            Self::VoteInsideLease => "vote-inside-lease",
            Self::LeaseInTransfer => "lease-in-transfer",
            Self::SnapshotOfEarlier => "snapshot-of-earlier",
            Self::RunawayClock => "runaway-clock",
            Self::LostTakenForUnsent => "lost-taken-for-unsent",
        }
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bug| bug.name() == name)
    }
}

/// The id of a new log store.
pub(super) fn fresh_engine(bug: Option<Bug>, node: Uuid, fresh: u64) -> u64 {
    match bug {
        Some(Bug::ReusedEngineId) => node.as_u64_pair().0,
        _ => fresh,
    }
}

/// How much faster than the world a node's clock runs, in parts per billion.
pub(super) const fn drift(bug: Option<Bug>, drift: i64) -> i64 {
    match bug {
        Some(Bug::RunawayClock) => 2_000_000_000,
        _ => drift,
    }
}

/// A gossip packet on its way; `None` when it is lost.
pub(super) fn packet(bug: Option<Bug>, bytes: Bytes) -> Option<Bytes> {
    match bug {
        Some(Bug::RefutationIgnored) => refutation::packet(bytes),
        _ => Some(bytes),
    }
}

/// A request or an answer of gossip over TCP.
pub(super) fn body(bug: Option<Bug>, bytes: Bytes) -> Bytes {
    match bug {
        Some(Bug::RefutationIgnored) => refutation::body(&bytes).unwrap_or(bytes),
        _ => bytes,
    }
}

/// Whether the hub hears of a publication; `count` is how many there were before.
pub(super) const fn heard(bug: Option<Bug>, count: u64) -> bool {
    !matches!(bug, Some(Bug::LostWakeup)) || !count.is_multiple_of(3)
}

/// What anti-entropy is told of a push.
pub(super) fn pushed(bug: Option<Bug>, result: Pushed) -> Pushed {
    match (bug, result) {
        (Some(Bug::ForgetfulSync), Pushed::Failed) => Pushed::Applied(Outcome::Done),
        (_, result) => result,
    }
}

/// What a forwarder is told of a call.
pub(super) fn answered(bug: Option<Bug>, answer: Result<Response, Failure>) -> Result<Response, Failure> {
    match (bug, answer) {
        (Some(Bug::LostTakenForUnsent), Err(Failure::Lost)) => Err(Failure::NotSent),
        (_, answer) => answer,
    }
}
