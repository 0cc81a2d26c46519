//! `/v1/health/...`: checks, and instances with their checks.

use super::call::{Call, Plan, Reply};
use super::filter::shape;
use super::{Context, named, options};
use lictor_catalog::{Query, Status};

/// The checks of a node.
pub fn node(context: &Context<'_>, call: &Call, rest: &str) -> Result<Plan, Reply> {
    let name = named(rest, "Missing node name")?;
    options::read_list(context, call, Query::HealthNode { name }, shape::CHECK)
}

/// The checks of a service.
pub fn checks(context: &Context<'_>, call: &Call, rest: &str) -> Result<Plan, Reply> {
    let service = named(rest, "Missing service name")?;
    let query = Query::HealthChecks { service, meta: options::node_meta(call) };
    options::read_list(context, call, query, shape::CHECK)
}

/// The instances of a service with their checks.
pub fn service(context: &Context<'_>, call: &Call, rest: &str) -> Result<Plan, Reply> {
    instances(context, call, rest, false)
}

/// Those that speak the mesh's protocol themselves. Nothing else is in a mesh here: there are no proxies.
pub fn native(context: &Context<'_>, call: &Call, rest: &str) -> Result<Plan, Reply> {
    instances(context, call, rest, true)
}

fn instances(context: &Context<'_>, call: &Call, rest: &str, native: bool) -> Result<Plan, Reply> {
    let name = named(rest, "Missing service name")?;
    let (tags, meta, passing) = (options::tags(call), options::node_meta(call), options::passing(call)?);
    options::read_list(context, call, Query::HealthService { name, native, tags, meta, passing }, shape::HEALTH)
}

/// All checks in a state.
pub fn state(context: &Context<'_>, call: &Call, rest: &str) -> Result<Plan, Reply> {
    let word = named(rest, "Missing check state")?;
    let state = match word.as_str() {
        "any" => None,
        other => Some(Status::parse(other).ok_or_else(|| {
            Reply::text(400, format!("Invalid check state {other:?}: use any, passing, warning or critical"))
        })?),
    };
    options::read_list(context, call, Query::HealthState { state, meta: options::node_meta(call) }, shape::CHECK)
}
