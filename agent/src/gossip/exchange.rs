//! TCP: dials out, requests in, push/pull between two members, the fallback probe. Owns the dials under way; opens no
//! connection.

use super::core::{Gossip, Phase};
use super::identity::{Identity, Swim, WireState};
use super::member::MemberStatus;
use super::output::{DialError, JoinError, Output};
use super::seal::{Kind, Seal, Unopened};
use super::table::Entry;
use super::timers::Task;
use super::wire::{self, Ask, JoinRefused, Letter, Reply, Row, Sync};
use crate::time::Instant;
use bytes::Bytes;
use foca::{Header, Message, State};
use std::net::SocketAddr;
use std::time::Duration;
use uuid::Uuid;

/// What a dial is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    Join {
        ticket: u64,
        to: SocketAddr,
        tries: u32,
    },
    /// `again` after we had to come back from the dead in the course of one.
    Sync {
        with: SocketAddr,
        again: bool,
    },
    Fallback {
        target: Identity,
        number: u8,
    },
    Check(u64),
}

#[derive(Debug)]
pub(super) struct Dialing {
    errand: Errand,
    number: u64,
}

impl Gossip {
    /// Asks the host to dial. False when too many dials are out.
    pub(super) fn dial(&mut self, now: Instant, to: SocketAddr, errand: Errand, ask: Ask) -> bool {
        if self.dials.len() >= self.config.dials_max {
            self.counts.dials_dropped += 1;
            return false;
        }
        self.numbered += 1;
        let (dial, number) = (self.numbered, self.dice.number());
        let letter = wire::write(&Letter { number, content: ask });
        let body = Bytes::from(self.seal.close(Kind::Request, &letter));
        self.dials.insert(dial, Dialing { errand, number });
        self.timers.set(now + self.config.dial_timeout, Task::Dial(dial));
        self.out.push(Output::Dial { to, dial, body });
        true
    }

    pub(super) fn dial_timed_out(&mut self, now: Instant, dial: u64) {
        self.answered(now, dial, Err(DialError::TimedOut));
    }

    /// What became of a dial. One that is not known, or was given up, is ignored.
    pub fn answered(&mut self, now: Instant, dial: u64, result: Result<Bytes, DialError>) {
        let Some(Dialing { errand, number }) = self.dials.remove(&dial) else { return };
        if self.phase != Phase::Present {
            return;
        }
        let reply = match result {
            Ok(bytes) => self.read_reply(number, &bytes),
            Err(error) => Err(JoinError::Dial(error)),
        };
        match errand {
            Errand::Join { ticket, to, tries } => self.join_answered(now, ticket, to, tries, reply),
            Errand::Sync { with, again } => {
                if let Ok(Reply::State(sync)) = reply {
                    self.synced(now, with, again, sync);
                }
            }
            Errand::Fallback { target, number } => self.fallback_answered(now, target, number, reply),
            Errand::Check(check) => {
                if let Ok(Reply::Pong { from, incarnation }) = reply {
                    self.check_dialled(now, check, from, incarnation);
                }
            }
        }
        self.flush(now);
    }

    fn read_reply(&self, number: u64, bytes: &[u8]) -> Result<Reply, JoinError> {
        if bytes.len() > self.config.body_size_max {
            return Err(JoinError::Unreadable);
        }
        match self.seal.open(Kind::Answer, bytes) {
            Err(Unopened::Version(theirs)) => {
                return Err(JoinError::Refused(JoinRefused::Version { theirs, ours: super::seal::VERSION }));
            }
            Ok(letter) => {
                if let Some(letter) = wire::read::<Letter<Reply>>(&letter).filter(|letter| letter.number == number) {
                    return Ok(letter.content);
                }
            }
            Err(_) => {}
        }
        // Whoever cannot unseal our request can only say so in the open, and does not know its number. Nothing else is
        // believed so.
        match Seal::open_plain(Kind::Answer, bytes).and_then(wire::read::<Letter<Reply>>) {
            Some(Letter { content: Reply::Refused(refused), .. })
                if matches!(refused, JoinRefused::Key | JoinRefused::NoKey | JoinRefused::NeedsKey) =>
            {
                Err(JoinError::Refused(refused))
            }
            _ => Err(JoinError::Unreadable),
        }
    }

