//! How long a suspect has to refute (Lifeguard, section IV.B): the more members found it silent on their own, the
//! shorter. Owns one suspicion; declares nobody dead.

use super::identity::Identity;
use crate::time::Instant;
use std::collections::BTreeSet;
use std::time::Duration;
use uuid::Uuid;

/// So many confirmations beyond the first doubt bring the time down to the least.
pub(super) const CONFIRMATIONS: usize = 3;
/// A doubt nobody confirms waits this many times the least.
const MAX_FACTOR: f64 = 6.0;

#[derive(Clone, Debug)]
pub(super) struct Suspicion {
    pub(super) who: Identity,
    pub(super) incarnation: u16,
    since: Instant,
    doubters: BTreeSet<Uuid>,
    needed: usize,
    min: Duration,
}

impl Suspicion {
    /// In a cluster of `members` (ourselves and the suspect among them) that could be confirmed by too few, the least
    /// time counts at once.
    pub(super) fn new(who: Identity, incarnation: u16, now: Instant, members: usize, min: Duration) -> Self {
        let needed = if members.saturating_sub(2) < CONFIRMATIONS { 0 } else { CONFIRMATIONS };
        let min = min.mul_f64((members.max(1) as f64).log10().max(1.0));
        Self { who, incarnation, since: now, doubters: BTreeSet::new(), needed, min }
    }

    /// True when this doubter is new and worth passing on.
    pub(super) fn doubt(&mut self, from: Uuid) -> bool {
        self.doubters.len() <= CONFIRMATIONS && self.doubters.insert(from)
    }

    pub(super) fn deadline(&self) -> Instant {
        if self.needed == 0 {
            return self.since + self.min;
        }
        let confirmed = self.doubters.len().saturating_sub(1).min(self.needed);
        let share = (confirmed as f64 + 1.0).ln() / (self.needed as f64 + 1.0).ln();
        self.since + self.min.mul_f64((MAX_FACTOR - (MAX_FACTOR - 1.0) * share).max(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confirmations_shorten_a_suspicion_from_six_times_to_once_the_least() {
        let who = Identity { id: Uuid::nil(), counter: 1, address: ([127, 0, 0, 1], 1).into() };
        let seconds = |members: usize, doubters: u128| {
            let mut suspicion = Suspicion::new(who, 0, Instant(0), members, Duration::from_secs(3));
            for n in 0..doubters {
                assert!(suspicion.doubt(Uuid::from_u128(n)));
                assert!(!suspicion.doubt(Uuid::from_u128(n)), "a doubter counts once");
            }
            suspicion.deadline().since(Instant(0)).as_secs_f64()
        };
        assert_eq!(seconds(3, 1), 3.0);
        assert_eq!(seconds(4, 1), 3.0);
        assert_eq!(seconds(9, 1), 18.0);
        assert_eq!(seconds(9, 2), 10.5);
        assert_eq!(seconds(9, 4), 3.0);
        assert_eq!(seconds(1000, 4), 9.0);
    }
}
