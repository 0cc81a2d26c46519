//! `/v1/operator/autopilot/...`: how the leader tends the servers, and how well they are.

use super::call::{Call, Plan, Reply, Survey, WriteAnswer};
use super::{Context, options, value, wire};
use crate::gossip::{Member, MemberStatus};
use crate::json::{BadField, Object};
use crate::time::format_duration;
use crate::view::{Health, Server};
use lictor_catalog::{Autopilot, Command, Index};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;
use uuid::Uuid;

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "AutopilotConfiguration")]
#[serde(rename_all = "PascalCase")]
pub(super) struct Configuration<'a> {
    cleanup_dead_servers: bool,
    last_contact_threshold: String,
    max_trailing_logs: u64,
    min_quorum: u32,
    server_stabilization_time: String,
    redundancy_zone_tag: &'a str,
    disable_upgrade_migration: bool,
    upgrade_version_tag: &'a str,
    create_index: u64,
    modify_index: u64,
}

impl<'a> From<&'a Autopilot> for Configuration<'a> {
    fn from(settings: &'a Autopilot) -> Self {
        let Autopilot {
            cleanup_dead_servers,
            last_contact_threshold,
            max_trailing_logs,
            min_quorum,
            server_stabilization_time,
            redundancy_zone_tag,
            disable_upgrade_migration,
            upgrade_version_tag,
            create_index,
            modify_index,
        } = settings;
        Self {
            cleanup_dead_servers: *cleanup_dead_servers,
            last_contact_threshold: format_duration(*last_contact_threshold),
            max_trailing_logs: *max_trailing_logs,
            min_quorum: *min_quorum,
            server_stabilization_time: format_duration(*server_stabilization_time),
            redundancy_zone_tag,
            disable_upgrade_migration: *disable_upgrade_migration,
            upgrade_version_tag,
            create_index: create_index.0,
            modify_index: modify_index.0,
        }
    }
}

pub fn configuration(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    options::here(context, call)?;
    if !context.view.leading && !call.params.has("stale") {
        return Ok(Plan::Leader);
    }
    let settings = Configuration::from(context.view.store.autopilot());
    Ok(Plan::Answer(wire::reply(context, call, &settings)))
}

/// Sets all of it; what is absent gets its default.
pub fn set_configuration(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    options::here(context, call)?;
    let bad = |cause: &dyn Display| Reply::text(400, format!("Error parsing autopilot config: {cause}"));
    let cas = call.params.get("cas").map(|text| {
        let bad = || Reply::text(400, format!("Error parsing cas value: {text:?} is no index"));
        options::go_u64(text).map(Index).ok_or_else(bad)
    });
    let cas = cas.transpose()?;
    let value = value(call, bad)?;
    let settings = Object::of(&value).and_then(|object| settings(&object)).map_err(|field| bad(&field))?;
    Ok(Plan::Write(Command::Autopilot { settings: Box::new(settings), cas }, WriteAnswer::Boolean))
}

fn settings(object: &Object<'_>) -> Result<Autopilot, BadField> {
    let default = Autopilot::default();
    let min_quorum = object.number("MinQuorum", u32::MAX.into())?.and_then(|number| u32::try_from(number).ok());
    let cleanup = object.get("CleanupDeadServers").map(|_| object.boolean("CleanupDeadServers")).transpose()?;
    Ok(Autopilot {
        cleanup_dead_servers: cleanup.unwrap_or(default.cleanup_dead_servers),
        last_contact_threshold: object.duration("LastContactThreshold")?.unwrap_or(default.last_contact_threshold),
        max_trailing_logs: object.number("MaxTrailingLogs", u64::MAX)?.unwrap_or(default.max_trailing_logs),
        min_quorum: min_quorum.unwrap_or(default.min_quorum),
        server_stabilization_time: object
            .duration("ServerStabilizationTime")?
            .unwrap_or(default.server_stabilization_time),
        redundancy_zone_tag: object.string("RedundancyZoneTag")?,
        disable_upgrade_migration: object.boolean("DisableUpgradeMigration")?,
        upgrade_version_tag: object.string("UpgradeVersionTag")?,
        create_index: Index(0),
        modify_index: Index(0),
    })
}

/// Which of the two reports on the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// A list, and 429 when somebody is not well.
    Health,
    /// Everything, by id.
    State,
}

pub fn health(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    ask(context, call, Report::Health)
}

pub fn state(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    ask(context, call, Report::State)
}

