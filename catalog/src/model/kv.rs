//! A key and its value.

use super::Index;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvEntry {
    pub key: Arc<str>,
    pub value: Bytes,
    /// Opaque to us; clients mark their lock keys with it.
    pub flags: u64,
    /// The session that holds the lock on this key.
    pub session: Option<Uuid>,
    /// How often the lock on this key was freshly acquired.
    pub lock_index: u64,
    pub create_index: Index,
    pub modify_index: Index,
}
