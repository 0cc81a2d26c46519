//! The log store's bytes in a file: the only place in `consensus` that touches one. It owns the lock that keeps a second
//! agent out, the file's mode, and that a new file's name is as durable as its content.

use super::store::OpenError;
use super::store::Shown;
use redb::StorageBackend;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

/// A locked file. The lock goes with the value, or with the process.
#[derive(Debug)]
pub struct FileBackend {
    file: File,
}

impl FileBackend {
    /// Opens or makes the file, readable by its owner alone, and locks it.
    ///
    /// # Errors
    /// [`OpenError::Locked`] when another agent holds it, else as its variants say.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let refused = |cause| refused(path, cause);
        let existed = path.try_exists().map_err(refused)?;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = file.map_err(refused)?;
        let directory = directory(path);
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Locked { path: Shown(path.to_owned()), directory: Shown(directory.to_owned()) });
            }
            Err(TryLockError::Error(cause)) => return Err(refused(cause)),
        }
        if !existed {
            File::open(directory).and_then(|directory| directory.sync_all()).map_err(refused)?;
        }
        Ok(Self { file })
    }
}

/// Gives a file that is whole its own name, durably.
///
/// # Errors
/// [`OpenError`], as [`FileBackend::open`].
pub fn rename(from: &Path, to: &Path) -> Result<(), OpenError> {
    let renamed = std::fs::rename(from, to).and_then(|()| File::open(directory(to))?.sync_all());
    renamed.map_err(|cause| refused(to, cause))
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn refused(path: &Path, cause: io::Error) -> OpenError {
    let path = Shown(path.to_owned());
    match cause.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => OpenError::Permission { path, cause },
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::Full { path, cause },
        _ => OpenError::Io { path, cause },
    }
}

impl StorageBackend for FileBackend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn close(&self) -> io::Result<()> {
        self.file.unlock()
    }
}
