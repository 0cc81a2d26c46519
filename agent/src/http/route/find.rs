//! From a call to its route, or to the answer that Consul gives instead.

use super::{Body, Pattern, ROUTES, Route};
use crate::http::answer;
use crate::http::call::{Call, Method, Reply};
use crate::http::params::Params;
use crate::view::Facts;
use std::borrow::Cow;

/// Where a call leads.
#[derive(Debug)]
pub enum Found<'c> {
    /// To a handler, with the id in the path, decoded.
    Route(&'static Route, Cow<'c, str>),
    /// To an answer that needs no handler.
    Answer(Reply),
}

/// Finds the route of a call by the pattern that says most of its path, or the answer that Consul gives instead.
#[must_use]
pub fn find<'c>(facts: &Facts, call: &'c Call) -> Found<'c> {
    let path = call.path.as_str();
    let Some(decoded) = decode(path) else {
        return Found::Answer(Reply::text(400, format!("invalid URL escape or encoding in {path:?}")));
    };
    if !facts.unprintable_paths && !printable(&decoded) {
        return Found::Answer(Reply::empty(400));
    }
    if let Cow::Owned(clean) = clean(path) {
        let query = if call.params == Params::default() { String::new() } else { format!("?{}", call.params.encode()) };
        return Found::Answer(Reply::empty(301).with("location", clean + &query));
    }
    if facts.block_endpoints.iter().any(|prefix| path.starts_with(prefix.as_str())) {
        return Found::Answer(Reply::text(403, "Endpoint is blocked by agent configuration"));
    }
    if !may_write(facts, call) {
        return Found::Answer(Reply::text(403, "Access is restricted"));
    }
    for (name, what) in [("ns", "Namespaces"), ("partition", "Partitions")] {
        if call.params.get(name).is_some_and(|value| !value.is_empty() && !value.eq_ignore_ascii_case("default")) {
            let text = format!("Invalid query parameter: \"{name}\" - {what} are a Consul Enterprise feature");
            return Found::Answer(Reply::text(400, text));
        }
    }
    let Some((pattern, id)) = best(path) else { return Found::Answer(unknown(facts, path)) };
    let mut methods = ROUTES.iter().filter(|route| route.pattern == pattern);
    match methods.clone().find(|route| route.method == call.method) {
        Some(route) => Found::Route(route, decode(id).unwrap_or_default()),
        None => {
            let allow = methods.by_ref().fold(String::from("OPTIONS"), |all, route| all + "," + route.method.as_str());
            let reply = match call.method {
                Method::Options => Reply::empty(200),
                other => Reply::text(405, format!("method {} not allowed", other.as_str())),
            };
            Found::Answer(reply.with("allow", allow))
        }
    }
}

/// Whether whoever asks may change anything. What another agent passes on has been let in there; a unix socket is guarded by
/// the permissions of its file.
fn may_write(facts: &Facts, call: &Call) -> bool {
    let reads = matches!(call.method, Method::Get | Method::Head | Method::Options);
    let from = call.source.filter(|_| !reads && call.agent.is_none() && !facts.write_from.is_empty());
    from.is_none_or(|from| facts.write_from.iter().any(|network| network.contains(&from.to_canonical())))
}

/// What body a call may have, known from its head alone.
#[must_use]
pub fn body(method: Method, path: &str) -> Body {
    best(path)
        .and_then(|(pattern, _)| ROUTES.iter().find(|route| route.pattern == pattern && route.method == method))
        .map_or(Body::None, |route| route.body)
}

/// The pattern that says most of a path, and the id in it.
fn best(path: &str) -> Option<(Pattern, &str)> {
    let of = ROUTES.iter().filter_map(|route| Some((route.pattern, route.pattern.id_in(path)?)));
    of.max_by_key(|(pattern, _)| pattern.weight())
}

fn unknown(facts: &Facts, path: &str) -> Reply {
    if path == "/" && facts.ui {
        return Reply::empty(301).with("location", "/ui/");
    }
    if path == "/" {
        return Reply::text(
            200,
            "Consul Agent: UI disabled. This release of lictor has no web page; the API begins at /v1/.",
        );
    }
    answer::not_found(path)
}

/// The path without what says nothing in it: repeated slashes, and segments `.` and `..` with what they take back. Go's servers
/// send clients there. What is part of a key is percent-encoded: `/v1/kv/a%2F%2Fb`, `/v1/kv/%2E`.
fn clean(path: &str) -> Cow<'_, str> {
    let says_all = |segment: &str| !matches!(segment, "" | "." | "..");
    let Some((segments, last)) = path.strip_prefix('/').map(|rest| rest.rsplit_once('/').unwrap_or(("", rest))) else {
        return Cow::Borrowed(path);
    };
    let is_clean = (segments.is_empty() || segments.split('/').all(says_all)) && (last.is_empty() || says_all(last));
    if is_clean && !path.starts_with("//") {
        return Cow::Borrowed(path);
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    // As in Go, only a slash at the very end stays.
    let end = if path.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    Cow::Owned(format!("/{}{end}", kept.join("/")))
}

fn decode(path: &str) -> Option<Cow<'_, str>> {
    let bytes = path.as_bytes();
    let hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    if bytes.iter().enumerate().any(|(at, byte)| *byte == b'%' && !(hex(at + 1) && hex(at + 2))) {
        return None;
    }
    percent_encoding::percent_decode_str(path).decode_utf8().ok()
}

/// Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols, and the ASCII space.
fn printable(path: &str) -> bool {
    path.chars().all(|c| match c {
        ' '..='~' => true,
        c if c.is_ascii() => false,
        // Rust's own table decides the rest. A mark is escaped only when it stands first, so something stands before it.
        c => !String::from_iter(['x', c]).escape_debug().any(|shown| shown == '\\'),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_cleans_them() {
        for (path, expected) in [
            ("//v1/kv/x", "/v1/kv/x"),
            ("/v1//catalog//nodes", "/v1/catalog/nodes"),
            ("/v1/kv/a/../b", "/v1/kv/b"),
            ("/v1/kv/./b/", "/v1/kv/b/"),
            ("/v1/kv//lead2", "/v1/kv/lead2"),
            ("/v1/kv/a//", "/v1/kv/a/"),
            ("/v1/kv/a/..", "/v1/kv"),
            ("/../../etc", "/etc"),
            ("//", "/"),
            ("/..", "/"),
        ] {
            assert_eq!(clean(path), expected, "{path}");
            assert!(matches!(clean(path), Cow::Owned(_)), "{path}");
            assert!(matches!(clean(expected), Cow::Borrowed(_)), "{expected} is clean");
        }
        for path in ["/", "/v1/kv/", "/v1/kv/a%2F%2Fb", "/v1/kv/%2E%2E/b", "/v1/kv/.../..a/b..", "*", ""] {
            assert!(matches!(clean(path), Cow::Borrowed(_)), "{path}");
        }
    }
}
