//! The table of keys, and the tombstones of deleted ones.

use crate::model::{Index, KvRow};
use imbl::{OrdMap, OrdSet};
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::{Bound, Deref};
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
#[derive(Clone, Default)]
pub(crate) struct Kv {
    rows: OrdMap<ByKey, ()>,
    /// The locked ones, by their holders.
    held: OrdSet<(Uuid, Arc<str>)>,
    tombstones: OrdMap<Arc<str>, Tombstone>,
    /// The same tombstones, oldest first.
    by_age: OrdSet<(Index, Arc<str>)>,
    pub(crate) index: Index,
    pub(crate) tombstones_index: Index,
    /// The number that the next sequential key is given. There is one for all prefixes: so it can never go back, whatever
    /// is deleted, and nothing has to be kept for a prefix.
    pub(crate) next_number: u64,
}

impl Kv {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&KvRow> {
        self.rows.get_key_value(key.as_bytes()).map(|(row, ())| &row.0)
    }

    pub(crate) fn rows(&self) -> &OrdMap<ByKey, ()> {
        &self.rows
    }

    pub(crate) fn tombstones(&self) -> &OrdMap<Arc<str>, Tombstone> {
        &self.tombstones
    }

    /// The rows whose keys start with `prefix`, in order.
    pub(crate) fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a KvRow> {
        self.rows
            .range::<_, [u8]>((Bound::Included(prefix.as_bytes()), Bound::Unbounded))
            .map(|(row, ())| &row.0)
            .take_while(move |row| row.key_bytes().starts_with(prefix.as_bytes()))
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

    /// The last known deletion under a prefix, or never; likewise if it is not after `since`.
    ///
    /// Tombstones are looked at in two orders at once, until either has said it: by age, which finds a prefix quickly under which
    /// much is deleted, and by key, which finds one quickly under which little is.
    pub(crate) fn deleted_under(&self, prefix: &str, since: Index) -> Index {
        let mut by_age = self.by_age.iter().rev().take_while(|(index, _)| *index > since);
        let by_key = self.tombstones.range::<_, str>((Bound::Included(prefix), Bound::Unbounded));
        let mut by_key = by_key.take_while(|(key, _)| key.starts_with(prefix));
        let mut last = Index(0);
        loop {
            match by_age.next() {
                Some((index, key)) if key.starts_with(prefix) => return *index,
                Some(_elsewhere) => {}
                None => return Index(0),
            }
            match by_key.next() {
                Some((_, tombstone)) => last = last.max(tombstone.index),
                None => return last,
            }
        }
    }

    /// Puts a row. Its key's tombstone goes: the row's own index is higher.
    pub(crate) fn insert(&mut self, row: KvRow) {
        self.unbury(row.key());
        let session = |row: &KvRow| row.entry().session;
        let (former, holder) = (self.get(row.key()).and_then(session), session(&row));
        if former != holder {
            self.pass_on(Arc::from(row.key()), former, holder);
        }
        self.rows.insert(ByKey(row), ());
    }

    /// Removes a key and leaves a tombstone. The key, if it was there.
    pub(crate) fn remove(&mut self, key: &str, tombstone: Tombstone) -> Option<Arc<str>> {
        let (row, ()) = self.rows.remove_with_key(key.as_bytes())?;
        let key: Arc<str> = Arc::from(key);
        self.pass_on(Arc::clone(&key), row.entry().session, None);
        self.bury(Arc::clone(&key), tombstone);
        self.index = tombstone.index;
        self.tombstones_index = tombstone.index;
        Some(key)
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

    /// Puts the time of every tombstone where it is in another log's time.
    pub(crate) fn carry_over(&mut self, time: impl Fn(u64) -> u64) {
        let moved = |row: &Tombstone| Tombstone { time_ms: time(row.time_ms), ..*row };
        self.tombstones = self.tombstones.iter().map(|(key, row)| (Arc::clone(key), moved(row))).collect();
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

    fn unbury(&mut self, key: &str) {
        // Most keys have no tombstone; a look-up copies nothing, a removal copies the path it walks.
        if !self.tombstones.contains_key(key) {
            return;
        }
        if let Some((key, tombstone)) = self.tombstones.remove_with_key(key) {
            self.by_age.remove(&(tombstone.index, key));
        }
    }
}

impl PartialEq for Kv {
    fn eq(&self, other: &Self) -> bool {
        let rows = |kv: &Self| (kv.index, kv.tombstones_index, kv.next_number, kv.rows.len());
        rows(self) == rows(other)
            && self.rows.keys().map(|row| &row.0).eq(other.rows.keys().map(|row| &row.0))
            && self.tombstones == other.tombstones
    }
}

/// A row where the table looks at its key only: the key stands once, in the row.
///
/// Rows also stand as separators in the inner nodes of the tree, and are not replaced there: about one key in eight may
/// hold on to the memory of one past value.
#[derive(Clone)]
pub(crate) struct ByKey(KvRow);

impl Deref for ByKey {
    type Target = KvRow;

    fn deref(&self) -> &KvRow {
        &self.0
    }
}

impl Borrow<[u8]> for ByKey {
    fn borrow(&self) -> &[u8] {
        self.0.key_bytes()
    }
}

impl Ord for ByKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key_bytes().cmp(other.0.key_bytes())
    }
}

impl PartialOrd for ByKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for ByKey {}
