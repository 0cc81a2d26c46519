//! A node's clock: its own start, and a rate that is a little off.

use crate::time::Instant;

/// Parts per billion.
const WHOLE: i128 = 1_000_000_000;

/// See the module's page.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// What it shows at the world's zero, in ns.
    pub start: u64,
    /// How much faster than the world it runs, in parts per billion.
    pub drift: i64,
}

impl Clock {
    /// What it shows when the world's time is `global`.
    #[must_use]
    pub fn at(&self, global: u64) -> Instant {
        let shown = i128::from(self.start) + i128::from(global) * (WHOLE + i128::from(self.drift)) / WHOLE;
        Instant(u64::try_from(shown).unwrap_or(u64::MAX))
    }

    /// The world's time at which it shows at least `local`.
    #[must_use]
    pub fn when(&self, local: Instant) -> u64 {
        let rate = WHOLE + i128::from(self.drift);
        let since = (i128::from(local.0) - i128::from(self.start)).max(0);
        u64::try_from((since * WHOLE + rate - 1) / rate + 1).unwrap_or(u64::MAX)
    }
}
