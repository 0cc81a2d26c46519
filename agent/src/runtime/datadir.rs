//! The data directory: who this node is, that nobody else uses it, and where everything lies in it.
//!
//! ```text
//! node-id          the node's UUID
//! starts           how often it was started, so that a restart wins over its own past
//! peers            gossip addresses that were alive last, tried again at the next start
//! lock             held while an agent runs
//! raft/log.redb    servers: log, vote and snapshot
//! local.redb       what is registered with this agent, and how its checks fared
//! ```

use super::clock;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Addresses remembered at most.
const PEERS_MAX: usize = 256;

/// Why the directory cannot be used. Nothing was changed in it.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("data directory {dir}: another agent is running in it; stop that one, or give this one its own data_dir")]
    InUse { dir: PathBuf },
    #[error(
        "data directory: cannot {what} {path}: {cause}; make it writable for this user, or choose another data_dir"
    )]
    Io { what: &'static str, path: PathBuf, cause: io::Error },
    #[error(
        "data directory: {path} holds {found:?}, which is not a node id (a UUID); is this a directory of another program? \
         Choose another data_dir, or remove the file to give the node a new id"
    )]
    BadNodeId { path: PathBuf, found: String },
    #[error(
        "data directory: {path} says that this node is {kept}, the configuration says {given}; \
         remove node_id from the configuration, or the file if the node is really another one now"
    )]
    OtherNodeId { path: PathBuf, kept: Uuid, given: Uuid },
}

/// A data directory that is ours as long as this value lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
    pub node_id: Uuid,
    /// Higher than at any start before.
    pub starts: u64,
}

impl DataDir {
    /// Makes the directory if need be, and takes it.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn open(path: &Path, node_id: Option<Uuid>) -> Result<Self, DataDirError> {
        let io = |what: &'static str, path: &Path| {
            let path = path.to_owned();
            move |cause| DataDirError::Io { what, path, cause }
        };
        for dir in [path.to_owned(), path.join("raft")] {
            DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(io("create", &dir))?;
        }
        let lock_path = path.join("lock");
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(false).mode(0o600);
        let lock = options.open(&lock_path).map_err(io("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataDirError::InUse { dir: path.to_owned() }),
            Err(TryLockError::Error(cause)) => return Err(io("lock", &lock_path)(cause)),
        }
        let node_id = keep_node_id(&path.join("node-id"), node_id)?;
        let starts_path = path.join("starts");
        let stored = read(&starts_path)?.and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or_default();
        // The wall clock as a floor: an emptied directory must not lose to its own past.
        let starts = clock::unix_ms().max(stored.saturating_add(1));
        replace(&starts_path, starts.to_string().as_bytes()).map_err(io("write", &starts_path))?;
        Ok(Self { path: path.to_owned(), _lock: lock, node_id, starts })
    }

    #[must_use]
    pub fn log_store(&self) -> PathBuf {
        self.path.join("raft/log.redb")
    }

    #[must_use]
    pub fn records(&self) -> PathBuf {
        self.path.join("local.redb")
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where fellow members were when this agent last looked. Damage costs nothing but the memory.
    #[must_use]
    pub fn peers(&self) -> Vec<SocketAddr> {
        let text = fs::read_to_string(self.path.join("peers")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).take(PEERS_MAX).collect()
    }

    /// Remembers where fellow members are.
    ///
    /// # Errors
    /// When the file cannot be written; the old one stays.
    pub fn keep_peers(path: &Path, peers: &[SocketAddr]) -> io::Result<()> {
        let lines: Vec<String> = peers.iter().take(PEERS_MAX).map(SocketAddr::to_string).collect();
        replace(&path.join("peers"), lines.join("\n").as_bytes())
    }
}

fn read(path: &Path) -> Result<Option<String>, DataDirError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(DataDirError::Io { what: "read", path: path.to_owned(), cause }),
    }
}

fn keep_node_id(path: &Path, given: Option<Uuid>) -> Result<Uuid, DataDirError> {
    if let Some(text) = read(path)? {
        let Ok(kept) = text.trim().parse() else {
            return Err(DataDirError::BadNodeId { path: path.to_owned(), found: text.trim().to_owned() });
        };
        return match given {
            Some(given) if given != kept => Err(DataDirError::OtherNodeId { path: path.to_owned(), kept, given }),
            _ => Ok(kept),
        };
    }
    let id = match given {
        Some(given) => given,
        None => random_uuid().map_err(|cause| DataDirError::Io {
            what: "read randomness from",
            path: PathBuf::from("/dev/urandom"),
            cause,
        })?,
    };
    let written = replace(path, id.to_string().as_bytes());
    written.map_err(|cause| DataDirError::Io { what: "write", path: path.to_owned(), cause })?;
    Ok(id)
}

/// Writes a whole file so that a crash leaves the old one or the new one, and the new one survives power loss.
///
/// # Errors
/// The system's; the old file stays.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(content)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&fresh, path)?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Randomness from the operating system.
///
/// # Errors
/// When it gives none.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// # Errors
/// As [`random`].
pub fn random_uuid() -> io::Result<Uuid> {
    Ok(uuid::Builder::from_random_bytes(random()?).into_uuid())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("lictor-datadir-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn an_identity_is_kept_and_starts_rise() {
        let scratch = Scratch::new("kept");
        let first = DataDir::open(&scratch.0, None).expect("a fresh directory");
        let (id, starts) = (first.node_id, first.starts);
        let second = DataDir::open(&scratch.0, None).expect_err("it is in use").to_string();
        assert!(second.contains("another agent is running in it"), "{second}");
        drop(first);
        // The last start lies in the future, as after a clock that was set back.
        fs::write(scratch.0.join("starts"), (starts + 1_000_000_000).to_string()).expect("writable");
        let third = DataDir::open(&scratch.0, None).expect("free again");
        assert_eq!((third.node_id, third.starts), (id, starts + 1_000_000_001));
        drop(third);
        fs::write(scratch.0.join("starts"), "rubbish").expect("writable");
        assert!(DataDir::open(&scratch.0, Some(id)).expect("the clock stands in").starts >= starts);
    }

    #[test]
    fn a_damaged_or_foreign_identity_is_refused_by_name() {
        let scratch = Scratch::new("damaged");
        drop(DataDir::open(&scratch.0, None).expect("a fresh directory"));
        let other = Uuid::from_u128(7);
        let refused = DataDir::open(&scratch.0, Some(other)).expect_err("another node").to_string();
        assert!(refused.contains("node-id") && refused.contains(&other.to_string()), "{refused}");
        fs::write(scratch.0.join("node-id"), "not an id").expect("writable");
        let refused = DataDir::open(&scratch.0, None).expect_err("damaged").to_string();
        assert!(refused.contains("\"not an id\"") && refused.contains("remove the file"), "{refused}");
    }

    #[test]
    fn peers_are_remembered_and_damage_costs_only_the_memory() {
        let scratch = Scratch::new("peers");
        let dir = DataDir::open(&scratch.0, None).expect("a fresh directory");
        assert!(dir.peers().is_empty());
        let peers: Vec<SocketAddr> = (1..400).map(|port| SocketAddr::from(([10, 0, 0, 1], port))).collect();
        DataDir::keep_peers(dir.path(), &peers).expect("writable");
        assert_eq!(dir.peers(), peers[..PEERS_MAX]);
        fs::write(scratch.0.join("peers"), b"10.0.0.1:1\nrubbish\n[::1]:2\n").expect("writable");
        assert_eq!(dir.peers().len(), 2);
    }
}
