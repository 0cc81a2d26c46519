//! Reads: pure functions of a store.

use crate::acl::Authorizer;
use crate::model::{Check, Index, KvEntry, Node, Service, Status};
use crate::store::{Store, Watch};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A read of the catalog, as a value. Names are compared case-blind. `meta` pairs and `tags` must all match.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Query {
    Nodes {
        meta: Vec<(String, String)>,
    },
    Services {
        meta: Vec<(String, String)>,
    },
    /// A node and its services.
    Node {
        name: String,
    },
    /// Instances of a service, without their checks.
    ServiceNodes {
        name: String,
        tags: Vec<String>,
        meta: Vec<(String, String)>,
    },
    /// Instances of a service with their checks and their nodes' checks.
    HealthService {
        name: String,
        tags: Vec<String>,
        meta: Vec<(String, String)>,
        passing: bool,
    },
    HealthNode {
        name: String,
    },
    HealthChecks {
        service: String,
        meta: Vec<(String, String)>,
    },
    /// `None`: any state.
    HealthState {
        state: Option<Status>,
        meta: Vec<(String, String)>,
    },
    KvGet {
        key: String,
    },
    KvList {
        prefix: String,
    },
    /// Keys under `prefix`, each cut after the first `separator` beyond it (an empty separator cuts nothing).
    KvKeys {
        prefix: String,
        separator: String,
    },
}

/// What a [`Query`] found. Rows are shared with the store, not copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    Nodes(Vec<Arc<Node>>),
    /// Service names with the union of their tags.
    Services(BTreeMap<String, BTreeSet<String>>),
    Node(Option<(Arc<Node>, Vec<Arc<Service>>)>),
    Instances(Vec<Instance>),
    Checks(Vec<Arc<Check>>),
    KvEntry(Option<Arc<KvEntry>>),
    KvEntries(Vec<Arc<KvEntry>>),
    Keys(Vec<String>),
}

/// One instance of a service, its node, and the checks that speak of either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    pub node: Arc<Node>,
    pub service: Arc<Service>,
    /// The node's checks, then the instance's; empty when the query did not ask for checks.
    pub checks: Vec<Arc<Check>>,
}

impl Query {
    /// The answer and its index (`surface/semantics.md` §2), which is never 0.
    #[must_use]
    pub fn run(&self, _store: &Store, _authorizer: &dyn Authorizer) -> (Index, Rows) {
        unreachable!()
    }

    /// What must be touched for the answer to change.
    #[must_use]
    pub fn watches(&self) -> Vec<Watch> {
        unreachable!()
    }
}
