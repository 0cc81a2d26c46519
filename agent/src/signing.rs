//! What the certificate authority signs by, as an operator writes it: `connect.ca_config` in a file, or `Config` of
//! `PUT /v1/connect/ca/configuration`. The rules are Consul's, in its words.

use crate::json::{BadField, Object};
use crate::time::format_duration;
use lictor_catalog::model::Signing;
use std::time::Duration;

/// The only provider there is: the one that is built in, under Consul's name.
const PROVIDER: &str = "consul";

/// How long a service's certificate may be valid.
const LEAF_LIFE_MIN: Duration = Duration::from_secs(3600);
const LEAF_LIFE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Why nothing can be signed so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSigning {
    #[error(transparent)]
    Field(#[from] BadField),
    #[error("unknown CA provider {0:?}: lictor has its own only, which is called \"consul\"")]
    Provider(String),
    #[error("{0} cannot be set: the root is the one that the cluster has made for itself")]
    OtherRoot(&'static str),
    #[error("private key type must be 'ec' with 256 bits: the root has such a key, and is not replaced")]
    OtherKey,
    #[error(
        "root cert TTL is set and is not greater than intermediate cert ttl. root cert ttl: {}, intermediate cert ttl: {}",
        format_duration(*root),
        format_duration(*intermediate)
    )]
    RootShort { root: Duration, intermediate: Duration },
    #[error("leaf cert TTL must be greater or equal than {}", format_duration(LEAF_LIFE_MIN))]
    LeafShort,
    #[error("leaf cert TTL must be less than {}", format_duration(LEAF_LIFE_MAX))]
    LeafLong,
    #[error("Intermediate Cert TTL must be greater or equal than 3 * LeafCertTTL (>={}).", format_duration(*least))]
    IntermediateShort { least: Duration },
}

/// # Errors
/// [`BadSigning::Provider`].
pub fn provided_by(provider: &str) -> Result<(), BadSigning> {
    if provider == PROVIDER { Ok(()) } else { Err(BadSigning::Provider(provider.to_owned())) }
}

/// What is absent gets its default.
///
/// # Errors
/// Any other [`BadSigning`].
pub fn read(config: &Object<'_>) -> Result<Signing, BadSigning> {
    for given in ["PrivateKey", "RootCert"] {
        if !config.string(given)?.is_empty() {
            return Err(BadSigning::OtherRoot(given));
        }
    }
    let bits = config.number("PrivateKeyBits", u64::MAX)?.unwrap_or_default();
    if !matches!((config.string("PrivateKeyType")?.as_str(), bits), ("" | "ec", 0 | 256)) {
        return Err(BadSigning::OtherKey);
    }
    let default = Signing::default();
    let signing = Signing {
        leaf_life: config.duration("LeafCertTTL")?.unwrap_or(default.leaf_life),
        intermediate_life: config.duration("IntermediateCertTTL")?.unwrap_or(default.intermediate_life),
        root_life: config.duration("RootCertTTL")?.unwrap_or(default.root_life),
        // As Consul's own provider keeps it, for the tests of its client.
        state: config.string_map("test_state")?,
    };
    check(&signing)?;
    Ok(signing)
}

fn check(signing: &Signing) -> Result<(), BadSigning> {
    let Signing { leaf_life, intermediate_life: intermediate, root_life: root, state: _ } = signing;
    let least = *leaf_life * 3;
    if root < intermediate {
        Err(BadSigning::RootShort { root: *root, intermediate: *intermediate })
    } else if *leaf_life < LEAF_LIFE_MIN {
        Err(BadSigning::LeafShort)
    } else if *leaf_life > LEAF_LIFE_MAX {
        Err(BadSigning::LeafLong)
    } else if *intermediate < least {
        Err(BadSigning::IntermediateShort { least })
    } else {
        Ok(())
    }
}
