//! A cluster in one thread: virtual clock, a network that loses, delays and cuts, disks that sync late and lose what was not
//! synced. Safety is asserted at every event.

use crate::consensus::lease::Lease;
use crate::consensus::raft::{Config, Raft, bootstrap};
use crate::consensus::{Batch, Committed, Engine, EngineId, Index, Letter, Member, Members, News, Snapshot, Write};
use crate::dice::Dice;
use crate::time::Instant;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;
use uuid::Uuid;

pub(super) const TICK: u64 = 50;
type State = Vec<(u64, Bytes)>;

/// What a disk holds.
#[derive(Clone, Debug, Default)]
struct Content {
    vote: Option<Bytes>,
    snapshot: Option<(Snapshot, State)>,
    log: BTreeMap<u64, Bytes>,
}

impl Content {
    fn apply(&mut self, write: &Write, states: &BTreeMap<u64, State>) {
        match write {
            Write::Append(records) => {
                self.log.split_off(&records[0].0);
                self.log.extend(records.iter().cloned());
            }
            Write::Vote { record, .. } => self.vote = Some(record.clone()),
            Write::Install(snapshot) => {
                self.log.clear();
                self.snapshot = Some((snapshot.clone(), states[&snapshot.index.0].clone()));
            }
            Write::Compact(snapshot) => {
                self.log = self.log.split_off(&(snapshot.index.0 + 1));
                self.snapshot = Some((snapshot.clone(), states[&snapshot.index.0].clone()));
            }
            Write::Promise(_) | Write::Cluster(_) => {}
        }
    }
}

pub(super) struct Server {
    pub(super) member: Member,
    pub(super) engine: Option<Raft>,
    life: u64,
    written: Content,
    synced: Content,
    /// Contents after each queued batch, until it is reported.
    queued: VecDeque<(Batch, bool, Content)>,
    disk_free_at: u64,
    states: BTreeMap<u64, State>,
    pub(super) state: State,
    pub(super) applied: u64,
    pub(super) lease: Lease,
    next_ask: u64,
    /// What was acknowledged when an ask was sent.
    asks: BTreeMap<u64, u64>,
    pub(super) reads: Vec<(u64, u64)>,
}

enum Event {
    Tick(u64),
    Letter { from: u64, to: u64, letter: Letter, state: Option<State> },
    Stored { server: u64, life: u64, batch: Batch },
    News { to: u64, about: u64, news: News },
}

pub(super) struct World {
    pub(super) now: u64,
    seq: u64,
    events: BTreeMap<(u64, u64), Event>,
    pub(super) servers: BTreeMap<u64, Server>,
    pub(super) dice: Dice,
    pub(super) cut: BTreeSet<(u64, u64)>,
    pub(super) loss_percent: u64,
    pub(super) fsync_ms: u64,
    pub(super) compact_at: usize,
    leaders: BTreeMap<u64, u64>,
    pub(super) agreed: BTreeMap<u64, Bytes>,
    pub(super) acked: BTreeSet<Bytes>,
    proposed: BTreeMap<Bytes, u64>,
    next_command: u64,
    hash: DefaultHasher,
}

fn member(id: u64) -> Member {
    Member { engine: EngineId(id), node: Uuid::from_u128(u128::from(id)) }
}

pub(super) fn members(voters: &[u64], learners: &[u64]) -> Members {
    let list = |ids: &[u64]| ids.iter().map(|id| member(*id)).collect();
    Members { voters: list(voters), learners: list(learners) }
}

