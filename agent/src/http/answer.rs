//! From what came of a plan to a reply: headers of reads, bodies of writes, and Consul's words for what went wrong.

use super::call::{Consistency, Read, Reply, WriteAnswer};
use super::wire::Encoded;
use crate::local::Refused;
use crate::server::role::recovery::Prospect;
use crate::time::Instant;
use crate::view::{Facts, View};
use bytes::Bytes;
use lictor_catalog::{Index, Outcome, Query, Refusal};
use std::borrow::Cow;
use std::time::Duration;

/// How far the view that gave an answer can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    pub known_leader: bool,
    /// How old the view may be: since it surely held all that was agreed. Zero on a leader with a lease.
    pub last_contact: Duration,
}

impl Freshness {
    #[must_use]
    pub fn of(view: &View, now: Instant) -> Self {
        let leased = view.leading && view.lease_until.is_some_and(|until| now < until);
        // A leader whose lease ran out, as while it was paused, may have a successor.
        let lapsed = view.leading && view.lease_until.is_some_and(|until| until <= now);
        Self {
            known_leader: view.leader.is_some() && !lapsed,
            last_contact: if leased { Duration::ZERO } else { now.since(view.heard) },
        }
    }
}

/// The reply to a read that was evaluated and encoded. The body is shared, not copied.
#[must_use]
pub fn read_reply(read: &Read, index: Index, encoded: &Encoded, freshness: Freshness) -> Reply {
    let mut headers = Vec::with_capacity(12);
    let mut add = |name: &'static str, value: Cow<'static, str>| headers.push((Cow::Borrowed(name), value));
    if let Some(content_type) = encoded.content_type {
        add("content-type", content_type.into());
    }
    add("x-consul-index", decimal(index.0.max(1)));
    add("x-consul-knownleader", if freshness.known_leader { "true" } else { "false" }.into());
    // What a leader confirmed is as fresh as can be.
    let age = if read.consistency == Consistency::Stale { freshness.last_contact } else { Duration::ZERO };
    add("x-consul-lastcontact", decimal(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)));
    if !matches!(read.query, Query::KvGet { .. } | Query::KvList { .. } | Query::KvKeys { .. }) {
        let word = match read.consistency {
            Consistency::Default => "leader",
            Consistency::Consistent => "consistent",
            Consistency::Stale => "stale",
        };
        add("x-consul-effective-consistency", word.into());
    }
    add("x-consul-query-backend", "blocking-query".into());
    if encoded.gzip {
        add("content-encoding", "gzip".into());
    }
    for (name, value) in encoded.headers {
        add(name, (*value).into());
    }
    Reply { status: encoded.status, headers, body: encoded.body.clone(), stream: None }
}

/// The headers of a reply that shows the catalog as of this index.
#[must_use]
pub fn read_headers(reply: Reply, index: Index, known_leader: bool, last_contact_ms: u64) -> Reply {
    reply
        .with("x-consul-index", decimal(index.0.max(1)))
        .with("x-consul-knownleader", if known_leader { "true" } else { "false" })
        .with("x-consul-lastcontact", decimal(last_contact_ms))
}

fn decimal(number: u64) -> Cow<'static, str> {
    match number {
        0 => Cow::Borrowed("0"),
        1 => Cow::Borrowed("1"),
        _ => Cow::Owned(number.to_string()),
    }
}

/// The last touch, given once to every reply by the agent that the client spoke to.
#[must_use]
pub fn finish(mut reply: Reply, facts: &Facts) -> Reply {
    reply.headers.push((Cow::Borrowed("vary"), Cow::Borrowed("Accept-Encoding")));
    reply.headers.push((Cow::Borrowed("x-consul-default-acl-policy"), Cow::Borrowed("allow")));
    for (name, value) in &facts.response_headers {
        reply.headers.push((Cow::Owned(name.to_ascii_lowercase()), Cow::Owned(value.clone())));
    }
    reply
}

