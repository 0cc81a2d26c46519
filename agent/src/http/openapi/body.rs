//! What requests carry, as types; and of answers what no type is serialised for. Nobody makes a value of one: bodies are read field by field, with keys in any spelling
//! (`json.rs`), and these say which fields are read. A field that may be absent may also be `null`; what is not named is ignored.
#![expect(dead_code, reason = "types that only describe")]

use crate::http::wire::WireKv;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A span of time: `"10s"`, `"1h30m"`, or a number of nanoseconds.
struct Span;

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A span of time: as Go writes one, or a number of nanoseconds.",
            "type": ["string", "integer"],
            "format": "go-duration",
            "minimum": 0,
            "maximum": i64::MAX,
            "examples": ["10s", "1h30m", 15_000_000_000_u64],
        })
    }
}

/// A span of time as Go writes one.
struct SpanText;

impl JsonSchema for SpanText {
    fn schema_name() -> Cow<'static, str> {
        "SpanText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A span of time as Go writes one.",
            "type": "string",
            "format": "go-duration",
            "examples": ["", "10s", "1h30m"],
        })
    }
}

/// Bytes in standard base64.
struct Octets;

impl JsonSchema for Octets {
    fn schema_name() -> Cow<'static, str> {
        "Octets".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Bytes in base64 (RFC 4648, section 4).",
            "type": "string",
            "contentEncoding": "base64",
            "examples": ["", "bGljdG9y"],
        })
    }
}

/// What a check found.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Status {
    Passing,
    Warning,
    Critical,
}

/// What a service is to a mesh; a plain one says nothing.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Kind {
    #[schemars(rename = "")]
    Typical,
    ConnectProxy,
    MeshGateway,
    TerminatingGateway,
    IngressGateway,
    ApiGateway,
}

/// Shares of an instance among its likes.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
struct WeightsGiven {
    #[schemars(range(min = 1))]
    passing: u16,
    warning: Option<u16>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
struct AddressGiven {
    address: Option<String>,
    port: Option<u16>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
struct ConnectGiven {
    native: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
struct LocalityGiven {
    region: Option<String>,
    zone: Option<String>,
}

/// A service of an agent, as its owner defines it.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
#[schemars(example = json!({"Name": "web", "ID": "web-1", "Port": 8080, "Tags": ["v1"], "Check": {"TTL": "30s"}}))]
pub struct ServiceDefinition {
    #[schemars(length(min = 1))]
    name: String,
    /// The name unless said.
    #[schemars(rename = "ID")]
    id: Option<String>,
    kind: Option<Kind>,
    tags: Option<Vec<String>>,
    /// The node's unless said; not `0.0.0.0` or `::`.
    address: Option<String>,
    tagged_addresses: Option<BTreeMap<String, AddressGiven>>,
    port: Option<u16>,
    /// Instead of address and port.
    socket_path: Option<String>,
    /// At most 64 pairs; keys of at most 128 characters, values of at most 512.
    meta: Option<BTreeMap<String, String>>,
    weights: Option<WeightsGiven>,
    enable_tag_override: Option<bool>,
    check: Option<CheckDefinition>,
    checks: Option<Vec<CheckDefinition>>,
    token: Option<String>,
    /// Needed by a proxy, with the service that it stands for.
    proxy: Option<BTreeMap<String, Value>>,
    connect: Option<ConnectGiven>,
    locality: Option<LocalityGiven>,
}

/// A check of an agent, as its owner defines it: one thing to probe and an interval, or a TTL.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
#[schemars(example = json!({"Name": "beat", "TTL": "30s", "Status": "passing"}))]
pub struct CheckDefinition {
    #[schemars(flatten)]
    target: Target,
    /// Needed by a check that stands alone.
    name: Option<String>,
    /// The name unless said.
    #[schemars(rename = "CheckID")]
    check_id: Option<String>,
    #[schemars(rename = "ID")]
    id: Option<String>,
    /// The service that it speaks of; without one, the node.
    #[schemars(rename = "ServiceID")]
    service_id: Option<String>,
    /// Until the first result; critical unless said.
    status: Option<Status>,
    notes: Option<String>,
    token: Option<String>,
    #[schemars(rename = "TTL")]
    ttl: Option<Span>,
    /// A program and its arguments.
    args: Option<Vec<String>>,
    #[schemars(rename = "DockerContainerID")]
    docker_container_id: Option<String>,
    shell: Option<String>,
    header: Option<BTreeMap<String, HeaderValues>>,
    disable_redirects: Option<bool>,
    #[schemars(rename = "H2PING")]
    h2ping: Option<String>,
    #[schemars(rename = "H2PingUseTLS")]
    h2ping_use_tls: Option<bool>,
    alias_node: Option<String>,
    alias_service: Option<String>,
    success_before_passing: Option<u32>,
    failures_before_warning: Option<u32>,
    failures_before_critical: Option<u32>,
    output_max_size: Option<u64>,
    /// How long its service may be critical before it is deregistered; at least a minute.
    deregister_critical_service_after: Option<Span>,
}

// What is probed, and how often. It has no description of its own, as it shows in those that it is a part of.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
struct Target {
    interval: Option<Span>,
    timeout: Option<Span>,
    #[schemars(rename = "HTTP")]
    http: Option<String>,
    method: Option<String>,
    body: Option<String>,
    #[schemars(rename = "TLSServerName")]
    tls_server_name: Option<String>,
    #[schemars(rename = "TLSSkipVerify")]
    tls_skip_verify: Option<bool>,
    #[schemars(rename = "TCP")]
    tcp: Option<String>,
    #[schemars(rename = "TCPUseTLS")]
    tcp_use_tls: Option<bool>,
    #[schemars(rename = "UDP")]
    udp: Option<String>,
    #[schemars(rename = "GRPC")]
    grpc: Option<String>,
    #[schemars(rename = "GRPCUseTLS")]
    grpc_use_tls: Option<bool>,
    #[schemars(rename = "OSService")]
    os_service: Option<String>,
}

/// One value, or several.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum HeaderValues {
    One(String),
    Several(Vec<String>),
}

/// What a TTL check is told.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
#[schemars(example = json!({"Status": "passing", "Output": "all is well"}))]
pub struct CheckUpdate {
    status: Status,
    output: Option<String>,
}

/// A node, and what is on it.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
#[schemars(example = json!({"Node": "n1", "Address": "192.0.2.1", "Service": {"Service": "db", "Port": 5432},
                            "Check": {"Name": "up", "Status": "passing"}}))]
