//! Restoring a snapshot through the log: its rows are staged here, step by step and on every server alike, until all have
//! come. Then they take the place of the tables in one step.
//!
//! What is staged is part of the store: it is in snapshots and survives restarts and changes of leadership. No query sees
//! it. It goes when it is committed, aborted, found unsound, replaced by another restore, or left alone for a minute of log time.

use super::apply::Change;
use super::restore::Builder;
use super::{Damaged, Refusal, Store};
use crate::command::RestoreCommand;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What has not grown for so long, in log time, was given up by whoever restores.
const ABANDONED_MS: u64 = 60 * 1000;

#[derive(Clone, PartialEq)]
pub(super) struct Staging {
    progress: Progress,
    pub(super) builder: Builder,
}

/// How far a restore has come.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    id: u64,
    /// How many steps of it have come.
    count: u64,
    /// When the last one came, in log time.
    time_ms: u64,
}

impl Staging {
    /// One whose rows are yet to come.
    pub(super) fn resumed(progress: &Progress) -> Self {
        Self { progress: *progress, builder: Builder::default() }
    }

    pub(super) const fn progress(&self) -> Progress {
        self.progress
    }

    /// What was staged, as it came.
    pub(super) fn tables(&self) -> impl Iterator<Item = Vec<u8>> + Send + use<> {
        self.builder.begun().then(|| self.builder.store.tables()).into_iter().flatten()
    }
}

impl Store {
    /// This store without what is staged for a restore: what a backup holds.
    #[must_use]
    pub fn without_staging(&self) -> Self {
        Self { staging: None, ..self.clone() }
    }

    /// Whether a backup of this store can be restored.
    ///
    /// # Errors
    /// [`Damaged::Partial`].
    pub const fn is_whole(&self) -> Result<(), Damaged> {
        if self.scope.is_some() { Err(Damaged::Partial) } else { Ok(()) }
    }

    pub(super) fn restore(&mut self, command: &RestoreCommand, change: &mut Change) -> Result<(), Refusal> {
        let staged = self.staging.as_ref().map(|staging| staging.progress);
        match command {
            RestoreCommand::Begin { id } if staged.is_some_and(|staged| staged.id == *id) => Ok(()),
            RestoreCommand::Begin { id } => {
                let progress = Progress { id: *id, count: 0, time_ms: self.time_ms };
                self.staging = Some(Arc::new(Staging::resumed(&progress)));
                Ok(())
            }
            RestoreCommand::Stage { id, number, rows } => self.stage(*id, *number, rows),
            RestoreCommand::Commit { id, .. } if self.restored == Some(*id) => Ok(()),
            RestoreCommand::Commit { id, count } => self.commit(*id, *count, change),
            RestoreCommand::Abort { id } => {
                self.staging.take_if(|staging| staging.progress.id == *id);
                Ok(())
            }
        }
    }

    fn stage(&mut self, id: u64, number: u64, rows: &[Bytes]) -> Result<(), Refusal> {
        let time_ms = self.time_ms;
        let staging = self.staging.as_mut().filter(|staging| staging.progress.id == id);
        let staging = staging.filter(|staging| number <= staging.progress.count).ok_or(Refusal::NotStaged { id })?;
        if number < staging.progress.count {
            return Ok(());
        }
        let staging = Arc::make_mut(staging);
        staging.progress = Progress { id, count: number.saturating_add(1), time_ms };
        rows.iter().try_for_each(|rows| staging.builder.stage(rows)).map_err(|damaged| {
            self.staging = None;
            Refusal::Unsound(damaged)
        })
    }

    fn commit(&mut self, id: u64, count: u64, change: &mut Change) -> Result<(), Refusal> {
        let whole = |staging: &mut Arc<Staging>| staging.progress.id == id && staging.progress.count == count;
        let staging = self.staging.take_if(|staging| whole(staging)).ok_or(Refusal::NotStaged { id })?;
        let mut store = Arc::unwrap_or_clone(staging).builder.store;
        store.is_whole().map_err(Refusal::Unsound)?;
        if store.feature_level > self.feature_level {
            return Err(Refusal::Level { snapshot: store.feature_level, cluster: self.feature_level });
        }
        store.succeed(self);
        store.restored = Some(id);
        *self = store;
        change.touch_all();
        Ok(())
    }

    /// Goes on in the log of the store that it replaces. Rows keep their indexes, and all later ones are higher. The log's
    /// own index and time, the feature level and the numbers that were given never fall.
    fn succeed(&mut self, former: &Self) {
        let highest = self.index.0 + self.lift;
        self.lift = former.lift.max(highest.saturating_sub(former.index.0));
        self.index = former.index;
        self.feature_level = former.feature_level;
        self.kv.next_number = self.kv.next_number.max(former.kv.next_number);
        let (then_ms, now_ms) = (std::mem::replace(&mut self.time_ms, former.time_ms), former.time_ms);
        let as_far = |time_ms: u64| now_ms.saturating_add(time_ms).saturating_sub(then_ms);
        self.delays.carry_over(as_far);
        self.kv.carry_over(as_far);
        // Nobody could renew a session that was not there.
        self.sessions.renew(now_ms);
    }

    /// Drops what nobody goes on with.
    pub(super) fn reap_staging(&mut self) {
        let now = self.time_ms;
        self.staging.take_if(|staging| now.saturating_sub(staging.progress.time_ms) >= ABANDONED_MS);
    }
}
