//! The only place that asks a clock.

use crate::time::Instant;
use nix::time::{ClockId, clock_gettime};
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, on the clock that goes on while the machine is suspended: a lease must run out even then.
#[must_use]
pub fn now() -> Instant {
    #[cfg(target_os = "linux")]
    let id = ClockId::CLOCK_BOOTTIME;
    #[cfg(not(target_os = "linux"))]
    let id = ClockId::CLOCK_MONOTONIC;
    clock_gettime(id).map_or(Instant(0), |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or_default();
        let nanos = u64::try_from(time.tv_nsec()).unwrap_or_default();
        Instant(seconds * 1_000_000_000 + nanos)
    })
}

/// Milliseconds since 1970. For what leaves the process only; nothing is ever scheduled by it.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks the wall clock")]
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
