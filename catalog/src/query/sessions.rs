//! Reads of sessions.

use crate::acl::Authorizer;
use crate::model::{Index, Session, folded};
use crate::store::Store;
use std::sync::Arc;
use uuid::Uuid;

/// A session never changes, so its index is that of its making; a missing one has the index of the table.
pub(super) fn one(store: &Store, id: Uuid, may: &dyn Authorizer) -> (Index, Vec<Arc<Session>>) {
    match store.session(id) {
        Some(session) => (session.create_index, seen(std::iter::once(session), may)),
        None => (store.sessions.index, Vec::new()),
    }
}

pub(super) fn of_node(store: &Store, node: &str, may: &dyn Authorizer) -> (Index, Vec<Arc<Session>>) {
    (store.sessions.index, seen(store.sessions.of_node(&folded(node)), may))
}

pub(super) fn all(store: &Store, may: &dyn Authorizer) -> (Index, Vec<Arc<Session>>) {
    (store.sessions.index, seen(store.sessions.iter(), may))
}

fn seen<'a>(sessions: impl Iterator<Item = &'a Arc<Session>>, may: &dyn Authorizer) -> Vec<Arc<Session>> {
    sessions.filter(|session| may.session_read(&session.node)).cloned().collect()
}
