//! Everything the agent does to the world: one closed enum, carried out in order by the runtime or the simulator.

use crate::checks::Probe;
use crate::consensus::{BootstrapLetter, EngineId, Letter, Write};
use crate::local::{Persist, Refused};
use crate::rpc::Unserved;
use crate::view::{LocalView, View};
use bytes::Bytes;
use lictor_catalog::model::CheckId;
use lictor_catalog::{Command, Index, Outcome, Store, Touched};
use std::net::SocketAddr;
use std::sync::Arc;
use uuid::Uuid;

/// By which an asker recognises his answer.
pub type Ticket = u64;

#[derive(Debug)]
pub enum Effect {
    Packet { to: SocketAddr, bytes: Bytes },
    /// Send `body` to a member's gossip port over TCP and hand in its answer.
    Dial { to: SocketAddr, dial: u64, body: Bytes },
    GossipAnswer { ticket: Ticket, body: Bytes },
    /// A letter to a peer's RPC port, with the state that must travel beside it.
    Letter { to: EngineId, address: Option<SocketAddr>, letter: Letter, state: Option<Store> },
    Bootstrap { address: SocketAddr, letter: BootstrapLetter },
    /// One transaction of the log store; `state` belongs to the `Install` or `Compact` among the writes.
    Store { batch: u64, writes: Vec<Write>, sync: bool, state: Option<Store> },
    Probe { check: CheckId, run: u64, probe: Probe },
    Persist { ticket: Ticket, records: Vec<Persist> },
    Publish { view: Arc<View>, touched: Touched },
    PublishLocal(Arc<LocalView>),
    Answer { ticket: Ticket, answer: Answer },
    /// Anti-entropy wants to know what the catalog holds of this node.
    Fetch,
    /// Anti-entropy writes to the catalog.
    Push { ticket: Ticket, command: Command },
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
    /// An act that cannot fail is done.
    Done,
    UnknownMember(String),
}

/// How anti-entropy's write went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    Applied(Outcome),
    /// To be tried again later.
    Failed,
}
