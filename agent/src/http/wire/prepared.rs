//! Prepared queries, and what they found.

use super::rows::HealthEntry;
use lictor_catalog::model::{Failover, FailoverTarget, ServiceQuery, Template};
use lictor_catalog::{Executed, Instance, PreparedQuery};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use uuid::Uuid;

/// In `query` and `query/<id>`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Query")]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct WireQuery<'a> {
    #[serde(rename = "ID")]
    id: Uuid,
    name: &'a str,
    #[serde(serialize_with = "or_empty")]
    #[schemars(with = "String")]
    session: Option<Uuid>,
    token: &'a str,
    template: WireTemplate<'a>,
    service: WireServiceQuery<'a>,
    #[serde(rename = "DNS")]
    dns: WireDns<'a>,
    create_index: u64,
    modify_index: u64,
}

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "QueryTemplate")]
#[serde(rename_all = "PascalCase")]
struct WireTemplate<'a> {
    r#type: &'static str,
    regexp: &'a str,
    remove_empty_tags: bool,
}

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "QueryService")]
#[serde(rename_all = "PascalCase")]
struct WireServiceQuery<'a> {
    service: &'a str,
    failover: WireFailover<'a>,
    only_passing: bool,
    #[serde(rename = "IgnoreCheckIDs")]
    ignore_checks: Option<&'a [String]>,
    near: &'a str,
    tags: Option<&'a [String]>,
    node_meta: Option<&'a BTreeMap<String, String>>,
    service_meta: Option<&'a BTreeMap<String, String>>,
    connect: bool,
}

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Failover")]
#[serde(rename_all = "PascalCase")]
struct WireFailover<'a> {
    nearest_n: u32,
    datacenters: Option<&'a [String]>,
    targets: Option<Vec<WireTarget<'a>>>,
}

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "FailoverTarget")]
#[serde(rename_all = "PascalCase")]
struct WireTarget<'a> {
    peer: &'a str,
    datacenter: &'a str,
}

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Dns")]
struct WireDns<'a> {
    #[serde(rename = "TTL")]
    ttl: &'a str,
}

/// Clients compare what they wrote with what they read: nothing is `null`, not `[]` or `{}`.
fn some<T>(list: &[T]) -> Option<&[T]> {
    (!list.is_empty()).then_some(list)
}

fn some_map(map: &BTreeMap<String, String>) -> Option<&BTreeMap<String, String>> {
    (!map.is_empty()).then_some(map)
}

#[expect(clippy::ref_option, reason = "serde calls it with a reference")]
fn or_empty<S: Serializer>(session: &Option<Uuid>, serializer: S) -> Result<S::Ok, S::Error> {
    match session {
        None => serializer.serialize_str(""),
        Some(session) => session.serialize(serializer),
    }
}

impl<'a> From<&'a PreparedQuery> for WireQuery<'a> {
    fn from(query: &'a PreparedQuery) -> Self {
        let PreparedQuery { id, name, session, token, template, service, dns_ttl, create_index, modify_index } = query;
        let Template { prefix_match, regexp, remove_empty_tags } = template;
        let r#type = if *prefix_match { "name_prefix_match" } else { "" };
        Self {
            id: *id,
            name,
            session: *session,
            token,
            template: WireTemplate { r#type, regexp, remove_empty_tags: *remove_empty_tags },
            service: WireServiceQuery::from(service),
            dns: WireDns { ttl: &dns_ttl.text },
            create_index: create_index.0,
            modify_index: modify_index.0,
        }
    }
}

impl<'a> From<&'a ServiceQuery> for WireServiceQuery<'a> {
    fn from(query: &'a ServiceQuery) -> Self {
        let ServiceQuery {
            service,
            failover,
            only_passing,
            ignore_checks,
            near,
            tags,
            node_meta,
            service_meta,
            connect,
        } = query;
        let Failover { nearest, datacenters, targets } = failover;
        let target = |FailoverTarget { peer, datacenter }: &'a _| WireTarget { peer, datacenter };
        let targets = some(targets).map(|targets| targets.iter().map(target).collect());
        Self {
            service,
            failover: WireFailover { nearest_n: *nearest, datacenters: some(datacenters), targets },
            only_passing: *only_passing,
            ignore_checks: some(ignore_checks),
            near,
            tags: some(tags),
            node_meta: some_map(node_meta),
            service_meta: some_map(service_meta),
            connect: *connect,
        }
    }
}

/// `query/<name>/explain`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Explained")]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct WireExplained<'a> {
    pub(super) query: WireQuery<'a>,
}

/// `query/<name>/execute`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Executed")]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct WireExecuted<'a> {
    service: &'a str,
    nodes: HealthEntries<'a>,
    #[serde(rename = "DNS")]
    dns: WireDns<'a>,
    datacenter: &'a str,
    /// Other datacenters that were asked. None is known yet, and unknown ones do not count.
    failovers: u32,
}

impl<'a> WireExecuted<'a> {
    pub(super) fn of(executed: &'a Executed, datacenter: &'a str) -> Self {
        let Executed { service, instances, dns_ttl } = executed;
        let dns = WireDns { ttl: &dns_ttl.text };
        Self { service, nodes: HealthEntries { instances, datacenter }, dns, datacenter, failovers: 0 }
    }
}

shown_as!(HealthEntries<'_>, Vec<HealthEntry<'_>>);

struct HealthEntries<'a> {
    instances: &'a [Instance],
    datacenter: &'a str,
}

impl Serialize for HealthEntries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.instances.iter().map(|instance| HealthEntry::of(instance, self.datacenter)))
    }
}
