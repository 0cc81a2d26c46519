//! Records and the names in them, made from rows of the catalog.

use hickory_proto::rr::rdata::{A, AAAA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// `<node>.node.<dc>.<domain>`; `None` when the node's name cannot be a domain name.
pub(crate) fn node_name(node: &str, datacenter: &str, domain: &Name) -> Option<Name> {
    named(node, b"node", datacenter, domain)
}

/// `<service>.service.<dc>.<domain>`.
pub(crate) fn service_name(service: &str, datacenter: &str, domain: &Name) -> Option<Name> {
    named(service, b"service", datacenter, domain)
}

/// `<hexadecimal>.addr.<dc>.<domain>`.
pub(crate) fn address_name(address: IpAddr, datacenter: &str, domain: &Name) -> Option<Name> {
    let digits = match address {
        IpAddr::V4(address) => format!("{:08x}", address.to_bits()),
        IpAddr::V6(address) => format!("{:032x}", address.to_bits()),
    };
    named(&digits, b"addr", datacenter, domain)
}

fn named(what: &str, kind: &[u8], datacenter: &str, domain: &Name) -> Option<Name> {
    let mut name = Name::new();
    for label in what.split('.') {
        name = name.append_label(label.as_bytes()).ok()?;
    }
    name.append_label(kind).ok()?.append_label(datacenter.as_bytes()).ok()?.append_domain(domain).ok()
}

/// The domain name that a host name in the catalog means.
pub(crate) fn host_name(host: &str) -> Option<Name> {
    let mut name = Name::new();
    for label in host.strip_suffix('.').unwrap_or(host).split('.') {
        name = name.append_label(label.as_bytes()).ok()?;
    }
    name.set_fqdn(true);
    Some(name)
}

pub(crate) fn address_record(owner: Name, ttl: u32, address: IpAddr) -> Record {
    let data = match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    };
    Record::from_rdata(owner, ttl, data)
}

/// Whether a question for `kind` wants this address.
pub(crate) fn wants(kind: RecordType, address: IpAddr) -> bool {
    match kind {
        RecordType::ANY => true,
        RecordType::A => address.is_ipv4(),
        RecordType::AAAA => address.is_ipv6(),
        _ => false,
    }
}

/// One TXT record for each pair of a node's metadata.
pub(crate) fn meta_records(owner: &Name, ttl: u32, meta: &BTreeMap<String, String>) -> impl Iterator<Item = Record> {
    meta.iter().map(move |(key, value)| Record::from_rdata(owner.clone(), ttl, RData::TXT(text(key, value))))
}

/// `key=value` of RFC 1464; the value alone for keys that start with `rfc1035-`.
fn text(key: &str, value: &str) -> TXT {
    let raw = key.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("rfc1035-"));
    let text = if raw { value.to_owned() } else { rfc1464(key, value) };
    // One character-string holds 255 bytes (RFC 1035 §3.3); longer text goes on in the next.
    if text.is_empty() { TXT::from_bytes(vec![b""]) } else { TXT::from_bytes(text.as_bytes().chunks(255).collect()) }
}

/// The backquote quotes itself, `=` in the key, and spaces at the ends of the key.
fn rfc1464(key: &str, value: &str) -> String {
    let inner = key.trim_matches(' ');
    let (leading, trailing) = match inner {
        "" => (key.len(), 0),
        _ => (key.len() - key.trim_start_matches(' ').len(), key.len() - key.trim_end_matches(' ').len()),
    };
    let mut text = "` ".repeat(leading);
    for letter in inner.chars() {
        if matches!(letter, '`' | '=') {
            text.push('`');
        }
        text.push(letter);
    }
    text.push_str(&"` ".repeat(trailing));
    text.push('=');
    text.push_str(&value.replace('`', "``"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_quoted_by_rfc_1464() {
        for (key, value, expected) in [
            ("color", "blue", "color=blue"),
            ("equation", "a=4", "equation=a=4"),
            ("a=a", "true", "a`=a=true"),
            ("a\\=a", "false", "a\\`=a=false"),
            ("`a", "`b", "``a=``b"),
            (" string ", "\"Cat\"", "` string` =\"Cat\""),
            ("  ", "x", "` ` =x"),
            ("RFC1035-txt", "v=spf1 -all", "v=spf1 -all"),
            ("empty", "", "empty="),
        ] {
            let found: Vec<u8> = text(key, value).txt_data.concat();
            assert_eq!(String::from_utf8_lossy(&found), expected, "{key}");
        }
        assert_eq!(text("k", &"v".repeat(300)).txt_data.iter().map(|part| part.len()).collect::<Vec<_>>(), [255, 47]);
    }
}
