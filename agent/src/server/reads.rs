//! Reads that wait for a quorum, and how a server learns that it has caught up. Who asks and when is the replica's affair.

use crate::consensus::Status;
use crate::effect::Ticket;
use crate::time::Instant;
use lictor_catalog::Index;
use std::collections::BTreeMap;

/// Reads that wait until a quorum has spoken, and then until its index is applied.
#[derive(Debug, Default)]
pub(super) struct Reads {
    pub(super) next_ask: u64,
    /// Waiting to be carried by the next ask.
    pub(super) queued: Vec<Ticket>,
    /// Under way, with the tick of the ask. An ask may never be answered: its tickets then ride with a later one.
    pub(super) asked: BTreeMap<u64, (u64, Vec<Ticket>)>,
}

impl Reads {
    pub(super) fn waiting(&self) -> usize {
        self.queued.len() + self.asked.values().map(|(_, tickets)| tickets.len()).sum::<usize>()
    }

    /// Whoever rode with an ask made at `tick` or before rides again.
    pub(super) fn strand(&mut self, tick: u64) {
        let stranded = self.asked.extract_if(.., |_, (at, _)| *at <= tick).flat_map(|(_, (_, tickets))| tickets);
        self.queued.extend(stranded);
    }

    /// An answer says how far the truth reached when it was asked for, and so answers every earlier ask too.
    pub(super) fn answered(&mut self, ask: u64) -> impl Iterator<Item = Ticket> {
        let later = self.asked.split_off(&ask.saturating_add(1));
        std::mem::replace(&mut self.asked, later).into_values().flat_map(|(_, tickets)| tickets)
    }
}

/// How a follower learns that it has caught up with a leader: he tells how far the truth reached after it began to follow.
/// Before that, and again after a silence of his, his letters say nothing of how old its state is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CatchUp {
    /// Whom it follows: each leadership begins anew.
    epoch: u64,
    /// The first ask since it began, and when it was made.
    pub(super) first: Option<(u64, Instant)>,
    /// Once this is applied, it has caught up.
    pub(super) target: Option<Index>,
    pub(super) done: bool,
}

impl CatchUp {
    /// Forgets what the leader told.
    pub(super) fn begin(&mut self) {
        *self = Self { epoch: self.epoch, ..Self::default() };
    }

    /// Draws the conclusions of a turn. When it caught up just now: the time up to which nothing is missing here.
    pub(super) fn observe(&mut self, status: &Status) -> Option<Instant> {
        if self.epoch != status.epoch {
            *self = Self { epoch: status.epoch, ..Self::default() };
        }
        if self.done || self.target.is_none_or(|index| status.applied < index) {
            return None;
        }
        self.done = true;
        self.first.map(|(_, asked)| asked)
    }
}
