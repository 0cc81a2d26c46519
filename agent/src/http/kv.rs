//! `/v1/kv/...`: keys and their values.

use super::call::{Call, Encoding, Form, Plan, Reply, WriteAnswer};
use super::session::{self, NoHolder};
use super::{Context, answer, lock, options};
use lictor_catalog::{Command, Index, KvCommand, Query};
use uuid::Uuid;

pub fn get(context: &Context<'_>, call: &Call, key: &str) -> Result<Plan, Reply> {
    let params = &call.params;
    if params.has("keys") {
        // The misspelling is Consul's oldest, and still accepted.
        let separator = params.get("separator").or_else(|| params.get("seperator")).unwrap_or_default().to_owned();
        return options::read(context, call, Query::KvKeys { prefix: key.to_owned(), separator });
    }
    if params.has("recurse") {
        return options::read(context, call, Query::KvList { prefix: key.to_owned() });
    }
    let form = if params.has("raw") { Form::Raw } else { Form::Plain };
    options::read_as(context, call, Query::KvGet { key: present(key)? }, Encoding { form, ..Encoding::default() })
}

pub fn put(context: &Context<'_>, call: &Call, key: &str) -> Result<Plan, Reply> {
    options::here(context, call)?;
    let key = present(key)?;
    exclusive(call, &["cas", "acquire", "release"])?;
    exclusive(call, &["cas", "sequence", "release"])?;
    let limit = context.facts.kv_value_max;
    if call.body.len() > limit {
        return Err(answer::too_large(call.body.len(), limit));
    }
    let flags = number(call, "flags")?.unwrap_or_default();
    let value = call.body.clone();
    let command = if call.params.has("sequence") {
        let session = call.params.get("acquire").map(locker).transpose()?;
        KvCommand::Sequence { prefix: key, value, flags, session }
    } else if let Some(id) = call.params.get("acquire") {
        KvCommand::Acquire { key, value, flags, session: locker(id)? }
    } else if let Some(id) = call.params.get("release") {
        KvCommand::Release { key, value, flags, session: unlocker(context, call, id)? }
    } else if let Some(index) = number(call, "cas")? {
        KvCommand::Cas { key, value, flags, index: Index(index) }
    } else {
        KvCommand::Set { key, value, flags }
    };
    write(call, command)
}

pub fn delete(context: &Context<'_>, call: &Call, key: &str) -> Result<Plan, Reply> {
    options::here(context, call)?;
    exclusive(call, &["recurse", "cas"])?;
    let command = if call.params.has("recurse") {
        KvCommand::DeleteTree { prefix: key.to_owned() }
    } else {
        let key = present(key)?;
        match number(call, "cas")? {
            Some(index) => KvCommand::DeleteCas { key, index: Index(index) },
            None => KvCommand::Delete { key },
        }
    };
    write(call, command)
}

fn write(call: &Call, command: KvCommand) -> Result<Plan, Reply> {
    let answer = match &command {
        KvCommand::Sequence { .. } => WriteAnswer::Key,
        _ => WriteAnswer::Boolean,
    };
    let command = match lock::fence(call)? {
        None => Command::Kv(command),
        Some(sequencer) => Command::Fenced(Box::new(sequencer), command),
    };
    Ok(Plan::Write(command, answer))
}

pub(super) fn present(key: &str) -> Result<String, Reply> {
    if key.is_empty() { Err(Reply::text(400, "Missing key name")) } else { Ok(key.to_owned()) }
}

fn exclusive(call: &Call, names: &[&str]) -> Result<(), Reply> {
    if names.iter().filter(|name| call.params.has(name)).count() > 1 {
        return Err(Reply::text(400, format!("Conflicting flags: {}\n", call.params.encode())));
    }
    Ok(())
}

/// Who is to hold a lock.
fn locker(id: &str) -> Result<Uuid, Reply> {
    session::holder(id).map_err(|bad| Reply::text(500, bad.to_string()))
}

/// Who is to give a lock back. What is no session's id holds none.
fn unlocker(context: &Context<'_>, call: &Call, id: &str) -> Result<Uuid, Reply> {
    session::holder(id).map_err(|bad| match bad {
        NoHolder::Missing => Reply::text(500, bad.to_string()),
        NoHolder::Invalid(_) => answer::boolean(false, options::pretty(context.facts, call)),
    })
}

/// An unsigned parameter; what does not parse is answered with 500, as Consul's handler does.
fn number(call: &Call, name: &str) -> Result<Option<u64>, Reply> {
    let Some(text) = call.params.get(name) else { return Ok(None) };
    let cause = if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        "value out of range"
    } else {
        "invalid syntax"
    };
    let bad = || Reply::text(500, format!("strconv.ParseUint: parsing {text:?}: {cause}"));
    options::go_u64(text).map(Some).ok_or_else(bad)
}
