//! The log since the last compaction, in memory, where the engine reads it. It is a readable copy only: what is durable is
//! the log store's business, and nothing here ever touches a disk.

use super::codec::Handle;
use raft::eraftpb as pb;
use raft::{Error, GetEntriesContext, RaftState, Result, Storage, StorageError};
use std::cell::Cell;
use std::collections::VecDeque;

/// What an entry costs beside its data.
const ENTRY_COST: usize = 64;

/// Forgotten entries that are freed together: as many as no turn feels.
const FREED_AT_ONCE: usize = 2048;

/// See the module's page.
pub(crate) struct Memory {
    pub(crate) hard: pb::HardState,
    /// Where the log begins; `None` on a server that has not been told of any cluster yet.
    pub(crate) snapshot: Option<Handle>,
    /// The first `forgotten` of them are below the base already: to free them at once would make everybody wait.
    entries: VecDeque<pb::Entry>,
    forgotten: usize,
    /// Those of the others.
    bytes: usize,
    /// A peer was not in the snapshot's configuration: it would refuse the snapshot, so a newer one is wanted.
    pub(crate) stale: Cell<bool>,
}

impl Memory {
    pub(crate) fn new(hard: pb::HardState, snapshot: Option<Handle>, entries: VecDeque<pb::Entry>) -> Self {
        let bytes = entries.iter().map(cost).sum();
        Self { hard, snapshot, entries, forgotten: 0, bytes, stale: Cell::new(false) }
    }

    /// The index and the term that the log stands on.
    fn base(&self) -> (u64, u64) {
        self.snapshot.as_ref().map_or((0, 0), |snapshot| (snapshot.index, snapshot.term))
    }

    fn last(&self) -> u64 {
        self.base().0 + (self.entries.len() - self.forgotten) as u64
    }

    /// Where in `entries` an index stands.
    fn position(&self, index: u64) -> Option<usize> {
        Some(usize::try_from(index.checked_sub(self.base().0 + 1)?).ok()? + self.forgotten)
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn append(&mut self, entries: &[pb::Entry]) {
        let Some(first) = entries.first() else { return };
        let keep = self.position(first.index).expect("the engine appends above what was compacted");
        assert!(keep <= self.entries.len(), "the engine appends without a gap");
        for dropped in self.entries.drain(keep..) {
            self.bytes -= cost(&dropped);
        }
        self.bytes += entries.iter().map(cost).sum::<usize>();
        self.entries.extend(entries.iter().cloned());
    }

    /// Frees some of what was forgotten.
    pub(crate) fn free_some(&mut self) {
        let some = self.forgotten.min(FREED_AT_ONCE);
        self.entries.drain(..some);
        self.forgotten -= some;
    }

    pub(crate) fn install(&mut self, snapshot: Handle) {
        self.entries.clear();
        (self.forgotten, self.bytes) = (0, 0);
        self.stale.set(false);
        self.snapshot = Some(snapshot);
    }

    /// Forgets the log up to the snapshot, which lies inside it.
    pub(crate) fn compact(&mut self, snapshot: Handle) {
        self.forgotten = self.position(snapshot.index + 1).unwrap_or(self.forgotten).min(self.entries.len());
        self.bytes = self.entries.range(self.forgotten..).map(cost).sum();
        self.stale.set(false);
        self.snapshot = Some(snapshot);
    }
}

fn cost(entry: &pb::Entry) -> usize {
    entry.data.len() + ENTRY_COST
}

impl Storage for Memory {
    fn initial_state(&self) -> Result<RaftState> {
        let conf = self.snapshot.as_ref().map(|snapshot| snapshot.conf.clone().into_engine()).unwrap_or_default();
        Ok(RaftState::new(self.hard.clone(), conf))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<pb::Entry>> {
        let Some(from) = self.position(low) else { return Err(Error::Store(StorageError::Compacted)) };
        let to = self.position(high).filter(|to| *to <= self.entries.len());
        let Some(to) = to else { return Err(Error::Store(StorageError::Unavailable)) };
        let mut left = max_size.into().unwrap_or(u64::MAX);
        let mut found = Vec::new();
        for entry in self.entries.range(from.min(to)..to) {
            let size = cost(entry) as u64;
            if size > left && !found.is_empty() {
                break;
            }
            left = left.saturating_sub(size);
            found.push(entry.clone());
        }
        Ok(found)
    }

    fn term(&self, index: u64) -> Result<u64> {
        let (base, term) = self.base();
        if index == base {
            return Ok(term);
        }
        let Some(at) = self.position(index) else { return Err(Error::Store(StorageError::Compacted)) };
        self.entries.get(at).map(|entry| entry.term).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.base().0 + 1)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last())
    }

    /// A snapshot older than the newcomer's membership would be refused by it without a word, then be sent again for ever.
    fn snapshot(&self, at_least: u64, to: u64) -> Result<pb::Snapshot> {
        let unavailable = Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        let Some(snapshot) = &self.snapshot else { return unavailable };
        if snapshot.index < at_least || !snapshot.conf.ids().contains(&to) {
            self.stale.set(true);
            return unavailable;
        }
        snapshot.clone().into_engine().or(unavailable)
    }
}
