//! A key and its value.

use super::Index;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

/// One key, its value, and who holds the lock on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvEntry<'a> {
    /// Any text, the empty one included. Not folded: `A` and `a` are two keys.
    pub key: &'a str,
    /// Any bytes.
    #[serde(serialize_with = "bytes")]
    pub value: &'a [u8],
    /// Opaque to us; clients mark their lock keys with it.
    pub flags: u64,
    /// The session that holds the lock on this key.
    pub session: Option<Uuid>,
    /// How often the lock on this key was freshly acquired.
    pub lock_index: u64,
    /// The entry of the log that created it.
    pub create_index: Index,
    /// The entry of the log that changed it last.
    pub modify_index: Index,
}

/// An entry as it is kept and shared: packed, in one allocation, because keys are the rows that come by the million.
#[derive(Clone, PartialEq, Eq)]
pub struct KvRow(Arc<[u8]>);

impl KvRow {
    /// The entry, read out of the row.
    #[must_use]
    pub fn entry(&self) -> KvEntry<'_> {
        postcard::from_bytes(&self.0).expect(PACKED)
    }

    /// Its key alone, which comes first.
    #[must_use]
    pub fn key(&self) -> &str {
        postcard::take_from_bytes(&self.0).expect(PACKED).0
    }

    /// The key's bytes, whose order is the order of keys.
    pub(crate) fn key_bytes(&self) -> &[u8] {
        postcard::take_from_bytes(&self.0).expect(PACKED).0
    }

    /// The bytes that the entry has in a snapshot.
    pub(crate) fn packed(&self) -> &[u8] {
        &self.0
    }
}

const PACKED: &str = "a row is only ever made of an entry";

impl From<KvEntry<'_>> for KvRow {
    fn from(entry: KvEntry<'_>) -> Self {
        // Room for what may stand beside key and value.
        let buffer = Vec::with_capacity(entry.key.len() + entry.value.len() + 64);
        let packed =
            postcard::to_extend(&entry, buffer).expect("an entry is a plain value and memory is the only sink");
        Self(packed.into())
    }
}

impl Serialize for KvRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.entry().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for KvRow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        KvEntry::deserialize(deserializer).map(Self::from)
    }
}

impl fmt::Debug for KvRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entry().fmt(f)
    }
}

/// At once, where a slice would be written byte by byte. Both read alike.
fn bytes<S: Serializer>(value: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(value)
}
