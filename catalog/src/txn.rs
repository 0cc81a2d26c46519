//! Transactions as values: what one may ask for, what it answers, and why it fails.
//!
//! The operations of a [`Txn`] see what those before them did. Either all of them are done, or none. One that only looks
//! never enters the log: it is a [`Query`](crate::Query). Who applies a transaction is `store/txn.rs`.

use crate::command::{Deregister, KvCommand};
use crate::model::{Check, CheckId, Index, KvRow, Node, NodeName, Sequencer, Service, ServiceId};
use crate::store::Refusal;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

/// Several operations, in order: all or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Txn {
    /// They are refused unless this lock is held still.
    pub fence: Option<Sequencer>,
    /// What is to be done.
    pub ops: Vec<TxnOp>,
}

/// One operation of a transaction. It does what the command of its kind does alone, and fails where that would not match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnOp {
    /// Looks, and fails when it does not find what it should.
    Look(TxnLook),
    /// Keys change.
    Kv(KvCommand),
    /// A row comes or changes; given an index, only if its `modify_index` equals it (0 means "must not exist").
    Put(TxnPut, Option<Index>),
    /// Something goes; given an index, only if it is there and its `modify_index` equals it.
    Remove(Deregister, Option<Index>),
}

/// A row of the catalog that is to be written. Services and checks name the node that they are on, which must be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnPut {
    /// A node.
    Node(Box<Node>),
    /// An instance.
    Service(Box<Service>),
    /// A check.
    Check(Box<Check>),
}

/// An operation that changes nothing. Consul's verbs are named where they are not plain.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TxnLook {
    /// A key, which must be there (`get`).
    Key(String),
    /// A key, or an empty one in its place (`get-or-empty`).
    KeyOrEmpty(String),
    /// Every key under a prefix (`get-tree`).
    Tree(String),
    /// A key whose `modify_index` must be this (`check-index`).
    KeyIndex(String, Index),
    /// A key whose lock this session must hold; the empty text means nobody (`check-session`).
    KeyHolder(String, String),
    /// A key that must not be there (`check-not-exists`).
    NoKey(String),
    /// A node by its id; without one, by its name.
    Node(Option<Uuid>, NodeName),
    /// An instance.
    Service(NodeName, ServiceId),
    /// A check.
    Check(NodeName, CheckId),
}

/// What a transaction answers: the rows that its operations found or wrote, or every operation that failed.
pub type TxnResult = Result<Vec<TxnRow>, Vec<TxnFailure>>;

/// A row that an operation found, or left behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnRow {
    /// A key that was read.
    Key(KvRow),
    /// A key that was written or looked at, whose value nobody asked for.
    KeyOnly(KvRow),
    /// A key that may be missing, and is.
    EmptyKey(String),
    /// A node.
    Node(Arc<Node>),
    /// An instance.
    Service(Arc<Service>),
    /// A check.
    Check(Arc<Check>),
}

/// An operation that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnFailure {
    /// Which one, counted from 0.
    pub op: usize,
    /// Why.
    pub fault: TxnFault,
}

/// Why an operation failed. Codes, not texts: HTTP chooses the words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnFault {
    /// It is not there.
    Missing(TxnThing),
    /// To be set, it would have to have another index.
    StaleSet(TxnThing),
    /// To be removed, it would have to have another index.
    StaleRemove(TxnThing),
    /// The key is there, and must not be.
    KeyExists(String),
    /// There is no key whose index could be looked at.
    NoIndex(String),
    /// The key has another index.
    OtherIndex {
        /// The key.
        key: String,
        /// Its `modify_index`.
        found: Index,
        /// What that should be.
        wanted: Index,
    },
    /// There is no key whose holder could be looked at.
    NoHolder(String),
    /// Somebody else holds the lock on the key, or nobody.
    OtherHolder {
        /// The key.
        key: String,
        /// Who holds it.
        found: Option<Uuid>,
        /// Who should.
        wanted: String,
    },
    /// Another session holds the lock on the key.
    Locked(String),
    /// The last holder of the key's lock ended a short while ago.
    LockDelayed(String),
    /// The session does not hold the lock on the key.
    NotHeld(String),
    /// Whoever asks may not read it.
    Forbidden,
    /// The command makes no sense against the state.
    Refused(Refusal),
}

/// What an operation was about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnThing {
    /// A key.
    Key(String),
    /// A node.
    Node(NodeName),
    /// An instance.
    Service(NodeName, ServiceId),
    /// A check.
    Check(NodeName, CheckId),
}
