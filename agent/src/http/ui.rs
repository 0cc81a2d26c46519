//! `/v1/internal/ui/...`: what Consul's web page reads, and tools that read what it reads.
//!
//! Config entries, intentions and other clusters are not known here: what would come of them alone is an empty list.

use super::call::{Call, Consistency, Encoding, Form, Plan, Read, Reply};
use super::filter::shape::{self, Fields};
use super::{Context, named, options};
use lictor_catalog::Query;
use std::sync::Arc;

/// Every node with all that is on it.
pub fn nodes(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    everything(context, call, Form::Plain, Some(shape::NODE_DUMP))
}

/// One node with all that is on it.
pub fn node(context: &Context<'_>, call: &Call, name: &str) -> Result<Plan, Reply> {
    let name = named(name, "Missing node name")?;
    read(context, call, Query::Dump { node: Some(name) }, Encoding::default())
}

/// What the instances of each service add up to.
pub fn services(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    everything(context, call, Form::Services, Some(shape::HEALTH))
}

/// How many nodes, instances and checks are in which state.
pub fn overview(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    everything(context, call, Form::Overview, None)
}

/// Which services one is a client of, and which are clients of it.
pub fn topology(context: &Context<'_>, call: &Call, name: &str) -> Result<Plan, Reply> {
    let service = named(name, "Missing service name")?;
    let kind = call.params.get("kind").ok_or_else(|| Reply::text(400, "Missing service kind"))?;
    let gateway = match kind {
        "" => false,
        "ingress-gateway" | "api-gateway" => true,
        other => return Err(Reply::text(400, format!("Unsupported service kind {other:?}"))),
    };
    everything(context, call, Form::Topology { service, gateway }, None)
}

/// The services behind a gateway, or the intentions about them: no config entry puts any there.
pub fn of_gateway(context: &Context<'_>, call: &Call, name: &str) -> Result<Plan, Reply> {
    named(name, "Missing gateway name")?;
    everything(context, call, Form::Absent, None)
}

/// The services that another cluster may see: there is no other cluster.
pub fn exported(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    everything(context, call, Form::Absent, None)
}

/// Would pass on what a page asks of a metrics server: none can be configured.
pub fn metrics_proxy(context: &Context<'_>, _: &Call, _: &str) -> Result<Plan, Reply> {
    let missing = if context.facts.ui { "Metrics proxy is not enabled" } else { "UI is not enabled" };
    Err(Reply::text(404, missing))
}

fn everything(context: &Context<'_>, call: &Call, form: Form, fields: Option<Fields>) -> Result<Plan, Reply> {
    let filter = fields.map(|fields| options::filter(call, fields)).transpose()?.flatten().map(Arc::new);
    read(context, call, Query::Dump { node: None }, Encoding { form, filter, ..Encoding::default() })
}

/// While nobody leads, a page is rather drawn from what this server knows than not at all.
fn read(context: &Context<'_>, call: &Call, query: Query, encoding: Encoding) -> Result<Plan, Reply> {
    let plan = options::read_as(context, call, query, encoding)?;
    Ok(match plan {
        Plan::Read(read) if context.view.leader.is_none() => {
            Plan::Read(Read { consistency: Consistency::Stale, ..read })
        }
        plan => plan,
    })
}
