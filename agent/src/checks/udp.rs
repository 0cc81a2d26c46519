//! UDP checks: silence passes, since most UDP services do not answer an empty datagram; a refusal does not.

use super::probe::{Outcome, Probe, Verdict};
use lictor_catalog::Status;
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UdpCheck {
    /// `host:port`
    pub address: String,
}

impl UdpCheck {
    pub(super) fn probe(&self, timeout: Duration) -> Probe {
        Probe::Udp { address: self.address.clone(), timeout }
    }

    pub(super) fn judge(&self, outcome: &Outcome) -> Verdict {
        match outcome {
            Outcome::Connected => Verdict::of(Status::Passing, format!("UDP connect {}: Success", self.address)),
            other => Verdict::misfit(other),
        }
    }
}
