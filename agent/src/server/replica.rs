//! This server's copy of the catalog: the consensus engine, the store it feeds, the lease, and those who wait for either.
//!
//! It turns committed entries into a newer [`View`] and publishes it once per batch, before that batch's answers are given.
//! It never touches a disk or a socket: what the engine asks for leaves as effects, in order.

use super::health::Pulse;
use super::log_time::LogClock;
use super::reads::{CatchUp, Reads};
use crate::consensus::lease::Lease;
use crate::consensus::{
    Batch, Claim, Committed, Engine, EngineId, Letter, Members, News, Ready, Refused, Status, Write,
};
use crate::dice::Dice;
use crate::effect::{Answer, Effect, Job, Ticket};
use crate::rpc::Unserved;
use crate::time::Instant;
use crate::view::{Leader, Server, View};
use lictor_catalog::model::NodeName;
use lictor_catalog::{Command, Entry, Index, Outcome, Store, Touched, Watch};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// One tick of the engine's clock.
pub const TICK: Duration = Duration::from_millis(50);
/// Ticks between two asks for the lease: the heartbeat's own rhythm.
const ASK_TICKS: u64 = 2;
/// An ask that has not been answered for so many ticks was lost. Long against any round trip: an answer that comes after
/// its ask was given up helps nobody.
const ASK_LOST_TICKS: u64 = 20;
/// A leader that was not heard for so long, because letters were lost or this process did not run, may have told others what
/// he did not tell this server: his next letter says that he lives, not that this server has all that he has.
const SILENCE: Duration = Duration::from_millis(300);
/// Reads that wait for a quorum at most; more are refused.
const READS_MAX: usize = 16_384;
/// Writes that wait to be applied at most; more are refused.
const WRITES_MAX: usize = 65_536;

/// Where a fellow server is, as gossip tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub name: NodeName,
    pub rpc: SocketAddr,
    /// The log store that answers there now.
    pub engine: Option<EngineId>,
    pub alive: bool,
}

/// Going on would make this server's catalog another than its peers': it must stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Diverging {
    /// Written by a release that this one cannot read.
    #[error("log entry {index}: {cause}")]
    Unreadable { index: Index, cause: lictor_catalog::command::Unreadable },
    #[error(
        "the snapshot at index {0} was installed, but its catalog is not here: this is a bug of lictor; empty the data directory \
         and start again, the server is copied from the others"
    )]
    NoState(Index),
    /// Damage inside the newest batch cannot be told from a torn write when the log is opened; the leader can tell.
    #[error(
        "the consensus log lost records that were synced: it ends at index {last}, this server had acknowledged index {told}; check \
         the disk, empty the data directory and start again, the server is copied from the others"
    )]
    Forgotten { last: Index, told: Index },
}

/// See the module's page.
pub struct Replica {
    engine: Box<dyn Engine + Send>,
    lease: Lease,
    store: Store,
    /// States that arrived beside letters in this turn; the engine installs at most one of them.
    arrived: BTreeMap<Index, Store>,
    /// The state that the engine was told to compact to.
    compacting: Option<(Index, Store)>,
    /// The state of the last compaction or installation: what a peer that lags is sent.
    saved: Option<(Index, Store)>,
    writes: BTreeMap<Index, (Ticket, u64)>,
    next_write: u64,
    reads: Reads,
    clock: Option<LogClock>,
    /// What is published, and what has changed since.
    view: View,
    touched: BTreeSet<Watch>,
    replaced: bool,
    /// A node appeared, changed or went since the leader's work last looked.
    nodes_changed: bool,
    dirty: bool,
    answers: Vec<(Ticket, Answer)>,
    peers: BTreeMap<Uuid, Peer>,
    next_tick: Instant,
    ticks: u64,
    catch_up: CatchUp,
    status: Status,
    pulse: Pulse,
    /// The disk is full: proposals are refused until it has space again.
    disk_full: bool,
    diverging: Option<Diverging>,
}

