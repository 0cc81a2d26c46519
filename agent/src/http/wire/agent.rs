//! A service and a member as the agent shows them.

use super::service::{Addresses, Proxy, WireConnect, WireLocality, WireWeights};
use super::{Encoded, go, is_zero};
use crate::gossip::Member;
use crate::http::call::Encoding;
use lictor_catalog::Service;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A service of this agent.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AgentService<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: &'static str,
    #[serde(rename = "ID")]
    id: &'a str,
    service: &'a str,
    tags: &'a [String],
    meta: &'a BTreeMap<String, String>,
    port: u16,
    address: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    socket_path: &'a str,
    #[serde(skip_serializing_if = "Addresses::is_empty")]
    tagged_addresses: Addresses<'a>,
    weights: WireWeights,
    enable_tag_override: bool,
    #[serde(skip_serializing_if = "is_zero")]
    create_index: u64,
    #[serde(skip_serializing_if = "is_zero")]
    modify_index: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    content_hash: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<Proxy<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<WireConnect>,
    datacenter: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    locality: Option<WireLocality<'a>>,
}

impl<'a> AgentService<'a> {
    /// `content_hash` is shown for a single service only; empty leaves it out.
    #[must_use]
    pub fn of(service: &'a Service, datacenter: &'a str, content_hash: &'a str) -> Self {
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
        let weights = WireWeights { passing: weights.passing.max(1), warning: weights.warning };
        Self {
            kind: kind.as_str(),
            id,
            service: name,
            tags,
            meta,
            port: *port,
            address,
            socket_path,
            tagged_addresses: Addresses(tagged_addresses),
            weights,
            enable_tag_override: *enable_tag_override,
            create_index: create_index.0,
            modify_index: modify_index.0,
            content_hash,
            proxy: (!proxy.is_empty()).then_some(Proxy(proxy)),
            connect: connect.native.then(|| (*connect).into()),
            datacenter,
            locality: locality.as_ref().map(Into::into),
        }
    }
}

/// One service of this agent with its content hash, or that there is none of this id.
#[must_use]
pub fn own_service(id: &str, service: Option<(&Service, u64)>, encoding: &Encoding, datacenter: &str) -> Encoded {
    let Some((service, hash)) = service else { return Encoded::no(format!("unknown service ID: {id}")) };
    let hash = format!("{hash:x}");
    Encoded::json(go::to_vec(&AgentService::of(service, datacenter, &hash), encoding.pretty, 512))
}

/// A member. The protocol numbers are those of the Serf that clients know.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Member")]
#[serde(rename_all = "PascalCase")]
pub struct WireMember<'a> {
    name: &'a str,
    addr: IpAddr,
    port: u16,
    tags: &'a BTreeMap<String, String>,
    status: u8,
    protocol_min: u8,
    protocol_max: u8,
    protocol_cur: u8,
    delegate_min: u8,
    delegate_max: u8,
    delegate_cur: u8,
}

impl<'a> From<&'a Member> for WireMember<'a> {
    fn from(member: &'a Member) -> Self {
        let Member { id: _, name, address, status, tags } = member;
        Self {
            name,
            addr: address.ip(),
            port: address.port(),
            tags,
            status: status.code(),
            protocol_min: 1,
            protocol_max: 5,
            protocol_cur: 2,
            delegate_min: 2,
            delegate_max: 5,
            delegate_cur: 4,
        }
    }
}
