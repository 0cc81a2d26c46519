//! HTTP checks: 2xx passes, 429 warns, everything else is critical.

use super::kind::TlsOptions;
use super::probe::{Outcome, Probe, Verdict};
use lictor_catalog::Status;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpCheck {
    pub url: String,
    /// Empty means GET.
    pub method: String,
    pub header: BTreeMap<String, Vec<String>>,
    pub body: String,
    pub disable_redirects: bool,
    pub tls: TlsOptions,
}

impl HttpCheck {
    fn method(&self) -> &str {
        if self.method.is_empty() { "GET" } else { &self.method }
    }

    pub(super) fn probe(&self, timeout: Duration, output_max: usize) -> Probe {
        Probe::Http {
            url: self.url.clone(),
            method: self.method().to_owned(),
            headers: self.header.clone(),
            body: self.body.clone(),
            tls: self.tls.clone(),
            follow_redirects: !self.disable_redirects,
            timeout,
            output_max,
        }
    }

    pub(super) fn judge(&self, outcome: &Outcome) -> Verdict {
        let Outcome::Answered { code, reason, body } = outcome else { return Verdict::misfit(outcome) };
        let status = match code {
            200..=299 => Status::Passing,
            429 => Status::Warning,
            _ => Status::Critical,
        };
        let output = format!("HTTP {} {}: {code} {reason} Output: {}", self.method(), self.url, body.text());
        Verdict::of(status, output)
    }
}