impl Replica {
    /// `store` is the state at the engine's snapshot. `dice`: asks and the ids of writes must not repeat across servers and
    /// restarts, or an answer to one life, or the entry of another leader, would be taken for an answer to this.
    #[must_use]
    pub fn new(engine: Box<dyn Engine + Send>, lease: Lease, store: Store, dice: &mut Dice, now: Instant) -> Self {
        let status = engine.status();
        Self {
            engine,
            lease,
            // The snapshot's own index: that of the store is of its last command and may be lower.
            saved: Some((status.applied, store.clone())),
            view: View { store: store.clone(), ..View::default() },
            store,
            arrived: BTreeMap::new(),
            compacting: None,
            writes: BTreeMap::new(),
            next_write: dice.number(),
            reads: Reads { next_ask: dice.number() >> 1, ..Reads::default() },
            clock: None,
            touched: BTreeSet::new(),
            replaced: true,
            nodes_changed: false,
            dirty: true,
            answers: Vec::new(),
            peers: BTreeMap::new(),
            next_tick: now + TICK,
            ticks: 0,
            catch_up: CatchUp::default(),
            status,
            pulse: Pulse::default(),
            disk_full: false,
            diverging: None,
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

    /// Whether nodes have changed since this was last asked.
    pub const fn nodes_changed(&mut self) -> bool {
        std::mem::replace(&mut self.nodes_changed, false)
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
        self.pulse.hear(from, now);
        match (letter.needs_state(), state) {
            (Some(index), Some(state)) => drop(self.arrived.insert(index, state)),
            // Installed without its state it would leave the catalog as it was, behind a log that says otherwise.
            (Some(index), None) => {
                tracing::warn!("{from} sent the snapshot at index {index} without its state; it will be sent again");
                return;
            }
            (None, _) => {}
        }
        // Neither with a full disk nor before it has caught up with this leader does it have all that he has: its answers grow
        // old and must say so.
        if self.status.leader == Some(from) && self.catch_up.done && !self.disk_full {
            if now.since(self.view.heard) > SILENCE {
                self.catch_up.begin();
            } else {
                self.view.heard = now;
            }
        }
        match self.engine.step(from, letter) {
            Ok(()) => {}
            Err(Refused::Forgotten { last, told }) if self.status.members.is_voter(from) => {
                self.diverging = Some(Diverging::Forgotten { last, told });
            }
            Err(refused) => tracing::debug!("refused a letter of {from}: {refused}"),
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
            Ok((index, id)) => {
                // A former proposal at this place is not in the log of this leader, and so surely lost.
                if let Some((lost, _)) = self.writes.insert(index, (ticket, id)) {
                    self.answers.push((lost, Answer::Unserved(Unserved::NoLeader)));
                }
            }
            Err(why) => self.answers.push((ticket, Answer::Unserved(why))),
        }
    }

    /// The log's time now; `None` unless this server leads and may propose.
    #[must_use]
    pub fn log_time(&self, now: Instant) -> Option<u64> {
        let clock = self.clock.filter(|clock| clock.epoch == self.status.epoch && self.settled())?;
        Some(clock.now_ms(now))
    }

    /// Proposes for the leader itself; nobody waits for the answer.
    pub fn propose(&mut self, command: Command, now: Instant) -> Result<(Index, u64), Unserved> {
        if self.disk_full || self.writes.len() >= WRITES_MAX {
            return Err(Unserved::Busy);
        }
        let Some(time_ms) = self.log_time(now) else { return Err(Unserved::NoLeader) };
        let id = self.next_write;
        self.next_write = id.wrapping_add(1);
        let entry = Entry { time_ms, id, command };
        match self.engine.propose(entry.encode()) {
            Ok(index) => Ok((index, id)),
            Err(Refused::NotLeader(_)) => Err(Unserved::NoLeader),
            Err(_) => Err(Unserved::Busy),
        }
    }

    pub fn read_index(&mut self, ticket: Ticket, now: Instant) {
        if self.reads.waiting() >= READS_MAX {
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
                self.reads.asked.insert(ask, (self.ticks, tickets));
            }
            Err(_) if !self.status.leading => {
                let refused = self.reads.queued.drain(..);
                self.answers.extend(refused.map(|ticket| (ticket, Answer::Unserved(Unserved::NoLeader))));
            }
            // Not settled yet: the next tick asks again.
            Err(_) => {}
        }
    }

    /// See [`Engine::claim`]; with the state that its commands come after.
    pub fn claim(&self, members: &Members) -> Option<(Claim, Store)> {
        Some((self.engine.claim(members)?, self.store.clone()))
    }

    /// This replica is given up: whoever waits for it is told.
    pub fn abandon(&mut self, effects: &mut Vec<Effect>) {
        let writes = std::mem::take(&mut self.writes).into_values().map(|(ticket, _)| (ticket, Answer::Unknown));
        self.reads.strand(u64::MAX);
        let reads = self.reads.queued.drain(..).map(|ticket| (ticket, Answer::Unserved(Unserved::NoLeader)));
        effects.extend(writes.chain(reads).map(|(ticket, answer)| Effect::Answer { ticket, answer }));
    }

    /// Wishes for another configuration; the engine takes one at a time.
    pub fn change(&mut self, members: &Members) -> Result<(), Refused> {
        self.engine.change(members)
    }

    /// Hands leadership over. The heir may be elected inside the lease, so readers lose it before he is told.
    pub fn transfer(&mut self, to: EngineId, now: Instant, effects: &mut Vec<Effect>) -> Result<(), Refused> {
        self.engine.transfer(to)?;
        self.status = self.engine.status();
        self.view.lease_until = self.lease.until(&self.status);
        self.dirty = true;
        self.publish(now, effects);
        Ok(())
    }

    /// The tick that is due. Ticks are at least one `TICK` apart, however late they come: the lease counts on a voter
    /// that needs the whole of its ticks to forget its leader.
    pub fn timer(&mut self, now: Instant) {
        if now < self.next_tick {
            return;
        }
        self.next_tick = now + TICK;
        self.ticks += 1;
        self.engine.tick();
        self.status = self.engine.status();
        if self.ticks.is_multiple_of(ASK_TICKS) {
            // How long ago the leader was heard is news.
            self.dirty = true;
            self.reads.strand(self.ticks.saturating_sub(ASK_LOST_TICKS));
            if self.status.leading || !self.reads.queued.is_empty() {
                self.ask(now);
            }
            self.ask_to_catch_up(now);
        }
    }

    /// A server that has not caught up with its leader asks him how far the truth reaches.
    fn ask_to_catch_up(&mut self, now: Instant) {
        if self.catch_up.done || self.status.leading || self.catch_up.target.is_some() {
            return;
        }
        let ask = self.reads.next_ask;
        self.reads.next_ask += 1;
        // Any later answer will do as well: a slow leader must not find each of its answers given up already.
        if self.engine.read_index(ask).is_ok() && self.catch_up.first.is_none() {
            self.catch_up.first = Some((ask, now));
        }
    }

    /// Ends a turn: carries out what the engine asks for, publishes what changed, then answers.
    ///
    /// # Errors
    /// [`Diverging`]; the server must stop.
    pub fn finish(&mut self, now: Instant, effects: &mut Vec<Effect>) -> Result<(), Diverging> {
        if let Some(diverging) = self.diverging.take() {
            return Err(diverging);
        }
        loop {
            while let Some(ready) = self.engine.ready() {
                self.carry_out(ready, effects)?;
            }
            self.status = self.engine.status();
            if !self.begin_compaction() && !self.ask_again(now) {
                break;
            }
        }
        self.arrived.clear();
        self.settle(now);
        self.publish(now, effects);
        effects.extend(self.answers.drain(..).map(|(ticket, answer)| Effect::Answer { ticket, answer }));
        Ok(())
    }

    /// `true`: the engine has more to say.
    fn begin_compaction(&mut self) -> bool {
        let applied = self.status.applied;
        if !self.engine.needs_compaction() || self.compacting.as_ref().is_some_and(|(index, _)| *index == applied) {
            return false;
        }
        self.compacting = Some((applied, self.store.clone()));
        self.engine.compact(applied);
        true
    }

    /// Reads that came while an ask was under way ride with the next one as soon as it is answered.
    fn ask_again(&mut self, now: Instant) -> bool {
        if self.reads.queued.is_empty() || !self.reads.asked.is_empty() {
            return false;
        }
        self.ask(now);
        !self.reads.asked.is_empty()
    }

    fn carry_out(&mut self, ready: Ready, effects: &mut Vec<Effect>) -> Result<(), Diverging> {
        self.send(ready.now, effects);
        let mut state = None;
        for write in &ready.store {
            let (snapshot, found) = match write {
                Write::Install(snapshot) => (snapshot, self.arrived.remove(&snapshot.index)),
                Write::Compact(snapshot) => {
                    let begun = self.compacting.take().filter(|(index, _)| *index == snapshot.index);
                    (snapshot, begun.map(|(_, store)| store))
                }
                _ => continue,
            };
            let store = found.ok_or(Diverging::NoState(snapshot.index))?;
            let before = self.saved.replace((snapshot.index, store.clone()));
            effects.extend(before.map(|(_, store)| Effect::Retire(store)));
            state = Some(store);
        }
        effects.push(Effect::Store(Job { batch: ready.batch.0, writes: ready.store, sync: ready.sync, state }));
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
            let saved = self.saved.as_ref().filter(|(saved, _)| Some(*saved) == needed);
            let state = saved.map(|(_, store)| store.clone());
            if needed.is_some() && (state.is_none() || self.address(to).is_none()) {
                // The engine waits for news of every snapshot, and sends a newer one.
                self.engine.peer(to, News::SnapshotLost);
                continue;
            }
            effects.push(Effect::Letter { to, address: self.address(to), letter, state });
        }
    }

