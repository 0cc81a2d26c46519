//! One command against the store: total, deterministic, and exact about what it touched.

use super::kv::Tombstone;
use super::locks::{Lock, NotLocked};
use super::{Applied, Outcome, Refusal, Store, Touched, Watch};
use crate::command::{Command, Deregister, Entry, KvCommand};
use crate::model::{Authority, Autopilot, Index, KvEntry, KvRow, Signing, folded};
use bytes::Bytes;
use std::sync::Arc;
use uuid::Uuid;

/// Sequential keys have ten digits, so that their order is the order of their numbers.
const NUMBERS: u64 = 10_000_000_000;

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

    /// What was changed is undone.
    pub(super) fn forget(&mut self) {
        self.watches.clear();
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
            Command::Coordinate(placed) => {
                self.place_node(placed, &mut change);
                Outcome::Done
            }
            Command::Kv(command) => self.apply_kv(command, &mut change),
            Command::Fenced(sequencer, command) => match self.fence(sequencer) {
                Ok(()) => self.apply_kv(command, &mut change),
                Err(refusal) => Outcome::Refused(refusal),
            },
            Command::Txn(txn) => self.apply_txn(txn, &mut change),
            Command::Session(command) => self.apply_session(command, &mut change),
            Command::Prepared(command) => self.apply_prepared(command, &mut change),
            Command::Restore(command) => self.restore(command, &mut change).into(),
            Command::Autopilot { settings, cas } => self.set_autopilot(settings, *cas, &change),
            Command::Authority(authority) => self.found_authority(authority, &mut change),
            Command::Signing(signing) => self.sign_by(signing, &mut change).into(),
            Command::FeatureLevel(level) => {
                self.feature_level = self.feature_level.max(*level);
                Outcome::Done
            }
        };
        self.kv.reap(self.time_ms);
        self.delays.reap(self.time_ms);
        self.reap_staging();
        Applied { outcome, touched: change.touched() }
    }

    /// A write that would leave the settings equal is skipped. Nobody waits for them.
    fn set_autopilot(&mut self, settings: &Autopilot, cas: Option<Index>, change: &Change) -> Outcome {
        let Autopilot { create_index, modify_index, .. } = self.autopilot;
        if cas.is_some_and(|index| index != modify_index) {
            return Outcome::Matched(false);
        }
        let create_index = if create_index == Index(0) { change.index } else { create_index };
        let settings = Autopilot { create_index, modify_index, ..settings.clone() };
        if settings != self.autopilot {
            self.autopilot = Autopilot { modify_index: change.index, ..settings };
        }
        cas.map_or(Outcome::Done, |_| Outcome::Matched(true))
    }

    /// The first one stays: servers that took office one after the other may each have made one.
    fn found_authority(&mut self, authority: &Authority, change: &mut Change) -> Outcome {
        if self.authority.is_none() {
            let (create_index, modify_index) = (change.index, change.index);
            self.authority = Some(Arc::new(Authority { create_index, modify_index, ..authority.clone() }));
            change.touch(Watch::Authority);
        }
        Outcome::Done
    }

    fn sign_by(&mut self, signing: &Signing, change: &mut Change) -> Result<(), Refusal> {
        let authority = self.authority.as_mut().ok_or(Refusal::NoAuthority)?;
        if authority.signing != *signing {
            let authority = Arc::make_mut(authority);
            (authority.signing, authority.modify_index) = (signing.clone(), change.index);
            change.touch(Watch::Authority);
        }
        Ok(())
    }

    /// Unknown things count as deregistered.
    pub(super) fn deregister(&mut self, deregister: &Deregister, change: &mut Change) -> Outcome {
        match deregister {
            Deregister::Node(node) => self.remove_node(&folded(node), change),
            Deregister::Service(node, id) => self.remove_service(&folded(node), &folded(id), change),
            Deregister::Check(node, id) => self.remove_check(&folded(node), &folded(id), change),
        }
        Outcome::Done
    }

    pub(super) fn apply_kv(&mut self, command: &KvCommand, change: &mut Change) -> Outcome {
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
            KvCommand::Acquire { key, value, flags, session } => {
                match self.lock_key(key, value, *flags, *session, change) {
                    Ok(()) => Outcome::Matched(true),
                    Err(NotLocked::Held | NotLocked::Delayed) => Outcome::Matched(false),
                    Err(NotLocked::NoSession) => Outcome::Refused(Refusal::MissingSession { id: *session }),
                }
            }
            KvCommand::Sequence { prefix, value, flags, session } => {
                match self.append_key(prefix, value, *flags, *session, change) {
                    Ok(key) => Outcome::Key(key),
                    Err(refusal) => Outcome::Refused(refusal),
                }
            }
            KvCommand::Release { key, value, flags, session } => {
                Outcome::Matched(self.unlock_key(key, value, *flags, *session, change).is_ok())
            }
        }
    }

    /// Locks are advisory: a plain write keeps the holder.
    fn set_key(&mut self, key: &str, value: &Bytes, flags: u64, change: &mut Change) {
        let lock = self.lock_of(key);
        self.put_key(key, value, flags, lock, change);
    }

    /// A write that would leave the entry equal is skipped.
    pub(super) fn put_key(&mut self, key: &str, value: &[u8], flags: u64, lock: Lock, change: &mut Change) {
        let old = self.kv.get(key).map(KvRow::entry);
        let mut entry = KvEntry {
            key,
            value,
            flags,
            session: lock.session,
            lock_index: lock.index,
            create_index: old.map_or(change.index, |old| old.create_index),
            modify_index: old.map_or(change.index, |old| old.modify_index),
        };
        if old == Some(entry) {
            return;
        }
        entry.modify_index = change.index;
        let row = entry.into();
        change.touch(Watch::Key(Arc::from(key)));
        self.kv.index = change.index;
        self.kv.insert(row);
    }

    /// Creates a key with the next number. Numbers whose key is there already, or must not be locked yet, are passed over.
    fn append_key(
        &mut self,
        prefix: &str,
        value: &Bytes,
        flags: u64,
        session: Option<Uuid>,
        change: &mut Change,
    ) -> Result<String, Refusal> {
        let key = |number: u64| format!("{prefix}{number:010}");
        let free = |key: &str| self.kv.get(key).is_none() && !self.delays.hold(key, self.time_ms);
        let number = (self.kv.next_number..NUMBERS).find(|number| free(&key(*number))).ok_or(Refusal::NumbersSpent)?;
        let key = key(number);
        match session {
            None => self.set_key(&key, value, flags, change),
            // The key is free: only the session can be missing.
            Some(id) => {
                self.lock_key(&key, value, flags, id, change).map_err(|_not_locked| Refusal::MissingSession { id })?
            }
        }
        self.kv.next_number = number + 1;
        Ok(key)
    }

    pub(super) fn remove_key(&mut self, key: &str, change: &mut Change) {
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
