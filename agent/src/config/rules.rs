//! The rules that single values and pairs of them must keep, with Consul's words where clients look for them.

use super::address::{Host, HttpAddr};
use super::error::ConfigError;
use super::raw::Raw;
use super::resolve::Settings;
use super::resolved::Resolved;
use crate::metrics::Telemetry;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnet::{AddrParseError, IpNet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use uuid::Uuid;

/// Lower-cased; letters, digits, `-` and `_`.
pub(crate) fn datacenter(settings: &Settings<'_>, path: &str) -> Result<Option<String>, ConfigError> {
    let Some(name) = settings.text(path) else { return Ok(None) };
    let fine = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if !fine || name.len() > 64 {
        return settings.refuse(path, "may have letters, digits, - and _ only, and at most 64 of them");
    }
    Ok(Some(name.to_ascii_lowercase()))
}

/// With exactly one dot at the end.
pub(crate) fn domain(settings: &Settings<'_>, path: &str) -> Result<Option<String>, ConfigError> {
    let Some(name) = settings.text(path) else { return Ok(None) };
    let bare = name.trim_matches('.');
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    if bare.len() > 240 || !bare.split('.').all(label) {
        return settings.refuse(path, "is not a domain; write labels of letters, digits and -, with dots between them");
    }
    Ok(Some(format!("{}.", bare.to_ascii_lowercase())))
}

pub(crate) fn node_name(
    settings: &Settings<'_>,
    host: &Host,
    warnings: &mut Vec<String>,
) -> Result<String, ConfigError> {
    let name = settings.text("node_name").unwrap_or(&host.hostname).trim().to_owned();
    if name.is_empty() {
        return Err(ConfigError::Conflict(
            "node_name cannot be empty, and this machine has no host name; set node_name or give -node=<name>"
                .to_owned(),
        ));
    }
    if name.len() > 512 || name.chars().any(|c| c.is_control() || c == '/') {
        return settings.refuse("node_name", "may have at most 512 bytes, and neither / nor control characters");
    }
    let label = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if name.len() > 63 || !name.chars().all(label) {
        warnings.push(format!(
            "node name {name:?} cannot be found by DNS: only letters, digits and -, at most 63 of them, make a label"
        ));
    }
    Ok(name)
}

pub(crate) fn node_id(settings: &Settings<'_>) -> Result<Option<Uuid>, ConfigError> {
    let Some(text) = settings.text("node_id") else { return Ok(None) };
    match Uuid::try_parse(text) {
        Ok(id) if text.len() == 36 => Ok(Some(id)),
        _ => {
            settings.refuse("node_id", "must be a UUID of 36 characters, such as 8f246b77-f3e1-ff88-5b48-8ec93abf3e05")
        }
    }
}

pub(crate) fn data_dir(
    settings: &Settings<'_>,
    dev: bool,
    warnings: &mut Vec<String>,
) -> Result<Option<PathBuf>, ConfigError> {
    match settings.text("data_dir") {
        Some(path) if dev => {
            warnings.push(format!("data_dir = {path:?} is not used: -dev keeps everything in memory"));
            Ok(None)
        }
        None if dev => Ok(None),
        None => Err(ConfigError::NoDataDir),
        Some(path) if std::path::Path::new(path).is_file() => {
            settings.refuse("data_dir", "is a file; give a directory, which is made where it is missing")
        }
        Some(path) => Ok(Some(PathBuf::from(path))),
    }
}

/// Whether this server may form a cluster alone, and how many must agree otherwise.
pub(crate) fn bootstrap(
    settings: &Settings<'_>,
    server: bool,
    dev: bool,
    warnings: &mut Vec<String>,
) -> Result<(bool, u32), ConfigError> {
    let expect = match settings.0.get("bootstrap_expect").map(|leaf| leaf.value.as_i64()) {
        None => 0,
        Some(Some(number @ 0..=64)) => u32::try_from(number).expect("bounded just above"),
        Some(_) => return settings.refuse("bootstrap_expect", "must be from 0 to 64; 3 or 5 servers are usual"),
    };
    let bootstrap = settings.on("bootstrap");
    let conflict = |path: &str, text: &str| Err(ConfigError::Conflict(format!("{}: {text}", settings.0.source(path))));
    let expecting = |text| conflict("bootstrap_expect", text);
    match (bootstrap, expect) {
        (true, 1..) if dev => {
            expecting("'bootstrap_expect > 0' and '-dev' are mutually exclusive; leave one of them out")
        }
        (true, 1..) => expecting("'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive; leave one out"),
        (true, _) if !server => conflict("bootstrap", "'bootstrap = true' requires 'server = true'; add it (-server)"),
        (_, 1..) if !server => expecting("'bootstrap_expect > 0' requires 'server = true'; add it (-server)"),
        (false, 1) => {
            warnings.push("bootstrap_expect = 1 is the same as bootstrap: one server forms a cluster alone".to_owned());
            Ok((true, 1))
        }
        (false, 2) => {
            warnings.push("bootstrap_expect = 2: two servers stop when either of them does; use 3".to_owned());
            Ok((false, 2))
        }
        (false, even) if even > 0 && even % 2 == 0 => {
            warnings.push(format!(
                "bootstrap_expect = {even}: an even number of servers survives no more than {}",
                even - 1
            ));
            Ok((false, even))
        }
        (true, _) => Ok((true, 1)),
        (false, expect) => Ok((false, expect)),
    }
}

/// Entries that name a cloud's API are left out with a warning: there is nothing here to ask it with.
pub(crate) fn retry_join(settings: &Settings<'_>, warnings: &mut Vec<String>) -> Vec<String> {
    let mut found = settings.texts("retry_join");
    found.retain(|entry| {
        let cloud = entry.contains("provider=");
        if cloud {
            warnings.push(format!("retry_join {entry:?}: finding members by a provider is not built; give addresses"));
        }
        !cloud
    });
    found
}

pub(crate) fn encrypt(settings: &Settings<'_>) -> Result<Option<Vec<u8>>, ConfigError> {
    let Some(text) = settings.text("encrypt") else { return Ok(None) };
    match STANDARD.decode(text) {
        Ok(key) if matches!(key.len(), 16 | 24 | 32) => Ok(Some(key)),
        Ok(key) => settings.refuse("encrypt", format!("has {} bytes; a key has 16, 24 or 32, see keygen", key.len())),
        Err(error) => settings.refuse("encrypt", format!("is not base64 ({error}); keygen makes a key")),
    }
}

/// Rules over the finished whole.
pub(crate) fn check(settings: &Settings<'_>, resolved: &Resolved) -> Result<(), ConfigError> {
    node_meta(settings, resolved)?;
    if resolved.reconnect_timeout < Duration::from_secs(8 * 3600) {
        return settings.refuse("reconnect_timeout", "must be at least 8h");
    }
    if resolved.retry_interval.is_zero() {
        return settings.refuse("retry_interval", "must be longer than nothing");
    }
    if resolved.default_query_time > resolved.max_query_time {
        return settings.refuse("default_query_time", "must not be longer than max_query_time");
    }
    for (name, value) in &resolved.response_headers {
        let fine = http::HeaderName::try_from(name).is_ok() && http::HeaderValue::try_from(value).is_ok();
        if !fine {
            return settings
                .refuse("http_config.response_headers", format!("{name:?} is not a header that can be sent"));
        }
    }
    for endpoint in &resolved.block_endpoints {
        if !endpoint.starts_with('/') {
            return settings.refuse("http_config.block_endpoints", format!("{endpoint:?} must begin with /"));
        }
    }
    ports(resolved)
}

fn node_meta(settings: &Settings<'_>, resolved: &Resolved) -> Result<(), ConfigError> {
    if resolved.node_meta.len() > 64 {
        let problem = format!("has {} keys; at most 64 are possible", resolved.node_meta.len());
        return settings.refuse("node_meta", problem);
    }
    for (key, value) in &resolved.node_meta {
        let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let problem = match (key, value) {
            (key, _) if key.is_empty() => "Key cannot be blank",
            (key, _) if !key.chars().all(letter) => "Key contains invalid characters",
            (key, _) if key.len() > 128 => "Key is too long (limit: 128 characters)",
            (key, _) if key.starts_with("consul-") => "Key prefix 'consul-' is reserved for internal use",
            (_, value) if value.len() > 512 => "Value is too long (limit: 512 characters)",
            _ => continue,
        };
        return settings.refuse("node_meta", format!("Couldn't load metadata pair ('{key}', '{value}'): {problem}"));
    }
    Ok(())
}

/// `http_config.allow_write_http_from`.
pub(crate) fn write_from(settings: &Settings<'_>) -> Result<Vec<IpNet>, ConfigError> {
    let path = "http_config.allow_write_http_from";
    let one = |text: &String| {
        let help = "is not a network; write an address and a length, such as \"10.0.0.0/8\" or \"::1/128\"";
        text.parse().or_else(|_bad: AddrParseError| settings.refuse(path, format!("{text:?} {help}")))
    };
    settings.texts(path).iter().map(one).collect()
}

/// No two listeners on one address; a wildcard is on every address.
fn ports(resolved: &Resolved) -> Result<(), ConfigError> {
    let mut taken: Vec<(&str, SocketAddr)> = vec![("ports.server", resolved.server_rpc)];
    taken.push(("ports.serf_lan", resolved.serf_lan));
    taken.extend(resolved.serf_wan.map(|address| ("ports.serf_wan", address)));
    taken.extend(resolved.dns.iter().map(|address| ("ports.dns", *address)));
    let mut clients: Vec<IpAddr> = Vec::new();
    for address in &resolved.http {
        if let HttpAddr::Tcp(address) = address {
            taken.push(("ports.http", *address));
            clients.push(address.ip());
        }
    }
    let more = [
        ("ports.https", resolved.ports.https),
        ("ports.grpc", resolved.ports.grpc),
        ("ports.grpc_tls", resolved.ports.grpc_tls),
    ];
    for (name, port) in more {
        taken
            .extend(port.into_iter().flat_map(|port| clients.iter().map(move |ip| (name, SocketAddr::new(*ip, port)))));
    }
    let overlap = |a: SocketAddr, b: SocketAddr| {
        a.port() == b.port() && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
    };
    for (place, (first, one)) in taken.iter().enumerate() {
        for (second, other) in taken.iter().skip(place + 1) {
            if overlap(*one, *other) && (first != second || one == other) {
                return Err(ConfigError::PortTwice {
                    first: (*first).to_owned(),
                    second: (*second).to_owned(),
                    address: one.to_string(),
                });
            }
        }
    }
    Ok(())
}

/// One warning for each source that asks for what is not built yet, and a louder one where that leaves a door open.
pub(crate) fn unbuilt(raw: &Raw) -> Vec<String> {
    let mut warnings = Vec::new();
    for (source, paths) in raw.unbuilt() {
        if &*source == super::DEV_SOURCE {
            continue;
        }
        if paths.contains(&"acl.enabled") {
            warnings.push(format!("{source}: acl.enabled: access control is not built yet; EVERY REQUEST IS ALLOWED"));
        }
        if paths.iter().any(|path| path.contains("verify_incoming")) {
            warnings.push(format!("{source}: verify_incoming: TLS is not built yet; traffic is NOT authenticated"));
        }
        if paths.iter().any(|path| path.ends_with("_allowed_cidrs")) {
            warnings.push(format!(
                "{source}: serf_lan_allowed_cidrs is not built yet; members of EVERY network are let in"
            ));
        }
        if paths.contains(&"limits.request_limits.mode") {
            warnings.push(format!("{source}: limits.request_limits is not built yet; requests are NOT limited"));
        }
        warnings.push(format!("{source}: accepted and not acted on yet: {}", paths.join(", ")));
    }
    warnings
}

/// The `telemetry` block, as far as figures are served by this agent itself.
pub(crate) fn telemetry(settings: &Settings<'_>, host: &Host) -> Result<Telemetry, ConfigError> {
    let mut filters = Vec::new();
    for rule in settings.texts("telemetry.prefix_filter") {
        filters.push(match (rule.strip_prefix('+'), rule.strip_prefix('-')) {
            (Some(prefix), _) if !prefix.is_empty() => (prefix.to_owned(), true),
            (_, Some(prefix)) if !prefix.is_empty() => (prefix.to_owned(), false),
            _ => {
                let problem = format!("{rule:?}: write +name or -name to show or hide what begins so");
                return settings.refuse("telemetry.prefix_filter", problem);
            }
        });
    }
    Ok(Telemetry {
        prefix: settings.text("telemetry.metrics_prefix").unwrap_or("consul").to_owned(),
        hostname: if settings.on("telemetry.disable_hostname") { String::new() } else { host.hostname.clone() },
        prometheus: !settings.duration("telemetry.prometheus_retention_time", Duration::ZERO).is_zero(),
        filters,
        filter_default: settings.flag("telemetry.filter_default").unwrap_or(true),
    })
}
