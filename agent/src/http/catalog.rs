//! `/v1/catalog/...`: nodes and services, and registering them by hand.

use super::call::{Call, Encoding, Plan, Reply, WriteAnswer};
use super::{Context, body, options, registration, wire};
use lictor_catalog::{Command, Query};

/// Datacenters that this one knows: itself, until there are links to others.
pub fn datacenters(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    Ok(Plan::Answer(wire::reply(context, call, &[context.facts.datacenter.as_str()])))
}

pub fn nodes(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    options::unfiltered(call)?;
    options::read(context, call, Query::Nodes { meta: options::node_meta(call) })
}

pub fn services(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    options::unfiltered(call)?;
    options::read(context, call, Query::Services { meta: options::node_meta(call) })
}

/// The instances of a service, without their checks.
pub fn service(context: &Context<'_>, call: &Call, name: &str) -> Result<Plan, Reply> {
    if name.is_empty() {
        return Err(Reply::text(400, "Missing service name"));
    }
    options::unfiltered(call)?;
    let query =
        Query::ServiceNodes { name: name.to_owned(), tags: options::tags(call), meta: options::node_meta(call) };
    options::read(context, call, query)
}

/// A node with its services as a map.
pub fn node(context: &Context<'_>, call: &Call, name: &str) -> Result<Plan, Reply> {
    node_as(context, call, name, false)
}

/// A node with its services as a list.
pub fn node_services(context: &Context<'_>, call: &Call, name: &str) -> Result<Plan, Reply> {
    node_as(context, call, name, true)
}

fn node_as(context: &Context<'_>, call: &Call, name: &str, list: bool) -> Result<Plan, Reply> {
    if name.is_empty() {
        return Err(Reply::text(400, "Missing node name"));
    }
    options::unfiltered(call)?;
    let query = Query::Node { name: name.to_owned() };
    options::read_as(context, call, query, Encoding { list, ..Encoding::default() })
}

pub fn register(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    let register = registration::register(context, call, &body(call)?)?;
    Ok(Plan::Write(Command::Register(Box::new(register)), WriteAnswer::Boolean))
}

pub fn deregister(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    let deregister = registration::deregister(context, call, &body(call)?)?;
    Ok(Plan::Write(Command::Deregister(deregister), WriteAnswer::Boolean))
}
