//! Between foca and the wire: what foca wants sent and remembered, what packets bring it, and suspicion, which is ours
//! (foca has a timer only at the prober, and that one cannot shrink).

use super::check::Purpose;
use super::config::GossipConfig;
use super::core::{Gossip, Phase, Swimmer};
use super::exchange::Errand;
use super::identity::{Identity, Swim};
use super::output::Output;
use super::queue::Key;
use super::seal::Kind;
use super::suspicion::{CONFIRMATIONS, Suspicion};
use super::timers::Task;
use super::wire::{self, Ask, Card, Doubt, Item};
use crate::time::Instant;
use bytes::Bytes;
use foca::{Header, Message, Notification, Runtime, State, Timer};
use lictor_catalog::Coordinate;
use std::net::SocketAddr;
use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;
use uuid::Uuid;

/// foca's settings. Its periodic tasks are off: gossip rounds, push/pull and calling on the dead are ours, so that they
/// carry our items, run only when there is something to say, and reach by TCP.
pub(super) fn config(config: &GossipConfig, overhead: usize) -> foca::Config {
    let mut swim = foca::Config::simple();
    swim.probe_period = config.probe_period;
    swim.probe_rtt = config.probe_timeout;
    swim.max_transmissions = NonZeroU8::new(4).unwrap_or(NonZeroU8::MIN);
    swim.suspect_to_down_after = Duration::from_secs(3600);
    // We reap, since the dead and the gone have different terms.
    swim.remove_down_after = None;
    // foca would send this notice also to a member that refuted in time; ours goes out only where Down was applied.
    swim.notify_down_members = false;
    // The rest of the packet is kept for our items.
    let room = config.packet_size_max.saturating_sub(overhead) * 4 / 7;
    swim.max_packet_size = NonZeroUsize::new(room.max(256)).unwrap_or(NonZeroUsize::MIN);
    swim
}

/// Collects what foca wants done while it runs.
#[derive(Default)]
pub(super) struct Caught {
    sent: Vec<(Identity, Vec<u8>)>,
    timers: Vec<(Timer<Identity>, Duration)>,
    touched: Vec<Uuid>,
    active: bool,
    renewed: bool,
}

impl Runtime<Identity> for Caught {
    fn notify(&mut self, notification: Notification<'_, Identity>) {
        match notification {
            Notification::MemberUp(who) | Notification::MemberDown(who) | Notification::Rename(_, who) => {
                self.touched.push(who.id);
            }
            Notification::Active => self.active = true,
            Notification::Rejoin(_) => self.renewed = true,
            _ => {}
        }
    }

    fn send_to(&mut self, to: Identity, data: &[u8]) {
        self.sent.push((to, data.to_vec()));
    }

    fn submit_after(&mut self, event: Timer<Identity>, after: Duration) {
        self.timers.push((event, after));
    }
}

impl Gossip {
    /// Runs foca and does what it wants done. False when foca refused.
    pub(super) fn drive<F>(&mut self, now: Instant, run: F) -> bool
    where
        F: FnOnce(&mut Swimmer, &mut Caught) -> Result<(), foca::Error>,
    {
        let mut caught = Caught::default();
        let fine = run(&mut self.swim, &mut caught).is_ok();
        self.touched.extend(caught.touched);
        for (to, bytes) in caught.sent {
            self.send_swim(now, &to, &bytes);
        }
        for (timer, after) in caught.timers {
            let after = match timer {
                // Ours: see the head of this file.
                Timer::ChangeSuspectToDown { member_id, incarnation, .. } => {
                    self.doubt(now, member_id, incarnation, self.card.id);
                    continue;
                }
                // Members that start together shall not probe in step.
                Timer::ProbeRandomMember(_) if caught.active => self.dice.span(after),
                Timer::ProbeRandomMember(_) | Timer::SendIndirectProbe { .. } => self.probing.stretch(after),
                _ => after,
            };
            self.timers.set(now + after, Task::Swim(timer));
        }
        if caught.renewed {
            self.renewed(now);
        }
        fine
    }

