//! The table of checks.

use super::key::{Key, Parts, at, under};
use crate::model::{Check, Index};
use imbl::OrdMap;
use std::sync::Arc;

/// Checks by node and id, and by the instance they speak of. Node checks speak of the instance with the empty id.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Checks {
    /// By node, check id.
    rows: OrdMap<Key<2>, Arc<Check>>,
    /// By node, service id, check id.
    by_instance: OrdMap<Key<3>, Arc<Check>>,
    /// Last change of any check.
    pub(crate) index: Index,
}

impl Checks {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn get(&self, node: &str, id: &str) -> Option<&Arc<Check>> {
        at(&self.rows, &[node, id])
    }

    /// Every check, by node and id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Check>> {
        self.rows.values()
    }

    pub(crate) fn rows(&self) -> &OrdMap<Key<2>, Arc<Check>> {
        &self.rows
    }

    pub(crate) fn of_node(&self, node: &str) -> impl Iterator<Item = &Arc<Check>> + use<'_> {
        under(&self.rows, [node])
    }

    /// The checks of one instance; with an empty `service` those of the node itself.
    pub(crate) fn of_instance(&self, node: &str, service: &str) -> impl Iterator<Item = &Arc<Check>> + use<'_> {
        under(&self.by_instance, [node, service])
    }

    /// Puts a check in place of whatever had its node and id, which is returned.
    pub(crate) fn insert(&mut self, check: Arc<Check>) -> Option<Arc<Check>> {
        let (node, id, service) = (check.node.folded(), check.id.folded(), check.service_id.folded());
        let old = self.rows.insert(Key([Arc::clone(&node), Arc::clone(&id)]), Arc::clone(&check));
        if let Some(old) = &old {
            let old_service = old.service_id.folded();
            if old_service != service {
                self.by_instance.remove(&[&*node, &*old_service, &*id] as &dyn Parts<3>);
            }
        }
        self.by_instance.insert(Key([node, service, id]), check);
        old
    }

    pub(crate) fn remove(&mut self, node: &str, id: &str) -> Option<Arc<Check>> {
        let check = self.rows.remove(&[node, id] as &dyn Parts<2>)?;
        self.by_instance.remove(&[node, &*check.service_id.folded(), id] as &dyn Parts<3>);
        Some(check)
    }
}
