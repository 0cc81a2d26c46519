//! TCP checks: a connection that stands passes.

use super::kind::TlsOptions;
use super::probe::{Outcome, Probe, Verdict};
use lictor_catalog::Status;
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpCheck {
    /// `host:port`
    pub address: String,
    pub use_tls: bool,
    pub tls: TlsOptions,
}

impl TcpCheck {
    pub(super) fn probe(&self, timeout: Duration) -> Probe {
        Probe::Tcp { address: self.address.clone(), timeout }
    }

    pub(super) fn judge(&self, outcome: &Outcome) -> Verdict {
        match outcome {
            Outcome::Connected => Verdict::of(Status::Passing, format!("TCP connect {}: Success", self.address)),
            other => Verdict::misfit(other),
        }
    }
}
