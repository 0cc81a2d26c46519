//! From rows to bytes.

use super::check::WireCheck;
use super::connect::{WireConfiguration, WireRoots, pem};
use super::coordinate::WirePlace;
use super::kv::{WireKv, WireSequencer};
use super::node::WireNode;
use super::prepared::{WireExecuted, WireExplained, WireQuery};
use super::service::{CatalogService, WireService};
use super::session::WireSession;
use super::{Each, Encoded, go, gzip, txn, ui};
use crate::http::call::{Encoding, Form};
use crate::http::filter::Filter;
use bytes::Bytes;
use lictor_catalog::model::{Check, KvEntry, KvRow, Service, folded};
use lictor_catalog::query::{Instance, NodeDump, meta_match};
use lictor_catalog::{Query, Rows};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bytes that a node, a service or a check takes, roughly: a guess that saves moving the buffer while it grows.
const ROW: usize = 512;

/// What is missing when a prepared query is.
const QUERY: &str = "Query not found";

/// What a raw value is sent with, so that no browser takes it for a page of ours.
const RAW_HEADERS: &[(&str, &str)] = &[("x-content-type-options", "nosniff"), ("content-security-policy", "sandbox")];

/// The rows that `query` found, as they are sent.
#[must_use]
pub fn encode(query: &Query, rows: &Rows, encoding: &Encoding, datacenter: &str) -> Encoded {
    let plain = plain(query, rows, encoding, datacenter);
    if encoding.gzip && !plain.body.is_empty() {
        Encoded { body: gzip(&plain.body), gzip: true, ..plain }
    } else {
        plain
    }
}

