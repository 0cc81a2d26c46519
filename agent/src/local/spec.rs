//! A service as its owner defines it.

use super::meta::{InvalidService, validate_meta, validate_weights};
use crate::checks::{CheckSpec, SpecError};
use crate::json::{BadField, Object};
use lictor_catalog::Service;
use lictor_catalog::model::{Connect, Locality, ServiceAddress, ServiceKind, Weights};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A service definition from the API or a configuration file, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSpec {
    pub service: Service,
    pub checks: Vec<CheckSpec>,
    pub token: String,
    /// What was corrected while reading, and what will not work everywhere. For the log.
    pub warnings: Vec<String>,
}

impl ServiceSpec {
    /// Reads one service definition, from a request's body or a configuration file's block: every field of
    /// Consul's registration in every spelling, with its `Check` and `Checks`. The node's name is filled in by `local`.
    ///
    /// # Errors
    /// [`SpecError`]; its text is what the API answers with 400.
    pub fn parse(definition: &Value) -> Result<Self, SpecError> {
        let object = Object::of(definition)?;
        let name = object.string("Name")?;
        if name.is_empty() {
            return Err(SpecError::MissingServiceName);
        }
        let id = Some(object.string("ID")?).filter(|id| !id.is_empty()).unwrap_or_else(|| name.clone());
        let word = object.string("Kind")?;
        let kind = ServiceKind::parse(&word).ok_or(SpecError::Service(InvalidService::Kind(word)))?;
        let service = Service {
            id: id.into(),
            name: name.into(),
            kind,
            tags: object.strings("Tags")?,
            address: object.string("Address")?,
            port: object.port("Port")?,
            socket_path: object.string("SocketPath")?,
            tagged_addresses: tagged_addresses(&object)?,
            meta: object.string_map("Meta")?,
            weights: weights(&object)?,
            enable_tag_override: object.boolean("EnableTagOverride")?,
            proxy: proxy(&object)?,
            connect: connect(&object)?,
            locality: locality(&object)?,
            ..Service::default()
        };
        validate(&service, &object)?;
        let service = with_default_tagged_addresses(service);
        let checks = inner_checks(&object, &service)?;
        let mut warnings = name_warnings(&service);
        warnings.extend(checks.iter().flat_map(|check| check.warnings.iter().cloned()));
        Ok(Self { service, checks, token: object.string("Token")?, warnings })
    }
}

fn validate(service: &Service, object: &Object<'_>) -> Result<(), SpecError> {
    let bare = service.address.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()) {
        return Err(SpecError::AnyAddress);
    }
    validate_meta(&service.meta, service.kind == ServiceKind::MeshGateway).map_err(SpecError::Meta)?;
    let invalid = |fault| Err(SpecError::Service(fault));
    if !service.socket_path.is_empty() && (service.port != 0 || !service.address.is_empty()) {
        return invalid(InvalidService::SocketPath(service.socket_path.clone()));
    }
    if service.kind == ServiceKind::ConnectProxy {
        let destination = object.object("Proxy")?.map(|proxy| proxy.string("DestinationServiceName")).transpose()?;
        if destination.is_none_or(|name| name.is_empty()) {
            return invalid(InvalidService::NoDestination);
        }
        if service.port == 0 && service.socket_path.is_empty() {
            return invalid(InvalidService::NoPort("Connect proxy"));
        }
    }
    Ok(())
}

fn tagged_addresses(object: &Object<'_>) -> Result<BTreeMap<String, ServiceAddress>, BadField> {
    let Some(fields) = object.object("TaggedAddresses")? else { return Ok(BTreeMap::new()) };
    let one = |(tag, value): (&str, &Value)| {
        let entry = Object::of(value)?;
        Ok((tag.to_owned(), ServiceAddress { address: entry.string("Address")?, port: entry.port("Port")? }))
    };
    fields.iter().map(one).collect()
}

/// A service with an IP address offers it under `lan_ipv4` and `wan_ipv4` (or `_ipv6`), as Consul's agent does.
fn with_default_tagged_addresses(mut service: Service) -> Service {
    let tags = match service.address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => ["lan_ipv4", "wan_ipv4"],
        Ok(IpAddr::V6(_)) => ["lan_ipv6", "wan_ipv6"],
        Err(_) => return service,
    };
    for tag in tags {
        service
            .tagged_addresses
            .entry(tag.to_owned())
            .or_insert_with(|| ServiceAddress { address: service.address.clone(), port: service.port });
    }
    service
}

/// The settings as they were given.
fn proxy(object: &Object<'_>) -> Result<String, BadField> {
    Ok(object.object("Proxy")?.and_then(|_| object.get("Proxy")).map(Value::to_string).unwrap_or_default())
}

