//! The table of instances, and the list of service names.

use super::key::{Key, Parts, at, under};
use crate::model::{Index, Service, ServiceName};
use imbl::OrdMap;
use std::sync::Arc;

/// What is known of a service as long as it has an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct NameRow {
    /// Last change to an instance, its checks, its node or that node's checks.
    pub(crate) index: Index,
    instances: u32,
}

/// Instances by node and id, and by service.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Services {
    /// By node, id.
    rows: OrdMap<Key<2>, Arc<Service>>,
    /// By service name, node, id.
    instances: OrdMap<Key<3>, Arc<Service>>,
    names: OrdMap<Arc<str>, NameRow>,
    /// Last change of any instance's own row.
    pub(crate) index: Index,
    /// Last time an instance came or went or changed its name or tags: the index of the list of services.
    pub(crate) list_index: Index,
    /// Last time a service lost its last instance.
    pub(crate) extinct: Index,
}

impl Services {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn get(&self, node: &str, id: &str) -> Option<&Arc<Service>> {
        at(&self.rows, &[node, id])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.rows.values()
    }

    pub(crate) fn rows(&self) -> &OrdMap<Key<2>, Arc<Service>> {
        &self.rows
    }

    pub(crate) fn names(&self) -> &OrdMap<Arc<str>, NameRow> {
        &self.names
    }

    pub(crate) fn of_node(&self, node: &str) -> impl Iterator<Item = &Arc<Service>> + use<'_> {
        under(&self.rows, [node])
    }

    pub(crate) fn of_name(&self, name: &str) -> impl Iterator<Item = &Arc<Service>> + use<'_> {
        under(&self.instances, [name])
    }

    /// Every instance with the folded name of its service, by name, node and id.
    pub(crate) fn by_name(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Service>)> {
        self.instances.iter().map(|(key, service)| (&key.0[0], service))
    }

    pub(crate) fn name(&self, name: &str) -> Option<&NameRow> {
        self.names.get(name)
    }

    /// Folded names of the services on a node, each once.
    pub(crate) fn names_of(&self, node: &str) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self.of_node(node).map(|service| service.name.folded()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The same name, shared with the table where the spelling allows: a thousand instances keep one copy.
    pub(crate) fn shared(&self, name: &ServiceName) -> ServiceName {
        match self.names.get_key_value(name.as_str()) {
            Some((key, _)) => ServiceName::from(Arc::clone(key)),
            None => name.clone(),
        }
    }

    /// Puts an instance in place of whatever had its node and id. The service it leaves, if it leaves one, is returned
    /// with whether that was its last instance.
    pub(crate) fn insert(&mut self, service: Arc<Service>) -> Option<(Arc<str>, bool)> {
        let (node, id, name) = (service.node.folded(), service.id.folded(), service.name.folded());
        let old = self.rows.insert(Key([Arc::clone(&node), Arc::clone(&id)]), Arc::clone(&service));
        let old_name = old.map(|old| old.name.folded());
        let left = match old_name {
            Some(old_name) if old_name == name => None,
            other => {
                self.names.entry(Arc::clone(&name)).or_default().instances += 1;
                other.map(|old_name| {
                    let last = self.leave(&old_name, &node, &id);
                    (old_name, last)
                })
            }
        };
        self.instances.insert(Key([name, node, id]), service);
        left
    }

    /// The removed instance, and whether it was the last of its service.
    pub(crate) fn remove(&mut self, node: &str, id: &str) -> Option<(Arc<Service>, bool)> {
        let service = self.rows.remove(&[node, id] as &dyn Parts<2>)?;
        let last = self.leave(&service.name.folded(), node, id);
        Some((service, last))
    }

    /// Something that readers of the service see has changed. Unknown services are left alone.
    pub(crate) fn bump(&mut self, name: &str, index: Index) {
        if let Some(row) = self.names.get_mut(name) {
            row.index = index;
        }
    }

    /// For restoring: the index of a service, before or after its instances come.
    pub(crate) fn set_name_index(&mut self, name: Arc<str>, index: Index) {
        self.names.entry(name).or_default().index = index;
    }

    fn leave(&mut self, name: &str, node: &str, id: &str) -> bool {
        self.instances.remove(&[name, node, id] as &dyn Parts<3>);
        let Some(row) = self.names.get_mut(name) else { return false };
        row.instances = row.instances.saturating_sub(1);
        let last = row.instances == 0;
        if last {
            self.names.remove(name);
        }
        last
    }
}
