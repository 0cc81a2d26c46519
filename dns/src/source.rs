//! The seam to where the catalog is: a server has it, a client agent asks a server for the part that it needs.

use lictor_catalog::Store;
use lictor_catalog::store::Scope;
use std::fmt;
use std::future::Future;
use std::ops::Deref;

/// What a name needs before it can be answered.
pub trait Source: Send + Sync + 'static {
    /// A store held for the time of one answer: a guard, an `Arc`, a `Box`.
    type Held: Deref<Target = Store> + Send;

    /// The store at hand for this scope, without waiting; `None`: it must be fetched first.
    ///
    /// # Errors
    /// [`Unavailable`] when there is no store that may be trusted, and fetching would not help.
    fn load(&self, scope: &Scope) -> Result<Option<Self::Held>, Unavailable>;

    /// Asks those who know. Must come to an end by itself, within the patience of a resolver (5 s).
    fn fetch(&self, scope: Scope) -> impl Future<Output = Result<Self::Held, Unavailable>> + Send;

    /// Unix time, the serial of the SOA record.
    fn now_unix(&self) -> u32;

    /// A moment by the source's own clock, which comes back in [`Source::answered`]. One that measures nothing needs none.
    fn moment(&self) -> u64 {
        0
    }

    /// So many messages that had come in by that moment were answered.
    fn answered(&self, _messages: usize, _since: u64) {}
}

/// The catalog cannot be asked now: SERVFAIL, never an empty truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the catalog cannot be asked now: no server of this datacenter answers, or none has caught up")
    }
}

impl std::error::Error for Unavailable {}
