//! From what was written to what it means: defaults, derived values, and every rule that a value must keep.

use super::address::{Host, HttpAddr};
use super::definition::{self, Defined, Spec};
use super::error::{ConfigError, Faults};
use super::raw::{ORIGIN, Raw};
use super::resolved::{DnsConfig, Limits, LogConfig, LogLevel, Ports, Resolved, Soa};
use super::{debug, rules};
use crate::json::Object;
use crate::signing::{self, BadSigning};
use crate::time::parse_duration;
use lictor_catalog::Autopilot;
use lictor_catalog::model::Signing;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use uuid::Uuid;

/// One definition, where it was written, and what it means.
pub(crate) struct Definition {
    pub(crate) file: String,
    pub(crate) definition: Value,
    spec: Spec,
}

/// Typed access to the merged settings; its errors name key, value and origin.
pub(crate) struct Settings<'a>(pub(crate) &'a Raw);

impl Settings<'_> {
    pub(crate) fn refuse<T>(&self, path: &str, problem: impl Into<String>) -> Result<T, ConfigError> {
        let value = self.0.get(path).map_or(Value::Null, |leaf| leaf.value.clone());
        let value = if path == "encrypt" { "(hidden)".to_owned() } else { value.to_string() };
        Err(ConfigError::Value { file: self.0.source(path), key: path.to_owned(), value, problem: problem.into() })
    }

    /// An empty text is as good as none.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.0.get(path).and_then(|leaf| leaf.value.as_str()).filter(|text| !text.is_empty())
    }

    fn path(&self, path: &str) -> Option<PathBuf> {
        self.text(path).map(PathBuf::from)
    }

    pub(crate) fn flag(&self, path: &str) -> Option<bool> {
        self.0.get(path).and_then(|leaf| leaf.value.as_bool())
    }

    pub(crate) fn on(&self, path: &str) -> bool {
        self.flag(path).unwrap_or_default()
    }

    fn number(&self, path: &str, default: u64, min: u64, max: u64) -> Result<u64, ConfigError> {
        match self.0.get(path) {
            None => Ok(default),
            Some(leaf) => match leaf.value.as_u64() {
                Some(number) if (min..=max).contains(&number) => Ok(number),
                _ => self.refuse(path, format!("must be a whole number from {min} to {max}")),
            },
        }
    }

    fn number32(&self, path: &str, default: u32, min: u32) -> Result<u32, ConfigError> {
        let number = self.number(path, u64::from(default), u64::from(min), u64::from(u32::MAX))?;
        Ok(u32::try_from(number).expect("bounded just above"))
    }

    fn size(&self, path: &str, default: usize, min: u64) -> Result<usize, ConfigError> {
        let number = self.number(path, default as u64, min, 1 << 40)?;
        Ok(usize::try_from(number).unwrap_or(usize::MAX))
    }

    pub(crate) fn duration(&self, path: &str, default: Duration) -> Duration {
        self.text(path).and_then(|text| parse_duration(text).ok()).unwrap_or(default)
    }

    /// Negative and 0 are off.
    fn port(&self, path: &str, default: Option<u16>) -> Result<Option<u16>, ConfigError> {
        let Some(leaf) = self.0.get(path) else { return Ok(default) };
        match leaf.value.as_i64() {
            Some(-1..=0) => Ok(None),
            Some(number) if u16::try_from(number).is_ok() => Ok(u16::try_from(number).ok()),
            _ => self.refuse(path, "must be a port from 1 to 65535, or -1 to switch it off"),
        }
    }

    fn needed_port(&self, path: &str, default: u16) -> Result<u16, ConfigError> {
        match self.port(path, Some(default))? {
            Some(port) => Ok(port),
            None => self.refuse(path, "cannot be switched off; give a port from 1 to 65535"),
        }
    }

    pub(crate) fn texts(&self, path: &str) -> Vec<String> {
        let list = self.0.get(path).and_then(|leaf| leaf.value.as_array());
        list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    fn map(&self, path: &str) -> BTreeMap<String, String> {
        let map = self.0.get(path).and_then(|leaf| leaf.value.as_object());
        let pair = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
        map.into_iter().flatten().filter_map(pair).collect()
    }

    fn address(&self, host: &Host, path: &str) -> Result<Option<IpAddr>, ConfigError> {
        self.text(path).map(|text| host.address(text).or_else(|problem| self.refuse(path, problem))).transpose()
    }

    /// `addresses.http` or, where that is not set, `client_addr`.
    fn listeners(
        &self,
        host: &Host,
        own: &'static str,
        port: Option<u16>,
        unix: bool,
    ) -> Result<Vec<HttpAddr>, ConfigError> {
        let Some(port) = port else { return Ok(Vec::new()) };
        let path = if self.text(own).is_some() { own } else { "client_addr" };
        let text = self.text(path).unwrap_or("127.0.0.1");
        let mut found = host.addresses(text, port, unix).or_else(|problem| self.refuse(path, problem))?;
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// The trust domain, if it is given, and what is signed by.
    fn authority(&self) -> Result<(Option<Uuid>, Signing), ConfigError> {
        if let Some(provider) = self.text("connect.ca_provider") {
            signing::provided_by(provider)
                .or_else(|problem| self.refuse("connect.ca_provider", problem.to_string()))?;
        }
        let path = "connect.ca_config";
        let Some(leaf) = self.0.get(path) else { return Ok((None, Signing::default())) };
        let read = || {
            let config = Object::of(&leaf.value)?;
            Ok((config.string("ClusterID")?, signing::read(&config)?))
        };
        let (domain, signing) = read().or_else(|problem: BadSigning| self.refuse(path, problem.to_string()))?;
        match Uuid::try_parse(&domain) {
            _ if domain.is_empty() => Ok((None, signing)),
            Ok(domain) => Ok((Some(domain), signing)),
            Err(_) => self.refuse(path, "cluster_id must be a UUID"),
        }
    }

    fn autopilot(&self) -> Result<Autopilot, ConfigError> {
        let default = Autopilot::default();
        let text = |path| self.text(path).unwrap_or_default().to_owned();
        let threshold = self.duration("autopilot.last_contact_threshold", default.last_contact_threshold);
        let stabilization = self.duration("autopilot.server_stabilization_time", default.server_stabilization_time);
        Ok(Autopilot {
            cleanup_dead_servers: self.flag("autopilot.cleanup_dead_servers").unwrap_or(default.cleanup_dead_servers),
            last_contact_threshold: threshold,
            max_trailing_logs: self.number("autopilot.max_trailing_logs", default.max_trailing_logs, 0, u64::MAX)?,
            min_quorum: self.number32("autopilot.min_quorum", default.min_quorum, 0)?,
            server_stabilization_time: stabilization,
            redundancy_zone_tag: text("autopilot.redundancy_zone_tag"),
            disable_upgrade_migration: self.on("autopilot.disable_upgrade_migration"),
            upgrade_version_tag: text("autopilot.upgrade_version_tag"),
            ..default
        })
    }

    fn ports(&self, server: bool) -> Result<Ports, ConfigError> {
        Ok(Ports {
            dns: self.port("ports.dns", Some(8600))?,
            http: self.port("ports.http", Some(8500))?,
            https: self.port("ports.https", None)?,
            grpc: self.port("ports.grpc", None)?,
            grpc_tls: self.port("ports.grpc_tls", server.then_some(8503))?,
            serf_lan: self.needed_port("ports.serf_lan", 8301)?,
            serf_wan: self.port("ports.serf_wan", Some(8302))?,
            server: self.needed_port("ports.server", 8300)?,
        })
    }

    fn log(&self) -> Result<LogConfig, ConfigError> {
        let name = self.text("log_level").unwrap_or("INFO");
        let Some(level) = LogLevel::named(name) else {
            return self.refuse("log_level", "must be trace, debug, info, warn or error");
        };
        Ok(LogConfig {
            level,
            json: self.on("log_json"),
            file: self.path("log_file"),
            rotate_bytes: self.number("log_rotate_bytes", 0, 0, 1 << 50)?,
            rotate_duration: self.duration("log_rotate_duration", HOUR * 24),
            rotate_max_files: self.number32("log_rotate_max_files", 0, 0)?,
        })
    }

    fn limits(&self) -> Result<Limits, ConfigError> {
        let kv_max_value_size = self.size("limits.kv_max_value_size", 512 << 10, 1)?;
        Ok(Limits {
            kv_max_value_size,
            txn_max_req_len: self.size("limits.txn_max_req_len", 512 << 10, 1)?.max(kv_max_value_size),
            http_max_conns_per_client: self.size("limits.http_max_conns_per_client", 200, 0)?,
        })
    }

    fn dns_config(&self) -> Result<DnsConfig, ConfigError> {
        let mut service_ttl = BTreeMap::new();
        for (service, text) in self.map("dns_config.service_ttl") {
            match parse_duration(&text) {
                Ok(ttl) => service_ttl.insert(service, ttl),
                Err(bad) => {
                    return self
                        .refuse("dns_config.service_ttl", format!("{service}: {bad}; write for example \"10s\""));
                }
            };
        }
        Ok(DnsConfig {
            domain: rules::domain(self, "domain")?.unwrap_or_else(|| "consul.".to_owned()),
            alt_domain: rules::domain(self, "alt_domain")?.unwrap_or_default(),
            allow_stale: self.flag("dns_config.allow_stale").unwrap_or(true),
            max_stale: self.duration("dns_config.max_stale", HOUR * 87_600),
            a_record_limit: self.size("dns_config.a_record_limit", 0, 0)?,
            udp_answer_limit: self.size("dns_config.udp_answer_limit", 3, 0)?,
            enable_truncate: self.on("dns_config.enable_truncate"),
            only_passing: self.on("dns_config.only_passing"),
            disable_compression: self.on("dns_config.disable_compression"),
            enable_additional_node_meta_txt: self.flag("dns_config.enable_additional_node_meta_txt").unwrap_or(true),
            node_ttl: self.duration("dns_config.node_ttl", Duration::ZERO),
            service_ttl,
            soa: Soa {
                refresh: self.number32("dns_config.soa.refresh", 3600, 0)?,
                retry: self.number32("dns_config.soa.retry", 600, 0)?,
                expire: self.number32("dns_config.soa.expire", 86_400, 0)?,
                min_ttl: self.number32("dns_config.soa.min_ttl", 0, 0)?,
            },
        })
    }

    /// The definitions of one kind, as far as they are right.
    pub(crate) fn definitions(&self, what: Defined, faults: &mut Faults) -> Vec<Definition> {
        let path = match what {
            Defined::Service => "services",
            Defined::Check => "checks",
        };
        let list = self.0.get(path).and_then(|leaf| leaf.value.as_array());
        let (mut found, mut numbers) = (Vec::new(), BTreeMap::<String, usize>::new());
        for definition in list.into_iter().flatten() {
            let mut definition = definition.clone();
            let origin = definition.as_object_mut().and_then(|map| map.remove(ORIGIN));
            let file = origin.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
            let number = numbers.entry(file.clone()).or_default();
            *number += 1;
            if let Some(spec) = faults.keep(Spec::read(what, &file, *number, &definition)) {
                found.push(Definition { file, definition, spec });
            }
        }
        found
    }

    /// The definitions that this agent runs.
    fn runnable(&self, what: Defined, faults: &mut Faults, warnings: &mut Vec<String>) -> Vec<Value> {
        let scripts = self.on("enable_script_checks") || self.on("enable_local_script_checks");
        let found = self.definitions(what, faults);
        for Definition { file, spec, .. } in &found {
            faults.keep(definition::runnable(what, file, spec, scripts, warnings));
        }
        let id = |one: &Definition| lictor_catalog::model::folded(one.spec.id()).into_owned();
        for (place, later) in found.iter().enumerate() {
            if let Some(earlier) = found[..place].iter().rev().find(|earlier| id(earlier) == id(later)) {
                warnings.push(format!(
                    "{}: {} {:?} takes the place of the one in {}: both have this id",
                    later.file,
                    what.word(),
                    later.spec.id(),
                    earlier.file
                ));
            }
        }
        found.into_iter().map(|one| one.definition).collect()
    }
}

/// Where the agent is to be found.
struct Place {
    ports: Ports,
    bind: IpAddr,
    advertise: IpAddr,
    http: Vec<HttpAddr>,
    dns: Vec<SocketAddr>,
    serf_lan: SocketAddr,
    serf_wan: Option<SocketAddr>,
}

fn place(settings: &Settings<'_>, host: &Host, server: bool, warnings: &mut Vec<String>) -> Result<Place, ConfigError> {
    let ports = settings.ports(server)?;
    let bind = settings.address(host, "bind_addr")?.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let dns = settings.listeners(host, "addresses.dns", ports.dns, false)?;
    let dns = dns.into_iter().filter_map(|address| match address {
        HttpAddr::Tcp(address) => Some(address),
        HttpAddr::Unix(_) => None,
    });
    let wan_ip = settings.address(host, "serf_wan")?.unwrap_or(bind);
    Ok(Place {
        ports,
        bind,
        advertise: advertise(settings, host, bind, warnings)?,
        http: settings.listeners(host, "addresses.http", ports.http, true)?,
        dns: dns.collect(),
        serf_lan: SocketAddr::new(settings.address(host, "serf_lan")?.unwrap_or(bind), ports.serf_lan),
        serf_wan: ports.serf_wan.filter(|_| server).map(|port| SocketAddr::new(wan_ip, port)),
    })
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Everything, checked: what the files alone can have wrong before what the machine has a say in.
pub(crate) fn resolve(raw: &Raw, dev: bool, host: &Host, mut warnings: Vec<String>) -> Result<Resolved, ConfigError> {
    let settings = Settings(raw);
    let server = settings.on("server");
    let mut faults = Faults::default();
    let services = settings.runnable(Defined::Service, &mut faults, &mut warnings);
    let checks = settings.runnable(Defined::Check, &mut faults, &mut warnings);
    let (
        Some(data_dir),
        Some((bootstrap, bootstrap_expect)),
        Some(datacenter),
        Some(primary),
        Some(acl_datacenter),
        Some(node_id),
        Some(encrypt),
        Some(log),
        Some(limits),
        Some(dns_config),
        Some((trust_domain, signing)),
        Some(autopilot),
        Some(write_from),
        true,
    ) = (
        faults.keep(rules::data_dir(&settings, dev, &mut warnings)),
        faults.keep(rules::bootstrap(&settings, server, dev, &mut warnings)),
        faults.keep(rules::datacenter(&settings, "datacenter")),
        faults.keep(rules::datacenter(&settings, "primary_datacenter")),
        faults.keep(rules::datacenter(&settings, "acl_datacenter")),
        faults.keep(rules::node_id(&settings)),
        faults.keep(rules::encrypt(&settings)),
        faults.keep(settings.log()),
        faults.keep(settings.limits()),
        faults.keep(settings.dns_config()),
        faults.keep(settings.authority()),
        faults.keep(settings.autopilot()),
        faults.keep(rules::write_from(&settings)),
        faults.is_empty(),
    )
    else {
        return Err(faults.into());
    };
    let datacenter = datacenter.unwrap_or_else(|| "dc1".to_owned());
    let place = place(&settings, host, server, &mut warnings)?;

    let mut resolved = Resolved {
        primary_datacenter: primary.or(acl_datacenter).unwrap_or_else(|| datacenter.clone()),
        datacenter,
        node_name: rules::node_name(&settings, host, &mut warnings)?,
        node_id,
        data_dir,
        config_paths: Vec::new(),
        dev,
        server,
        bootstrap,
        bootstrap_expect,
        ui: settings.flag("ui_config.enabled").or_else(|| settings.flag("ui")).unwrap_or_default(),
        enable_debug: settings.on("enable_debug"),
        bind: place.bind,
        advertise: place.advertise,
        http: place.http,
        dns: place.dns,
        serf_lan: place.serf_lan,
        serf_wan: place.serf_wan,
        server_rpc: SocketAddr::new(place.bind, place.ports.server),
        ports: place.ports,
        retry_join: rules::retry_join(&settings, &mut warnings),
        start_join: settings.texts("start_join"),
        retry_interval: settings.duration("retry_interval", SECOND * 30),
        retry_max: settings.number32("retry_max", 0, 0)?,
        rejoin_after_leave: settings.on("rejoin_after_leave"),
        leave_on_terminate: settings.flag("leave_on_terminate").unwrap_or(!server),
        skip_leave_on_interrupt: settings.flag("skip_leave_on_interrupt").unwrap_or(server),
        reconnect_timeout: settings.duration("reconnect_timeout", HOUR * 72),
        leave_drain_time: settings.duration("performance.leave_drain_time", SECOND * 5),
        rpc_hold_timeout: settings.duration("performance.rpc_hold_timeout", SECOND * 7),
        node_meta: settings.map("node_meta"),
        tagged_addresses: settings.map("tagged_addresses"),
        encrypt,
        disable_keyring_file: settings.on("disable_keyring_file"),
        disable_coordinates: settings.on("disable_coordinates"),
        log,
        pid_file: settings.path("pid_file"),
        enable_script_checks: settings.on("enable_script_checks"),
        enable_local_script_checks: settings.on("enable_local_script_checks"),
        check_update_interval: settings.duration("check_update_interval", SECOND * 300),
        check_output_max_size: settings.size("check_output_max_size", 4096, 1)?,
        discard_check_output: settings.on("discard_check_output"),
        session_ttl_min: settings.duration("session_ttl_min", SECOND * 10),
        session_ttl_exact: settings.on("session_ttl_exact"),
        default_query_time: settings.duration("default_query_time", SECOND * 300),
        max_query_time: settings.duration("max_query_time", SECOND * 600),
        raft_multiplier: match settings.number("performance.raft_multiplier", 0, 0, 10)? {
            0 => None,
            multiplier => u32::try_from(multiplier).ok(),
        },
        raft_snapshot_threshold: settings.number("raft_snapshot_threshold", 16_384, 1, 1 << 40)?,
        raft_snapshot_interval: settings.duration("raft_snapshot_interval", SECOND * 30),
        raft_trailing_logs: settings.number("raft_trailing_logs", 10_240, 1, 1 << 40)?,
        limits,
        dns_config,
        response_headers: settings.map("http_config.response_headers").into_iter().collect(),
        block_endpoints: settings.texts("http_config.block_endpoints"),
        write_from,
        unprintable_paths: settings.on("disable_http_unprintable_char_filter"),
        telemetry: rules::telemetry(&settings, host)?,
        connect: settings.flag("connect.enabled").unwrap_or(true),
        trust_domain,
        signing,
        autopilot,
        services,
        checks,
        debug: Value::Null,
        warnings: Vec::new(),
    };
    rules::check(&settings, &resolved)?;
    warnings.extend(rules::unbuilt(raw));
    resolved.debug = debug::render(&resolved);
    resolved.warnings = warnings;
    Ok(resolved)
}

/// The address told to other members: as given, else the bind address, else the only private one.
fn advertise(
    settings: &Settings<'_>,
    host: &Host,
    bind: IpAddr,
    warnings: &mut Vec<String>,
) -> Result<IpAddr, ConfigError> {
    let by_family = if bind.is_ipv6() { "advertise_addr_ipv6" } else { "advertise_addr_ipv4" };
    for path in ["advertise_addr", by_family] {
        if let Some(address) = settings.address(host, path)? {
            if address.is_unspecified() {
                return settings.refuse(path, "nobody can be reached there; give the address that others use");
            }
            return Ok(address);
        }
    }
    if bind.is_unspecified() { host.advertise(bind, "bind_addr", warnings) } else { Ok(bind) }
}
