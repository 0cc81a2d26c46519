//! What may be done to the services and checks that this agent owns.

use super::spec::ServiceSpec;
use crate::checks::CheckSpec;
use lictor_catalog::model::{CheckId, ServiceId, Status};

/// One change of local state: all or nothing, answered when it is persisted and the catalog was told of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The service and the checks inside its definition. A registration of the same id replaces the service; checks of
    /// other ids stay unless `replace_checks`.
    RegisterService {
        spec: ServiceSpec,
        replace_checks: bool,
    },
    DeregisterService(ServiceId),
    RegisterCheck(CheckSpec),
    DeregisterCheck(CheckId),
    /// `pass`, `warn`, `fail` and `update` of a TTL check.
    UpdateCheck {
        id: CheckId,
        status: Status,
        output: String,
    },
    /// `Some(reason)` enables (an empty reason stands for the default one), `None` disables.
    ServiceMaintenance(ServiceId, Option<String>),
    NodeMaintenance(Option<String>),
}

/// Why a change was refused; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("Unknown service ID {0:?}. Ensure that the service ID is passed, not the service name.")]
    UnknownService(String),
    #[error("No service registered with ID {0:?}")]
    NoServiceToMaintain(String),
    #[error("Unknown check ID {0:?}. Ensure that the check ID is passed, not the check name.")]
    UnknownCheck(String),
    #[error("ServiceID {0:?} does not exist")]
    NoSuchServiceForCheck(String),
    #[error("CheckID {0:?} does not have associated TTL")]
    NotTtl(String),
    #[error(
        "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or 'enable_local_script_checks' to true"
    )]
    ScriptsDisabled,
    #[error("check {id:?} is of kind {kind}, which this release does not run yet; use http, tcp, udp, ttl or script")]
    KindNotRun { id: String, kind: &'static str },
    #[error("{0} changes wait for the disk already; try again when it has caught up")]
    Busy(usize),
    #[error("the registration could not be written to {0}; free space or mend the disk, then try again")]
    NotPersisted(String),
}