    /// A peer's request over TCP, and the answer to write back. Where it comes from says nothing: the sender names
    /// itself inside, and behind address translation the two differ.
    pub fn request(&mut self, now: Instant, body: &[u8]) -> Bytes {
        let opened = if body.len() > self.config.body_size_max {
            Err(Unopened::Truncated)
        } else {
            self.seal.open(Kind::Request, body)
        };
        let (number, reply) = match opened {
            Ok(letter) => match wire::read::<Letter<Ask>>(&letter) {
                Some(Letter { number, content }) => (number, self.answer(now, content)),
                None => (0, Reply::Refused(JoinRefused::Unreadable)),
            },
            Err(unopened) => {
                self.counts.requests_refused += 1;
                let refused = match unopened {
                    Unopened::Sealed => JoinRefused::NoKey,
                    Unopened::Plain => JoinRefused::NeedsKey,
                    Unopened::Key => JoinRefused::Key,
                    _ => JoinRefused::Unreadable,
                };
                let letter = wire::write(&Letter { number: 0, content: Reply::Refused(refused) });
                return Bytes::from(self.seal.close_plain(Kind::Answer, &letter));
            }
        };
        if matches!(reply, Reply::Refused(_)) {
            self.counts.requests_refused += 1;
        }
        self.flush(now);
        Bytes::from(self.seal.close(Kind::Answer, &wire::write(&Letter { number, content: reply })))
    }

    fn answer(&mut self, now: Instant, ask: Ask) -> Reply {
        if self.phase != Phase::Present {
            return Reply::Refused(JoinRefused::Leaving);
        }
        match ask {
            Ask::Join { name, sync } => self.answer_join(now, &name, sync),
            Ask::Sync { target, sync } => {
                if let Some(refused) = self.foreign(&sync) {
                    return Reply::Refused(refused);
                }
                if target != self.card.id {
                    return Reply::Refused(JoinRefused::NotMe);
                }
                if self.is_joining() {
                    return Reply::Wait;
                }
                self.merge(now, sync);
                Reply::State(self.state(now))
            }
            Ask::Ping { target, .. } if target != self.card.id => Reply::Refused(JoinRefused::NotMe),
            Ask::Ping { suspected, .. } => {
                if let Some((counter, incarnation)) = suspected
                    && counter == self.me().counter
                {
                    self.suspect(now, self.me(), incarnation);
                }
                Reply::Pong { from: self.me(), incarnation: self.incarnation }
            }
        }
    }

    /// Why this push/pull is not of our cluster.
    pub(super) fn foreign(&self, sync: &Sync) -> Option<JoinRefused> {
        let Sync { datacenter, label, .. } = sync;
        // Named from the side of whoever reads the refusal.
        if *datacenter != self.config.datacenter {
            return Some(JoinRefused::Datacenter { theirs: self.config.datacenter.clone(), ours: datacenter.clone() });
        }
        (*label != self.config.label)
            .then(|| JoinRefused::Label { theirs: self.config.label.clone(), ours: label.clone() })
    }

    /// A random living member is shown everything, and shows everything.
    pub(super) fn push_pull(&mut self, now: Instant) {
        let live: Vec<Identity> = self.table.live().map(|entry| entry.who).collect();
        self.sync_with_one(now, &live);
    }

    /// A random dead member is called on: if it is only cut off, both sides heal from here.
    pub(super) fn reconnect(&mut self, now: Instant) {
        let dead = |entry: &&Entry| entry.status == MemberStatus::Dead && !entry.pruned;
        let dead: Vec<Identity> = self.table.entries.values().filter(dead).map(|entry| entry.who).collect();
        self.sync_with_one(now, &dead);
    }

