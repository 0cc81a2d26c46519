//! This server's copy of the catalog: the consensus engine, the store it feeds, the lease, and those who wait for either.
//!
//! It turns committed entries into a newer [`View`] and publishes it once per batch, before that batch's answers are given
//! (DESIGN §2). It never touches a disk or a socket: what the engine asks for leaves as effects, in order.

use crate::consensus::lease::Lease;
use crate::consensus::raft::Raft;
use crate::consensus::{Batch, Committed, Engine as _, EngineId, Letter, Members, News, Ready, Refused, Status, Write};
use crate::effect::{Answer, Effect, Ticket};
use crate::rpc::Unserved;
use crate::time::Instant;
use crate::view::{Leader, Server, View};
use lictor_catalog::model::NodeName;
use lictor_catalog::{Command, Entry, Index, Outcome, Store, Touched};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// One tick of the engine's clock.
pub const TICK: Duration = Duration::from_millis(50);
/// Ticks between two asks for the lease: the heartbeat's own rhythm.
const ASK_TICKS: u64 = 2;
/// Reads that wait for a quorum at most; more are refused.
const READS_MAX: usize = 16_384;
/// Writes that wait to be applied at most; more are refused.
const WRITES_MAX: usize = 65_536;

/// Where a fellow server is, as gossip tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub name: NodeName,
    pub rpc: SocketAddr,
    /// The log store that it says it has.
    pub engine: Option<EngineId>,
}

/// A committed entry that this release cannot read: the server must stop rather than diverge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log entry {index}: {cause}")]
pub struct Diverging {
    pub index: Index,
    pub cause: lictor_catalog::command::Unreadable,
}

/// Reads that wait until a quorum has spoken, and then until its index is applied.
#[derive(Debug, Default)]
struct Reads {
    next_ask: u64,
    /// Waiting to be carried by the next ask.
    queued: Vec<Ticket>,
    /// Under way. An ask may never be answered: its tickets then ride with the next one.
    asked: BTreeMap<u64, Vec<Ticket>>,
}

/// Log time (DESIGN §2): it stands still between leaders, so deadlines only lengthen.
#[derive(Clone, Copy, Debug)]
struct LogClock {
    epoch: u64,
    base_ms: u64,
    since: Instant,
}

/// See the module's page.
pub struct Replica {
    pub me: EngineId,
    engine: Raft,
    lease: Lease,
    store: Store,
    /// A state that arrived beside a letter, until the engine installs it.
    arrived: Option<Store>,
    /// The state of the last compaction or installation: what a peer that lags is sent.
    saved: Option<(Index, Store)>,
    writes: BTreeMap<Index, (Ticket, u64)>,
    next_write: u64,
    reads: Reads,
    clock: Option<LogClock>,
    /// What is published, and what has changed since.
    view: View,
    touched: BTreeSet<lictor_catalog::Watch>,
    replaced: bool,
    dirty: bool,
    answers: Vec<(Ticket, Answer)>,
    peers: BTreeMap<Uuid, Peer>,
    next_tick: Instant,
    ticks: u64,
    /// Applied once this is reached, a follower has caught up.
    catch_up: Option<(u64, Option<Index>)>,
    status: Status,
    /// The disk is full: proposals are refused until it has space again.
    disk_full: bool,
}

impl Replica {
    /// `store` is the state at the index of the engine's snapshot. Its own index is that of the last command, which may lie
    /// below: the snapshot may stand at a change of members. Asks and writes are numbered from `first`, which must be random.
    #[must_use]
    pub fn new(
        me: EngineId,
        engine: Raft,
        lease: Lease,
        (snapshot, store): (Index, Store),
        first: u64,
        now: Instant,
    ) -> Self {
        let status = engine.status();
        Self {
            me,
            engine,
            lease,
            saved: Some((snapshot, store.clone())),
            view: View { store: store.clone(), ..View::default() },
            store,
            arrived: None,
            writes: BTreeMap::new(),
            next_write: first,
            reads: Reads { next_ask: first, ..Reads::default() },
            clock: None,
            touched: BTreeSet::new(),
            replaced: true,
            dirty: true,
            answers: Vec::new(),
            peers: BTreeMap::new(),
            next_tick: now + TICK,
            ticks: 0,
            catch_up: None,
            status,
            disk_full: false,
        }
    }

