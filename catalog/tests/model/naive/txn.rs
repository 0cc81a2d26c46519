//! A transaction on a napkin: each operation is the command of its kind, on a copy that is thrown away if one fails.

use super::{Naive, fold};
use lictor_catalog::command::{Command, Deregister, KvCommand, Register};
use lictor_catalog::{
    Index, Node, Outcome, Refusal, Txn, TxnFailure, TxnFault, TxnLook, TxnOp, TxnPut, TxnResult, TxnRow, TxnThing,
};
use std::sync::Arc;

impl Naive {
    pub(super) fn transact(&mut self, index: Index, now: u64, txn: &Txn) -> Outcome {
        if let Some(sequencer) = &txn.fence
            && let Some(refusal) = self.stale(sequencer)
        {
            return Outcome::Refused(refusal);
        }
        let mut copy = self.clone();
        let (mut rows, mut failures) = (Vec::new(), Vec::new());
        for (op, what) in txn.ops.iter().enumerate() {
            let before = copy.clone();
            match copy.operate(index, now, what) {
                Ok(found) => rows.extend(found),
                Err(fault) => failures.push(TxnFailure { op, fault }),
            }
            copy.end_sessions(index, now);
            // What one operation makes and the next undoes moved indexes all the same.
            copy.moves += u64::from(copy != before);
        }
        if failures.is_empty() {
            *self = copy;
            return Outcome::Txn(Ok(rows));
        }
        Outcome::Txn(Err(failures))
    }

    fn operate(&mut self, index: Index, now: u64, op: &TxnOp) -> Result<Vec<TxnRow>, TxnFault> {
        let (command, thing, stale) = match op {
            TxnOp::Look(look) => return self.look(look),
            TxnOp::Kv(command) => return self.change(index, now, command),
            TxnOp::Put(put, wanted) => {
                let (register, thing) = registration(put);
                let stale = wanted.is_some_and(|wanted| self.modified(&thing).unwrap_or(Index(0)) != wanted);
                (Command::Register(Box::new(register)), thing, stale.then_some(TxnFault::StaleSet as fn(_) -> _))
            }
            TxnOp::Remove(what, wanted) => {
                let thing = match what.clone() {
                    Deregister::Node(node) => TxnThing::Node(node),
                    Deregister::Service(node, id) => TxnThing::Service(node, id),
                    Deregister::Check(node, id) => TxnThing::Check(node, id),
                };
                let stale = wanted.is_some_and(|wanted| self.modified(&thing) != Some(wanted));
                (Command::Deregister(what.clone()), thing, stale.then_some(TxnFault::StaleRemove as fn(_) -> _))
            }
        };
        if let Some(fault) = stale {
            return Err(fault(thing));
        }
        if let (TxnThing::Service(node, _) | TxnThing::Check(node, _), Command::Register(_)) = (&thing, &command)
            && !self.nodes.contains_key(&fold(node))
        {
            return Err(TxnFault::Refused(Refusal::MissingNode { node: node.clone() }));
        }
        match self.carry_out(index, now, &command) {
            Outcome::Refused(refusal) => Err(TxnFault::Refused(refusal)),
            _ if matches!(op, TxnOp::Remove(..)) => Ok(Vec::new()),
            // Sessions end at once, and with them the row's lock; rows of the catalog are not touched by that.
            _ => Ok(self.row(&thing).into_iter().collect()),
        }
    }

    fn change(&mut self, index: Index, now: u64, command: &KvCommand) -> Result<Vec<TxnRow>, TxnFault> {
        let key = command.key().to_owned();
        let only = |naive: &Self, key: &str| Ok(naive.kv.get(key).cloned().map(TxnRow::KeyOnly).into_iter().collect());
        match (self.apply_kv(index, now, command), command) {
            (Outcome::Refused(refusal), _) => Err(TxnFault::Refused(refusal)),
            (Outcome::Key(key), _) => only(self, &key),
            (Outcome::Matched(false), KvCommand::Cas { .. }) => Err(TxnFault::StaleSet(TxnThing::Key(key))),
            (Outcome::Matched(false), KvCommand::DeleteCas { .. }) => Err(TxnFault::StaleRemove(TxnThing::Key(key))),
            (Outcome::Matched(false), KvCommand::Release { .. }) => Err(TxnFault::NotHeld(key)),
            (Outcome::Matched(false), _) => Err(match self.lock(&key).0 {
                Some(_) => TxnFault::Locked(key),
                None => TxnFault::LockDelayed(key),
            }),
            (_, KvCommand::Delete { .. } | KvCommand::DeleteCas { .. } | KvCommand::DeleteTree { .. }) => Ok(vec![]),
            _ => only(self, &key),
        }
    }

    pub(super) fn looks(&self, looks: &[TxnLook]) -> TxnResult {
        let results: Vec<_> = looks.iter().map(|look| self.look(look)).collect();
        if results.iter().all(Result::is_ok) {
            return Ok(results.into_iter().flatten().flatten().collect());
        }
        let failed = results.into_iter().enumerate().filter_map(|(op, result)| Some((op, result.err()?)));
        Err(failed.map(|(op, fault)| TxnFailure { op, fault }).collect())
    }

