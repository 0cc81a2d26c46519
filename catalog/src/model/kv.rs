//! A key and its value.

use super::Index;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

/// One key, its value, and who holds the lock on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvEntry {
    /// Any text, the empty one included. Not folded: `A` and `a` are two keys.
    pub key: Arc<str>,
    /// Any bytes.
    pub value: Bytes,
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
