//! Reads of keys.

use crate::acl::Authorizer;
use crate::model::{Index, KvRow};
use crate::store::Store;

pub(super) fn get(store: &Store, key: &str, may: &dyn Authorizer) -> (Index, Option<KvRow>) {
    (key_index(store, key), store.kv.get(key).filter(|_| may.key_read(key)).cloned())
}

/// A missing key has the index of the whole table, deletions included.
pub(super) fn key_index(store: &Store, key: &str) -> Index {
    store.kv.get(key).map_or_else(|| store.kv.table_index(), |row| row.entry().modify_index)
}

pub(super) fn list(store: &Store, prefix: &str, may: &dyn Authorizer) -> (Index, Vec<KvRow>) {
    let seen = |row: &&KvRow| may.key_read(row.key());
    (prefix_index(store, prefix), store.kv.under(prefix).filter(seen).cloned().collect())
}

pub(super) fn keys(store: &Store, prefix: &str, separator: &str, may: &dyn Authorizer) -> (Index, Vec<String>) {
    let mut keys: Vec<String> = Vec::new();
    for row in store.kv.under(prefix).filter(|row| may.key_read(row.key())) {
        let key = cut(row.key(), prefix.len(), separator);
        // Keys come in order, so keys that were cut to the same one follow each other.
        if keys.last().is_none_or(|last| last != key) {
            keys.push(key.to_owned());
        }
    }
    (prefix_index(store, prefix), keys)
}

/// `key` up to and with the first `separator` after `from`.
fn cut<'a>(key: &'a str, from: usize, separator: &str) -> &'a str {
    if separator.is_empty() {
        return key;
    }
    match key[from..].find(separator) {
        Some(at) => &key[..from + at + separator.len()],
        None => key,
    }
}

/// The last change under a prefix. The table's index where nothing is known under it, and for the empty prefix.
pub(super) fn prefix_index(store: &Store, prefix: &str) -> Index {
    if prefix.is_empty() {
        return store.kv.table_index();
    }
    let written = store.kv.under(prefix).map(|row| row.entry().modify_index).max().unwrap_or_default();
    match written.max(store.kv.deleted_under(prefix, written)) {
        Index(0) => store.kv.table_index(),
        index => index,
    }
}
