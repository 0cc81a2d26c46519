//! Reads of coordinates, and what is nearest.

use super::Rows;
use crate::acl::Authorizer;
use crate::model::{Index, NodeCoordinate, folded};
use crate::store::Store;
use std::sync::Arc;

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
        let Some(from) = store.coordinate(from) else { return };
        let seconds = |node: &str| {
            let place = store.coordinate(node);
            place.map_or(f64::INFINITY, |place| from.coordinate.distance(&place.coordinate))
        };
        match self {
            Self::Nodes(nodes) => sort(nodes, |node| seconds(&node.name)),
            Self::Instances(instances) => sort(instances, |instance| seconds(&instance.node.name)),
            Self::Checks(checks) => sort(checks, |check| seconds(&check.node)),
            Self::Services(_)
            | Self::Node(_)
            | Self::Coordinates(_)
            | Self::KvEntry(_)
            | Self::KvEntries(_)
            | Self::Keys(_)
            | Self::Sessions(_)
            | Self::Txn(_) => {}
        }
    }
}

fn sort<T>(rows: &mut [T], seconds: impl Fn(&T) -> f64) {
    rows.sort_by_cached_key(|row| Ordered(seconds(row)));
}

/// Numbers in their total order.
#[derive(PartialEq)]
struct Ordered(f64);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
