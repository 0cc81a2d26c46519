//! Certificates: the root of a cluster, and those that it signs for services. Keys are drawn here, by the system's
//! randomness, and nowhere else; what comes of it is a plain value.
//!
//! Everything is ECDSA over P-256, as Consul's own authority makes it by default.

use crate::http::wire::{Leaf, hexadecimal, pem, rfc3339, service_uri};
use bytes::Bytes;
use lictor_catalog::model::Signing;
use lictor_catalog::{Authority, Index};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, Error, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm,
};
use ring::digest;
use time::OffsetDateTime;
use uuid::Uuid;

/// Seconds that the clocks of two machines may differ.
const SKEW: u64 = 60;
/// Characters of a common name at most (X.520).
const COMMON_NAME_MAX: usize = 64;

/// A new root.
///
/// # Errors
/// The system gives no randomness.
pub fn found(trust_domain: Uuid, signing: Signing, unix_s: u64) -> Result<Authority, Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let (not_before, not_after) = (unix_s.saturating_sub(SKEW), unix_s + signing.root_life.as_secs());
    let serial = 1;
    let mut params = root(trust_domain)?;
    (params.not_before, params.not_after) = (date(not_before), date(not_after));
    params.serial_number = Some(serial.into());
    let certificate = params.self_signed(&key)?;
    let fingerprint = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate.der());
    Ok(Authority {
        trust_domain,
        id: Bytes::copy_from_slice(fingerprint.as_ref()),
        key_id: params.key_identifier(&key).into(),
        serial,
        not_before,
        not_after,
        certificate: Bytes::copy_from_slice(certificate.der()),
        key: key.serialized_der().to_vec().into(),
        signing,
        create_index: Index(0),
        modify_index: Index(0),
    })
}

/// What every certificate of the root, and every one that it signs, has of it.
fn root(trust_domain: Uuid) -> Result<CertificateParams, Error> {
    let uri = format!("spiffe://{trust_domain}.consul");
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(uri)?)];
    params.distinguished_name = named(&format!("lictor {trust_domain}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Signs for a service whose agent has drawn the key. What it keeps to itself, the private key, is missing.
///
/// # Errors
/// The authority's key is none.
pub fn certify(authority: &Authority, datacenter: &str, service: &str, key: &[u8], unix_s: u64) -> Result<Leaf, Error> {
    let uri = service_uri(authority.trust_domain, datacenter, service);
    let (not_before, not_after) = (unix_s.saturating_sub(SKEW), unix_s + authority.signing.leaf_life.as_secs());
    // A key is used for one certificate only. A leading bit would make the number longer than its bytes.
    let mut serial = digest::digest(&digest::SHA256, key).as_ref()[..16].to_vec();
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (date(not_before), date(not_after));
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(uri.as_str())?)];
    params.distinguished_name = named(&service.chars().take(COMMON_NAME_MAX).collect::<String>());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let signing = KeyPair::from_pkcs8_der_and_sign_algo(&authority.key[..].into(), &PKCS_ECDSA_P256_SHA256)?;
    let issuer = Issuer::new(root(authority.trust_domain)?, signing);
    let certificate = params.signed_by(&PublicKey(key), &issuer)?;
    Ok(Leaf {
        serial_number: hexadecimal(&serial),
        cert_pem: pem("CERTIFICATE", certificate.der()),
        private_key_pem: String::new(),
        service: service.to_owned(),
        service_uri: uri,
        valid_after: rfc3339(not_before * 1000),
        valid_before: rfc3339(not_after * 1000),
        create_index: 0,
        modify_index: 0,
    })
}

/// A new key of a service: what is signed, and what stays with its agent (PEM).
///
/// # Errors
/// The system gives no randomness.
pub fn draw() -> Result<(Vec<u8>, String), Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    Ok((key.public_key_raw().to_vec(), pem("PRIVATE KEY", key.serialized_der())))
}

/// A point on P-256, uncompressed.
struct PublicKey<'a>(&'a [u8]);

