//! The handle by which everything outside the agent's thread reads what it published and asks it for something.
//!
//! Reading is wait-free. Asking is an event with a ticket; the answer comes back through a one-shot channel.

use crate::effect::{Answer, Ticket};
use crate::event::Event;
use crate::http::call::Act;
use crate::rpc::Unserved;
use crate::runtime::clock;
use crate::runtime::mailbox::{Lane, Mailbox};
use crate::runtime::meter::{self, Meter};
use crate::time::Instant;
use crate::view::{Facts, LocalView, View};
use arc_swap::ArcSwap;
use lictor_catalog::{Command, SessionCommand};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// Answers awaited, by ticket.
type Waiting = HashMap<Ticket, oneshot::Sender<Answer>>;

/// What is shared between the agent's thread and everybody who asks it.
#[derive(Debug)]
pub struct Handle {
    pub facts: Arc<Facts>,
    pub mailbox: Mailbox,
    pub view: ArcSwap<View>,
    pub local: ArcSwap<LocalView>,
    pub meter: Meter,
    /// Rises whenever leader, epoch, readiness or the living servers change: whoever holds a call tries again.
    pub leadership: watch::Sender<u64>,
    /// Rises with every applied index: reads that wait for their read index look again.
    pub applied: watch::Sender<u64>,
    tickets: AtomicU64,
    waiting: Mutex<Waiting>,
}

impl Handle {
    #[must_use]
    pub fn new(facts: Arc<Facts>, local: Arc<LocalView>) -> Self {
        Self {
            facts,
            mailbox: Mailbox::default(),
            view: ArcSwap::from_pointee(View::default()),
            local: ArcSwap::new(local),
            meter: Meter::default(),
            leadership: watch::Sender::new(0),
            applied: watch::Sender::new(0),
            tickets: AtomicU64::new(1),
            waiting: Mutex::default(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A ticket that nobody else has.
    pub fn ticket(&self) -> Ticket {
        self.tickets.fetch_add(1, Ordering::Relaxed)
    }

    /// Gives an answer to whoever waits under the ticket, if he still does.
    pub fn answer(&self, ticket: Ticket, answer: Answer) {
        let asker = self.waiting().remove(&ticket);
        if let Some(asker) = asker {
            let _ = asker.send(answer);
        }
    }

    async fn ask(&self, deadline: Instant, event: impl FnOnce(Ticket) -> Event) -> Answer {
        let ticket = self.ticket();
        let (sender, answer) = oneshot::channel();
        self.waiting().insert(ticket, sender);
        let guard = Forget { handle: self, ticket };
        if self.mailbox.push(Lane::Calls, event(ticket)).is_err() {
            return Answer::Unserved(Unserved::Busy);
        }
        let answered = tokio::time::timeout(patience(deadline), answer).await;
        drop(guard);
        match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Answer::Unknown,
        }
    }

    /// Proposes a command on this server.
    pub async fn write(&self, command: Command, deadline: Instant) -> Answer {
        let kind = match &command {
            Command::Register(_) => Some(meter::Event::CatalogRegister),
            Command::Deregister(_) => Some(meter::Event::CatalogDeregister),
            Command::Kv(_) | Command::Fenced(..) => Some(meter::Event::KvApply),
            Command::Txn(_) => Some(meter::Event::TxnApply),
            Command::Session(SessionCommand::Renew(_)) => Some(meter::Event::SessionRenew),
            Command::Session(_) => Some(meter::Event::SessionApply),
            Command::Prepared(_) => Some(meter::Event::PreparedApply),
            _ => None,
        };
        self.meter.count(meter::Event::RaftApply, 1);
        let begun = clock::now();
        let answer = self.ask(deadline, |ticket| Event::Write { ticket, command }).await;
        let took = clock::now().since(begun);
        if matches!(answer, Answer::Applied(_)) {
            self.meter.took(meter::Event::CommitTime, took);
            if let Some(kind) = kind {
                self.meter.took(kind, took);
            }
        }
        answer
    }

    /// Asks a quorum how far the truth reaches.
    pub async fn read_index(&self, deadline: Instant) -> Answer {
        let begun = clock::now();
        let answer = self.ask(deadline, |ticket| Event::ReadIndex { ticket }).await;
        self.meter.took(meter::Event::ConsistentRead, clock::now().since(begun));
        answer
    }

    /// Has the agent do something.
    pub async fn act(&self, act: Act, deadline: Instant) -> Answer {
        self.ask(deadline, |ticket| Event::Act { ticket, act }).await
    }

    /// Joins through these addresses.
    pub async fn join(&self, addresses: Vec<std::net::SocketAddr>, deadline: Instant) -> Answer {
        self.ask(deadline, |ticket| Event::Join { addresses, ticket }).await
    }
}

/// How long until then.
#[must_use]
pub fn patience(deadline: Instant) -> Duration {
    deadline.since(clock::now())
}

/// An asker who goes away is forgotten, so that unanswered tickets do not pile up.
struct Forget<'a> {
    handle: &'a Handle,
    ticket: Ticket,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.handle.waiting().remove(&self.ticket);
    }
}
