//! The thread that keeps local state on disk. Whatever has queued up meanwhile goes into one transaction, and is answered
//! when that is synced.

use super::datadir::DataDir;
use super::handle::Handle;
use super::mailbox::Lane;
use super::records::Records;
use crate::event::Event;
use crate::local::{Ticket, Write};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

/// Jobs of one transaction.
const JOBS_MAX: usize = 256;

enum Job {
    Records(Option<Ticket>, Vec<Write>),
    Peers(Vec<SocketAddr>),
}

/// The way to the thread.
#[derive(Debug)]
pub struct Files(Option<Sender<Job>>);

/// What the thread writes to: the data directory's path, and the records in it.
pub type Kept = (PathBuf, Records);

impl Files {
    /// Starts the thread; without a directory nothing is kept.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(kept: Option<Kept>, handle: Arc<Handle>) -> io::Result<Self> {
        let Some((dir, mut records)) = kept else { return Ok(Self(None)) };
        let (sender, jobs) = channel::<Job>();
        std::thread::Builder::new().name("files".to_owned()).spawn(move || {
            while let Ok(first) = jobs.recv() {
                let (mut writes, mut tickets, mut peers) = (Vec::new(), Vec::new(), None);
                for job in std::iter::once(first).chain(jobs.try_iter().take(JOBS_MAX)) {
                    match job {
                        Job::Records(ticket, more) => {
                            writes.extend(more);
                            tickets.extend(ticket);
                        }
                        Job::Peers(newest) => peers = Some(newest),
                    }
                }
                let failed = if writes.is_empty() { None } else { records.write(writes.iter()).err() };
                if let Some(cause) = &failed {
                    tracing::warn!("registrations and the status of checks are not written: {cause}");
                }
                for ticket in tickets {
                    let failed = failed.clone();
                    let _ = handle.mailbox.push(Lane::Disk, Event::Persisted { ticket, failed });
                }
                if let Some(peers) = peers
                    && let Err(error) = DataDir::keep_peers(&dir, &peers)
                {
                    tracing::warn!("peers are not remembered in {}: {error}", dir.display());
                }
            }
        })?;
        Ok(Self(Some(sender)))
    }

    /// Answered by [`Event::Persisted`] when there is a ticket.
    pub fn persist(&self, ticket: Option<Ticket>, writes: Vec<Write>) {
        if let Some(sender) = &self.0 {
            let _ = sender.send(Job::Records(ticket, writes));
        }
    }

    /// Remembers where fellow members are.
    pub fn keep_peers(&self, peers: Vec<SocketAddr>) {
        if let Some(sender) = &self.0 {
            let _ = sender.send(Job::Peers(peers));
        }
    }
}
