//! Why there is no answer, or not the wanted one.

use super::TIMEOUT;
use std::error::Error as _;

/// Why there is no answer, or not the wanted one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error(
        "no agent answers at {address} ({cause}); start one, for example with \"lictor agent -dev\", or name another \
         with -http-addr or CONSUL_HTTP_ADDR"
    )]
    Unreachable { address: String, cause: String },
    #[error("the agent at {address} did not answer within {}s", TIMEOUT.as_secs())]
    Timeout { address: String },
    #[error("Unexpected response code: {status} ({body})")]
    Status { status: u16, body: String },
    #[error(
        "the answer of {address} broke off: {cause}; if that is no agent's HTTP address, name one with -http-addr or CONSUL_HTTP_ADDR"
    )]
    Broken { address: String, cause: String },
    #[error("the answer of {address} is not what was expected: {cause}")]
    Form { address: String, cause: String },
    #[error("{option}: {problem}")]
    Option { option: &'static str, problem: String },
}

impl ClientError {
    /// The agent knows nothing of that name.
    pub(crate) const fn is_not_found(&self) -> bool {
        matches!(self, Self::Status { status: 404, .. })
    }

    /// Whether the same question may be answered later. What the agent does not understand, it never will.
    pub(crate) const fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Broken { .. } => true,
            Self::Status { status, .. } => !matches!(status, 400 | 404 | 405),
            Self::Form { .. } | Self::Option { .. } => false,
        }
    }
}

/// The last cause in the chain says most.
pub(super) fn causes(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

pub(super) fn failure(address: &str, error: &reqwest::Error) -> ClientError {
    let address = address.to_owned();
    if error.is_connect() {
        ClientError::Unreachable { address, cause: causes(error) }
    } else if error.is_timeout() {
        ClientError::Timeout { address }
    } else {
        let has_source = error.source().is_some();
        ClientError::Broken { address, cause: if has_source { causes(error) } else { error.to_string() } }
    }
}
