//! Effects into the simulated world, in order: what `runtime/world.rs`, `disk.rs`, `files.rs`, `gossip.rs` and `join.rs` do.

use super::bug;
use super::call::Message;
use super::history::Sight;
use super::node::{Asker, Joining, Process};
use super::walk::{Origin, Work};
use super::world::{Happening, MS, SECOND, World, kind};
use crate::consensus::bootstrap::Letter as BootstrapLetter;
use crate::consensus::store::WriteError;
use crate::consensus::{EngineId, Letter, News, Write};
use crate::effect::{Answer, Effect, Ending, Job, Ticket};
use crate::event::Event;
use crate::gossip::{DialError, MemberStatus};
use crate::hub;
use crate::local::{Ticket as RecordTicket, Write as Record};
use crate::runtime::mailbox::Lane;
use crate::view::{LocalView, View};
use bytes::Bytes;
use lictor_catalog::store::Restore;
use lictor_catalog::{Store, Touched};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// As `runtime/disk.rs`.
const FULL_PAUSE: u64 = SECOND;
const BATCHES_MAX: usize = 256;
/// As `runtime/gossip.rs`.
const DIAL_TIMEOUT: u64 = 5 * SECOND;
/// As `runtime/join.rs`.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const JOIN_PATIENCE: u64 = 10 * SECOND;
/// As `runtime/rpc/client.rs`.
const PEER_REST: u64 = 100 * MS;

/// One transaction with everything that waits for it.
pub(super) fn write(process: &mut Process) -> Option<Result<(), WriteError>> {
    let sync = process.writing.iter().any(|job| job.sync);
    let states = process.writing.iter().filter_map(Job::state).collect();
    let writes: Vec<Write> = process.writing.iter().flat_map(|job| job.writes.iter().cloned()).collect();
    let storage = process.storage.as_mut()?;
    if let Err(error) = storage.write(&writes, &states, sync) {
        return Some(Err(error));
    }
    // As many steps between two batches as a busy server has.
    match storage.go_on() {
        Ok(_) => {}
        // What was written stays written.
        Err(WriteError::Full(_)) => process.storage = None,
        Err(error) => return Some(Err(error)),
    }
    Some(Ok(()))
}

impl World {
    pub(super) fn carry_out(&mut self, node: usize, effect: Effect) {
        self.trace.mix(&[self.now, node as u64, 1000 + kind(&effect)]);
        match effect {
            Effect::Packet { to, bytes } => self.packet(node, to, bytes),
            Effect::Dial { to, dial, body } => self.dial(node, to, dial, body),
            Effect::GossipAnswer { ticket, body } => self.gossip_answer(node, ticket, body),
            Effect::Letter { to, address, letter, state } => self.letter(node, to, address, &letter, state),
            Effect::Bootstrap { address, letter } => self.bootstrap(node, address, &letter),
            Effect::Cluster(cluster) => {
                self.see(node, Sight::Cluster(cluster));
                if let Some(process) = self.running(node) {
                    process.hello.cluster = Some(cluster);
                }
            }
            Effect::Store(job) => {
                job.writes.iter().for_each(|write| self.logs.write(node, write));
                self.store(node, job);
            }
            Effect::Probe { run, probe } => {
                let (wait, outcome) = self.net.probe(&probe);
                let wait = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
                self.at(self.now + wait, node, Happening::Take(Lane::Probes, Box::new(Event::Probed { run, outcome })));
            }
            // The outcome comes anyway, as it may from a real prober; the agent knows that it was called off.
            Effect::StopProbe { run: _ } => {}
            Effect::Retire(store) => drop(store),
            Effect::Persist { ticket, writes } => self.persist(node, ticket, writes),
            Effect::Publish { view, touched } => self.publish(node, view, touched),
            Effect::PublishLocal(local) => self.publish_local(node, local),
            Effect::Answer { ticket, answer } => self.agent_answer(node, ticket, answer),
            Effect::Fetch { ticket } => self.fetch(node, ticket),
            Effect::Push { ticket, command } => self.walk(node, Work::Submit(Box::new(command)), Origin::Push(ticket)),
            Effect::Exit(ending) => {
                let why = match ending {
                    Ending::Left => "left".to_owned(),
                    Ending::Fatal(why) => why,
                };
                self.ended(node, why);
            }
        }
    }

