//! One replicated log behind a sans-IO seam.
//!
//! This module owns the words that the rest of the agent uses for consensus: who the peers are, what a turn of the engine
//! asks for ([`Ready`]), what goes to the disk ([`Write`]) and what comes out agreed ([`Committed`]). It never shows a
//! term, a vote or a ballot, opens no socket or file, reads no clock and rolls no dice of its own.
//!
//! # What the host does
//!
//! After every call of the engine, and until [`Engine::ready`] answers `None`:
//!
//! 1. send [`Ready::now`]; a letter whose [`Letter::needs_state`] names an index travels with the catalog encoded at that
//!    index (the state of the last [`Write::Compact`] or [`Write::Install`]) as a stream beside it, and its outcome is told
//!    by [`Engine::peer`] with [`News::SnapshotArrived`] or [`News::SnapshotLost`];
//! 2. queue [`Ready::store`] for the disk; everything queued may go in one transaction, synced when one of the batches asks
//!    for [`Ready::sync`];
//! 3. apply [`Ready::apply`] in order, then call [`Engine::applied`]; answer [`Ready::reads`] once `applied` reached them;
//! 4. when a batch and all before it are on the disk (or in its cache, where `sync` was false), call [`Engine::stored`] and
//!    send what it returns.
//!
//! A letter that needs state is stepped only after its stream has arrived whole. If the next `ready` then holds
//! [`Write::Install`] with that index, the state belongs to it: its chunks go into the same transaction, and it replaces the
//! store when [`Committed::Snapshot`] comes out. Otherwise the letter was stale and the state is dropped.

pub mod bootstrap;
#[cfg(unix)]
pub mod file;
pub mod lease;
#[cfg(feature = "malformed")]
pub(crate) mod malformed;
pub mod raft;
pub mod store;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "an unwrap that fails is a test that fails")]
mod tests;

pub use lictor_catalog::Index;

use crate::dice::Dice;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use uuid::Uuid;

/// First byte of every encoded letter.
const FORMAT: u8 = 1;

/// A log store's identity: random, made with the store, never used again. An emptied server is somebody else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EngineId(pub u64);

/// Whom the engine talks to.
pub type Peer = EngineId;

impl fmt::Display for EngineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One server of the replicated configuration: its log store, and the node that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    pub engine: EngineId,
    pub node: Uuid,
}

/// The replicated configuration. Learners get the log and have no vote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    pub voters: Vec<Member>,
    pub learners: Vec<Member>,
}

impl Members {
    /// Voters, then learners.
    pub fn all(&self) -> impl Iterator<Item = &Member> {
        self.voters.iter().chain(&self.learners)
    }

    #[must_use]
    pub fn node(&self, peer: Peer) -> Option<Uuid> {
        self.all().find(|member| member.engine == peer).map(|member| member.node)
    }

    #[must_use]
    pub fn is_voter(&self, peer: Peer) -> bool {
        self.voters.iter().any(|member| member.engine == peer)
    }
}

/// What one engine says to another. Opaque: only an engine of the same kind can read it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Letter(Content);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Content {
    Raft(Box<raft::codec::Message>),
}

/// Bytes that are not a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLetter {
    #[error("consensus letter of format {0}, but this version reads format {FORMAT}: upgrade this server first")]
    Format(u8),
    #[error("consensus letter cannot be decoded: the peer is broken or the connection is damaged, reconnect")]
    Damaged,
}

impl Letter {
    #[must_use]
    pub fn encode(&self) -> Bytes {
        encode(FORMAT, self)
    }

    /// # Errors
    /// [`BadLetter`] when the bytes are of another format or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadLetter> {
        match bytes.split_first() {
            Some((&FORMAT, rest)) => match postcard::take_from_bytes(rest) {
                Ok((letter, [])) => Ok(letter),
                _ => Err(BadLetter::Damaged),
            },
            Some((&format, _)) => Err(BadLetter::Format(format)),
            None => Err(BadLetter::Damaged),
        }
    }

    /// The index whose encoded state must travel beside this letter.
    #[must_use]
    pub fn needs_state(&self) -> Option<Index> {
        let Content::Raft(message) = &self.0;
        message.snapshot.as_ref().map(|snapshot| Index(snapshot.index))
    }
}

