//! How the leader tends the servers by itself.

use super::Index;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Consul's autopilot settings, and its defaults. A catalog that nobody has set them in has the defaults, at index 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Autopilot {
    /// Servers that failed are taken off the configuration: when another takes their place, or after a while.
    pub cleanup_dead_servers: bool,
    /// A server that the leader has not heard for longer is not healthy.
    pub last_contact_threshold: Duration,
    /// A server whose log is further behind, in entries, is not healthy, and does not become a voter.
    pub max_trailing_logs: u64,
    /// So many voters are left at least when one that failed is taken off; 0: a majority is enough.
    pub min_quorum: u32,
    /// How long a new server must have been well before it votes.
    pub server_stabilization_time: Duration,
    /// Kept for who sets it, and without effect; likewise the next two. Consul has redundancy zones and upgrades by
    /// migration in its Enterprise release only.
    pub redundancy_zone_tag: String,
    /// See above.
    pub disable_upgrade_migration: bool,
    /// See above.
    pub upgrade_version_tag: String,
    /// The entry of the log that set it first.
    pub create_index: Index,
    /// The entry of the log that changed it last.
    pub modify_index: Index,
}

impl Default for Autopilot {
    fn default() -> Self {
        Self {
            cleanup_dead_servers: true,
            last_contact_threshold: Duration::from_millis(200),
            max_trailing_logs: 250,
            min_quorum: 0,
            server_stabilization_time: Duration::from_secs(10),
            redundancy_zone_tag: String::new(),
            disable_upgrade_migration: false,
            upgrade_version_tag: String::new(),
            create_index: Index(0),
            modify_index: Index(0),
        }
    }
}
