//! The services that this agent owns.

use crate::http::call::{Blocking, Call, Consistency, Encoding, Plan, Read, Reply, Subject};
use crate::http::filter::shape;
use crate::http::wire::{self, AgentService};
use crate::http::{Context, body, options};
use crate::local::{Change, ServiceSpec};
use lictor_catalog::Index;
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

/// One service with its content hash. Given the `?hash=` that was seen last, it is shown as soon as it has another one or is
/// gone, or when the time is over. One that is not there is not waited for.
pub fn show(context: &Context<'_>, call: &Call, id: &str) -> Result<Plan, Reply> {
    let wait = options::wait(context.facts, call)?;
    let seen = call.params.get("hash").and_then(|text| u64::from_str_radix(text, 16).ok());
    let blocking = seen.map(|hash| Blocking { min_index: Index(hash), wait });
    Ok(Plan::Read(Read {
        blocking: blocking.filter(|_| context.local.services.contains_key(id)),
        subject: Subject::Service { id: id.to_owned() },
        encoding: Encoding { pretty: options::pretty(context.facts, call), ..Encoding::default() },
        consistency: Consistency::Stale,
    }))
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