/// Only the leader knows, and only those around it the date.
fn ask(context: &Context<'_>, call: &Call, report: Report) -> Result<Plan, Reply> {
    options::here(context, call)?;
    Ok(if context.view.leading { Plan::Survey(Survey::Servers(report)) } else { Plan::Leader })
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HealthReport<'a> {
    healthy: bool,
    failure_tolerance: usize,
    servers: Vec<ServerHealth<'a>>,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServerHealth<'a> {
    #[serde(rename = "ID")]
    id: Uuid,
    name: &'a str,
    address: &'a str,
    serf_status: &'a str,
    version: &'a str,
    leader: bool,
    last_contact: &'a str,
    last_term: u64,
    last_index: u64,
    healthy: bool,
    voter: bool,
    stable_since: &'a str,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StateReport<'a> {
    healthy: bool,
    failure_tolerance: usize,
    optimistic_failure_tolerance: usize,
    servers: BTreeMap<Uuid, ServerState<'a>>,
    leader: Option<Uuid>,
    voters: Vec<Uuid>,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServerState<'a> {
    #[serde(rename = "ID")]
    id: Uuid,
    name: &'a str,
    address: &'a str,
    node_status: &'a str,
    version: &'a str,
    last_contact: &'a str,
    last_term: u64,
    last_index: u64,
    healthy: bool,
    stable_since: &'a str,
    read_replica: bool,
    status: &'static str,
    meta: &'a BTreeMap<String, String>,
    node_type: &'static str,
}

/// A server, with what gossip and the leader know of it.
struct Known<'a> {
    server: &'a Server,
    member: Option<&'a Member>,
    healthy: bool,
    last_contact: String,
    stable_since: String,
}

impl<'a> Known<'a> {
    fn of(context: &Context<'a>, server: &'a Server, unix_ms: u64) -> Self {
        let member = context.local.members.iter().find(|member| member.id == server.id);
        let Health { healthy, last_contact, since } =
            server.health.unwrap_or(Health { healthy: false, last_contact: None, since: context.now });
        let ago = u64::try_from(context.now.since(since).as_millis()).unwrap_or(u64::MAX);
        // A server that was never heard has been silent for as long as it has been unwell.
        let last_contact = last_contact.unwrap_or_else(|| context.now.since(since));
        Self {
            server,
            member,
            healthy,
            last_contact: format_duration(Duration::from_millis(
                u64::try_from(last_contact.as_millis()).unwrap_or(u64::MAX),
            )),
            stable_since: wire::rfc3339(unix_ms.saturating_sub(ago)),
        }
    }

    fn serf_status(&self) -> &'static str {
        match self.member.map(|member| member.status) {
            Some(MemberStatus::Alive | MemberStatus::Suspect) => "alive",
            Some(MemberStatus::Dead) => "failed",
            Some(MemberStatus::Left) => "left",
            None => "none",
        }
    }

    fn version(&self) -> &'a str {
        self.member.map_or("", crate::server::tags::version)
    }

    fn health(&self, term: u64) -> ServerHealth<'_> {
        ServerHealth {
            id: self.server.id,
            name: &self.server.name,
            address: &self.server.address,
            serf_status: self.serf_status(),
            version: self.version(),
            leader: self.server.leader,
            last_contact: &self.last_contact,
            last_term: term,
            last_index: self.server.last_index.0,
            healthy: self.healthy,
            voter: self.server.voter,
            stable_since: &self.stable_since,
        }
    }

    fn state<'k>(&'k self, term: u64, none: &'k BTreeMap<String, String>) -> ServerState<'k> {
        let (status, node_type) = match (self.server.leader, self.server.voter) {
            (true, _) => ("leader", "voter"),
            (false, true) => ("voter", "voter"),
            // It is on its way to become a voter.
            (false, false) => ("non-voter", "voter"),
        };
        ServerState {
            id: self.server.id,
            name: &self.server.name,
            address: &self.server.address,
            node_status: self.serf_status(),
            version: self.version(),
            last_contact: &self.last_contact,
            last_term: term,
            last_index: self.server.last_index.0,
            healthy: self.healthy,
            stable_since: &self.stable_since,
            read_replica: false,
            status,
            meta: self.member.map_or(none, |member| &member.tags),
            node_type,
        }
    }
}

/// A report on the servers, by their leader. Terms of other servers' logs are not known: a follower's log is of this term
/// as far as it is known to reach.
#[must_use]
pub fn report(context: &Context<'_>, call: &Call, report: Report, unix_ms: u64) -> Reply {
    let servers: Vec<Known<'_>> =
        context.view.servers.iter().map(|server| Known::of(context, server, unix_ms)).collect();
    let voters = servers.iter().filter(|known| known.server.voter);
    let well = voters.clone().filter(|known| known.healthy).count();
    let failure_tolerance = well.saturating_sub(voters.clone().count() / 2 + 1);
    let healthy = servers.iter().all(|known| known.healthy);
    let term = context.view.epoch;
    match report {
        Report::Health => {
            let servers = servers.iter().map(|known| known.health(term)).collect();
            let reply = wire::reply(context, call, &HealthReport { healthy, failure_tolerance, servers });
            Reply { status: if healthy { 200 } else { 429 }, ..reply }
        }
        Report::State => {
            let none = BTreeMap::new();
            let state = StateReport {
                healthy,
                failure_tolerance,
                optimistic_failure_tolerance: failure_tolerance,
                servers: servers.iter().map(|known| (known.server.id, known.state(term, &none))).collect(),
                leader: servers.iter().find(|known| known.server.leader).map(|known| known.server.id),
                voters: voters.map(|known| known.server.id).collect(),
            };
            wire::reply(context, call, &state)
        }
    }
}
