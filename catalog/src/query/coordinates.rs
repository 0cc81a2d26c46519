//! Reads of coordinates, and what is nearest.

use super::Rows;
use crate::acl::Authorizer;
use crate::model::{Index, NodeCoordinate, folded};
use crate::store::Store;
use std::sync::Arc;
use std::time::Duration;

pub(super) fn all(store: &Store, may: &dyn Authorizer) -> (Index, Vec<Arc<NodeCoordinate>>) {
    let seen = |row: &&Arc<NodeCoordinate>| may.node_read(&row.node);
    (store.coordinates.index, store.coordinates.rows().values().filter(seen).cloned().collect())
}

pub(super) fn of_node(store: &Store, name: &str, may: &dyn Authorizer) -> (Index, Vec<Arc<NodeCoordinate>>) {
    let row = store.coordinates.get(&folded(name)).filter(|row| may.node_read(&row.node));
    (store.coordinates.index, row.cloned().into_iter().collect())
}

impl Rows {
    /// Puts what is on nodes near to this one first, by the round trip to be expected. What is equally near keeps its order,
    /// nodes without a coordinate come last; and if this node has none itself, everything stays as it is.
    pub fn sort_by_nearness(&mut self, store: &Store, from: &str) {
        let away = |node: &str| round_trip(store, from, node);
        match self {
            Self::Nodes(nodes) => nodes.sort_by_cached_key(|node| away(&node.name)),
            Self::Instances(instances) => instances.sort_by_cached_key(|instance| away(&instance.node.name)),
            Self::Checks(checks) => checks.sort_by_cached_key(|check| away(&check.node)),
            Self::Services(_)
            | Self::Node(_)
            | Self::Dump(_)
            | Self::Coordinates(_)
            | Self::KvEntry(_)
            | Self::KvEntries(_)
            | Self::Keys(_)
            | Self::Sessions(_)
            | Self::PreparedQueries(_)
            | Self::Executed(_)
            | Self::Txn(_)
            | Self::Authority(_) => {}
        }
    }
}

/// The round trip to be expected between two nodes; the longest there is when one of them has no coordinate.
pub(super) fn round_trip(store: &Store, from: &str, to: &str) -> Duration {
    match (store.coordinate(from), store.coordinate(to)) {
        (Some(from), Some(to)) => from.coordinate.round_trip(&to.coordinate),
        _ => Duration::MAX,
    }
}
