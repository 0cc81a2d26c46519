//! Everything the agent reacts to: one closed enum.

use crate::checks::{Outcome, Run};
use crate::consensus::bootstrap::Letter as BootstrapLetter;
use crate::consensus::{EngineId, Letter, News};
use crate::effect::{Pushed, Ticket};
use crate::gossip::DialError;
use crate::http::call::Act;
use crate::local::{SyncTicket, Ticket as PersistTicket};
use bytes::Bytes;
use lictor_catalog::{Command, Store};
use std::net::SocketAddr;
use uuid::Uuid;

/// The world's doings. The moment they are handed in at is an argument of `Agent::step`.
#[derive(Debug)]
pub enum Event {
    /// A gossip packet.
    Packet {
        from: SocketAddr,
        bytes: Bytes,
    },
    /// A request on the gossip port's TCP side; answered under its ticket.
    GossipAsked {
        ticket: Ticket,
        body: Bytes,
    },
    /// What came of an `Effect::Dial`.
    GossipAnswered {
        dial: u64,
        answer: Result<Bytes, DialError>,
    },
    /// A letter of the consensus engine, with the state that travels beside it, if it needs one.
    Letter {
        from: EngineId,
        cluster: Option<Uuid>,
        letter: Letter,
        state: Option<Store>,
    },
    /// How a connection to a peer fares.
    Peer {
        peer: EngineId,
        news: News,
    },
    Bootstrap {
        letter: BootstrapLetter,
    },
    /// Everything up to this batch is on the disk.
    Stored {
        batch: u64,
    },
    /// The disk has no space; the batch is kept and written again.
    StoreFull {
        batch: u64,
    },
    Probed {
        run: Run,
        outcome: Outcome,
    },
    /// A local change is on the disk, or could not be written.
    Persisted {
        ticket: PersistTicket,
        /// Where, and why not.
        failed: Option<String>,
    },
    /// A write, on the server that takes itself for the leader.
    Write {
        ticket: Ticket,
        command: Command,
    },
    /// A read that wants to be as fresh as a quorum knows.
    ReadIndex {
        ticket: Ticket,
    },
    Act {
        ticket: Ticket,
        act: Act,
    },
    /// Names in `retry_join` were resolved.
    Join {
        addresses: Vec<SocketAddr>,
        ticket: Ticket,
    },
    /// What the catalog holds of this node, for anti-entropy.
    Fetched {
        ticket: SyncTicket,
        rows: Option<Store>,
    },
    Pushed {
        ticket: SyncTicket,
        result: Pushed,
    },
}
