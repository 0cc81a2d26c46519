//! Reads of services without their health.

use super::{Instance, Wanted, may_read_instance, meta_match};
use crate::acl::Authorizer;
use crate::model::{Index, Node, Service, folded};
use crate::store::Store;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) type Names = BTreeMap<String, BTreeSet<String>>;

pub(super) fn names(store: &Store, meta: &[(String, String)], may: &dyn Authorizer) -> (Index, Names) {
    let mut names = Names::new();
    let mut instances = store.services.by_name().peekable();
    while let Some((name, first)) = instances.next() {
        let mut tags = None;
        let mut see = |service: &Arc<Service>| {
            if meta.is_empty() || node_of(store, service).is_some_and(|node| meta_match(&node.meta, meta)) {
                let tags = tags.get_or_insert_with(BTreeSet::new);
                for tag in service.tags.iter().filter(|tag| !tag.is_empty()) {
                    if !tags.contains(tag) {
                        tags.insert(tag.clone());
                    }
                }
            }
        };
        see(first);
        while let Some((_, service)) = instances.next_if(|(next, _)| *next == name) {
            see(service);
        }
        if let Some(tags) = tags.filter(|_| may.service_read(&first.name)) {
            names.insert(first.name.as_str().to_owned(), tags);
        }
    }
    let nodes = if meta.is_empty() { Index(0) } else { store.nodes.index };
    (store.services.list_index.max(nodes), names)
}

pub(super) fn instances(
    store: &Store,
    name: &str,
    wanted: &Wanted<'_>,
    may: &dyn Authorizer,
) -> (Index, Vec<Instance>) {
    let index = service_index(store, name, false);
    let found = rows(store, &folded(name))
        .filter(|(node, service)| wanted.is(node, service) && may_read_instance(may, service))
        .map(|(node, service)| Instance { node: Arc::clone(node), service: Arc::clone(service), checks: Vec::new() })
        .collect();
    (index, found)
}

/// Instances of the service with this folded name, with their nodes, by node and id.
pub(super) fn rows<'a>(
    store: &'a Store,
    name: &str,
) -> impl Iterator<Item = (&'a Arc<Node>, &'a Arc<Service>)> + use<'a> {
    store.services.of_name(name).filter_map(|service| Some((node_of(store, service)?, service)))
}

/// The index of reads of one service. One that is missing has the index of the last time that any service went missing,
/// so that it neither falls when the service goes nor moves with every other service.
pub(super) fn service_index(store: &Store, name: &str, health: bool) -> Index {
    if let Some(row) = store.services.name(&folded(name)) {
        return row.index;
    }
    if store.services.extinct > Index(0) {
        return store.services.extinct;
    }
    let checks = if health { store.checks.index } else { Index(0) };
    store.nodes.index.max(store.services.index).max(checks)
}

fn node_of<'a>(store: &'a Store, service: &Service) -> Option<&'a Arc<Node>> {
    store.node(&service.node)
}
