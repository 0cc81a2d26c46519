//! What readers load, wait-free: the catalog as this agent knows it ([`View`]), what the agent knows of itself and of its
//! fellow members ([`LocalView`]), and what never changes while it runs ([`Facts`]).
//!
//! A view is published once per committed batch, before that batch's answers are given, and never changes afterwards.

use crate::gossip::{Member, UserEvent};
use crate::metrics::Telemetry;
use crate::time::Instant;
use ipnet::IpNet;
use lictor_catalog::model::{CheckId, NodeName, ServiceId};
use lictor_catalog::{Check, Coordinate, Index, Node, Service, Store};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// The catalog at one index, and how far it can be trusted.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub store: Store,
    /// Where the leader is, when there is one.
    pub leader: Option<Leader>,
    /// Whether this server leads.
    pub leading: bool,
    /// Rises with every change of leadership.
    pub epoch: u64,
    pub applied: Index,
    /// When this state was last known to lack nothing: a leader was heard that this server has caught up with, or, on the leader
    /// itself, a quorum confirmed it.
    pub heard: Instant,
    /// Until then the leader may answer default reads without asking a quorum.
    pub lease_until: Option<Instant>,
    /// A server that never caught up must not answer reads at all.
    pub caught_up: bool,
    /// The replicated configuration: every server, voters first.
    pub servers: Arc<[Server]>,
}

/// Who leads, and where its internal RPC listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    pub id: Uuid,
    pub rpc: SocketAddr,
}

/// A member of the replicated configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The node's id, which the API shows as the Raft id.
    pub id: Uuid,
    /// Empty while gossip does not know it.
    pub name: NodeName,
    /// `ip:port` of its internal RPC; empty while gossip does not know it.
    pub address: String,
    pub leader: bool,
    pub voter: bool,
    /// How far its log is known to reach.
    pub last_index: Index,
    /// What the leader thinks of it; nobody else knows.
    pub health: Option<Health>,
}

/// How well a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    pub healthy: bool,
    /// How long ago the leader heard it; `None`: never.
    pub last_contact: Option<Duration>,
    /// Since when it has been so.
    pub since: Instant,
}

/// What this agent knows of itself and of its fellow members.
#[derive(Clone, Debug, Default)]
pub struct LocalView {
    pub members: Arc<[Member]>,
    /// What this agent owns.
    pub services: Arc<BTreeMap<ServiceId, Arc<Service>>>,
    pub checks: Arc<BTreeMap<CheckId, Arc<Check>>>,
    pub node: Arc<Node>,
    /// User events that it has heard and that are meant for it, the latest last.
    pub events: Arc<[Arc<UserEvent>]>,
    /// Where it is among its fellow members, as it last told the catalog; none when it does not find that out.
    pub place: Option<Coordinate>,
    /// Rounds of gossip in which nobody was heard, when this was published: 0 is healthy, 8 the worst.
    pub health_score: u32,
}

/// What never changes while the agent runs.
#[derive(Clone, Debug)]
pub struct Facts {
    pub node_name: NodeName,
    pub node_id: Uuid,
    pub datacenter: String,
    pub primary_datacenter: String,
    pub server: bool,
    /// `-dev`: JSON is always indented.
    pub dev: bool,
    /// The address that other members reach this one at.
    pub advertise: IpAddr,
    pub serf_port: u16,
    pub server_port: u16,
    pub ui: bool,
    /// `connect.enabled`: this server shows roots and has certificates signed.
    pub connect: bool,
    /// `disable_coordinates` is not set.
    pub coordinates: bool,
    /// Gossip packets are sealed.
    pub encrypted: bool,
    pub default_query_time: Duration,
    pub max_query_time: Duration,
    /// Bytes of a key's value, and of a transaction's body.
    pub kv_value_max: usize,
    /// Bytes of a transaction's body.
    pub txn_max: usize,
    pub session_ttl_min: Duration,
    /// Sessions end when their TTL has passed, not after twice as long.
    pub session_ttl_exact: bool,
    /// The whole resolved configuration as JSON, secrets hidden (`DebugConfig`).
    pub debug_config: serde_json::Value,
    /// Extra response headers (`http_config.response_headers`).
    pub response_headers: Vec<(String, String)>,
    /// `http_config.block_endpoints`.
    pub block_endpoints: Vec<String>,
    /// `http_config.allow_write_http_from`; empty: from everywhere.
    pub write_from: Vec<IpNet>,
    /// `disable_http_unprintable_char_filter`.
    pub unprintable_paths: bool,
    pub telemetry: Telemetry,
}

/// The release that clients test for.
pub const CONSUL_LEVEL: &str = "1.22.0";
/// This release of lictor.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
