//! `/v1/operator/...`: what an operator looks at and turns.

use super::call::{Act, Call, Method, Plan, Reply};
use super::{Context, options, wire};
use crate::view::Server;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "RaftConfiguration")]
#[serde(rename_all = "PascalCase")]
pub(super) struct Configuration<'a> {
    servers: Vec<Peer<'a>>,
    index: u64,
}

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "RaftServer")]
#[serde(rename_all = "PascalCase")]
struct Peer<'a> {
    #[serde(rename = "ID")]
    id: Uuid,
    node: &'a str,
    address: &'a str,
    leader: bool,
    protocol_version: &'static str,
    voter: bool,
    last_index: u64,
}

impl<'a> From<&'a Server> for Peer<'a> {
    fn from(server: &'a Server) -> Self {
        let Server { id, name, address, leader, voter, last_index, health: _ } = server;
        // Consul calls a server that gossip does not know so.
        let node = if name.is_empty() { "(unknown)" } else { name };
        Self { id: *id, node, address, leader: *leader, protocol_version: "3", voter: *voter, last_index: last_index.0 }
    }
}

/// The servers of the replicated configuration. Without `?stale` the leader answers, as only it knows it for sure.
pub fn raft_configuration(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    options::here(context, call)?;
    if !context.view.leading && !call.params.has("stale") {
        return Ok(Plan::Leader);
    }
    let servers = context.view.servers.iter().map(Peer::from).collect();
    let configuration = Configuration { servers, index: context.view.applied.0 };
    Ok(Plan::Answer(wire::reply(context, call, &configuration)))
}

/// Takes a server off the configuration, named by `?id=` or `?address=`.
pub fn remove_peer(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    options::here(context, call)?;
    let given = |name: &str| call.params.get(name).filter(|text| !text.is_empty());
    let (id, address) = match (given("id"), given("address")) {
        (Some(id), None) => (Some(id), None),
        (None, Some(address)) => (None, Some(address)),
        (Some(_), Some(_)) => return Err(Reply::text(400, "Must specify only one of ?id or ?address")),
        (None, None) => {
            let both = "Must specify either ?id with the server's ID or ?address with IP:port of peer to remove";
            return Err(Reply::text(400, both));
        }
    };
    if !context.view.leading {
        return Ok(Plan::Leader);
    }
    let servers = context.view.servers.iter();
    let found = match (id, address) {
        (Some(id), _) => servers.map(|server| server.id).find(|server| server.to_string() == id),
        (None, address) => {
            let mut servers = servers.filter(|server| Some(server.address.as_str()) == address);
            servers.next().map(|server| server.id)
        }
    };
    let (what, name) = if let Some(id) = id { ("id", id) } else { ("address", address.unwrap_or_default()) };
    let missing = || Reply::text(500, format!("{what} {name:?} was not found in the Raft configuration"));
    found.map(|id| Plan::Act(Act::RemoveServer(id))).ok_or_else(missing)
}

/// Hands leadership to the server named by `?id=`, or to the best.
pub fn transfer_leader(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    options::here(context, call)?;
    let id = call.params.get("id").filter(|id| !id.is_empty());
    let bad = |_bad| Reply::text(400, format!("Invalid id {:?}: it must be a server's UUID", id.unwrap_or_default()));
    let to = id.map(str::parse::<Uuid>).transpose().map_err(bad)?;
    Ok(if context.view.leading { Plan::Act(Act::TransferLeadership(to)) } else { Plan::Leader })
}

/// What recovering from the loss of most servers would do at this one; by PUT with `?confirm=` it is done. Not in Consul, where
/// an operator writes `peers.json` by hand.
pub fn recover(_: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    let confirm = match (call.method, call.params.get("confirm")) {
        (Method::Get, _) => None,
        (_, Some(code)) if !code.is_empty() => Some(code.to_owned()),
        _ => return Err(Reply::text(400, "Missing ?confirm with the code that GET shows")),
    };
    Ok(Plan::Act(Act::Recover(confirm)))
}
