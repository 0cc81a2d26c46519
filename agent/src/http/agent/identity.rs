//! `agent/self` and `agent/version`: who this agent is and what it runs with.

use super::stats::{Stats, stats};
use crate::http::Context;
use crate::http::call::{Call, Plan, Reply};
use crate::http::wire::{self, WireCoordinate, WireMember};
use crate::view::{CONSUL_LEVEL, VERSION};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Builds are reproducible and carry no date; Consul's own undated builds show this one.
const BUILD_DATE: &str = "1970-01-01T00:00:01Z";

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Agent")]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct Identity<'a> {
    config: Config<'a>,
    debug_config: &'a Value,
    /// `null` when coordinates are off.
    coord: Option<WireCoordinate<'a>>,
    member: Option<WireMember<'a>>,
    stats: Stats,
    meta: &'a BTreeMap<String, String>,
}

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "AgentConfig")]
#[serde(rename_all = "PascalCase")]
struct Config<'a> {
    datacenter: &'a str,
    primary_datacenter: &'a str,
    node_name: &'a str,
    #[serde(rename = "NodeID")]
    node_id: Uuid,
    revision: String,
    server: bool,
    version: &'static str,
    build_date: &'static str,
}

#[derive(JsonSchema, Serialize)]
pub(in crate::http) struct Version {
    #[serde(rename = "SHA")]
    sha: String,
    #[serde(rename = "BuildDate")]
    build_date: &'static str,
    #[serde(rename = "HumanVersion")]
    human_version: &'static str,
    #[serde(rename = "FIPS")]
    fips: &'static str,
}

/// What Consul shows as the revision names this program; the version is the level of Consul that clients test for.
fn revision() -> String {
    format!("lictor-{VERSION}")
}

pub fn show(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    let facts = context.facts;
    let identity = Identity {
        config: Config {
            datacenter: &facts.datacenter,
            primary_datacenter: &facts.primary_datacenter,
            node_name: &facts.node_name,
            node_id: facts.node_id,
            revision: revision(),
            server: facts.server,
            version: CONSUL_LEVEL,
            build_date: BUILD_DATE,
        },
        debug_config: &facts.debug_config,
        coord: context.local.place.as_ref().map(WireCoordinate::from),
        member: context.local.members.iter().find(|member| member.id == facts.node_id).map(WireMember::from),
        stats: stats(context),
        meta: &context.local.node.meta,
    };
    Ok(Plan::Answer(wire::reply(context, call, &identity)))
}

pub fn version(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    let version = Version { sha: revision(), build_date: BUILD_DATE, human_version: CONSUL_LEVEL, fips: "" };
    Ok(Plan::Answer(wire::reply(context, call, &version)))
}
