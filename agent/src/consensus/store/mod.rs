//! The log store: what an engine has promised and agreed, durably, on redb over bytes that come from outside.
//!
//! It owns the records (each with its own checksum and place, all verified when the store is opened), the order of a
//! transaction and the meaning of a failed write. It never opens a file itself: the bytes come as a
//! [`redb::StorageBackend`], which is a file in production and torn, lost and refused bytes in the simulator.
//!
//! # Damage
//!
//! A last write that was torn is rolled back to the last synced batch; any other damage refuses to start and says which file
//! and how to recover. A batch that changes a vote, a promise, the cluster or installs a snapshot is committed in two phases
//! (two syncs), so damage found in it later is told apart from a tear and refused: losing it silently could elect two leaders.
//! Batches that only append are committed with one sync. Damage exactly inside the newest of them, found after a kill,
//! cannot be told from a tear and is rolled back.
//!
//! # Compaction
//!
//! Writes do not wait for a snapshot of gigabytes, nor does it ever lie in memory as a whole: see `compaction.rs`. The switch
//! to it is committed with one sync. That is safe, since what it replaces is swept in later transactions only: whoever rolls
//! the switch back finds the old snapshot, and the whole log behind it.

mod compaction;
#[cfg(feature = "malformed")]
pub(crate) mod malformed;
mod open;
mod record;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "an unwrap that fails is a test that fails")]
mod tests;
mod witness;

pub use open::{Identity, LogStore, OpenError, Shown, open_database};
pub use witness::Witness;

use super::{EngineId, Snapshot, Write};
use bytes::Bytes;
use redb::{ReadableDatabase as _, Table, TableDefinition};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use uuid::Uuid;

/// Records by index.
const LOG: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("log");
/// Everything there is one of, by name.
const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");
/// Encoded states, cut into rows: by the snapshot's index, then numbered. Only those of the snapshot in [`row::SNAPSHOT`]
/// count; others are of a compaction that goes on, or are waiting to be swept.
const CHUNKS: TableDefinition<'static, (u64, u64), &[u8]> = TableDefinition::new("chunks");
/// The rows of [`META`].
mod row {
    pub(super) const FORMAT: &str = "format";
    pub(super) const ENGINE: &str = "engine";
    pub(super) const NODE: &str = "node";
    pub(super) const CLUSTER: &str = "cluster";
    pub(super) const PROMISE: &str = "promise";
    pub(super) const VOTE: &str = "vote";
    pub(super) const SNAPSHOT: &str = "snapshot";
}
/// A row of state is cut to at most this.
pub const CHUNK_BYTES_MAX: usize = 256 << 10;

/// The state at each index that a batch installs or compacts to.
pub type States = BTreeMap<u64, State>;
/// The pieces of an encoded state, of any size.
pub type Pieces = Box<dyn Iterator<Item = Bytes> + Send>;

/// A state that is encoded while it is written, perhaps more than once.
#[derive(Clone)]
pub struct State(Arc<dyn Fn() -> Pieces + Send + Sync>);

impl State {
    pub fn new<I>(pieces: impl Fn() -> I + Send + Sync + 'static) -> Self
    where
        I: Iterator<Item = Bytes> + Send + 'static,
    {
        Self(Arc::new(move || Box::new(pieces())))
    }

    /// What goes into a row each.
    fn rows(&self) -> Pieces {
        Box::new((self.0)().flat_map(|piece| {
            let cuts = (0..piece.len()).step_by(CHUNK_BYTES_MAX);
            cuts.map(move |at| piece.slice(at..piece.len().min(at + CHUNK_BYTES_MAX)))
        }))
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("State")
    }
}

/// What a store held when it was opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    pub engine: EngineId,
    /// Made just now: nothing was there.
    pub was_new: bool,
    pub cluster: Option<Uuid>,
    /// The bootstrap promise.
    pub promise: Option<Bytes>,
    pub vote: Option<Bytes>,
    pub snapshot: Option<Snapshot>,
    pub log: Vec<(u64, Bytes)>,
}

