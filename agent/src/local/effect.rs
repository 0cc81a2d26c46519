//! What local state wants done outside.

use super::record::RecordKey;
use crate::checks::{Probe, Run};
use lictor_catalog::model::CheckId;

/// Names a change that waits until it is persisted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Write these records durably, in order, then call [`super::Local::persisted`] with the ticket. Without one a failure is
    /// only logged: losing them costs little. Effects must be carried out in the order they were given.
    Persist { ticket: Option<Ticket>, writes: Vec<Write> },
    /// Execute a probe and bring its outcome to [`super::Local::outcome`].
    Start { run: Run, check: CheckId, probe: Probe },
    /// Call a run off. Its outcome is still awaited.
    Stop(Run),
    /// [`super::Local::view`] differs: publish it, and let [`super::Sync`] look.
    Changed,
    /// For the log.
    Warn(String),
}

/// One record to write or remove.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    Put {
        key: RecordKey,
        content: Vec<u8>,
    },
    /// Nothing to remove is no failure.
    Remove(RecordKey),
}

impl Write {
    /// Which record it is about.
    #[must_use]
    pub const fn key(&self) -> &RecordKey {
        match self {
            Self::Put { key, .. } | Self::Remove(key) => key,
        }
    }
}