/// The reply to a write that was applied.
#[must_use]
pub fn write_reply(outcome: &Outcome, answer: WriteAnswer, pretty: bool) -> Reply {
    match (outcome, answer) {
        (Outcome::Refused(refusal), _) => Reply::text(500, refusal_text(refusal)),
        (Outcome::Done | Outcome::Matched(_), WriteAnswer::Empty) => Reply::empty(200),
        (Outcome::Done, WriteAnswer::Boolean) => boolean(true, pretty),
        (Outcome::Matched(matched), WriteAnswer::Boolean) => boolean(*matched, pretty),
    }
}

/// `true` or `false`; a newline follows when indented, as it follows every indented answer.
#[must_use]
pub fn boolean(value: bool, pretty: bool) -> Reply {
    Reply::json(Bytes::from_static(match (value, pretty) {
        (true, false) => b"true",
        (false, false) => b"false",
        (true, true) => b"true\n",
        (false, true) => b"false\n",
    }))
}

/// Consul's words for a command that made no sense against the state.
#[must_use]
pub fn refusal_text(refusal: &Refusal) -> String {
    match refusal {
        Refusal::MissingService { node: _, service: _ } => "Missing service registration".to_owned(),
        Refusal::MissingNode { node: _ } => "Missing node registration".to_owned(),
        Refusal::IdTaken { id, node, holder } => {
            format!(
                "failed inserting node: node ID \"{id}\" for node {:?} aliases existing node {:?}",
                &**node, &**holder
            )
        }
        Refusal::NotStaged { id: _ } => {
            "another restore came in between, or this one took too long; nothing was changed, try again".to_owned()
        }
        Refusal::Unsound(damaged) => format!("{damaged}; nothing was changed"),
        Refusal::Level { snapshot, cluster } => format!(
            "the snapshot was written at feature level {snapshot}, this cluster is at {cluster}: upgrade its servers first; nothing was changed"
        ),
        Refusal::NameTaken { node, holder } => {
            format!("failed inserting node: Node name {node} is reserved by node {holder} with name {node}")
        }
    }
}

/// The reply to a change of what this agent owns.
#[must_use]
pub fn local_reply(result: Result<(), Refused>) -> Reply {
    match result {
        Ok(()) => Reply::empty(200),
        Err(refused) => {
            let status = match &refused {
                Refused::UnknownService(_)
                | Refused::NoServiceToMaintain(_)
                | Refused::UnknownCheck(_)
                | Refused::NoSuchServiceForCheck(_) => 404,
                Refused::Busy(_) => 429,
                Refused::KindNotRun { .. } => 400,
                Refused::NotTtl(_) | Refused::ScriptsDisabled | Refused::NotPersisted { .. } => 500,
            };
            Reply::text(status, refused.to_string())
        }
    }
}

/// The reply to a join, leave or force-leave.
#[must_use]
pub fn act_reply<E: std::fmt::Display>(result: Result<(), E>) -> Reply {
    match result {
        Ok(()) => Reply::empty(200),
        Err(cause) => Reply::text(500, cause.to_string()),
    }
}

/// What a recovery would do, or has done.
#[must_use]
pub fn recovery(prospect: &Prospect) -> Reply {
    Reply::json(serde_json::to_vec(prospect).unwrap_or_default())
}

/// The answer to a body over the route's limit. `size` is what was sent, or announced.
#[must_use]
pub fn too_large(size: usize, limit: usize) -> Reply {
    Reply::text(
        413,
        format!(
            "Request body({size} bytes) too large, max size: {limit} bytes. \
             See https://developer.hashicorp.com/docs/agent/config/config-files#kv_max_value_size."
        ),
    )
}

/// The answer to a query string that cannot be parsed.
#[must_use]
pub const fn bad_query() -> Reply {
    Reply::empty(500)
}

/// The answer to a path that no route has. It is the one error text that ends in a newline.
#[must_use]
pub fn not_found(path: &str) -> Reply {
    Reply::text(
        404,
        if path.contains("/v1/") {
            "Invalid URL path: not a recognized HTTP API endpoint\n"
        } else {
            "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n"
        },
    )
}
