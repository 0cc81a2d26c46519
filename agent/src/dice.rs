//! The one source of chance. Seeded from outside, so that a run of the simulator can be replayed.

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use std::time::Duration;
use uuid::Uuid;

/// A seeded source of chance. Not for secrets.
#[derive(Clone, Debug)]
pub struct Dice(SmallRng);

impl Dice {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.0.random_range(0..bound) }
    }

    /// A span in `0..bound`.
    pub fn span(&mut self, bound: Duration) -> Duration {
        Duration::from_nanos(self.below(u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX)))
    }

    pub fn number(&mut self) -> u64 {
        self.0.random()
    }

    /// A random (version 4) UUID.
    pub fn uuid(&mut self) -> Uuid {
        uuid::Builder::from_random_bytes(self.0.random()).into_uuid()
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.0.random_range(0..=last));
        }
    }

    /// A new source, independent of this one's later rolls.
    pub fn split(&mut self) -> Self {
        Self(SmallRng::seed_from_u64(self.number()))
    }

    /// For libraries that want the generator itself.
    pub fn rng(&mut self) -> &mut SmallRng {
        &mut self.0
    }
}
