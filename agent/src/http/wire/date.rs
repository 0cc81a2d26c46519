//! Dates, all of them UTC.

use time::OffsetDateTime;

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
fn fields(unix_ms: u64) -> [i32; 6] {
    let seconds = i64::try_from(unix_ms / 1000).unwrap_or_default();
    let date = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (hour, minute, second) = date.to_hms();
    let [month, day, hour, minute, second] = [u8::from(date.month()), date.day(), hour, minute, second].map(i32::from);
    [date.year(), month, day, hour, minute, second]
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
