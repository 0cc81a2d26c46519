//! Maintenance is a critical check of its own, so that everything that looks at checks sees it.

use lictor_catalog::model::{Check, CheckId, Service};
use std::fmt::Write as _;

pub(super) const NODE_CHECK: &str = "_node_maintenance";
const SERVICE_CHECK: &str = "_service_maintenance";

const NODE_REASON: &str =
    "Maintenance mode is enabled for this node, but no reason was provided. This is a default message.";
const SERVICE_REASON: &str =
    "Maintenance mode is enabled for this service, but no reason was provided. This is a default message.";

/// The id of the check that says that a service is in maintenance; of the node when the service is empty.
pub(super) fn check_id(service_id: &str) -> CheckId {
    if service_id.is_empty() {
        return NODE_CHECK.into();
    }
    let mut id = SERVICE_CHECK.to_owned();
    let _ = write!(id, ":{service_id}");
    id.into()
}

/// The check itself; the node's name and the service's labels are filled in by the caller.
pub(super) fn check(service: Option<&Service>, reason: &str) -> Check {
    let (name, default) = match service {
        Some(_) => ("Service Maintenance Mode", SERVICE_REASON),
        None => ("Node Maintenance Mode", NODE_REASON),
    };
    Check {
        id: check_id(service.map_or("", |service| &service.id)),
        name: name.to_owned(),
        notes: if reason.is_empty() { default } else { reason }.to_owned(),
        kind: "maintenance".to_owned(),
        ..Check::default()
    }
}
