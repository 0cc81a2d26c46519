//! The checks that this agent owns, and the verdicts that others give it (TTL checks).

use crate::checks::CheckSpec;
use crate::http::call::{Call, Plan, Reply};
use crate::http::filter::shape;
use crate::http::wire::{self, WireCheck};
use crate::http::{Context, body, options, undecodable};
use crate::json::Object;
use crate::local::Change;
use lictor_catalog::Status;
use std::collections::BTreeMap;

/// All checks, by id.
pub fn list(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    let filter = options::filter(call, shape::CHECK)?;
    let checks = context.local.checks.iter();
    let shown: BTreeMap<&str, _> = checks
        .map(|(id, check)| (id.as_str(), WireCheck::from(&**check)))
        .filter(|(_, check)| filter.as_ref().is_none_or(|filter| filter.keeps(check)))
        .collect();
    Ok(Plan::Answer(wire::reply(context, call, &shown)))
}

pub fn register(_: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    let spec = CheckSpec::parse(&body(call)?).map_err(|bad| Reply::text(400, bad.to_string()))?;
    Ok(Plan::local(Change::RegisterCheck(spec)))
}

pub fn deregister(_: &Context<'_>, _: &Call, id: &str) -> Result<Plan, Reply> {
    Ok(Plan::local(Change::DeregisterCheck(id.into())))
}

pub fn pass(_: &Context<'_>, call: &Call, id: &str) -> Result<Plan, Reply> {
    Ok(noted(call, id, Status::Passing))
}

pub fn warn(_: &Context<'_>, call: &Call, id: &str) -> Result<Plan, Reply> {
    Ok(noted(call, id, Status::Warning))
}

pub fn fail(_: &Context<'_>, call: &Call, id: &str) -> Result<Plan, Reply> {
    Ok(noted(call, id, Status::Critical))
}

/// A verdict by its path; `?note=` becomes the output.
fn noted(call: &Call, id: &str, status: Status) -> Plan {
    let output = call.params.get("note").unwrap_or_default().to_owned();
    Plan::local(Change::UpdateCheck { id: id.into(), status, output })
}

/// A verdict by its body.
pub fn update(_: &Context<'_>, call: &Call, id: &str) -> Result<Plan, Reply> {
    let body = body(call)?;
    let object = Object::of(&body).map_err(undecodable)?;
    let word = object.string("Status").map_err(undecodable)?;
    let output = object.string("Output").map_err(undecodable)?;
    let status = Status::parse(&word).ok_or_else(|| Reply::text(400, format!("Invalid check status: '{word}'")))?;
    Ok(Plan::local(Change::UpdateCheck { id: id.into(), status, output }))
}
