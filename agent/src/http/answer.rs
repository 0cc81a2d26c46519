//! From what came of a plan to a reply: headers of reads, bodies of writes, and Consul's words for what went wrong.

use super::call::{Consistency, Read, Reply, Subject, WriteAnswer};
use super::wire::{self, Encoded, WireId, WireSession};
use crate::gossip::{NotFired, UserEvent};
use crate::local::Refused;
use crate::server::role::recovery::Prospect;
use crate::time::Instant;
use crate::view::{Facts, View};
use bytes::Bytes;
use lictor_catalog::{Index, Outcome, Query, Refusal, TxnFault, TxnThing};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

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

    /// How old an answer is said to be, in milliseconds. What a leader confirmed is as fresh as can be.
    #[must_use]
    pub fn age_ms(&self, consistency: Consistency) -> u64 {
        match consistency {
            Consistency::Stale => u64::try_from(self.last_contact.as_millis()).unwrap_or(u64::MAX),
            Consistency::Default | Consistency::Consistent => 0,
        }
    }
}

/// The reply to a read that was evaluated and encoded. The body is shared, not copied.
#[must_use]
pub fn read_reply(read: &Read, index: Index, encoded: &Encoded, freshness: Freshness) -> Reply {
    let mut headers = Vec::with_capacity(12);
    let query = match &read.subject {
        Subject::Catalog(query) => query,
        Subject::Events { .. } => {
            return Reply::json(encoded.body.clone()).with("x-consul-index", decimal(index.0.max(1)));
        }
        Subject::Service { .. } if encoded.status == 200 => {
            return Reply::from(encoded.clone()).with("x-consul-contenthash", format!("{:x}", index.0));
        }
        Subject::Service { .. } => return Reply::from(encoded.clone()),
    };
    let mut add = |name: &'static str, value: Cow<'static, str>| headers.push((Cow::Borrowed(name), value));
    if let Some(content_type) = encoded.content_type {
        add("content-type", content_type.into());
    }
    add("x-consul-index", decimal(index.0.max(1)));
    add("x-consul-knownleader", if freshness.known_leader { "true" } else { "false" }.into());
    add("x-consul-lastcontact", decimal(freshness.age_ms(read.consistency)));
    let plain = |query: &Query| {
        matches!(query, Query::KvGet { .. } | Query::KvList { .. } | Query::KvKeys { .. } | Query::Txn { .. })
    };
    if !plain(query) {
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

/// Says of the answers that Consul's agents have caches for (`?cached`) whether this one was kept from an equal question. What is
/// kept goes with the state that it speaks of, so that its age is always zero.
#[must_use]
pub fn cached(reply: Reply, subject: &Subject, hit: bool) -> Reply {
    let Subject::Catalog(query) = subject else { return reply };
    match query {
        Query::Services { .. }
        | Query::ServiceNodes { .. }
        | Query::HealthService { .. }
        | Query::Execute(_)
        | Query::Authority => {
            if hit {
                reply.with("x-cache", "HIT").with("age", "0")
            } else {
                reply.with("x-cache", "MISS")
            }
        }
        _ => reply,
    }
}

/// The headers of a reply that shows the catalog as of this index.
#[must_use]
pub fn read_headers(reply: Reply, index: Index, known_leader: bool, last_contact_ms: u64) -> Reply {
    reply
        .with("x-consul-index", decimal(index.0.max(1)))
        .with("x-consul-knownleader", if known_leader { "true" } else { "false" })
        .with("x-consul-lastcontact", decimal(last_contact_ms))
}

impl From<Encoded> for Reply {
    /// What was encoded, as the answer to something that is no read.
    fn from(encoded: Encoded) -> Self {
        let content_type = encoded.content_type.into_iter().map(|kind| ("content-type", kind));
        let headers = content_type.chain(encoded.headers.iter().copied());
        headers.fold(Self::empty(encoded.status), |reply, (name, value)| reply.with(name, value)).body(encoded.body)
    }
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
pub fn write_reply(outcome: &Outcome, answer: WriteAnswer, pretty: bool, datacenter: &str) -> Reply {
    match (outcome, answer) {
        (Outcome::Refused(refusal), _) => Reply::text(refusal_status(refusal), refusal_text(refusal)),
        (_, WriteAnswer::Empty) => Reply::empty(200),
        (Outcome::Matched(matched), WriteAnswer::Boolean) => boolean(*matched, pretty),
        (Outcome::Session(Some(session)), WriteAnswer::Id) => made(session.id, pretty),
        (Outcome::Made(id), WriteAnswer::Id) => made(*id, pretty),
        (Outcome::Session(Some(session)), WriteAnswer::Session(_)) => {
            Reply::json(wire::shown(&[WireSession::from(&**session)], pretty))
        }
        (Outcome::Key(key), WriteAnswer::Key) => Reply::json(wire::shown(key, pretty)),
        (Outcome::Txn(result), WriteAnswer::Results) => wire::transaction(result, pretty, datacenter).into(),
        (_, WriteAnswer::Session(id)) => no_session(id),
        (_, WriteAnswer::Boolean | WriteAnswer::Id | WriteAnswer::Key | WriteAnswer::Results) => boolean(true, pretty),
    }
}

fn made(id: Uuid, pretty: bool) -> Reply {
    Reply::json(wire::shown(&WireId { id }, pretty))
}

/// There is no session to renew.
#[must_use]
pub fn no_session(id: impl std::fmt::Display) -> Reply {
    Reply::text(404, format!("Session id '{id}' not found"))
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

const fn refusal_status(refusal: &Refusal) -> u16 {
    match refusal {
        Refusal::StaleSequencer { .. } => 409,
        _ => 500,
    }
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
        Refusal::NoAuthority => "CA is uninitialized: the leader has not made a root yet, try again".to_owned(),
        Refusal::MissingCheck { check } => format!("Missing check '{check}' registration"),
        Refusal::CriticalCheck { check } => format!("Check '{check}' is in critical state"),
        Refusal::SessionTaken { id } => format!("session \"{id}\" already exists"),
        Refusal::QueryTaken { id } => format!("prepared query '{id}' already exists"),
        Refusal::MissingQuery { id } => format!("Cannot modify non-existent prepared query: '{id}'"),
        Refusal::QueryNameTaken { name } if name.is_empty() => {
            "a query template with an empty name already exists".to_owned()
        }
        Refusal::QueryNameTaken { name } => format!("name '{name}' aliases an existing query name"),
        Refusal::QueryNameIsId { name } => format!("name '{name}' aliases an existing query ID"),
        Refusal::MissingSession { id } if id.is_nil() => "missing session".to_owned(),
        Refusal::MissingSession { id } => format!("invalid session \"{id}\""),
        Refusal::NumbersSpent => {
            "no sequential key can be created: all 10,000,000,000 numbers have been given".to_owned()
        }
        Refusal::StaleSequencer { key, holder: Some(holder) } => {
            format!("stale sequencer: the lock on {key:?} is now held under the sequencer {holder}")
        }
        Refusal::StaleSequencer { key, holder: None } => {
            format!("stale sequencer: nobody holds the lock on {key:?} any more")
        }
    }
}

/// Consul's words for an operation of a transaction that failed.
#[must_use]
pub fn fault_text(fault: &TxnFault) -> String {
    match fault {
        TxnFault::Missing(thing) => format!("{} doesn't exist", thing_text(thing)),
        TxnFault::StaleSet(thing) => format!("failed to set {}, index is stale", thing_text(thing)),
        TxnFault::StaleRemove(thing) => format!("failed to delete {}, index is stale", thing_text(thing)),
        TxnFault::KeyExists(key) => format!("key {key:?} exists"),
        TxnFault::NoIndex(key) => format!("failed to check index, key {key:?} doesn't exist"),
        TxnFault::OtherIndex { key, found, wanted } => {
            format!("failed index check for key {key:?}, current modify index {found} != {wanted}")
        }
        TxnFault::NoHolder(key) => format!("failed to check session, key {key:?} doesn't exist"),
        TxnFault::OtherHolder { key, found, wanted } => {
            let found = found.map(|id| id.to_string()).unwrap_or_default();
            format!("failed session check for key {key:?}, current session {found:?} != {wanted:?}")
        }
        TxnFault::Locked(key) => format!("failed to lock key {key:?}, lock is already held"),
        TxnFault::LockDelayed(key) => format!("failed to lock key {key:?} due to lock delay"),
        TxnFault::NotHeld(key) => {
            format!("failed to unlock key {key:?}, lock isn't held, or is held by another session")
        }
        TxnFault::Forbidden => "Permission denied".to_owned(),
        TxnFault::Refused(refusal) => refusal_text(refusal),
    }
}

fn thing_text(thing: &TxnThing) -> String {
    match thing {
        TxnThing::Key(key) => format!("key {key:?}"),
        TxnThing::Node(name) => format!("node {:?}", &**name),
        TxnThing::Service(node, id) => format!("service {:?} on node {:?}", id.as_str(), &**node),
        TxnThing::Check(node, id) => format!("check {:?} on node {:?}", id.as_str(), &**node),
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
                Refused::NotTtl(_) | Refused::ScriptsDisabled | Refused::NotPersisted(_) => 500,
            };
            Reply::text(status, refused.to_string())
        }
    }
}

/// The reply to whoever fired a user event.
#[must_use]
pub fn fired(result: Result<Arc<UserEvent>, NotFired>, pretty: bool) -> Reply {
    match result {
        Ok(event) => Reply::json(wire::fired(&event, pretty)),
        Err(why) => {
            let status = match why {
                NotFired::NoName
                | NotFired::TagWithoutService
                | NotFired::Filter { .. }
                | NotFired::TooLarge { .. } => 400,
                NotFired::TooMany => 429,
                NotFired::Leaving => 500,
            };
            Reply::text(status, why.to_string())
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
pub fn recovery(prospect: &Prospect, pretty: bool) -> Reply {
    Reply::json(wire::shown(prospect, pretty))
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
