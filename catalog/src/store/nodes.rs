//! The table of nodes.

use crate::model::{Index, Node};
use imbl::OrdMap;
use std::sync::Arc;
use uuid::Uuid;

/// A node and the index of the last change to it or to anything on it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NodeRow {
    pub(crate) node: Arc<Node>,
    pub(crate) index: Index,
}

/// Nodes by folded name and by id.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Nodes {
    rows: OrdMap<Arc<str>, NodeRow>,
    by_id: OrdMap<Uuid, Arc<str>>,
    /// Last change of any node's own row.
    pub(crate) index: Index,
}

impl Nodes {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&NodeRow> {
        self.rows.get(key)
    }

    pub(crate) fn by_id(&self, id: Uuid) -> Option<&NodeRow> {
        self.by_id.get(&id).and_then(|key| self.rows.get(&**key))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &NodeRow> {
        self.rows.values()
    }

    pub(crate) fn rows(&self) -> &OrdMap<Arc<str>, NodeRow> {
        &self.rows
    }

    /// Puts a row in place of whatever had its name.
    pub(crate) fn insert(&mut self, row: NodeRow) {
        let key = row.node.name.folded();
        let id = row.node.id;
        let old = self.rows.insert(Arc::clone(&key), row).and_then(|old| old.node.id);
        if old != id {
            self.forget(old, &key);
        }
        if let Some(id) = id {
            self.by_id.insert(id, key);
        }
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<NodeRow> {
        let row = self.rows.remove(key)?;
        self.forget(row.node.id, key);
        Some(row)
    }

    /// Something on the node changed.
    pub(crate) fn bump(&mut self, key: &str, index: Index) {
        if let Some(row) = self.rows.get_mut(key) {
            row.index = index;
        }
    }

    fn forget(&mut self, id: Option<Uuid>, key: &str) {
        if let Some(id) = id.filter(|id| self.by_id.get(id).is_some_and(|held| &**held == key)) {
            self.by_id.remove(&id);
        }
    }
}