impl World {
    pub(super) fn new(seed: u64, voters: &[u64], spares: &[u64]) -> Self {
        let mut world = Self {
            now: 1000,
            seq: 0,
            events: BTreeMap::new(),
            servers: BTreeMap::new(),
            dice: Dice::new(seed),
            cut: BTreeSet::new(),
            loss_percent: 0,
            fsync_ms: 2,
            compact_at: 1000,
            leaders: BTreeMap::new(),
            agreed: BTreeMap::new(),
            acked: BTreeSet::new(),
            proposed: BTreeMap::new(),
            next_command: 0,
            hash: DefaultHasher::new(),
        };
        let first = bootstrap(&members(voters, &[]));
        for id in voters.iter().chain(spares) {
            let mut content = Content::default();
            if voters.contains(id) {
                content.snapshot = Some((first.clone(), State::new()));
            }
            world.servers.insert(
                *id,
                Server {
                    member: member(*id),
                    engine: None,
                    life: 0,
                    written: content.clone(),
                    synced: content,
                    queued: VecDeque::new(),
                    disk_free_at: 0,
                    states: BTreeMap::new(),
                    state: State::new(),
                    applied: 0,
                    lease: Lease::new(Duration::from_millis(TICK), 1),
                    next_ask: 0,
                    asks: BTreeMap::new(),
                    reads: Vec::new(),
                },
            );
            world.start(*id);
            let phase = world.dice.below(TICK);
            world.at(world.now + phase, Event::Tick(*id));
        }
        world
    }

    fn at(&mut self, when: u64, event: Event) {
        self.seq += 1;
        self.events.insert((when, self.seq), event);
    }

    fn trace(&mut self, what: &impl Debug) {
        format!("{} {what:?}", self.now).hash(&mut self.hash);
    }

    pub(super) fn trace_hash(&self) -> u64 {
        self.hash.finish()
    }

    /// Everything not synced is gone.
    pub(super) fn crash(&mut self, id: u64) {
        let server = self.servers.get_mut(&id).unwrap();
        server.engine = None;
        server.life += 1;
        server.queued.clear();
        server.written = server.synced.clone();
        self.trace(&("crash", id));
    }

    pub(super) fn start(&mut self, id: u64) {
        let dice = self.dice.split();
        let server = self.servers.get_mut(&id).unwrap();
        if server.engine.is_some() {
            return;
        }
        let content = server.synced.clone();
        server.states.clear();
        (server.state, server.applied) = (State::new(), 0);
        if let Some((snapshot, state)) = &content.snapshot {
            server.states.insert(snapshot.index.0, state.clone());
            (server.state, server.applied) = (state.clone(), snapshot.index.0);
        }
        let log: Vec<_> = content.log.into_iter().collect();
        let snapshot = content.snapshot.as_ref().map(|(snapshot, _)| snapshot);
        let engine = Raft::new(EngineId(id), snapshot, content.vote.as_deref(), &log, Config::default(), dice);
        server.engine = Some(engine.expect("what was synced can be started from"));
        server.lease = Lease::new(Duration::from_millis(TICK), 1);
        server.disk_free_at = self.now;
        self.pump(id);
    }

    pub(super) fn engine(&mut self, id: u64) -> &mut Raft {
        self.servers.get_mut(&id).unwrap().engine.as_mut().expect("running")
    }

    /// The leader with the highest epoch.
    pub(super) fn leader(&self) -> Option<u64> {
        let leading = self.servers.values().filter_map(|server| {
            let status = server.engine.as_ref()?.status();
            status.leading.then_some((status.epoch, server.member.engine.0))
        });
        leading.max().map(|(_, id)| id)
    }

    pub(super) fn partition(&mut self, sides: &[&[u64]]) {
        self.cut.clear();
        let side = |id: u64| sides.iter().position(|side| side.contains(&id));
        let ids: Vec<u64> = self.servers.keys().copied().collect();
        for a in &ids {
            for b in &ids {
                if side(*a) != side(*b) {
                    self.cut.insert((*a, *b));
                }
            }
        }
    }

    pub(super) fn propose(&mut self, id: u64) -> Option<Bytes> {
        self.next_command += 1;
        let command = Bytes::from(format!("command {}", self.next_command));
        self.engine(id).propose(command.clone()).ok()?;
        self.proposed.insert(command.clone(), id);
        self.pump(id);
        Some(command)
    }

