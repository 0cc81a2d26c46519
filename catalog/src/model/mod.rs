//! What the catalog speaks of. Plain values; nothing here knows how it is stored, sent or shown.

mod authority;
mod autopilot;
mod check;
mod coordinate;
mod kv;
mod name;
mod node;
mod prepared;
mod service;
mod session;
mod template;

pub use authority::{Authority, Signing};
pub use autopilot::Autopilot;
pub use check::{Check, CheckDefinition, NODE_MAINTENANCE, SERF_HEALTH, Status};
pub use coordinate::{Coordinate, DIMENSIONS, NodeCoordinate, NotFinite};
pub use kv::{KvEntry, KvRow};
pub use name::{CheckId, NodeName, ServiceId, ServiceName, folded};
pub use node::Node;
pub use prepared::{Failover, FailoverTarget, PreparedQuery, ServiceQuery, Template};
pub use service::{Connect, Locality, Service, ServiceAddress, ServiceKind, Weights};
pub use session::{BadSequencer, Behavior, LOCK_DELAY_MAX, Sequencer, ServiceCheck, Session, Ttl};
pub use template::BadTemplate;

use serde::{Deserialize, Serialize};
use std::fmt;

/// A position in the replicated log, and what clients see as `X-Consul-Index`. Zero means "never".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Index(pub u64);

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