fn plain(query: &Query, rows: &Rows, encoding: &Encoding, datacenter: &str) -> Encoded {
    let pretty = encoding.pretty;
    if encoding.form == Form::Absent {
        return Encoded::json(go::to_vec(&[(); 0], pretty, 8));
    }
    let rows = match &encoding.filter {
        None => Cow::Borrowed(rows),
        Some(filter) => Cow::Owned(filtered(query, rows.clone(), filter, datacenter)),
    };
    let body = match &*rows {
        Rows::Nodes(nodes) => {
            let nodes_shown = Each(nodes.iter().map(|node| WireNode::of(node, datacenter)));
            go::to_vec(&nodes_shown, pretty, nodes.len() * ROW + 2)
        }
        Rows::Services(services) => go::to_vec(services, pretty, services.len() * 64 + 2),
        Rows::Node(None) if encoding.form == Form::List => {
            go::to_vec(&NodeList { node: None, services: &[] }, pretty, 64)
        }
        Rows::Node(None) => go::to_vec(&(), pretty, 8),
        Rows::Node(Some((node, services))) => {
            let (node, capacity) = (WireNode::of(node, datacenter), (services.len() + 1) * ROW);
            if encoding.form == Form::List {
                go::to_vec(&NodeList { node: Some(node), services }, pretty, capacity)
            } else {
                go::to_vec(&NodeMap { node, services: ServiceMap(services) }, pretty, capacity)
            }
        }
        Rows::Dump(nodes) if matches!(query, Query::Dump { node: Some(_) }) => return ui::node(nodes.first(), pretty),
        Rows::Dump(nodes) => match &encoding.form {
            Form::Names { meta } => {
                let names = names(nodes, meta, encoding.filter.as_deref(), datacenter);
                go::to_vec(&names, pretty, names.len() * 64 + 2)
            }
            _ => return ui::page(nodes, encoding, datacenter),
        },
        Rows::Instances(instances) if matches!(query, Query::HealthService { .. }) => {
            let capacity = instances.iter().map(|instance| (2 + instance.checks.len()) * ROW).sum();
            let shown = Each(instances.iter().map(|instance| HealthEntry::of(instance, datacenter)));
            go::to_vec(&shown, pretty, capacity)
        }
        Rows::Instances(instances) => {
            let shown = Each(instances.iter().map(|instance| CatalogService::of(instance, datacenter)));
            go::to_vec(&shown, pretty, instances.len() * 2 * ROW + 2)
        }
        Rows::Checks(checks) => go::to_vec(&CheckList(checks), pretty, checks.len() * ROW + 2),
        Rows::Coordinates(rows) if rows.is_empty() && matches!(query, Query::Coordinate { .. }) => {
            return Encoded::not_found();
        }
        Rows::Coordinates(rows) => {
            let shown = Each(rows.iter().map(|row| WirePlace::from(&**row)));
            go::to_vec(&shown, pretty, rows.len() * ROW + 2)
        }
        Rows::KvEntry(None) => return Encoded::not_found(),
        Rows::KvEntry(Some(row)) if encoding.form == Form::Raw => return raw(&row.entry()),
        Rows::KvEntry(Some(row)) if encoding.form == Form::Sequencer => match WireSequencer::of(&row.entry()) {
            Some(shown) => go::to_vec(&shown, pretty, 2 * row.key().len() + 256),
            None => return Encoded::not_found(),
        },
        Rows::KvEntry(Some(row)) => go::to_vec(&[WireKv::from(row.entry())], pretty, size(&row.entry())),
        Rows::KvEntries(rows) if rows.is_empty() => return Encoded::not_found(),
        Rows::KvEntries(rows) => {
            let entries = || rows.iter().map(KvRow::entry);
            go::to_vec(&Each(entries().map(WireKv::from)), pretty, entries().map(|entry| size(&entry)).sum())
        }
        // Under a prefix, no keys mean that the prefix is missing; under none, that the store is empty.
        Rows::Keys(keys) if keys.is_empty() && !matches!(query, Query::KvKeys { prefix, .. } if prefix.is_empty()) => {
            return Encoded::not_found();
        }
        Rows::Keys(keys) => go::to_vec(keys, pretty, keys.iter().map(|key| key.len() + 4).sum()),
        Rows::Authority(authority) => match (&encoding.form, authority.as_deref()) {
            (Form::Pem, authority) => {
                let text = authority.map(|authority| pem("CERTIFICATE", &authority.certificate)).unwrap_or_default();
                let content_type = Some("application/pem-certificate-chain");
                return Encoded { content_type, ..Encoded::json(text.into_bytes()) };
            }
            (Form::Configuration, authority) => go::to_vec(&WireConfiguration::of(authority), pretty, 256),
            (_, authority) => go::to_vec(&WireRoots::of(authority), pretty, 4 * ROW),
        },
        Rows::Txn(result) => return txn::transaction(result, pretty, datacenter),
        Rows::Sessions(sessions) => {
            let shown = Each(sessions.iter().map(|session| WireSession::from(&**session)));
            go::to_vec(&shown, pretty, sessions.len() * ROW + 2)
        }
        Rows::PreparedQueries(queries) => match (query, &queries[..]) {
            (Query::PreparedQueries, queries) => {
                let shown = Each(queries.iter().map(|query| WireQuery::from(&**query)));
                go::to_vec(&shown, pretty, queries.len() * ROW + 2)
            }
            (_, []) => return Encoded::no(QUERY),
            (Query::Explain { .. }, [query, ..]) => {
                go::to_vec(&WireExplained { query: WireQuery::from(&**query) }, pretty, ROW)
            }
            (_, [query, ..]) => go::to_vec(&[WireQuery::from(&**query)], pretty, ROW),
        },
        Rows::Executed(None) => return Encoded::no(QUERY),
        Rows::Executed(Some(found)) => {
            let capacity = found.instances.iter().map(|instance| (2 + instance.checks.len()) * ROW).sum::<usize>();
            go::to_vec(&WireExecuted::of(found, datacenter), pretty, capacity + ROW)
        }
    };
    Encoded::json(body)
}

