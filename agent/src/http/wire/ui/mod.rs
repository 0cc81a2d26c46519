//! What Consul's web page is drawn from: nodes with all that is on them, and what they add up to.

mod sums;

use super::node::{NodeId, OrNull};
use super::rows::{CheckList, HealthEntry, service_list};
use super::service::WireService;
use super::{Each, Encoded, go};
use crate::http::call::{Encoding, Form};
use crate::http::filter::Filter;
use lictor_catalog::model::{Check, Node, Service, Status};
use lictor_catalog::query::{Instance, NodeDump};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use sums::Sums;
pub(in crate::http) use sums::{Listed, Topology};

/// Bytes that a node with what is on it takes, and a service that is summed up, roughly.
const NODE: usize = 2048;
const SUMMARY: usize = 512;

/// All nodes, in one of the forms there are.
pub(super) fn page(nodes: &[NodeDump], encoding: &Encoding, datacenter: &str) -> Encoded {
    let (pretty, filter) = (encoding.pretty, encoding.filter.as_deref());
    Encoded::json(match &encoding.form {
        Form::Services => {
            let instances = instances(nodes, filter, datacenter);
            let sums = Sums::of(&instances, datacenter);
            let listed = sums.listed();
            go::to_vec(&listed, pretty, listed.len() * SUMMARY + 2)
        }
        Form::Overview => go::to_vec(&Overview::of(nodes), pretty, SUMMARY),
        Form::Topology { service, gateway } => {
            let instances = instances(nodes, None, datacenter);
            go::to_vec(&Sums::of(&instances, datacenter).topology(service, *gateway), pretty, 2 * SUMMARY)
        }
        _ => {
            let shown = nodes.iter().map(WireDump::of).filter(|dump| filter.is_none_or(|filter| filter.keeps(dump)));
            go::to_vec(&Each(shown), pretty, nodes.len() * NODE + 2)
        }
    })
}

/// One node, or that there is none.
pub(super) fn node(found: Option<&NodeDump>, pretty: bool) -> Encoded {
    found.map_or_else(Encoded::not_found, |dump| Encoded::json(go::to_vec(&WireDump::of(dump), pretty, NODE)))
}

fn instances(nodes: &[NodeDump], filter: Option<&Filter>, datacenter: &str) -> Vec<Instance> {
    let kept = |instance: &Instance| filter.is_none_or(|filter| filter.keeps(&HealthEntry::of(instance, datacenter)));
    nodes.iter().flat_map(NodeDump::instances).filter(kept).collect()
}

/// A node with all that is on it.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "NodeDump")]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct WireDump<'a> {
    #[serde(rename = "ID")]
    id: NodeId,
    node: &'a str,
    address: &'a str,
    tagged_addresses: OrNull<'a>,
    meta: &'a BTreeMap<String, String>,
    #[serde(serialize_with = "service_list")]
    #[schemars(with = "Vec<WireService<'_>>")]
    services: &'a [Arc<Service>],
    checks: CheckList<'a>,
}

impl<'a> WireDump<'a> {
    fn of(dump: &'a NodeDump) -> Self {
        let NodeDump { node, services, checks } = dump;
        let Node { id, name, address, tagged_addresses, meta, create_index: _, modify_index: _ } = &**node;
        Self {
            id: NodeId(*id),
            node: name,
            address,
            tagged_addresses: OrNull(tagged_addresses),
            meta,
            services,
            checks: CheckList(checks),
        }
    }
}

/// How many of something are in which state.
#[derive(Clone, Copy, Default, JsonSchema, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Tally<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    total: u64,
    passing: u64,
    warning: u64,
    critical: u64,
}

impl Tally<'_> {
    const fn add(&mut self, status: Status) {
        self.total += 1;
        *match status {
            Status::Passing => &mut self.passing,
            Status::Warning => &mut self.warning,
            Status::Critical => &mut self.critical,
        } += 1;
    }
}

/// The state of whatever has these checks: that of the worst; without any, all is well.
fn worst<'c>(checks: impl Iterator<Item = &'c Arc<Check>>) -> Status {
    checks.map(|check| check.status).max().unwrap_or(Status::Passing)
}

/// `catalog-overview`: nodes by their own checks, instances by theirs, checks by their name. What there is none of is `null`.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct Overview<'a> {
    nodes: Option<[Tally<'a>; 1]>,
    services: Option<Vec<Tally<'a>>>,
    checks: Option<Vec<Tally<'a>>>,
}

impl<'a> Overview<'a> {
    fn of(dumps: &'a [NodeDump]) -> Self {
        let (mut nodes, mut services, mut checks) = (Tally::default(), BTreeMap::new(), BTreeMap::new());
        fn named<'a, 'm>(tallies: &'m mut BTreeMap<&'a str, Tally<'a>>, name: &'a str) -> &'m mut Tally<'a> {
            tallies.entry(name).or_insert_with(|| Tally { name, ..Tally::default() })
        }
        for dump in dumps {
            nodes.add(worst(dump.own_checks()));
            for service in &dump.services {
                named(&mut services, &service.name).add(worst(dump.checks_of(service)));
            }
            for check in &dump.checks {
                named(&mut checks, &check.name).add(check.status);
            }
        }
        let some =
            |tallies: BTreeMap<_, _>| Some(tallies.into_values().collect::<Vec<_>>()).filter(|all| !all.is_empty());
        Self { nodes: (nodes.total > 0).then_some([nodes]), services: some(services), checks: some(checks) }
    }
}
