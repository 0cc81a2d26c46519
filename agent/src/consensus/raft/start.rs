//! Starting a Raft engine: from what the log store recovered, or as one of the first servers of a new cluster.

use super::codec::{Conf, Entry, Handle, Vote};
use super::storage::Memory;
use super::{Config, ELECTION_TICKS, HEARTBEAT_TICKS, MULTIPLIER_MAX, Raft};
use crate::consensus::store::Recovered;
use crate::consensus::{Engine, EngineId, Index, Members, Snapshot};
use crate::dice::Dice;
use bytes::Bytes;
use raft::eraftpb as pb;
use raft::{RawNode, ReadOnlyOption, StateRole};
use std::collections::VecDeque;

/// One append carries at most so much.
const APPEND_BYTES_MAX: u64 = 1 << 20;
/// So many appends may be on their way to one peer.
const APPENDS_MAX: usize = 64;
/// A leader without a quorum takes no more than this.
const UNAGREED_BYTES_MAX: u64 = 64 << 20;
/// One turn hands out no more than this.
const TURN_BYTES_MAX: u64 = 4 << 20;

/// What was recovered cannot be started from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    #[error("log record {0} cannot be read by this version: run the version that wrote it, or empty the directory")]
    Record(u64),
    #[error(
        "the snapshot's record cannot be read by this version: run the version that wrote it, or empty the directory"
    )]
    Snapshot,
    #[error("the vote's record cannot be read by this version: run the version that wrote it, or empty the directory")]
    Vote,
    #[error(
        "log, snapshot and commit index contradict each other: empty the directory, the server joins again as a new one"
    )]
    Contradiction,
    #[error("an engine id of zero was given")]
    Id,
}

/// The state in which every first server of a cluster starts: a snapshot at index 1, with these members and an empty
/// catalog. Written by [`Write::Install`](crate::consensus::Write::Install) with no chunks, beside the cluster id.
///
/// Starting above zero makes every later server receive a snapshot, and with it the members; none replays a log whose
/// beginning says nothing of them.
#[must_use]
pub fn bootstrap(members: &Members) -> Snapshot {
    let mut voters: Vec<u64> = members.voters.iter().map(|member| member.engine.0).collect();
    voters.sort_unstable();
    let mut names: Vec<_> = members.voters.iter().map(|member| (member.engine.0, member.node)).collect();
    names.sort_unstable();
    let handle = Handle { index: 1, term: 1, conf: Conf { voters, ..Conf::default() }, names };
    Snapshot { index: Index(1), members: members.clone(), engine: handle.encode() }
}

/// A Raft engine behind the seam: the [`Make`](crate::consensus::Make) of this kind.
///
/// # Errors
/// [`RecoverError`] when the parts do not fit together.
pub fn make(found: &Recovered, config: &Config, dice: Dice) -> Result<Box<dyn Engine + Send>, RecoverError> {
    Ok(Box::new(Raft::recover(found, config.clone(), dice)?))
}

impl Raft {
    /// As [`Raft::new`], from what a log store found when it was opened.
    ///
    /// # Errors
    /// [`RecoverError`] when the parts do not fit together.
    pub fn recover(found: &Recovered, config: Config, dice: Dice) -> Result<Self, RecoverError> {
        Self::new(found.engine, found.snapshot.as_ref(), found.vote.as_deref(), &found.log, config, dice)
    }

