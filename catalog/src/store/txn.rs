//! A transaction against the store. Each operation goes the way of the command of its kind; what is special here is only
//! that all are undone when one fails, and that each says what it found.

use super::apply::Change;
use super::{Outcome, Refusal, Store};
use crate::command::{Deregister, KvCommand, Register};
use crate::model::{Index, Node};
use crate::txn::{Txn, TxnFailure, TxnFault, TxnLook, TxnOp, TxnPut, TxnResult, TxnRow, TxnThing};

impl Store {
    pub(super) fn apply_txn(&mut self, txn: &Txn, change: &mut Change) -> Outcome {
        if let Some(Err(refusal)) = txn.fence.as_ref().map(|sequencer| self.fence(sequencer)) {
            return Outcome::Refused(refusal);
        }
        let before = self.clone();
        let result = each(&txn.ops, |op| self.operate(op, change));
        if result.is_err() {
            *self = before;
            change.forget();
        }
        Outcome::Txn(result)
    }

    fn operate(&mut self, op: &TxnOp, change: &mut Change) -> Result<Vec<TxnRow>, TxnFault> {
        match op {
            TxnOp::Look(look) => self.look(look),
            TxnOp::Kv(command) => self.change_keys(command, change),
            TxnOp::Put(put, index) => {
                let register = registration(put);
                let thing = subject(put);
                if index.is_some_and(|index| self.index_of(&thing).unwrap_or_default() != index) {
                    return Err(TxnFault::StaleSet(thing));
                }
                let node = &register.node.name;
                if register.skip_node_update && self.node(node).is_none() {
                    return Err(TxnFault::Refused(Refusal::MissingNode { node: node.clone() }));
                }
                self.register(&register, change).map_err(TxnFault::Refused)?;
                Ok(self.row(&thing).into_iter().collect())
            }
            TxnOp::Remove(what, index) => {
                let thing = match what {
                    Deregister::Node(node) => TxnThing::Node(node.clone()),
                    Deregister::Service(node, id) => TxnThing::Service(node.clone(), id.clone()),
                    Deregister::Check(node, id) => TxnThing::Check(node.clone(), id.clone()),
                };
                if index.is_some_and(|index| self.index_of(&thing) != Some(index)) {
                    return Err(TxnFault::StaleRemove(thing));
                }
                self.deregister(what, change);
                Ok(Vec::new())
            }
        }
    }

    fn change_keys(&mut self, command: &KvCommand, change: &mut Change) -> Result<Vec<TxnRow>, TxnFault> {
        let created = match self.apply_kv(command, change) {
            Outcome::Refused(refusal) => return Err(TxnFault::Refused(refusal)),
            Outcome::Matched(false) => return Err(self.unmatched(command)),
            Outcome::Key(key) => Some(key),
            _ => None,
        };
        // What was deleted is not there any more, and answers nothing.
        let row = self.kv.get(created.as_deref().unwrap_or_else(|| command.key()));
        Ok(row.cloned().map(TxnRow::KeyOnly).into_iter().collect())
    }

    /// Why a command that changed nothing did not match.
    fn unmatched(&self, command: &KvCommand) -> TxnFault {
        let key = command.key().to_owned();
        match command {
            KvCommand::Acquire { .. } if self.lock_of(&key).session.is_some() => TxnFault::Locked(key),
            KvCommand::Acquire { .. } => TxnFault::LockDelayed(key),
            KvCommand::Release { .. } => TxnFault::NotHeld(key),
            KvCommand::DeleteCas { .. } => TxnFault::StaleRemove(TxnThing::Key(key)),
            _ => TxnFault::StaleSet(TxnThing::Key(key)),
        }
    }

