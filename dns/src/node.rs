//! `<node>.node`: a node's address, whatever its health, and its metadata.

use crate::answer::{Answer, Ask};
use crate::record;
use hickory_proto::rr::{Name, Record, RecordType};
use lictor_catalog::Node;
use std::net::IpAddr;

pub(crate) fn node(ask: &Ask<'_>, name: &str) -> Answer {
    let Some(node) = ask.store.node(name) else { return ask.not_found() };
    let mut answer = ask.nothing();
    if !matches!(ask.kind, RecordType::A | RecordType::AAAA | RecordType::CNAME | RecordType::ANY | RecordType::TXT) {
        return answer;
    }
    let ttl = ask.settings.node_ttl();
    if ask.kind != RecordType::TXT {
        answer.answers = own_address(ask, node, ttl);
    }
    if matches!(ask.kind, RecordType::ANY | RecordType::TXT) {
        answer.answers.extend(record::meta_records(ask.owner, ttl, &node.meta));
    } else if ask.settings.enable_additional_node_meta_txt {
        answer.additionals.extend(record::meta_records(ask.owner, ttl, &node.meta));
    }
    answer
}

fn own_address(ask: &Ask<'_>, node: &Node, ttl: u32) -> Vec<Record> {
    match node.address.parse::<IpAddr>() {
        Ok(address) if record::wants(ask.kind, address) => {
            vec![record::address_record(ask.owner.clone(), ttl, address)]
        }
        Ok(_) => Vec::new(),
        Err(_) => ask.alias(&node.address, ttl),
    }
}

/// The records that tell a node's address beside an answer that names it.
pub(crate) fn glue(ask: &Ask<'_>, owner: &Name, node: &Node, ttl: u32) -> Vec<Record> {
    match node.address.parse::<IpAddr>() {
        Ok(address) => vec![record::address_record(owner.clone(), ttl, address)],
        Err(_) => Ask { owner, ..*ask }.alias(&node.address, ttl),
    }
}
