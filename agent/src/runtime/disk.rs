//! The thread that writes the log store: whatever has queued up meanwhile goes into one transaction with one sync.
//!
//! A full disk is waited out: the batches stay queued and unacknowledged, the store is closed and opened again, and the
//! same batches are written. A failed sync is never retried: the agent ends.

use crate::consensus::Write;
use crate::consensus::store::{States, Storage, WriteError};
use crate::effect::Job;
use crate::event::Event;
use crate::runtime::clock;
use crate::runtime::handle::Handle;
use crate::runtime::mailbox::Lane;
use crate::runtime::meter::Event as Figure;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

/// How long a full disk is left alone between two tries.
const FULL_PAUSE: Duration = Duration::from_secs(1);
/// Batches of one transaction.
const BATCHES_MAX: usize = 256;

/// Opens the store again after the disk was full.
pub type Reopen = Box<dyn FnMut() -> Result<Box<dyn Storage>, String> + Send>;

/// Starts the thread.
///
/// # Errors
/// When the system gives no thread.
pub fn start(
    storage: Box<dyn Storage>,
    reopen: Reopen,
    handle: Arc<Handle>,
    fatal: impl Fn(String) + Send + 'static,
) -> std::io::Result<(Sender<Job>, std::thread::JoinHandle<()>)> {
    let (sender, jobs) = channel();
    let disk = Disk { storage: Some(storage), reopen, handle };
    let thread = std::thread::Builder::new().name("disk".to_owned()).spawn(move || {
        if let Err(problem) = disk.run(&jobs) {
            fatal(problem);
        }
    })?;
    Ok((sender, thread))
}

struct Disk {
    /// Absent while the disk is full.
    storage: Option<Box<dyn Storage>>,
    reopen: Reopen,
    handle: Arc<Handle>,
}

impl Disk {
    fn run(mut self, jobs: &Receiver<Job>) -> Result<(), String> {
        let mut busy = true;
        loop {
            let first = if busy { jobs.try_recv() } else { jobs.recv().map_err(|_gone| TryRecvError::Disconnected) };
            match first {
                Ok(first) => self.carry_out(first, jobs)?,
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
            busy = self.go_on()?;
        }
    }

    /// One step of what nobody waits for. Without room it waits for the next write, which will find out when there is.
    fn go_on(&mut self) -> Result<bool, String> {
        match self.storage.as_mut().map(|storage| storage.go_on()) {
            Some(Ok(more)) => Ok(more),
            Some(Err(error @ WriteError::Full(_))) => {
                tracing::error!("{error}");
                self.storage = None;
                Ok(false)
            }
            Some(Err(error)) => Err(error.to_string()),
            None => Ok(false),
        }
    }

    /// Everything that has queued up, as one batch.
    fn carry_out(&mut self, first: Job, jobs: &Receiver<Job>) -> Result<(), String> {
        let mut batch = vec![first];
        batch.extend(jobs.try_iter().take(BATCHES_MAX));
        let sync = batch.iter().any(|job| job.sync);
        let states: States = batch.iter().filter_map(Job::state).collect();
        let writes: Vec<Write> = batch.iter_mut().flat_map(|job| std::mem::take(&mut job.writes)).collect();
        self.write(&writes, &states, sync, batch[0].batch)?;
        for job in batch {
            let _ = self.handle.mailbox.push(Lane::Disk, Event::Stored { batch: job.batch });
        }
        Ok(())
    }

    /// Writes, waiting as long as the disk is full.
    fn write(&mut self, writes: &[Write], states: &States, sync: bool, first: u64) -> Result<(), String> {
        loop {
            if self.storage.is_none() {
                match (self.reopen)() {
                    Ok(storage) => self.storage = Some(storage),
                    Err(problem) => tracing::error!("the log store cannot be opened again yet: {problem}"),
                }
            }
            let begun = clock::now();
            match self.storage.as_mut().map(|storage| storage.write(writes, states, sync)) {
                Some(Ok(())) => {
                    let leading = self.handle.view.load().leading;
                    let figure = if leading { Figure::DispatchLog } else { Figure::StoreLogs };
                    self.handle.meter.took(figure, clock::now().since(begun));
                    return Ok(());
                }
                Some(Err(error @ WriteError::Full(_))) => tracing::error!("{error}"),
                Some(Err(error)) => return Err(error.to_string()),
                None => {}
            }
            self.storage = None;
            let _ = self.handle.mailbox.push(Lane::Disk, Event::StoreFull { batch: first });
            std::thread::park_timeout(FULL_PAUSE);
        }
    }
}
