//! Registration and removal of nodes, services and checks: what the rows become, and whose index moves with them.
//!
//! Who is told of a change: a node's own row and its node checks are seen by readers of the node and of every service on
//! it; an instance and its checks by readers of the node and of that service.

use super::apply::Change;
use super::nodes::NodeRow;
use super::{Refusal, Store, Watch};
use crate::command::Register;
use crate::model::{Check, CheckId, Node, SERF_HEALTH, Service, ServiceId, ServiceName, Status, folded};
use std::sync::Arc;

impl Store {
    /// All or nothing: everything that can be refused is refused before the first change.
    pub(super) fn register(&mut self, register: &Register, change: &mut Change) -> Result<(), Refusal> {
        let renamed = self.admit(register)?;
        if let Some(old) = renamed {
            self.remove_node(&old, change);
        }
        let node = self.put_node(register, change);
        if let Some(service) = &register.service {
            self.put_service(&node, service, change);
        }
        let mut node_checks_changed = false;
        for check in &register.checks {
            node_checks_changed |= self.put_check(&node, check, change);
        }
        if node_checks_changed {
            self.bump_services_of(&node.name.folded(), change);
        }
        Ok(())
    }

    /// Whether the registration makes sense; if its node id moves here from another name, that name (folded).
    fn admit(&self, register: &Register) -> Result<Option<Arc<str>>, Refusal> {
        let key = folded(&register.node.name);
        let existing = self.nodes.get(&key).map(|row| &row.node);
        let mut renamed = None;
        if existing.is_none() || !register.skip_node_update {
            renamed = self.admit_id(&register.node, existing)?;
        }
        for check in register.checks.iter().filter(|check| !check.service_id.is_empty()) {
            let id = folded(&check.service_id);
            let along = register.service.as_ref().is_some_and(|service| folded(instance_id(service)) == id);
            if !along && self.services.get(&key, &id).is_none() {
                let service = check.service_id.as_str().to_owned();
                return Err(Refusal::MissingService { node: register.node.name.clone(), service });
            }
        }
        Ok(renamed)
    }

    /// Neither an id nor a name may be taken from a node that lives. Gossip settles such conflicts; this is the last line.
    fn admit_id(&self, node: &Node, existing: Option<&Arc<Node>>) -> Result<Option<Arc<str>>, Refusal> {
        let Some(id) = node.id else { return Ok(None) };
        if let Some(&Node { id: Some(holder), ref name, .. }) = existing.map(|existing| &**existing)
            && holder != id
            && self.lives(&name.folded())
        {
            return Err(Refusal::NameTaken { node: node.name.clone(), holder });
        }
        let key = folded(&node.name);
        let other = self.nodes.by_id(id).map(|row| &row.node).filter(|other| *folded(&other.name) != *key);
        match other {
            Some(other) if self.lives(&other.name.folded()) => {
                Err(Refusal::IdTaken { id, node: node.name.clone(), holder: other.name.clone() })
            }
            other => Ok(other.map(|other| other.name.folded())),
        }
    }

    fn lives(&self, node: &str) -> bool {
        self.check(node, SERF_HEALTH).is_some_and(|check| check.status == Status::Passing)
    }

    /// The node's row as it stands afterwards. A node keeps the spelling it came with, since every row on it repeats it,
    /// and keeps its id when registered by hand without one.
    fn put_node(&mut self, register: &Register, change: &mut Change) -> Arc<Node> {
        let key = register.node.name.folded();
        let old = self.nodes.get(&key).map(|row| Arc::clone(&row.node));
        let mut node = register.node.clone();
        (node.create_index, node.modify_index) = (change.index, change.index);
        if let Some(old) = old {
            node.name = old.name.clone();
            node.id = node.id.or(old.id);
            (node.create_index, node.modify_index) = (old.create_index, old.modify_index);
            if register.skip_node_update || node == *old {
                return old;
            }
            node.modify_index = change.index;
        }
        let node = Arc::new(node);
        self.nodes.insert(NodeRow { node: Arc::clone(&node), index: change.index });
        self.nodes.index = change.index;
        change.touch(Watch::Nodes);
        change.touch(Watch::Node(Arc::clone(&key)));
        self.bump_services_of(&key, change);
        node
    }

    fn put_service(&mut self, node: &Node, service: &Service, change: &mut Change) {
        let mut row = service.clone();
        row.node = node.name.clone();
        row.id = ServiceId::from(instance_id(service));
        row.name = self.services.shared(&row.name);
        (row.create_index, row.modify_index) = (change.index, change.index);
        let key = row.node.folded();
        let old = self.services.get(&key, &row.id.folded()).cloned();
        if let Some(old) = &old {
            (row.create_index, row.modify_index) = (old.create_index, old.modify_index);
            if row == **old {
                return;
            }
            row.modify_index = change.index;
        }
        let relabelled = old.as_deref().is_none_or(|old| old.name != row.name || old.tags != row.tags);
        let respelled = old.as_deref().is_some_and(|old| old.id != row.id);
        if relabelled {
            self.services.list_index = change.index;
            change.touch(Watch::Services);
        }
        let row = Arc::new(row);
        if let Some((left, last)) = self.services.insert(Arc::clone(&row)) {
            self.bump_left(left, last, change);
        }
        self.services.index = change.index;
        self.bump_service(row.name.folded(), change);
        self.bump_node(&key, change);
        if old.is_some() && (relabelled || respelled) {
            self.relabel_checks(&key, &row, change);
        }
    }

