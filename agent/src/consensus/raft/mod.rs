//! Raft behind the seam: an adapter of the `raft` crate (`=0.7.0`).
//!
//! It owns the order in which a turn's effects happen and every trap of that crate that a caller could fall into; each
//! guard says which. It reads no clock (ticks come in) and uses no chance but its own dice: after each call it overwrites the
//! election timeout, which the crate draws from the thread's generator, so that a seed replays a run.

pub mod codec;
mod guard;
mod start;
mod storage;
mod turn;

pub use start::{RecoverError, bootstrap, make};

use super::{
    Batch, Claim, Committed, Engine, EngineId, Index, Letter, Member, Members, News, Peer, Ready, Refused, Snapshot,
};
use super::{Content, LogEnd, Status};
use crate::dice::Dice;
use bytes::Bytes;
use codec::{Change, ChangeKind, Conf, Handle, Names, Vote};
use raft::eraftpb as pb;
use raft::{RawNode, SnapshotStatus, StateRole};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use storage::Memory;

/// A leader is heard every so many ticks.
pub const HEARTBEAT_TICKS: u32 = 2;
/// A follower waits at least so many ticks before it stands for election, and less than twice as many.
pub const ELECTION_TICKS: u32 = 10;
/// The largest stretch of heartbeats and elections.
pub const MULTIPLIER_MAX: u32 = 100;
/// Asks for a read index that may wait on a leader.
const ASKS_MAX: usize = 4096;

/// How a Raft engine is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Stretches heartbeats and elections alike (Consul's `raft_multiplier`).
    pub multiplier: u32,
    /// Past this many bytes of log in memory, [`Engine::needs_compaction`] says so.
    pub log_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { multiplier: 1, log_bytes_max: 32 << 20 }
    }
}

/// One Raft server. See [`Engine`] for the calls.
pub struct Raft {
    id: u64,
    node: RawNode<Memory>,
    dice: Dice,
    config: Config,
    /// The election timeout in force, and the role and the term it was drawn for.
    timeout: usize,
    drawn_for: (StateRole, u64),
    /// Ticks for which vote requests are dropped after a restart.
    deaf: u32,
    names: Names,
    /// Configurations by the index from which they hold, the one at the last snapshot first.
    confs: VecDeque<(u64, Conf, Names)>,
    /// Agreed, but not handed out yet.
    agreed: VecDeque<Agreed>,
    handed_out: u64,
    /// Batches given out and not reported as stored.
    queued: VecDeque<Queued>,
    batch: u64,
    written: Vote,
    /// The commit index that is surely on the disk.
    durable_commit: u64,
    compaction: Option<Handle>,
    /// The epoch in which a transfer was begun last.
    transferred: Option<u64>,
}

enum Agreed {
    Entry(pb::Entry),
    Snapshot(Snapshot),
}

struct Queued {
    batch: u64,
    number: Option<u64>,
    sync: bool,
    commit: u64,
    installed: Option<Snapshot>,
    letters: Vec<(Peer, Letter)>,
}

impl Engine for Raft {
    fn tick(&mut self) {
        self.node.mut_store().free_some();
        self.deaf = self.deaf.saturating_sub(1);
        if self.must_wait_for_disk() {
            return;
        }
        self.node.tick();
        self.elect_alone();
        self.leave_joint();
        self.overwrite_timeout();
    }

    fn step(&mut self, from: Peer, letter: Letter) -> Result<(), Refused> {
        let Content::Raft(message) = letter.0;
        let message = message.into_engine(from.0, self.id).map_err(|codec::Malformed| Refused::Malformed)?;
        let step = self.admit(&message);
        if matches!(step, Ok(true)) {
            // What remains are a peer that is no member any more and the like: nothing the sender could mend.
            let _ = self.node.step(message);
            self.overwrite_timeout();
        }
        step.map(|_admitted| ())
    }

    fn propose(&mut self, command: Bytes) -> Result<Index, Refused> {
        self.leads()?;
        // An empty entry is the engine's own.
        if command.is_empty() {
            return Err(Refused::Malformed);
        }
        let proposed = self.node.propose(Vec::new(), command.into());
        self.overwrite_timeout();
        proposed.map_err(|_dropped| Refused::Busy)?;
        Ok(Index(self.node.raft.raft_log.last_index()))
    }

    fn read_index(&mut self, ask: u64) -> Result<(), Refused> {
        let raft = &self.node.raft;
        // The engine would drop all these without a word.
        if raft.leader_id == 0 {
            return Err(Refused::NotLeader(None));
        }
        let leading = raft.state == StateRole::Leader;
        if leading && (!raft.commit_to_current_term() || raft.pending_read_count() >= ASKS_MAX) {
            return Err(Refused::Busy);
        }
        let mut context = self.id.to_le_bytes().to_vec();
        context.extend(ask.to_le_bytes());
        self.node.read_index(context);
        self.overwrite_timeout();
        Ok(())
    }

    fn transfer(&mut self, to: Peer) -> Result<(), Refused> {
        self.leads()?;
        if to.0 == self.id || !self.node.raft.prs().conf().voters().contains(to.0) {
            return Err(Refused::Unsupported);
        }
        self.transferred = Some(self.node.raft.term);
        self.node.transfer_leader(to.0);
        self.overwrite_timeout();
        Ok(())
    }