/// The postcard form of `value` behind a first byte that names the format.
fn encode<T: Serialize>(format: u8, value: &T) -> Bytes {
    postcard::to_extend(value, vec![format]).expect("memory takes every value of our own types").into()
}

/// A handle on the state at one index. The state itself travels and is stored beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub index: Index,
    pub members: Members,
    /// What the engine needs to go on from here.
    engine: Bytes,
}

/// One change of what is on the disk. All writes of a batch are one transaction. Each may be repeated.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Log records, contiguous; whatever stood at the first one's index and after it goes.
    Append(Vec<(u64, Bytes)>),
    /// What the engine has promised. `guard`: losing it could elect two leaders (two-phase commit).
    Vote { record: Bytes, guard: bool },
    /// The whole log goes; the state at the snapshot's index takes its place.
    Install(Snapshot),
    /// The log up to the snapshot's index goes; the state at that index takes its place.
    Compact(Snapshot),
    /// The bootstrap promise (see [`bootstrap`]), or none any more.
    Promise(Option<Bytes>),
    /// The cluster this store belongs to. It changes only when a lost quorum is recovered from.
    Cluster(Uuid),
}

/// Names a batch; later ones are greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Batch(pub u64);

/// What one turn of the engine asks for.
#[derive(Clone, Debug, Default)]
pub struct Ready {
    pub batch: Batch,
    /// May leave before the disk.
    pub now: Vec<(Peer, Letter)>,
    /// One transaction, opaque to the disk.
    pub store: Vec<Write>,
    /// False: this batch needs no fsync.
    pub sync: bool,
    /// How many letters wait for [`Engine::stored`].
    pub then: usize,
    /// Agreed, in order, each once per start.
    pub apply: Vec<Committed>,
    /// An ask of [`Engine::read_index`] and the index from which the answer is fresh.
    pub reads: Vec<(u64, Index)>,
}

/// What was agreed.
#[derive(Clone, Debug, PartialEq)]
pub enum Committed {
    Command {
        index: Index,
        command: Bytes,
    },
    /// These members are in force now. While a joint change runs it comes out twice; it is done when [`Status::changing`]
    /// is false.
    Members {
        index: Index,
        members: Members,
    },
    /// The state that came with [`Write::Install`] replaces ours.
    Snapshot(Snapshot),
    /// The engine's own entry: nothing to apply, but the index moves.
    Nothing {
        index: Index,
    },
}

impl Committed {
    #[must_use]
    pub const fn index(&self) -> Index {
        match self {
            Self::Command { index, .. } | Self::Members { index, .. } | Self::Nothing { index } => *index,
            Self::Snapshot(snapshot) => snapshot.index,
        }
    }
}

/// What the network knows about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    Unreachable,
    Reconnected,
    SnapshotArrived,
    SnapshotLost,
}

/// Why the engine did not take a call. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    #[error("this server does not lead; ask the leader")]
    NotLeader(Option<Peer>),
    #[error("the leader is busy (not settled, handing over, or too much waits for agreement); try again")]
    Busy,
    #[error("a change of members is under way; try again when it is done")]
    ChangePending,
    #[error("these are the members already")]
    Unchanged,
    #[error("the engine cannot do this")]
    Unsupported,
    #[error("a letter or a list of members that makes no sense was refused")]
    Malformed,
    /// The leader was told of records that are no longer here: the disk lost what it had said was synced.
    #[error("this server's log ends at index {last}, but it told the leader that it holds index {told}")]
    Forgotten { last: Index, told: Index },
}

/// How far a log reaches, to be compared with others of the same cluster and for nothing else: of two servers the one with
/// the greater end lacks nothing that was agreed and the other has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogEnd {
    epoch: u64,
    index: u64,
}

impl LogEnd {
    /// Reads what `Display` wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, index) = text.split_once('.')?;
        Some(Self { epoch: epoch.parse().ok()?, index: index.parse().ok()? })
    }
}

impl fmt::Display for LogEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.index)
    }
}