    #[must_use]
    pub const fn status(&self) -> &Status {
        &self.status
    }

    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Leading, and everything agreed before this epoch is known here.
    #[must_use]
    pub const fn settled(&self) -> bool {
        self.status.leading && self.status.settled
    }

    /// The truth is known here, and so is a leader.
    #[must_use]
    pub const fn serves(&self) -> bool {
        self.view.caught_up && self.view.leader.is_some()
    }

    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.next_tick
    }

    /// Gossip told where the servers are.
    pub fn peers(&mut self, peers: BTreeMap<Uuid, Peer>) {
        if self.peers != peers {
            self.peers = peers;
            self.dirty = true;
        }
    }

    pub fn letter(&mut self, from: EngineId, letter: Letter, state: Option<Store>, now: Instant) {
        if letter.needs_state().is_some() {
            if state.is_none() {
                // Installed without its state, the snapshot would leave this server with another truth than the others.
                tracing::warn!("a snapshot of {from} came without its state and is dropped");
                return;
            }
            self.arrived = state;
        }
        if self.status.leader == Some(from) {
            self.view.heard = now;
        }
        if let Err(refused) = self.engine.step(from, letter) {
            tracing::debug!("refused a letter of {from}: {refused}");
        }
    }

    pub fn news(&mut self, peer: EngineId, news: News) {
        self.engine.peer(peer, news);
    }

    /// The disk has everything up to this batch.
    pub fn stored(&mut self, batch: u64, effects: &mut Vec<Effect>) {
        self.disk_full = false;
        let letters = self.engine.stored(Batch(batch));
        self.send(letters, effects);
    }

    pub fn disk_full(&mut self) {
        self.disk_full = true;
    }

    pub fn write(&mut self, ticket: Ticket, command: Command, now: Instant) {
        match self.propose(command, now) {
            Ok((index, id)) => drop(self.writes.insert(index, (ticket, id))),
            Err(why) => self.answers.push((ticket, Answer::Unserved(why))),
        }
    }

    /// Proposes for the leader itself; nobody waits for the answer.
    pub fn propose(&mut self, command: Command, now: Instant) -> Result<(Index, u64), Unserved> {
        if self.disk_full || self.writes.len() >= WRITES_MAX {
            return Err(Unserved::Busy);
        }
        let Some(clock) = self.clock.filter(|clock| clock.epoch == self.status.epoch && self.settled()) else {
            return Err(Unserved::NoLeader);
        };
        let elapsed = u64::try_from(now.since(clock.since).as_millis()).unwrap_or(u64::MAX);
        let id = self.next_write;
        self.next_write += 1;
        let entry = Entry { time_ms: clock.base_ms.saturating_add(elapsed), id, command };
        match self.engine.propose(entry.encode()) {
            Ok(index) => Ok((index, id)),
            Err(Refused::NotLeader(_)) => Err(Unserved::NoLeader),
            Err(_) => Err(Unserved::Busy),
        }
    }

    pub fn read_index(&mut self, ticket: Ticket, now: Instant) {
        if self.reads.queued.len() >= READS_MAX {
            self.answers.push((ticket, Answer::Unserved(Unserved::Busy)));
            return;
        }
        self.reads.queued.push(ticket);
        if self.reads.asked.is_empty() {
            self.ask(now);
        }
    }

    /// Asks a quorum for everybody who waits. Also how the lease is renewed: with nobody waiting it still counts.
    fn ask(&mut self, now: Instant) {
        let ask = self.reads.next_ask;
        self.reads.next_ask += 1;
        self.lease.asked(ask, &self.status, now);
        match self.engine.read_index(ask) {
            Ok(()) => {
                let tickets = std::mem::take(&mut self.reads.queued);
                self.reads.asked.insert(ask, tickets);
            }
            Err(_) if !self.status.leading => {
                let refused = self.reads.queued.drain(..);
                self.answers.extend(refused.map(|ticket| (ticket, Answer::Unserved(Unserved::NoLeader))));
            }
            // Not settled yet: the next tick asks again.
            Err(_) => {}
        }
    }

    /// Wishes for another configuration; the engine takes one at a time.
    pub fn change(&mut self, members: &Members) -> Result<(), Refused> {
        self.engine.change(members)
    }

    pub fn transfer(&mut self, to: EngineId) -> Result<(), Refused> {
        self.engine.transfer(to)
    }

    /// Ticks that are due. Missed ones are not made up for.
    pub fn timer(&mut self, now: Instant) {
        if now < self.next_tick {
            return;
        }
        self.next_tick = (self.next_tick + TICK).max(now);
        self.ticks += 1;
        self.engine.tick();
        self.status = self.engine.status();
        if self.ticks.is_multiple_of(ASK_TICKS) {
            // Whoever rode with an unanswered ask rides again.
            let stranded: Vec<Ticket> = std::mem::take(&mut self.reads.asked).into_values().flatten().collect();
            self.reads.queued.extend(stranded);
            if self.status.leading || !self.reads.queued.is_empty() {
                self.ask(now);
            }
            self.ask_to_catch_up();
        }
    }

    /// A server that never caught up asks the leader how far the truth reaches.
    fn ask_to_catch_up(&mut self) {
        if self.view.caught_up || self.status.leading || matches!(self.catch_up, Some((_, Some(_)))) {
            return;
        }
        let ask = self.reads.next_ask;
        self.reads.next_ask += 1;
        if self.engine.read_index(ask).is_ok() {
            self.catch_up = Some((ask, None));
        }
    }

    /// Ends a turn: carries out what the engine asks for, publishes what changed, then answers.
    ///
    /// # Errors
    /// [`Diverging`]; the server must stop.
    pub fn finish(&mut self, now: Instant, effects: &mut Vec<Effect>) -> Result<(), Diverging> {
        loop {
            while let Some(ready) = self.engine.ready() {
                self.carry_out(ready, effects)?;
            }
            self.status = self.engine.status();
            let applied = self.status.applied;
            if !self.engine.needs_compaction() || self.saved.as_ref().is_some_and(|(index, _)| *index == applied) {
                break;
            }
            self.saved = Some((applied, self.store.clone()));
            self.engine.compact(applied);
        }
        self.settle(now);
        self.publish(effects);
        effects.extend(self.answers.drain(..).map(|(ticket, answer)| Effect::Answer { ticket, answer }));
        Ok(())
    }

    fn carry_out(&mut self, ready: Ready, effects: &mut Vec<Effect>) -> Result<(), Diverging> {
        self.send(ready.now, effects);
        let state = ready.store.iter().find_map(|write| match write {
            Write::Install(snapshot) => {
                let arrived = self.arrived.take();
                self.saved = arrived.map(|store| (snapshot.index, store));
                self.saved.as_ref().map(|(_, store)| store.clone())
            }
            Write::Compact(_) => self.saved.as_ref().map(|(_, store)| store.clone()),
            _ => None,
        });
        effects.push(Effect::Store { batch: ready.batch.0, writes: ready.store, sync: ready.sync, state });
        let mut upto = None;
        for committed in ready.apply {
            upto = Some(committed.index());
            self.apply(committed)?;
        }
        if let Some(upto) = upto {
            self.engine.applied(upto);
        }
        for (ask, index) in ready.reads {
            self.safe(ask, index);
        }
        Ok(())
    }

    fn send(&mut self, letters: Vec<(EngineId, Letter)>, effects: &mut Vec<Effect>) {
        for (to, letter) in letters {
            let needed = letter.needs_state();
            let state = needed.and_then(|index| {
                self.saved.as_ref().filter(|(saved, _)| *saved == index).map(|(_, store)| store.clone())
            });
            if needed.is_some() && state.is_none() {
                // A newer state has taken its place; the engine sends another snapshot.
                self.engine.peer(to, News::SnapshotLost);
                continue;
            }
            effects.push(Effect::Letter { to, address: self.address(to), letter, state });
        }
    }

    /// A newcomer knows no members yet, and must answer its leader all the same: then gossip says whose log store it is.
    fn address(&self, peer: EngineId) -> Option<SocketAddr> {
        let member = self.status.members.node(peer).and_then(|node| self.peers.get(&node));
        member.or_else(|| self.peers.values().find(|known| known.engine == Some(peer))).map(|peer| peer.rpc)
    }

    fn apply(&mut self, committed: Committed) -> Result<(), Diverging> {
        self.dirty = true;
        match committed {
            Committed::Command { index, command } => {
                let entry = Entry::decode(&command).map_err(|cause| Diverging { index, cause })?;
                let applied = self.store.apply(index, &entry);
                self.touched.extend(applied.touched.watches);
                self.answer_write(index, Some((entry.id, applied.outcome)));
            }
            Committed::Members { index, .. } => {
                self.lease.void();
                self.answer_write(index, None);
            }
            Committed::Nothing { index } => self.answer_write(index, None),
            Committed::Snapshot(snapshot) => {
                if let Some((_, store)) = self.saved.as_ref().filter(|(index, _)| *index == snapshot.index) {
                    self.store = store.clone();
                }
                self.replaced = true;
                let passed = self.writes.split_off(&Index(snapshot.index.0 + 1));
                let lost = std::mem::replace(&mut self.writes, passed);
                self.answers.extend(lost.into_values().map(|(ticket, _)| (ticket, Answer::Unknown)));
            }
        }
        Ok(())
    }

    /// Another entry at a proposal's place means that the proposal is surely lost.
    fn answer_write(&mut self, index: Index, found: Option<(u64, Outcome)>) {
        let Some((ticket, id)) = self.writes.remove(&index) else { return };
        let answer = match found {
            Some((found, outcome)) if found == id => Answer::Applied(outcome),
            _ => Answer::Unserved(Unserved::NoLeader),
        };
        self.answers.push((ticket, answer));
    }

    fn safe(&mut self, ask: u64, index: Index) {
        let status = self.engine.status();
        self.lease.answered(ask, &status);
        if let Some((own, target)) = &mut self.catch_up
            && *own == ask
        {
            *target = Some(index);
        }
        let tickets = self.reads.asked.remove(&ask).unwrap_or_default();
        self.answers.extend(tickets.into_iter().map(|ticket| (ticket, Answer::ReadAt(index))));
    }

    /// Draws the conclusions of a turn: log time, lease, readiness.
    fn settle(&mut self, now: Instant) {
        if self.settled() {
            if self.clock.is_none_or(|clock| clock.epoch != self.status.epoch) {
                let base_ms = self.store.time_ms();
                self.clock = Some(LogClock { epoch: self.status.epoch, base_ms, since: now });
            }
        } else {
            self.clock = None;
        }
        let caught_up = self.view.caught_up
            || self.settled()
            || matches!(self.catch_up, Some((_, Some(index))) if self.status.applied >= index);
        let lease_until = self.lease.until(&self.status);
        let leader = self.status.leader.and_then(|peer| {
            let id = self.status.members.node(peer)?;
            self.peers.get(&id).map(|peer| Leader { id, rpc: peer.rpc })
        });
        let view = &mut self.view;
        let leading = self.status.leading && self.status.settled;
        self.dirty |= (caught_up, leading, self.status.epoch) != (view.caught_up, view.leading, view.epoch)
            || lease_until != view.lease_until
            || leader != view.leader
            || self.ticks.is_multiple_of(ASK_TICKS);
        (view.caught_up, view.leading, view.epoch) = (caught_up, leading, self.status.epoch);
        (view.lease_until, view.leader) = (lease_until, leader);
        view.applied = self.status.applied;
    }

    fn publish(&mut self, effects: &mut Vec<Effect>) {
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        self.view.store = self.store.clone();
        self.view.servers = self.servers();
        let touched = Touched {
            all: std::mem::take(&mut self.replaced),
            watches: std::mem::take(&mut self.touched).into_iter().collect(),
        };
        effects.push(Effect::Publish { view: Arc::new(self.view.clone()), touched });
    }

    fn servers(&self) -> Arc<[Server]> {
        let members = &self.status.members;
        members
            .all()
            .map(|member| {
                let peer = self.peers.get(&member.node);
                Server {
                    id: member.node,
                    name: peer.map(|peer| peer.name.clone()).unwrap_or_default(),
                    address: peer.map(|peer| peer.rpc.to_string()).unwrap_or_default(),
                    leader: self.status.leader == Some(member.engine),
                    voter: members.is_voter(member.engine),
                    last_index: self.status.progress.get(&member.engine).copied().unwrap_or_default(),
                }
            })
            .collect()
    }
}
