//! `Stats` of `agent/self`, which the command line shows as `info`: sections, keys and values, all of them text.

use crate::gossip::MemberStatus;
use crate::http::Context;
use crate::time::format_duration;
use crate::view::{CONSUL_LEVEL, VERSION};
use std::collections::BTreeMap;

pub type Stats = BTreeMap<&'static str, BTreeMap<&'static str, String>>;

fn section<const N: usize>(pairs: [(&'static str, String); N]) -> BTreeMap<&'static str, String> {
    pairs.into()
}

#[must_use]
pub fn stats(context: &Context<'_>) -> Stats {
    let Context { view, local, facts, now: _ } = context;
    let count = |status| local.members.iter().filter(|member| member.status == status).count().to_string();
    let mut stats = Stats::from([
        (
            "agent",
            section([("checks", local.checks.len().to_string()), ("services", local.services.len().to_string())]),
        ),
        ("build", section([("lictor", VERSION.to_owned()), ("version", CONSUL_LEVEL.to_owned())])),
        ("runtime", section([("arch", std::env::consts::ARCH.to_owned()), ("os", std::env::consts::OS.to_owned())])),
        (
            "serf_lan",
            section([
                ("encrypted", facts.encrypted.to_string()),
                ("failed", count(MemberStatus::Dead)),
                ("health_score", local.health_score.to_string()),
                ("left", count(MemberStatus::Left)),
                ("members", local.members.len().to_string()),
            ]),
        ),
    ]);
    let mut consul = section([("server", facts.server.to_string())]);
    if facts.server {
        let leader = view.leader.as_ref().map(|leader| leader.rpc.to_string()).unwrap_or_default();
        consul.insert("leader", view.leading.to_string());
        consul.insert("leader_addr", leader);
        stats.insert("raft", raft(context));
    } else {
        let servers = crate::server::rpc_addresses(&local.members, &facts.datacenter);
        consul.insert("known_servers", servers.len().to_string());
    }
    stats.insert("consul", consul);
    stats
}

fn raft(context: &Context<'_>) -> BTreeMap<&'static str, String> {
    let view = context.view;
    let state = match (view.leading, &view.leader) {
        (true, _) => "Leader",
        (false, Some(_)) => "Follower",
        (false, None) => "no leader",
    };
    let last_contact = match (view.leading, &view.leader) {
        (true, _) => "0".to_owned(),
        (false, Some(_)) => format_duration(context.now.since(view.heard)),
        (false, None) => "never".to_owned(),
    };
    let voters = view.servers.iter().filter(|server| server.voter).count();
    let peers = view.servers.iter().filter(|server| server.voter && server.id != context.facts.node_id).count();
    section([
        ("applied_index", view.applied.0.to_string()),
        ("caught_up", view.caught_up.to_string()),
        ("last_contact", last_contact),
        ("num_peers", peers.to_string()),
        ("protocol_version", "3".to_owned()),
        ("state", state.to_owned()),
        ("voters", voters.to_string()),
    ])
}
