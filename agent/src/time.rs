//! Moments and the Go notation of durations. A moment is handed in by the runtime (or the simulator); nothing here asks
//! a clock.

use std::fmt::Write as _;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment on this process's monotonic clock, which counts suspended time: nanoseconds since some fixed start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// Zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A text that is not a duration in Go's notation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("time: invalid duration {0:?}")]
pub struct BadDuration(pub String);

/// Reads Go's notation: `10s`, `1h30m`, `1.5s`, `250ms`, `0`. Negative spans are refused.
///
/// # Errors
/// [`BadDuration`] with the text as given.
pub fn parse_duration(text: &str) -> Result<Duration, BadDuration> {
    let bad = || BadDuration(text.to_owned());
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(bad());
    }
    let mut nanos = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let number = &rest[..digits];
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit_nanos = match &rest[..unit] {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(bad()),
        };
        rest = &rest[unit..];
        nanos = spanned(number, unit_nanos).and_then(|span| nanos.checked_add(span)).ok_or_else(bad)?;
    }
    if nanos > i64::MAX as u64 { Err(bad()) } else { Ok(Duration::from_nanos(nanos)) }
}

/// Digits with or without a point, times a unit, in whole numbers: floats would lose nanoseconds of the longer spans.
fn spanned(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // A unit has at most thirteen digits; what comes after eighteen cannot make a nanosecond.
    let kept = &fraction[..fraction.len().min(18)];
    let part: u64 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
    let part = u128::from(part) * u128::from(unit) / 10_u128.pow(u32::try_from(kept.len()).ok()?);
    whole.checked_mul(unit)?.checked_add(u64::try_from(part).ok()?)
}

/// Writes Go's notation: `10s`, `1h30m0s`, `1.5s`, `250ms`, `0s`.
#[must_use]
pub fn format_duration(span: Duration) -> String {
    let nanos = span.as_nanos();
    let decimal = |unit: u128| {
        let mut text = (nanos / unit).to_string();
        let fraction = nanos % unit;
        if fraction > 0 {
            let width = unit.ilog10() as usize;
            let _ = write!(text, ".{fraction:0width$}");
            text.truncate(text.trim_end_matches('0').len());
        }
        text
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(1_000_000)),
        _ => {
            let (hours, minutes) = (span.as_secs() / 3600, span.as_secs() / 60 % 60);
            let seconds = Duration::new(span.as_secs() % 60, span.subsec_nanos());
            let mut text = String::new();
            if hours > 0 {
                let _ = write!(text, "{hours}h");
            }
            if hours > 0 || minutes > 0 {
                let _ = write!(text, "{minutes}m");
            }
            let whole = format!("{}.{:09}", seconds.as_secs(), seconds.subsec_nanos());
            text.push_str(whole.trim_end_matches('0').trim_end_matches('.'));
            text.push('s');
            text
        }
    }
}

/// See [`crate::malformed`].
#[cfg(feature = "malformed")]
pub(crate) mod malformed {
    use super::{format_duration, parse_duration};
    use crate::malformed::{Verdict, survives};

    /// A span in Go's notation.
    pub(crate) fn duration(bytes: &[u8]) -> Verdict {
        let read = |bytes: &[u8]| parse_duration(str::from_utf8(bytes).unwrap_or_default());
        let span = read(bytes).map_err(|bad| bad.to_string())?;
        survives(&span, |span| format_duration(*span), read);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_read_and_write() {
        for (text, nanos, shown) in [
            ("10s", 10_000_000_000, "10s"),
            ("1h30m", 5_400_000_000_000, "1h30m0s"),
            ("1.5s", 1_500_000_000, "1.5s"),
            ("250ms", 250_000_000, "250ms"),
            ("1m0.5s", 60_500_000_000, "1m0.5s"),
            ("100us", 100_000, "100µs"),
            ("0", 0, "0s"),
            ("15000ms", 15_000_000_000, "15s"),
            (".5s", 500_000_000, "500ms"),
            ("2562047h47m16.854775807s", i64::MAX as u128, "2562047h47m16.854775807s"),
        ] {
            let span = parse_duration(text).expect(text);
            assert_eq!((span.as_nanos(), format_duration(span).as_str()), (nanos, shown), "{text}");
        }
        for bad in ["", "nope", "10", "-5s", "5x", "s", ".", ".s", "1.2.3s", "2562047h47m16.854775808s"] {
            assert_eq!(parse_duration(bad), Err(BadDuration(bad.to_owned())));
        }
    }
}
