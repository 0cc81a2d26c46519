//! The value itself: its parts, its doors, and what happens after each call. Owns everything below it; owns no socket,
//! clock or thread. How it talks to foca is in `swim`, to peers over TCP in `exchange`, how it joins in `join`.

use super::check::Check;
use super::config::GossipConfig;
use super::exchange::Dialing;
use super::identity::{Codec, Identity};
use super::join::Ticket;
use super::member::{Member, MemberStatus};
use super::output::{MemberEvent, Output, UnknownMember};
use super::probing::Probing;
use super::queue::{Key, Queue};
use super::seal::{BadKey, Seal};
use super::suspicion::Suspicion;
use super::table::{Entry, Table};
use super::timers::{Task, Timers};
use super::user_event::Events;
use super::vivaldi::Vivaldi;
use super::wire::{self, Card, Item, Left};
use crate::dice::Dice;
use crate::time::Instant;
use foca::{Foca, NoCustomBroadcast, State};
use lictor_catalog::Coordinate;
use lictor_catalog::model::{NodeName, folded};
use rand::rngs::SmallRng;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use uuid::Uuid;

/// News does not wait for the next round.
const URGENT: Duration = Duration::from_millis(10);
const REAP_PERIOD: Duration = Duration::from_secs(60);
const FAREWELL_PERIOD: Duration = Duration::from_millis(100);
const FAREWELLS: u32 = 10;
/// The farewell goes straight to so many members before gossip carries it on.
const FAREWELL_DIRECT: usize = 64;

/// What went wrong, counted; nothing here is worth stopping for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GossipCounts {
    /// Packets of another cluster, key, version or none at all.
    pub packets_refused: u64,
    /// Packets that opened but could not be read or were refused by the protocol.
    pub packets_malformed: u64,
    /// Letters on connections that asked for nothing that this agent grants: of another cluster or key, or unreadable.
    pub requests_refused: u64,
    /// Dials that were not made because too many were out.
    pub dials_dropped: u64,
    /// Rounds in which nobody was heard: 0 is healthy, 8 the worst.
    pub unhealthy: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Present,
    Leaving,
    Gone,
}

pub(super) type Swimmer = Foca<Identity, Codec, SmallRng, NoCustomBroadcast>;

/// Membership of one agent in one cluster, as a value: packets, answers and time go in, outputs come out.
pub struct Gossip {
    pub(super) config: GossipConfig,
    pub(super) swim_config: foca::Config,
    pub(super) swim: Swimmer,
    /// Our own, as last seen in a packet that foca wrote.
    pub(super) incarnation: u16,
    pub(super) card: Card,
    pub(super) table: Table,
    pub(super) suspicions: BTreeMap<Uuid, Suspicion>,
    pub(super) queue: Queue,
    pub(super) events: Events,
    pub(super) seal: Seal,
    pub(super) timers: Timers,
    pub(super) probing: Probing,
    pub(super) vivaldi: Vivaldi,
    pub(super) dials: BTreeMap<u64, Dialing>,
    pub(super) checks: BTreeMap<u64, Check>,
    /// What a check found of the holder of a name or id: when, and whether it lives.
    pub(super) verdicts: BTreeMap<Identity, (Instant, bool)>,
    pub(super) tickets: BTreeMap<u64, Ticket>,
    pub(super) phase: Phase,
    pub(super) dice: Dice,
    /// Numbers dials and checks.
    pub(super) numbered: u64,
    pub(super) touched: BTreeSet<Uuid>,
    pub(super) urgent: bool,
    next_gossip: Option<Instant>,
    pub(super) out: Vec<Output>,
    pub(super) counts: GossipCounts,
}

