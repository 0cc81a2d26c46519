//! `/v1/status/...`: who leads, who votes. Answered from what any server knows; not blocking.

use super::call::{Call, Plan, Reply};
use super::{Context, options, wire};

/// `"ip:port"` of the leader's internal RPC, `""` when there is none.
pub fn leader(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    options::here(context, call)?;
    let leader = context.view.leader.as_ref().map_or_else(String::new, |leader| leader.rpc.to_string());
    Ok(Plan::Answer(wire::reply(context, call, &leader)))
}

/// The addresses of all servers in the replicated configuration.
pub fn peers(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    options::here(context, call)?;
    let known = context.view.servers.iter().map(|server| server.address.as_str()).filter(|address| !address.is_empty());
    Ok(Plan::Answer(wire::reply(context, call, &known.collect::<Vec<_>>())))
}
