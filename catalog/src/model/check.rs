//! A verdict on a node or on one of its services.

use super::{CheckId, Index, NodeName, ServiceId, ServiceName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The check by which gossip says whether a node lives (Consul's `structs.SerfCheckID`).
pub const SERF_HEALTH: &str = "serfHealth";
/// The check that says that a node is in maintenance (Consul's `structs.NodeMaint`).
pub const NODE_MAINTENANCE: &str = "_node_maintenance";
/// Before the id of an instance, the check that says that it is in maintenance (Consul's `structs.ServiceMaintPrefix`).
const SERVICE_MAINTENANCE: &str = "_service_maintenance:";

impl CheckId {
    /// The check that says that this instance is in maintenance; that the node is, when the id is empty.
    #[must_use]
    pub fn maintenance_of(service_id: &str) -> Self {
        if service_id.is_empty() {
            return NODE_MAINTENANCE.into();
        }
        format!("{SERVICE_MAINTENANCE}{service_id}").into()
    }

    /// Whether it says that something is in maintenance.
    #[must_use]
    pub fn is_maintenance(&self) -> bool {
        **self == *NODE_MAINTENANCE || self.starts_with(SERVICE_MAINTENANCE)
    }
}

/// The verdict of one check. A node check has an empty `service_id`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Where it is.
    pub node: NodeName,
    /// Unique on its node.
    pub id: CheckId,
    /// What people call it.
    pub name: String,
    /// The verdict.
    pub status: Status,
    /// What people noted about it.
    pub notes: String,
    /// What its last run said.
    pub output: String,
    /// The instance it speaks of; empty for the node.
    pub service_id: ServiceId,
    /// That instance's service, filled in by the store.
    pub service_name: ServiceName,
    /// That instance's tags, filled in by the store.
    pub service_tags: Vec<String>,
    /// `http`, `tcp`, `ttl`, …; empty when nothing says how it is run.
    pub kind: String,
    /// Between two runs.
    pub interval: Duration,
    /// After which a run has failed.
    pub timeout: Duration,
    /// The port at which a proxy lets the check through; 0 for none.
    pub exposed_port: u16,
    /// How an external monitor would run it. Catalog registrations only; never run by the servers.
    pub definition: Option<Box<CheckDefinition>>,
    /// The entry of the log that created it.
    pub create_index: Index,
    /// The entry of the log that changed it last.
    pub modify_index: Index,
}

/// Worst last, so that the worst of several is their maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Status {
    /// All is well.
    Passing,
    /// Still serving, but somebody should look.
    Warning,
    /// Not serving; also what a check is before its first verdict.
    #[default]
    Critical,
}

impl Status {
    /// The word used on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The status that `word` names, if any.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Passing, Self::Warning, Self::Critical].into_iter().find(|status| status.as_str() == word)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How an external monitor would run a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckDefinition {
    /// URL to ask.
    pub http: String,
    /// Headers of the request.
    pub header: BTreeMap<String, Vec<String>>,
    /// Its method.
    pub method: String,
    /// Its body.
    pub body: String,
    /// The name expected in the certificate.
    pub tls_server_name: String,
    /// Take any certificate.
    pub tls_skip_verify: bool,
    /// `host:port` to connect to.
    pub tcp: String,
    /// Connect with TLS.
    pub tcp_use_tls: bool,
    /// `host:port` to send to.
    pub udp: String,
    /// `host:port/service` to ask.
    pub grpc: String,
    /// Ask with TLS.
    pub grpc_use_tls: bool,
    /// Service of the operating system to look at.
    pub os_service: String,
    /// Between two runs.
    pub interval: Duration,
    /// After which a run has failed.
    pub timeout: Duration,
    /// How long it may be critical before its service is deregistered; 0 for ever.
    pub deregister_after: Duration,
}
