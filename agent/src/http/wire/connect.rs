//! Certificates and who signs them.

use super::date::rfc3339;
use crate::time::format_duration;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lictor_catalog::Authority;
use lictor_catalog::model::Signing;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;
use uuid::Uuid;

/// `agent/connect/ca/leaf`; from the leader, still without the private key.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Leaf {
    pub serial_number: String,
    #[serde(rename = "CertPEM")]
    pub cert_pem: String,
    #[serde(rename = "PrivateKeyPEM")]
    pub private_key_pem: String,
    pub service: String,
    #[serde(rename = "ServiceURI")]
    pub service_uri: String,
    pub valid_after: String,
    pub valid_before: String,
    pub create_index: u64,
    pub modify_index: u64,
}

/// `connect/ca/roots`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Roots")]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct WireRoots {
    #[serde(rename = "ActiveRootID")]
    active_root_id: String,
    trust_domain: String,
    roots: Vec<WireRoot>,
}

impl WireRoots {
    pub(super) fn of(authority: Option<&Authority>) -> Self {
        let root = authority.map(WireRoot::from);
        Self {
            active_root_id: root.as_ref().map(|root| root.id.clone()).unwrap_or_default(),
            trust_domain: authority.map(|authority| trust_domain(authority.trust_domain)).unwrap_or_default(),
            roots: root.into_iter().collect(),
        }
    }
}

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Root")]
#[serde(rename_all = "PascalCase")]
struct WireRoot {
    #[serde(rename = "ID")]
    id: String,
    name: &'static str,
    serial_number: u64,
    #[serde(rename = "SigningKeyID")]
    signing_key_id: String,
    external_trust_domain: Uuid,
    not_before: String,
    not_after: String,
    #[serde(rename = "RootCert")]
    root_cert: String,
    intermediate_certs: Option<[(); 0]>,
    active: bool,
    private_key_type: &'static str,
    private_key_bits: u16,
    create_index: u64,
    modify_index: u64,
}

impl From<&Authority> for WireRoot {
    fn from(authority: &Authority) -> Self {
        let Authority {
            trust_domain,
            id,
            key_id,
            serial,
            not_before,
            not_after,
            certificate,
            key: _,
            signing: _,
            create_index,
            modify_index: _,
        } = authority;
        Self {
            id: hexadecimal(id),
            name: "Consul CA Root Cert",
            serial_number: *serial,
            signing_key_id: hexadecimal(key_id),
            external_trust_domain: *trust_domain,
            not_before: rfc3339(not_before * 1000),
            not_after: rfc3339(not_after * 1000),
            root_cert: pem("CERTIFICATE", certificate),
            intermediate_certs: None,
            active: true,
            private_key_type: "ec",
            private_key_bits: 256,
            create_index: create_index.0,
            modify_index: create_index.0,
        }
    }
}

/// `connect/ca/configuration`: what certificates are made by.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "CertificateConfiguration")]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct WireConfiguration {
    provider: &'static str,
    config: Lives,
    state: Option<BTreeMap<String, String>>,
    force_without_cross_signing: bool,
    create_index: u64,
    modify_index: u64,
}

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "CertificateLives")]
struct Lives {
    #[serde(rename = "IntermediateCertTTL")]
    intermediate: String,
    #[serde(rename = "LeafCertTTL")]
    leaf: String,
    #[serde(rename = "RootCertTTL")]
    root: String,
}

impl WireConfiguration {
    pub(super) fn of(authority: Option<&Authority>) -> Self {
        let Signing { leaf_life, intermediate_life, root_life, state } =
            authority.map_or_else(Signing::default, |authority| authority.signing.clone());
        Self {
            provider: "consul",
            config: Lives { intermediate: life(intermediate_life), leaf: life(leaf_life), root: life(root_life) },
            state: Some(state).filter(|state| !state.is_empty()),
            force_without_cross_signing: false,
            create_index: authority.map_or(0, |authority| authority.create_index.0),
            modify_index: authority.map_or(0, |authority| authority.modify_index.0),
        }
    }
}

/// Whole hours as Consul's defaults are written: `72h`, not `72h0m0s`.
fn life(span: Duration) -> String {
    match (span.as_secs(), span.subsec_nanos()) {
        (seconds, 0) if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        _ => format_duration(span),
    }
}

fn trust_domain(id: Uuid) -> String {
    format!("{id}.consul")
}

/// What a path segment may have as it is (RFC 3986 §2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The name of a service in its certificate.
#[must_use]
pub fn service_uri(domain: Uuid, datacenter: &str, service: &str) -> String {
    let service = utf8_percent_encode(service, SEGMENT);
    format!("spiffe://{}/ns/default/dc/{datacenter}/svc/{service}", trust_domain(domain))
}

/// Bytes as certificates' numbers and fingerprints are shown: `0a:1b`.
#[must_use]
pub fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for (at, byte) in bytes.iter().enumerate() {
        let _ = write!(text, "{}{byte:02x}", if at > 0 { ":" } else { "" });
    }
    text
}

/// RFC 7468: base64 in lines of 64.
#[must_use]
pub fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    // 48 bytes are 64 characters.
    for line in der.chunks(48) {
        STANDARD.encode_string(line, &mut text);
        text.push('\n');
    }
    let _ = writeln!(text, "-----END {label}-----");
    text
}
