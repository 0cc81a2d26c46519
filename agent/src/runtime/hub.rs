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

/// Why a read does not wait any longer, without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unheard {
    Full(Full),
    /// The agent stops.
    Stopped,
}

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
        let (messages, received) = mpsc::channel();
        std::thread::Builder::new().name("hub".to_owned()).spawn(move || run(received, datacenter, &handle.meter))?;
        Ok(Arc::new(Self { messages, ids: AtomicU64::new(1) }))
    }

    /// Waits until the read's index is passed, or until `deadline`.
    ///
    /// # Errors
    /// [`Unheard`].
    pub async fn wait(&self, read: &Read, deadline: Instant) -> Result<Found, Unheard> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let Some(waiter) = Waiter::of(read, id, clock::now()) else { return Err(Unheard::Full(Full)) };
        let (sender, found) = oneshot::channel();
        let guard = Cancel { hub: self, id };
        let _ = self.messages.send(Message::Wait(Waiter { deadline, ..waiter }, sender));
        let found = found.await;
        guard.defuse();
        match found {
            Ok(found) => found.map_err(Unheard::Full),
            Err(_gone) => Err(Unheard::Stopped),
        }
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

/// What came in, in its order. Batches that wait one behind the other are handed out as one: a hub that is slower than the
/// log looks at the newest state only, instead of falling behind.
struct Inbox {
    messages: mpsc::Receiver<Message>,
    next: Option<Message>,
}

impl Inbox {
    fn take(&mut self, patience: Duration) -> Result<Message, RecvTimeoutError> {
        let mut first = match self.next.take() {
            Some(message) => message,
            None => self.messages.recv_timeout(patience)?,
        };
        while let Message::Published(view, touched) = &mut first {
            match self.messages.try_recv() {
                Ok(Message::Published(newer, more)) => {
                    *view = newer;
                    touched.merge(more);
                }
                next => {
                    self.next = next.ok();
                    break;
                }
            }
        }
        Ok(first)
    }
}

fn run(messages: mpsc::Receiver<Message>, datacenter: String, meter: &Meter) {
    let mut inbox = Inbox { messages, next: None };
    let mut hub = hub::Hub::new(datacenter, Arc::new(View::default()));
    let mut askers: HashMap<WaitId, Reply> = HashMap::new();
    let mut answers = Vec::new();
    loop {
        let patience = hub.deadline().map_or(Duration::from_secs(60), |deadline| deadline.since(clock::now()));
        match inbox.take(patience) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use lictor_catalog::{Index, Watch};

    fn batch(index: u64, key: &str) -> Message {
        let view = Arc::new(View { applied: Index(index), ..View::default() });
        Message::Published(view, Touched { all: false, watches: vec![Watch::Key(key.into())] })
    }

    #[test]
    fn batches_that_wait_are_one_with_the_newest_view_and_nothing_overtakes_them() {
        let (sender, messages) = mpsc::channel();
        for message in [batch(1, "b"), batch(2, "a"), batch(3, "b"), Message::Cancel(7), batch(4, "c"), Message::Stop] {
            sender.send(message).expect("it is open");
        }
        let mut inbox = Inbox { messages, next: None };
        let mut told = Vec::new();
        for _ in 0..4 {
            told.push(match inbox.take(Duration::ZERO) {
                Ok(Message::Published(view, touched)) => format!("{} {:?}", view.applied.0, touched.watches),
                Ok(Message::Cancel(id)) => format!("cancel {id}"),
                Ok(Message::Stop) => "stop".to_owned(),
                _ => "something else".to_owned(),
            });
        }
        assert_eq!(told, ["3 [Key(\"a\"), Key(\"b\")]", "cancel 7", "4 [Key(\"c\")]", "stop"]);
    }
}
