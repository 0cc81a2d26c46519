//! What to do for one run of a check, what came back, and what it means. Plain values.

use super::capture::Captured;
use super::kind::TlsOptions;
use lictor_catalog::Status;
use std::collections::BTreeMap;
use std::time::Duration;

/// One run of a check, to be executed by the runtime. Every probe ends with an [`Outcome`], at the latest shortly after
/// its timeout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    Http {
        url: String,
        method: String,
        headers: BTreeMap<String, Vec<String>>,
        body: String,
        tls: TlsOptions,
        /// At most ten are followed.
        follow_redirects: bool,
        timeout: Duration,
        /// Bytes of the answer's body that are kept; its end.
        output_max: usize,
    },
    Tcp {
        address: String,
        timeout: Duration,
    },
    Udp {
        address: String,
        timeout: Duration,
    },
    Script {
        args: Vec<String>,
        timeout: Duration,
        output_max: usize,
    },
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An HTTP answer; `reason` as the server wrote it.
    Answered { code: u16, reason: String, body: Captured },
    /// A TCP connection stood, or a UDP peer did not object.
    Connected,
    /// A process ended by itself: `None` when a signal ended it.
    Exited { code: Option<i32>, output: Captured },
    /// A process did not end in time and was killed with all that it started.
    TimedOut { output: Captured },
    /// It could not be asked, or the asking failed. The text says what of.
    Failed(String),
    /// The run was called off; it says nothing.
    Stopped,
}

/// What an outcome means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub status: Status,
    pub output: String,
    /// Takes effect at once, whatever the thresholds: a script that hung or could not start.
    pub certain: bool,
}

impl Verdict {
    pub(super) const fn of(status: Status, output: String) -> Self {
        Self { status, output, certain: false }
    }

    /// The runtime answered with something that this kind of probe cannot bring: shown, never trusted.
    pub(super) fn misfit(outcome: &Outcome) -> Self {
        let output = match outcome {
            Outcome::Failed(cause) => cause.clone(),
            other => format!("unexpected outcome of this check: {other:?}"),
        };
        Self::of(Status::Critical, output)
    }
}
