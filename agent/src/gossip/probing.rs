//! What we can tell of foca's current probe by watching its messages, and of our own health (Lifeguard's local health
//! multiplier). Owns both; foca keeps its own books.

use super::identity::Identity;
use crate::time::Instant;
use std::time::Duration;

const UNHEALTHY_MAX: u32 = 8;

#[derive(Debug, Default)]
pub(super) struct Probing {
    current: Option<Current>,
    unhealthy: u32,
}

#[derive(Debug)]
struct Current {
    target: Identity,
    number: u8,
    at: Instant,
    answered: bool,
    /// Somebody else was heard meanwhile, or the target's host answered: the silence is not of our making.
    heard: bool,
}

impl Probing {
    pub(super) fn started(&mut self, now: Instant, target: Identity, number: u8) {
        self.current = Some(Current { target, number, at: now, answered: false, heard: false });
    }

    /// Called before foca starts its next probe.
    pub(super) fn finished(&mut self) {
        if let Some(current) = self.current.take() {
            if current.answered {
                self.unhealthy = self.unhealthy.saturating_sub(1);
            } else if !current.heard {
                self.worse();
            }
        }
    }

    /// An alarm about us was refuted, or nobody answers us: perhaps it is us who are slow.
    pub(super) fn worse(&mut self) {
        self.unhealthy = (self.unhealthy + 1).min(UNHEALTHY_MAX);
    }

    pub(super) fn heard(&mut self, from: &Identity) {
        if let Some(current) = &mut self.current
            && current.target.id != from.id
        {
            current.heard = true;
        }
    }

    pub(super) fn host_answered(&mut self, target: &Identity) {
        if let Some(current) = self.current.as_mut().filter(|current| current.target == *target) {
            current.heard = true;
        }
    }

    /// How long the target itself took to answer, at its first answer.
    pub(super) fn round_trip(&self, now: Instant, from: &Identity, number: u8) -> Option<Duration> {
        self.unanswered(from).filter(|waits| *waits == number)?;
        self.current.as_ref().map(|current| now.since(current.at))
    }

    pub(super) fn answered(&mut self, number: u8) {
        if let Some(current) = self.current.as_mut().filter(|current| current.number == number) {
            current.answered = true;
        }
    }

    /// The number under which `target` is being probed without an answer so far.
    pub(super) fn unanswered(&self, target: &Identity) -> Option<u8> {
        self.current.as_ref().filter(|c| c.target == *target && !c.answered).map(|c| c.number)
    }

    /// Probes of an unhealthy member are slower and more patient.
    pub(super) fn stretch(&self, span: Duration) -> Duration {
        span * (1 + self.unhealthy)
    }

    pub(super) const fn unhealthy(&self) -> u32 {
        self.unhealthy
    }
}
