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
    pub name: NodeName,
    /// An IP address or a host name.
    pub address: String,
    /// `lan`, `wan`, `lan_ipv4`, …
    pub tagged_addresses: BTreeMap<String, String>,
    pub meta: BTreeMap<String, String>,
    pub create_index: Index,
    pub modify_index: Index,
}
