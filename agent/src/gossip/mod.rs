//! Who is alive: SWIM by foca, hardened with what memberlist and serf have and foca lacks. Owns this agent's view of the
//! cluster's members; opens no socket and asks no clock.
//!
//! On top of foca's probes, suspicion and refutation come: joins that ask before they enter, tags as versioned cards,
//! farewells that differ from failures, push/pull over TCP, a fallback probe over TCP, Lifeguard's suspicions, sealed
//! packets, user events, places in the network, and calling on the dead so that partitions heal. See [`Gossip`].

mod check;
mod config;
mod core;
mod exchange;
pub(crate) mod identity;
mod join;
#[cfg(feature = "malformed")]
pub(crate) mod malformed;
mod member;
mod output;
mod probing;
mod queue;
pub(crate) mod seal;
mod suspicion;
mod swim;
mod table;
mod timers;
mod user_event;
mod vivaldi;
pub(crate) mod wire;

#[cfg(test)]
mod tests;

pub use self::core::{Gossip, GossipCounts};
pub use config::GossipConfig;
pub use identity::{CodecError, Identity};
pub use member::{Member, MemberStatus};
pub use output::{DialError, JoinError, MemberEvent, Output, UnknownMember};
pub use seal::BadKey;
pub(crate) use user_event::filter as event_filter;
pub use user_event::{Announcement, EVENT_MAX, NotFired, UserEvent, VERSION as EVENT_VERSION};
pub use wire::JoinRefused;
