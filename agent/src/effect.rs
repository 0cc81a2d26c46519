//! Everything the agent does to the world: one closed enum, carried out in order by the runtime or the simulator.

use crate::checks::{Probe, Run};
use crate::consensus::bootstrap::Letter as BootstrapLetter;
use crate::consensus::store::State;
use crate::consensus::{EngineId, Letter, Write};
use crate::gossip::{NotFired, UserEvent};
use crate::local::{Refused, SyncTicket, Ticket as PersistTicket, Write as Record};
use crate::rpc::Unserved;
use crate::server::role::operate::CannotOperate;
use crate::server::role::recovery::{CannotRecover, Prospect};
use crate::view::{LocalView, View};
use bytes::Bytes;
use lictor_catalog::{Command, Index, Outcome, Store, Touched};
use std::net::SocketAddr;
use std::sync::Arc;
use uuid::Uuid;

/// By which an asker recognises his answer.
pub type Ticket = u64;

/// One batch for the log store, whose writing is told with [`Event::Stored`](crate::event::Event::Stored).
#[derive(Debug)]
pub struct Job {
    pub batch: u64,
    pub writes: Vec<Write>,
    /// Answers wait for it to be durable.
    pub sync: bool,
    /// Belongs to the `Install` or `Compact` among the writes.
    pub state: Option<Store>,
}

impl Job {
    /// The state in the form in which it is stored, by the index of its snapshot.
    pub fn state(&self) -> Option<(u64, State)> {
        let index = self.writes.iter().find_map(|write| match write {
            Write::Install(snapshot) | Write::Compact(snapshot) => Some(snapshot.index.0),
            _ => None,
        })?;
        let store = self.state.clone();
        Some((index, State::new(move || store.clone().into_iter().flat_map(|store| store.chunks().map(Bytes::from)))))
    }
}

#[derive(Debug)]
pub enum Effect {
    Packet {
        to: SocketAddr,
        bytes: Bytes,
    },
    /// Send `body` to a member's gossip port over TCP and hand in its answer.
    Dial {
        to: SocketAddr,
        dial: u64,
        body: Bytes,
    },
    GossipAnswer {
        ticket: Ticket,
        body: Bytes,
    },
    /// A letter to a peer's RPC port, with the state that must travel beside it.
    Letter {
        to: EngineId,
        address: Option<SocketAddr>,
        letter: Letter,
        state: Option<Store>,
    },
    Bootstrap {
        address: SocketAddr,
        letter: BootstrapLetter,
    },
    /// This server takes part in that cluster from now on: letters and greetings carry it.
    Cluster(Uuid),
    Store(Job),
    /// A state that nobody needs: to drop it takes long, so it is done where nobody waits.
    Retire(Store),
    Probe {
        run: Run,
        probe: Probe,
    },
    /// Call off a run: its check is gone or was replaced.
    StopProbe {
        run: Run,
    },
    /// Records of local state, in order; durably when a ticket waits for them.
    Persist {
        ticket: Option<PersistTicket>,
        writes: Vec<Record>,
    },
    Publish {
        view: Arc<View>,
        touched: Touched,
    },
    PublishLocal(Arc<LocalView>),
    Answer {
        ticket: Ticket,
        answer: Answer,
    },
    /// Anti-entropy wants to know what the catalog holds of this node.
    Fetch {
        ticket: SyncTicket,
    },
    /// Anti-entropy writes to the catalog.
    Push {
        ticket: SyncTicket,
        command: Command,
    },
    /// The agent must end, and this is why.
    Exit(Ending),
}

/// Why an agent ends of its own accord.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ending {
    #[error("left the cluster")]
    Left,
    #[error("{0}")]
    Fatal(String),
}

/// What an asker gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A write was applied; this is what it did.
    Applied(Outcome),
    /// A write was proposed and then lost from sight.
    Unknown,
    /// It surely had no effect.
    Unserved(Unserved),
    /// The read may be answered by any view that has applied this index.
    ReadAt(Index),
    Local(Result<(), Refused>),
    /// How many members were reached, or why none.
    Joined(Result<usize, String>),
    /// A user event was fired, or why not.
    Fired(Result<Arc<UserEvent>, NotFired>),
    /// An act that cannot fail is done.
    Done,
    UnknownMember(String),
    /// Another server leads now.
    Transferred,
    CannotOperate(CannotOperate),
    /// What a recovery would do, or did, or why there is none.
    Recovery(Result<Prospect, CannotRecover>),
}

/// How anti-entropy's write went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    Applied(Outcome),
    /// To be tried again later.
    Failed,
}