    fn packet(&mut self, node: usize, to: SocketAddr, bytes: Bytes) {
        let Some(bytes) = bug::packet(self.setup.bug, bytes) else { return };
        self.trace.mix(&[u64::from(crc32c::crc32c(&bytes))]);
        let from = self.nodes[node].gossip_address();
        let Some(target) = self.owner(to.ip()) else { return };
        let copies = 1 + u64::from(self.net.doubled(&mut self.dice));
        for _ in 0..copies {
            let lost = self.net.lost(&mut self.dice) || !self.net.reaches(node, target);
            let way = self.net.way(&mut self.dice);
            if !lost {
                let event = Event::Packet { from, bytes: bytes.clone() };
                self.at_any(self.now + way, target, Happening::Take(Lane::Gossip, Box::new(event)));
            }
        }
    }

    fn dial(&mut self, node: usize, to: SocketAddr, dial: u64, body: Bytes) {
        let body = bug::body(self.setup.bug, body);
        let life = self.nodes[node].life;
        let open =
            self.owner(to.ip()).filter(|target| self.net.reaches(node, *target) && self.net.reaches(*target, node));
        let way = self.net.way(&mut self.dice);
        match open {
            Some(target) => {
                self.at_any(self.now + way, target, Happening::Dialled { from: node, life, dial, body });
                // Counts only if nothing came before; gossip knows its dials.
                self.dial_answer(node, life, DIAL_TIMEOUT, dial, Err(DialError::TimedOut));
            }
            None => self.dial_answer(node, life, DIAL_TIMEOUT, dial, Err(DialError::TimedOut)),
        }
    }

    fn dial_answer(&mut self, node: usize, life: u64, wait: u64, dial: u64, answer: Result<Bytes, DialError>) {
        let event = Event::GossipAnswered { dial, answer };
        self.at_life(self.now + wait, node, life, Happening::Take(Lane::Gossip, Box::new(event)));
    }

    pub(super) fn dialled(&mut self, node: usize, (from, life, dial): (usize, u64, u64), body: Bytes) {
        let Some(process) = self.running(node) else { return };
        let ticket = process.number();
        process.askers.insert(ticket, Asker::Dial { node: from, life, dial });
        self.take(node, Lane::Gossip, Event::GossipAsked { ticket, body });
    }

    fn gossip_answer(&mut self, node: usize, ticket: Ticket, body: Bytes) {
        let Some(process) = self.running(node) else { return };
        let Some(Asker::Dial { node: from, life, dial }) = process.askers.remove(&ticket) else { return };
        if self.net.reaches(node, from) {
            let way = self.net.way(&mut self.dice);
            let body = bug::body(self.setup.bug, body);
            self.dial_answer(from, life, way, dial, Ok(body));
        }
    }

    /// What happens to a machine where nothing runs.
    pub(super) fn nobody(&mut self, node: usize, what: Happening) {
        let way = self.net.way(&mut self.dice);
        match what {
            Happening::Dialled { from, life, dial, .. } if self.net.reaches(node, from) => {
                self.dial_answer(from, life, way, dial, Err(DialError::Refused));
            }
            Happening::Asked { from, life, id, .. } => self.refused(node, (from, life, id)),
            _ => {}
        }
    }

    fn letter(
        &mut self,
        node: usize,
        to: EngineId,
        address: Option<SocketAddr>,
        letter: &Letter,
        state: Option<Store>,
    ) {
        let way = self.net.way(&mut self.dice);
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let Some(address) = address else {
            self.take(node, Lane::Letters, Event::Peer { peer: to, news: News::Unreachable });
            return;
        };
        if state.is_none() && process.unreachable.contains(&to) {
            return;
        }
        let (from, hello) = (process.engine.unwrap_or_default(), process.hello.clone());
        let target = self.nodes.iter().position(|other| other.ip == address.ip()).filter(|target| {
            let theirs = self.nodes[*target].process.as_ref().map(|theirs| &theirs.hello);
            let open = self.net.reaches(node, *target) && self.net.reaches(*target, node);
            open && hello.cluster.is_some() && theirs.is_some_and(|theirs| theirs.admit(&hello).is_ok())
        });
        // A stream loses nothing but everything: what is dropped here is a stream that broke and was opened again.
        let lost = self.net.lost(&mut self.dice);
        let streamed = state.is_some();
        let state = state.map(|store| carried(&store));
        let Some(target) = target.filter(|_| !lost) else {
            let news = if streamed { News::SnapshotLost } else { News::Unreachable };
            self.at(
                self.now + PEER_REST,
                node,
                Happening::Take(Lane::Letters, Box::new(Event::Peer { peer: to, news })),
            );
            if !streamed && !lost {
                if let Some(process) = self.running(node) {
                    process.unreachable.insert(to);
                }
                self.at(self.now + PEER_REST, node, Happening::Rest(to));
            }
            return;
        };
        let bytes = letter.encode();
        self.trace.mix(&[u64::from(crc32c::crc32c(&bytes))]);
        let life = self.nodes[target].life;
        let copies = if streamed { 1 } else { 1 + u64::from(self.net.doubled(&mut self.dice)) };
        for copy in 0..copies {
            let letter = Letter::decode(&bytes).expect("an agent's own letter");
            let event = Event::Letter { from, cluster: hello.cluster, letter, state: state.clone() };
            self.at_life(self.now + way * (copy + 1), target, life, Happening::Take(Lane::Letters, Box::new(event)));
        }
        if streamed {
            let event = Event::Peer { peer: to, news: News::SnapshotArrived };
            self.at(self.now + 2 * way, node, Happening::Take(Lane::Letters, Box::new(event)));
        }
    }

