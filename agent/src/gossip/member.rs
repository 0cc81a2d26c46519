//! A member as everybody else sees it.

use lictor_catalog::model::NodeName;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use uuid::Uuid;

/// Who a member is and how it fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: Uuid,
    pub name: NodeName,
    /// Where it gossips; its other ports are in the tags.
    pub address: SocketAddr,
    pub status: MemberStatus,
    /// `role`, `dc`, `id`, `build`, `vsn`, …: Consul's keys (`Tags`).
    pub tags: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberStatus {
    Alive,
    /// Did not answer; not yet given up. Shown as alive.
    Suspect,
    /// Went without saying so.
    Dead,
    /// Went and said so, or was made to (`force-leave`).
    Left,
}

impl MemberStatus {
    /// The number in `/v1/agent/members`: 1 alive, 3 left, 4 failed.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Alive | Self::Suspect => 1,
            Self::Left => 3,
            Self::Dead => 4,
        }
    }

    /// The word in `members`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Alive | Self::Suspect => "alive",
            Self::Left => "left",
            Self::Dead => "failed",
        }
    }
}
