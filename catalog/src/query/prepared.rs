//! Reads of prepared queries, and carrying them out.

use super::{Instance, coordinates, health, services};
use crate::acl::Authorizer;
use crate::model::{Index, PreparedQuery, ServiceQuery, Status, Ttl, folded};
use crate::splitmix::SplitMix64;
use crate::store::Store;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use uuid::Uuid;

/// That a prepared query be carried out. Equal executions of an equal store give equal answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Execution {
    /// The query's name or id.
    pub name: String,
    /// Nearest to whom first, in the words of [`ServiceQuery::near`]; empty: as the query says.
    pub near: String,
    /// The node of the agent that was asked (`_agent`).
    pub agent: String,
    /// The address of whoever asked (`_ip`).
    pub source: Option<IpAddr>,
    /// Only instances that speak the mesh's protocol, whatever the query says.
    pub connect: bool,
    /// At most so many instances; 0 is no limit.
    pub limit: usize,
    /// The order of those that are equally near: whoever carries it out draws it anew each time, to spread the load.
    pub seed: u64,
}

/// What a prepared query found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    /// The service that was looked up.
    pub service: String,
    /// Its instances, the first to be tried first.
    pub instances: Vec<Instance>,
    /// How long a DNS answer may be kept; empty: as long as any answer about the service.
    pub dns_ttl: Ttl,
}

/// A query's index is that of its last change; a missing one has the index of the table.
pub(super) fn one(store: &Store, id: Uuid, may: &dyn Authorizer) -> (Index, Vec<Arc<PreparedQuery>>) {
    match store.prepared.get(id) {
        Some(query) => (query.modify_index, seen(std::iter::once(query), may)),
        None => (store.prepared.index, Vec::new()),
    }
}

pub(super) fn all(store: &Store, may: &dyn Authorizer) -> (Index, Vec<Arc<PreparedQuery>>) {
    (store.prepared.index, seen(store.prepared.rows().values(), may))
}

/// The query that would be carried out, filled in.
pub(super) fn explain(store: &Store, name: &str, may: &dyn Authorizer) -> (Index, Vec<Arc<PreparedQuery>>) {
    let found = resolve(store, name).map(Arc::new);
    (store.prepared.index, seen(found.iter(), may))
}

fn seen<'a>(queries: impl Iterator<Item = &'a Arc<PreparedQuery>>, may: &dyn Authorizer) -> Vec<Arc<PreparedQuery>> {
    queries.filter(|query| may.query_read(&query.name)).cloned().collect()
}

/// The query that this name or id means, filled in.
#[must_use]
pub fn resolve(store: &Store, name: &str) -> Option<PreparedQuery> {
    // What cannot be filled in is refused when it is written, by whoever makes the command.
    store.prepared.resolve(name)?.rendered(name).ok()
}

/// Carries a query out; `None`: there is none of this name. Nobody may be left over: then other datacenters would be asked,
/// of which none is known yet.
#[must_use]
pub fn execute(store: &Store, execution: &Execution, may: &dyn Authorizer) -> Option<Executed> {
    let PreparedQuery { service: wanted, dns_ttl, .. } = resolve(store, &execution.name)?;
    let connect = wanted.connect || execution.connect;
    let mut instances: Vec<Instance> = services::rows(store, &folded(&wanted.service))
        .filter(|(node, service)| {
            meta_match(&node.meta, &wanted.node_meta)
                && meta_match(&service.meta, &wanted.service_meta)
                && tags_match(&service.tags, &wanted.tags)
                && (!connect || service.connect.native)
                && super::may_read_instance(may, service)
        })
        .map(|(node, service)| health::instance(store, node, service))
        .filter(|instance| is_healthy(instance, &wanted))
        .collect();
    shuffle(&mut instances, execution.seed);
    let near = if execution.near.is_empty() { &wanted.near } else { &execution.near };
    if let Some(near) = near_node(store, execution, near) {
        // Whoever is there comes first even when, by links of their own, another node is nearer to it than it is to itself.
        instances.sort_by_cached_key(|Instance { node, .. }| {
            (*folded(&node.name) != near, coordinates::round_trip(store, &near, &node.name))
        });
    }
    if execution.limit > 0 {
        instances.truncate(execution.limit);
    }
    Some(Executed { service: wanted.service, instances, dns_ttl })
}

pub(super) fn execution_index(store: &Store, name: &str) -> Index {
    let service = resolve(store, name).map(|query| services::service_index(store, &query.service.service, true));
    store.prepared.index.max(service.unwrap_or_default())
}

fn meta_match(meta: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| meta.get(key) == Some(value))
}

/// All without `!` must be there, none with `!` may be. Case does not count.
fn tags_match(tags: &[String], wanted: &[String]) -> bool {
    let has = |wanted: &str| tags.iter().any(|tag| folded(tag) == folded(wanted));
    wanted.iter().all(|wanted| match wanted.strip_prefix('!') {
        Some(unwanted) => !has(unwanted),
        None => has(wanted),
    })
}

fn is_healthy(instance: &Instance, wanted: &ServiceQuery) -> bool {
    let worst = if wanted.only_passing { Status::Passing } else { Status::Warning };
    let counts = |id: &str| !wanted.ignore_checks.iter().any(|ignored| ignored == id);
    instance.checks.iter().all(|check| check.status <= worst || !counts(&check.id))
}

/// The folded name of the node that `near` means.
fn near_node(store: &Store, execution: &Execution, near: &str) -> Option<String> {
    let name = match near {
        "" => return None,
        "_agent" => &execution.agent,
        "_ip" => &*super::node_at(store, execution.source?)?.name,
        node => node,
    };
    Some(folded(name).into_owned())
}

/// Fisher and Yates.
fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut numbers = SplitMix64::new(seed);
    for last in (1..items.len()).rev() {
        let chosen = numbers.below(last as u64 + 1);
        items.swap(last, usize::try_from(chosen).unwrap_or(last));
    }
}
