//! The thread that owns the hub, and the way to it.

use crate::http::call::Read;
use crate::hub::{self, Counters, Found, Full, WaitId, Waiter};
use crate::runtime::clock;
use crate::runtime::handle::Handle;
use crate::runtime::meter::{Event, Meter};
use crate::time::Instant;
use crate::view::{LocalView, View};
use lictor_catalog::Touched;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use tokio::sync::oneshot;

type Reply = oneshot::Sender<Result<Found, Full>>;

enum Message {
    Wait(Waiter, Reply),
    Cancel(WaitId),
    Published(Arc<View>, Touched),
    Told(Arc<LocalView>),
    Stop,
}

/// The way to the hub's thread.
#[derive(Debug)]
pub struct Hub {
    messages: mpsc::Sender<Message>,
    ids: AtomicU64,
}

impl Hub {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(datacenter: String, handle: Arc<Handle>) -> std::io::Result<Arc<Self>> {
        let (messages, inbox) = mpsc::channel();
        std::thread::Builder::new().name("hub".to_owned()).spawn(move || run(&inbox, datacenter, &handle.meter))?;
        Ok(Arc::new(Self { messages, ids: AtomicU64::new(1) }))
    }

    /// Waits until the read's index is passed, or until `deadline`.
    ///
    /// # Errors
    /// [`Full`] when too many wait already.
    pub async fn wait(&self, read: &Read, deadline: Instant) -> Result<Found, Full> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let Some(waiter) = Waiter::of(read, id, clock::now()) else { return Err(Full) };
        let (sender, found) = oneshot::channel();
        let guard = Cancel { hub: self, id };
        let _ = self.messages.send(Message::Wait(Waiter { deadline, ..waiter }, sender));
        let found = found.await.unwrap_or(Err(Full));
        guard.defuse();
        found
    }

    /// Hands in a newer view.
    pub fn published(&self, view: Arc<View>, touched: Touched) {
        let _ = self.messages.send(Message::Published(view, touched));
    }

    /// Hands in what the agent knows by itself.
    pub fn told(&self, local: Arc<LocalView>) {
        let _ = self.messages.send(Message::Told(local));
    }

    pub fn stop(&self) {
        let _ = self.messages.send(Message::Stop);
    }
}

/// An asker who goes away is taken off the list.
struct Cancel<'a> {
    hub: &'a Hub,
    id: WaitId,
}

impl Cancel<'_> {
    /// The answer came: there is nothing to take off.
    fn defuse(mut self) {
        self.id = 0;
    }
}

impl Drop for Cancel<'_> {
    fn drop(&mut self) {
        if self.id == 0 {
            return;
        }
        let _ = self.hub.messages.send(Message::Cancel(self.id));
    }
}

fn run(inbox: &mpsc::Receiver<Message>, datacenter: String, meter: &Meter) {
    let mut hub = hub::Hub::new(datacenter, Arc::new(View::default()));
    let mut askers: HashMap<WaitId, Reply> = HashMap::new();
    let mut answers = Vec::new();
    loop {
        let patience = hub.deadline().map_or(Duration::from_secs(60), |deadline| deadline.since(clock::now()));
        match inbox.recv_timeout(patience) {
            Ok(Message::Wait(waiter, asker)) => {
                let id = waiter.id;
                match hub.wait(waiter, &mut answers) {
                    Ok(()) => drop(askers.insert(id, asker)),
                    Err(full) => drop(asker.send(Err(full))),
                }
            }
            Ok(Message::Cancel(id)) => {
                hub.cancel(id);
                askers.remove(&id);
            }
            Ok(Message::Published(view, touched)) => hub.published(view, &touched, &mut answers),
            Ok(Message::Told(local)) => hub.told(local, &mut answers),
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
        hub.timer(clock::now(), &mut answers);
        count(meter, std::mem::take(&mut hub.counters));
        for (id, found) in answers.drain(..) {
            if let Some(asker) = askers.remove(&id) {
                let _ = asker.send(Ok(found));
            }
        }
    }
}

fn count(meter: &Meter, counters: Counters) {
    let Counters { evaluations, encodes, answers } = counters;
    for (event, times) in
        [(Event::HubEvaluation, evaluations), (Event::HubEncode, encodes), (Event::HubAnswer, answers)]
    {
        if times > 0 {
            meter.count_each(event, times);
        }
    }
}
