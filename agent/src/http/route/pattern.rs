//! What paths a route has: `/v1/status/leader`, `/v1/kv/{key}`, `/v1/query/{id}/execute`. An id is all that stands in its place,
//! slashes included.

/// A path, or a family of paths. Written as a template, so that a mistake in it stops the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    template: &'static str,
    /// What stands before the id, or all there is.
    before: &'static str,
    id: Option<&'static str>,
    after: &'static str,
}

impl Pattern {
    #[must_use]
    pub const fn new(template: &'static str) -> Self {
        let bytes = template.as_bytes();
        let (mut open, mut close, mut at) = (bytes.len(), bytes.len(), 0);
        while at < bytes.len() {
            match bytes[at] {
                b'{' => open = at,
                b'}' => close = at,
                _ => {}
            }
            at += 1;
        }
        if open == bytes.len() {
            assert!(bytes[bytes.len() - 1] != b'/', "what follows the last slash needs a name, as in /v1/kv/{{key}}");
            return Self { template, before: template, id: None, after: "" };
        }
        let (before, rest) = template.split_at(open);
        let (id, after) = rest.split_at(close - open);
        assert!(bytes[open - 1] == b'/', "an id begins after a slash");
        Self { template, before, id: Some(id.split_at(1).1), after: after.split_at(1).1 }
    }

    /// As written, which is also how OpenAPI writes it.
    #[must_use]
    pub const fn template(&self) -> &'static str {
        self.template
    }

    /// The name of what stands in the id's place.
    #[must_use]
    pub const fn id(&self) -> Option<&'static str> {
        self.id
    }

    /// A path of this pattern. The id is taken as it is, in percent-encoding if it needs any.
    #[must_use]
    pub fn path(&self, id: &str) -> String {
        if self.id.is_some() { [self.before, id, self.after].concat() } else { self.template.to_owned() }
    }

    /// The id in a path, still in percent-encoding; empty where there is none. `None`: the path is not of this pattern. Without the
    /// slash a path that ends in its id stands for the empty one.
    #[must_use]
    pub fn id_in<'p>(&self, path: &'p str) -> Option<&'p str> {
        if self.id.is_none() {
            return (path == self.template).then_some("");
        }
        match path.strip_prefix(self.before) {
            Some(rest) => rest.strip_suffix(self.after),
            None => (self.after.is_empty() && self.before.strip_suffix('/') == Some(path)).then_some(""),
        }
    }

    /// Of two patterns that a path has, the one that says more is meant.
    pub(super) const fn weight(&self) -> (bool, usize, usize) {
        (self.id.is_none(), self.before.len(), self.after.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_of_patterns() {
        for (template, path, id) in [
            ("/v1/status/leader", "/v1/status/leader", Some("")),
            ("/v1/status/leader", "/v1/status/leader/", None),
            ("/v1/kv/{key}", "/v1/kv/a/b", Some("a/b")),
            ("/v1/kv/{key}", "/v1/kv/", Some("")),
            ("/v1/kv/{key}", "/v1/kv", Some("")),
            ("/v1/kv/{key}", "/v1/kva", None),
            ("/v1/query/{id}/execute", "/v1/query/a/b/execute", Some("a/b")),
            ("/v1/query/{id}/execute", "/v1/query//execute", Some("")),
            ("/v1/query/{id}/execute", "/v1/query/execute", None),
            ("/v1/query/{id}/execute", "/v1/query", None),
        ] {
            assert_eq!(Pattern::new(template).id_in(path), id, "{template} {path}");
        }
        assert_eq!(Pattern::new("/v1/query/{id}/execute").path("a"), "/v1/query/a/execute");
        assert_eq!(Pattern::new("/v1/query").path("a"), "/v1/query");
        assert_eq!(Pattern::new("/v1/kv/{key}").id(), Some("key"));
    }
}
