//! A service as the catalog shows it: under its node or beside its checks ([`WireService`]), and spread out together with
//! its node ([`CatalogService`]).

use super::is_false;
use super::node::{NodeId, OrNull};
use lictor_catalog::Node;
use lictor_catalog::model::{Connect, Locality, Service, ServiceAddress, Weights};
use lictor_catalog::query::Instance;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

#[derive(Clone, Copy, JsonSchema, Serialize)]
#[schemars(rename = "Weights")]
#[serde(rename_all = "PascalCase")]
pub(super) struct WireWeights {
    pub(super) passing: u16,
    pub(super) warning: u16,
}

impl From<Weights> for WireWeights {
    fn from(weights: Weights) -> Self {
        let Weights { passing, warning } = weights;
        Self { passing, warning }
    }
}

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Address")]
#[serde(rename_all = "PascalCase")]
struct WireAddress<'a> {
    address: &'a str,
    port: u16,
}

/// `{"lan":{"Address":…,"Port":…}}`.
pub(super) struct Addresses<'a>(pub(super) &'a BTreeMap<String, ServiceAddress>);

impl Addresses<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Addresses<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.0.iter().map(|(tag, ServiceAddress { address, port })| (tag, WireAddress { address, port: *port })),
        )
    }
}

shown_as!(Addresses<'_>, BTreeMap<String, WireAddress<'_>>);

/// A proxy's settings as they were given; for a service that is no proxy, the shape of Go's empty struct.
pub(super) struct Proxy<'a>(pub(super) &'a str);

shown_as!(Proxy<'_>, BTreeMap<String, serde_json::Value>);

/// What Go writes for a proxy configuration that nobody filled in.
const NO_PROXY: &str = r#"{"Mode":"","MeshGateway":{},"Expose":{}}"#;

impl Serialize for Proxy<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Absent {
            mode: &'static str,
            mesh_gateway: Empty,
            expose: Empty,
        }
        if self.0.is_empty() {
            return Absent { mode: "", mesh_gateway: Empty {}, expose: Empty {} }.serialize(serializer);
        }
        // The text was JSON when it was stored; should it not be, nothing is shown rather than something broken.
        match serde_json::from_str::<&RawValue>(self.0) {
            Ok(settings) => settings.serialize(serializer),
            Err(_) => serde_json::from_str::<&RawValue>(NO_PROXY).expect("a constant").serialize(serializer),
        }
    }
}

/// `{}`.
#[derive(JsonSchema, Serialize)]
pub(super) struct Empty {}

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Connect")]
#[serde(rename_all = "PascalCase")]
pub(super) struct WireConnect {
    #[serde(skip_serializing_if = "is_false")]
    native: bool,
}

impl From<Connect> for WireConnect {
    fn from(connect: Connect) -> Self {
        let Connect { native } = connect;
        Self { native }
    }
}

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Locality")]
#[serde(rename_all = "PascalCase")]
pub(super) struct WireLocality<'a> {
    region: &'a str,
    zone: &'a str,
}

impl<'a> From<&'a Locality> for WireLocality<'a> {
    fn from(locality: &'a Locality) -> Self {
        let Locality { region, zone } = locality;
        Self { region, zone }
    }
}

/// A service under its node, or beside its checks.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Service")]
#[serde(rename_all = "PascalCase")]
pub(super) struct WireService<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: &'static str,
    #[serde(rename = "ID")]
    id: &'a str,
    service: &'a str,
    tags: Option<&'a [String]>,
    address: &'a str,
    #[serde(skip_serializing_if = "Addresses::is_empty")]
    tagged_addresses: Addresses<'a>,
    meta: Option<&'a BTreeMap<String, String>>,
    port: u16,
    #[serde(skip_serializing_if = "str::is_empty")]
    socket_path: &'a str,
    weights: WireWeights,
    enable_tag_override: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    locality: Option<WireLocality<'a>>,
    proxy: Proxy<'a>,
    connect: WireConnect,
    peer_name: &'static str,
    create_index: u64,
    modify_index: u64,
}

impl<'a> WireService<'a> {
    pub(super) fn of(service: &'a Service) -> Self {
        let Service {
            node: _,
            id,
            name,
            kind,
            tags,
            address,
            port,
            socket_path,
            tagged_addresses,
            meta,
            weights,
            enable_tag_override,
            proxy,
            connect,
            locality,
            create_index,
            modify_index,
        } = service;
        Self {
            kind: kind.as_str(),
            id,
            service: name,
            tags: Some(tags),
            address,
            tagged_addresses: Addresses(tagged_addresses),
            meta: Some(meta),
            port: *port,
            socket_path,
            weights: (*weights).into(),
            enable_tag_override: *enable_tag_override,
            locality: locality.as_ref().map(Into::into),
            proxy: Proxy(proxy),
            connect: (*connect).into(),
            // Services imported from another cluster have one; there is no such import.
            peer_name: "",
            create_index: create_index.0,
            modify_index: modify_index.0,
        }
    }

    /// As a transaction shows it: what is empty is `null`, as nobody filled it in.
    pub(super) fn bare(self) -> Self {
        let tags = self.tags.filter(|tags| !tags.is_empty());
        Self { tags, meta: self.meta.filter(|meta| !meta.is_empty()), ..self }
    }
}

/// An instance spread out: its node's fields, then its own with `Service` before their names.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct CatalogService<'a> {
    #[serde(rename = "ID")]
    id: NodeId,
    node: &'a str,
    address: &'a str,
    datacenter: &'a str,
    tagged_addresses: OrNull<'a>,
    node_meta: &'a BTreeMap<String, String>,
    service_kind: &'static str,
    #[serde(rename = "ServiceID")]
    service_id: &'a str,
    service_name: &'a str,
    service_tags: &'a [String],
    service_address: &'a str,
    #[serde(skip_serializing_if = "Addresses::is_empty")]
    service_tagged_addresses: Addresses<'a>,
    service_weights: WireWeights,
    service_meta: &'a BTreeMap<String, String>,
    service_port: u16,
    service_socket_path: &'a str,
    service_enable_tag_override: bool,
    service_proxy: Proxy<'a>,
    service_connect: WireConnect,
    service_locality: Option<WireLocality<'a>>,
    create_index: u64,
    modify_index: u64,
}

impl<'a> CatalogService<'a> {
    pub(super) fn of(instance: &'a Instance, datacenter: &'a str) -> Self {
        let Instance { node, service, checks: _ } = instance;
        let Node { id, name: node_name, address: node_address, tagged_addresses: node_tagged, meta: node_meta, .. } =
            &**node;
        let Service {
            node: _,
            id: service_id,
            name,
            kind,
            tags,
            address,
            port,
            socket_path,
            tagged_addresses,
            meta,
            weights,
            enable_tag_override,
            proxy,
            connect,
            locality,
            create_index,
            modify_index,
        } = &**service;
        Self {
            id: NodeId(*id),
            node: node_name,
            address: node_address,
            datacenter,
            tagged_addresses: OrNull(node_tagged),
            node_meta,
            service_kind: kind.as_str(),
            service_id,
            service_name: name,
            service_tags: tags,
            service_address: address,
            service_tagged_addresses: Addresses(tagged_addresses),
            service_weights: (*weights).into(),
            service_meta: meta,
            service_port: *port,
            service_socket_path: socket_path,
            service_enable_tag_override: *enable_tag_override,
            service_proxy: Proxy(proxy),
            service_connect: (*connect).into(),
            service_locality: locality.as_ref().map(Into::into),
            create_index: create_index.0,
            modify_index: modify_index.0,
        }
    }
}
