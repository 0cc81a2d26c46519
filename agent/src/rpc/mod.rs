//! What agents say to servers, and servers to each other, on the server port (8300): the shapes, not the transport.
//!
//! The transport is HTTP/2 (`runtime/rpc`). A connection begins with [`Hello`]; whoever is not of the same datacenter
//! and cluster is refused by name and nothing of his is read. Then, by path:
//!
//! | path | body | answer |
//! |---|---|---|
//! | `/hello` | [`Hello`] | 200, or 403 with the reason as text |
//! | `/call` | [`Forwarded`] | [`Answered`] |
//! | `/submit` | [`Submission`] | [`Submitted`] |
//! | `/part` | a `Scope` | the chunks of a partial store |
//! | `/save` | [`AskedToSave`] | a framed `Result` of [`Saved`] or [`Unserved`], then the archive |
//! | `/letters` | a framed [`Signature`], then an endless stream of framed letters | at the end |
//! | `/state` | a framed [`Signature`] and one framed letter, then the chunks of a store | 200 when it was handed in |
//! | `/bootstrap` | one bootstrap letter | 200 |
//!
//! What it never does: it opens no socket, and no term or ballot passes through it in the clear.

use crate::consensus::EngineId;
use crate::http::call::{Call, Consistency, Reply};
use bytes::Bytes;
use lictor_catalog::model::NodeName;
use lictor_catalog::{Command, Index, Outcome};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The version of everything on this page. The previous release must be able to work beside this one.
pub const VERSION: u16 = 1;
/// Bytes of one framed letter at most.
pub const LETTER_MAX: usize = 64 << 20;
/// Bytes of one forwarded call or answer at most.
pub const CALL_MAX: usize = 256 << 20;
/// How many times a call may be passed on inside a datacenter.
pub const HOPS_MAX: u8 = 2;

/// Who is calling, and for which cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub version: u16,
    pub datacenter: String,
    /// Absent until the caller knows: client agents, and servers that are not part of a cluster yet.
    pub cluster: Option<Uuid>,
    pub node: Uuid,
    pub name: String,
}

/// Why a connection was refused; the text is the answer's body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this server speaks RPC version {VERSION}, {name} speaks {theirs}: upgrade the older of the two")]
    Version { name: String, theirs: u16 },
    #[error(
        "this server is of datacenter {ours:?}, {name} is of {theirs:?}: point {name} at servers of its own datacenter"
    )]
    Datacenter { name: String, ours: String, theirs: String },
    #[error(
        "this server is of cluster {ours}, {name} is of cluster {theirs}: they were bootstrapped apart; \
         empty {name}'s data directory to let it join this one, or correct its retry_join"
    )]
    Cluster { name: String, ours: Uuid, theirs: Uuid },
}

impl Hello {
    /// Whether the greeter may talk to one who greets like this.
    ///
    /// # Errors
    /// [`Refusal`], naming the greeter and the remedy.
    pub fn admit(&self, theirs: &Self) -> Result<(), Refusal> {
        let name = format!("{:?}", theirs.name);
        if theirs.version != self.version {
            return Err(Refusal::Version { name, theirs: theirs.version });
        }
        if theirs.datacenter != self.datacenter {
            let (ours, theirs) = (self.datacenter.clone(), theirs.datacenter.clone());
            return Err(Refusal::Datacenter { name, ours, theirs });
        }
        match (self.cluster, theirs.cluster) {
            (Some(ours), Some(theirs)) if ours != theirs => Err(Refusal::Cluster { name, ours, theirs }),
            _ => Ok(()),
        }
    }
}

/// First frame of every stream of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    pub from: EngineId,
    pub to: EngineId,
}

/// A call on its way to where it can be answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwarded {
    pub call: Call,
    /// How often it was passed on, this time included.
    pub hops: u8,
    /// What is left of the asker's patience.
    pub budget_ms: u64,
}

impl Forwarded {
    /// As `agent` passes it on; the first one to do so is who was asked.
    #[must_use]
    pub fn of(call: &Call, agent: &NodeName, hops: u8, budget_ms: u64) -> Self {
        let mut call = call.clone();
        call.agent.get_or_insert_with(|| agent.clone());
        Self { call, hops, budget_ms }
    }
}

/// What became of a forwarded call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answered {
    Reply(Reply),
    /// It surely had no effect; the origin may try again or elsewhere.
    Unserved(Unserved),
}

/// A write of anti-entropy on its way to the leader: what an agent owns, as a command, without a detour through JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    pub command: Command,
    pub hops: u8,
    pub budget_ms: u64,
}

/// What became of a [`Submission`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Submitted {
    Applied(Outcome),
    Unserved(Unserved),
    /// It was proposed and then lost from sight.
    Unknown,
}

/// A backup of the catalog is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedToSave {
    pub consistency: Consistency,
    pub hops: u8,
    pub budget_ms: u64,
}

/// What a backup shows; its bytes follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    pub index: Index,
    pub known_leader: bool,
    pub last_contact_ms: u64,
}

/// Why a server did not serve a call. It surely had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Unserved {
    #[error("No cluster leader")]
    NoLeader,
    #[error("this server has not caught up with its cluster yet")]
    NotCaughtUp,
    #[error("this server has too much to do; try again later")]
    Busy,
    #[error("no server could be reached")]
    Unreachable,
}

/// A message that does not decode: damaged, or written by another release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an RPC message does not decode: it is damaged, or from a release that this one cannot work beside")]
pub struct Malformed;

#[must_use]
pub fn encode(message: &impl Serialize) -> Bytes {
    postcard::to_allocvec(message).expect("a message is a plain value and memory is the only sink").into()
}

/// # Errors
/// [`Malformed`]; trailing bytes count as damage.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        Ok(_) | Err(_) => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(datacenter: &str, cluster: Option<u128>) -> Hello {
        Hello {
            version: VERSION,
            datacenter: datacenter.to_owned(),
            cluster: cluster.map(Uuid::from_u128),
            node: Uuid::nil(),
            name: "n2".to_owned(),
        }
    }

    #[test]
    fn strangers_are_refused_by_name() {
        let ours = hello("dc1", Some(1));
        assert_eq!(ours.admit(&hello("dc1", Some(1))), Ok(()));
        assert_eq!(ours.admit(&hello("dc1", None)), Ok(()));
        let text = |theirs| ours.admit(&theirs).expect_err("a stranger").to_string();
        assert!(text(hello("dc2", Some(1))).contains("\"n2\" is of \"dc2\""));
        assert!(text(hello("dc1", Some(2))).contains("empty \"n2\"'s data directory"));
        assert!(text(Hello { version: 9, ..hello("dc1", None) }).contains("speaks 9"));
    }

    #[test]
    fn trailing_bytes_are_damage() {
        let mut bytes = encode(&Unserved::Busy).to_vec();
        assert_eq!(decode::<Unserved>(&bytes), Ok(Unserved::Busy));
        bytes.push(0);
        assert_eq!(decode::<Unserved>(&bytes), Err(Malformed));
    }
}
