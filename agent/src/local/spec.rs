//! A service as its owner defines it.

use crate::checks::CheckSpec;
use lictor_catalog::Service;

/// A service definition from the API or a configuration file, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSpec {
    pub service: Service,
    pub checks: Vec<CheckSpec>,
    pub token: String,
}
