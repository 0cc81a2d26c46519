//! A machine.

use super::{Index, NodeName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A machine, or what stands for one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Absent for nodes registered by hand without one.
    pub id: Option<Uuid>,
    /// Unique in its datacenter.
    pub name: NodeName,
    /// An IP address or a host name.
    pub address: String,
    /// `lan`, `wan`, `lan_ipv4`, …
    pub tagged_addresses: BTreeMap<String, String>,
    /// What its operator says of it.
    pub meta: BTreeMap<String, String>,
    /// The entry of the log that created it.
    pub create_index: Index,
    /// The entry of the log that changed it last.
    pub modify_index: Index,
}