    pub(super) fn rested(&mut self, node: usize, peer: EngineId) {
        if let Some(process) = self.running(node) {
            process.unreachable.remove(&peer);
        }
    }

    fn bootstrap(&mut self, node: usize, address: SocketAddr, letter: &BootstrapLetter) {
        let Some(target) = self.owner(address.ip()) else { return };
        let Some(process) = self.nodes[node].process.as_ref() else { return };
        let theirs = self.nodes[target].process.as_ref().map(|theirs| &theirs.hello);
        let admitted = theirs.is_some_and(|theirs| theirs.admit(&process.hello).is_ok());
        let open = self.net.reaches(node, target) && self.net.reaches(target, node);
        if !admitted || !open || self.net.lost(&mut self.dice) {
            return;
        }
        let way = self.net.way(&mut self.dice);
        let letter = BootstrapLetter::decode(&letter.encode()).expect("an agent's own letter");
        self.at_any(self.now + way, target, Happening::Take(Lane::Letters, Box::new(Event::Bootstrap { letter })));
    }

    fn store(&mut self, node: usize, job: Job) {
        let Some(process) = self.running(node) else { return };
        process.jobs.push_back(job);
        if process.writing.is_empty() {
            self.disk_begins(node);
        }
    }

    fn disk_begins(&mut self, node: usize) {
        let (quick, slow) = self.sync_time;
        let span = quick + self.dice.below(slow - quick + 1);
        let Some(process) = self.running(node) else { return };
        let count = process.jobs.len().min(BATCHES_MAX);
        process.writing = process.jobs.drain(..count).collect();
        if process.writing.is_empty() {
            return;
        }
        let wait = if process.writing.iter().any(|job| job.sync) { span } else { span / 20 };
        self.at(self.now + wait, node, Happening::Disk);
    }

    pub(super) fn disk_done(&mut self, node: usize) {
        let fresh = self.dice.number();
        if self.nodes[node].process.as_ref().is_some_and(|process| process.storage.is_none()) {
            let bug = self.nodes[node].bug;
            let reopened = self.nodes[node].open_log(fresh).ok().map(|(log, _)| bug::storage(bug, log));
            if let Some(process) = self.running(node) {
                process.storage = reopened;
            }
        }
        let Some(process) = self.running(node) else { return };
        match write(process) {
            Some(Ok(())) => {
                let done = std::mem::take(&mut process.writing);
                for job in done {
                    self.take(node, Lane::Disk, Event::Stored { batch: job.batch });
                }
                self.disk_begins(node);
            }
            Some(Err(WriteError::Full(_))) | None => {
                process.storage = None;
                let batch = process.writing[0].batch;
                self.take(node, Lane::Disk, Event::StoreFull { batch });
                self.at(self.now + FULL_PAUSE, node, Happening::Disk);
            }
            Some(Err(error)) => self.ended(node, error.to_string()),
        }
    }

    fn persist(&mut self, node: usize, ticket: Option<RecordTicket>, writes: Vec<Record>) {
        let wait = MS / 2 + self.dice.below(3 * MS);
        let now = self.now;
        let Some(process) = self.running(node) else { return };
        process.files_free_at = process.files_free_at.max(now) + wait;
        let when = process.files_free_at;
        self.at(when, node, Happening::Files(ticket, writes));
    }

    pub(super) fn files_done(&mut self, node: usize, ticket: Option<RecordTicket>, writes: Vec<Record>) {
        let records = &mut self.nodes[node].records;
        for write in writes {
            match write {
                Record::Put { key, content } => drop(records.insert(key.name(), content)),
                Record::Remove(key) => drop(records.remove(&key.name())),
            }
        }
        if let Some(ticket) = ticket {
            self.take(node, Lane::Disk, Event::Persisted { ticket, failed: None });
        }
    }

