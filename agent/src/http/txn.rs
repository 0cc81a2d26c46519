//! `/v1/txn`: several operations, all or none.
//!
//! A body without the right shape is refused as a whole (400, 413). An operation that makes no sense in itself is one that
//! failed (409), as are those that the state refuses; all of them are told.

use super::call::{Call, Plan, Reply, WriteAnswer};
use super::registration::{self, Bad};
use super::session::{self, NoHolder};
use super::{Context, answer, lock, options, value, wire};
use crate::json::{BadField, Object};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use lictor_catalog::{
    Command, Deregister, Entry, Index, KvCommand, Outcome, Query, Store, Txn, TxnFailure, TxnLook, TxnOp, TxnPut,
};
use serde_json::Value;
use uuid::Uuid;

/// As many operations as Consul takes.
const OPS_MAX: usize = 128;

/// Why there is no transaction.
enum Wrong {
    /// The body as a whole is of no use.
    Body(Reply),
    /// Nor is it when one operation is not of the right shape.
    Shape(String),
    /// One operation is not; the others may be looked at.
    Op(Unfit),
}

/// Why an operation makes no sense, whatever the state.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("no operation specified")]
    Nothing,
    #[error("unknown {kind} verb {verb:?}")]
    Verb { kind: &'static str, verb: String },
    #[error("Must provide {0}")]
    Nameless(&'static str),
    #[error(transparent)]
    NoHolder(#[from] NoHolder),
    #[error(transparent)]
    Row(Bad),
}

impl From<Unfit> for Wrong {
    fn from(unfit: Unfit) -> Self {
        Self::Op(unfit)
    }
}

impl From<BadField> for Wrong {
    fn from(bad: BadField) -> Self {
        Self::Shape(bad.to_string())
    }
}

impl From<Bad> for Wrong {
    fn from(bad: Bad) -> Self {
        match bad {
            Bad::Field(bad) => bad.into(),
            bad => Self::Op(Unfit::Row(bad)),
        }
    }
}

fn unparsable(cause: impl std::fmt::Display) -> Reply {
    Reply::text(400, format!("Failed to parse body: {cause}"))
}

pub fn put(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    options::here(context, call)?;
    let fence = lock::fence(call)?;
    let body = value(call, |cause| unparsable(cause))?;
    let list = body.as_array().ok_or_else(|| unparsable("expected a list of operations"))?;
    if list.len() > OPS_MAX {
        let text = format!("Transaction contains too many operations ({} > {OPS_MAX})", list.len());
        return Err(Reply::text(413, text));
    }
    let (mut ops, mut places, mut unfit) = (Vec::with_capacity(list.len()), Vec::new(), Vec::new());
    for (at, value) in list.iter().enumerate() {
        match operation(value, context.facts.kv_value_max) {
            Ok(op) => {
                ops.push(op);
                places.push(at);
            }
            Err(Wrong::Op(cause)) => unfit.push((at, cause.to_string())),
            Err(Wrong::Shape(cause)) => return Err(unparsable(format!("operation {at}: {cause}"))),
            Err(Wrong::Body(reply)) => return Err(reply),
        }
    }
    if !unfit.is_empty() {
        if !context.view.leading {
            return Ok(Plan::Leader);
        }
        let others = failures(&context.view.store, Txn { fence: None, ops });
        unfit.extend(others.into_iter().map(|failure| (places[failure.op], answer::fault_text(&failure.fault))));
        unfit.sort_by_key(|(at, _)| *at);
        let pretty = options::pretty(context.facts, call);
        return Ok(Plan::Answer(wire::transaction_failed(unfit, pretty).into()));
    }
    match looks(&ops).filter(|_| fence.is_none()) {
        Some(looks) => options::read_now(context, call, Query::Txn { looks }),
        None => Ok(Plan::Write(Command::Txn(Txn { fence, ops }), WriteAnswer::Results)),
    }
}

/// What would fail of a transaction, tried on a copy: whoever failed once is told of everything that he must mend.
fn failures(store: &Store, txn: Txn) -> Vec<TxnFailure> {
    let mut copy = store.clone();
    let (index, entry) =
        (Index(copy.index().0 + 1), Entry { time_ms: copy.time_ms(), id: 0, command: Command::Txn(txn) });
    match copy.apply(index, &entry).outcome {
        Outcome::Txn(Err(failures)) => failures,
        _ => Vec::new(),
    }
}

/// The operations of a transaction that only looks.
fn looks(ops: &[TxnOp]) -> Option<Vec<TxnLook>> {
    let look = |op: &TxnOp| match op {
        TxnOp::Look(look) => Some(look.clone()),
        TxnOp::Kv(_) | TxnOp::Put(..) | TxnOp::Remove(..) => None,
    };
    ops.iter().map(look).collect()
}

fn operation(value: &Value, value_max: usize) -> Result<TxnOp, Wrong> {
    if value.is_null() {
        return Err(Unfit::Nothing.into());
    }
    let object = Object::of(value)?;
    if let Some(op) = object.object("KV")? {
        on_key(&op, value_max)
    } else if let Some(op) = object.object("Node")? {
        on_node(&op)
    } else if let Some(op) = object.object("Service")? {
        on_service(&op)
    } else if let Some(op) = object.object("Check")? {
        on_check(&op)
    } else {
        Err(Unfit::Nothing.into())
    }
}

fn on_key(op: &Object<'_>, value_max: usize) -> Result<TxnOp, Wrong> {
    let (verb, key, holder) = (op.string("Verb")?, op.string("Key")?, op.string("Session")?);
    let flags = op.number("Flags", u64::MAX)?.unwrap_or_default();
    let index = Index(op.number("Index", u64::MAX)?.unwrap_or_default());
    let value =
        STANDARD.decode(op.string("Value")?).map_err(|bad| Wrong::Shape(format!("Value is not base64: {bad}")))?;
    if value.len() > value_max {
        let text = format!("Value for key {key:?} is too large ({} > {value_max} bytes)", value.len());
        return Err(Wrong::Body(Reply::text(413, text)));
    }
    let value = Bytes::from(value);
    let key = if matches!(verb.as_str(), "get-tree" | "delete-tree") { key } else { named(key, "key")? };
    let by = |text: &str| session::holder(text).map_err(Unfit::from);
    Ok(match verb.as_str() {
        "get" => TxnOp::Look(TxnLook::Key(key)),
        "get-or-empty" => TxnOp::Look(TxnLook::KeyOrEmpty(key)),
        "get-tree" => TxnOp::Look(TxnLook::Tree(key)),
        "check-index" => TxnOp::Look(TxnLook::KeyIndex(key, index)),
        "check-session" => TxnOp::Look(TxnLook::KeyHolder(key, holder)),
        "check-not-exists" => TxnOp::Look(TxnLook::NoKey(key)),
        "set" => TxnOp::Kv(KvCommand::Set { key, value, flags }),
        "cas" => TxnOp::Kv(KvCommand::Cas { key, value, flags, index }),
        // No session has the nil id. Consul asks the state about it, and so tells what else fails.
        "lock" if holder.is_empty() => TxnOp::Kv(KvCommand::Acquire { key, value, flags, session: Uuid::nil() }),
        "lock" => TxnOp::Kv(KvCommand::Acquire { key, value, flags, session: by(&holder)? }),
        "unlock" => TxnOp::Kv(KvCommand::Release { key, value, flags, session: by(&holder)? }),
        "delete" => TxnOp::Kv(KvCommand::Delete { key }),
        "delete-cas" => TxnOp::Kv(KvCommand::DeleteCas { key, index }),
        "delete-tree" => TxnOp::Kv(KvCommand::DeleteTree { prefix: key }),
        _ => return Err(Unfit::Verb { kind: "KV", verb }.into()),
    })
}

/// What a node, a service and a check can be asked for alike.
enum Verb {
    Get,
    Put(Option<Index>),
    Remove(Option<Index>),
}

fn verb(op: &Object<'_>, row: &Object<'_>, kind: &'static str) -> Result<Verb, Wrong> {
    let verb = op.string("Verb")?;
    let index = Index(row.number("ModifyIndex", u64::MAX)?.unwrap_or_default());
    Ok(match verb.as_str() {
        "get" => Verb::Get,
        "set" => Verb::Put(None),
        "cas" => Verb::Put(Some(index)),
        "delete" => Verb::Remove(None),
        "delete-cas" => Verb::Remove(Some(index)),
        _ => return Err(Unfit::Verb { kind, verb }.into()),
    })
}

/// The row that an operation is about.
fn row<'a>(op: &Object<'a>, name: &str) -> Result<Object<'a>, Wrong> {
    Ok(op.object(name)?.ok_or(Unfit::Nothing)?)
}