    /// We were declared dead and came back under a higher counter.
    fn renewed(&mut self, now: Instant) {
        self.card.counter = self.me().counter;
        self.incarnation = 0;
        self.publish(&self.card.clone());
        // foca waits for news before it probes again; having members is enough for us.
        self.drive(now, |swim, caught| swim.apply_many(std::iter::empty(), true, caught));
    }

    /// Takes a counter above `counter`, which somebody has on record for us.
    pub(super) fn outbid(&mut self, now: Instant, counter: u64) {
        let Some(counter) = counter.checked_add(1) else { return };
        let next = Identity { counter, ..self.me() };
        if counter > self.me().counter && self.drive(now, |swim, caught| swim.change_identity(next, caught)) {
            self.renewed(now);
        }
    }

    fn send_swim(&mut self, now: Instant, to: &Identity, swim: &[u8]) {
        let mut acks = false;
        if let Ok(Swim { header, .. }) = Swim::read(swim) {
            if header.src_incarnation > self.incarnation {
                // foca raised it to refute a suspicion.
                self.probing.worse();
            }
            self.incarnation = header.src_incarnation;
            if let Message::Ping(number) = header.message {
                self.probing.started(now, *to, number);
            }
            acks = matches!(header.message, Message::Ack(_));
        }
        let Ok(length) = u16::try_from(swim.len()) else { return };
        let room = self.packet_room();
        let mut payload = [length.to_be_bytes().as_slice(), swim].concat();
        if let Some(suspicion) = self.suspicions.get(&to.id) {
            // Lifeguard's buddy: whoever talks to a suspect tells it, so that it can refute at once.
            let doubt = Doubt { who: suspicion.who, incarnation: suspicion.incarnation, from: self.card.id };
            wire::append(&mut payload, &wire::write(&Item::Suspect(doubt)), room);
        }
        if let Some(place) = self.place().filter(|_| acks) {
            wire::append(&mut payload, &wire::write(&Item::Place(place)), room);
        }
        self.queue.fill(&mut payload, room);
        self.post(to.address, &payload);
    }

    /// One item in a packet of its own.
    pub(super) fn send_item(&mut self, to: SocketAddr, item: &[u8]) {
        let mut payload = vec![0, 0];
        if wire::append(&mut payload, item, self.packet_room()) {
            self.post(to, &payload);
        }
    }

    fn post(&mut self, to: SocketAddr, payload: &[u8]) {
        let bytes = Bytes::from(self.seal.close(Kind::Packet, payload));
        self.out.push(Output::Packet { to, bytes });
    }

