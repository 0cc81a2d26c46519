//! The resolved configuration as JSON, under the names that Consul's `DebugConfig` has. Secrets never get in.

use super::resolved::Resolved;
use crate::time::format_duration;
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) fn render(resolved: &Resolved) -> Value {
    let mut all = Map::new();
    for part in [identity(resolved), addresses(resolved), behaviour(resolved), dns(resolved)] {
        if let Value::Object(part) = part {
            all.extend(part);
        }
    }
    Value::Object(all)
}

fn span(duration: Duration) -> String {
    format_duration(duration)
}

fn identity(r: &Resolved) -> Value {
    json!({
        "Datacenter": r.datacenter, "PrimaryDatacenter": r.primary_datacenter, "NodeName": r.node_name,
        "NodeID": r.node_id.map(|id| id.to_string()).unwrap_or_default(),
        "DataDir": r.data_dir.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        "DevMode": r.dev, "ServerMode": r.server, "Bootstrap": r.bootstrap,
        "BootstrapExpect": if r.bootstrap { 0 } else { r.bootstrap_expect },
        "NodeMeta": r.node_meta, "EncryptKey": if r.encrypt.is_some() { "hidden" } else { "" },
        "DisableKeyringFile": r.disable_keyring_file, "EnableDebug": r.enable_debug, "EnableUI": r.ui,
        "LogLevel": r.log.level.name(), "LogJSON": r.log.json,
        "LogFile": r.log.file.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        "PidFile": r.pid_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        "Version": crate::view::CONSUL_LEVEL,
    })
}

fn addresses(r: &Resolved) -> Value {
    let tcp = |address: SocketAddr| format!("tcp://{address}");
    let port = |port: Option<u16>| port.map_or(-1, i32::from);
    let advertised = |port: u16| SocketAddr::new(r.advertise, port);
    let http = r.http.iter().map(|address| match address {
        super::HttpAddr::Tcp(address) => tcp(*address),
        unix @ super::HttpAddr::Unix(_) => unix.to_string(),
    });
    json!({
        "BindAddr": r.bind.to_string(), "AdvertiseAddrLAN": r.advertise.to_string(),
        "AdvertiseAddrWAN": r.advertise.to_string(),
        "SerfAdvertiseAddrLAN": tcp(advertised(r.serf_lan.port())), "SerfBindAddrLAN": tcp(r.serf_lan),
        "SerfAdvertiseAddrWAN": r.serf_wan.map(|address| tcp(advertised(address.port()))),
        "SerfBindAddrWAN": r.serf_wan.map(tcp),
        "RPCBindAddr": tcp(r.server_rpc), "RPCAdvertiseAddr": tcp(advertised(r.server_rpc.port())),
        "HTTPAddrs": http.collect::<Vec<_>>(),
        "DNSAddrs": r.dns.iter().flat_map(|a| [format!("tcp://{a}"), format!("udp://{a}")]).collect::<Vec<_>>(),
        "DNSPort": port(r.ports.dns), "HTTPPort": port(r.ports.http), "HTTPSPort": port(r.ports.https),
        "GRPCPort": port(r.ports.grpc), "GRPCTLSPort": port(r.ports.grpc_tls), "ServerPort": r.ports.server,
        "SerfPortLAN": r.ports.serf_lan, "SerfPortWAN": port(r.ports.serf_wan),
    })
}

