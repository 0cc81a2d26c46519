//! Members of the gossip pool: listing them, joining them, leaving them, sending them away.

use crate::gossip::Member;
use crate::http::call::{Act, Call, Plan, Reply};
use crate::http::filter::shape;
use crate::http::wire::{self, WireMember};
use crate::http::{Context, options};

/// A parameter of `agent/members` and `agent/join` that counts only when it has a value.
fn wan(call: &Call) -> bool {
    call.params.get("wan").is_some_and(|value| !value.is_empty())
}

/// All members. There is no pool across datacenters yet, so that one is empty.
pub fn list(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    let filter = options::filter(call, shape::MEMBER)?;
    let members: &[Member] = if wan(call) { &[] } else { &context.local.members };
    let shown: Vec<_> = members
        .iter()
        .map(WireMember::from)
        .filter(|member| filter.as_ref().is_none_or(|filter| filter.keeps(member)))
        .collect();
    Ok(Plan::Answer(wire::reply(context, call, &shown)))
}

pub fn join(_: &Context<'_>, call: &Call, address: &str) -> Result<Plan, Reply> {
    if wan(call) {
        return Err(Reply::text(500, "joining across datacenters is not supported by this release of lictor yet"));
    }
    if address.is_empty() {
        return Err(Reply::text(400, "Missing address"));
    }
    Ok(Plan::Act(Act::Join(vec![address.to_owned()])))
}

pub fn leave(_: &Context<'_>, _: &Call, _: &str) -> Result<Plan, Reply> {
    Ok(Plan::Act(Act::Leave))
}

/// Sends a failed member away, known by its name, or with `?wan` by `name.datacenter`.
pub fn force_leave(context: &Context<'_>, call: &Call, name: &str) -> Result<Plan, Reply> {
    let suffix = format!(".{}", context.facts.datacenter);
    let node = if call.params.has("wan") { name.strip_suffix(&suffix).unwrap_or(name) } else { name };
    if !context.local.members.iter().any(|member| member.name.eq_ignore_ascii_case(node)) {
        return Err(Reply::text(500, format!("agent: No node found with name '{name}'")));
    }
    Ok(Plan::Act(Act::ForceLeave { node: node.to_owned(), prune: call.params.has("prune") }))
}
