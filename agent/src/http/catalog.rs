//! `/v1/catalog/...`: nodes and services, and registering them by hand.

use super::call::{Call, Encoding, Form, Plan, Reply, WriteAnswer};
use super::filter::shape;
use super::{Context, body, named, options, registration, wire};
use lictor_catalog::{Command, Query};
use std::sync::Arc;

/// Datacenters that this one knows: itself, until there are links to others.
pub fn datacenters(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    Ok(Plan::Answer(wire::reply(context, call, &[context.facts.datacenter.as_str()])))
}

pub fn nodes(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    options::read_list(context, call, Query::Nodes { meta: options::node_meta(call) }, shape::NODE)
}

pub fn services(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    options::read_list(context, call, Query::Services { meta: options::node_meta(call) }, shape::SERVICE_NAME)
}

/// The instances of a service, without their checks.
pub fn service(context: &Context<'_>, call: &Call, name: &str) -> Result<Plan, Reply> {
    let name = named(name, "Missing service name")?;
    let query = Query::ServiceNodes { name, tags: options::tags(call), meta: options::node_meta(call) };
    options::read_list(context, call, query, shape::CATALOG_SERVICE)
}

/// A node with its services as a map.
pub fn node(context: &Context<'_>, call: &Call, name: &str) -> Result<Plan, Reply> {
    node_as(context, call, name, Form::Plain)
}

/// A node with its services as a list.
pub fn node_services(context: &Context<'_>, call: &Call, name: &str) -> Result<Plan, Reply> {
    node_as(context, call, name, Form::List)
}

fn node_as(context: &Context<'_>, call: &Call, name: &str, form: Form) -> Result<Plan, Reply> {
    let query = Query::Node { name: named(name, "Missing node name")? };
    let filter = options::filter(call, shape::SERVICE)?.map(Arc::new);
    options::read_as(context, call, query, Encoding { form, filter, ..Encoding::default() })
}

pub fn register(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    let register = registration::register(context, call, &body(call)?)?;
    Ok(Plan::Write(Command::Register(Box::new(register)), WriteAnswer::Boolean))
}

pub fn deregister(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    let deregister = registration::deregister(context, call, &body(call)?)?;
    Ok(Plan::Write(Command::Deregister(deregister), WriteAnswer::Boolean))
}