    /// Where a log store answers, as gossip tells: a server that is being added does not know the members yet, and a node
    /// whose directory was emptied must not get the letters of its former store.
    fn address(&self, peer: EngineId) -> Option<SocketAddr> {
        self.peers.values().find(|found| found.engine == Some(peer)).map(|found| found.rpc)
    }

    fn apply(&mut self, committed: Committed) -> Result<(), Diverging> {
        self.dirty = true;
        match committed {
            Committed::Command { index, command } => {
                let entry = Entry::decode(&command).map_err(|cause| Diverging::Unreadable { index, cause })?;
                let applied = self.store.apply(index, &entry);
                self.nodes_changed |= applied.touched.all || applied.touched.watches.contains(&Watch::Nodes);
                self.replaced |= applied.touched.all;
                self.touched.extend(applied.touched.watches);
                self.answer_write(index, Some((entry.id, applied.outcome)));
            }
            Committed::Members { index, .. } => {
                self.lease.void();
                self.answer_write(index, None);
            }
            Committed::Nothing { index } => self.answer_write(index, None),
            Committed::Snapshot(snapshot) => {
                let saved = self.saved.as_ref().filter(|(index, _)| *index == snapshot.index);
                self.store = saved.ok_or(Diverging::NoState(snapshot.index))?.1.clone();
                (self.replaced, self.nodes_changed) = (true, true);
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
        // A leader that was confirmed lacked nothing when it asked.
        let confirmed = self.lease.asked_at(ask).filter(|_| status.leading);
        self.view.heard = self.view.heard.max(confirmed.unwrap_or_default());
        self.lease.answered(ask, &status);
        if self.catch_up.target.is_none() && self.catch_up.first.is_some_and(|(first, _)| first <= ask) {
            self.catch_up.target = Some(index);
        }
        let tickets = self.reads.answered(ask);
        self.answers.extend(tickets.map(|ticket| (ticket, Answer::ReadAt(index))));
    }

    /// Draws the conclusions of a turn: log time, lease, readiness.
    fn settle(&mut self, now: Instant) {
        if self.settled() {
            let base_ms = self.store.time_ms();
            // A restored snapshot may be of a log whose time was ahead of this one's: time goes on from there.
            if self.clock.is_none_or(|clock| clock.epoch != self.status.epoch || clock.now_ms(now) < base_ms) {
                self.clock = Some(LogClock { epoch: self.status.epoch, base_ms, since: now });
            }
        } else {
            self.clock = None;
        }
        if let Some(asked) = self.catch_up.observe(&self.status) {
            self.view.heard = self.view.heard.max(asked);
            self.dirty = true;
        }
        let caught_up = self.view.caught_up || self.settled() || self.catch_up.done;
        let lease_until = self.lease.until(&self.status);
        let leader = self.status.leader.and_then(|peer| {
            let id = self.status.members.node(peer)?;
            self.peers.get(&id).map(|peer| Leader { id, rpc: peer.rpc })
        });
        let view = &mut self.view;
        let leading = self.status.leading && self.status.settled;
        self.dirty |= (caught_up, leading, self.status.epoch) != (view.caught_up, view.leading, view.epoch)
            || lease_until != view.lease_until
            || leader != view.leader;
        if leading && !view.leading {
            // Its first entry was agreed just now.
            view.heard = now;
            tracing::info!(epoch = self.status.epoch, "leads the cluster");
        } else if leader != view.leader
            && let Some(leader) = leader.as_ref().filter(|_| !self.status.leading)
        {
            tracing::info!(epoch = self.status.epoch, "follows the server at {}", leader.rpc);
        }
        (view.caught_up, view.leading, view.epoch) = (caught_up, leading, self.status.epoch);
        (view.lease_until, view.leader) = (lease_until, leader);
        view.applied = self.status.applied;
    }

    fn publish(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        self.view.store = self.store.clone();
        self.view.servers = self.servers(now);
        let touched = Touched {
            all: std::mem::take(&mut self.replaced),
            watches: std::mem::take(&mut self.touched).into_iter().collect(),
        };
        effects.push(Effect::Publish { view: Arc::new(self.view.clone()), touched });
    }

    fn servers(&mut self, now: Instant) -> Arc<[Server]> {
        self.pulse.forget(&self.status);
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
                    health: self.pulse.judge(
                        now,
                        member.engine,
                        peer.is_some_and(|peer| peer.alive),
                        &self.status,
                        self.store.autopilot(),
                    ),
                }
            })
            .collect()
    }
}
