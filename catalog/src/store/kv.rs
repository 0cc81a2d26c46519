//! The table of keys, and the tombstones of deleted ones.

use crate::model::{Index, KvEntry};
use imbl::{OrdMap, OrdSet};
use std::ops::Bound;
use std::sync::Arc;
use uuid::Uuid;

/// How long a deleted key raises the index of the prefixes it lay under. Consul keeps them as long.
const TOMBSTONE_AGE_MS: u64 = 15 * 60 * 1000;

/// At most so many tombstones go at one command, lest one command pay for a whole deleted tree.
const REAPED_AT_ONCE: usize = 256;

/// When a key was deleted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tombstone {
    pub(crate) index: Index,
    pub(crate) time_ms: u64,
}

/// Keys in byte order. They are not folded: `A` and `a` are two keys.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Kv {
    rows: OrdMap<Arc<str>, Arc<KvEntry>>,
    /// The locked ones, by their holders.
    held: OrdSet<(Uuid, Arc<str>)>,
    tombstones: OrdMap<Arc<str>, Tombstone>,
    /// The same tombstones, oldest first.
    by_age: OrdSet<(Index, Arc<str>)>,
    pub(crate) index: Index,
    pub(crate) tombstones_index: Index,
}

impl Kv {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Arc<KvEntry>> {
        self.rows.get(key)
    }

    pub(crate) fn rows(&self) -> &OrdMap<Arc<str>, Arc<KvEntry>> {
        &self.rows
    }

    pub(crate) fn tombstones(&self) -> &OrdMap<Arc<str>, Tombstone> {
        &self.tombstones
    }

    /// The entries whose keys start with `prefix`, in order.
    pub(crate) fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<KvEntry>> {
        self.rows
            .range::<_, str>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(_, entry)| entry)
    }

    /// The keys that a session holds the locks on, in order.
    pub(crate) fn held_by(&self, session: Uuid) -> impl Iterator<Item = &Arc<str>> {
        let range = self.held.range((session, Arc::from(""))..);
        range.take_while(move |(holder, _)| *holder == session).map(|(_, key)| key)
    }

    /// The last change of the table, deletions included.
    pub(crate) fn table_index(&self) -> Index {
        self.index.max(self.tombstones_index)
    }

    /// The last known deletion under a prefix, or never.
    pub(crate) fn deleted_under(&self, prefix: &str) -> Index {
        self.tombstones
            .range::<_, str>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(_, tombstone)| tombstone.index)
            .max()
            .unwrap_or_default()
    }

    /// Puts an entry. Its key's tombstone goes: the entry's own index is higher.
    pub(crate) fn insert(&mut self, entry: Arc<KvEntry>) {
        self.unbury(&entry.key);
        let (key, holder) = (Arc::clone(&entry.key), entry.session);
        let former = self.rows.insert(Arc::clone(&key), entry).and_then(|old| old.session);
        if former != holder {
            self.pass_on(key, former, holder);
        }
    }

    /// Removes a key and leaves a tombstone. Whether it was there.
    pub(crate) fn remove(&mut self, key: &str, tombstone: Tombstone) -> bool {
        let Some((key, entry)) = self.rows.remove_with_key(key) else { return false };
        self.pass_on(Arc::clone(&key), entry.session, None);
        self.bury(key, tombstone);
        self.index = tombstone.index;
        self.tombstones_index = tombstone.index;
        true
    }

    /// The lock on a key went from one session to another.
    fn pass_on(&mut self, key: Arc<str>, from: Option<Uuid>, to: Option<Uuid>) {
        if let Some(from) = from {
            self.held.remove(&(from, Arc::clone(&key)));
        }
        self.held.extend(to.map(|to| (to, key)));
    }

    /// Puts a tombstone.
    pub(crate) fn bury(&mut self, key: Arc<str>, tombstone: Tombstone) {
        self.unbury(&key);
        self.by_age.insert((tombstone.index, Arc::clone(&key)));
        self.tombstones.insert(key, tombstone);
    }

    /// Drops tombstones that are old by log time, so every server drops the same ones at the same command.
    pub(crate) fn reap(&mut self, now_ms: u64) {
        for _ in 0..REAPED_AT_ONCE {
            let Some((_, key)) = self.by_age.get_min() else { return };
            let young = |tombstone: &Tombstone| now_ms.saturating_sub(tombstone.time_ms) < TOMBSTONE_AGE_MS;
            if self.tombstones.get(key).is_some_and(young) {
                return;
            }
            let key = Arc::clone(key);
            self.unbury(&key);
        }
    }

    fn unbury(&mut self, key: &Arc<str>) {
        // Most keys have no tombstone; a look-up copies nothing, a removal copies the path it walks.
        if !self.tombstones.contains_key(&**key) {
            return;
        }
        if let Some(tombstone) = self.tombstones.remove(&**key) {
            self.by_age.remove(&(tombstone.index, Arc::clone(key)));
        }
    }
}