    fn sync_with_one(&mut self, now: Instant, among: &[Identity]) {
        let chosen = self.dice.below(among.len() as u64) as usize;
        if let Some(who) = among.get(chosen) {
            self.sync(now, who.id, who.address, false);
        }
    }

    fn sync(&mut self, now: Instant, target: Uuid, with: SocketAddr, again: bool) {
        let ask = Ask::Sync { target, sync: self.state(now) };
        self.dial(now, with, Errand::Sync { with, again }, ask);
    }

    /// Gossip has not brought this member's card: it shows it itself.
    pub(super) fn fetch(&mut self, now: Instant, id: Uuid) {
        let Some(entry) = self.table.get(id).filter(|entry| entry.is_live()) else { return };
        if self.table.cards.contains_key(&id) {
            return;
        }
        let address = entry.who.address;
        self.sync(now, id, address, false);
        let patience = Duration::from_secs(2);
        let at = now + patience + self.dice.span(patience);
        self.timers.set(at, Task::Fetch(id));
    }

    fn synced(&mut self, now: Instant, with: SocketAddr, again: bool, sync: Sync) {
        if self.foreign(&sync).is_some() {
            return;
        }
        let before = self.me();
        let target = sync.from.id;
        self.merge(now, sync);
        if self.me() != before && !again {
            // They held us for dead. Now that we are somebody new, they should hear it from us.
            self.sync(now, target, with, true);
        }
    }

    /// Everything we know, ourselves first.
    pub(super) fn state(&self, now: Instant) -> Sync {
        let me = Row {
            who: self.me(),
            incarnation: self.incarnation,
            state: WireState::Alive,
            left: false,
            pruned: false,
            down_ms: 0,
            card: Some(self.card.clone()),
        };
        let others = self.swim.iter_membership_state().map(|member| {
            let who = *member.id();
            let entry = self.table.get(who.id);
            Row {
                who,
                incarnation: member.incarnation(),
                state: member.state().into(),
                left: entry.is_some_and(Entry::has_left),
                pruned: entry.is_some_and(|entry| entry.pruned),
                down_ms: entry
                    .filter(|e| !e.is_live())
                    .map_or(0, |e| u64::try_from(now.since(e.since).as_millis()).unwrap_or(u64::MAX)),
                card: self.table.cards.get(&who.id).cloned(),
            }
        });
        let (event_clock, events) = self.events.state();
        Sync {
            datacenter: self.config.datacenter.clone(),
            label: self.config.label.clone(),
            from: self.me(),
            rows: std::iter::once(me).chain(others).collect(),
            event_clock,
            events,
        }
    }

    /// Takes in what another member knows. What it holds for dead and we hold for living becomes suspect here, as in
    /// memberlist: the member itself shall have a word.
    pub(super) fn merge(&mut self, now: Instant, sync: Sync) {
        let Sync { datacenter: _, label: _, from: _, rows, event_clock, events } = sync;
        self.take_events(event_clock, events);
        self.merge_rows(now, rows);
    }

