//! The leader's lease: for how long it may answer reads without asking a quorum.
//!
//! Owns only the arithmetic. It never asks anybody: the caller sends an ask through
//! [`Engine::read_index`](super::Engine::read_index) at each heartbeat, notes the moment *before* sending, and brings the
//! answer back. The lease holds because a voter that answered an ask sent at `t` elects nobody for one shortest election
//! timeout after `t`, except when a transfer tells it to; hence no lease in an epoch with a transfer.

use super::Status;
use super::raft::{ELECTION_TICKS, MULTIPLIER_MAX};
use crate::time::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

/// Asks kept while unanswered.
const ASKS_MAX: usize = 64;
/// The clocks of two servers may differ by one part in this many.
const DRIFT: u32 = 50;

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Lease {
    span: Duration,
    /// When each ask was made, and in which epoch.
    asks: BTreeMap<u64, (Instant, u64)>,
    until: Option<Instant>,
    epoch: u64,
}

impl Lease {
    /// `tick` and `multiplier` must be those of the engine.
    #[must_use]
    pub fn new(tick: Duration, multiplier: u32) -> Self {
        // A voter counts a tick that began before the ask reached it, hence one less.
        let span = tick * (ELECTION_TICKS * multiplier.clamp(1, MULTIPLIER_MAX)).saturating_sub(1);
        Self { span: span - span / DRIFT, asks: BTreeMap::new(), until: None, epoch: 0 }
    }

    /// An ask is about to be sent. Asks must rise.
    pub fn asked(&mut self, ask: u64, status: &Status, now: Instant) {
        self.observe(status);
        if !status.leading {
            return;
        }
        while self.asks.len() >= ASKS_MAX {
            self.asks.pop_first();
        }
        self.asks.insert(ask, (now, status.epoch));
    }

    /// When this ask was made, unless it was answered or given up.
    #[must_use]
    pub fn asked_at(&self, ask: u64) -> Option<Instant> {
        self.asks.get(&ask).map(|(at, _)| *at)
    }

    /// An ask was answered: the moment until which default reads need no ask.
    pub fn answered(&mut self, ask: u64, status: &Status) -> Option<Instant> {
        self.observe(status);
        let (at, epoch) = self.asks.remove(&ask)?;
        // An ask confirms leadership at every moment before it too, so older ones tell nothing new.
        self.asks = self.asks.split_off(&ask);
        if !status.leading || epoch != status.epoch {
            return None;
        }
        self.until = self.until.max(Some(at + self.span));
        self.until(status)
    }

    /// The lease as it stands; to be called after every turn, so that a lost one is published as lost.
    pub fn until(&mut self, status: &Status) -> Option<Instant> {
        self.observe(status);
        if status.leading && status.settled && !status.transferred { self.until } else { None }
    }

    /// Members changed: the quorum that answered may not be the quorum that elects.
    pub fn void(&mut self) {
        self.asks.clear();
        self.until = None;
    }

    fn observe(&mut self, status: &Status) {
        if self.epoch != status.epoch || !status.leading {
            self.epoch = status.epoch;
            self.void();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leading(epoch: u64) -> Status {
        Status { leading: true, settled: true, epoch, ..Status::default() }
    }

    #[test]
    fn a_lease_counts_from_the_ask_and_dies_with_its_epoch() {
        let mut lease = Lease::new(Duration::from_millis(50), 1);
        let now = Instant(1_000_000_000);
        let status = leading(3);
        lease.asked(1, &status, now);
        assert_eq!(lease.until(&status), None, "an ask alone gives nothing");
        let until = lease.answered(1, &status).expect("answered");
        assert_eq!(until.since(now), Duration::from_millis(441), "ten ticks less one, less 2 %");
        assert_eq!(lease.answered(1, &status), None, "an answer counts once");
        lease.asked(2, &status, now + Duration::from_millis(100));
        let later = lease.answered(2, &status).expect("renewed");
        assert_eq!(later.since(until), Duration::from_millis(100));
        assert_eq!(lease.until(&Status { transferred: true, ..leading(3) }), None, "none after a transfer was begun");
        assert_eq!(lease.until(&Status { settled: false, ..leading(3) }), None, "none before an own entry is applied");
        assert_eq!(lease.until(&status), Some(later));
        assert_eq!(lease.until(&leading(4)), None, "none in another epoch");
        assert_eq!(lease.until(&status), None, "and it does not come back");
    }

    #[test]
    fn asks_of_another_time_give_nothing() {
        let mut lease = Lease::new(Duration::from_millis(50), 1);
        let now = Instant(5);
        lease.asked(1, &leading(3), now);
        assert_eq!(lease.answered(1, &leading(4)), None);
        lease.asked(2, &leading(4), now);
        lease.void();
        assert_eq!(lease.answered(2, &leading(4)), None, "the members changed in between");
        for ask in 3..1000 {
            lease.asked(ask, &leading(4), now);
        }
        assert!(lease.asks.len() <= ASKS_MAX);
    }
}
