//! Every key that Consul's configuration knows, what it holds, and whether lictor does anything with it yet. A key that is
//! not here is refused, with the nearest one that is.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    Number,
    Text,
    /// A Go duration string.
    Duration,
    Texts,
    TextMap,
    /// Blocks of `service` or `check`, one or many, gathered under the plural.
    Definitions,
    /// Read later by whoever it belongs to.
    Anything,
}

/// What lictor does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Built,
    /// Consul would behave differently: accepted with a warning.
    Later,
    /// Accepted silently: it changes nothing that anybody could see here.
    Inert,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) kind: Kind,
    pub(crate) standing: Standing,
}

use Kind::{Anything, Boolean, Definitions, Duration, Number, Text, TextMap, Texts};
use Standing::{Built, Inert, Later};

/// Paths, separated by blanks; a block is named by the paths of its keys.
const TABLE: &[(Standing, Kind, &str)] = &[
    (
        Built,
        Boolean,
        "server bootstrap disable_host_node_id leave_on_terminate skip_leave_on_interrupt log_json \
         enable_script_checks enable_local_script_checks discard_check_output \
         dns_config.allow_stale dns_config.enable_truncate dns_config.only_passing dns_config.disable_compression \
         dns_config.enable_additional_node_meta_txt telemetry.disable_hostname telemetry.filter_default disable_coordinates disable_kv_key_validation session_ttl_exact \
         disable_http_unprintable_char_filter \
         connect.enabled autopilot.cleanup_dead_servers autopilot.disable_upgrade_migration",
    ),
    (
        Built,
        Number,
        "bootstrap_expect retry_max check_output_max_size \
         ports.dns ports.http ports.serf_lan ports.serf_wan ports.server \
         dns_config.a_record_limit dns_config.udp_answer_limit dns_config.soa.refresh dns_config.soa.retry \
         dns_config.soa.expire dns_config.soa.min_ttl performance.raft_multiplier limits.kv_max_value_size \
         limits.txn_max_req_len limits.http_max_conns_per_client \
         autopilot.max_trailing_logs autopilot.min_quorum",
    ),
    (
        Built,
        Text,
        "datacenter primary_datacenter acl_datacenter data_dir node_name node_id bind_addr advertise_addr \
         advertise_addr_ipv4 advertise_addr_ipv6 serf_lan client_addr addresses.dns addresses.http domain alt_domain \
         encrypt log_level pid_file telemetry.metrics_prefix autopilot.redundancy_zone_tag \
         connect.ca_provider autopilot.upgrade_version_tag",
    ),
    (
        Built,
        Duration,
        "retry_interval reconnect_timeout check_update_interval default_query_time max_query_time session_ttl_min \
         dns_config.max_stale dns_config.node_ttl performance.rpc_hold_timeout telemetry.prometheus_retention_time \
         autopilot.last_contact_threshold autopilot.server_stabilization_time",
    ),
    (
        Built,
        Texts,
        "retry_join start_join http_config.block_endpoints http_config.allow_write_http_from telemetry.prefix_filter",
    ),
    (Built, TextMap, "node_meta tagged_addresses dns_config.service_ttl http_config.response_headers"),
    (Built, Anything, "connect.ca_config"),
    (Built, Definitions, "service services check checks"),
    (
        Later,
        Boolean,
        "ui ui_config.enabled enable_debug rejoin_after_leave acl.enabled acl.enable_key_list_policy acl.enable_token_replication acl.enable_token_persistence \
         acl_enable_key_list_policy acl_enforce_version_8 translate_wan_addrs enable_syslog enable_agent_tls_for_checks \
         verify_incoming verify_incoming_rpc verify_incoming_https verify_outgoing verify_server_hostname \
         auto_reload_config auto_encrypt.tls auto_encrypt.allow_tls \
         connect.enable_mesh_gateway_wan_federation \
         tls.defaults.verify_incoming tls.defaults.verify_outgoing tls.defaults.verify_server_hostname \
         tls.internal_rpc.verify_incoming tls.internal_rpc.verify_outgoing tls.internal_rpc.verify_server_hostname \
         tls.https.verify_incoming tls.https.verify_outgoing tls.grpc.verify_incoming tls.grpc.use_auto_cert",
    ),
    (
        Inert,
        Boolean,
        "disable_keyring_file disable_remote_exec disable_update_check disable_anonymous_signature \
         enable_central_service_config use_streaming_backend rpc.enable_streaming encrypt_verify_incoming \
         encrypt_verify_outgoing dns_config.use_cache http_config.use_cache telemetry.enable_host_metrics telemetry.disable_per_tenancy_usage_metrics \
         telemetry.retry_failed_connection telemetry.disable_compat_1.9 telemetry.disable_service_metrics \
         peering.enabled enable_acl_replication \
         tls_prefer_server_cipher_suites",
    ),
    (
        Later,
        Text,
        "log_file acl.default_policy acl.down_policy acl.tokens.initial_management acl.tokens.master acl.tokens.default \
         acl.tokens.agent acl.tokens.agent_recovery acl.tokens.agent_master acl.tokens.replication \
         acl.tokens.config_file_service_registration acl.tokens.dns acl_default_policy acl_down_policy acl_token \
         acl_agent_token acl_agent_master_token acl_master_token acl_replication_token advertise_addr_wan \
         advertise_addr_wan_ipv4 advertise_addr_wan_ipv6 ca_file ca_path cert_file key_file tls_min_version \
         tls_cipher_suites addresses.https addresses.grpc addresses.grpc_tls dns_config.recursor_strategy \
         ui_dir ui_config.dir syslog_facility serf_wan \
         tls.defaults.ca_file tls.defaults.ca_path tls.defaults.cert_file tls.defaults.key_file \
         tls.defaults.tls_min_version tls.defaults.tls_cipher_suites tls.internal_rpc.ca_file tls.internal_rpc.ca_path \
         tls.internal_rpc.cert_file tls.internal_rpc.key_file tls.internal_rpc.tls_min_version \
         tls.internal_rpc.tls_cipher_suites tls.https.ca_file tls.https.ca_path tls.https.cert_file tls.https.key_file \
         tls.https.tls_min_version tls.https.tls_cipher_suites tls.grpc.ca_file tls.grpc.ca_path tls.grpc.cert_file \
         tls.grpc.key_file tls.grpc.tls_min_version tls.grpc.tls_cipher_suites telemetry.statsd_address \
         telemetry.statsite_address telemetry.dogstatsd_addr unix_sockets.user unix_sockets.group unix_sockets.mode \
         limits.request_limits.mode",
    ),
    (
        Inert,
        Text,
        "server_name license_path partition version protocol_version version_prerelease build_date ui_content_path \
         ui_config.content_path ui_config.metrics_provider ui_config.metrics_provider_options_json",
    ),
    (
        Later,
        Texts,
        "recursors retry_join_wan start_join_wan serf_lan_allowed_cidrs serf_wan_allowed_cidrs \
         telemetry.dogstatsd_tags",
    ),
    (Inert, Texts, "experiments"),
    (
        Later,
        Number,
        "raft_snapshot_threshold raft_trailing_logs ports.https ports.grpc ports.grpc_tls http_config.max_header_bytes",
    ),
    (Later, Duration, "raft_snapshot_interval discovery_max_stale performance.leave_drain_time"),
    (
        Inert,
        Number,
        "log_rotate_bytes log_rotate_max_files protocol raft_protocol \
         retry_max_wan ports.proxy_min_port ports.proxy_max_port ports.sidecar_min_port ports.sidecar_max_port \
         ports.expose_min_port ports.expose_max_port limits.rpc_rate limits.rpc_max_burst \
         limits.rpc_max_conns_per_client limits.request_limits.read_rate limits.request_limits.write_rate \
         cache.entry_fetch_max_burst cache.entry_fetch_rate",
    ),
    (
        Inert,
        Duration,
        "log_rotate_duration \
         retry_interval_wan reconnect_timeout_wan server_rejoin_age_max acl_ttl acl.policy_ttl \
         acl.role_ttl acl.token_ttl acl.disabled_ttl dns_config.recursor_timeout dns_config.cache_max_age \
         performance.grpc_keepalive_interval performance.grpc_keepalive_timeout limits.https_handshake_timeout \
         limits.rpc_handshake_timeout limits.rpc_client_timeout",
    ),
    (Later, Anything, "watches config_entries segments cloud auto_config"),
    (
        Inert,
        Anything,
        "segment partition_config locality audit reporting xds raft_logstore raft_boltdb gossip_lan gossip_wan \
         ui_config.metrics_proxy ui_config.dashboard_url_templates \
         ui_config.metrics_provider_files dns_config.prefer_namespace",
    ),
];