    fn merge_rows(&mut self, now: Instant, rows: Vec<Row>) {
        let (mut live, mut down) = (Vec::new(), Vec::new());
        let mut marks = Vec::new();
        for row in rows {
            if row.who.id == self.card.id {
                self.take_row_about_us(now, &row);
                continue;
            }
            let known = self.verdict(row.who.id).cloned();
            if known.is_none() && self.is_full() {
                continue;
            }
            if let Some(card) = row.card.as_ref().filter(|card| card.id == row.who.id) {
                self.take_card(card);
            }
            self.touched.insert(row.who.id);
            if row.state != WireState::Down {
                live.push(foca::Member::new(row.who, row.incarnation, row.state.into()));
                continue;
            }
            match known {
                None if !self.is_worth_keeping(&row) => {}
                Some(member) if foca::Identity::win_addr_conflict(member.id(), &row.who) => {}
                Some(member) if *member.id() == row.who && member.state() != State::Down && !row.left => {
                    let incarnation = member.incarnation().max(row.incarnation);
                    live.push(foca::Member::new(row.who, incarnation, State::Suspect));
                }
                _ => {
                    down.push(foca::Member::new(row.who, row.incarnation, State::Down));
                    marks.push(row);
                }
            }
        }
        let seen: Vec<Uuid> = live.iter().map(|member| member.id().id).collect();
        self.drive(now, |swim, caught| swim.apply_many(live.into_iter(), true, caught));
        self.drive(now, |swim, caught| swim.apply_many(down.into_iter(), false, caught));
        for id in seen {
            self.review(now, id);
        }
        for row in marks {
            self.mark(now, &row);
        }
    }

    /// The dead of long ago are not worth remembering anew.
    fn is_worth_keeping(&self, row: &Row) -> bool {
        let term = if row.left { self.config.left_timeout } else { self.config.reconnect_timeout };
        Duration::from_millis(row.down_ms) < term
    }

    /// Keeps what foca has no place for: since when it is down, and whether it left.
    fn mark(&mut self, now: Instant, row: &Row) {
        let entry = self.table.entries.entry(row.who.id).or_insert_with(|| Entry::new(row.who, now));
        if row.left {
            entry.left = entry.left.max(Some(row.who.counter));
        }
        entry.pruned |= row.pruned;
        if entry.is_live() {
            entry.since = now - Duration::from_millis(row.down_ms);
            entry.status = if row.left { MemberStatus::Left } else { MemberStatus::Dead };
        }
    }

    fn take_row_about_us(&mut self, now: Instant, row: &Row) {
        if row.who != self.me() {
            return self.rival(now, row.who);
        }
        let about = foca::Member::new(row.who, row.incarnation, row.state.into());
        self.drive(now, |swim, caught| swim.apply_many(std::iter::once(about), true, caught));
    }

    fn fallback_answered(&mut self, now: Instant, target: Identity, number: u8, reply: Result<Reply, JoinError>) {
        let waits = self.probing.unanswered(&target) == Some(number);
        match reply {
            Ok(Reply::Pong { from, incarnation }) if from == target => {
                if !waits {
                    return;
                }
                self.probing.answered(number);
                let message = Message::Ack(number);
                let header = Header { src: target, src_incarnation: incarnation, dst: self.me(), message };
                if let Ok(ack) = (Swim { header, updates: Vec::new() }).write() {
                    self.drive(now, |swim, caught| swim.handle_data(&ack, caught));
                    self.review(now, target.id);
                }
            }
            // A later start of the same member.
            Ok(Reply::Pong { from, incarnation }) if from.id == target.id => self.hear_alive(now, from, incarnation),
            // Its host lives and nobody listens, or somebody else does: no need to wait for the end of the probe.
            Ok(Reply::Refused(JoinRefused::NotMe | JoinRefused::Leaving))
            | Err(JoinError::Dial(DialError::Refused))
                if waits =>
            {
                self.probing.host_answered(&target);
                let known = self.verdict(target.id).filter(|m| *m.id() == target).map(foca::Member::incarnation);
                if let Some(incarnation) = known {
                    self.suspect(now, target, incarnation);
                    self.doubt(now, target, incarnation, self.card.id);
                }
            }
            _ => {}
        }
    }

    /// A member said in person that it lives.
    pub(super) fn hear_alive(&mut self, now: Instant, who: Identity, incarnation: u16) {
        if who.id == self.card.id || (self.is_full() && self.verdict(who.id).is_none()) {
            return;
        }
        let alive = foca::Member::new(who, incarnation, State::Alive);
        self.drive(now, |swim, caught| swim.apply_many(std::iter::once(alive), true, caught));
        self.review(now, who.id);
        self.touched.insert(who.id);
    }
}
