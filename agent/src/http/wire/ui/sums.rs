//! What the instances of a service add up to, together with the proxies beside them. Of a mesh only this is known: which
//! service a proxy stands before, and which ones it was registered as a client of.

use super::super::service::Empty;
use crate::json::Object;
use lictor_catalog::model::{Service, ServiceKind, Status, folded};
use lictor_catalog::query::Instance;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Services by folded name. One of which only a proxy is there is among them, without instances.
pub(super) struct Sums<'a>(BTreeMap<String, Sum<'a>>);

#[derive(Default)]
struct Sum<'a> {
    name: String,
    kind: ServiceKind,
    datacenter: &'a str,
    instances: usize,
    native: bool,
    tags: BTreeSet<&'a str>,
    nodes: BTreeSet<&'a str>,
    sources: BTreeSet<&'a str>,
    /// By node and id: a node's own are met once for each instance on it.
    checks: BTreeMap<(&'a str, &'a str), Status>,
    /// Whether all the proxies before it are transparent; `None`: there are none.
    proxied: Option<bool>,
    /// Which services its proxies are clients of, by folded name.
    upstreams: BTreeSet<String>,
}

impl<'a> Sums<'a> {
    pub(super) fn of(instances: &'a [Instance], datacenter: &'a str) -> Self {
        let mut sums: BTreeMap<String, Sum<'a>> = BTreeMap::new();
        for Instance { node, service, checks } in instances {
            let checked = checks.iter().map(|check| ((&*node.name, &*check.id), check.status));
            let sum = sums.entry(folded(&service.name).into_owned()).or_default();
            sum.name = service.name.to_string();
            sum.kind = service.kind;
            sum.datacenter = datacenter;
            sum.instances += 1;
            sum.native |= service.connect.native;
            sum.tags.extend(service.tags.iter().map(String::as_str));
            sum.nodes.insert(&node.name);
            sum.sources.extend(service.meta.get("external-source").map(String::as_str).filter(|name| !name.is_empty()));
            sum.checks.extend(checked.clone());
            let Some(proxy) = Proxy::of(service) else { continue };
            let before = sums.entry(folded(&proxy.destination).into_owned()).or_default();
            if before.name.is_empty() {
                before.name = proxy.destination;
            }
            before.checks.extend(checked);
            before.proxied = Some(proxy.transparent && before.proxied != Some(false));
            before.upstreams.extend(proxy.upstreams);
        }
        Self(sums)
    }

    /// `internal/ui/services`.
    pub(super) fn listed(&self) -> Vec<impl Serialize> {
        let mut all: Vec<_> = self.0.values().map(Listed::of).collect();
        all.sort_by(|a, b| a.summary.name.cmp(b.summary.name));
        all
    }

    /// `internal/ui/service-topology`. Without mesh and intentions everybody may talk to everybody, and what an instance is a
    /// client of is what its proxies were registered with.
    pub(super) fn topology(&self, service: &str, gateway: bool) -> impl Serialize {
        let key = &*folded(service);
        let own = self.0.get(key);
        let upstreams = own.into_iter().flat_map(|own| &own.upstreams).filter_map(|name| self.0.get(name));
        let downstreams = self.0.values().filter(|sum| sum.upstreams.contains(key));
        Topology {
            protocol: if gateway { "" } else { "tcp" },
            transparent_proxy: own.and_then(|own| own.proxied).unwrap_or(false),
            upstreams: upstreams.filter_map(Neighbour::of).collect(),
            downstreams: downstreams.filter_map(Neighbour::of).collect(),
            filtered_by_acls: false,
        }
    }
}

/// What a proxy was registered with, as far as it matters here.
struct Proxy {
    destination: String,
    transparent: bool,
    upstreams: Vec<String>,
}

