//! A claim to be alive, which locks are held by.

use super::{CheckId, Index, NodeName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use uuid::Uuid;

/// A session lives until it is destroyed, its time to live has passed without a renewal, its node goes, or one of its
/// checks turns critical or goes. It never changes: to be renewed moves nothing that a reader sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Drawn by the leader.
    pub id: Uuid,
    /// What its maker calls it.
    pub name: String,
    /// Where it lives.
    pub node: NodeName,
    /// Checks of the node that must not be critical.
    pub node_checks: Vec<CheckId>,
    /// Checks of services on the node that must not be critical.
    pub service_checks: Vec<ServiceCheck>,
    /// For so long nobody can lock what it held when it ended; at most [`LOCK_DELAY_MAX`] of it counts.
    pub lock_delay: Duration,
    /// What becomes of the keys it holds when it ends.
    pub behavior: Behavior,
    /// How long it lives unless it is renewed.
    pub ttl: Ttl,
    /// The entry of the log that created it.
    pub create_index: Index,
}

/// However long a session asks for, nobody waits longer for its keys.
pub const LOCK_DELAY_MAX: Duration = Duration::from_secs(60);

impl Session {
    /// Every check that must not be critical.
    pub fn checks(&self) -> impl Iterator<Item = &CheckId> {
        self.node_checks.iter().chain(self.service_checks.iter().map(|check| &check.id))
    }
}

/// A check of a service, as a session names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceCheck {
    /// The check.
    pub id: CheckId,
    /// Given back as it came; there are no namespaces.
    pub namespace: String,
}

/// What becomes of the keys that a session holds when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Behavior {
    /// They stay, and nobody holds them.
    #[default]
    Release,
    /// They go.
    Delete,
}

impl Behavior {
    /// The word used on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Delete => "delete",
        }
    }
}

/// A time to live, of sessions and of answers. Clients are given back the text they wrote (`60s` is not to become `1m0s`),
/// which may promise less than a session is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ttl {
    /// So long it lives in log time; zero: for ever.
    pub span: Duration,
    /// As it was written.
    pub text: String,
}

/// Proof of having held a lock: whoever was given it can tell a holder of today from one of yesterday (Burrows,
/// "The Chubby lock service", OSDI 2006, §2.4).
///
/// As text: `<lock index>.<session>.<key>`. It is stale as soon as the key is unlocked, locked anew or deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequencer {
    /// The key that is locked.
    pub key: String,
    /// How often it had been locked by then.
    pub lock_index: u64,
    /// Who held it.
    pub session: Uuid,
}

impl fmt::Display for Sequencer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.lock_index, self.session, self.key)
    }
}

/// A text that is no sequencer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSequencer;

impl fmt::Display for BadSequencer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a sequencer: expected <lock index>.<session>.<key>, as /v1/lock/sequencer/<key> gives it")
    }
}

impl std::error::Error for BadSequencer {}

impl FromStr for Sequencer {
    type Err = BadSequencer;

    /// Takes only what [`fmt::Display`] writes: neither `+7` nor a UUID in braces, so that one sequencer has one text.
    fn from_str(text: &str) -> Result<Self, BadSequencer> {
        let read = || {
            let mut parts = text.splitn(3, '.');
            let lock_index = parts.next()?.parse().ok()?;
            let session = Uuid::try_parse(parts.next()?).ok()?;
            Some(Self { key: parts.next()?.to_owned(), lock_index, session })
        };
        read().filter(|sequencer: &Self| sequencer.to_string() == text).ok_or(BadSequencer)
    }
}