    fn change(&mut self, members: &Members) -> Result<(), Refused> {
        self.leads()?;
        if self.changing() {
            return Err(Refused::ChangePending);
        }
        // An entry of our own term must have been agreed first (the single-server bug of Raft's dissertation, §4.1).
        if !self.node.raft.commit_to_current_term() {
            return Err(Refused::Busy);
        }
        let (changes, names) = self.difference(members)?;
        let change = Change::new(changes, &names).into_engine().map_err(|codec::Malformed| Refused::Malformed)?;
        let proposed = self.node.propose_conf_change(Vec::new(), change);
        self.overwrite_timeout();
        proposed.map_err(|_dropped| Refused::Busy)
    }

    fn ready(&mut self) -> Option<Ready> {
        let ready = self.turn();
        self.overwrite_timeout();
        ready
    }

    fn stored(&mut self, batch: Batch) -> Vec<(Peer, Letter)> {
        let letters = self.on_stored(batch.0);
        self.overwrite_timeout();
        letters
    }

    fn applied(&mut self, upto: Index) {
        self.advance_applied(upto.0.min(self.handed_out));
        self.overwrite_timeout();
    }

    fn needs_compaction(&self) -> bool {
        let store = self.node.raft.store();
        (store.stale.get() || store.bytes() > self.config.log_bytes_max)
            && self.compaction.is_none()
            && store.snapshot.as_ref().is_some_and(|snapshot| self.node.raft.raft_log.applied() > snapshot.index)
    }

    fn compact(&mut self, upto: Index) {
        self.compaction = self.handle_at(upto.0);
    }

    fn peer(&mut self, peer: Peer, news: News) {
        match news {
            News::Unreachable => self.node.report_unreachable(peer.0),
            // Its next heartbeat answer resumes it.
            News::Reconnected => {}
            News::SnapshotArrived => self.node.report_snapshot(peer.0, SnapshotStatus::Finish),
            News::SnapshotLost => self.node.report_snapshot(peer.0, SnapshotStatus::Failure),
        }
        self.overwrite_timeout();
    }

    fn claim(&self, members: &Members) -> Option<Claim> {
        self.claimed(members)
    }

    fn status(&self) -> Status {
        let raft = &self.node.raft;
        let leading = raft.state == StateRole::Leader;
        let progress = if leading {
            let last = |id: &u64, matched| if *id == self.id { raft.raft_log.persisted } else { matched };
            raft.prs().iter().map(|(id, peer)| (EngineId(*id), Index(last(id, peer.matched)))).collect()
        } else {
            BTreeMap::new()
        };
        Status {
            leader: (raft.leader_id != 0).then_some(EngineId(raft.leader_id)),
            leading,
            epoch: raft.term,
            committed: Index(raft.raft_log.committed),
            applied: Index(raft.raft_log.applied()),
            last: Index(raft.raft_log.last_index()),
            end: LogEnd { epoch: raft.raft_log.last_term(), index: raft.raft_log.last_index() },
            members: self.members(&self.conf()),
            changing: self.changing(),
            settled: raft.apply_to_current_term(),
            transferred: self.transferred == Some(raft.term),
            progress,
        }
    }
}

impl Raft {
    fn leads(&self) -> Result<(), Refused> {
        let raft = &self.node.raft;
        if raft.state == StateRole::Leader {
            return Ok(());
        }
        Err(Refused::NotLeader((raft.leader_id != 0).then_some(EngineId(raft.leader_id))))
    }

    fn conf(&self) -> Conf {
        Conf::of(&self.node.raft.prs().conf().to_conf_state())
    }

    fn changing(&self) -> bool {
        self.conf().is_joint() || (self.node.raft.state == StateRole::Leader && self.node.raft.has_pending_conf())
    }

    /// Who is in a configuration, with their nodes. Voters on their way out still count as voters.
    fn members(&self, conf: &Conf) -> Members {
        let with_nodes = |ids: BTreeSet<u64>| {
            let member = |id| Member { engine: EngineId(id), node: self.names.get(&id).copied().unwrap_or_default() };
            ids.into_iter().map(member).collect::<Vec<_>>()
        };
        let voters: BTreeSet<u64> = conf.voters.iter().chain(&conf.outgoing).copied().collect();
        let learners: BTreeSet<u64> = conf.learners.iter().copied().filter(|id| !voters.contains(id)).collect();
        Members { voters: with_nodes(voters), learners: with_nodes(learners) }
    }

    /// The steps from the members in force to the wished ones, and the nodes of both.
    fn difference(&self, wished: &Members) -> Result<(Vec<(ChangeKind, u64)>, Names), Refused> {
        let ids = |members: &[Member]| members.iter().map(|member| member.engine.0).collect::<BTreeSet<u64>>();
        let (voters, learners) = (ids(&wished.voters), ids(&wished.learners));
        let names: Names = wished.all().map(|member| (member.engine.0, member.node)).collect();
        let count = wished.all().count();
        if voters.is_empty() || names.contains_key(&0) || names.len() != count || count > 256 {
            return Err(Refused::Malformed);
        }
        let now = self.conf();
        let (old_voters, old_learners) = (BTreeSet::from_iter(now.voters), BTreeSet::from_iter(now.learners));
        let mut changes = Vec::new();
        changes.extend(voters.difference(&old_voters).map(|id| (ChangeKind::Voter, *id)));
        changes.extend(learners.difference(&old_learners).map(|id| (ChangeKind::Learner, *id)));
        let gone = old_voters.union(&old_learners).filter(|id| !names.contains_key(id));
        changes.extend(gone.map(|id| (ChangeKind::Remove, *id)));
        if changes.is_empty() { Err(Refused::Unchanged) } else { Ok((changes, names)) }
    }
}
