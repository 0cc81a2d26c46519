//! Opening a log store: making a new one, or verifying every record of the one that is there.

use super::record;
use super::witness::{Watched, Witness};
use super::{CHUNKS, LOG, META, Recovered, row};
use crate::consensus::{EngineId, Snapshot};
use bytes::Bytes;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _,
    StorageBackend, StorageError,
};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The layout of the tables.
const FORMAT: u8 = 1;

/// Who opens the store.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    pub node: Uuid,
    /// The engine id of the store if it has to be made: random, not zero.
    pub fresh: EngineId,
}

/// Why a store cannot be opened. Nothing in it was changed, but for a torn last write that is rolled back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    #[error("{path}: another agent is using this data directory ({directory}); stop it, or give this one its own")]
    Locked { path: Shown, directory: Shown },
    #[error("{path}: permission denied ({cause}); let the agent's user read and write it")]
    Permission { path: Shown, cause: io::Error },
    #[error("{path}: cannot be opened ({cause}); mend the disk or the path")]
    Io { path: Shown, cause: io::Error },
    #[error("{path}: no space left on the disk ({cause}); free some and restart")]
    Full { path: Shown, cause: io::Error },
    #[error("{path}: is not a consensus log; move it away if the data directory is the right one")]
    Foreign { path: Shown },
    #[error("{path}: has format {found}, this version reads {FORMAT}; run the version that wrote it")]
    Format { path: Shown, found: u8 },
    #[error("{path}: belongs to node {stored}, but this agent is node {own}; give each agent its own data directory")]
    OtherNode { path: Shown, stored: Uuid, own: Uuid },
    #[error(
        "{path}: damaged ({what}); it was not changed. With other servers alive: move the file away and restart, this \
         server joins again as a new one. Alone: restore a snapshot or a backup of the file"
    )]
    Damaged { path: Shown, what: String },
}

/// A path as it is printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown(pub PathBuf);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// A durable log store. Closed when dropped.
pub struct LogStore {
    database: Database,
    witness: Witness,
    path: PathBuf,
}

/// Opens the database in `backend`, or makes one if it is empty; a witness tells why it fails, should it. `path` is for
/// messages only.
///
/// # Errors
/// [`OpenError`], each naming the file.
pub fn open_database(
    backend: impl StorageBackend,
    path: &Path,
    cache_bytes: usize,
) -> Result<(Database, Witness), OpenError> {
    let witness = Witness::default();
    let watched = Watched::new(backend, witness.clone());
    // redb's own page: a damaged file may panic it where an integrity check would have refused, and the check itself
    // walks whatever the damage left. Nothing survives the unwinding but the message.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        Builder::new().set_cache_size(cache_bytes).set_check_integrity_on_open(true).create_with_backend(watched)
    }));
    match opened {
        Ok(Ok(database)) => Ok((database, witness)),
        Ok(Err(error)) => Err(refuse(path, error, &witness)),
        Err(_panic) => Err(damaged(path, "its pages contradict each other".to_owned())),
    }
}

impl LogStore {
    /// Opens the store in `backend`, or makes one if it is empty. `path` is for messages only.
    ///
    /// # Errors
    /// [`OpenError`], each naming the file and the remedy.
    pub fn open(
        backend: impl StorageBackend,
        path: &Path,
        identity: Identity,
        cache_bytes: usize,
    ) -> Result<(Self, Recovered), OpenError> {
        let (database, witness) = open_database(backend, path, cache_bytes)?;
        let store = Self { database, witness, path: path.to_owned() };
        let recovered = store.recover(identity)?;
        Ok((store, recovered))
    }

    pub(super) const fn database(&self) -> &Database {
        &self.database
    }

    pub(super) const fn witness(&self) -> &Witness {
        &self.witness
    }

    pub(super) fn damaged(&self, error: redb::Error) -> OpenError {
        damaged(&self.path, error.to_string())
    }

    pub(super) fn broken(&self, what: &str) -> OpenError {
        damaged(&self.path, format!("{what} does not match its checksum"))
    }

    pub(super) fn recover(&self, identity: Identity) -> Result<Recovered, OpenError> {
        let empty = self.is_empty().map_err(|error| self.damaged(error))?;
        if empty {
            return match self.initialise(identity) {
                Ok(()) => Ok(Recovered { engine: identity.fresh, was_new: true, ..Recovered::default() }),
                Err(error) => Err(self.write_refused(error)),
            };
        }
        let recovered = self.read(identity)?;
        self.verify_state()?;
        Ok(recovered)
    }

    fn is_empty(&self) -> Result<bool, redb::Error> {
        Ok(self.database.begin_read()?.list_tables()?.next().is_none())
    }

