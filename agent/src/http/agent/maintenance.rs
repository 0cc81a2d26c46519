//! Taking the node, or one of its services, out of service and back.

use crate::http::call::{Call, Plan, Reply};
use crate::http::{Context, options};
use crate::local::Change;

/// The reason when maintenance is to be enabled; an empty one stands for the default text.
fn reason(call: &Call) -> Result<Option<String>, Reply> {
    let reason = call.params.get("reason").unwrap_or_default();
    Ok(options::enable(call)?.then(|| reason.to_owned()))
}

pub fn node(_: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    Ok(Plan::local(Change::NodeMaintenance(reason(call)?)))
}

pub fn service(_: &Context<'_>, call: &Call, id: &str) -> Result<Plan, Reply> {
    if id.is_empty() {
        return Err(Reply::text(400, "Missing service ID"));
    }
    Ok(Plan::local(Change::ServiceMaintenance(id.into(), reason(call)?)))
}
