//! A key and its value.

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use lictor_catalog::{KvEntry, Sequencer};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use uuid::Uuid;

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Key")]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct WireKv<'a> {
    lock_index: u64,
    key: &'a str,
    flags: u64,
    value: Blob<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Uuid>,
    create_index: u64,
    modify_index: u64,
}

/// `lock/sequencer`: the sequencer, and what it says in parts.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Sequencer")]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct WireSequencer<'a> {
    sequencer: String,
    key: &'a str,
    lock_index: u64,
    session: Uuid,
}

impl<'a> WireSequencer<'a> {
    /// `None`: nobody holds the lock.
    pub(super) fn of(entry: &KvEntry<'a>) -> Option<Self> {
        let (session, lock_index) = (entry.session?, entry.lock_index);
        let sequencer = Sequencer { key: entry.key.to_owned(), lock_index, session }.to_string();
        Some(Self { sequencer, key: entry.key, lock_index, session })
    }
}

/// Base64, or `null` when empty.
pub(super) struct Blob<'a>(pub(super) &'a [u8]);

impl Serialize for Blob<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_empty() {
            return serializer.serialize_none();
        }
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

shown_as!(Blob<'_>, Option<String>);

impl<'a> From<KvEntry<'a>> for WireKv<'a> {
    fn from(entry: KvEntry<'a>) -> Self {
        let KvEntry { key, value, flags, session, lock_index, create_index, modify_index } = entry;
        Self {
            lock_index,
            key,
            flags,
            value: Blob(value),
            session,
            create_index: create_index.0,
            modify_index: modify_index.0,
        }
    }
}
