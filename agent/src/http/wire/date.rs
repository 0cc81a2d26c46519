//! Dates, all of them UTC.

/// As Go prints one: `2025-01-01 00:00:10 +0000 UTC`.
pub(super) fn go_date(unix_ms: u64) -> String {
    let [year, month, day, hour, minute, second] = fields(unix_ms);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} +0000 UTC")
}

/// RFC 3339: `2025-01-01T00:00:10Z`.
#[must_use]
pub fn rfc3339(unix_ms: u64) -> String {
    let [year, month, day, hour, minute, second] = fields(unix_ms);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month, day, hour, minute, second.
const fn fields(unix_ms: u64) -> [u64; 6] {
    let seconds = unix_ms / 1000;
    // Days to a date by Howard Hinnant's `civil_from_days`, in years that begin with March.
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + if month <= 2 { 1 } else { 0 };
    [year, month, day, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (unix_ms, shown) in [
            (0, "1970-01-01 00:00:00 +0000 UTC"),
            (951_782_399_999, "2000-02-28 23:59:59 +0000 UTC"),
            (951_782_400_000, "2000-02-29 00:00:00 +0000 UTC"),
            (1_795_656_030_000, "2026-11-26 01:20:30 +0000 UTC"),
        ] {
            assert_eq!(go_date(unix_ms), shown);
        }
        assert_eq!(rfc3339(1_795_656_030_999), "2026-11-26T01:20:30Z");
    }
}
