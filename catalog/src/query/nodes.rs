//! Reads of nodes.

use super::meta_match;
use crate::acl::Authorizer;
use crate::model::{Check, Index, Node, Service, folded};
use crate::store::Store;
use std::sync::Arc;

pub(super) fn nodes(store: &Store, meta: &[(String, String)], may: &dyn Authorizer) -> (Index, Vec<Arc<Node>>) {
    let seen = |node: &&Arc<Node>| meta_match(&node.meta, meta) && may.node_read(&node.name);
    (store.nodes.index, store.nodes().filter(seen).cloned().collect())
}

type NodeAndServices = Option<(Arc<Node>, Vec<Arc<Service>>)>;

pub(super) fn node(store: &Store, name: &str, may: &dyn Authorizer) -> (Index, NodeAndServices) {
    let key = folded(name);
    let Some(row) = store.nodes.get(&key) else {
        return (store.nodes.index.max(store.services.index), None);
    };
    if !may.node_read(&row.node.name) {
        return (row.index, None);
    }
    let services = store.services.of_node(&key).filter(|service| may.service_read(&service.name)).cloned().collect();
    (row.index, Some((Arc::clone(&row.node), services)))
}

pub(super) fn checks(store: &Store, name: &str, may: &dyn Authorizer) -> (Index, Vec<Arc<Check>>) {
    let key = folded(name);
    let Some(row) = store.nodes.get(&key) else {
        return (store.nodes.index.max(store.checks.index), Vec::new());
    };
    let seen = |check: &&Arc<Check>| super::may_read(may, check);
    (row.index, store.checks.of_node(&key).filter(seen).cloned().collect())
}
