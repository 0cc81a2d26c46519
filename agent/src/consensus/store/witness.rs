//! Stands between redb and the bytes and remembers which call failed first. redb reports an error without its origin, and
//! everything hangs on it: a full disk is waited out, a failed sync ends the process.

use redb::StorageBackend;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// The first call that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    call: &'static str,
    kind: io::ErrorKind,
    text: String,
}

impl Failure {
    /// There was no room; nothing else is wrong with the disk.
    pub fn is_full(&self) -> bool {
        matches!(self.call, "write" | "grow")
            && matches!(self.kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    pub const fn call(&self) -> &'static str {
        self.call
    }

    pub fn cause(&self) -> io::Error {
        io::Error::new(self.kind, self.text.clone())
    }
}

/// Asks what a watched backend has seen.
#[derive(Clone, Debug, Default)]
pub struct Witness(Arc<Mutex<Option<Failure>>>);

impl Witness {
    pub fn first(&self) -> Option<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn saw<T>(&self, call: &'static str, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| Failure { call, kind: error.kind(), text: error.to_string() });
        }
        result
    }
}

/// A backend whose failures are remembered.
#[derive(Debug)]
pub(super) struct Watched<B> {
    inner: B,
    witness: Witness,
}

impl<B: StorageBackend> Watched<B> {
    pub(super) const fn new(inner: B, witness: Witness) -> Self {
        Self { inner, witness }
    }
}

impl<B: StorageBackend> StorageBackend for Watched<B> {
    fn len(&self) -> io::Result<u64> {
        self.witness.saw("length", self.inner.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.witness.saw("read", self.inner.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.witness.saw("grow", self.inner.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.witness.saw("sync", self.inner.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.witness.saw("write", self.inner.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }
}
