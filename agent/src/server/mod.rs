//! The leader's work: making the catalog match gossip, and the replicated configuration match the servers that live.
//!
//! Pure wishes over (members, store): what ought to be written, given what is. Nothing here is kept in the store, and
//! nothing here writes.

pub mod health;
pub mod lineage;
mod log_time;
mod reads;
pub mod reconcile;
pub mod replica;
pub mod role;
pub mod tags;
pub mod voters;

#[cfg(test)]
mod replica_tests;
#[cfg(test)]
mod tests;

use crate::gossip::{Member, MemberStatus};
use std::net::SocketAddr;
use tags::ServerTags;

/// Where the living servers of a datacenter listen for RPC.
#[must_use]
pub fn rpc_addresses(members: &[Member], datacenter: &str) -> Vec<SocketAddr> {
    members
        .iter()
        .filter(|member| matches!(member.status, MemberStatus::Alive | MemberStatus::Suspect))
        .filter_map(|member| ServerTags::of(member).filter(|tags| tags.datacenter == datacenter).map(|tags| tags.rpc))
        .collect()
}
