//! `<service>.service` and `<name>.query`: the healthy instances of a service, by address (A, AAAA, CNAME) or by name and port (SRV).

use crate::answer::{Answer, Ask};
use crate::{node, record, settings};
use hickory_proto::rr::rdata::SRV;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use lictor_catalog::query::{self, Instance};
use lictor_catalog::{AllowAll, Execution, Status};
use std::collections::BTreeSet;
use std::net::IpAddr;

pub(crate) fn service(ask: &Ask<'_>, name: &str, tag: Option<&str>, dice: &mut impl FnMut(u64) -> u64) -> Answer {
    let worst = if ask.settings.only_passing { Status::Passing } else { Status::Warning };
    let mut instances: Vec<Instance> = query::instances(ask.store, name)
        .filter(|instance| tag.is_none_or(|tag| has_tag(instance, tag)) && status(instance) <= worst)
        .collect();
    answer(ask, &mut instances, ask.settings.service_ttl(name), dice)
}

/// What a prepared query finds, in the order it finds it.
pub(crate) fn prepared(ask: &Ask<'_>, name: &str, dice: &mut impl FnMut(u64) -> u64) -> Answer {
    let execution = Execution {
        name: name.to_owned(),
        agent: ask.settings.node.clone(),
        source: ask.source,
        seed: dice(u64::MAX),
        ..Execution::default()
    };
    let Some(mut found) = query::execute(ask.store, &execution, &AllowAll) else { return ask.not_found() };
    let ttl = if found.dns_ttl.text.is_empty() {
        ask.settings.service_ttl(&found.service)
    } else {
        settings::seconds(found.dns_ttl.span)
    };
    answer(ask, &mut found.instances, ttl, &mut |_| 0)
}

fn answer(ask: &Ask<'_>, instances: &mut [Instance], ttl: u32, dice: &mut impl FnMut(u64) -> u64) -> Answer {
    if instances.is_empty() {
        return ask.not_found();
    }
    let answer = if ask.kind == RecordType::SRV {
        by_name(ask, instances, ttl, dice)
    } else {
        by_address(ask, instances, ttl, dice)
    };
    if answer.answers.is_empty() { ask.no_data() } else { answer }
}

/// Consul compares tags case-blind, as DNS names are.
fn has_tag(instance: &Instance, tag: &str) -> bool {
    instance.service.tags.iter().any(|own| own.eq_ignore_ascii_case(tag))
}

/// The worst of the checks of the instance and of its node, maintenance included.
fn status(instance: &Instance) -> Status {
    instance.checks.iter().map(|check| check.status).max().unwrap_or(Status::Passing)
}

/// Takes one of `rest` at random out of it: a shuffle that stops when the answer is full. Dice that always show 0 keep the
/// order.
pub(crate) fn draw<'l>(rest: &mut &'l mut [Instance], dice: &mut impl FnMut(u64) -> u64) -> Option<&'l Instance> {
    let all = std::mem::take(rest);
    let chosen = if all.len() > 1 { usize::try_from(dice(all.len() as u64)).unwrap_or(0) } else { 0 };
    if chosen < all.len() {
        all.swap(0, chosen);
    }
    let (first, others) = all.split_first_mut()?;
    *rest = others;
    Some(first)
}

/// Where an instance is reached.
enum Place<'a> {
    /// It has no address of its own: its node's.
    Node(IpAddr),
    Own(IpAddr),
    Host(&'a str),
    Nowhere,
}

fn place<'a>(ask: &Ask<'_>, instance: &'a Instance) -> Place<'a> {
    let (own, nodes) = (instance.service.address.as_str(), instance.node.address.as_str());
    let node_address = nodes.parse::<IpAddr>();
    match (own, own.parse::<IpAddr>(), node_address) {
        ("", _, Ok(address)) => Place::Node(address),
        ("", ..) if nodes.is_empty() => Place::Nowhere,
        ("", ..) => Place::Host(nodes),
        (_, Ok(address), _) => Place::Own(address),
        // A service whose address is the very name that was asked would lead back here for ever.
        (host, _, Ok(address)) if record::host_name(host).is_some_and(|name| name == *ask.owner) => {
            Place::Node(address)
        }
        (host, ..) => Place::Host(host),
    }
}

