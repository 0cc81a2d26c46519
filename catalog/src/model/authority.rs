//! Whoever signs certificates for services (Consul's built-in certificate authority).

use super::Index;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;
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
    /// The entry of the log that made it known.
    pub create_index: Index,
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