    /// Asks for a read index; the answer, if any, is checked to be fresh.
    pub(super) fn ask(&mut self, id: u64) -> u64 {
        let newest =
            self.agreed.iter().rev().find(|(_, command)| self.acked.contains(*command)).map_or(0, |(at, _)| *at);
        let server = self.servers.get_mut(&id).unwrap();
        server.next_ask += 1;
        let ask = server.life * 1_000_000 + server.next_ask;
        let engine = server.engine.as_mut().expect("running");
        server.lease.asked(ask, &engine.status(), Instant(self.now * 1_000_000));
        if engine.read_index(ask).is_ok() {
            server.asks.insert(ask, newest);
        }
        self.pump(id);
        ask
    }

    pub(super) fn run(&mut self, span_ms: u64) {
        let until = self.now + span_ms;
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > until {
                break;
            }
            self.now = self.now.max(entry.key().0);
            let event = entry.remove();
            self.handle(event);
            self.check();
        }
        self.now = until;
    }

    pub(super) fn run_until(&mut self, most_ms: u64, mut done: impl FnMut(&Self) -> bool) -> bool {
        for _ in 0..most_ms / 10 {
            if done(self) {
                return true;
            }
            self.run(10);
        }
        done(self)
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Tick(id) => {
                self.at(self.now + TICK, Event::Tick(id));
                if self.servers[&id].engine.is_none() {
                    return;
                }
                self.engine(id).tick();
                self.pump(id);
                let status = self.engine(id).status();
                if status.leading && (self.now / TICK).is_multiple_of(2) {
                    self.ask(id);
                }
            }
            Event::Letter { from, to, letter, state } => self.deliver(from, to, letter, state),
            Event::Stored { server: id, life, batch } => self.stored(id, life, batch),
            Event::News { to, about, news } => {
                if self.servers[&to].engine.is_some() {
                    self.trace(&(to, about, news));
                    self.engine(to).peer(EngineId(about), news);
                    self.pump(to);
                }
            }
        }
    }

    fn deliver(&mut self, from: u64, to: u64, letter: Letter, state: Option<State>) {
        let dead = self.cut.contains(&(from, to)) || self.servers[&to].engine.is_none();
        if letter.needs_state().is_some() {
            let news = if dead { News::SnapshotLost } else { News::SnapshotArrived };
            self.at(self.now + 5, Event::News { to: from, about: to, news });
        }
        if dead {
            return;
        }
        self.trace(&(from, to, &letter));
        if let (Some(Index(index)), Some(state)) = (letter.needs_state(), state) {
            self.servers.get_mut(&to).unwrap().states.insert(index, state);
        }
        let letter = Letter::decode(&letter.encode()).expect("our own letter");
        self.engine(to).step(EngineId(from), letter).expect("an honest letter is never refused");
        self.pump(to);
    }

    fn stored(&mut self, id: u64, life: u64, batch: Batch) {
        let server = self.servers.get_mut(&id).unwrap();
        if server.life != life {
            return;
        }
        while server.queued.front().is_some_and(|(queued, ..)| *queued <= batch) {
            let (_, sync, content) = server.queued.pop_front().unwrap();
            if sync {
                server.synced = content;
            }
        }
        self.trace(&(id, batch));
        let letters = self.engine(id).stored(batch);
        self.send(id, letters);
        self.pump(id);
    }

    fn send(&mut self, from: u64, letters: Vec<(EngineId, Letter)>) {
        for (to, letter) in letters {
            let lost = self.dice.below(100) < self.loss_percent || !self.servers.contains_key(&to.0);
            let delay = 1 + self.dice.below(if self.loss_percent > 0 { 30 } else { 3 });
            let index = letter.needs_state();
            if lost {
                if index.is_some() {
                    self.at(self.now + 100, Event::News { to: from, about: to.0, news: News::SnapshotLost });
                }
                continue;
            }
            let state = index.map(|index| self.servers[&from].states[&index.0].clone());
            self.at(self.now + delay, Event::Letter { from, to: to.0, letter, state });
        }
    }

    fn pump(&mut self, id: u64) {
        while let Some(ready) = self.engine(id).ready() {
            self.send(id, ready.now);
            let wait = if ready.sync { 1 + self.dice.below(self.fsync_ms) } else { 0 };
            let server = self.servers.get_mut(&id).unwrap();
            for write in &ready.store {
                server.written.apply(write, &server.states);
            }
            server.queued.push_back((ready.batch, ready.sync, server.written.clone()));
            server.disk_free_at = server.disk_free_at.max(self.now) + wait;
            let (due, life) = (server.disk_free_at, server.life);
            self.at(due, Event::Stored { server: id, life, batch: ready.batch });
            for (ask, index) in ready.reads {
                self.answer(id, ask, index);
            }
            for committed in ready.apply {
                self.apply(id, committed);
            }
            let server = self.servers.get_mut(&id).unwrap();
            let engine = server.engine.as_mut().expect("running");
            engine.applied(Index(server.applied));
            if engine.needs_compaction() || server.written.log.len() > self.compact_at {
                server.states.insert(server.applied, server.state.clone());
                engine.compact(Index(server.applied));
            }
        }
    }

    fn answer(&mut self, id: u64, ask: u64, index: Index) {
        let server = self.servers.get_mut(&id).unwrap();
        let status = server.engine.as_ref().expect("running").status();
        server.lease.answered(ask, &status);
        if let Some(newest) = server.asks.remove(&ask) {
            assert!(index.0 >= newest, "read index {index} misses what was acknowledged at {newest}");
        }
        server.reads.push((ask, index.0));
    }

    fn apply(&mut self, id: u64, committed: Committed) {
        let server = self.servers.get_mut(&id).unwrap();
        let index = committed.index().0;
        match committed {
            Committed::Snapshot(snapshot) => {
                assert!(index >= server.applied, "state never goes back");
                (server.state, server.applied) = (server.states[&snapshot.index.0].clone(), index);
                return;
            }
            Committed::Command { command, .. } => {
                server.state.push((index, command.clone()));
                let first = self.agreed.entry(index).or_insert_with(|| command.clone());
                assert_eq!(*first, command, "log agreement at {index}");
                if self.proposed.get(&command) == Some(&id) {
                    self.acked.insert(command);
                }
            }
            Committed::Members { .. } => server.lease.void(),
            Committed::Nothing { .. } => {}
        }
        assert_eq!(index, server.applied + 1, "applied without a gap on {id}");
        server.applied = index;
    }

    /// At most one leader an epoch, and nobody leads beside a lease that still runs.
    fn check(&mut self) {
        let now = Instant(self.now * 1_000_000);
        let mut leading = Vec::new();
        for (id, server) in &mut self.servers {
            let Some(engine) = &server.engine else { continue };
            let status = engine.status();
            if status.leading {
                let first = *self.leaders.entry(status.epoch).or_insert(*id);
                assert_eq!(first, *id, "two leaders in epoch {}", status.epoch);
                leading.push((status.epoch, server.lease.until(&status).is_some_and(|until| now < until)));
            }
        }
        let newest = leading.iter().map(|(epoch, _)| *epoch).max();
        assert!(leading.iter().all(|(epoch, lease)| !lease || Some(*epoch) == newest), "a lease beside a newer leader");
    }

    /// Every acknowledged command is in the state of each of these servers, once.
    pub(super) fn assert_survived(&self, ids: &[u64]) {
        for id in ids {
            let held: BTreeSet<&Bytes> = self.servers[id].state.iter().map(|(_, command)| command).collect();
            assert_eq!(held.len(), self.servers[id].state.len(), "applied once on {id}");
            for command in &self.acked {
                assert!(held.contains(command), "{command:?} was acknowledged and is lost on {id}");
            }
        }
    }
}