    /// Starts from what the log store holds: nothing at all on a server that waits to be added.
    ///
    /// The host has put the snapshot's state in place; everything agreed after it comes out of `ready` again.
    ///
    /// # Errors
    /// [`RecoverError`] when the parts do not fit together.
    pub fn new(
        id: EngineId,
        snapshot: Option<&Snapshot>,
        vote: Option<&[u8]>,
        log: &[(u64, Bytes)],
        config: Config,
        dice: Dice,
    ) -> Result<Self, RecoverError> {
        if id.0 == 0 {
            return Err(RecoverError::Id);
        }
        let handle = snapshot.map(|snapshot| Handle::decode(&snapshot.engine)).transpose();
        let handle = handle.map_err(|_malformed| RecoverError::Snapshot)?;
        let vote = vote.map(Vote::decode).transpose().map_err(|_malformed| RecoverError::Vote)?;
        let base = handle.as_ref().map_or((0, 0), |handle| (handle.index, handle.term));
        let entries = entries(log, base)?;
        let hard = hard_state(vote, base, entries.len() as u64)?;
        // A server that has only just been told of its cluster has never answered anybody.
        let restarted = !entries.is_empty() || vote.is_some();
        let memory = Memory::new(hard.clone(), handle.clone(), entries);
        let multiplier = config.multiplier.clamp(1, MULTIPLIER_MAX);
        let node =
            RawNode::new(&settings(id, base.0, multiplier), memory, &slog::Logger::root(slog::Discard, slog::o!()))
                .map_err(|_refused| RecoverError::Contradiction)?;
        let names = handle.iter().flat_map(|handle| handle.names.iter().copied()).collect();
        let mut raft = Self {
            id: id.0,
            node,
            dice,
            config: Config { multiplier, ..config },
            timeout: 0,
            // Never the state at hand, so that the first timeout is drawn.
            drawn_for: (StateRole::Leader, u64::MAX),
            deaf: if restarted { ELECTION_TICKS * multiplier + 1 } else { 0 },
            confs: VecDeque::from([(
                base.0,
                handle.as_ref().map(|handle| handle.conf.clone()).unwrap_or_default(),
                names,
            )]),
            names: handle.iter().flat_map(|handle| handle.names.iter().copied()).collect(),
            agreed: VecDeque::new(),
            handed_out: base.0,
            queued: VecDeque::new(),
            batch: 0,
            written: Vote::of(&hard),
            durable_commit: hard.commit,
            compaction: None,
            transferred: None,
        };
        raft.overwrite_timeout();
        raft.elect_alone();
        raft.overwrite_timeout();
        Ok(raft)
    }
}

fn entries(log: &[(u64, Bytes)], base: (u64, u64)) -> Result<VecDeque<pb::Entry>, RecoverError> {
    let mut entries = VecDeque::with_capacity(log.len());
    let mut at = base;
    for (index, record) in log {
        let entry = Entry::decode(record).map_err(|_malformed| RecoverError::Record(*index))?;
        if entry.index != *index || entry.index != at.0 + 1 || entry.term < at.1 {
            return Err(RecoverError::Contradiction);
        }
        at = (entry.index, entry.term);
        entries.push_back(entry.into_engine().map_err(|_malformed| RecoverError::Record(*index))?);
    }
    if base.0 == 0 && !entries.is_empty() { Err(RecoverError::Contradiction) } else { Ok(entries) }
}

/// The commit index must lie between the snapshot and the end of the log, or the engine stops the process.
fn hard_state(vote: Option<Vote>, base: (u64, u64), length: u64) -> Result<pb::HardState, RecoverError> {
    let mut hard = pb::HardState { term: base.1, commit: base.0, ..pb::HardState::default() };
    if let Some(vote) = vote {
        if vote.commit > base.0 + length || vote.term < base.1 {
            return Err(RecoverError::Contradiction);
        }
        hard.term = vote.term;
        hard.vote = vote.vote;
        hard.commit = vote.commit.max(base.0);
    } else if length > 0 {
        return Err(RecoverError::Contradiction);
    }
    Ok(hard)
}

fn settings(id: EngineId, applied: u64, multiplier: u32) -> raft::Config {
    raft::Config {
        id: id.0,
        election_tick: (ELECTION_TICKS * multiplier) as usize,
        heartbeat_tick: (HEARTBEAT_TICKS * multiplier) as usize,
        applied,
        max_size_per_msg: APPEND_BYTES_MAX,
        max_inflight_msgs: APPENDS_MAX,
        check_quorum: true,
        pre_vote: true,
        read_only_option: ReadOnlyOption::Safe,
        batch_append: true,
        max_uncommitted_size: UNAGREED_BYTES_MAX,
        max_committed_size_per_ready: TURN_BYTES_MAX,
        ..raft::Config::default()
    }
}
