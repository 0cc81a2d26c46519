//! TTL checks: the service tells us how it fares, and silence beyond the TTL is critical.

/// What a TTL check shows when nobody reported in time.
#[must_use]
pub(crate) fn expired(last_output: &str) -> String {
    // An expiry that follows an expiry (after a re-registration) must not be wrapped again and again.
    if last_output.is_empty() || last_output.starts_with("TTL expired") {
        return if last_output.is_empty() { "TTL expired".to_owned() } else { last_output.to_owned() };
    }
    format!("TTL expired (last output before timeout follows): {last_output}")
}

#[cfg(test)]
mod tests {
    use super::expired;

    #[test]
    fn expiry_shows_the_last_output_once() {
        assert_eq!(expired(""), "TTL expired");
        assert_eq!(expired("fine"), "TTL expired (last output before timeout follows): fine");
        assert_eq!(expired(&expired("fine")), expired("fine"));
    }
}
