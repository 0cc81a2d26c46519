//! The time that a leader writes into the log.

use crate::time::Instant;

/// Log time: it stands still between leaders, so deadlines only lengthen.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogClock {
    pub(super) epoch: u64,
    pub(super) base_ms: u64,
    pub(super) since: Instant,
}

impl LogClock {
    /// The log's time now, in ms: what the log had reached when this epoch settled, and what has passed since.
    pub(super) fn now_ms(self, now: Instant) -> u64 {
        self.base_ms.saturating_add(u64::try_from(now.since(self.since).as_millis()).unwrap_or(u64::MAX))
    }
}