/// Why a batch is not on the disk. None of it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The store must be dropped and opened again; then the same batches are written again.
    #[error("consensus log: no space left on the disk ({0}); free some, writing goes on by itself")]
    Full(io::Error),
    /// What is on the disk is unknown. The process must end; a failed sync is never tried again (the kernel forgets it).
    #[error(
        "consensus log: {call} failed ({cause}); the disk cannot be trusted, the agent stops: check it, then restart"
    )]
    Failed { call: &'static str, cause: io::Error },
    /// The host did not bring the state that belongs to a snapshot.
    #[error("consensus log: the state at index {0} was not given")]
    StateMissing(u64),
    /// redb refused.
    #[error("consensus log: {0}; the agent stops: restart it, and empty the directory if that does not help")]
    Refused(String),
}

/// Where an engine's writes go.
pub trait Storage: Send {
    /// One transaction for all writes, in order; durable on return when `sync`, else with the next synced one. A
    /// compaction is only begun: it promises nothing to anybody, and lost it leaves the longer log.
    ///
    /// # Errors
    /// [`WriteError`]; its variants say what to do.
    fn write(&mut self, batch: &[Write], states: &States, sync: bool) -> Result<(), WriteError>;

    /// The next small step of work for which nobody waits. `false`: there is none until the next write.
    ///
    /// # Errors
    /// As [`Storage::write`].
    fn go_on(&mut self) -> Result<bool, WriteError>;
}

/// Keeps nothing: the storage of `-dev`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Volatile;

impl Volatile {
    /// What a store that keeps nothing always starts from. `fresh` must be random.
    #[must_use]
    pub fn recovered(fresh: EngineId) -> Recovered {
        Recovered { engine: fresh, was_new: true, ..Recovered::default() }
    }
}

impl Storage for Volatile {
    fn write(&mut self, _batch: &[Write], _states: &States, _sync: bool) -> Result<(), WriteError> {
        Ok(())
    }

    fn go_on(&mut self) -> Result<bool, WriteError> {
        Ok(false)
    }
}

type MetaTable<'t> = Table<'t, &'static str, &'static [u8]>;
type LogTable<'t> = Table<'t, u64, &'static [u8]>;
type ChunkTable<'t> = Table<'t, (u64, u64), &'static [u8]>;

impl Storage for LogStore {
    fn write(&mut self, batch: &[Write], states: &States, sync: bool) -> Result<(), WriteError> {
        if batch.is_empty() && !sync {
            return Ok(());
        }
        for write in batch {
            if let Write::Install(snapshot) | Write::Compact(snapshot) = write
                && !states.contains_key(&snapshot.index.0)
            {
                return Err(WriteError::StateMissing(snapshot.index.0));
            }
        }
        self.transact(batch, states, sync).map_err(|refused| self.explain(refused))?;
        for write in batch {
            match write {
                Write::Append(records) => self.compaction.wrote(records.iter().map(|(_, record)| record.len()).sum()),
                Write::Install(_) => self.compaction.overtaken(),
                Write::Compact(snapshot) => self.compaction.begin(snapshot.clone(), states[&snapshot.index.0].clone()),
                _ => {}
            }
        }
        Ok(())
    }

    fn go_on(&mut self) -> Result<bool, WriteError> {
        self.step().map_err(|refused| self.explain(refused))
    }
}

