//! The content hash of an agent's service: `mitchellh/hashstructure` over Consul's API struct, which clients compare.
//! Recomputed from what Consul answers; a hash that it gave is the test below.

use lictor_catalog::model::{Connect, Service, ServiceAddress, Weights};
use std::collections::BTreeMap;

/// 64-bit FNV-1 (multiply, then xor) from a fresh start.
fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| hash.wrapping_mul(0x0000_0100_0000_01b3) ^ u64::from(*byte))
}

fn text(value: &str) -> u64 {
    fnv(value.as_bytes())
}

fn signed(value: i64) -> u64 {
    fnv(&value.to_le_bytes())
}

fn unsigned(value: u64) -> u64 {
    fnv(&value.to_le_bytes())
}

fn flag(value: bool) -> u64 {
    fnv(&[u8::from(value)])
}

/// A pointer to nothing.
fn nil() -> u64 {
    signed(0)
}

fn ordered(first: u64, second: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&first.to_le_bytes());
    bytes[8..].copy_from_slice(&second.to_le_bytes());
    fnv(&bytes)
}

fn list(items: impl Iterator<Item = u64>) -> u64 {
    items.fold(0, ordered)
}

fn map(entries: impl Iterator<Item = (u64, u64)>) -> u64 {
    entries.fold(0, |hash, (key, value)| hash ^ ordered(key, value))
}

fn record(name: &str, fields: &[(&str, u64)]) -> u64 {
    fields.iter().fold(text(name), |hash, (field, value)| hash ^ ordered(text(field), *value))
}

fn address(value: &ServiceAddress) -> u64 {
    let ServiceAddress { address, port } = value;
    record("ServiceAddress", &[("Address", text(address)), ("Port", signed(i64::from(*port)))])
}

fn strings(values: &BTreeMap<String, String>) -> u64 {
    map(values.iter().map(|(key, value)| (text(key), text(value))))
}

/// The hash; it is shown as lower-case hex without leading zeros. A proxy's settings count as their JSON text.
#[must_use]
pub fn content_hash(service: &Service) -> u64 {
    let Service {
        node: _,
        id,
        name,
        kind,
        tags,
        address: own_address,
        port,
        socket_path,
        tagged_addresses,
        meta,
        weights: Weights { passing, warning },
        enable_tag_override,
        proxy,
        connect: Connect { native },
        locality: _,
        create_index,
        modify_index,
    } = service;
    let weights = record(
        "AgentWeights",
        &[("Passing", signed(i64::from((*passing).max(1)))), ("Warning", signed(i64::from(*warning)))],
    );
    let connect = || record("AgentServiceConnect", &[("Native", flag(true)), ("SidecarService", nil())]);
    let fields = [
        ("Kind", text(kind.as_str())),
        ("ID", text(id)),
        ("Service", text(name)),
        ("Tags", list(tags.iter().map(|tag| text(tag)))),
        ("Meta", strings(meta)),
        ("Port", signed(i64::from(*port))),
        ("Address", text(own_address)),
        ("SocketPath", text(socket_path)),
        ("TaggedAddresses", map(tagged_addresses.iter().map(|(tag, at)| (text(tag), address(at))))),
        ("Weights", weights),
        ("EnableTagOverride", flag(*enable_tag_override)),
        ("CreateIndex", unsigned(create_index.0)),
        ("ModifyIndex", unsigned(modify_index.0)),
        ("ContentHash", text("")),
        ("Proxy", if proxy.is_empty() { nil() } else { text(proxy) }),
        ("Connect", if *native { connect() } else { nil() }),
        ("PeerName", text("")),
    ];
    record("AgentService", &fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_that_clients_pin() {
        let mut service = Service {
            id: "foo".into(),
            name: "foo".into(),
            tags: vec!["bar".to_owned(), "baz".to_owned()],
            port: 8000,
            ..Service::default()
        };
        assert_eq!(content_hash(&service), 0x3e35_2f34_8d44_f7eb);
        service.tags.reverse();
        assert_ne!(content_hash(&service), 0x3e35_2f34_8d44_f7eb);
    }
}
