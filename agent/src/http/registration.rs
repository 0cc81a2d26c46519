//! The bodies of `catalog/register` and `catalog/deregister`: read forgivingly, defaulted and validated in Consul's words.
//! What does not decode is answered with 400, what decodes but makes no sense with 500.

use super::call::{Call, Reply};
use super::{Context, options, undecodable};
use crate::json::{BadField, Object};
use lictor_catalog::model::{
    Check, CheckDefinition, CheckId, Connect, Locality, Node, NodeName, Service, ServiceAddress, ServiceId,
    ServiceKind, ServiceName, Status, Weights,
};
use lictor_catalog::{Deregister, Register};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;
use uuid::Uuid;

/// Why a body was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Bad {
    #[error("Request decode failed: {0}")]
    Field(#[from] BadField),
    #[error("Request decode failed: Service.Kind: unknown kind {0:?}")]
    Kind(String),
    #[error("Status for checks must 'passing', 'warning', 'critical'")]
    Status,
    #[error("Must provide node")]
    NoNode,
    #[error("Must provide address if SkipNodeUpdate is not set")]
    NoAddress,
    #[error("Bad node ID: {0}")]
    NodeId(uuid::Error),
    #[error("Must provide service name with ID")]
    NoServiceName,
    #[error("Invalid service address")]
    ServiceAddress,
    #[error("check node {check:?} does not match node {node:?}")]
    CheckNode { check: String, node: String },
    #[error("Must provide a name or CheckID for each check")]
    NoCheckName,
}

impl From<Bad> for Reply {
    fn from(bad: Bad) -> Self {
        let status = match &bad {
            Bad::Field(_) | Bad::Kind(_) | Bad::Status => 400,
            Bad::NoNode
            | Bad::NoAddress
            | Bad::NodeId(_)
            | Bad::NoServiceName
            | Bad::ServiceAddress
            | Bad::CheckNode { .. }
            | Bad::NoCheckName => 500,
        };
        Self::text(status, bad.to_string())
    }
}

/// The command that a registration's body asks for.
pub(super) fn register(context: &Context<'_>, call: &Call, body: &Value) -> Result<Register, Reply> {
    let object = Object::of(body).map_err(undecodable)?;
    own_datacenter(context, call, &object)?;
    Ok(read_register(&object)?)
}

/// The command that a deregistration's body asks for: the service, else the check, else the node.
pub(super) fn deregister(context: &Context<'_>, call: &Call, body: &Value) -> Result<Deregister, Reply> {
    let object = Object::of(body).map_err(undecodable)?;
    own_datacenter(context, call, &object)?;
    Ok(read_deregister(&object)?)
}

fn own_datacenter(context: &Context<'_>, call: &Call, object: &Object<'_>) -> Result<(), Reply> {
    let named = object.string("Datacenter").map_err(undecodable)?;
    // The body's datacenter wins over the parameter, as it does in Consul.
    let name = if named.is_empty() { call.params.get("dc").unwrap_or_default() } else { &named };
    options::own_datacenter(context, name)
}

fn read_deregister(object: &Object<'_>) -> Result<Deregister, Bad> {
    let (node, service, check) = (object.string("Node")?, object.string("ServiceID")?, object.string("CheckID")?);
    if node.is_empty() {
        return Err(Bad::NoNode);
    }
    let node = NodeName::from(node);
    Ok(if !service.is_empty() {
        Deregister::Service(node, service.into())
    } else if !check.is_empty() {
        Deregister::Check(node, check.into())
    } else {
        Deregister::Node(node)
    })
}

