//! The records of local state on disk: one redb file, a row a record. A batch is one transaction with one sync, however many
//! registrations wait for it.
//!
//! Each record carries its own checksum and judges itself; here is only known whether the file holds what was written.
//! A full disk refuses a batch and is tried again with the next. After any other failure nothing more is written: what is on
//! the disk is unknown (the kernel forgets a failed sync), and what is there must not be made worse.

use crate::consensus::file::FileBackend;
use crate::consensus::store::{OpenError, Witness, open_database};
use crate::local::Write;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use std::path::{Path, PathBuf};

/// Records by name.
const RECORDS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("records");
/// Records are read once, at the start; what is cached are the upper pages of the tree.
const CACHE_BYTES: usize = 256 << 10;

/// The file cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error(transparent)]
    Open(OpenError),
    #[error(
        "{path}: damaged ({what}); move the file away and restart: checks and services in the configuration come back by \
         themselves, applications have to register again"
    )]
    Damaged { path: PathBuf, what: String },
}

/// Every record in the file, with its name.
type Found = Vec<(String, Vec<u8>)>;

/// See the module's page.
pub struct Records {
    path: PathBuf,
    /// Closed after a full disk, until the next batch.
    open: Option<(Database, Witness)>,
    /// Why nothing is written any more.
    given_up: Option<String>,
}

impl Records {
    /// Opens or makes the file, and reads what is in it.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn open(path: PathBuf) -> Result<(Self, Found), Unreadable> {
        let open = open(&path)?;
        let all = read_all(&open.0).map_err(|error| damaged(&path, error.to_string()))?;
        Ok((Self { path, open: Some(open), given_up: None }, all))
    }

    /// Carries out everything, durably, or nothing.
    ///
    /// # Errors
    /// The cause and what to do, for whoever waits.
    pub fn write<'w>(&mut self, writes: impl Iterator<Item = &'w Write>) -> Result<(), String> {
        if let Some(why) = &self.given_up {
            return Err(why.clone());
        }
        let (database, witness) = match self.open.take() {
            Some(open) => open,
            None => open(&self.path).map_err(|error| error.to_string())?,
        };
        let Err(refused) = transact(&database, writes) else {
            self.open = Some((database, witness));
            return Ok(());
        };
        match witness.first() {
            Some(failure) if failure.is_full() => Err(format!("{}: {}", self.path.display(), failure.cause())),
            failure => {
                let what = failure
                    .map_or_else(|| refused.to_string(), |seen| format!("{} failed: {}", seen.call(), seen.cause()));
                let why = format!("{}: {what}; check the disk, then restart the agent", self.path.display());
                Err(self.given_up.insert(why).clone())
            }
        }
    }
}

fn open(path: &Path) -> Result<(Database, Witness), Unreadable> {
    let opened = FileBackend::open(path).and_then(|file| open_database(file, path, CACHE_BYTES));
    opened.map_err(|error| match error {
        OpenError::Damaged { what, .. } => damaged(path, what),
        error => Unreadable::Open(error),
    })
}

fn damaged(path: &Path, what: String) -> Unreadable {
    Unreadable::Damaged { path: path.to_owned(), what }
}

fn read_all(database: &Database) -> Result<Found, redb::Error> {
    let table = match database.begin_read()?.open_table(RECORDS) {
        // Nothing was ever kept.
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        table => table?,
    };
    let mut records = Vec::new();
    for row in table.iter()? {
        let (name, content) = row?;
        records.push((name.value().to_owned(), content.value().to_owned()));
    }
    Ok(records)
}

fn transact<'w>(database: &Database, writes: impl Iterator<Item = &'w Write>) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(RECORDS)?;
        for write in writes {
            match write {
                Write::Put { key, content } => drop(table.insert(key.name().as_str(), content.as_slice())?),
                Write::Remove(key) => drop(table.remove(key.name().as_str())?),
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "an unwrap that fails is a test that fails")]
mod tests {
    use super::*;
    use crate::local::{RecordKey, RecordKind};
    use std::fs;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("lictor-records-{}-{name}", std::process::id()));
            let _ = fs::remove_file(&path);
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn put(id: &str, content: &str) -> Write {
        Write::Put { key: RecordKey::new(RecordKind::Service, id), content: content.into() }
    }

    #[test]
    fn what_was_written_is_there_again() {
        let scratch = Scratch::new("again");
        let (mut records, none) = Records::open(scratch.0.clone()).unwrap();
        assert!(none.is_empty());
        let removed = Write::Remove(RecordKey::new(RecordKind::Service, "b"));
        records.write([put("a", "old"), put("b", "gone"), put("a", "new"), removed].iter()).unwrap();
        let twice = Records::open(scratch.0.clone()).map(|_| ()).unwrap_err().to_string();
        assert!(twice.contains("another agent is using"), "{twice}");
        drop(records);
        let (_, found) = Records::open(scratch.0.clone()).unwrap();
        assert_eq!(found, [("service/a".to_owned(), b"new".to_vec())]);
    }

    #[test]
    fn damage_is_refused_by_name_and_nothing_is_changed() {
        let scratch = Scratch::new("damaged");
        let (mut records, _) = Records::open(scratch.0.clone()).unwrap();
        records.write([put("a", &"content ".repeat(1000))].iter()).unwrap();
        drop(records);
        let mut bytes = fs::read(&scratch.0).unwrap();
        let at = bytes.windows(8).position(|window| window == b"content ").unwrap();
        bytes[at] ^= 1;
        fs::write(&scratch.0, &bytes).unwrap();
        let refused = Records::open(scratch.0.clone()).map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains("damaged") && refused.contains("move the file away"), "{refused}");
        assert_eq!(fs::read(&scratch.0).unwrap(), bytes);
    }
}
