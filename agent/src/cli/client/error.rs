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
    #[error(
        "what answers at {address} speaks no TLS, as lictor's agents do not yet: say http:// in -http-addr or \
         CONSUL_HTTP_ADDR, and leave CONSUL_HTTP_SSL out"
    )]
    NoTls { address: String },
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
            Self::NoTls { .. } | Self::Form { .. } | Self::Option { .. } => false,
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

/// Whether the handshake was answered by something that is no TLS at all.
fn speaks_no_tls(error: &reqwest::Error) -> bool {
    // What an I/O error wraps is not its source, but what its source would be the source of.
    fn beneath<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a (dyn std::error::Error + 'static)> {
        match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        }
    }
    std::iter::successors(error.source(), |error| beneath(*error))
        .any(|error| matches!(error.downcast_ref(), Some(rustls::Error::InvalidMessage(_))))
}

fn names_no_port(address: &str) -> bool {
    let rest = address.strip_prefix("http://").or_else(|| address.strip_prefix("https://"));
    rest.map(|rest| rest.split('/').next().unwrap_or_default())
        .is_some_and(|host| host.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()))
}

pub(super) fn failure(address: &str, error: &reqwest::Error) -> ClientError {
    let address = address.to_owned();
    if speaks_no_tls(error) {
        ClientError::NoTls { address }
    } else if error.is_connect() {
        let unsaid = if names_no_port(&address) { "; no port is named, and agents listen on 8500" } else { "" };
        ClientError::Unreachable { cause: causes(error) + unsaid, address }
    } else if error.is_timeout() {
        ClientError::Timeout { address }
    } else {
        let has_source = error.source().is_some();
        ClientError::Broken { address, cause: if has_source { causes(error) } else { error.to_string() } }
    }
}
