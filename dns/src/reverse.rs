//! PTR: from an address back to the first node, else the first service, that has it.

use crate::answer::{Answer, Ask};
use crate::record;
use hickory_proto::rr::rdata::PTR;
use hickory_proto::rr::{RData, Record, RecordType};
use lictor_catalog::query;
use std::net::IpAddr;

pub(crate) fn reverse(ask: &Ask<'_>, address: IpAddr) -> Answer {
    let (nodes, services) = query::at_address(ask.store, address);
    let datacenter = &ask.settings.datacenter;
    let node = nodes.iter().find_map(|node| record::node_name(&node.name, datacenter, ask.domain));
    let name = node
        .or_else(|| services.iter().find_map(|service| record::service_name(&service.name, datacenter, ask.domain)));
    match name {
        None => ask.not_found(),
        Some(name) if matches!(ask.kind, RecordType::PTR | RecordType::ANY) => {
            Answer { answers: vec![Record::from_rdata(ask.owner.clone(), 0, RData::PTR(PTR(name)))], ..ask.nothing() }
        }
        Some(_) => ask.no_data(),
    }
}
