//! A node as the catalog shows it.

use lictor_catalog::Node;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Written as `""` when absent.
pub(super) struct NodeId(pub(super) Option<Uuid>);

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(id) => id.serialize(serializer),
            None => serializer.serialize_str(""),
        }
    }
}

shown_as!(NodeId, String);

/// Written as `null` when empty, as Go writes a map that was never made.
pub(super) struct OrNull<'a>(pub(super) &'a BTreeMap<String, String>);

impl Serialize for OrNull<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_empty() { serializer.serialize_none() } else { self.0.serialize(serializer) }
    }
}

shown_as!(OrNull<'_>, Option<BTreeMap<String, String>>);

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Node")]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct WireNode<'a> {
    #[serde(rename = "ID")]
    id: NodeId,
    node: &'a str,
    address: &'a str,
    datacenter: &'a str,
    tagged_addresses: OrNull<'a>,
    meta: Option<&'a BTreeMap<String, String>>,
    create_index: u64,
    modify_index: u64,
}

impl<'a> WireNode<'a> {
    pub(super) fn of(node: &'a Node, datacenter: &'a str) -> Self {
        let Node { id, name, address, tagged_addresses, meta, create_index, modify_index } = node;
        Self {
            id: NodeId(*id),
            node: name,
            address,
            datacenter,
            tagged_addresses: OrNull(tagged_addresses),
            meta: Some(meta),
            create_index: create_index.0,
            modify_index: modify_index.0,
        }
    }

    /// As a transaction shows it: what is empty is `null`, as nobody filled it in.
    pub(super) fn bare(self) -> Self {
        Self { meta: self.meta.filter(|meta| !meta.is_empty()), ..self }
    }
}