/// The rows that a filter keeps, each judged in the shape it is sent in.
fn filtered(query: &Query, mut rows: Rows, filter: &Filter, datacenter: &str) -> Rows {
    match &mut rows {
        Rows::Nodes(nodes) => nodes.retain(|node| filter.keeps(&WireNode::of(node, datacenter))),
        Rows::Node(Some((_, services))) => services.retain(|service| filter.keeps(&WireService::of(service))),
        Rows::Instances(instances) if matches!(query, Query::HealthService { .. }) => {
            instances.retain(|instance| filter.keeps(&HealthEntry::of(instance, datacenter)));
        }
        Rows::Instances(instances) => {
            instances.retain(|instance| filter.keeps(&CatalogService::of(instance, datacenter)));
        }
        Rows::Checks(checks) => checks.retain(|check| filter.keeps(&WireCheck::from(&**check))),
        // They are judged while they are put together.
        Rows::Dump(_) => {}
        Rows::Services(_)
        | Rows::Node(None)
        | Rows::Coordinates(_)
        | Rows::KvEntry(_)
        | Rows::KvEntries(_)
        | Rows::Keys(_)
        | Rows::Sessions(_)
        | Rows::Authority(_)
        | Rows::Txn(_)
        | Rows::PreparedQueries(_)
        | Rows::Executed(_) => {}
    }
    rows
}

/// The services of the instances that a filter keeps, with these instances' tags. Names are spelled as the first is.
fn names<'a>(
    nodes: &'a [NodeDump],
    meta: &[(String, String)],
    filter: Option<&Filter>,
    datacenter: &str,
) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut names = BTreeMap::new();
    for dump in nodes.iter().filter(|dump| meta_match(&dump.node.meta, meta)) {
        for service in &dump.services {
            let (node, service_row) = (Arc::clone(&dump.node), Arc::clone(service));
            let instance = Instance { node, service: service_row, checks: Vec::new() };
            if filter.is_none_or(|filter| filter.keeps(&CatalogService::of(&instance, datacenter))) {
                let (_, tags) =
                    names.entry(folded(&service.name)).or_insert_with(|| (service.name.as_str(), BTreeSet::new()));
                tags.extend(service.tags.iter().map(String::as_str).filter(|tag| !tag.is_empty()));
            }
        }
    }
    names.into_values().collect()
}

/// About how long an entry becomes, its value in base64.
fn size(entry: &KvEntry<'_>) -> usize {
    entry.value.len() / 3 * 4 + entry.key.len() + 256
}

fn raw(entry: &KvEntry<'_>) -> Encoded {
    let body = Bytes::copy_from_slice(entry.value);
    Encoded { status: 200, content_type: Some("text/plain"), body, gzip: false, headers: RAW_HEADERS }
}

/// `catalog/node`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "NodeWithServices")]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct NodeMap<'a> {
    node: WireNode<'a>,
    services: ServiceMap<'a>,
}

shown_as!(ServiceMap<'_>, BTreeMap<String, WireService<'_>>);

struct ServiceMap<'a>(&'a [Arc<Service>]);

impl Serialize for ServiceMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|service| (service.id.as_str(), WireService::of(service))))
    }
}

/// `catalog/node-services`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "NodeWithServiceList")]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct NodeList<'a> {
    node: Option<WireNode<'a>>,
    #[serde(serialize_with = "service_list")]
    #[schemars(with = "Vec<WireService<'_>>")]
    services: &'a [Arc<Service>],
}

pub(super) fn service_list<S: Serializer>(services: &&[Arc<Service>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(services.iter().map(|service| WireService::of(service)))
}

/// An instance in `health/service`.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct HealthEntry<'a> {
    node: WireNode<'a>,
    service: WireService<'a>,
    checks: CheckList<'a>,
}

impl<'a> HealthEntry<'a> {
    pub(super) fn of(instance: &'a Instance, datacenter: &'a str) -> Self {
        let Instance { node, service, checks } = instance;
        Self { node: WireNode::of(node, datacenter), service: WireService::of(service), checks: CheckList(checks) }
    }
}

shown_as!(CheckList<'_>, Vec<WireCheck<'_>>);

pub(super) struct CheckList<'a>(pub(super) &'a [Arc<Check>]);

impl Serialize for CheckList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|check| WireCheck::from(&**check)))
    }
}
