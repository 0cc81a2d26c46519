//! The query string, parsed once.

use serde::{Deserialize, Serialize};

/// The parameters of a query string, in order, decoded. A parameter may come several times.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Params(Vec<(String, String)>);

impl Params {
    #[must_use]
    pub fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// As [`Params::parse`], but refuses what Go's parser refuses: a `%` that starts no escape, and a `;`. The answer to
    /// such a call is [`crate::http::answer::bad_query`].
    #[must_use]
    pub fn parse_strict(query: &str) -> Option<Self> {
        let bytes = query.as_bytes();
        let whole = |at: usize| {
            bytes.get(at + 1).is_some_and(u8::is_ascii_hexdigit) && bytes.get(at + 2).is_some_and(u8::is_ascii_hexdigit)
        };
        let bad = bytes.iter().enumerate().any(|(at, byte)| *byte == b';' || (*byte == b'%' && !whole(at)));
        (!bad).then(|| Self::parse(query))
    }

    /// The query string again, sorted by name as Go's encoder writes it (it appears in one error text).
    #[must_use]
    pub fn encode(&self) -> String {
        let mut pairs: Vec<_> = self.0.iter().collect();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
    }

    /// The first value, if the parameter is there at all.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Flags count by presence: `?stale`, `?stale=` and `?stale=1` are the same.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every name and value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_parsing_refuses_what_go_refuses() {
        assert_eq!(Params::parse_strict("a=1&b=x%20y&stale"), Some(Params::parse("a=1&b=x%20y&stale")));
        for bad in ["a=%", "a=%2", "%zz", "a=1;b=2"] {
            assert_eq!(Params::parse_strict(bad), None, "{bad}");
        }
        assert_eq!(Params::parse("release=b&cas=1 2&acquire=").encode(), "acquire=&cas=1+2&release=b");
    }
}
