//! Transactions that only look.

use super::kv;
use crate::acl::Authorizer;
use crate::model::{Index, folded};
use crate::store::{Store, Watch, each};
use crate::txn::{TxnFault, TxnLook, TxnResult, TxnRow};
use std::sync::Arc;

/// The index is the highest of what is looked at.
pub(super) fn run(store: &Store, looks: &[TxnLook], may: &dyn Authorizer) -> (Index, TxnResult) {
    let index = looks.iter().map(|look| index(store, &place(look))).max().unwrap_or_default();
    (index, each(looks, |look| permitted(store.look(look), &place(look), may)))
}

pub(super) fn watch(look: &TxnLook) -> Watch {
    match place(look) {
        Place::Key(key) => Watch::Key(Arc::from(key)),
        Place::Tree(prefix) => Watch::Prefix(Arc::from(prefix)),
        Place::OnNode(name) => Watch::Node(Arc::from(&*folded(name))),
        Place::Nodes => Watch::Nodes,
    }
}

/// Where an operation looks.
enum Place<'a> {
    Key(&'a str),
    Tree(&'a str),
    /// A node, or something on it.
    OnNode(&'a str),
    /// Any node, for one that is found by its id.
    Nodes,
}

fn place(look: &TxnLook) -> Place<'_> {
    match look {
        TxnLook::Key(key)
        | TxnLook::KeyOrEmpty(key)
        | TxnLook::KeyIndex(key, _)
        | TxnLook::KeyHolder(key, _)
        | TxnLook::NoKey(key) => Place::Key(key),
        TxnLook::Tree(prefix) => Place::Tree(prefix),
        TxnLook::Node(Some(_), _) => Place::Nodes,
        TxnLook::Node(None, name) | TxnLook::Service(name, _) | TxnLook::Check(name, _) => Place::OnNode(name),
    }
}

fn index(store: &Store, place: &Place<'_>) -> Index {
    match place {
        Place::Key(key) => kv::key_index(store, key),
        Place::Tree(prefix) => kv::prefix_index(store, prefix),
        Place::OnNode(name) => match store.nodes.get(&folded(name)) {
            Some(row) => row.index,
            None => store.nodes.index.max(store.services.index).max(store.checks.index),
        },
        Place::Nodes => store.nodes.index,
    }
}

/// Trees are thinned out, all else is refused: that a key is missing is nothing to tell whoever may not read it.
fn permitted(
    found: Result<Vec<TxnRow>, TxnFault>,
    place: &Place<'_>,
    may: &dyn Authorizer,
) -> Result<Vec<TxnRow>, TxnFault> {
    let allowed = match place {
        Place::Key(key) => may.key_read(key),
        Place::OnNode(name) => may.node_read(name),
        Place::Tree(_) | Place::Nodes => true,
    };
    let seen = |row: &TxnRow| match row {
        TxnRow::Key(row) | TxnRow::KeyOnly(row) => may.key_read(row.key()),
        TxnRow::EmptyKey(key) => may.key_read(key),
        TxnRow::Node(node) => may.node_read(&node.name),
        TxnRow::Service(service) => super::may_read_instance(may, service),
        TxnRow::Check(check) => super::may_read(may, check),
    };
    match (found, place) {
        (_, _) if !allowed => Err(TxnFault::Forbidden),
        (Ok(rows), Place::Tree(_)) => Ok(rows.into_iter().filter(seen).collect()),
        (Ok(rows), _) if !rows.iter().all(seen) => Err(TxnFault::Forbidden),
        (found, _) => found,
    }
}
