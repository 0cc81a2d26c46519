//! One command against the store: total, deterministic, and exact about what it touched.

use super::kv::Tombstone;
use super::{Applied, Outcome, Refusal, Store, Touched, Watch};
use crate::command::{Command, Deregister, Entry, KvCommand};
use crate::model::{Index, KvEntry, KvRow, folded};
use bytes::Bytes;
use std::sync::Arc;

/// A command being applied: its index, and what it has touched so far.
pub(super) struct Change {
    pub(super) index: Index,
    watches: Vec<Watch>,
    all: bool,
}

impl Change {
    pub(super) fn touch(&mut self, watch: Watch) {
        self.watches.push(watch);
    }

    /// The whole store was replaced.
    pub(super) fn touch_all(&mut self) {
        self.all = true;
    }

    fn touched(mut self) -> Touched {
        self.watches.sort_unstable();
        self.watches.dedup();
        Touched { all: self.all, watches: self.watches }
    }
}

impl Store {
    /// Applies the entry of the log at `index`. A refused command, and one that finds everything as it wants it, changes
    /// nothing but [`Store::index`] and [`Store::time_ms`].
    ///
    /// # Panics
    /// When `index` does not rise: the log would have been applied out of order, and going on would diverge.
    pub fn apply(&mut self, index: Index, entry: &Entry) -> Applied {
        assert!(index > self.index, "entry {index} came after {} was applied", self.index);
        self.index = index;
        self.time_ms = self.time_ms.max(entry.time_ms);
        let mut change = Change { index: Index(index.0 + self.lift), watches: Vec::new(), all: false };
        let outcome = match &entry.command {
            Command::Register(register) => self.register(register, &mut change).into(),
            Command::Deregister(deregister) => self.deregister(deregister, &mut change),
            Command::Kv(command) => self.apply_kv(command, &mut change),
            Command::Restore(command) => self.restore(command, &mut change).into(),
            Command::FeatureLevel(level) => {
                self.feature_level = self.feature_level.max(*level);
                Outcome::Done
            }
        };
        self.kv.reap(self.time_ms);
        self.reap_staging();
        Applied { outcome, touched: change.touched() }
    }

    /// Unknown things count as deregistered.
    fn deregister(&mut self, deregister: &Deregister, change: &mut Change) -> Outcome {
        match deregister {
            Deregister::Node(node) => self.remove_node(&folded(node), change),
            Deregister::Service(node, id) => self.remove_service(&folded(node), &folded(id), change),
            Deregister::Check(node, id) => self.remove_check(&folded(node), &folded(id), change),
        }
        Outcome::Done
    }

    fn apply_kv(&mut self, command: &KvCommand, change: &mut Change) -> Outcome {
        match command {
            KvCommand::Set { key, value, flags } => {
                self.set_key(key, value, *flags, change);
                Outcome::Done
            }
            KvCommand::Cas { key, value, flags, index } => {
                let matched = self.kv.get(key).map_or(Index(0), |row| row.entry().modify_index) == *index;
                if matched {
                    self.set_key(key, value, *flags, change);
                }
                Outcome::Matched(matched)
            }
            KvCommand::Delete { key } => {
                self.remove_key(key, change);
                Outcome::Done
            }
            KvCommand::DeleteCas { key, index } => {
                let matched = self.kv.get(key).is_none_or(|row| row.entry().modify_index == *index);
                if matched {
                    self.remove_key(key, change);
                }
                Outcome::Matched(matched)
            }
            KvCommand::DeleteTree { prefix } => {
                let keys: Vec<_> = self.kv.under(prefix).map(|row| row.key().to_owned()).collect();
                for key in &keys {
                    self.remove_key(key, change);
                }
                Outcome::Done
            }
        }
    }

    /// Locks are advisory: a plain write keeps the holder. A write that would leave the entry equal is skipped.
    fn set_key(&mut self, key: &str, value: &Bytes, flags: u64, change: &mut Change) {
        let new = KvEntry {
            key,
            value,
            flags,
            session: None,
            lock_index: 0,
            create_index: change.index,
            modify_index: change.index,
        };
        let row: KvRow = match self.kv.get(key).map(KvRow::entry) {
            Some(old) if old.value == value && old.flags == flags => return,
            Some(old) => KvEntry { value, flags, modify_index: change.index, ..old }.into(),
            None => new.into(),
        };
        change.touch(Watch::Key(Arc::from(key)));
        self.kv.index = change.index;
        self.kv.insert(row);
    }

    fn remove_key(&mut self, key: &str, change: &mut Change) {
        let tombstone = Tombstone { index: change.index, time_ms: self.time_ms };
        if let Some(key) = self.kv.remove(key, tombstone) {
            change.touch(Watch::Key(key));
        }
    }
}

impl From<Result<(), Refusal>> for Outcome {
    fn from(result: Result<(), Refusal>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(refusal) => Self::Refused(refusal),
        }
    }
}
