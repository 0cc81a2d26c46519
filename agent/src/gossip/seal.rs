//! The envelope around every packet and body: version, kind, cluster, and AES-GCM when a key is set. Owns the key and
//! the nonces; knows nothing of what it carries.

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::aes::Aes192;
use aes_gcm::aes::cipher::consts::U12;
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm, Nonce};

/// The number of this wire format.
pub(super) const VERSION: u8 = 1;
pub(crate) const HEADER: usize = 6;
const NONCE: usize = 12;
const TAG: usize = 16;
const SEALED: u8 = 0x80;

/// What an envelope carries. It is authenticated, so that an answer cannot be played back as a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Packet = 0,
    Request = 1,
    Answer = 2,
}

/// A key of a length that AES does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("encrypt: the key has {0} bytes; use one of 16, 24 or 32 (`lictor keygen` makes one)")]
pub struct BadKey(pub usize);

/// Why an envelope was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unopened {
    Truncated,
    Version(u8),
    Kind,
    /// Another datacenter or label.
    Cluster,
    /// Sealed, and we hold no key.
    Sealed,
    /// Plain, and we hold a key.
    Plain,
    /// Sealed with another key, or tampered with.
    Key,
}

enum Cipher {
    Aes128(Box<Aes128Gcm>),
    Aes192(Box<AesGcm<Aes192, U12>>),
    Aes256(Box<Aes256Gcm>),
}

pub(super) struct Seal {
    cipher: Option<Cipher>,
    cluster: [u8; 4],
    seed: [u8; NONCE],
    sealed: u128,
}

impl Seal {
    /// # Errors
    /// [`BadKey`] with the length of the key.
    pub(super) fn new(key: Option<&[u8]>, datacenter: &str, label: &str, seed: [u8; NONCE]) -> Result<Self, BadKey> {
        let bad = |key: &[u8]| BadKey(key.len());
        let cipher = match key {
            None => None,
            Some(key) => Some(match key.len() {
                16 => Cipher::Aes128(Box::new(Aes128Gcm::new_from_slice(key).map_err(|_error| bad(key))?)),
                24 => Cipher::Aes192(Box::new(AesGcm::new_from_slice(key).map_err(|_error| bad(key))?)),
                32 => Cipher::Aes256(Box::new(Aes256Gcm::new_from_slice(key).map_err(|_error| bad(key))?)),
                _ => return Err(bad(key)),
            }),
        };
        let mut text = datacenter.as_bytes().to_vec();
        text.push(0);
        text.extend_from_slice(label.as_bytes());
        Ok(Self { cipher, cluster: crc32c::crc32c(&text).to_be_bytes(), seed, sealed: 0 })
    }

    /// The bytes that an envelope adds.
    pub(super) const fn overhead(&self) -> usize {
        if self.cipher.is_some() { HEADER + NONCE + TAG } else { HEADER }
    }

    /// NIST SP 800-38D allows a nonce once per key. The start is random over all 96 bits and we count up from it, so two
    /// processes collide only if their whole ranges overlap.
    fn nonce(&mut self) -> [u8; NONCE] {
        let mut wide = [0; 16];
        wide[4..].copy_from_slice(&self.seed);
        let next = u128::from_be_bytes(wide).wrapping_add(self.sealed);
        self.sealed = self.sealed.wrapping_add(1);
        let mut nonce = [0; NONCE];
        nonce.copy_from_slice(&next.to_be_bytes()[4..]);
        nonce
    }

    fn header(&self, kind: Kind, sealed: bool) -> [u8; HEADER] {
        let mut header = [VERSION, kind as u8 | if sealed { SEALED } else { 0 }, 0, 0, 0, 0];
        // A body names its datacenter and label inside, so that a refusal can name both.
        if kind == Kind::Packet {
            header[2..].copy_from_slice(&self.cluster);
        }
        header
    }

    pub(super) fn close(&mut self, kind: Kind, payload: &[u8]) -> Vec<u8> {
        let nonce = self.nonce();
        let header = self.header(kind, true);
        let payload_sealed = Payload { msg: payload, aad: &header };
        let sealed = self.cipher.as_ref().map(|cipher| {
            let nonce = Nonce::<U12>::from(nonce);
            match cipher {
                Cipher::Aes128(cipher) => cipher.encrypt(&nonce, payload_sealed),
                Cipher::Aes192(cipher) => cipher.encrypt(&nonce, payload_sealed),
                Cipher::Aes256(cipher) => cipher.encrypt(&nonce, payload_sealed),
            }
            .expect("AES-GCM only refuses messages of 64 GB and more")
        });
        match sealed {
            None => self.close_plain(kind, payload),
            Some(sealed) => [header.as_slice(), &nonce, &sealed].concat(),
        }
    }