fn weights(object: &Object<'_>) -> Result<Weights, SpecError> {
    let Some(fields) = object.object("Weights")? else { return Ok(Weights::default()) };
    let number = |name: &str| match fields.get(name) {
        None => Ok(0),
        // What is no whole number of 64 bits is out of every range.
        Some(Value::Number(number)) => Ok(number.as_i64().unwrap_or(i64::MAX)),
        Some(_) => fields.number(name, u64::from(u16::MAX)).map(|_| 0),
    };
    validate_weights(number("Passing")?, number("Warning")?).map_err(SpecError::Weights)
}

fn connect(object: &Object<'_>) -> Result<Connect, SpecError> {
    let Some(fields) = object.object("Connect")? else { return Ok(Connect::default()) };
    if fields.get("SidecarService").is_some() {
        return Err(SpecError::Service(InvalidService::Sidecar));
    }
    Ok(Connect { native: fields.boolean("Native")? })
}

fn locality(object: &Object<'_>) -> Result<Option<Locality>, BadField> {
    let read = |fields: Object<'_>| Ok(Locality { region: fields.string("Region")?, zone: fields.string("Zone")? });
    object.object("Locality")?.map(read).transpose()
}

/// The checks of the definition, with the ids and names that Consul gives them. Empty objects are no checks.
fn inner_checks(object: &Object<'_>, service: &Service) -> Result<Vec<CheckSpec>, SpecError> {
    let given: Vec<&Value> = object
        .get("Check")
        .into_iter()
        .chain(object.list("Checks")?)
        .filter(|value| value.as_object().is_none_or(|fields| !fields.is_empty()))
        .collect();
    let mut checks = Vec::with_capacity(given.len());
    for (at, value) in given.iter().enumerate() {
        let mut check = CheckSpec::parse_inner(value)?;
        if check.id.is_empty() {
            check.id = match given.len() {
                1 => format!("service:{}", service.id),
                _ => format!("service:{}:{}", service.id, at + 1),
            }
            .into();
        }
        if check.name.is_empty() {
            check.name = format!("Service '{}' check", service.name);
        }
        check.service_id = service.id.clone();
        checks.push(check);
    }
    Ok(checks)
}