    /// What an operation finds that only looks.
    pub(crate) fn look(&self, look: &TxnLook) -> Result<Vec<TxnRow>, TxnFault> {
        let found = |thing| self.row(&thing).ok_or(TxnFault::Missing(thing));
        let row = match look {
            TxnLook::Key(key) => found(TxnThing::Key(key.clone()))?,
            TxnLook::KeyOrEmpty(key) => {
                self.key(key).cloned().map_or_else(|| TxnRow::EmptyKey(key.clone()), TxnRow::Key)
            }
            TxnLook::Tree(prefix) => return Ok(self.kv.under(prefix).cloned().map(TxnRow::Key).collect()),
            TxnLook::KeyIndex(key, wanted) => {
                let row = self.key(key).ok_or_else(|| TxnFault::NoIndex(key.clone()))?;
                let found = row.entry().modify_index;
                if found != *wanted {
                    return Err(TxnFault::OtherIndex { key: key.clone(), found, wanted: *wanted });
                }
                TxnRow::KeyOnly(row.clone())
            }
            TxnLook::KeyHolder(key, wanted) => {
                let row = self.key(key).ok_or_else(|| TxnFault::NoHolder(key.clone()))?;
                let found = row.entry().session;
                if found.map(|id| id.to_string()).unwrap_or_default() != *wanted {
                    return Err(TxnFault::OtherHolder { key: key.clone(), found, wanted: wanted.clone() });
                }
                TxnRow::KeyOnly(row.clone())
            }
            TxnLook::NoKey(key) if self.key(key).is_some() => return Err(TxnFault::KeyExists(key.clone())),
            TxnLook::NoKey(_) => return Ok(Vec::new()),
            TxnLook::Node(None, name) => found(TxnThing::Node(name.clone()))?,
            TxnLook::Node(Some(id), name) => {
                let node = self.node_by_id(*id).cloned().map(TxnRow::Node);
                let name = || if name.is_empty() { id.to_string().into() } else { name.clone() };
                node.ok_or_else(|| TxnFault::Missing(TxnThing::Node(name())))?
            }
            TxnLook::Service(node, id) => found(TxnThing::Service(node.clone(), id.clone()))?,
            TxnLook::Check(node, id) => found(TxnThing::Check(node.clone(), id.clone()))?,
        };
        Ok(vec![row])
    }

    fn row(&self, thing: &TxnThing) -> Option<TxnRow> {
        match thing {
            TxnThing::Key(key) => self.key(key).cloned().map(TxnRow::Key),
            TxnThing::Node(name) => self.node(name).cloned().map(TxnRow::Node),
            TxnThing::Service(node, id) => self.service(node, id).cloned().map(TxnRow::Service),
            TxnThing::Check(node, id) => self.check(node, id).cloned().map(TxnRow::Check),
        }
    }

    /// When it was changed last; `None` when it is not there.
    fn index_of(&self, thing: &TxnThing) -> Option<Index> {
        Some(match self.row(thing)? {
            TxnRow::Key(row) | TxnRow::KeyOnly(row) => row.entry().modify_index,
            TxnRow::EmptyKey(_) => Index(0),
            TxnRow::Node(node) => node.modify_index,
            TxnRow::Service(service) => service.modify_index,
            TxnRow::Check(check) => check.modify_index,
        })
    }
}

/// All rows of all operations, or all failures: whoever failed once is told of everything that he must mend.
pub(crate) fn each<T>(ops: &[T], mut carry_out: impl FnMut(&T) -> Result<Vec<TxnRow>, TxnFault>) -> TxnResult {
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    for (op, what) in ops.iter().enumerate() {
        match carry_out(what) {
            Ok(found) => rows.extend(found),
            Err(fault) => failures.push(TxnFailure { op, fault }),
        }
    }
    if failures.is_empty() { Ok(rows) } else { Err(failures) }
}

/// The registration that writes this row and nothing else.
fn registration(put: &TxnPut) -> Register {
    let on = |name| Register { node: Node { name, ..Node::default() }, skip_node_update: true, ..Register::default() };
    match put {
        TxnPut::Node(node) => Register { node: Node::clone(node), ..Register::default() },
        TxnPut::Service(service) => Register { service: Some((**service).clone()), ..on(service.node.clone()) },
        TxnPut::Check(check) => Register { checks: vec![(**check).clone()], ..on(check.node.clone()) },
    }
}

fn subject(put: &TxnPut) -> TxnThing {
    match put {
        TxnPut::Node(node) => TxnThing::Node(node.name.clone()),
        TxnPut::Service(service) => TxnThing::Service(service.node.clone(), service.id.clone()),
        TxnPut::Check(check) => TxnThing::Check(check.node.clone(), check.id.clone()),
    }
}
