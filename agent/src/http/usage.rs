//! `/v1/operator/usage`: how much of everything the catalog holds.

use super::call::{Call, Plan, Reply};
use super::{Context, options, wire};
use lictor_catalog::Store;
use lictor_catalog::model::ServiceKind;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "UsageReport")]
#[serde(rename_all = "PascalCase")]
pub(super) struct Report<'a> {
    usage: BTreeMap<&'a str, Usage>,
}

#[derive(Default, JsonSchema, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Usage {
    nodes: usize,
    services: usize,
    service_instances: usize,
    connect_service_instances: Instances,
    /// What is neither of the mesh nor the servers' own service.
    billable_service_instances: u64,
}

/// All of them are always there.
#[derive(Default, JsonSchema, Serialize)]
#[schemars(rename = "MeshInstances")]
#[serde(rename_all = "kebab-case")]
struct Instances {
    connect_proxy: u64,
    connect_native: u64,
    ingress_gateway: u64,
    mesh_gateway: u64,
    terminating_gateway: u64,
    api_gateway: u64,
}

impl From<&Store> for Usage {
    fn from(store: &Store) -> Self {
        let sizes = store.sizes();
        let mut usage = Self {
            nodes: sizes.nodes,
            services: sizes.services,
            service_instances: sizes.instances,
            ..Self::default()
        };
        let of_mesh = &mut usage.connect_service_instances;
        for service in store.services() {
            match service.kind {
                ServiceKind::Typical => {
                    usage.billable_service_instances += u64::from(*service.name != *"consul");
                    of_mesh.connect_native += u64::from(service.connect.native);
                }
                ServiceKind::ConnectProxy => of_mesh.connect_proxy += 1,
                ServiceKind::MeshGateway => of_mesh.mesh_gateway += 1,
                ServiceKind::TerminatingGateway => of_mesh.terminating_gateway += 1,
                ServiceKind::IngressGateway => of_mesh.ingress_gateway += 1,
                ServiceKind::ApiGateway => of_mesh.api_gateway += 1,
            }
        }
        usage
    }
}

/// Every datacenter is the one: there is no federation, and `?global` asks for no more.
pub fn usage(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    options::here(context, call)?;
    if !context.view.leading && !call.params.has("stale") {
        return Ok(Plan::Leader);
    }
    let usage = BTreeMap::from([(context.facts.datacenter.as_str(), Usage::from(&context.view.store))]);
    Ok(Plan::Answer(wire::reply(context, call, &Report { usage })))
}