impl Gossip {
    /// An agent that knows nobody. It says nothing until somebody joins it or it joins somebody.
    ///
    /// # Errors
    /// [`BadKey`] when the key has no length of AES.
    pub fn new(
        config: GossipConfig,
        me: Identity,
        name: NodeName,
        tags: BTreeMap<String, String>,
        mut dice: Dice,
        now: Instant,
    ) -> Result<Self, BadKey> {
        let seal = Seal::new(config.key.as_deref(), &config.datacenter, &config.label, config.nonce_seed)?;
        let swim_config = super::swim::config(&config, seal.overhead());
        let rng = dice.split().rng().clone();
        let mut gossip = Self {
            swim: Foca::new(me, swim_config.clone(), rng, Codec),
            swim_config,
            incarnation: 0,
            card: Card { id: me.id, counter: me.counter, version: 1, name, tags },
            table: Table::default(),
            suspicions: BTreeMap::new(),
            queue: Queue::default(),
            events: Events::default(),
            seal,
            timers: Timers::default(),
            probing: Probing::default(),
            vivaldi: Vivaldi::new(dice.split()),
            dials: BTreeMap::new(),
            checks: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            tickets: BTreeMap::new(),
            phase: Phase::Present,
            numbered: 0,
            touched: BTreeSet::new(),
            urgent: false,
            next_gossip: None,
            out: vec![Output::Changed],
            counts: GossipCounts::default(),
            dice,
            config,
        };
        for (period, task) in [
            (gossip.config.push_pull_period, Task::PushPull),
            (gossip.config.reconnect_period, Task::Reconnect),
            (REAP_PERIOD, Task::Reap),
        ] {
            let first = gossip.dice.span(period);
            gossip.timers.set(now + first, task);
        }
        Ok(gossip)
    }

    /// Who we are now; the counter rises when we had to come back from the dead.
    #[must_use]
    pub fn me(&self) -> Identity {
        *self.swim.identity()
    }