    /// Checks repeat the name and tags of their service.
    fn relabel_checks(&mut self, node: &str, service: &Service, change: &mut Change) {
        let checks = self.checks.of_instance(node, &service.id.folded()).to_vec();
        for check in checks {
            self.write_check(Check { modify_index: change.index, ..labelled(&check, service) }, change);
        }
    }

    /// Whether a node check came, changed or went, which every service on the node must be told.
    fn put_check(&mut self, node: &Node, check: &Check, change: &mut Change) -> bool {
        let key = node.name.folded();
        let service = match check.service_id.is_empty() {
            true => None,
            false => self.services.get(&key, &folded(&check.service_id)).cloned(),
        };
        let mut row = match &service {
            Some(service) => labelled(check, service),
            None => Check {
                service_id: ServiceId::default(),
                service_name: ServiceName::default(),
                service_tags: Vec::new(),
                ..check.clone()
            },
        };
        row.node = node.name.clone();
        if row.id.is_empty() {
            row.id = CheckId::from(row.name.as_str());
        }
        (row.create_index, row.modify_index) = (change.index, change.index);
        let old = self.checks.get(&key, &row.id.folded()).cloned();
        if let Some(old) = &old {
            (row.create_index, row.modify_index) = (old.create_index, old.modify_index);
            if row == **old {
                return false;
            }
            row.modify_index = change.index;
        }
        self.write_check(row, change);
        self.bump_node(&key, change);
        let spoke_of = old.map(|old| old.service_name.folded());
        let speaks_of = service.map_or_else(|| Arc::from(""), |service| service.name.folded());
        let mut of_node = false;
        for name in spoke_of.into_iter().chain([speaks_of]) {
            match name.is_empty() {
                true => of_node = true,
                false => self.bump_service(name, change),
            }
        }
        of_node
    }

    fn write_check(&mut self, check: Check, change: &mut Change) {
        let critical = (check.status == Status::Critical).then(|| (check.node.folded(), check.id.folded()));
        self.checks.insert(Arc::new(check));
        self.checks.index = change.index;
        change.touch(Watch::Checks);
        if let Some((node, id)) = critical {
            self.end_sessions_needing(&node, &id, change);
        }
    }

    /// The node and everything on it.
    pub(super) fn remove_node(&mut self, key: &str, change: &mut Change) {
        if self.nodes.remove(key).is_none() {
            return;
        }
        self.nodes.index = change.index;
        change.touch(Watch::Nodes);
        change.touch(Watch::Node(Arc::from(key)));
        self.displace_node(key, change);
        self.end_sessions_of(key, change);
        let services: Vec<_> = self.services.of_node(key).map(|service| service.id.folded()).collect();
        for id in services {
            self.take_service(key, &id, change);
        }
        let checks: Vec<_> = self.checks.of_node(key).map(|check| check.id.folded()).collect();
        for id in checks {
            self.take_check(key, &id, change);
        }
    }

    /// The instance and its checks.
    pub(super) fn remove_service(&mut self, node: &str, id: &str, change: &mut Change) {
        if !self.take_service(node, id, change) {
            return;
        }
        let checks: Vec<_> = self.checks.of_instance(node, id).iter().map(|check| check.id.folded()).collect();
        for id in checks {
            self.take_check(node, &id, change);
        }
        self.bump_node(node, change);
    }

    pub(super) fn remove_check(&mut self, node: &str, id: &str, change: &mut Change) {
        let Some(check) = self.take_check(node, id, change) else { return };
        self.bump_node(node, change);
        match check.service_id.is_empty() {
            true => self.bump_services_of(node, change),
            false => self.bump_service(check.service_name.folded(), change),
        }
    }

    fn take_service(&mut self, node: &str, id: &str, change: &mut Change) -> bool {
        let Some((service, last)) = self.services.remove(node, id) else { return false };
        self.services.index = change.index;
        self.services.list_index = change.index;
        change.touch(Watch::Services);
        self.bump_left(service.name.folded(), last, change);
        true
    }

    fn take_check(&mut self, node: &str, id: &str, change: &mut Change) -> Option<Arc<Check>> {
        let check = self.checks.remove(node, id)?;
        self.checks.index = change.index;
        change.touch(Watch::Checks);
        self.end_sessions_needing(node, id, change);
        Some(check)
    }

    /// An instance left this service; if it was the last one, readers of any missing service learn a new index.
    fn bump_left(&mut self, name: Arc<str>, last: bool, change: &mut Change) {
        if last {
            self.services.extinct = change.index;
        }
        self.bump_service(name, change);
    }

    fn bump_service(&mut self, name: Arc<str>, change: &mut Change) {
        self.services.bump(&name, change.index);
        change.touch(Watch::Service(name));
    }

    fn bump_services_of(&mut self, node: &str, change: &mut Change) {
        for name in self.services.names_of(node) {
            self.bump_service(name, change);
        }
    }

    fn bump_node(&mut self, key: &str, change: &mut Change) {
        self.nodes.bump(key, change.index);
        change.touch(Watch::Node(Arc::from(key)));
    }
}

/// The check as it speaks of `service`.
fn labelled(check: &Check, service: &Service) -> Check {
    Check {
        service_id: service.id.clone(),
        service_name: service.name.clone(),
        service_tags: service.tags.clone(),
        ..check.clone()
    }
}

/// Callers fill the id in; should one forget, the name is what Consul would have taken.
fn instance_id(service: &Service) -> &str {
    if service.id.is_empty() { &service.name } else { &service.id }
}