fn read_register(object: &Object<'_>) -> Result<Register, Bad> {
    let skip_node_update = object.boolean("SkipNodeUpdate")?;
    let service = object.object("Service")?;
    let mut checks: Vec<Object<'_>> = object.object("Check")?.into_iter().collect();
    for check in object.list("Checks")? {
        checks.push(Object::of(check)?);
    }
    // Everything is decoded before anything is judged, so that a body of the wrong shape is always a 400.
    let node = read_node(object, "NodeMeta")?;
    let service = service.map(|service| read_service(&service)).transpose()?;
    let checks = checks.iter().map(read_check).collect::<Result<Vec<_>, _>>()?;
    if node.name.is_empty() {
        return Err(Bad::NoNode);
    }
    let id = node_id(object)?;
    if node.address.is_empty() && !skip_node_update {
        return Err(Bad::NoAddress);
    }
    let node = Node { id, ..node };
    let service = service.map(|service| complete_service(service, &node.name)).transpose()?;
    let checks = checks.into_iter().map(|check| complete_check(check, &node.name)).collect::<Result<_, _>>()?;
    Ok(Register { node, skip_node_update, service, checks })
}

/// A node as transactions write it, where nothing stands beside it.
pub(super) fn node(object: &Object<'_>) -> Result<Node, Bad> {
    Ok(Node { id: node_id(object)?, ..read_node(object, "Meta")? })
}

/// A node's id, if it has one.
pub(super) fn node_id(object: &Object<'_>) -> Result<Option<Uuid>, Bad> {
    let id = object.string("ID")?;
    if id.is_empty() { Ok(None) } else { Uuid::parse_str(&id).map(Some).map_err(Bad::NodeId) }
}

/// The node but for its id, which is judged later.
fn read_node(object: &Object<'_>, meta: &str) -> Result<Node, Bad> {
    Ok(Node {
        name: object.string("Node")?.into(),
        address: object.string("Address")?,
        tagged_addresses: object.string_map("TaggedAddresses")?,
        meta: object.string_map(meta)?,
        ..Node::default()
    })
}

/// A service, decoded and not judged.
pub(super) fn read_service(object: &Object<'_>) -> Result<Service, Bad> {
    // Transactions compare it; everywhere it has to be a number.
    object.number("ModifyIndex", u64::MAX)?;
    let word = object.string("Kind")?;
    let kind = ServiceKind::parse(&word).ok_or(Bad::Kind(word))?;
    // Go's client always sends weights, zero where nothing was said. As in Consul, an instance that would get no load is not meant.
    let weights = object.object("Weights")?.map(|weights| read_weights(&weights)).transpose()?;
    let weights = weights.filter(|weights| weights.passing > 0).unwrap_or_default();
    // A typical service has no proxy; what is sent for one is the empty shape that we ourselves show.
    let proxy = match object.object("Proxy")?.and_then(|_| object.get("Proxy")) {
        Some(proxy) if kind != ServiceKind::Typical => proxy.to_string(),
        _ => String::new(),
    };
    let native = object.object("Connect")?.map(|connect| connect.boolean("Native")).transpose()?.unwrap_or_default();
    let locality = match object.object("Locality")? {
        None => None,
        Some(locality) => Some(Locality { region: locality.string("Region")?, zone: locality.string("Zone")? }),
    };
    Ok(Service {
        id: object.string("ID")?.into(),
        name: object.string("Service")?.into(),
        kind,
        tags: object.strings("Tags")?,
        address: object.string("Address")?,
        port: object.port("Port")?,
        socket_path: object.string("SocketPath")?,
        tagged_addresses: read_addresses(object)?,
        meta: object.string_map("Meta")?,
        weights,
        enable_tag_override: object.boolean("EnableTagOverride")?,
        proxy,
        connect: Connect { native },
        locality,
        ..Service::default()
    })
}

fn read_weights(object: &Object<'_>) -> Result<Weights, BadField> {
    Ok(Weights { passing: object.port("Passing")?, warning: object.port("Warning")? })
}

fn read_addresses(object: &Object<'_>) -> Result<BTreeMap<String, ServiceAddress>, Bad> {
    let Some(addresses) = object.object("TaggedAddresses")? else { return Ok(BTreeMap::new()) };
    let one = |(tag, value): (&str, &Value)| {
        let address = Object::of(value)?;
        Ok((tag.to_owned(), ServiceAddress { address: address.string("Address")?, port: address.port("Port")? }))
    };
    addresses.iter().map(one).collect()
}

