//! The table of coordinates: at most one to a node, gone with it.

use super::apply::Change;
use super::{Store, Watch};
use crate::model::{Index, NodeCoordinate, folded};
use imbl::OrdMap;
use std::sync::Arc;

/// Coordinates by folded node name.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Coordinates {
    rows: OrdMap<Arc<str>, Arc<NodeCoordinate>>,
    /// Last change of any.
    pub(crate) index: Index,
}

impl Coordinates {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Arc<NodeCoordinate>> {
        self.rows.get(key)
    }

    pub(crate) fn rows(&self) -> &OrdMap<Arc<str>, Arc<NodeCoordinate>> {
        &self.rows
    }

    pub(crate) fn insert(&mut self, row: Arc<NodeCoordinate>) {
        self.rows.insert(row.node.folded(), row);
    }
}

impl Store {
    /// Places a node that is there. Those who send coordinates may be behind, so an unknown node is no mistake of theirs.
    pub(super) fn place_node(&mut self, placed: &NodeCoordinate, change: &mut Change) {
        let Some(row) = self.nodes.get(&folded(&placed.node)) else { return };
        let placed = NodeCoordinate { node: row.node.name.clone(), coordinate: placed.coordinate };
        if self.coordinates.get(&folded(&placed.node)).is_some_and(|old| **old == placed) {
            return;
        }
        self.coordinates.insert(Arc::new(placed));
        self.coordinates.index = change.index;
        change.touch(Watch::Coordinates);
    }

    /// The node is gone.
    pub(super) fn displace_node(&mut self, key: &str, change: &mut Change) {
        if self.coordinates.rows.remove(key).is_some() {
            self.coordinates.index = change.index;
            change.touch(Watch::Coordinates);
        }
    }
}