    fn initialise(&self, identity: Identity) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_two_phase_commit(true);
        {
            let mut meta = transaction.open_table(META)?;
            transaction.open_table(LOG)?;
            transaction.open_table(CHUNKS)?;
            super::put(&mut meta, row::FORMAT, &[FORMAT])?;
            super::put(&mut meta, row::ENGINE, &identity.fresh.0.to_le_bytes())?;
            super::put(&mut meta, row::NODE, identity.node.as_bytes())?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn write_refused(&self, error: redb::Error) -> OpenError {
        let path = Shown(self.path.clone());
        match self.witness.first() {
            Some(failure) if failure.is_full() => OpenError::Full { path, cause: failure.cause() },
            Some(failure) => OpenError::Io { path, cause: failure.cause() },
            None => self.damaged(error),
        }
    }

    fn read(&self, identity: Identity) -> Result<Recovered, OpenError> {
        let path = || Shown(self.path.clone());
        let format = self.meta(row::FORMAT)?.ok_or_else(|| OpenError::Foreign { path: path() })?;
        if *format != [FORMAT] {
            return Err(OpenError::Format { path: path(), found: format.first().copied().unwrap_or(0) });
        }
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_le_bytes);
        let engine = self.meta(row::ENGINE)?.and_then(|bytes| number(&bytes)).filter(|id| *id != 0);
        let engine = EngineId(engine.ok_or_else(|| self.broken("the engine id"))?);
        let stored = self.uuid(row::NODE)?.ok_or_else(|| self.broken("the node id"))?;
        if stored != identity.node {
            return Err(OpenError::OtherNode { path: path(), stored, own: identity.node });
        }
        let snapshot = self.snapshot()?.map(|(snapshot, _chunks)| snapshot);
        let base = snapshot.as_ref().map_or(0, |snapshot| snapshot.index.0);
        Ok(Recovered {
            engine,
            was_new: false,
            cluster: self.uuid(row::CLUSTER)?,
            promise: self.meta(row::PROMISE)?,
            vote: self.meta(row::VOTE)?,
            snapshot,
            log: self.log(base)?,
        })
    }

    fn meta(&self, name: &'static str) -> Result<Option<Bytes>, OpenError> {
        let found = || -> Result<Option<Option<Bytes>>, redb::Error> {
            let read = self.database.begin_read()?;
            let table = match read.open_table(META) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
                table => table?,
            };
            let row = table.get(name)?;
            Ok(row.map(|row| record::open(name.as_bytes(), row.value()).map(Bytes::copy_from_slice)))
        };
        match found().map_err(|error| self.damaged(error))? {
            None => Ok(None),
            Some(Some(payload)) => Ok(Some(payload)),
            Some(None) => Err(self.broken(&format!("the record {name:?}"))),
        }
    }

    fn uuid(&self, name: &'static str) -> Result<Option<Uuid>, OpenError> {
        let Some(bytes) = self.meta(name)? else { return Ok(None) };
        let uuid = Uuid::from_slice(&bytes).map_err(|_length| self.broken(&format!("the record {name:?}")))?;
        Ok(Some(uuid))
    }

    fn snapshot(&self) -> Result<Option<(Snapshot, u64)>, OpenError> {
        let Some(payload) = self.meta(row::SNAPSHOT)? else { return Ok(None) };
        record::decode_snapshot(&payload).map(Some).ok_or_else(|| self.broken("the snapshot's record"))
    }

    /// The log must go on from the snapshot without a gap.
    fn log(&self, base: u64) -> Result<Vec<(u64, Bytes)>, OpenError> {
        let rows = || -> Result<Vec<(u64, Option<Bytes>)>, redb::Error> {
            let table = self.database.begin_read()?.open_table(LOG)?;
            let mut rows = Vec::new();
            for row in table.iter()? {
                let (index, sealed) = row?;
                let index = index.value();
                rows.push((index, record::open(&index.to_le_bytes(), sealed.value()).map(Bytes::copy_from_slice)));
            }
            Ok(rows)
        };
        let mut log = Vec::new();
        for (at, (index, payload)) in rows().map_err(|error| self.damaged(error))?.into_iter().enumerate() {
            let payload = payload.ok_or_else(|| self.broken(&format!("log record {index}")))?;
            if index != base + 1 + at as u64 {
                return Err(damaged(&self.path, format!("log record {} is missing", base + 1 + at as u64)));
            }
            log.push((index, payload));
        }
        Ok(log)
    }

    /// Every row of the stored state opens, and there are as many as there were.
    fn verify_state(&self) -> Result<(), OpenError> {
        let count = self.snapshot()?.map_or(0, |(_, count)| count);
        let rows = || -> Result<u64, redb::Error> { Ok(self.database.begin_read()?.open_table(CHUNKS)?.len()?) };
        if rows().map_err(|error| self.damaged(error))? != count {
            return Err(damaged(&self.path, "pieces of the snapshot's state are missing".to_owned()));
        }
        self.chunks()?.try_for_each(|chunk| chunk.map(|_bytes| ()))
    }
}

fn damaged(path: &Path, what: String) -> OpenError {
    OpenError::Damaged { path: Shown(path.to_owned()), what }
}

fn refuse(path: &Path, error: DatabaseError, witness: &Witness) -> OpenError {
    let shown = Shown(path.to_owned());
    if let Some(failure) = witness.first() {
        let cause = failure.cause();
        return if failure.is_full() {
            OpenError::Full { path: shown, cause }
        } else {
            OpenError::Io { path: shown, cause }
        };
    }
    match error {
        DatabaseError::DatabaseAlreadyOpen => {
            let directory = Shown(path.parent().unwrap_or(path).to_owned());
            OpenError::Locked { path: shown, directory }
        }
        DatabaseError::Storage(StorageError::Io(cause)) if cause.kind() == io::ErrorKind::InvalidData => {
            OpenError::Foreign { path: shown }
        }
        DatabaseError::Storage(StorageError::Io(cause)) => OpenError::Io { path: shown, cause },
        DatabaseError::UpgradeRequired(found) => OpenError::Format { path: shown, found },
        other => damaged(path, other.to_string()),
    }
}