impl LogStore {
    fn transact(&self, batch: &[Write], states: &States, sync: bool) -> Result<(), redb::Error> {
        let mut transaction = self.database().begin_write()?;
        let durability = if sync { redb::Durability::Immediate } else { redb::Durability::None };
        transaction.set_durability(durability)?;
        transaction.set_two_phase_commit(sync && batch.iter().any(is_guarded));
        {
            let mut meta = transaction.open_table(META)?;
            let mut log = transaction.open_table(LOG)?;
            let mut chunks = transaction.open_table(CHUNKS)?;
            for write in batch {
                match write {
                    Write::Append(records) => append(&mut log, records)?,
                    Write::Vote { record, .. } => put(&mut meta, row::VOTE, record)?,
                    Write::Promise(Some(promise)) => put(&mut meta, row::PROMISE, promise)?,
                    Write::Promise(None) => {
                        meta.remove(row::PROMISE)?;
                    }
                    Write::Cluster(cluster) => put(&mut meta, row::CLUSTER, cluster.as_bytes())?,
                    Write::Install(snapshot) => {
                        log.retain(|_, _| false)?;
                        install(&mut meta, &mut chunks, snapshot, &states[&snapshot.index.0])?;
                    }
                    Write::Compact(_) => {}
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Our own witness knows which call failed; redb's errors after the first only say that there was one.
    fn explain(&self, refused: redb::Error) -> WriteError {
        match self.witness().first() {
            Some(failure) if failure.is_full() => WriteError::Full(failure.cause()),
            Some(failure) => WriteError::Failed { call: failure.call(), cause: failure.cause() },
            None => WriteError::Refused(refused.to_string()),
        }
    }
}

/// Losing one of these without noticing would break a promise to others.
fn is_guarded(write: &Write) -> bool {
    match write {
        Write::Vote { guard, .. } => *guard,
        Write::Promise(_) | Write::Cluster(_) | Write::Install(_) => true,
        Write::Append(_) | Write::Compact(_) => false,
    }
}

fn put(meta: &mut MetaTable<'_>, name: &'static str, payload: &[u8]) -> Result<(), redb::Error> {
    meta.insert(name, record::seal(name.as_bytes(), payload).as_slice())?;
    Ok(())
}

fn append(log: &mut LogTable<'_>, records: &[(u64, Bytes)]) -> Result<(), redb::Error> {
    let Some((first, _)) = records.first() else { return Ok(()) };
    log.retain_in(*first.., |_, _| false)?;
    for (index, payload) in records {
        log.insert(index, record::seal(&index.to_le_bytes(), payload).as_slice())?;
    }
    Ok(())
}

/// A state that came from the leader replaces everything at once.
fn install(
    meta: &mut MetaTable<'_>,
    chunks: &mut ChunkTable<'_>,
    snapshot: &Snapshot,
    state: &State,
) -> Result<(), redb::Error> {
    let index = snapshot.index.0;
    // Of a compaction to the same index that was lost.
    chunks.retain_in((index, 0)..=(index, u64::MAX), |_, _| false)?;
    let mut count = 0;
    for row in state.rows() {
        put_chunk(chunks, index, count, &row)?;
        count += 1;
    }
    put(meta, row::SNAPSHOT, &record::encode_snapshot(snapshot, count))
}

/// The place names the index too, so that no row of another snapshot fits.
fn put_chunk(chunks: &mut ChunkTable<'_>, index: u64, number: u64, row: &[u8]) -> Result<(), redb::Error> {
    chunks.insert((index, number), record::seal(&record::chunk_place(index, number), row).as_slice())?;
    Ok(())
}

/// The chunks of the stored state, one row at a time.
pub struct Chunks<'s> {
    store: &'s LogStore,
    index: u64,
    next: u64,
    count: u64,
}

impl Iterator for Chunks<'_> {
    type Item = Result<Bytes, OpenError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.count {
            return None;
        }
        let chunk = self.store.chunk(self.index, self.next);
        self.next = if chunk.is_err() { self.count } else { self.next + 1 };
        Some(chunk)
    }
}

impl LogStore {
    /// The state that belongs to the stored snapshot; empty when there is none.
    ///
    /// # Errors
    /// [`OpenError::Damaged`] when its record cannot be read.
    pub fn chunks(&self) -> Result<Chunks<'_>, OpenError> {
        let read = self.database().begin_read().map_err(|error| self.damaged(error.into()))?;
        let meta = read.open_table(META).map_err(|error| self.damaged(error.into()))?;
        let row = meta.get(row::SNAPSHOT).map_err(|error| self.damaged(error.into()))?;
        let stored =
            row.map(|row| record::open(row::SNAPSHOT.as_bytes(), row.value()).and_then(record::decode_snapshot));
        let (index, count) = match stored {
            None => (0, 0),
            Some(Some((snapshot, count))) => (snapshot.index.0, count),
            Some(None) => return Err(self.broken("the snapshot's record")),
        };
        Ok(Chunks { store: self, index, next: 0, count })
    }

    fn chunk(&self, index: u64, number: u64) -> Result<Bytes, OpenError> {
        let read = self.database().begin_read().map_err(|error| self.damaged(error.into()))?;
        let table = read.open_table(CHUNKS).map_err(|error| self.damaged(error.into()))?;
        let row = table.get((index, number)).map_err(|error| self.damaged(error.into()))?;
        row.and_then(|row| record::open(&record::chunk_place(index, number), row.value()).map(Bytes::copy_from_slice))
            .ok_or_else(|| self.broken("a piece of the snapshot's state"))
    }
}