pub struct Registration {
    #[schemars(length(min = 1))]
    node: String,
    #[schemars(rename = "ID")]
    id: Option<Uuid>,
    /// Needed unless the node is left as it is.
    address: Option<String>,
    tagged_addresses: Option<BTreeMap<String, String>>,
    node_meta: Option<BTreeMap<String, String>>,
    datacenter: Option<Datacenter>,
    service: Option<ServiceGiven>,
    check: Option<CheckGiven>,
    checks: Option<Vec<CheckGiven>>,
    skip_node_update: Option<bool>,
}

/// The name of a datacenter; the one that is asked unless said.
struct Datacenter;

impl JsonSchema for Datacenter {
    fn schema_name() -> Cow<'static, str> {
        "Datacenter".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"description": "A datacenter; unless said the one that is asked.", "type": "string", "examples": [""]})
    }
}

/// A service as the catalog is told of it.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
struct ServiceGiven {
    /// The name unless said.
    #[schemars(rename = "ID")]
    id: Option<String>,
    #[schemars(length(min = 1))]
    service: String,
    kind: Option<Kind>,
    tags: Option<Vec<String>>,
    address: Option<String>,
    tagged_addresses: Option<BTreeMap<String, AddressGiven>>,
    port: Option<u16>,
    socket_path: Option<String>,
    meta: Option<BTreeMap<String, String>>,
    weights: Option<WeightsGiven>,
    enable_tag_override: Option<bool>,
    proxy: Option<BTreeMap<String, Value>>,
    connect: Option<ConnectGiven>,
    locality: Option<LocalityGiven>,
    /// For transactions that compare it.
    modify_index: Option<u64>,
}

