//! `/v1/session/...`: claims to be alive, by which locks are held.

use super::call::{Call, Plan, Reply, WriteAnswer};
use super::{Context, answer, body, options, undecodable};
use crate::json::{BadField, Object};
use crate::time::{format_duration, parse_duration};
use lictor_catalog::model::{Behavior, CheckId, SERF_HEALTH, ServiceCheck, Ttl};
use lictor_catalog::{Command, Query, Session, SessionCommand};
use serde_json::Value;
use std::time::Duration;
use uuid::Uuid;

const LOCK_DELAY: Duration = Duration::from_secs(15);
const TTL_MAX: Duration = Duration::from_secs(24 * 3600);

pub fn list(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    options::read(context, call, Query::Sessions)
}

pub fn of_node(context: &Context<'_>, call: &Call, node: &str) -> Result<Plan, Reply> {
    if node.is_empty() {
        return Err(Reply::text(400, "Missing node name"));
    }
    options::read(context, call, Query::SessionsOfNode { node: node.to_owned() })
}

pub fn info(context: &Context<'_>, call: &Call, text: &str) -> Result<Plan, Reply> {
    // No session has the nil id, so what is no id finds none.
    options::read(context, call, Query::Session { id: id(present(text)?).unwrap_or_default() })
}

pub fn renew(context: &Context<'_>, call: &Call, text: &str) -> Result<Plan, Reply> {
    options::here(context, call)?;
    let id = id(present(text)?).ok_or_else(|| answer::no_session(text))?;
    Ok(Plan::Write(Command::Session(SessionCommand::Renew(id)), WriteAnswer::Session(id)))
}

/// Unknown sessions count as destroyed.
pub fn destroy(context: &Context<'_>, call: &Call, text: &str) -> Result<Plan, Reply> {
    options::here(context, call)?;
    Ok(match id(present(text)?) {
        Some(id) => Plan::Write(Command::Session(SessionCommand::Destroy(id)), WriteAnswer::Boolean),
        None => Plan::Answer(answer::boolean(true, options::pretty(context.facts, call))),
    })
}

/// The id is left to the leader.
pub fn create(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    options::here(context, call)?;
    let value = if call.body.is_empty() { Value::Object(serde_json::Map::new()) } else { body(call)? };
    let object = Object::of(&value).map_err(undecodable)?;
    let node = object.string("Node").map_err(undecodable)?;
    let (node_checks, service_checks) = checks(&object).map_err(undecodable)?;
    let session = Session {
        name: object.string("Name").map_err(undecodable)?,
        node: if node.is_empty() { context.asked(call).clone() } else { node.into() },
        node_checks,
        service_checks,
        lock_delay: lock_delay(&object).map_err(undecodable)?,
        behavior: behavior(&object.string("Behavior").map_err(undecodable)?)?,
        ttl: ttl(context, object.string("TTL").map_err(undecodable)?)?,
        ..Session::default()
    };
    Ok(Plan::Write(Command::Session(SessionCommand::Create(Box::new(session))), WriteAnswer::Id))
}

/// Why nobody is named who could hold a lock.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoHolder {
    #[error("missing session")]
    Missing,
    #[error("invalid session {0:?}")]
    Invalid(String),
}

/// The session that is to hold a lock, or to give it back.
pub(super) fn holder(text: &str) -> Result<Uuid, NoHolder> {
    if text.is_empty() {
        return Err(NoHolder::Missing);
    }
    id(text).ok_or_else(|| NoHolder::Invalid(text.to_owned()))
}

/// An id, of a session or a prepared query, in the one form that Consul reads.
pub(super) fn id(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|_| text.len() == uuid::fmt::Hyphenated::LENGTH)
}

fn present(text: &str) -> Result<&str, Reply> {
    if text.is_empty() { Err(Reply::text(400, "Missing session")) } else { Ok(text) }
}

/// Who names no checks of the node means the one that says whether the node lives.
fn checks(object: &Object<'_>) -> Result<(Vec<CheckId>, Vec<ServiceCheck>), BadField> {
    let ids = |name| Ok::<Vec<_>, BadField>(object.strings(name)?.into_iter().map(CheckId::from).collect());
    // `Checks` is the older name; clients of today may send both.
    let (newer, older) = (ids("NodeChecks")?, ids("Checks")?);
    let silent = object.get("NodeChecks").is_none() && object.get("Checks").is_none();
    let of_node = if silent { vec![CheckId::from(SERF_HEALTH)] } else { Vec::new() };
    let of_node = [newer, older].into_iter().find(|ids| !ids.is_empty()).unwrap_or(of_node);
    let of_service = |value| {
        let check = Object::of(value)?;
        Ok(ServiceCheck { id: check.string("ID")?.into(), namespace: check.string("Namespace")? })
    };
    Ok((of_node, object.list("ServiceChecks")?.iter().map(of_service).collect::<Result<_, _>>()?))
}

/// A number below 1000 is meant in seconds, others in nanoseconds.
fn lock_delay(object: &Object<'_>) -> Result<Duration, BadField> {
    if object.get("LockDelay").is_some_and(Value::is_number)
        && let Some(seconds @ 0..1000) = object.number("LockDelay", i64::MAX as u64)?
    {
        return Ok(Duration::from_secs(seconds));
    }
    Ok(object.duration("LockDelay")?.unwrap_or(LOCK_DELAY))
}

fn behavior(word: &str) -> Result<Behavior, Reply> {
    let named = |behavior: &Behavior| behavior.as_str() == word || word.is_empty();
    let found = [Behavior::Release, Behavior::Delete].into_iter().find(named);
    found.ok_or_else(|| Reply::text(500, format!("Invalid Behavior setting '{word}'")))
}

/// Consul lets a session live twice as long as it says, and so do we unless configured otherwise.
fn ttl(context: &Context<'_>, text: String) -> Result<Ttl, Reply> {
    if text.is_empty() {
        return Ok(Ttl::default());
    }
    let span = parse_duration(&text).map_err(|bad| Reply::text(500, format!("Session TTL '{text}' invalid: {bad}")))?;
    let min = context.facts.session_ttl_min;
    if !span.is_zero() && !(min..=TTL_MAX).contains(&span) {
        let (min, max, span) = (format_duration(min), format_duration(TTL_MAX), span.as_nanos());
        return Err(Reply::text(500, format!("Invalid Session TTL '{span}', must be between [{min}={max}]")));
    }
    let lives = if context.facts.session_ttl_exact { 1 } else { 2 };
    Ok(Ttl { span: span * lives, text })
}
