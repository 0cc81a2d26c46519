//! What is to be done when. Owns the order of deadlines; equal ones in the order in which they were set.

use super::identity::Identity;
use crate::time::Instant;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Swim(foca::Timer<Identity>),
    Gossip,
    PushPull,
    Reconnect,
    Reap,
    Suspicion(Uuid),
    /// Ask a member for its own card if gossip has not brought it.
    Fetch(Uuid),
    Dial(u64),
    /// The next ping, or the verdict, of a check.
    Check(u64),
    Join {
        ticket: u64,
        to: SocketAddr,
        tries: u32,
    },
    Farewell(u32),
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    tasks: BTreeMap<(Instant, u64), Task>,
    set: u64,
}

impl Timers {
    pub(super) fn set(&mut self, at: Instant, task: Task) {
        self.tasks.insert((at, self.set), task);
        self.set += 1;
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.tasks.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn due(&mut self, now: Instant) -> Option<Task> {
        let first = self.tasks.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}
