//! The services that this agent owns.

use crate::http::call::{Call, Plan, Reply};
use crate::http::filter::shape;
use crate::http::wire::{self, AgentService};
use crate::http::{Context, body, options};
use crate::local::{Change, ServiceSpec};
use std::collections::BTreeMap;

/// All services, by id.
pub fn list(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    let filter = options::filter(call, shape::SERVICE)?;
    let datacenter = &context.facts.datacenter;
    let services = context.local.services.iter();
    let shown: BTreeMap<&str, _> = services
        .map(|(id, service)| (id.as_str(), AgentService::of(service, datacenter, "")))
        .filter(|(_, service)| filter.as_ref().is_none_or(|filter| filter.keeps(service)))
        .collect();
    Ok(Plan::Answer(wire::reply(context, call, &shown)))
}

/// One service with its content hash. `?hash=` is answered at once, also when nothing changed.
pub fn show(context: &Context<'_>, call: &Call, id: &str) -> Result<Plan, Reply> {
    options::wait(call)?;
    let Some(service) = context.local.services.get(id) else {
        return Err(Reply::text(404, format!("unknown service ID: {id}")));
    };
    let hash = wire::content_hash(service);
    let reply = wire::reply(context, call, &AgentService::of(service, &context.facts.datacenter, &hash));
    Ok(Plan::Answer(reply.with("x-consul-contenthash", hash)))
}

pub fn register(_: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    let mut spec = ServiceSpec::parse(&body(call)?).map_err(|bad| Reply::text(400, bad.to_string()))?;
    let token = call.params.get("token").unwrap_or(&call.token);
    if !token.is_empty() {
        token.clone_into(&mut spec.token);
    }
    let replace_checks = matches!(call.params.get("replace-existing-checks"), Some("" | "true"));
    Ok(Plan::local(Change::RegisterService { spec, replace_checks }))
}

pub fn deregister(_: &Context<'_>, _: &Call, id: &str) -> Result<Plan, Reply> {
    Ok(Plan::local(Change::DeregisterService(id.into())))
}