/// A and AAAA: each address once. A CNAME may not stand beside other records, so it is given only when there are none.
fn by_address(ask: &Ask<'_>, instances: &mut [Instance], ttl: u32, dice: &mut impl FnMut(u64) -> u64) -> Answer {
    let limit = match ask.settings.a_record_limit {
        0 => ask.room.answers_max,
        limit => limit.min(ask.room.answers_max),
    };
    let mut answer = ask.nothing();
    let mut alias = Vec::new();
    let mut given = BTreeSet::new();
    let mut rest = instances;
    while answer.answers.len() < limit
        && let Some(instance) = draw(&mut rest, dice)
    {
        match place(ask, instance) {
            Place::Node(address) | Place::Own(address) => {
                if record::wants(ask.kind, address) && given.insert(address) {
                    answer.answers.push(record::address_record(ask.owner.clone(), ttl, address));
                }
            }
            Place::Host(host) if alias.is_empty() => alias = ask.alias(host, ttl),
            Place::Host(_) | Place::Nowhere => {}
        }
    }
    if answer.answers.is_empty() {
        answer.answers = alias;
    }
    answer
}

/// SRV, each with the addresses of its target and the metadata of its node beside it.
fn by_name(ask: &Ask<'_>, instances: &mut [Instance], ttl: u32, dice: &mut impl FnMut(u64) -> u64) -> Answer {
    let mut answer = ask.nothing();
    let mut given = BTreeSet::new();
    let mut told = Told::default();
    let mut rest = instances;
    while answer.answers.len() < ask.room.answers_max
        && let Some(instance) = draw(&mut rest, dice)
    {
        let service = &instance.service;
        if !given.insert((instance.node.name.as_str(), service.address.as_str(), service.port)) {
            continue;
        }
        let Some((target, beside)) = target(ask, instance, ttl, &mut told) else { continue };
        let weights = service.weights;
        let weight = if status(instance) == Status::Passing { weights.passing } else { weights.warning };
        let data = SRV::new(1, weight, service.port, target);
        answer.answers.push(Record::from_rdata(ask.owner.clone(), ttl, RData::SRV(data)));
        answer.additionals.extend(beside);
        if ask.settings.enable_additional_node_meta_txt
            && !instance.node.meta.is_empty()
            && told.meta.insert(&instance.node.name)
            && let Some(owner) = record::node_name(&instance.node.name, &ask.settings.datacenter, ask.domain)
        {
            answer.additionals.extend(record::meta_records(&owner, ttl, &instance.node.meta));
        }
    }
    answer
}

/// What stands in the additional section already.
#[derive(Default)]
struct Told<'a> {
    nodes: BTreeSet<&'a str>,
    addresses: BTreeSet<IpAddr>,
    hosts: BTreeSet<&'a str>,
    meta: BTreeSet<&'a str>,
}

/// The name to connect to, and the records that tell its address unless they are told already.
fn target<'a>(ask: &Ask<'_>, instance: &'a Instance, ttl: u32, told: &mut Told<'a>) -> Option<(Name, Vec<Record>)> {
    let datacenter = &ask.settings.datacenter;
    match place(ask, instance) {
        Place::Node(_) => {
            let name = record::node_name(&instance.node.name, datacenter, ask.domain)?;
            let fresh = told.nodes.insert(&instance.node.name);
            let beside = if fresh { node::glue(ask, &name, &instance.node, ttl) } else { Vec::new() };
            Some((name, beside))
        }
        Place::Own(address) => {
            let name = record::address_name(address, datacenter, ask.domain)?;
            let fresh = told.addresses.insert(address);
            let beside = fresh.then(|| record::address_record(name.clone(), ttl, address));
            Some((name, beside.into_iter().collect()))
        }
        Place::Host(host) => {
            let name = record::host_name(host)?;
            let beside = if told.hosts.insert(host) { ask.follow(&name, ttl) } else { Vec::new() };
            Some((name, beside))
        }
        Place::Nowhere => None,
    }
}