static KEYS: LazyLock<BTreeMap<&'static str, Key>> = LazyLock::new(|| {
    let mut keys = BTreeMap::new();
    for &(standing, kind, paths) in TABLE {
        keys.extend(paths.split_whitespace().map(|path| (path, Key { kind, standing })));
    }
    keys
});

/// What stands at a path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Key(&'static str, Key),
    /// A block whose keys the table names.
    Block,
    Unknown,
}

/// Looks a lower-case path up. Below a key that holds anything, everything is known.
pub(crate) fn find(path: &str) -> Place {
    if let Some((&path, &key)) = KEYS.get_key_value(path) {
        return Place::Key(path, key);
    }
    let prefix = format!("{path}.");
    match KEYS.range(prefix.as_str()..).next() {
        Some((key, _)) if key.starts_with(&prefix) => Place::Block,
        _ => Place::Unknown,
    }
}

/// The known path nearest to an unknown one, if any is near enough to be what was meant.
pub(crate) fn nearest(path: &str) -> Option<&'static str> {
    let blocks = KEYS.keys().filter_map(|key| key.rsplit_once('.').map(|(block, _)| block));
    crate::nearest::nearest(path, KEYS.keys().copied().chain(blocks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_is_written_twice_or_is_both_key_and_block() {
        let mut seen = std::collections::BTreeSet::new();
        for (_, _, paths) in TABLE {
            for path in paths.split_whitespace() {
                assert!(seen.insert(path), "{path} is written twice");
            }
        }
        for path in &seen {
            let below = format!("{path}.");
            assert!(!seen.iter().any(|other| other.starts_with(&below)), "{path} is both a key and a block");
        }
    }

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        assert_eq!(nearest("datacentre"), Some("datacenter"));
        assert_eq!(nearest("node_nmae"), Some("node_name"));
        assert_eq!(nearest("ports.htpp"), Some("ports.http"));
        assert_eq!(nearest("performence"), Some("performance"));
        assert_eq!(nearest("quite_another_thing"), None);
    }
}