/// A service that is to be on this node.
pub(super) fn complete_service(service: Service, node: &NodeName) -> Result<Service, Bad> {
    if service.name.is_empty() {
        return Err(Bad::NoServiceName);
    }
    if service.address.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified()) {
        return Err(Bad::ServiceAddress);
    }
    let id = if service.id.is_empty() { ServiceId::from(&*service.name) } else { service.id };
    Ok(Service { id, node: node.clone(), ..service })
}

/// A check, decoded and not judged.
pub(super) fn read_check(object: &Object<'_>) -> Result<Check, Bad> {
    // Transactions compare it; everywhere it has to be a number.
    object.number("ModifyIndex", u64::MAX)?;
    let status = match object.string("Status")?.as_str() {
        "" => Status::Critical,
        word => Status::parse(word).ok_or(Bad::Status)?,
    };
    let definition = object.object("Definition")?.map(|definition| read_definition(&definition)).transpose()?;
    let derived = definition.as_ref().map_or("", kind_of);
    Ok(Check {
        node: object.string("Node")?.into(),
        id: object.string("CheckID")?.into(),
        name: object.string("Name")?,
        status,
        notes: object.string("Notes")?,
        output: object.string("Output")?,
        service_id: object.string("ServiceID")?.into(),
        service_name: ServiceName::from(object.string("ServiceName")?),
        service_tags: object.strings("ServiceTags")?,
        kind: if derived.is_empty() { object.string("Type")? } else { derived.to_owned() },
        interval: object.duration("Interval")?.unwrap_or_default(),
        timeout: object.duration("Timeout")?.unwrap_or_default(),
        exposed_port: object.port("ExposedPort")?,
        definition: definition.filter(|definition| *definition != CheckDefinition::default()).map(Box::new),
        ..Check::default()
    })
}

fn read_definition(object: &Object<'_>) -> Result<CheckDefinition, Bad> {
    let mut header = BTreeMap::new();
    if let Some(headers) = object.object("Header")? {
        for (name, _) in headers.iter() {
            header.insert(name.to_owned(), headers.strings(name)?);
        }
    }
    Ok(CheckDefinition {
        http: object.string("HTTP")?,
        header,
        method: object.string("Method")?,
        body: object.string("Body")?,
        tls_server_name: object.string("TLSServerName")?,
        tls_skip_verify: object.boolean("TLSSkipVerify")?,
        tcp: object.string("TCP")?,
        tcp_use_tls: object.boolean("TCPUseTLS")?,
        udp: object.string("UDP")?,
        grpc: object.string("GRPC")?,
        grpc_use_tls: object.boolean("GRPCUseTLS")?,
        os_service: object.string("OSService")?,
        interval: object.duration("Interval")?.unwrap_or_default(),
        timeout: object.duration("Timeout")?.unwrap_or_default(),
        deregister_after: object.duration("DeregisterCriticalServiceAfter")?.unwrap_or_default(),
    })
}

/// The word for what a definition probes; empty when it probes nothing.
fn kind_of(definition: &CheckDefinition) -> &'static str {
    [
        (&definition.http, "http"),
        (&definition.tcp, "tcp"),
        (&definition.udp, "udp"),
        (&definition.grpc, "grpc"),
        (&definition.os_service, "os_service"),
    ]
    .into_iter()
    .find(|(target, _)| !target.is_empty())
    .map_or("", |(_, kind)| kind)
}

/// A check of this node, or of something on it.
pub(super) fn complete_check(check: Check, node: &NodeName) -> Result<Check, Bad> {
    if check.node.is_empty() || check.node.eq_ignore_ascii_case(node) {
        let id = if check.id.is_empty() { CheckId::from(check.name.as_str()) } else { check.id };
        if id.is_empty() {
            return Err(Bad::NoCheckName);
        }
        return Ok(Check { id, node: node.clone(), ..check });
    }
    Err(Bad::CheckNode { check: check.node.to_string(), node: node.to_string() })
}
