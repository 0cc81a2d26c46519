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
    let meta = options::node_meta(call);
    match options::filter(call, shape::CATALOG_SERVICE)?.map(Arc::new) {
        None => options::read(context, call, Query::Services { meta }),
        // It judges instances, of which names alone say nothing.
        filter => {
            let encoding = Encoding { form: Form::Names { meta }, filter, ..Encoding::default() };
            options::read_as(context, call, Query::Dump { node: None }, encoding)
        }
    }
}

/// The instances of a service, without their checks.
pub fn service(context: &Context<'_>, call: &Call, name: &str) -> Result<Plan, Reply> {
    instances(context, call, name, false)
}

/// Those that speak the mesh's protocol themselves. Nothing else is in a mesh here: there are no proxies.
pub fn native(context: &Context<'_>, call: &Call, name: &str) -> Result<Plan, Reply> {
    instances(context, call, name, true)
}

fn instances(context: &Context<'_>, call: &Call, name: &str, native: bool) -> Result<Plan, Reply> {
    let name = named(name, "Missing service name")?;
    let (tags, meta) = (options::tags(call), options::node_meta(call));
    let query = Query::ServiceNodes { name, native, tags, meta };
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
