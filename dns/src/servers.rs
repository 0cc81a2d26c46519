//! SOA and NS: who is authoritative for the domain. The servers are the instances of the service `consul`.

use crate::answer::{Answer, Ask};
use crate::{node, record};
use hickory_proto::rr::rdata::NS;
use hickory_proto::rr::{Name, RData, Record};
use lictor_catalog::query;

/// So many servers are named.
const NAMED_MAX: usize = 3;

/// SOA in the answer, the servers beside it.
pub(crate) fn authority(ask: &Ask<'_>, dice: &mut impl FnMut(u64) -> u64) -> Answer {
    let (authorities, additionals) = named(ask, dice);
    Answer { answers: vec![ask.soa()], authorities, additionals, ..ask.nothing() }
}

pub(crate) fn name_servers(ask: &Ask<'_>, dice: &mut impl FnMut(u64) -> u64) -> Answer {
    let (answers, additionals) = named(ask, dice);
    Answer { answers, additionals, ..ask.nothing() }
}

/// Up to three servers at random, and their addresses.
fn named(ask: &Ask<'_>, dice: &mut impl FnMut(u64) -> u64) -> (Vec<Record>, Vec<Record>) {
    let ttl = ask.settings.node_ttl();
    let mut servers: Vec<_> = query::instances(ask.store, "consul").collect();
    let (mut names, mut glue) = (Vec::new(), Vec::new());
    let mut rest = servers.as_mut_slice();
    while names.len() < NAMED_MAX
        && let Some(server) = crate::service::draw(&mut rest, dice)
    {
        if let Some(name) = server_name(ask, &server.node.name) {
            glue.extend(node::glue(ask, &name, &server.node, ttl));
            names.push(Record::from_rdata(ask.domain.clone(), ttl, RData::NS(NS(name))));
        }
    }
    (names, glue)
}

/// Resolvers take name servers only by host names (RFC 1123 §2.1); a node named otherwise is passed over.
fn server_name(ask: &Ask<'_>, node: &str) -> Option<Name> {
    let valid = node.bytes().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'.'));
    record::node_name(node, &ask.settings.datacenter, ask.domain).filter(|_| valid)
}
