//! `/v1/operator/...`: what an operator looks at and turns.

use super::call::{Call, Plan, Reply};
use super::{Context, options, wire};
use crate::view::Server;
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration<'a> {
    servers: Vec<Peer<'a>>,
    index: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Peer<'a> {
    #[serde(rename = "ID")]
    id: uuid::Uuid,
    node: &'a str,
    address: &'a str,
    leader: bool,
    protocol_version: &'static str,
    voter: bool,
    last_index: u64,
}

impl<'a> From<&'a Server> for Peer<'a> {
    fn from(server: &'a Server) -> Self {
        let Server { id, name, address, leader, voter, last_index } = server;
        // Consul calls a server that gossip does not know so.
        let node = if name.is_empty() { "(unknown)" } else { name };
        Self { id: *id, node, address, leader: *leader, protocol_version: "3", voter: *voter, last_index: last_index.0 }
    }
}

/// The servers of the replicated configuration. Without `?stale` the leader answers, as only it knows it for sure.
pub fn raft_configuration(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    options::own_datacenter(context, call.params.get("dc").unwrap_or_default())?;
    if !context.view.leading && !call.params.has("stale") {
        return Ok(Plan::Leader);
    }
    let servers = context.view.servers.iter().map(Peer::from).collect();
    let configuration = Configuration { servers, index: context.view.applied.0 };
    Ok(Plan::Answer(wire::reply(context, call, &configuration)))
}