    /// Without sealing, whatever the key: for refusals that a stranger must be able to read.
    pub(super) fn close_plain(&self, kind: Kind, payload: &[u8]) -> Vec<u8> {
        [self.header(kind, false).as_slice(), payload].concat()
    }

    pub(super) fn open(&self, kind: Kind, bytes: &[u8]) -> Result<Vec<u8>, Unopened> {
        let (header, rest) = bytes.split_at_checked(HEADER).ok_or(Unopened::Truncated)?;
        if header[0] != VERSION {
            return Err(Unopened::Version(header[0]));
        }
        if header[1] & !SEALED != kind as u8 {
            return Err(Unopened::Kind);
        }
        if header != self.header(kind, header[1] & SEALED != 0) {
            return Err(Unopened::Cluster);
        }
        match (&self.cipher, header[1] & SEALED != 0) {
            (None, false) => Ok(rest.to_vec()),
            (None, true) => Err(Unopened::Sealed),
            (Some(_), false) => Err(Unopened::Plain),
            (Some(cipher), true) => {
                let (nonce, sealed) = rest.split_at_checked(NONCE).ok_or(Unopened::Truncated)?;
                let nonce = Nonce::<U12>::try_from(nonce).map_err(|_error| Unopened::Truncated)?;
                let payload = Payload { msg: sealed, aad: header };
                match cipher {
                    Cipher::Aes128(cipher) => cipher.decrypt(&nonce, payload),
                    Cipher::Aes192(cipher) => cipher.decrypt(&nonce, payload),
                    Cipher::Aes256(cipher) => cipher.decrypt(&nonce, payload),
                }
                .map_err(|_error| Unopened::Key)
            }
        }
    }

    /// The payload of a plain envelope whatever our key: only for reading a refusal.
    pub(super) fn open_plain(kind: Kind, bytes: &[u8]) -> Option<&[u8]> {
        let (header, rest) = bytes.split_at_checked(HEADER)?;
        (header[0] == VERSION && header[1] == kind as u8).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(key: Option<usize>, datacenter: &str) -> Seal {
        let key = key.map(|length| vec![7; length]);
        Seal::new(key.as_deref(), datacenter, "", [255; 12]).expect("a good key")
    }

    #[test]
    fn what_is_closed_opens_only_for_the_same_cluster_kind_and_key() {
        for key in [None, Some(16), Some(24), Some(32)] {
            let mut ours = seal(key, "dc1");
            let bytes = ours.close(Kind::Packet, b"ave");
            assert_eq!(bytes.len(), 3 + ours.overhead());
            assert_eq!(seal(key, "dc1").open(Kind::Packet, &bytes).as_deref(), Ok(b"ave".as_slice()));
            assert_eq!(seal(key, "dc2").open(Kind::Packet, &bytes), Err(Unopened::Cluster));
            assert_eq!(ours.open(Kind::Request, &bytes), Err(Unopened::Kind));
            for cut in 0..HEADER {
                assert_eq!(ours.open(Kind::Packet, &bytes[..cut]), Err(Unopened::Truncated));
            }
            if key.is_some() {
                assert_eq!(seal(None, "dc1").open(Kind::Packet, &bytes), Err(Unopened::Sealed));
                let mut bent = bytes.clone();
                bent[HEADER + NONCE] ^= 1;
                assert_eq!(ours.open(Kind::Packet, &bent), Err(Unopened::Key));
                assert_ne!(ours.close(Kind::Packet, b"ave"), bytes, "a nonce is used once");
            }
        }
        let bytes = seal(Some(16), "dc1").close(Kind::Packet, b"ave");
        assert_eq!(seal(Some(32), "dc1").open(Kind::Packet, &bytes), Err(Unopened::Key));
        assert_eq!(Seal::new(Some(&[0; 17]), "dc1", "", [0; 12]).err(), Some(BadKey(17)));
    }
}
