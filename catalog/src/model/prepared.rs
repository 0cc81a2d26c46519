//! A look-up of a service that was thought out beforehand, and is carried out by name.

use super::{Index, Ttl};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A prepared query. A template stands for every name that begins with its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedQuery {
    /// Drawn by the leader.
    pub id: Uuid,
    /// Unique whatever its case, and nobody's id; empty for one that is known by its id alone.
    pub name: String,
    /// The session whose end is the query's end.
    pub session: Option<Uuid>,
    /// With whose rights it is carried out; empty: with those of whoever asks.
    pub token: String,
    /// The strings of `service` are filled in from the name that is asked for.
    pub template: Template,
    /// What is looked up.
    pub service: ServiceQuery,
    /// How long a DNS answer may be kept; empty: as long as any answer about the service.
    pub dns_ttl: Ttl,
    /// The entry of the log that created it.
    pub create_index: Index,
    /// The entry of the log that changed it last.
    pub modify_index: Index,
}

impl PreparedQuery {
    /// Bytes of a name that is looked for at most; DNS cannot ask for longer ones than a quarter of it.
    pub const NAME_MAX: usize = 1024;

    /// Whether it stands for every name that begins with its own.
    #[must_use]
    pub const fn is_template(&self) -> bool {
        self.template.prefix_match
    }
}

/// How a query's strings are filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Of the one type there is, `name_prefix_match`. Without a type nothing is filled in, and the rest is only shown again.
    pub prefix_match: bool,
    /// Matched against the whole name that is asked for, for `${match(N)}`; empty for none.
    pub regexp: String,
    /// Tags that come out empty are left out, not required.
    pub remove_empty_tags: bool,
}

/// Which instances of a service are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceQuery {
    /// The service's name.
    pub service: String,
    /// Where else to look when nobody here is left.
    pub failover: Failover,
    /// Leave out instances in warning too, not only critical ones.
    pub only_passing: bool,
    /// Checks that are not looked at.
    pub ignore_checks: Vec<String>,
    /// Nearest to whom first: a node, `_agent` (the one asked) or `_ip` (the one asking); empty: in random order.
    pub near: String,
    /// Tags that instances must have, and, with a leading `!`, must not have.
    pub tags: Vec<String>,
    /// What their nodes' meta must say.
    pub node_meta: BTreeMap<String, String>,
    /// What their own meta must say.
    pub service_meta: BTreeMap<String, String>,
    /// Only those that speak the mesh's protocol.
    pub connect: bool,
}

/// Where else to look: at the nearest datacenters, then at those named; or at targets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failover {
    /// So many of the nearest datacenters.
    pub nearest: u32,
    /// Datacenters, in this order. Unknown ones are passed over.
    pub datacenters: Vec<String>,
    /// Instead of both.
    pub targets: Vec<FailoverTarget>,
}

/// One place to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverTarget {
    /// A peer of the cluster.
    pub peer: String,
    /// A datacenter.
    pub datacenter: String,
}
