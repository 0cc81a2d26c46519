//! Partial stores: the rows that one name needs, for an agent that holds no catalog of its own.
//!
//! A part answers every query about what it covers exactly as the whole store would, index included.

use super::Store;
use crate::model::folded;
use crate::query;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;

/// What a partial store covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// A service: its instances, their nodes, and the checks of both.
    Service(String),
    /// A node and everything on it.
    Node(String),
    /// The nodes, and the instances with their nodes, that have this address.
    Address(IpAddr),
    /// The prepared query that this name or id means, and the service that it looks up.
    Prepared(String),
    /// The servers: the service `consul`.
    Servers,
}

impl Scope {
    /// The one form of equal scopes.
    fn canonical(&self) -> Self {
        match self {
            Self::Service(name) => Self::Service(folded(name).into_owned()),
            Self::Node(name) => Self::Node(folded(name).into_owned()),
            Self::Address(address) => Self::Address(address.to_canonical()),
            Self::Prepared(name) => Self::Prepared(folded(name).into_owned()),
            Self::Servers => Self::Service("consul".to_owned()),
        }
    }
}

impl Store {
    /// Only the rows that `scope` needs, with their indexes.
    #[must_use]
    pub fn part(&self, scope: &Scope) -> Self {
        let scope = scope.canonical();
        let mut part = Self {
            index: self.index,
            time_ms: self.time_ms,
            feature_level: self.feature_level,
            scope: Some(scope.clone()),
            ..Self::default()
        };
        part.copy_indexes(self);
        match scope {
            Scope::Service(name) => part.take_instances(self, &name),
            Scope::Node(name) => part.take_node(self, &name),
            Scope::Address(address) => part.take_address(self, address),
            Scope::Prepared(name) => part.take_prepared(self, &name),
            Scope::Servers => {}
        }
        part
    }

    /// Whether this store answers for `scope` as the whole truth would.
    #[must_use]
    pub fn covers(&self, scope: &Scope) -> bool {
        self.scope.as_ref().is_none_or(|held| *held == scope.canonical())
    }

    fn copy_indexes(&mut self, whole: &Self) {
        self.nodes.index = whole.nodes.index;
        self.services.index = whole.services.index;
        self.services.list_index = whole.services.list_index;
        self.services.extinct = whole.services.extinct;
        self.checks.index = whole.checks.index;
        self.kv.index = whole.kv.index;
        self.kv.tombstones_index = whole.kv.tombstones_index;
        self.prepared.index = whole.prepared.index;
    }

    fn take_instances(&mut self, whole: &Self, name: &str) {
        for service in whole.services.of_name(name) {
            let (node, id) = (folded(&service.node), folded(&service.id));
            self.take_node_row(whole, &node);
            self.services.insert(Arc::clone(service));
            for check in whole.checks.of_instance(&node, &id).iter().chain(whole.checks.of_instance(&node, "")) {
                self.checks.insert(Arc::clone(check));
            }
        }
        self.take_name_index(whole, name);
    }

    fn take_node(&mut self, whole: &Self, name: &str) {
        self.take_node_row(whole, name);
        for service in whole.services.of_node(name) {
            self.services.insert(Arc::clone(service));
            self.take_name_index(whole, &folded(&service.name));
        }
        for check in whole.checks.of_node(name) {
            self.checks.insert(Arc::clone(check));
        }
    }

    fn take_address(&mut self, whole: &Self, address: IpAddr) {
        let (nodes, services) = query::at_address(whole, address);
        for node in nodes {
            self.take_node_row(whole, &folded(&node.name));
        }
        for service in services {
            self.take_node_row(whole, &folded(&service.node));
            self.take_name_index(whole, &folded(&service.name));
            self.services.insert(service);
        }
    }

    fn take_prepared(&mut self, whole: &Self, name: &str) {
        let Some(row) = whole.prepared.resolve(name) else { return };
        self.prepared.insert(Arc::clone(row));
        if let Some(query) = query::resolve(whole, name) {
            self.take_instances(whole, &folded(&query.service.service));
        }
    }

    fn take_node_row(&mut self, whole: &Self, key: &str) {
        if let Some(row) = whole.nodes.get(key) {
            self.nodes.insert(row.clone());
        }
    }

    fn take_name_index(&mut self, whole: &Self, name: &str) {
        if let Some((key, row)) = whole.services.names().get_key_value(name) {
            self.services.set_name_index(Arc::clone(key), row.index);
        }
    }
}
