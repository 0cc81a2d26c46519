//! The settings of membership. Owns their defaults; reads no file.

use std::time::Duration;

/// How one agent gossips. The durations are those of Consul's LAN profile where it has them.
#[derive(Clone, Debug)]
pub struct GossipConfig {
    pub datacenter: String,
    /// Two clusters in one datacenter are kept apart by their labels; empty for none.
    pub label: String,
    /// `encrypt`: 16, 24 or 32 bytes choose AES-128, -192 or -256.
    pub key: Option<Vec<u8>>,
    /// Twelve bytes from the operating system's source of randomness, new at each start: where the nonces begin.
    pub nonce_seed: [u8; 12],
    pub probe_period: Duration,
    /// How long a direct probe may take before others, and TCP, are asked.
    pub probe_timeout: Duration,
    /// A suspect has at least this long to refute; more in larger clusters.
    pub suspicion_min: Duration,
    pub gossip_period: Duration,
    pub push_pull_period: Duration,
    /// How often one dead member is dialled again, so that partitions heal.
    pub reconnect_period: Duration,
    /// A dead member is forgotten after this long (`reconnect_timeout`).
    pub reconnect_timeout: Duration,
    /// A member that left is forgotten after this long.
    pub left_timeout: Duration,
    /// How soon a join that was refused for a name in use is tried again.
    pub join_retry: Duration,
    /// An unanswered dial is given up after this long.
    pub dial_timeout: Duration,
    /// Whether this agent finds its place in the network, and tells it those who probe it.
    pub coordinates: bool,
    /// The largest UDP payload.
    pub packet_size_max: usize,
    /// The largest TCP body, either way.
    pub body_size_max: usize,
    /// More members than this are not remembered.
    pub members_max: usize,
    pub dials_max: usize,
}

impl GossipConfig {
    #[must_use]
    pub fn lan(datacenter: &str, nonce_seed: [u8; 12]) -> Self {
        Self {
            datacenter: datacenter.to_owned(),
            label: String::new(),
            key: None,
            nonce_seed,
            probe_period: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            suspicion_min: Duration::from_secs(3),
            gossip_period: Duration::from_millis(200),
            push_pull_period: Duration::from_secs(30),
            reconnect_period: Duration::from_secs(30),
            reconnect_timeout: Duration::from_secs(72 * 3600),
            left_timeout: Duration::from_secs(24 * 3600),
            join_retry: Duration::from_secs(3),
            dial_timeout: Duration::from_secs(5),
            coordinates: true,
            packet_size_max: 1400,
            body_size_max: 8 << 20,
            members_max: 16_384,
            dials_max: 128,
        }
    }
}
