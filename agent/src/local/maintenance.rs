//! Maintenance is a critical check of its own, so that everything that looks at checks sees it.

use lictor_catalog::model::{Check, CheckId, Service};

const NODE_REASON: &str =
    "Maintenance mode is enabled for this node, but no reason was provided. This is a default message.";
const SERVICE_REASON: &str =
    "Maintenance mode is enabled for this service, but no reason was provided. This is a default message.";

/// The check itself; the node's name and the service's labels are filled in by the caller.
pub(super) fn check(service: Option<&Service>, reason: &str) -> Check {
    let (name, default) = match service {
        Some(_) => ("Service Maintenance Mode", SERVICE_REASON),
        None => ("Node Maintenance Mode", NODE_REASON),
    };
    Check {
        id: CheckId::maintenance_of(service.map_or("", |service| &service.id)),
        name: name.to_owned(),
        notes: if reason.is_empty() { default } else { reason }.to_owned(),
        kind: "maintenance".to_owned(),
        ..Check::default()
    }
}