fn behaviour(r: &Resolved) -> Value {
    let mut services = Value::Array(r.services.clone());
    let mut checks = Value::Array(r.checks.clone());
    hide(&mut services);
    hide(&mut checks);
    json!({
        "RetryJoinLAN": r.retry_join, "StartJoinAddrsLAN": r.start_join,
        "RetryJoinIntervalLAN": span(r.retry_interval), "RetryJoinMaxAttemptsLAN": r.retry_max,
        "RejoinAfterLeave": r.rejoin_after_leave, "LeaveOnTerm": r.leave_on_terminate,
        "SkipLeaveOnInt": r.skip_leave_on_interrupt, "LeaveDrainTime": span(r.leave_drain_time),
        "ReconnectTimeoutLAN": span(r.reconnect_timeout), "RPCHoldTimeout": span(r.rpc_hold_timeout),
        "EnableLocalScriptChecks": r.enable_local_script_checks, "EnableRemoteScriptChecks": r.enable_script_checks,
        "CheckUpdateInterval": span(r.check_update_interval), "CheckOutputMaxSize": r.check_output_max_size,
        "DiscardCheckOutput": r.discard_check_output, "SessionTTLMin": span(r.session_ttl_min),
        "SessionTTLExact": r.session_ttl_exact,
        "DefaultQueryTime": span(r.default_query_time), "MaxQueryTime": span(r.max_query_time),
        "RaftSnapshotThreshold": r.raft_snapshot_threshold, "RaftSnapshotInterval": span(r.raft_snapshot_interval),
        "RaftTrailingLogs": r.raft_trailing_logs, "KVMaxValueSize": r.limits.kv_max_value_size,
        "TxnMaxReqLen": r.limits.txn_max_req_len, "HTTPMaxConnsPerClient": r.limits.http_max_conns_per_client,
        "HTTPResponseHeaders": r.response_headers.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "HTTPBlockEndpoints": r.block_endpoints, "DisableCoordinates": r.disable_coordinates,
        "Telemetry": {"MetricsPrefix": r.telemetry.prefix, "DisableHostname": r.telemetry.hostname.is_empty(),
                      "FilterDefault": r.telemetry.filter_default, "PrometheusEnabled": r.telemetry.prometheus},
        "ConnectEnabled": r.connect,
        "AutopilotCleanupDeadServers": r.autopilot.cleanup_dead_servers,
        "AutopilotLastContactThreshold": span(r.autopilot.last_contact_threshold),
        "AutopilotMaxTrailingLogs": r.autopilot.max_trailing_logs, "AutopilotMinQuorum": r.autopilot.min_quorum,
        "AutopilotServerStabilizationTime": span(r.autopilot.server_stabilization_time),
        "AutopilotRedundancyZoneTag": r.autopilot.redundancy_zone_tag,
        "AutopilotDisableUpgradeMigration": r.autopilot.disable_upgrade_migration,
        "AutopilotUpgradeVersionTag": r.autopilot.upgrade_version_tag,
        "Services": services, "Checks": checks,
    })
}

fn dns(r: &Resolved) -> Value {
    let dns = &r.dns_config;
    let ttls: Map<String, Value> =
        dns.service_ttl.iter().map(|(name, ttl)| (name.clone(), span(*ttl).into())).collect();
    json!({
        "DNSDomain": dns.domain, "DNSAltDomain": dns.alt_domain, "DNSAllowStale": dns.allow_stale,
        "DNSMaxStale": span(dns.max_stale), "DNSARecordLimit": dns.a_record_limit,
        "DNSUDPAnswerLimit": dns.udp_answer_limit, "DNSEnableTruncate": dns.enable_truncate,
        "DNSOnlyPassing": dns.only_passing, "DNSDisableCompression": dns.disable_compression,
        "DNSNodeMetaTXT": dns.enable_additional_node_meta_txt, "DNSNodeTTL": span(dns.node_ttl), "DNSServiceTTL": ttls,
        "DNSSOA": {"Refresh": dns.soa.refresh, "Retry": dns.soa.retry, "Expire": dns.soa.expire,
                   "Minttl": dns.soa.min_ttl},
    })
}

/// Whatever a definition calls a token, key, secret or password, and every header, which may hold one.
fn hide(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(hide),
        Value::Object(map) => {
            for (key, value) in map {
                let key = key.to_lowercase();
                if ["token", "key", "secret", "password", "header"].iter().any(|word| key.contains(word)) {
                    *value = "hidden".into();
                } else {
                    hide(value);
                }
            }
        }
        _ => {}
    }
}