/// The first of these fields that says anything.
fn first(row: &Object<'_>, names: [&str; 2]) -> Result<String, Wrong> {
    let [id, name] = names;
    let id = row.string(id)?;
    Ok(if id.is_empty() { row.string(name)? } else { id })
}

fn named(name: String, what: &'static str) -> Result<String, Unfit> {
    if name.is_empty() { Err(Unfit::Nameless(what)) } else { Ok(name) }
}

fn on_node(op: &Object<'_>) -> Result<TxnOp, Wrong> {
    let row = row(op, "Node")?;
    let verb = verb(op, &row, "Node")?;
    let node = registration::node(&row)?;
    if node.name.is_empty() && !(matches!(verb, Verb::Get) && node.id.is_some()) {
        return Err(Unfit::Nameless("node").into());
    }
    Ok(match verb {
        Verb::Get => TxnOp::Look(TxnLook::Node(node.id, node.name)),
        Verb::Put(index) => TxnOp::Put(TxnPut::Node(Box::new(node)), index),
        Verb::Remove(index) => TxnOp::Remove(Deregister::Node(node.name), index),
    })
}

fn on_service(op: &Object<'_>) -> Result<TxnOp, Wrong> {
    let row = row(op, "Service")?;
    let verb = verb(op, &row, "Service")?;
    // The whole row is decoded, also where only its name counts: what is of the wrong type is refused wherever it stands.
    let service = registration::read_service(&row)?;
    let (node, id) = (op.string("Node")?, first(&row, ["ID", "Service"])?);
    let (node, id) = (named(node, "node")?, named(id, "service name or ID")?);
    Ok(match verb {
        Verb::Get => TxnOp::Look(TxnLook::Service(node.into(), id.into())),
        Verb::Put(index) => {
            TxnOp::Put(TxnPut::Service(Box::new(registration::complete_service(service, &node.into())?)), index)
        }
        Verb::Remove(index) => TxnOp::Remove(Deregister::Service(node.into(), id.into()), index),
    })
}

fn on_check(op: &Object<'_>) -> Result<TxnOp, Wrong> {
    let row = row(op, "Check")?;
    let verb = verb(op, &row, "Check")?;
    let check = registration::read_check(&row)?;
    let (node, id) = (row.string("Node")?, first(&row, ["CheckID", "Name"])?);
    let (node, id) = (named(node, "node")?, named(id, "check name or CheckID")?);
    Ok(match verb {
        Verb::Get => TxnOp::Look(TxnLook::Check(node.into(), id.into())),
        Verb::Put(index) => {
            TxnOp::Put(TxnPut::Check(Box::new(registration::complete_check(check, &node.into())?)), index)
        }
        Verb::Remove(index) => TxnOp::Remove(Deregister::Check(node.into(), id.into()), index),
    })
}
