//! The thread that keeps local state on disk: a file per record below the data directory, replaced whole. Records that
//! somebody waits for are synced before he is answered; the others are written when there is time.

use super::datadir::{self, DataDir};
use super::handle::Handle;
use super::mailbox::Lane;
use crate::event::Event;
use crate::local::{Ticket, Write};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

/// Folders of records, below the data directory.
const FOLDERS: [&str; 3] = ["services", "checks", "checks/state"];
/// Bytes of one record; a larger file is not ours.
const RECORD_MAX: u64 = 1 << 20;
/// Records taken in at the start.
const RECORDS_MAX: usize = 100_000;

/// The records could not be read at the start.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {cause}; make it readable for this user")]
pub struct Unreadable {
    path: PathBuf,
    cause: io::Error,
}

enum Job {
    Records(Option<Ticket>, Vec<Write>),
    Peers(Vec<SocketAddr>),
}

/// The way to the thread.
#[derive(Debug)]
pub struct Files(Option<Sender<Job>>);

impl Files {
    /// Starts the thread; without a directory nothing is kept.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(dir: Option<PathBuf>, handle: Arc<Handle>) -> io::Result<Self> {
        let Some(dir) = dir else { return Ok(Self(None)) };
        let (sender, jobs) = channel::<Job>();
        std::thread::Builder::new().name("files".to_owned()).spawn(move || {
            for job in jobs {
                let (ticket, writes) = match job {
                    Job::Records(ticket, writes) => (ticket, writes),
                    Job::Peers(peers) => {
                        if let Err(error) = DataDir::keep_peers(&dir, &peers) {
                            tracing::warn!("peers are not remembered in {}: {error}", dir.display());
                        }
                        continue;
                    }
                };
                let failed = writes.iter().find_map(|write| carry_out(&dir, write, ticket.is_some()).err());
                match ticket {
                    Some(ticket) => drop(handle.mailbox.push(Lane::Disk, Event::Persisted { ticket, failed })),
                    None => {
                        if let Some((path, cause)) = failed {
                            tracing::warn!("{path} is not written: {cause}");
                        }
                    }
                }
            }
        })?;
        Ok(Self(Some(sender)))
    }

    pub fn persist(&self, ticket: Option<Ticket>, writes: Vec<Write>) {
        if let Some(sender) = &self.0 {
            let _ = sender.send(Job::Records(ticket, writes));
        }
    }

    /// Remembers where fellow members are. In line with everything else: two writers of one file would trip each other.
    pub fn keep_peers(&self, peers: Vec<SocketAddr>) {
        if let Some(sender) = &self.0 {
            let _ = sender.send(Job::Peers(peers));
        }
    }

    /// Every record of the last process, with the name of its file.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read(dir: &Path) -> Result<Vec<(String, Vec<u8>)>, Unreadable> {
        let mut records = Vec::new();
        for folder in FOLDERS {
            let path = dir.join(folder);
            let unreadable = |path: &Path| {
                let path = path.to_owned();
                move |cause| Unreadable { path, cause }
            };
            for entry in fs::read_dir(&path).map_err(unreadable(&path))? {
                let entry = entry.map_err(unreadable(&path))?;
                let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
                let ours = entry.metadata().is_ok_and(|meta| meta.is_file() && meta.len() <= RECORD_MAX);
                if ours && name.ends_with(".json") && records.len() < RECORDS_MAX {
                    let content = fs::read(&path).map_err(unreadable(&path))?;
                    records.push((format!("{folder}/{name}"), content));
                }
            }
        }
        Ok(records)
    }
}

fn carry_out(dir: &Path, write: &Write, durable: bool) -> Result<(), (String, String)> {
    let (key, done) = match write {
        Write::Put { key, content } => {
            let path = dir.join(key.path());
            (key, if durable { datadir::replace(&path, content) } else { overwrite(&path, content) })
        }
        Write::Remove(key) => match fs::remove_file(dir.join(key.path())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => (key, Err(error)),
            _ => (key, Ok(())),
        },
    };
    done.map_err(|cause| (dir.join(key.path()).display().to_string(), cause.to_string()))
}

/// Atomic, but not synced: losing it costs little.
fn overwrite(path: &Path, content: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, content)?;
    fs::rename(fresh, path)
}
