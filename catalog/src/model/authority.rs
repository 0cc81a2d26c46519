//! Whoever signs certificates for services (Consul's built-in certificate authority).

use super::Index;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use uuid::Uuid;

/// The one authority of a cluster: a root that signed itself, and its key. It is made outside of the catalog, once.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// Names the cluster in every certificate: `<uuid>.consul` is its trust domain.
    pub trust_domain: Uuid,
    /// Fingerprint of the certificate.
    pub id: Bytes,
    /// Fingerprint of the public key, as certificates have it (RFC 5280 §4.2.1.2).
    pub key_id: Bytes,
    /// Serial number of the certificate.
    pub serial: u64,
    /// Seconds since 1970 from which on the certificate is valid.
    pub not_before: u64,
    /// Seconds since 1970 until which it is.
    pub not_after: u64,
    /// The certificate, DER.
    pub certificate: Bytes,
    /// The private key, PKCS#8 DER. Whoever has it can be any service: it is never shown.
    pub key: Bytes,
    /// What it signs by. Whoever makes the authority may leave that as it is by default.
    pub signing: Signing,
    /// The entry of the log that made it known.
    pub create_index: Index,
    /// The entry of the log that changed what it signs by, or else made it known.
    pub modify_index: Index,
}

/// What certificates are made by, and Consul's defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signing {
    /// How long a service's certificate is valid.
    pub leaf_life: Duration,
    /// Kept for who sets it: the root signs by itself.
    pub intermediate_life: Duration,
    /// Kept for who sets it: the root was made before.
    pub root_life: Duration,
    /// Kept for who sets it.
    pub state: BTreeMap<String, String>,
}

impl Default for Signing {
    fn default() -> Self {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let (leaf_life, intermediate_life, root_life) = (hours(72), hours(8760), hours(87_600));
        Self { leaf_life, intermediate_life, root_life, state: BTreeMap::new() }
    }
}

/// Without the key.
impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("trust_domain", &self.trust_domain)
            .field("not_after", &self.not_after)
            .field("create_index", &self.create_index)
            .finish_non_exhaustive()
    }
}
