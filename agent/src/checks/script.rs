//! Script checks: exit 0 passes, 1 warns, everything else is critical. There is no shell between us and the program.

use super::capture::Captured;
use super::probe::{Outcome, Probe, Verdict};
use crate::time::format_duration;
use lictor_catalog::Status;
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptCheck {
    pub args: Vec<String>,
}

impl ScriptCheck {
    pub(super) fn probe(&self, timeout: Duration, output_max: usize) -> Probe {
        Probe::Script { args: self.args.clone(), timeout, output_max }
    }

    pub(super) fn judge(outcome: &Outcome, timeout: Duration) -> Verdict {
        match outcome {
            Outcome::Exited { code, output } => {
                let status = match code {
                    Some(0) => Status::Passing,
                    Some(1) => Status::Warning,
                    _ => Status::Critical,
                };
                Verdict::of(status, shown(output))
            }
            Outcome::TimedOut { output } => {
                let mut text = format!("Timed out ({}) running check", format_duration(timeout));
                if output.total > 0 {
                    text.push_str("\n\n");
                    text.push_str(&shown(output));
                }
                Verdict { status: Status::Critical, output: text, certain: true }
            }
            other => Verdict { certain: true, ..Verdict::misfit(other) },
        }
    }
}

/// The end of the output, and how much of it that is when it is not all.
fn shown(output: &Captured) -> String {
    if output.cut() {
        format!("Captured {} of {} bytes\n...\n{}", output.tail.len(), output.total, output.text())
    } else {
        output.text()
    }
}