impl PublicKeyData for PublicKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// A moment beyond what dates can say counts as the beginning of time: what it is in is not valid then.
fn date(unix_s: u64) -> OffsetDateTime {
    let seconds = i64::try_from(unix_s).unwrap_or_default();
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
    use rustls::server::WebPkiClientVerifier;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
    use std::sync::Arc;
    use std::time::Duration;

    const NOW: u64 = 1_800_000_000;

    fn der(pem: &str) -> Vec<u8> {
        let lines = pem.lines().filter(|line| !line.starts_with("-----"));
        STANDARD.decode(lines.collect::<String>()).expect("base64 between two lines")
    }

    fn trusting(authority: &Authority) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(authority.certificate.to_vec())).expect("a root");
        Arc::new(roots)
    }

    #[test]
    fn a_leaf_verifies_against_its_root_for_as_long_as_it_is_valid() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authority = found(Uuid::from_u128(7), Signing::default(), NOW).expect("a root");
        let (key, _) = draw().expect("a key");
        let life = 72 * 3600;
        let leaf = certify(&authority, "dc1", "web", &key, NOW).expect("signed");
        assert_eq!(leaf.service_uri, "spiffe://00000000-0000-0000-0000-000000000007.consul/ns/default/dc/dc1/svc/web");
        assert_eq!(
            (leaf.valid_after.as_str(), leaf.valid_before.as_str()),
            ("2027-01-15T07:59:00Z", "2027-01-18T08:00:00Z")
        );
        let verify = |authority: &Authority, at: u64| {
            let verifier = WebPkiClientVerifier::builder(trusting(authority)).build().expect("a verifier");
            let certificate = CertificateDer::from(der(&leaf.cert_pem));
            verifier.verify_client_cert(&certificate, &[], UnixTime::since_unix_epoch(Duration::from_secs(at))).is_ok()
        };
        assert!(verify(&authority, NOW) && verify(&authority, NOW + life - 1));
        assert!(!verify(&authority, NOW + life + 1), "expired");
        assert!(!verify(&authority, NOW - SKEW - 1), "not valid yet");
        assert!(
            !verify(&found(Uuid::from_u128(7), Signing::default(), NOW).expect("another root"), NOW),
            "of another root"
        );
        let text = String::from_utf8_lossy(&der(&leaf.cert_pem)).into_owned();
        assert!(text.contains(&leaf.service_uri));
        let signing = Signing { leaf_life: Duration::from_secs(3600), ..Signing::default() };
        let leaf = certify(&Authority { signing, ..authority }, "dc1", "web", &key, NOW).expect("signed");
        assert_eq!(leaf.valid_before, "2027-01-15T09:00:00Z");
    }

    #[test]
    fn two_services_shake_hands_with_their_certificates() {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let authority = found(Uuid::from_u128(7), Signing::default(), NOW).expect("a root");
        let service = |name: &str| {
            let (key, private) = draw().expect("a key");
            let leaf = certify(&authority, "dc1", name, &key, NOW).expect("signed");
            let key = PrivateKeyDer::try_from(der(&private)).expect("PKCS#8");
            (vec![CertificateDer::from(der(&leaf.cert_pem))], key)
        };
        let at_now = Arc::new(Fixed);
        let roots = trusting(&authority);
        let (chain, key) = service("web");
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider)).build();
        let server = ServerConfig::builder_with_details(Arc::clone(&provider), at_now.clone())
            .with_safe_default_protocol_versions()
            .expect("TLS 1.3")
            .with_client_cert_verifier(clients.expect("a verifier"))
            .with_single_cert(chain, key)
            .expect("the key belongs to the certificate");
        let (chain, key) = service("api");
        // A service is no host: whoever connects looks at the URI himself.
        let client = ClientConfig::builder_with_details(Arc::clone(&provider), at_now)
            .with_safe_default_protocol_versions()
            .expect("TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Chain(roots, provider)))
            .with_client_auth_cert(chain, key)
            .expect("the key belongs to the certificate");
        let name = ServerName::try_from("web").expect("a name");
        let mut client = ClientConnection::new(Arc::new(client), name).expect("a client");
        let mut server = ServerConnection::new(Arc::new(server)).expect("a server");
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).expect("in memory");
            server.read_tls(&mut &wire[..]).expect("in memory");
            server.process_new_packets().expect("what a client says");
            wire.clear();
            server.write_tls(&mut wire).expect("in memory");
            client.read_tls(&mut &wire[..]).expect("in memory");
            client.process_new_packets().expect("what a server says");
        }
        assert_eq!(server.peer_certificates().map(<[_]>::len), Some(1));
        assert_eq!(client.peer_certificates().map(<[_]>::len), Some(1));
    }

    #[derive(Debug)]
    struct Fixed;

    impl rustls::time_provider::TimeProvider for Fixed {
        fn current_time(&self) -> Option<UnixTime> {
            Some(UnixTime::since_unix_epoch(Duration::from_secs(NOW)))
        }
    }

    /// Trusts whomever the root has signed for.
    #[derive(Debug)]
    struct Chain(Arc<RootCertStore>, Arc<rustls::crypto::CryptoProvider>);

    impl rustls::client::danger::ServerCertVerifier for Chain {
        fn verify_server_cert(
            &self,
            certificate: &CertificateDer<'_>,
            between: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            now: UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
            let parsed = rustls::server::ParsedCertificate::try_from(certificate)?;
            let algorithms = self.1.signature_verification_algorithms.all;
            rustls::client::verify_server_cert_signed_by_trust_anchor(&parsed, &self.0, between, now, algorithms)?;
            Ok(rustls::client::danger::ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let algorithms = &self.1.signature_verification_algorithms;
            rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let algorithms = &self.1.signature_verification_algorithms;
            rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.1.signature_verification_algorithms.supported_schemes()
        }
    }
}