/// A log without its quorum, taken as if everything in it had been agreed.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The commands after [`Status::applied`].
    pub commands: Vec<(Index, Bytes)>,
    /// Stands for the end of the log, with the members that were asked for.
    pub snapshot: Snapshot,
    /// The [`Write::Vote`] that belongs to it.
    pub vote: Bytes,
}

/// How the engine stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub leader: Option<Peer>,
    pub leading: bool,
    /// Rises with every change of leadership.
    pub epoch: u64,
    pub committed: Index,
    pub applied: Index,
    /// Where the log ends here.
    pub last: Index,
    pub end: LogEnd,
    pub members: Members,
    /// A change of members is under way.
    pub changing: bool,
    /// An entry of this epoch has been applied here: what was agreed before it is known.
    pub settled: bool,
    /// A transfer of leadership was begun in this epoch: no lease for the rest of it.
    pub transferred: bool,
    /// On the leader: how far each peer's log is known to reach.
    pub progress: BTreeMap<Peer, Index>,
}

/// Makes a server's engine from what its log store holds, which is nothing on a server that waits to be added. The host
/// gets one at its start: nothing else knows which engine there is.
pub type Make = fn(&store::Recovered, &raft::Config, Dice) -> Result<Box<dyn Engine + Send>, raft::RecoverError>;

/// One replicated log. No clock, socket or disk inside: effects wait in [`Engine::ready`].
pub trait Engine {
    /// One tick of the caller's clock. Ticks that were missed are never made up for: that would shorten promises.
    fn tick(&mut self);

    /// # Errors
    /// [`Refused::Malformed`] when the letter makes no sense, [`Refused::Busy`] when too much is asked.
    fn step(&mut self, from: Peer, letter: Letter) -> Result<(), Refused>;

    /// Leader only. Returns the place the command will have if it is committed: another entry applied there means surely
    /// lost; a snapshot past it, unknown. The command carries its own id.
    ///
    /// # Errors
    /// [`Refused::NotLeader`] or [`Refused::Busy`]; surely not proposed.
    fn propose(&mut self, command: Bytes) -> Result<Index, Refused>;

    /// May never answer: the caller times out and asks again with a fresh `ask`.
    ///
    /// # Errors
    /// [`Refused::NotLeader`] without a leader, [`Refused::Busy`] on one that is not settled or has too many asks.
    fn read_index(&mut self, ask: u64) -> Result<(), Refused>;

    /// Leader only: hands leadership to a voter. May not come about.
    ///
    /// # Errors
    /// [`Refused::NotLeader`], or [`Refused::Unsupported`] when `to` is no other voter.
    fn transfer(&mut self, to: Peer) -> Result<(), Refused>;

    /// Leader only: the wished members, whole; one change at a time. A leader should be handed over before it is removed.
    ///
    /// # Errors
    /// [`Refused`], as its variants say.
    fn change(&mut self, members: &Members) -> Result<(), Refused>;

    fn ready(&mut self) -> Option<Ready>;

    /// Everything up to this batch is where its `sync` wanted it; returns the letters that waited for that.
    fn stored(&mut self, batch: Batch) -> Vec<(Peer, Letter)>;

    /// Everything up to `upto` is applied.
    fn applied(&mut self, upto: Index);

    /// The log should be compacted: it is long, or a peer needs a newer snapshot than there is.
    fn needs_compaction(&self) -> bool;

    /// The log up to `upto`, which has been applied, may be forgotten in favour of the state there: the host keeps a clone of
    /// the state that it has applied, and calls this. The next `ready` holds the [`Write::Compact`] with that index, unless a
    /// newer snapshot made it needless. What the host kept is written after that, little by little, while the old state and
    /// the whole log still stand in the log store.
    fn compact(&mut self, upto: Index);

    fn peer(&mut self, peer: Peer, news: News);

    /// What an operator makes of this log when its quorum is lost for good: see [`Claim`]. Changes nothing here; the engine
    /// is to be replaced by one made from it.
    fn claim(&self, members: &Members) -> Option<Claim>;

    fn status(&self) -> Status;
}