/// A check as the catalog is told of it. It has a name or an id.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
struct CheckGiven {
    node: Option<String>,
    /// The name unless said.
    #[schemars(rename = "CheckID")]
    check_id: Option<String>,
    name: Option<String>,
    /// Critical unless said.
    status: Option<Status>,
    notes: Option<String>,
    output: Option<String>,
    #[schemars(rename = "ServiceID")]
    service_id: Option<String>,
    service_name: Option<String>,
    service_tags: Option<Vec<String>>,
    r#type: Option<String>,
    interval: Option<Span>,
    timeout: Option<Span>,
    exposed_port: Option<u16>,
    definition: Option<Probe>,
    /// For transactions that compare it.
    modify_index: Option<u64>,
}

/// What an external monitor probes.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
struct Probe {
    #[schemars(flatten)]
    target: Target,
    header: Option<BTreeMap<String, Vec<String>>>,
    deregister_critical_service_after: Option<Span>,
}

/// What is taken out of the catalog: the service, else the check, else the node with all that is on it.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
#[schemars(example = json!({"Node": "n1"}))]
pub struct Deregistration {
    #[schemars(length(min = 1))]
    node: String,
    datacenter: Option<Datacenter>,
    #[schemars(rename = "ServiceID")]
    service_id: Option<String>,
    #[schemars(rename = "CheckID")]
    check_id: Option<String>,
}

/// A session that is to be.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
#[schemars(example = json!({"Name": "lock", "NodeChecks": [], "Behavior": "delete", "LockDelay": "1s", "TTL": "30s"}))]
pub struct SessionRequest {
    name: Option<String>,
    /// The agent that is asked unless said.
    node: Option<String>,
    /// A number below 1000 is seconds.
    lock_delay: Option<Span>,
    /// `serfHealth` unless said.
    node_checks: Option<Vec<String>>,
    /// The older name of `NodeChecks`.
    checks: Option<Vec<String>>,
    service_checks: Option<Vec<ServiceCheckGiven>>,
    behavior: Option<Behavior>,
    /// 10 s to 24 h, or nothing.
    #[schemars(rename = "TTL")]
    ttl: Option<SpanText>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
struct ServiceCheckGiven {
    #[schemars(rename = "ID")]
    id: Option<String>,
    namespace: Option<String>,
}

/// What becomes of the keys that a session holds.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Behavior {
    Release,
    Delete,
}

