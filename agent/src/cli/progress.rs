//! How far something long has come, on standard error while that is a terminal, and nowhere else.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;

/// A bar, or nothing.
#[derive(Clone, Debug)]
pub(crate) struct Progress(ProgressBar);

const BYTES: &str = "{prefix} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
const UNKNOWN: &str = "{prefix} {spinner} {bytes} {bytes_per_sec}";

impl Progress {
    /// Through so many bytes.
    pub(crate) fn of(what: &'static str, bytes: u64) -> Self {
        Self::new(what, Some(bytes), BYTES)
    }

    /// Through as many bytes as come.
    pub(crate) fn unbounded(what: &'static str) -> Self {
        Self::new(what, None, UNKNOWN)
    }

    fn new(what: &'static str, len: Option<u64>, template: &str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_bad| ProgressStyle::default_bar());
        Self(ProgressBar::with_draw_target(len, target).with_style(style).with_prefix(what))
    }

    pub(crate) fn inc(&self, by: u64) {
        self.0.inc(by);
    }

    /// The line is free again.
    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
