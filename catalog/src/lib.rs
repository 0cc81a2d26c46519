//! The replicated truth of a lictor datacenter, as a pure value.
//!
//! A [`Store`] holds nodes and their coordinates, services, checks, keys, sessions, prepared queries and the root that signs
//! certificates. It changes only by [`Store::apply`], one [`Command`] at a time, in the order of the replicated log; every
//! server that applies the same commands holds the same store. A clone of a store
//! is a snapshot and costs O(1). Reads are [`Query`] values, evaluated by pure functions in [`query`].
//!
//! What this crate never does: it opens no socket and no file, starts no thread, reads no clock, rolls no dice, and
//! knows neither JSON nor DNS. Time, ids and tokens are resolved into the command by whoever proposes it.

#![warn(missing_docs)]

pub mod acl;
pub mod command;
pub mod model;
pub mod query;
mod splitmix;
pub mod store;
pub mod txn;

pub use acl::{AllowAll, Authorizer};
pub use command::{Command, Deregister, Entry, KvCommand, PreparedCommand, Register, RestoreCommand, SessionCommand};
pub use model::{
    Authority, Autopilot, Check, Coordinate, Index, KvEntry, KvRow, Node, NodeCoordinate, PreparedQuery, Sequencer,
    Service, Session, Status,
};
pub use query::{Executed, Execution, Instance, Query, Rows};
pub use splitmix::SplitMix64;
pub use store::{Applied, Damaged, Outcome, Refusal, Restore, Scope, Store, Touched, Watch};
pub use txn::{Txn, TxnFailure, TxnFault, TxnLook, TxnOp, TxnPut, TxnResult, TxnRow, TxnThing};
