//! What membership asks of its host and tells it. Owns nothing.

use super::member::Member;
use super::user_event::UserEvent;
use super::wire::JoinRefused;
use bytes::Bytes;
use lictor_catalog::model::NodeName;
use std::net::SocketAddr;
use std::sync::Arc;
use uuid::Uuid;

/// One thing for the host to do or to know, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send over UDP.
    Packet {
        to: SocketAddr,
        bytes: Bytes,
    },
    /// Connect over TCP, send the body, read one answer and hand it to `Gossip::answered`.
    Dial {
        to: SocketAddr,
        dial: u64,
        body: Bytes,
    },
    /// The list of members is not what it was.
    Changed,
    Event(MemberEvent),
    /// A user event, once each.
    Heard(Arc<UserEvent>),
    /// At least one address let us in; `reached` of them did.
    Joined {
        ticket: u64,
        reached: usize,
    },
    /// A live member holds our name. We try again until it does not; the ticket stays open.
    JoinWaits {
        ticket: u64,
        to: SocketAddr,
        reason: JoinRefused,
    },
    /// No address let us in. The ticket is closed; ask again when you like.
    JoinFailed {
        ticket: u64,
        failures: Vec<(SocketAddr, JoinError)>,
    },
    /// Two live members have one name. Whoever is told can only say so.
    Conflict {
        name: NodeName,
        first: SocketAddr,
        second: SocketAddr,
    },
    /// Another live process has our node id: this one must exit and name both addresses.
    Clone {
        id: Uuid,
        holder: SocketAddr,
        joiner: SocketAddr,
    },
    /// The farewell has been said often enough; the host may exit.
    Gone,
}

/// A step in the life of another member. Members are told of only once their tags are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberEvent {
    Joined(Member),
    Left(Member),
    Failed(Member),
    /// Other tags, another address or another name.
    Updated(Member),
    /// No longer on the list.
    Reaped(Member),
}

/// Why a dial brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The host answered that nobody listens there.
    #[error("connection refused")]
    Refused,
    #[error("no answer in time")]
    TimedOut,
    #[error("unreachable or broken off")]
    Unreachable,
}

/// Why an address did not let us in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    #[error("{0}: is an agent running there, and is its serf_lan port open for TCP?")]
    Dial(#[from] DialError),
    #[error(transparent)]
    Refused(#[from] JoinRefused),
    #[error("the answer could not be read: is that port lictor's gossip port, and is `encrypt` the same there?")]
    Unreadable,
    #[error("the member is still asking after the holders of our id and name")]
    Waited,
    #[error("too many addresses at once")]
    TooMany,
    #[error("this agent is leaving")]
    Leaving,
}

/// `force-leave` of a name that nobody has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("agent: No node found with name '{0}'")]
pub struct UnknownMember(pub String);
