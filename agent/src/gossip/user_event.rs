//! User events: what somebody fires at one agent reaches every other, once each. Owns what an event is, Lamport's clock of
//! them (Lamport 1978), and the window in which one that comes again is known; who an event is meant for is decided by
//! whoever hears it, in [`crate::local::Heard`].
//!
//! An event rides in packets as news do, and in every push/pull for as long as it is in the window: so it reaches who lost
//! every packet or was cut off, as in Serf. Who knew nobody before takes the clock and leaves the events of before alone.

use super::core::Gossip;
use super::output::Output;
use super::queue::Key;
use super::wire::{self, Item};
use crate::time::Instant;
use regex_lite::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Ticks of Lamport's clock, and events, that are remembered: Serf's `EventBuffer`.
const WINDOW: u64 = 512;
/// Bytes of an event as it travels: Serf's `UserEventSizeLimit`. It must fit into a packet beside foca's part.
pub const EVENT_MAX: usize = 512;
/// Events that one agent fires in a second. Each is sent a dozen times by everybody.
const RATE: usize = 64;
/// What a filter's automaton may take.
const PATTERN_MAX: usize = 1 << 16;
/// The version of payload and filters; a later one is not understood here.
pub const VERSION: u64 = 1;

/// An event before it is fired: a name, up to some 400 bytes, and regular expressions that say whom it is meant for (empty
/// ones are met by everybody).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Announcement {
    pub name: String,
    pub payload: Vec<u8>,
    /// Of the node's name.
    pub node_filter: String,
    /// Of the name of one of the node's services.
    pub service_filter: String,
    /// Of one of that service's tags.
    pub tag_filter: String,
}

/// An event that was fired.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UserEvent {
    pub id: Uuid,
    /// When, by the clock of events. Later events may have equal times.
    pub time: u64,
    pub version: u64,
    pub announcement: Announcement,
}

/// Why an event was not fired.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFired {
    #[error("User event missing name")]
    NoName,
    #[error("Cannot provide tag filter without service filter")]
    TagWithoutService,
    #[error("Invalid {filter} filter: {cause}")]
    Filter { filter: &'static str, cause: String },
    #[error(
        "user event of {size} bytes exceeds configured limit of {EVENT_MAX} bytes: shorten its payload or its filters"
    )]
    TooLarge { size: usize },
    #[error("{RATE} events were fired by this agent within the last second: try again later")]
    TooMany,
    #[error("this agent is leaving")]
    Leaving,
}

/// A filter, compiled; `None` when it is empty and everything meets it.
pub(crate) fn filter(name: &'static str, pattern: &str) -> Result<Option<Regex>, NotFired> {
    if pattern.is_empty() {
        return Ok(None);
    }
    let compiled = RegexBuilder::new(pattern).size_limit(PATTERN_MAX).build();
    compiled.map(Some).map_err(|cause| NotFired::Filter { filter: name, cause: cause.to_string() })
}

impl Announcement {
    fn check(&self) -> Result<(), NotFired> {
        if self.name.is_empty() {
            return Err(NotFired::NoName);
        }
        if !self.tag_filter.is_empty() && self.service_filter.is_empty() {
            return Err(NotFired::TagWithoutService);
        }
        filter("node", &self.node_filter)?;
        filter("service", &self.service_filter)?;
        filter("tag", &self.tag_filter)?;
        Ok(())
    }
}

impl UserEvent {
    /// Consul's index of a list that ends with this event: the halves of its id, one against the other.
    #[must_use]
    pub fn index(&self) -> u64 {
        let (upper, lower) = self.id.as_u64_pair();
        upper ^ lower
    }
}

/// What a member knows of events.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// The time of the next event that is fired here.
    clock: u64,
    /// Earlier ones are not for us: they were fired before we joined, or left the window.
    since: u64,
    known: BTreeMap<(u64, Uuid), Arc<UserEvent>>,
    /// When the latest were fired here.
    fired: VecDeque<Instant>,
}

impl Events {
    /// Whether the event is new; if so it is known from now on.
    fn learn(&mut self, event: UserEvent) -> Option<Arc<UserEvent>> {
        let at = (event.time, event.id);
        if event.time < self.since || self.known.contains_key(&at) {
            return None;
        }
        self.witness(event.time.saturating_add(1));
        if event.time < self.since {
            return None;
        }
        let event = Arc::new(event);
        self.known.insert(at, Arc::clone(&event));
        // The earliest give way; one that comes again after that would be taken for new, so its whole tick is refused.
        while self.known.len() as u64 > WINDOW {
            if let Some(((time, _), _)) = self.known.pop_first() {
                self.since = self.since.max(time.saturating_add(1));
            }
        }
        Some(event)
    }

    /// Somebody's clock stands there.
    fn witness(&mut self, clock: u64) {
        self.clock = self.clock.max(clock);
        self.since = self.since.max(self.clock.saturating_sub(WINDOW));
        while self.known.first_key_value().is_some_and(|((time, _), _)| *time < self.since) {
            self.known.pop_first();
        }
    }

    /// Not more than so many in any second.
    fn may_fire(&mut self, now: Instant) -> bool {
        if self.fired.len() >= RATE {
            if self.fired.front().is_some_and(|first| now.since(*first) < Duration::from_secs(1)) {
                return false;
            }
            self.fired.pop_front();
        }
        self.fired.push_back(now);
        true
    }

    /// The clock and the window, for a push/pull.
    pub(super) fn state(&self) -> (u64, Vec<UserEvent>) {
        (self.clock, self.known.values().map(|event| UserEvent::clone(event)).collect())
    }
}

impl Gossip {
    /// Fires an event. It reaches this agent too, as [`Output::Heard`].
    ///
    /// # Errors
    /// [`NotFired`]; nobody hears of it.
    pub fn fire(&mut self, now: Instant, announcement: Announcement) -> Result<Arc<UserEvent>, NotFired> {
        if !self.is_present() {
            return Err(NotFired::Leaving);
        }
        announcement.check()?;
        let event = UserEvent { id: self.dice.uuid(), time: self.events.clock, version: VERSION, announcement };
        let size = wire::write(&Item::Event(event.clone())).len();
        if size > EVENT_MAX {
            return Err(NotFired::TooLarge { size });
        }
        if !self.events.may_fire(now) {
            return Err(NotFired::TooMany);
        }
        self.take_event(event.clone());
        self.flush(now);
        Ok(Arc::new(event))
    }

    /// An event was fired or came in: who has not heard it yet hears it and passes it on.
    pub(super) fn take_event(&mut self, event: UserEvent) {
        let item = wire::write(&Item::Event(event.clone()));
        if item.len() > EVENT_MAX {
            self.counts.packets_malformed += 1;
            return;
        }
        let id = event.id;
        if let Some(event) = self.events.learn(event) {
            // As often as a farewell: what is lost comes only with the next push/pull, half a minute later.
            let times = self.transmissions() * 2;
            self.queue.push(Key::Event(id), item, times);
            self.urgent = true;
            self.out.push(Output::Heard(event));
        }
    }

    /// The events of a push/pull. Who has known nobody so far, neither living nor dead, hears nothing of before.
    pub(super) fn take_events(&mut self, clock: u64, events: Vec<UserEvent>) {
        if self.table.entries.is_empty() {
            self.events.witness(clock);
            self.events.since = self.events.since.max(clock);
        }
        for event in events {
            self.take_event(event);
        }
        self.events.witness(clock);
    }
}