    /// The hub first: whoever learns of the new view from its readers finds the hub at least as new.
    fn publish(&mut self, node: usize, view: Arc<View>, touched: Touched) {
        self.tell_hub(node, Message::Published(Arc::clone(&view), touched));
        let every = self.setup.hash_every;
        let Some(process) = self.running(node) else { return };
        let old = std::mem::replace(&mut process.view, Arc::clone(&view));
        let readiness = |view: &View| (view.leader.clone(), view.leading, view.epoch, view.caught_up);
        if readiness(&old) != readiness(&view) {
            self.leadership_changed(node);
        }
        if (view.applied, view.store.index()) < (old.applied, old.store.index())
            || view.store.index() < old.store.index()
        {
            self.see(node, Sight::WentBack { from: old.store.index(), to: view.store.index() });
        }
        self.look_at_log(node, &old, &view);
        if old.applied != view.applied {
            if view.applied.0.is_multiple_of(every) && view.caught_up {
                let hash = view.store.hash();
                self.trace.mix(&[view.applied.0, hash]);
                self.see(node, Sight::State { applied: view.applied, hash });
            }
            self.applied(node);
        }
        if view.leading && self.leaders_seen.insert((node, self.nodes[node].life, view.epoch)) {
            self.see(node, Sight::Leads { epoch: view.epoch });
        }
    }

    fn publish_local(&mut self, node: usize, local: Arc<LocalView>) {
        let me = self.nodes[node].id;
        let living = local.members.iter().filter(|member| member.id != me && member.status == MemberStatus::Alive);
        let mut peers: Vec<SocketAddr> = living.map(|member| member.address).collect();
        peers.sort_unstable();
        if !peers.is_empty() {
            self.nodes[node].peers = peers;
        }
        if let Some(process) = self.running(node) {
            let old = std::mem::replace(&mut process.local, Arc::clone(&local));
            if hub::is_news_of_own(&old, &local) {
                self.tell_hub(node, Message::Told(local));
            }
        }
        self.leadership_changed(node);
    }

    /// Tries to join through these until it works, as `runtime/join.rs` does.
    pub(super) fn join_through(&mut self, node: usize, addresses: Vec<SocketAddr>, tries: Option<u32>) {
        if addresses.is_empty() {
            return;
        }
        let Some(process) = self.running(node) else { return };
        let number = process.number();
        process.joins.insert(number, Joining { addresses, pause: FIRST_PAUSE, tries_left: tries });
        self.at(self.now, node, Happening::Join { number });
    }

    pub(super) fn try_to_join(&mut self, node: usize, number: u64) {
        let Some(process) = self.running(node) else { return };
        let ticket = process.number();
        let Some(joining) = process.joins.get(&number) else { return };
        let addresses = joining.addresses.clone();
        process.askers.insert(ticket, Asker::Join(number));
        self.take(node, Lane::Calls, Event::Join { addresses, ticket });
        self.at(self.now + JOIN_PATIENCE, node, Happening::JoinOverdue { number, ticket });
    }

    pub(super) fn join_overdue(&mut self, node: usize, number: u64, ticket: Ticket) {
        let Some(process) = self.running(node) else { return };
        if process.askers.remove(&ticket).is_some() {
            self.join_again(node, number);
        }
    }

    fn join_again(&mut self, node: usize, number: u64) {
        let Some(process) = self.running(node) else { return };
        let Some(joining) = process.joins.get_mut(&number) else { return };
        joining.tries_left = joining.tries_left.map(|left| left.saturating_sub(1));
        if joining.tries_left == Some(0) {
            process.joins.remove(&number);
            return;
        }
        let pause = u64::try_from(joining.pause.as_nanos()).unwrap_or(u64::MAX);
        joining.pause = (joining.pause * 2).min(LONGEST_PAUSE);
        self.at(self.now + pause, node, Happening::Join { number });
    }

    fn agent_answer(&mut self, node: usize, ticket: Ticket, answer: Answer) {
        let Some(process) = self.running(node) else { return };
        match process.askers.remove(&ticket) {
            None => {}
            Some(Asker::Walk(walk)) => self.agent_answered(node, walk, answer),
            Some(Asker::Join(number)) => match answer {
                Answer::Joined(Ok(_)) => drop(process.joins.remove(&number)),
                _ => self.join_again(node, number),
            },
            Some(Asker::Dial { .. }) => {}
        }
    }
}

/// A state as it arrives: encoded, sent, decoded.
fn carried(store: &Store) -> Store {
    let mut restore = Restore::new();
    for chunk in store.chunks() {
        restore.feed(&chunk).expect("an agent's own state");
    }
    restore.finish().expect("an agent's own state")
}
