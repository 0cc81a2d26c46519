//! What travels beside foca's own messages: items in packets, requests and answers over TCP. Owns the formats, keeps
//! nothing.

use super::identity::{Identity, WireState};
use super::user_event::UserEvent;
use lictor_catalog::Coordinate;
use lictor_catalog::model::NodeName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use uuid::Uuid;

/// What a member says about itself. The later start wins, then the later version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Card {
    pub(crate) id: Uuid,
    pub(crate) counter: u64,
    pub(crate) version: u64,
    pub(crate) name: NodeName,
    pub(crate) tags: BTreeMap<String, String>,
}

impl Card {
    pub(crate) const fn age(&self) -> (u64, u64) {
        (self.counter, self.version)
    }
}

/// One of ours in a packet. Each travels behind its length, so that an older release can step over a newer kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Item {
    Card(Card),
    Left(Left),
    Suspect(Doubt),
    /// Are you there, `target`?
    Ping {
        nonce: u64,
        target: Uuid,
    },
    Pong {
        nonce: u64,
        from: Identity,
    },
    Event(UserEvent),
    /// Beside an ack: where the sender is.
    Place(Coordinate),
}

/// A member went on purpose, or is to be treated as if it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Left {
    pub(crate) id: Uuid,
    /// No later start than this is meant.
    pub(crate) counter: u64,
    /// By `force-leave`: only where the member is dead already.
    pub(crate) forced: bool,
    /// Take it off the list as well.
    pub(crate) prune: bool,
}

/// `from` got no answer from `who`. Distinct doubters shorten the suspicion (Lifeguard, section IV.B).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Doubt {
    pub(crate) who: Identity,
    pub(crate) incarnation: u16,
    pub(crate) from: Uuid,
}

/// One member in a push/pull.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) who: Identity,
    pub(crate) incarnation: u16,
    pub(crate) state: WireState,
    pub(crate) left: bool,
    pub(crate) pruned: bool,
    /// How long it has been down: without it two agents would remind each other of the dead for ever.
    pub(crate) down_ms: u64,
    pub(crate) card: Option<Card>,
}

/// One side of a push/pull.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sync {
    pub(crate) datacenter: String,
    pub(crate) label: String,
    pub(crate) from: Identity,
    pub(crate) rows: Vec<Row>,
    /// Where the clock of events stands, and those of its window.
    pub(crate) event_clock: u64,
    pub(crate) events: Vec<UserEvent>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Before the first gossip packet: may I?
    Join { name: NodeName, sync: Sync },
    /// The periodic push/pull, meant for this member only.
    Sync { target: Uuid, sync: Sync },
    /// The fallback probe. A suspect is told so, which lets it refute in the very answer.
    Ping { target: Uuid, suspected: Option<(u64, u16)> },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reply {
    State(Sync),
    Pong {
        from: Identity,
        incarnation: u16,
    },
    /// The holders of your UUID or name are being asked; come again shortly.
    Wait,
    Refused(JoinRefused),
}

/// A request or an answer with the number that ties them together: an old answer cannot be played back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Letter<T> {
    pub(crate) number: u64,
    pub(crate) content: T,
}

/// Why a member did not let us in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum JoinRefused {
    #[error("member of datacenter {theirs:?}, this agent is in {ours:?}: join a member of the same datacenter")]
    Datacenter { theirs: String, ours: String },
    #[error("member has gossip label {theirs:?}, this agent has {ours:?}: give both the same")]
    Label { theirs: String, ours: String },
    #[error("the member speaks gossip version {theirs}, this agent {ours}: upgrade the older of the two")]
    Version { theirs: u8, ours: u8 },
    #[error("gossip is encrypted there with another key than here: set the same `encrypt`")]
    Key,
    #[error("gossip is encrypted there and not here: set `encrypt`")]
    NeedsKey,
    #[error("gossip is not encrypted there: remove `encrypt` here or set it there")]
    NoKey,
    #[error("the member is leaving: join another")]
    Leaving,
    #[error("the member could not read the request: are both releases compatible?")]
    Unreadable,
    #[error("the member at that address is another one than was meant")]
    NotMe,
    #[error(
        "name {name:?} is held by the live agent at {holder}, and {joiner} asks for it: give one of them another \
         `node_name`, or stop the holder"
    )]
    Name { name: NodeName, holder: SocketAddr, joiner: SocketAddr },
    #[error(
        "node id {id} is in use by the live agent at {holder}, and {joiner} has it too: its data directory was copied; \
         empty one of them"
    )]
    Clone { id: Uuid, holder: SocketAddr, joiner: SocketAddr },
    #[error("the member knows as many members as it may")]
    Full,
}

pub(crate) fn write(record: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(record).expect("growing a vector does not fail, and every type here has a known length")
}

pub(crate) fn read<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}

/// Appends an item that [`write`] wrote; false when it does not fit below `size_max`.
pub(crate) fn append(payload: &mut Vec<u8>, item: &[u8], size_max: usize) -> bool {
    let Ok(length) = u16::try_from(item.len()) else { return false };
    if payload.len() + 2 + item.len() > size_max {
        return false;
    }
    payload.extend_from_slice(&length.to_be_bytes());
    payload.extend_from_slice(item);
    true
}

/// Takes a payload apart: foca's part, then the items we can read.
pub(crate) fn split(payload: &[u8]) -> Option<(&[u8], Vec<Item>)> {
    let (swim, mut rest) = chop(payload)?;
    let mut items = Vec::new();
    while !rest.is_empty() {
        let (item, after) = chop(rest)?;
        items.extend(read::<Item>(item));
        rest = after;
    }
    Some((swim, items))
}

fn chop(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}
