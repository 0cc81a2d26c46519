//! Nodes with all that is on them, for whoever shows all of it at once.

use super::{Instance, may_read};
use crate::acl::Authorizer;
use crate::model::{Check, Index, Node, Service, folded};
use crate::store::Store;
use std::sync::Arc;

/// A node with all that is on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeDump {
    /// The node.
    pub node: Arc<Node>,
    /// The instances on it, by id.
    pub services: Vec<Arc<Service>>,
    /// Its own checks and those of its services, by id.
    pub checks: Vec<Arc<Check>>,
}

impl NodeDump {
    /// The checks of the node itself.
    pub fn own_checks(&self) -> impl Iterator<Item = &Arc<Check>> {
        self.checks.iter().filter(|check| check.service_id.is_empty())
    }

    /// The checks of an instance on it. One without an id has none: they would be the node's.
    pub fn checks_of(&self, service: &Service) -> impl Iterator<Item = &Arc<Check>> + use<'_> {
        let id = service.id.folded();
        self.checks.iter().filter(move |check| !id.is_empty() && *folded(&check.service_id) == *id)
    }

    /// The instances on it, by id, each with the node's checks and then its own.
    pub fn instances(&self) -> impl Iterator<Item = Instance> {
        self.services.iter().map(|service| {
            let checks = self.own_checks().chain(self.checks_of(service)).cloned().collect();
            Instance { node: Arc::clone(&self.node), service: Arc::clone(service), checks }
        })
    }
}

/// Every node, by name.
pub(super) fn all(store: &Store, may: &dyn Authorizer) -> (Index, Vec<NodeDump>) {
    let index = store.nodes.index.max(store.services.index).max(store.checks.index);
    let seen = store.nodes().filter(|node| may.node_read(&node.name));
    (index, seen.map(|node| dump(store, node, may)).collect())
}

/// One node, if it is there.
pub(super) fn one(store: &Store, name: &str, may: &dyn Authorizer) -> (Index, Vec<NodeDump>) {
    let (index, found) = super::nodes::node(store, name, may);
    (index, found.iter().map(|(node, _)| dump(store, node, may)).collect())
}

fn dump(store: &Store, node: &Arc<Node>, may: &dyn Authorizer) -> NodeDump {
    let key = node.name.folded();
    let services = store.services.of_node(&key).filter(|service| may.service_read(&service.name)).cloned().collect();
    let checks = store.checks.of_node(&key).filter(|check| may_read(may, check)).cloned().collect();
    NodeDump { node: Arc::clone(node), services, checks }
}