    /// Everybody we know, ourselves too, by name; the dead and the gone until they are reaped.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let mut members: Vec<Member> = self.table.members().cloned().collect();
        members.push(Member {
            id: self.card.id,
            name: self.card.name.clone(),
            address: self.me().address,
            status: if self.phase == Phase::Present { MemberStatus::Alive } else { MemberStatus::Left },
            tags: self.card.tags.clone(),
        });
        members.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        members
    }

    pub(super) fn is_present(&self) -> bool {
        self.phase == Phase::Present
    }

    #[must_use]
    pub fn counts(&self) -> GossipCounts {
        GossipCounts { unhealthy: self.probing.unhealthy(), ..self.counts }
    }

    /// Where this agent is among the others, if it is to find that out.
    #[must_use]
    pub fn place(&self) -> Option<Coordinate> {
        self.config.coordinates.then(|| self.vivaldi.place())
    }

    /// What is to be done and known since the last call, in order.
    pub fn outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    /// When [`Self::timer`] wants to be called next.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.deadline()
    }

    /// Does what is due.
    pub fn timer(&mut self, now: Instant) {
        while let Some(task) = self.timers.due(now) {
            self.perform(now, task);
            self.flush(now);
        }
    }

    fn perform(&mut self, now: Instant, task: Task) {
        match task {
            Task::Farewell(said) => self.farewell(now, said),
            Task::Dial(dial) => self.dial_timed_out(now, dial),
            _ if self.phase != Phase::Present => {}
            Task::Swim(timer) => self.swim_timer(now, timer),
            Task::Gossip => {
                if self.next_gossip.is_some_and(|at| at <= now) {
                    self.next_gossip = None;
                    self.drive(now, |swim, caught| swim.gossip(caught));
                }
            }
            Task::PushPull => {
                self.push_pull(now);
                // As memberlist does: rarer in large clusters, where each costs more.
                let stretch = (self.swim.num_members().max(1) as f64 / 32.0).log2().ceil().max(0.0) + 1.0;
                self.timers.set(now + self.config.push_pull_period.mul_f64(stretch), Task::PushPull);
            }
            Task::Reconnect => {
                self.reconnect(now);
                self.timers.set(now + self.config.reconnect_period, Task::Reconnect);
            }
            Task::Reap => {
                self.reap(now);
                self.timers.set(now + REAP_PERIOD, Task::Reap);
            }
            Task::Suspicion(id) => self.suspicion_due(now, id),
            Task::Fetch(id) => self.fetch(now, id),
            Task::Check(check) => self.check_due(now, check),
            Task::Join { ticket, to, tries } => self.ask_to_join(now, ticket, to, tries),
        }
    }

    /// Replaces our own tags, everywhere.
    pub fn set_tags(&mut self, now: Instant, tags: BTreeMap<String, String>) {
        if self.card.tags == tags {
            return;
        }
        self.card.version += 1;
        self.card.tags = tags;
        self.out.push(Output::Changed);
        self.publish(&self.card.clone());
        self.flush(now);
    }

    /// Says farewell; [`Output::Gone`] tells when it was said.
    pub fn leave(&mut self, now: Instant) {
        if self.phase != Phase::Present {
            return;
        }
        let left = Left { id: self.card.id, counter: self.me().counter, forced: false, prune: false };
        let item = wire::write(&Item::Left(left));
        let mut to: Vec<SocketAddr> = self.table.live().map(|entry| entry.who.address).collect();
        self.dice.shuffle(&mut to);
        to.truncate(FAREWELL_DIRECT);
        for to in to {
            self.send_item(to, &item);
        }
        self.queue.clear();
        self.queue.push(Key::Left(left.id), item, u32::MAX);
        self.phase = Phase::Leaving;
        self.out.push(Output::Changed);
        self.timers.set(now, Task::Farewell(0));
    }

    fn farewell(&mut self, now: Instant, said: u32) {
        if said < FAREWELLS && self.swim.num_members() > 0 {
            self.drive(now, |swim, caught| swim.gossip(caught));
            self.timers.set(now + FAREWELL_PERIOD, Task::Farewell(said + 1));
        } else if self.phase == Phase::Leaving {
            self.phase = Phase::Gone;
            self.dials.clear();
            self.out.push(Output::Gone);
        }
    }

    /// Treats a dead member as one that left; `prune` takes it off the list too. A living one refutes by living: then
    /// nothing happens, as in Consul.
    ///
    /// # Errors
    /// [`UnknownMember`] when nobody has this name.
    pub fn force_leave(&mut self, now: Instant, name: &str, prune: bool) -> Result<(), UnknownMember> {
        let found: Vec<Identity> = self.table.named(name).map(|entry| entry.who).collect();
        if found.is_empty() && folded(name) != folded(&self.card.name) {
            return Err(UnknownMember(name.to_owned()));
        }
        for who in found {
            self.take_left(now, Left { id: who.id, counter: who.counter, forced: true, prune });
        }
        self.flush(now);
        Ok(())
    }

    /// A member left, or is to be treated so. News are passed on.
    pub(super) fn take_left(&mut self, now: Instant, left: Left) {
        let Some(entry) = self.table.entries.get_mut(&left.id) else { return };
        let known = entry.left.is_some_and(|counter| counter >= left.counter) && (entry.pruned || !left.prune);
        if known || entry.who.counter > left.counter || (left.forced && entry.is_live()) {
            return;
        }
        entry.left = entry.left.max(Some(left.counter));
        entry.pruned |= left.prune;
        if entry.is_live() {
            // The intent travels by itself: a bare Down would look like a failure to whoever hears it first.
            let down = foca::Member::down(entry.who);
            self.drive(now, |swim, caught| swim.apply_many(std::iter::once(down), false, caught));
        }
        self.touched.insert(left.id);
        let times = self.transmissions() * 2;
        self.queue.push(Key::Left(left.id), wire::write(&Item::Left(left)), times);
        self.urgent = true;
    }

    /// Queues a card for gossip. One that leaves no room in a packet travels by push/pull alone.
    pub(super) fn publish(&mut self, card: &Card) {
        let bytes = wire::write(&Item::Card(card.clone()));
        let room = self.packet_room().saturating_sub(2 + self.swim_config.max_packet_size.get());
        if bytes.len() + 2 <= room {
            let times = self.transmissions();
            self.queue.push(Key::Card(card.id), bytes, times);
            self.urgent = true;
        }
    }

    pub(super) fn packet_room(&self) -> usize {
        self.config.packet_size_max.saturating_sub(self.seal.overhead())
    }

    /// How often each item is sent: memberlist's 4 x ceil(log10(n + 1)).
    pub(super) fn transmissions(&self) -> u32 {
        4 * ((self.swim.num_members() + 2) as f64).log10().ceil() as u32
    }

    fn reap(&mut self, now: Instant) {
        for id in self.table.expired(now, self.config.reconnect_timeout, self.config.left_timeout) {
            let Some(entry) = self.table.entries.remove(&id) else { continue };
            self.table.cards.remove(&id);
            self.queue.drop_suspicions(id);
            self.vivaldi.forget(id);
            self.drive(now, |swim, caught| swim.handle_timer(foca::Timer::RemoveDown(entry.who), caught));
            if let Some(member) = entry.shown {
                self.out.push(Output::Changed);
                self.out.push(Output::Event(MemberEvent::Reaped(member)));
            }
        }
        let verdict_max = Duration::from_secs(10);
        self.verdicts.retain(|_, (at, _)| now.since(*at) < verdict_max);
    }

    /// The end of every call: settles what it touched and makes sure that what waits is gossiped.
    pub(super) fn flush(&mut self, now: Instant) {
        while let Some(id) = self.touched.pop_first() {
            if id != self.card.id {
                self.settle(now, id);
            }
        }
        if self.phase != Phase::Present {
            return;
        }
        let times = u8::try_from(self.transmissions()).unwrap_or(u8::MAX).max(1);
        if self.swim_config.max_transmissions.get() != times
            && let Some(times) = std::num::NonZeroU8::new(times)
        {
            self.swim_config.max_transmissions = times;
            // Only the probe's times and switching a periodic task on are refused.
            let _ = self.swim.set_config(self.swim_config.clone());
        }
        let waits = self.swim.updates_backlog() > 0 || !self.queue.is_empty();
        if waits && self.swim.num_members() > 0 {
            let at = now + if self.urgent { URGENT } else { self.config.gossip_period };
            if self.next_gossip.is_none_or(|next| next > at) {
                self.next_gossip = Some(at);
                self.timers.set(at, Task::Gossip);
            }
        }
        self.urgent = false;
    }

    /// What foca holds of a member.
    pub(super) fn verdict(&self, id: Uuid) -> Option<&foca::Member<Identity>> {
        self.swim.iter_membership_state().find(|member| member.id().id == id)
    }

    /// Brings the list up to foca's verdict and tells the host what that changed.
    fn settle(&mut self, now: Instant, id: Uuid) {
        let Some(&who) = self.verdict(id).map(foca::Member::id) else { return };
        let state = self.verdict(id).map(foca::Member::state);
        let suspected = self.suspicions.contains_key(&id);
        let entry = self.table.entries.entry(id).or_insert_with(|| Entry::new(who, now));
        let was_live = entry.is_live();
        entry.who = who;
        entry.status = match state {
            Some(State::Down) if entry.has_left() => MemberStatus::Left,
            Some(State::Down) => MemberStatus::Dead,
            _ if suspected => MemberStatus::Suspect,
            _ => MemberStatus::Alive,
        };
        if entry.is_live() {
            entry.pruned = false;
            if !self.table.cards.contains_key(&id) {
                let patience = Duration::from_millis(500);
                let at = now + patience + self.dice.span(patience);
                self.timers.set(at, Task::Fetch(id));
            }
        } else if was_live {
            entry.since = now;
            self.suspicions.remove(&id);
            self.queue.drop_suspicions(id);
        }
        let Some(event) = self.table.shift(id) else { return };
        self.out.push(Output::Changed);
        let arrived = matches!(event, Some(MemberEvent::Joined(_) | MemberEvent::Updated(_)));
        if !matches!(event, None | Some(MemberEvent::Updated(_))) {
            self.urgent = true;
        }
        self.out.extend(event.map(Output::Event));
        if arrived {
            self.compare_names(id);
        }
    }

    /// A name belongs to one member: the newcomer replaces the dead and the gone, and is reported beside the living.
    fn compare_names(&mut self, id: Uuid) {
        let Some(shown) = self.table.get(id).and_then(|entry| entry.shown.clone()) else { return };
        if folded(&shown.name) == folded(&self.card.name) {
            return self.report_conflict(id, shown.name, self.card.id, self.me().address, shown.address);
        }
        let others: Vec<(Uuid, SocketAddr, bool)> = self
            .table
            .named(&shown.name)
            .filter(|other| other.who.id != id && other.shown.is_some())
            .map(|other| (other.who.id, other.who.address, other.is_live()))
            .collect();
        for (other, address, live) in others {
            if live {
                self.report_conflict(id, shown.name.clone(), other, address, shown.address);
            } else if let Some(entry) = self.table.entries.get_mut(&other) {
                entry.pruned = true;
                let event = self.table.shift(other).flatten();
                self.out.extend(event.map(Output::Event));
            }
        }
    }

    fn report_conflict(&mut self, id: Uuid, name: NodeName, with: Uuid, first: SocketAddr, second: SocketAddr) {
        if let Some(entry) = self.table.entries.get_mut(&id)
            && entry.conflicts_with != Some(with)
        {
            entry.conflicts_with = Some(with);
            self.out.push(Output::Conflict { name, first, second });
        }
    }
}
