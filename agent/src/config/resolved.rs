//! The configuration as the rest of the agent sees it: complete, typed and checked.

use super::address::HttpAddr;
use crate::metrics::Telemetry;
use ipnet::IpNet;
use lictor_catalog::Autopilot;
use lictor_catalog::model::Signing;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use uuid::Uuid;

/// What the agent runs with.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub datacenter: String,
    pub primary_datacenter: String,
    pub node_name: String,
    /// Given by the operator; otherwise the one kept in the data directory, or a new one.
    pub node_id: Option<Uuid>,
    /// Absent with `-dev`: everything stays in memory.
    pub data_dir: Option<PathBuf>,
    /// Files and directories that were read, in their order.
    pub config_paths: Vec<PathBuf>,
    pub dev: bool,
    pub server: bool,
    pub bootstrap: bool,
    /// 1 with `bootstrap`; 0 on clients and on servers that only join.
    pub bootstrap_expect: u32,
    pub ui: bool,
    pub enable_debug: bool,

    pub bind: IpAddr,
    pub advertise: IpAddr,
    /// Empty when `ports.http` is negative; likewise `dns`.
    pub http: Vec<HttpAddr>,
    pub dns: Vec<SocketAddr>,
    pub serf_lan: SocketAddr,
    pub serf_wan: Option<SocketAddr>,
    pub server_rpc: SocketAddr,
    pub ports: Ports,

    pub retry_join: Vec<String>,
    pub start_join: Vec<String>,
    pub retry_interval: Duration,
    /// Attempts; 0 never gives up.
    pub retry_max: u32,
    pub rejoin_after_leave: bool,
    pub leave_on_terminate: bool,
    pub skip_leave_on_interrupt: bool,
    pub reconnect_timeout: Duration,
    pub leave_drain_time: Duration,
    pub rpc_hold_timeout: Duration,

    pub node_meta: BTreeMap<String, String>,
    /// Besides those that follow from `advertise`, or in their place.
    pub tagged_addresses: BTreeMap<String, String>,
    /// 16, 24 or 32 bytes.
    pub encrypt: Option<Vec<u8>>,
    pub disable_keyring_file: bool,
    pub disable_coordinates: bool,

    pub log: LogConfig,
    pub pid_file: Option<PathBuf>,

    pub enable_script_checks: bool,
    pub enable_local_script_checks: bool,
    pub check_update_interval: Duration,
    pub check_output_max_size: usize,
    pub discard_check_output: bool,
    pub session_ttl_min: Duration,
    /// A session ends when its TTL has passed, not, as in Consul, after twice as long.
    pub session_ttl_exact: bool,

    pub default_query_time: Duration,
    pub max_query_time: Duration,
    /// None: lictor's own timing.
    pub raft_multiplier: Option<u32>,
    pub raft_snapshot_threshold: u64,
    pub raft_snapshot_interval: Duration,
    pub raft_trailing_logs: u64,
    pub limits: Limits,
    pub dns_config: DnsConfig,
    /// Names as written, sorted.
    pub response_headers: Vec<(String, String)>,
    pub block_endpoints: Vec<String>,
    /// Where writes may come from; everywhere if empty.
    pub write_from: Vec<IpNet>,
    /// Paths of HTTP may hold what cannot be printed.
    pub unprintable_paths: bool,
    pub telemetry: Telemetry,
    /// Roots are shown and certificates signed.
    pub connect: bool,
    /// Of which trust domain the first leader makes a root, a random one unless given, and what it signs by until somebody
    /// sets it for all servers.
    pub trust_domain: Option<Uuid>,
    pub signing: Signing,
    /// How servers are tended until somebody sets it for all of them.
    pub autopilot: Autopilot,

    /// Definitions as written, already found valid by `ServiceSpec::parse` and `CheckSpec::parse`.
    pub services: Vec<Value>,
    pub checks: Vec<Value>,

    /// All of this as JSON under Consul's names, with secrets as `hidden` (`DebugConfig` in `agent/self`).
    pub debug: Value,
    /// For the log, once there is one.
    pub warnings: Vec<String>,
}

/// `None` is switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    pub dns: Option<u16>,
    pub http: Option<u16>,
    pub https: Option<u16>,
    pub grpc: Option<u16>,
    pub grpc_tls: Option<u16>,
    pub serf_lan: u16,
    pub serf_wan: Option<u16>,
    pub server: u16,
}

/// How much is logged, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    pub level: LogLevel,
    pub json: bool,
    pub file: Option<PathBuf>,
    /// 0: no limit.
    pub rotate_bytes: u64,
    pub rotate_duration: Duration,
    /// Old files that are kept; 0 keeps all.
    pub rotate_max_files: u32,
}

/// In rising order of importance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    /// By name, whatever its case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "trace" => Some(Self::Trace),
            "debug" => Some(Self::Debug),
            "info" => Some(Self::Info),
            "warn" | "warning" => Some(Self::Warn),
            "err" | "error" => Some(Self::Error),
            _ => None,
        }
    }

    /// In capitals, as Consul shows it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub kv_max_value_size: usize,
    /// Never less than `kv_max_value_size`.
    pub txn_max_req_len: usize,
    /// 0: no limit.
    pub http_max_conns_per_client: usize,
}

/// `dns_config`, `domain` and `alt_domain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsConfig {
    /// With the dot at the end; likewise `alt_domain`, which is empty when there is none.
    pub domain: String,
    pub alt_domain: String,
    pub allow_stale: bool,
    pub max_stale: Duration,
    /// 0: no limit.
    pub a_record_limit: usize,
    pub udp_answer_limit: usize,
    pub enable_truncate: bool,
    pub only_passing: bool,
    pub disable_compression: bool,
    pub enable_additional_node_meta_txt: bool,
    pub node_ttl: Duration,
    /// By service name, by a prefix and `*`, or `*` for all.
    pub service_ttl: BTreeMap<String, Duration>,
    pub soa: Soa,
}

/// Seconds, as they stand in the SOA record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Soa {
    pub refresh: u32,
    pub retry: u32,
    pub expire: u32,
    pub min_ttl: u32,
}