    /// A packet came in. Garbage is counted and dropped.
    pub fn packet(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        // Nothing is said before the first join is through, and nothing after the farewell.
        if self.phase != Phase::Present || self.is_joining() {
            return;
        }
        let Ok(payload) = self.seal.open(Kind::Packet, bytes) else {
            self.counts.packets_refused += 1;
            return;
        };
        let Some((swim, items)) = wire::split(&payload) else {
            self.counts.packets_malformed += 1;
            return;
        };
        // Farewells first, so that a Down in the same packet is not taken for a failure.
        let (farewells, items): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| matches!(item, Item::Left(_)));
        for item in farewells {
            self.take_item(now, from, item);
        }
        if !swim.is_empty() {
            match Swim::read(swim) {
                Ok(swim) => {
                    let place = items.iter().find_map(|item| match item {
                        Item::Place(place) => Some(*place),
                        _ => None,
                    });
                    self.take_swim(now, swim, place);
                }
                Err(_) => self.counts.packets_malformed += 1,
            }
        }
        for item in items {
            self.take_item(now, from, item);
        }
        self.flush(now);
    }

    fn take_swim(&mut self, now: Instant, mut swim: Swim, place: Option<Coordinate>) {
        let (me, src) = (self.me(), swim.header.src);
        if src.id == me.id {
            return self.rival(now, src);
        }
        let meant = swim.header.dst == me || (swim.header.message == Message::Announce && swim.header.dst.id == me.id);
        if !meant || (self.is_full() && self.verdict(src.id).is_none()) {
            return;
        }
        if self.verdict(src.id).is_some_and(|known| *known.id() == src && known.state() == State::Down) {
            return self.tell_down(now, src);
        }
        self.probing.heard(&src);
        if let (Message::Ack(number), Some(place)) = (&swim.header.message, place)
            && self.config.coordinates
            && let Some(round_trip) = self.probing.round_trip(now, &src, *number)
        {
            self.vivaldi.observe(src.id, &place, round_trip);
        }
        if let Message::Ack(number) | Message::ForwardedAck { probe_number: number, .. } = swim.header.message {
            self.probing.answered(number);
        }
        // foca must not hear of our own past or future selves: it would tell everybody that we are down.
        let rivals: Vec<Identity> =
            swim.updates.iter().map(|u| *u.id()).filter(|who| who.id == me.id && *who != me).collect();
        let full = self.is_full();
        swim.updates.retain(|u| !rivals.contains(u.id()) && (!full || self.verdict(u.id().id).is_some()));
        let suspects: Vec<Uuid> = swim.updates.iter().map(|update| update.id().id).chain([src.id]).collect();
        let Ok(bytes) = swim.write() else { return };
        if !self.drive(now, |foca, caught| foca.handle_data(&bytes, caught)) {
            self.counts.packets_malformed += 1;
        }
        for id in suspects {
            self.review(now, id);
        }
        for who in rivals {
            self.rival(now, who);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.swim.iter_membership_state().len() >= self.config.members_max
    }

    /// Tells a member that we hold it for dead, so that it comes back under a higher counter. Not those that left.
    fn tell_down(&mut self, now: Instant, who: Identity) {
        if self.table.get(who.id).is_some_and(|entry| entry.who == who && entry.has_left()) {
            return;
        }
        let header =
            Header { src: self.me(), src_incarnation: self.incarnation, dst: who, message: Message::TurnUndead };
        if let Ok(bytes) = (Swim { header, updates: Vec::new() }).write() {
            self.send_swim(now, &who, &bytes);
        }
    }

    fn take_item(&mut self, now: Instant, from: SocketAddr, item: Item) {
        match item {
            Item::Left(left) if left.id != self.card.id => self.take_left(now, left),
            Item::Left(_) => {}
            Item::Card(card) => self.take_card(&card),
            Item::Suspect(doubt) => self.take_doubt(now, &doubt),
            Item::Ping { nonce, target } if target == self.card.id => {
                let pong = wire::write(&Item::Pong { nonce, from: self.me() });
                self.send_item(from, &pong);
            }
            Item::Ping { .. } => {}
            Item::Pong { nonce, from } => self.check_answered(now, nonce, from),
            Item::Event(event) => self.take_event(event),
            // Read with the ack that it came beside.
            Item::Place(_) => {}
        }
    }

    pub(super) fn take_card(&mut self, card: &Card) {
        if card.id != self.card.id && self.table.learn(card, self.config.members_max) {
            self.touched.insert(card.id);
            self.publish(card);
        }
    }

    fn take_doubt(&mut self, now: Instant, doubt: &Doubt) {
        let Doubt { who, incarnation, from } = *doubt;
        let known = self.verdict(who.id).is_some_and(|m| *m.id() == who && m.state() != State::Down);
        if who != self.me() && !known {
            return;
        }
        self.suspect(now, who, incarnation);
        if who.id != self.card.id {
            self.doubt(now, who, incarnation, from);
        }
    }

    /// Tells foca of a suspicion; about ourselves it refutes.
    pub(super) fn suspect(&mut self, now: Instant, who: Identity, incarnation: u16) {
        let suspect = foca::Member::new(who, incarnation, State::Suspect);
        self.drive(now, |swim, caught| swim.apply_many(std::iter::once(suspect), true, caught));
    }

    /// `from` found `who` silent. Counts only while foca holds it suspect at that incarnation.
    pub(super) fn doubt(&mut self, now: Instant, who: Identity, incarnation: u16, from: Uuid) {
        if !self.is_suspect(&who, incarnation) {
            return;
        }
        let known = self.suspicions.get(&who.id).is_some_and(|s| (s.who, s.incarnation) == (who, incarnation));
        if !known {
            let members = self.swim.num_members() + 1;
            let suspicion = Suspicion::new(who, incarnation, now, members, self.config.suspicion_min);
            self.suspicions.insert(who.id, suspicion);
        }
        let Some(suspicion) = self.suspicions.get_mut(&who.id) else { return };
        let news = suspicion.doubt(from);
        let deadline = suspicion.deadline();
        if news {
            let times = self.transmissions();
            let item = wire::write(&Item::Suspect(Doubt { who, incarnation, from }));
            self.queue.push(Key::Suspect { who: who.id, from }, item, times);
            self.urgent = true;
            self.timers.set(deadline, Task::Suspicion(who.id));
        }
        if !known && from != self.card.id {
            self.look_for_ourselves(now, who, incarnation);
        }
        self.touched.insert(who.id);
    }

    /// Confirmations that wait for everybody's next probe take as long as the cluster is large. So a few hearers, about
    /// twice as many as are needed, look at once; their pings also tell the suspect.
    fn look_for_ourselves(&mut self, now: Instant, who: Identity, incarnation: u16) {
        let wanted = 2 * CONFIRMATIONS as u64;
        if self.dice.below(self.swim.num_members() as u64) < wanted {
            self.start_check(now, who, Purpose::Confirm(incarnation));
        }
    }

    fn is_suspect(&self, who: &Identity, incarnation: u16) -> bool {
        self.verdict(who.id)
            .is_some_and(|m| m.id() == who && m.incarnation() == incarnation && m.state() == State::Suspect)
    }

    /// Starts or ends our suspicion as foca's verdict says.
    pub(super) fn review(&mut self, now: Instant, id: Uuid) {
        let suspect = self.verdict(id).filter(|m| m.state() == State::Suspect).map(|m| (*m.id(), m.incarnation()));
        match (suspect, self.suspicions.get(&id)) {
            (Some((who, incarnation)), known)
                if known.is_none_or(|known| (known.who, known.incarnation) != (who, incarnation)) =>
            {
                // By hearsay without a doubter: the longest time, unless doubts follow.
                let members = self.swim.num_members() + 1;
                let suspicion = Suspicion::new(who, incarnation, now, members, self.config.suspicion_min);
                self.timers.set(suspicion.deadline(), Task::Suspicion(id));
                self.suspicions.insert(id, suspicion);
                self.look_for_ourselves(now, who, incarnation);
                self.touched.insert(id);
            }
            (None, Some(_)) => {
                self.suspicions.remove(&id);
                self.queue.drop_suspicions(id);
                self.touched.insert(id);
            }
            _ => {}
        }
    }

    pub(super) fn suspicion_due(&mut self, now: Instant, id: Uuid) {
        let Some(suspicion) = self.suspicions.get(&id) else { return };
        if suspicion.deadline() > now {
            let at = suspicion.deadline();
            return self.timers.set(at, Task::Suspicion(id));
        }
        let (who, incarnation) = (suspicion.who, suspicion.incarnation);
        if !self.is_suspect(&who, incarnation) {
            return self.review(now, id);
        }
        let down = foca::Member::new(who, incarnation, State::Down);
        self.drive(now, |swim, caught| swim.apply_many(std::iter::once(down), true, caught));
        self.suspicions.remove(&id);
        self.urgent = true;
        self.tell_down(now, who);
    }

    pub(super) fn swim_timer(&mut self, now: Instant, timer: Timer<Identity>) {
        match &timer {
            Timer::ProbeRandomMember(_) => self.probing.finished(),
            Timer::SendIndirectProbe { probed_id, .. } => {
                if let Some(number) = self.probing.unanswered(probed_id) {
                    let target = *probed_id;
                    let suspected = self.suspicions.get(&target.id).map(|s| (s.who.counter, s.incarnation));
                    let ask = Ask::Ping { target: target.id, suspected };
                    self.dial(now, target.address, Errand::Fallback { target, number }, ask);
                }
            }
            _ => {}
        }
        self.drive(now, |swim, caught| swim.handle_timer(timer, caught));
    }
}