/// A prepared query that is to be.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
#[schemars(example = json!({"Name": "my-web", "Service": {"Service": "web", "OnlyPassing": true}, "DNS": {"TTL": "10s"}}))]
pub struct QueryDefinition {
    /// Needed, unless the query belongs to a session.
    name: Option<String>,
    session: Option<Uuid>,
    token: Option<String>,
    template: Option<Template>,
    service: QueryTarget,
    #[schemars(rename = "DNS")]
    dns: Option<QueryDns>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
struct Template {
    r#type: Option<TemplateType>,
    regexp: Option<String>,
    remove_empty_tags: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum TemplateType {
    #[schemars(rename = "")]
    None,
    NamePrefixMatch,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
struct QueryTarget {
    #[schemars(length(min = 1))]
    service: String,
    failover: Option<FailoverGiven>,
    only_passing: Option<bool>,
    #[schemars(rename = "IgnoreCheckIDs")]
    ignore_check_ids: Option<Vec<String>>,
    near: Option<String>,
    /// With `!` before it: without this tag.
    tags: Option<Vec<String>>,
    node_meta: Option<BTreeMap<String, String>>,
    service_meta: Option<BTreeMap<String, String>>,
    connect: Option<bool>,
}

/// Where to look when nothing is found here.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
struct FailoverGiven {
    #[schemars(range(min = 0))]
    nearest_n: Option<i64>,
    datacenters: Option<Vec<String>>,
    targets: Option<Vec<FailoverTargetGiven>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
struct FailoverTargetGiven {
    peer: Option<String>,
    datacenter: Option<String>,
}

#[derive(JsonSchema)]
struct QueryDns {
    #[schemars(rename = "TTL")]
    ttl: Option<SpanText>,
}

/// One operation of a transaction; the first of the four that is there.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
#[schemars(example = json!({"KV": {"Verb": "set", "Key": "a", "Value": "bGljdG9y"}}))]
pub struct Operation {
    #[schemars(rename = "KV")]
    kv: Option<KeyOperation>,
    node: Option<NodeOperation>,
    service: Option<ServiceOperation>,
    check: Option<CheckOperation>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
struct KeyOperation {
    verb: KeyVerb,
    key: Option<String>,
    value: Option<Octets>,
    flags: Option<u64>,
    index: Option<u64>,
    session: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum KeyVerb {
    Get,
    GetOrEmpty,
    GetTree,
    CheckIndex,
    CheckSession,
    CheckNotExists,
    Set,
    Cas,
    Lock,
    Unlock,
    Delete,
    DeleteCas,
    DeleteTree,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Verb {
    Get,
    Set,
    Cas,
    Delete,
    DeleteCas,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
struct NodeOperation {
    verb: Verb,
    node: NodeGiven,
}

/// A node as transactions write it.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
struct NodeGiven {
    #[schemars(rename = "ID")]
    id: Option<Uuid>,
    node: Option<String>,
    address: Option<String>,
    tagged_addresses: Option<BTreeMap<String, String>>,
    meta: Option<BTreeMap<String, String>>,
    /// For verbs that compare it.
    modify_index: Option<u64>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
struct ServiceOperation {
    verb: Verb,
    node: String,
    service: ServiceGiven,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
struct CheckOperation {
    verb: Verb,
    check: CheckGiven,
}

/// Where a node is.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
#[schemars(example = json!({"Node": "n1", "Coord": {"Vec": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
                            "Error": 1.5, "Adjustment": 0.0, "Height": 0.00001}}))]
pub struct CoordinateUpdate {
    #[schemars(length(min = 1))]
    node: String,
    coord: CoordinateGiven,
}

/// Seconds, in eight dimensions and a height.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
struct CoordinateGiven {
    vec: [f64; lictor_catalog::model::DIMENSIONS],
    error: Option<f64>,
    adjustment: Option<f64>,
    height: Option<f64>,
}

/// How the leader tends the servers. What is absent gets its default.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
#[schemars(example = json!({"CleanupDeadServers": true, "LastContactThreshold": "200ms", "MaxTrailingLogs": 250}))]
pub struct AutopilotSettings {
    cleanup_dead_servers: Option<bool>,
    last_contact_threshold: Option<Span>,
    max_trailing_logs: Option<u64>,
    min_quorum: Option<u32>,
    server_stabilization_time: Option<Span>,
    redundancy_zone_tag: Option<String>,
    disable_upgrade_migration: Option<bool>,
    upgrade_version_tag: Option<String>,
}

/// How certificates are made. What is absent gets its default.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
#[schemars(example = json!({"Provider": "consul", "Config": {"LeafCertTTL": "72h"}}))]
pub struct CertificateSettings {
    provider: Provider,
    config: Option<CertificateSpans>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Provider {
    Consul,
}

#[derive(JsonSchema)]
struct CertificateSpans {
    #[schemars(rename = "LeafCertTTL")]
    leaf: Option<Span>,
    #[schemars(rename = "IntermediateCertTTL")]
    intermediate: Option<Span>,
    #[schemars(rename = "RootCertTTL")]
    root: Option<Span>,
    /// Nothing but `ec`.
    #[schemars(rename = "PrivateKeyType")]
    key_type: Option<String>,
    /// Nothing but 256.
    #[schemars(rename = "PrivateKeyBits")]
    key_bits: Option<u64>,
}

/// Who would connect to whom.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
#[schemars(example = json!({"Target": "web", "ClientCertURI": "spiffe://x.consul/ns/default/dc/dc1/svc/api"}))]
pub struct Connection {
    #[schemars(length(min = 1))]
    target: String,
    #[schemars(rename = "ClientCertURI")]
    client_cert_uri: String,
}

/// A key to sign for.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
pub struct SigningRequest {
    #[schemars(length(min = 1, max = 255))]
    service: String,
    /// An uncompressed point on P-256.
    public_key: Octets,
}

/// Keys with their values, or with `?keys` their names.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(in crate::http) enum Keys<'a> {
    Whole(Vec<WireKv<'a>>),
    Names(Vec<String>),
}

/// Whether the condition was met; with `?sequence` the key that was written.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum Written {
    Met(bool),
    Key(String),
}

/// That it is done.
#[derive(JsonSchema)]
#[schemars(rename_all = "PascalCase")]
pub struct Success {
    success: bool,
}