    fn look(&self, look: &TxnLook) -> Result<Vec<TxnRow>, TxnFault> {
        let thing = match look.clone() {
            TxnLook::Key(key) => TxnThing::Key(key),
            TxnLook::Node(None, name) => TxnThing::Node(name),
            TxnLook::Service(node, id) => TxnThing::Service(node, id),
            TxnLook::Check(node, id) => TxnThing::Check(node, id),
            TxnLook::Node(Some(id), name) => {
                let node = self.nodes.values().find(|node| node.id == Some(id)).cloned();
                let name = if name.is_empty() { id.to_string().into() } else { name };
                let node = node.ok_or(TxnFault::Missing(TxnThing::Node(name)))?;
                return Ok(vec![TxnRow::Node(Arc::new(node))]);
            }
            TxnLook::KeyOrEmpty(key) => {
                return Ok(vec![self.kv.get(&key).cloned().map_or(TxnRow::EmptyKey(key), TxnRow::Key)]);
            }
            TxnLook::Tree(prefix) => {
                let under = self.kv.iter().filter(|(key, _)| key.starts_with(&prefix));
                return Ok(under.map(|(_, row)| TxnRow::Key(row.clone())).collect());
            }
            TxnLook::NoKey(key) => {
                return if self.kv.contains_key(&key) { Err(TxnFault::KeyExists(key)) } else { Ok(vec![]) };
            }
            TxnLook::KeyIndex(key, wanted) => {
                let Some(row) = self.kv.get(&key) else { return Err(TxnFault::NoIndex(key)) };
                let found = row.entry().modify_index;
                let only = vec![TxnRow::KeyOnly(row.clone())];
                return if found == wanted { Ok(only) } else { Err(TxnFault::OtherIndex { key, found, wanted }) };
            }
            TxnLook::KeyHolder(key, wanted) => {
                let Some(row) = self.kv.get(&key) else { return Err(TxnFault::NoHolder(key)) };
                let found = row.entry().session;
                let holds = found.map_or(wanted.is_empty(), |found| found.to_string() == wanted);
                let only = vec![TxnRow::KeyOnly(row.clone())];
                return if holds { Ok(only) } else { Err(TxnFault::OtherHolder { key, found, wanted }) };
            }
        };
        self.row(&thing).map(|row| vec![row]).ok_or(TxnFault::Missing(thing))
    }

    fn row(&self, thing: &TxnThing) -> Option<TxnRow> {
        Some(match thing {
            TxnThing::Key(key) => TxnRow::Key(self.kv.get(key)?.clone()),
            TxnThing::Node(name) => TxnRow::Node(Arc::new(self.nodes.get(&fold(name))?.clone())),
            TxnThing::Service(node, id) => {
                TxnRow::Service(Arc::new(self.services.get(&(fold(node), fold(id)))?.clone()))
            }
            TxnThing::Check(node, id) => TxnRow::Check(Arc::new(self.checks.get(&(fold(node), fold(id)))?.clone())),
        })
    }

    fn modified(&self, thing: &TxnThing) -> Option<Index> {
        Some(match self.row(thing)? {
            TxnRow::Key(row) | TxnRow::KeyOnly(row) => row.entry().modify_index,
            TxnRow::Node(node) => node.modify_index,
            TxnRow::Service(service) => service.modify_index,
            TxnRow::Check(check) => check.modify_index,
            TxnRow::EmptyKey(_) => return None,
        })
    }

    /// A number that no key was given before, and whose key can be had.
    pub(super) fn append(
        &mut self,
        index: Index,
        now: u64,
        prefix: &str,
        (value, flags): (&[u8], u64),
        session: Option<uuid::Uuid>,
    ) -> Outcome {
        if let Some(id) = session.filter(|id| !self.sessions.contains_key(id)) {
            return Outcome::Refused(Refusal::MissingSession { id });
        }
        loop {
            let key = format!("{prefix}{:010}", self.next_number);
            self.next_number += 1;
            let delayed = self.delays.get(&key).is_some_and(|until| *until > now);
            if !self.kv.contains_key(&key) && !delayed {
                self.put(index, &key, value, flags, session, u64::from(session.is_some()));
                return Outcome::Key(key);
            }
        }
    }
}

/// A service and a check are put on a node that is there.
fn registration(put: &TxnPut) -> (Register, TxnThing) {
    let on = |node: &lictor_catalog::model::NodeName| Register {
        node: Node { name: node.clone(), ..Node::default() },
        skip_node_update: true,
        ..Register::default()
    };
    match put {
        TxnPut::Node(node) => {
            (Register { node: (**node).clone(), ..Register::default() }, TxnThing::Node(node.name.clone()))
        }
        TxnPut::Service(row) => (
            Register { service: Some((**row).clone()), ..on(&row.node) },
            TxnThing::Service(row.node.clone(), row.id.clone()),
        ),
        TxnPut::Check(row) => (
            Register { checks: vec![(**row).clone()], ..on(&row.node) },
            TxnThing::Check(row.node.clone(), row.id.clone()),
        ),
    }
}