/// Names that DNS cannot ask for still work over HTTP: said, not refused.
fn name_warnings(service: &Service) -> Vec<String> {
    let safe = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let mut warnings = Vec::new();
    if !safe(&service.name) {
        warnings.push(format!(
            "Service name {:?} will not be discoverable via DNS due to invalid characters. Valid characters include all alpha-numerics and dashes.",
            service.name
        ));
    } else if service.name.len() > 63 {
        warnings.push(format!(
            "Service name {:?} will not be discoverable via DNS due to it being too long. Valid lengths are between 1 and 63 bytes.",
            service.name
        ));
    }
    for tag in service.tags.iter().filter(|tag| !safe(tag)) {
        warnings.push(format!(
            "Service tag {tag:?} will not be discoverable via DNS due to invalid characters. Valid characters include all alpha-numerics and dashes."
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parsed(body: &Value) -> ServiceSpec {
        ServiceSpec::parse(body).expect("accepted")
    }

    #[test]
    fn every_field_is_read_in_both_spellings() {
        let camel = json!({"ID": "web-1", "Name": "web", "Tags": ["a"], "Address": "10.0.0.1", "Port": 80,
            "TaggedAddresses": {"lan": {"Address": "10.1.0.1", "Port": 81}}, "Meta": {"k": "v"},
            "Weights": {"Passing": 10, "Warning": 2}, "EnableTagOverride": true, "Token": "t",
            "Connect": {"Native": true}, "Locality": {"Region": "r", "Zone": "z"},
            "Check": {"TTL": "10s", "DeregisterCriticalServiceAfter": "2m"}});
        let snake = json!({"id": "web-1", "name": "web", "tags": ["a"], "address": "10.0.0.1", "port": 80,
            "tagged_addresses": {"lan": {"address": "10.1.0.1", "port": 81}}, "meta": {"k": "v"},
            "weights": {"passing": 10, "warning": 2}, "enable_tag_override": true, "token": "t",
            "connect": {"native": true}, "locality": {"region": "r", "zone": "z"},
            "checks": [{"ttl": "10s", "deregister_critical_service_after": "2m"}]});
        let spec = parsed(&camel);
        assert_eq!(spec, parsed(&snake));
        assert_eq!((&*spec.service.id, &*spec.service.name, spec.service.port), ("web-1", "web", 80));
        assert_eq!(spec.service.tagged_addresses["lan"].port, 81);
        assert_eq!(spec.service.tagged_addresses["wan_ipv4"].address, "10.0.0.1");
        assert_eq!((spec.service.weights.passing, spec.service.connect.native), (10, true));
        assert_eq!((spec.token.as_str(), spec.warnings.len()), ("t", 0));
        assert_eq!((&*spec.checks[0].id, &*spec.checks[0].service_id), ("service:web-1", "web-1"));
        assert_eq!(spec.checks[0].name, "Service 'web' check");
        assert_eq!(parsed(&json!({"Name": "x"})).service.id.as_str(), "x");
    }

    #[test]
    fn checks_are_numbered_in_order_and_empty_ones_ignored() {
        let ids = |body: &Value| parsed(body).checks.iter().map(|check| check.id.to_string()).collect::<Vec<_>>();
        let ttl = json!({"TTL": "1m"});
        assert_eq!(ids(&json!({"Name": "a", "Check": {}})), Vec::<String>::new());
        assert_eq!(ids(&json!({"Name": "a", "Check": {}, "Checks": [ttl]})), ["service:a"]);
        assert_eq!(
            ids(&json!({"Name": "a", "Check": ttl, "Checks": [{"CheckID": "mine", "TTL": "1m"}, ttl]})),
            ["service:a:1", "mine", "service:a:3"]
        );
    }

    #[test]
    fn refusals_use_consuls_words() {
        let long = "x".repeat(513);
        let many: BTreeMap<String, String> = (0..65).map(|n| (format!("k{n}"), String::new())).collect();
        for (body, text) in [
            (json!({}), "Missing service name"),
            (json!({"Name": "a", "Address": "0.0.0.0"}), "Invalid service address"),
            (json!({"Name": "a", "Address": "::"}), "Invalid service address"),
            (json!({"Name": "a", "Address": "[::]"}), "Invalid service address"),
            (json!({"Name": "a", "Port": 70000}), "Request decode failed: Port: 70000 is out of range 0 to 65535"),
            (json!({"Name": "a", "Weights": {"Warning": 1}}), "Invalid Weights: Passing must be greater than 0"),
            (
                json!({"Name": "a", "Weights": {"Passing": 1, "Warning": -1}}),
                "Invalid Weights: Warning must be greater or equal than 0",
            ),
            (
                json!({"Name": "a", "Weights": {"Passing": 65536}}),
                "Invalid Weights: DNS Weight must be between 0 and 65535",
            ),
            (
                json!({"Name": "a", "Meta": many}),
                "Invalid Service Meta: Node metadata cannot contain more than 64 key/value pairs",
            ),
            (
                json!({"Name": "a", "Meta": {"a b": "c"}}),
                "Invalid Service Meta: Couldn't load metadata pair ('a b', 'c'): Key contains invalid characters",
            ),
            (
                json!({"Name": "a", "Meta": {"": "c"}}),
                "Invalid Service Meta: Couldn't load metadata pair ('', 'c'): Key cannot be blank",
            ),
            (
                json!({"Name": "a", "Check": {"TTL": "1s", "Status": "ok"}}),
                "Status for checks must 'passing', 'warning', 'critical'",
            ),
            (
                json!({"Name": "a", "Check": {"HTTP": "x"}}),
                "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks",
            ),
            (json!({"Name": "a", "Proxy": "x"}), "Request decode failed: Proxy: expected an object, got a string"),
            (
                json!({"Name": "a", "SocketPath": "/x", "Port": 1}),
                "Validation failed: SocketPath \"/x\" excludes Address and Port; leave either out",
            ),
            (
                json!({"Name": "a", "Kind": "connect-proxy", "Port": 1}),
                "Validation failed: Proxy.DestinationServiceName must be non-empty for Connect proxy services",
            ),
            (
                json!({"Name": "a", "Connect": {"SidecarService": {}}}),
                "Validation failed: this release does not register sidecar proxies; leave out Connect.SidecarService",
            ),
        ] {
            assert_eq!(ServiceSpec::parse(&body).expect_err("refused").to_string(), text, "{body}");
        }
        let unknown = ServiceSpec::parse(&json!({"Name": "a", "Kind": "odd"})).expect_err("refused").to_string();
        assert!(unknown.starts_with("Validation failed: unknown Kind \"odd\""), "{unknown}");
        assert!(matches!(ServiceSpec::parse(&json!({"Name": "a", "Meta": {"k": long}})), Err(SpecError::Meta(_))));
    }

    #[test]
    fn names_that_dns_cannot_ask_for_only_warn() {
        let spec = parsed(&json!({"Name": "my_app", "Tags": ["v1.2", "ok"]}));
        assert_eq!(spec.warnings.len(), 2, "{:?}", spec.warnings);
        let proxy = parsed(&json!({"Name": "p", "Kind": "connect-proxy", "Port": 1,
            "Proxy": {"DestinationServiceName": "web"}}));
        assert_eq!(proxy.service.proxy, r#"{"DestinationServiceName":"web"}"#);
    }
}
