//! The thread that keeps local state on disk. Whatever has come meanwhile goes into one transaction, and is answered when
//! that is synced.

use super::datadir::DataDir;
use super::handle::Handle;
use super::mailbox::Lane;
use super::records::Records;
use crate::event::Event;
use crate::local::{RecordKey, Ticket, Write};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// What waits for the thread. It holds one record of each name: the newest takes the place of one that waits, so that
/// a disk that stalls makes it no longer than there are services and checks.
#[derive(Debug, Default)]
struct Waiting {
    writes: BTreeMap<RecordKey, Write>,
    /// Those who wait for these writes. Local state has only so many.
    tickets: Vec<Ticket>,
    peers: Option<Vec<SocketAddr>>,
    /// Nothing comes any more.
    closed: bool,
}

impl Waiting {
    fn add(&mut self, ticket: Option<Ticket>, writes: Vec<Write>) {
        // Whatever waits becomes one transaction: in which order its names come makes no difference.
        self.writes.extend(writes.into_iter().map(|write| (write.key().clone(), write)));
        self.tickets.extend(ticket);
    }

    fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.tickets.is_empty() && self.peers.is_none()
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

impl Queue {
    fn put(&self, change: impl FnOnce(&mut Waiting)) {
        change(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        self.filled.notify_one();
    }

    /// All that waits, once something does; `None` at the end.
    fn take(&self) -> Option<Waiting> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut waiting = self
            .filled
            .wait_while(waiting, |waiting| waiting.is_empty() && !waiting.closed)
            .unwrap_or_else(PoisonError::into_inner);
        let taken = Waiting { closed: waiting.closed, ..std::mem::take(&mut *waiting) };
        waiting.closed = taken.closed;
        (!taken.is_empty()).then_some(taken)
    }
}

/// The way to the thread, which ends with it once all is written.
#[derive(Debug)]
pub struct Files(Option<Arc<Queue>>);

/// What the thread writes to: the data directory's path, and the records in it.
pub type Kept = (PathBuf, Records);

impl Files {
    /// Starts the thread; without a directory nothing is kept.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(kept: Option<Kept>, handle: Arc<Handle>) -> io::Result<Self> {
        let Some((dir, mut records)) = kept else { return Ok(Self(None)) };
        let queue = Arc::new(Queue::default());
        let own = Arc::clone(&queue);
        std::thread::Builder::new().name("files".to_owned()).spawn(move || {
            while let Some(Waiting { writes, tickets, peers, closed: _ }) = own.take() {
                let failed = if writes.is_empty() { None } else { records.write(writes.values()).err() };
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
        Ok(Self(Some(queue)))
    }

    /// Answered by [`Event::Persisted`] when there is a ticket.
    pub fn persist(&self, ticket: Option<Ticket>, writes: Vec<Write>) {
        if let Some(queue) = &self.0 {
            queue.put(|waiting| waiting.add(ticket, writes));
        }
    }

    /// Remembers where fellow members are.
    pub fn keep_peers(&self, peers: Vec<SocketAddr>) {
        if let Some(queue) = &self.0 {
            queue.put(|waiting| waiting.peers = Some(peers));
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if let Some(queue) = &self.0 {
            queue.put(|waiting| waiting.closed = true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::RecordKind;

    fn put(id: &str, content: u8) -> Write {
        Write::Put { key: RecordKey::new(RecordKind::CheckState, id), content: vec![content] }
    }

    fn gone(id: &str) -> Write {
        Write::Remove(RecordKey::new(RecordKind::CheckState, id))
    }

    #[test]
    fn the_newest_record_of_a_name_takes_the_place_of_the_one_that_waits() {
        let queue = Queue::default();
        for beat in 0..=255 {
            queue.put(|waiting| waiting.add(None, vec![put("a", beat), gone("c")]));
        }
        queue.put(|waiting| waiting.add(Some(Ticket(1)), vec![put("b", 1), put("c", 2)]));
        queue.put(|waiting| waiting.add(Some(Ticket(2)), vec![gone("b")]));
        queue.put(|waiting| waiting.peers = Some(Vec::new()));
        let taken = queue.take().expect("something waits");
        assert_eq!(taken.writes.into_values().collect::<Vec<_>>(), [put("a", 255), gone("b"), put("c", 2)]);
        assert_eq!((taken.tickets, taken.peers), (vec![Ticket(1), Ticket(2)], Some(Vec::new())));
    }

    #[test]
    fn what_waits_at_the_end_is_still_taken() {
        let queue = Queue::default();
        queue.put(|waiting| waiting.add(None, vec![put("a", 1)]));
        queue.put(|waiting| waiting.closed = true);
        assert!(queue.take().is_some());
        assert!(queue.take().is_none());
        assert!(queue.take().is_none());
    }
}
