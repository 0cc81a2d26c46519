//! Limits on what a service may say about itself.

use lictor_catalog::model::Weights;
use std::collections::BTreeMap;

const PAIRS_MAX: usize = 64;
const KEY_MAX: usize = 128;
const VALUE_MAX: usize = 512;
/// Kept for Consul's own keys.
const RESERVED: &str = "consul-";

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMeta {
    #[error("Node metadata cannot contain more than 64 key/value pairs")]
    TooMany,
    #[error("Couldn't load metadata pair ('{key}', '{value}'): {fault}")]
    Pair { key: String, value: String, fault: PairFault },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairFault {
    #[error("Key cannot be blank")]
    Blank,
    #[error("Key contains invalid characters")]
    Characters,
    #[error("Key is too long (limit: 128 characters)")]
    KeyLong,
    #[error("Key prefix 'consul-' is reserved for internal use")]
    Reserved,
    #[error("Value is too long (limit: 512 characters)")]
    ValueLong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWeights {
    #[error("Passing must be greater than 0")]
    Passing,
    #[error("Warning must be greater or equal than 0")]
    Warning,
    #[error("DNS Weight must be between 0 and 65535")]
    Range,
}

/// What else is wrong with a service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidService {
    #[error(
        "unknown Kind {0:?}; use connect-proxy, mesh-gateway, terminating-gateway, ingress-gateway, api-gateway, or leave it out"
    )]
    Kind(String),
    #[error("SocketPath {0:?} excludes Address and Port; leave either out")]
    SocketPath(String),
    #[error("Proxy.DestinationServiceName must be non-empty for Connect proxy services")]
    NoDestination,
    #[error("Port or SocketPath must be set for a {0}")]
    NoPort(&'static str),
    #[error("this release does not register sidecar proxies; leave out Connect.SidecarService")]
    Sidecar,
}

/// What is reserved for Consul may be spoken of, but not be given to anything but a gateway.
pub(crate) fn validate_meta(meta: &BTreeMap<String, String>, reserved: bool) -> Result<(), InvalidMeta> {
    if meta.len() > PAIRS_MAX {
        return Err(InvalidMeta::TooMany);
    }
    for (key, value) in meta {
        let fault = if key.is_empty() {
            PairFault::Blank
        } else if !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
            PairFault::Characters
        } else if key.len() > KEY_MAX {
            PairFault::KeyLong
        } else if key.starts_with(RESERVED) && !reserved {
            PairFault::Reserved
        } else if value.chars().count() > VALUE_MAX {
            PairFault::ValueLong
        } else {
            continue;
        };
        return Err(InvalidMeta::Pair { key: key.clone(), value: value.clone(), fault });
    }
    Ok(())
}

/// Weights as numbers of any size, so that each fault gets its own words.
pub(super) fn validate_weights(passing: i64, warning: i64) -> Result<Weights, InvalidWeights> {
    if passing < 1 {
        return Err(InvalidWeights::Passing);
    }
    if warning < 0 {
        return Err(InvalidWeights::Warning);
    }
    match (u16::try_from(passing), u16::try_from(warning)) {
        (Ok(passing), Ok(warning)) => Ok(Weights { passing, warning }),
        _ => Err(InvalidWeights::Range),
    }
}
