//! The table of checks.

use super::key::{Key, Parts, at, under};
use crate::model::{Check, Index, folded};
use imbl::OrdMap;
use std::sync::Arc;

/// Checks by node and id, and by the instance they speak of. Node checks speak of the instance with the empty id.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Checks {
    /// By node, check id.
    rows: OrdMap<Key<2>, Arc<Check>>,
    /// By node, service id; each list by check id. Lists are short and read far more often than written, so a reader pays
    /// one look-up for an instance, and a writer a copy of its list.
    by_instance: OrdMap<Key<2>, Arc<[Arc<Check>]>>,
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
    pub(crate) fn of_instance(&self, node: &str, service: &str) -> &[Arc<Check>] {
        at(&self.by_instance, &[node, service]).map_or(&[], |checks| checks)
    }

    /// Puts a check in place of whatever had its node and id.
    pub(crate) fn insert(&mut self, check: Arc<Check>) {
        let (node, id, service) = (check.node.folded(), check.id.folded(), check.service_id.folded());
        let old = self.rows.insert(Key([Arc::clone(&node), Arc::clone(&id)]), Arc::clone(&check));
        if let Some(old_service) = old.map(|old| old.service_id.folded()).filter(|old| *old != service) {
            self.list(node.clone(), old_service, &id, None);
        }
        self.list(node, service, &id, Some(check));
    }

    pub(crate) fn remove(&mut self, node: &str, id: &str) -> Option<Arc<Check>> {
        let (key, check) = self.rows.remove_with_key(&[node, id] as &dyn Parts<2>)?;
        let Key([node, id]) = key;
        self.list(node, check.service_id.folded(), &id, None);
        Some(check)
    }

    /// Lists `check` under an instance, or strikes the check with this id off the list.
    fn list(&mut self, node: Arc<str>, service: Arc<str>, id: &str, check: Option<Arc<Check>>) {
        let mut checks = self.of_instance(&node, &service).to_vec();
        let found = checks.binary_search_by(|listed| (*folded(&listed.id)).cmp(id));
        match (found, check) {
            (Ok(at), Some(check)) => checks[at] = check,
            (Err(at), Some(check)) => checks.insert(at, check),
            (Ok(at), None) => drop(checks.remove(at)),
            (Err(_), None) => return,
        }
        if checks.is_empty() {
            self.by_instance.remove(&[&*node, &*service] as &dyn Parts<2>);
        } else {
            self.by_instance.insert(Key([node, service]), checks.into());
        }
    }
}