impl Proxy {
    /// `None` when the service is no proxy, or does not say before what.
    fn of(service: &Service) -> Option<Self> {
        if service.kind != ServiceKind::ConnectProxy {
            return None;
        }
        let settings: Value = serde_json::from_str(&service.proxy).ok()?;
        let settings = Object::of(&settings).ok()?;
        let destination = settings.string("DestinationServiceName").ok().filter(|name| !name.is_empty())?;
        let upstreams = settings.get("Upstreams").and_then(Value::as_array);
        let service_of = |upstream: &Value| {
            let upstream = Object::of(upstream).ok()?;
            let is_service = upstream.string("DestinationType").is_ok_and(|kind| kind != "prepared_query");
            let name = upstream.string("DestinationName").ok().filter(|name| is_service && !name.is_empty())?;
            Some(folded(&name).into_owned())
        };
        Some(Self {
            destination,
            transparent: settings.string("Mode").is_ok_and(|mode| mode == "transparent"),
            upstreams: upstreams.into_iter().flatten().filter_map(service_of).collect(),
        })
    }
}

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "ServiceSummary")]
#[serde(rename_all = "PascalCase")]
struct Summary<'s> {
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: &'static str,
    name: &'s str,
    datacenter: &'s str,
    tags: Names<'s>,
    nodes: Names<'s>,
    external_sources: Names<'s>,
    instance_count: usize,
    checks_passing: usize,
    checks_warning: usize,
    checks_critical: usize,
    gateway_config: Empty,
    transparent_proxy: bool,
    connect_native: bool,
}

/// Written as `null` when there are none, as Go writes a list that was never made.
struct Names<'s>(&'s BTreeSet<&'s str>);

impl Serialize for Names<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_empty() { serializer.serialize_none() } else { self.0.serialize(serializer) }
    }
}

shown_as!(Names<'_>, Option<Vec<String>>);

impl<'s> Summary<'s> {
    fn of(sum: &'s Sum<'_>) -> Self {
        let Sum { name, kind, datacenter, instances, native, tags, nodes, sources, checks, proxied, upstreams: _ } =
            sum;
        let count = |status| checks.values().filter(|found| **found == status).count();
        Self {
            kind: kind.as_str(),
            name,
            datacenter,
            tags: Names(tags),
            nodes: Names(nodes),
            external_sources: Names(sources),
            instance_count: *instances,
            checks_passing: count(Status::Passing),
            checks_warning: count(Status::Warning),
            checks_critical: count(Status::Critical),
            gateway_config: Empty {},
            transparent_proxy: proxied.unwrap_or(false),
            connect_native: *native,
        }
    }
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct Listed<'s> {
    #[serde(flatten)]
    summary: Summary<'s>,
    connected_with_proxy: bool,
    connected_with_gateway: bool,
}

impl<'s> Listed<'s> {
    fn of(sum: &'s Sum<'_>) -> Self {
        // Only a config entry would put it behind a gateway.
        let (connected_with_proxy, connected_with_gateway) = (sum.proxied.is_some(), false);
        Self { summary: Summary::of(sum), connected_with_proxy, connected_with_gateway }
    }
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct Topology<'s> {
    protocol: &'static str,
    transparent_proxy: bool,
    upstreams: Vec<Neighbour<'s>>,
    downstreams: Vec<Neighbour<'s>>,
    #[serde(rename = "FilteredByACLs")]
    filtered_by_acls: bool,
}

/// A service at the other end of a connection.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Neighbour<'s> {
    #[serde(flatten)]
    summary: Summary<'s>,
    source: &'static str,
    intention: Intention,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Intention {
    default_allow: bool,
    allowed: bool,
    has_permissions: bool,
    external_source: &'static str,
    has_exact: bool,
}

impl<'s> Neighbour<'s> {
    /// `None` for what stands between services.
    fn of(sum: &'s Sum<'_>) -> Option<Self> {
        let end = matches!(sum.kind, ServiceKind::Typical | ServiceKind::IngressGateway | ServiceKind::ApiGateway);
        let intention = Intention {
            default_allow: true,
            allowed: true,
            has_permissions: false,
            external_source: "",
            has_exact: false,
        };
        end.then(|| Self { summary: Summary::of(sum), source: "proxy-registration", intention })
    }
}
