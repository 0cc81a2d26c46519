//! Reads of checks, and of services with their checks.

use super::services::{rows, service_index};
use super::{Instance, Wanted, may_read, may_read_instance, meta_match};
use crate::acl::Authorizer;
use crate::model::{Check, Index, Node, Service, Status, folded};
use crate::store::Store;
use std::sync::Arc;

pub(super) fn service(
    store: &Store,
    name: &str,
    wanted: &Wanted<'_>,
    only_passing: bool,
    may: &dyn Authorizer,
) -> (Index, Vec<Instance>) {
    let index = service_index(store, name, true);
    let passing = |instance: &Instance| instance.checks.iter().all(|check| check.status == Status::Passing);
    let found = rows(store, &folded(name))
        .filter(|(node, service)| wanted.is(node, service) && may_read_instance(may, service))
        .map(|(node, service)| instance(store, node, service))
        .filter(|instance| !only_passing || passing(instance))
        .collect();
    (index, found)
}

pub(super) fn checks(
    store: &Store,
    service: &str,
    meta: &[(String, String)],
    may: &dyn Authorizer,
) -> (Index, Vec<Arc<Check>>) {
    let index = service_index(store, service, true);
    let mut found = Vec::new();
    for (_, service) in rows(store, &folded(service)).filter(|(node, _)| meta_match(&node.meta, meta)) {
        if service.id.is_empty() || !may_read_instance(may, service) {
            continue;
        }
        found.extend(store.checks.of_instance(&folded(&service.node), &folded(&service.id)).iter().cloned());
    }
    // Instances of a node follow each other by service id; Consul orders a node's checks by their own ids.
    found.sort_by(|a, b| (folded(&a.node), folded(&a.id)).cmp(&(folded(&b.node), folded(&b.id))));
    (index, found)
}

pub(super) fn state(
    store: &Store,
    state: Option<Status>,
    meta: &[(String, String)],
    may: &dyn Authorizer,
) -> (Index, Vec<Arc<Check>>) {
    let on_node =
        |check: &Check| meta.is_empty() || store.node(&check.node).is_some_and(|node| meta_match(&node.meta, meta));
    let seen =
        |check: &&Arc<Check>| state.is_none_or(|state| check.status == state) && on_node(check) && may_read(may, check);
    let nodes = if meta.is_empty() { Index(0) } else { store.nodes.index };
    (store.checks.index.max(nodes), store.checks.iter().filter(seen).cloned().collect())
}

/// An instance with its checks.
pub(super) fn instance(store: &Store, node: &Arc<Node>, service: &Arc<Service>) -> Instance {
    let checks = checks_of(store, service).concat();
    Instance { node: Arc::clone(node), service: Arc::clone(service), checks }
}

/// The node's checks, and the instance's.
fn checks_of<'a>(store: &'a Store, service: &Service) -> [&'a [Arc<Check>]; 2] {
    let (node, id) = (folded(&service.node), folded(&service.id));
    // An instance without an id has no checks of its own: those would be the node's.
    let own = if id.is_empty() { &[] } else { store.checks.of_instance(&node, &id) };
    [store.checks.of_instance(&node, ""), own]
}
