//! Backups: the catalog as an archive, from whichever server may show it, and an archive back into the catalog, step by step
//! through the log. Both work at every agent; only bytes and commands travel.

use super::{Dispatcher, Hold, PATIENCE, deadline, patience};
use crate::archive::{self, ARCHIVE_MAX, Backup};
use crate::forward::{self, Attempt, Deed};
use crate::http::answer::{self, Freshness};
use crate::http::call::{Consistency, Reply};
use crate::rpc::{AskedToSave, Saved, Unserved};
use crate::runtime::clock;
use crate::runtime::pieces::{self, Pieces};
use crate::runtime::rpc::client::Failed;
use crate::time::Instant;
use crate::view::View;
use hyper::body::Incoming;
use lictor_catalog::{Command, Outcome, RestoreCommand, Store};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// Bytes of rows that are staged at once: large against what a step costs, small against what a letter may hold.
const STEP: usize = 1 << 20;
/// Backups that an agent saves or restores at once.
pub(super) const BACKUPS_MAX: usize = 4;

impl Dispatcher {
    /// The catalog as an archive.
    ///
    /// # Errors
    /// The reply, when no server gives it.
    pub async fn save(&self, consistency: Consistency) -> Result<(Saved, Pieces), Reply> {
        let seat = self.seat().ok_or_else(crowded)?;
        let until = clock::now() + PATIENCE;
        let mut hold = self.hold(0, Deed::Read);
        loop {
            hold.begin();
            let attempt = self.try_to_save(consistency, 0, until).await;
            match self.weigh_save(&mut hold, attempt).await {
                Some(Ok((saved, archive))) => return Ok((saved, archive.seated(seat))),
                Some(Err(why)) => return Err(forward::given_up(why)),
                None => {}
            }
        }
    }

    /// The same for another agent.
    ///
    /// # Errors
    /// [`Unserved`].
    pub async fn save_forwarded(&self, asked: AskedToSave) -> Result<(Saved, Pieces), Unserved> {
        let AskedToSave { consistency, hops, budget_ms } = asked;
        let seat = self.seat().ok_or(Unserved::Busy)?;
        match self.try_to_save(consistency, hops, deadline(budget_ms)).await {
            Attempt::Done((saved, archive)) => Ok((saved, archive.seated(seat))),
            Attempt::Unserved(why) => Err(why),
            Attempt::Lost => Err(Unserved::Unreachable),
        }
    }

    fn seat(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.backups).try_acquire_owned().ok()
    }

    async fn weigh_save<T>(&self, hold: &mut Hold, attempt: Attempt<T>) -> Option<Result<T, Unserved>> {
        // What was read and lost is read again: its outcome is never unknown.
        let ended = self.weigh(hold, attempt).await?;
        Some(ended.and_then(|done| done.ok_or(Unserved::Unreachable)))
    }

    async fn try_to_save(&self, consistency: Consistency, hops: u8, deadline: Instant) -> Attempt<(Saved, Pieces)> {
        let view = self.handle.view.load_full();
        let servers = match self.whom(forward::place_read(consistency, &view), hops) {
            Ok(Some(servers)) => servers,
            Ok(None) => {
                return match self.trusted(view, consistency, deadline).await {
                    Ok(view) => Attempt::Done(saved(view, consistency)),
                    Err(why) => Attempt::Unserved(why),
                };
            }
            Err(why) => return Attempt::Unserved(why),
        };
        let budget_ms = u64::try_from(patience(deadline).as_millis()).unwrap_or(u64::MAX);
        let asked = AskedToSave { consistency, hops: hops + 1, budget_ms };
        let mut unserved = Unserved::Unreachable;
        for server in servers {
            let answered = self.client.save(server, &asked).await;
            self.passed(answered.is_ok());
            match answered {
                Ok(Ok(saved)) => return Attempt::Done(saved),
                Ok(Err(why)) => unserved = why,
                Err(Failed::NotSent | Failed::Refused(_) | Failed::Lost) => {}
            }
        }
        Attempt::Unserved(unserved)
    }

    /// Puts the archive in a body in place of the catalog, once all of it proved to be sound.
    pub async fn restore(&self, body: Incoming) -> Reply {
        let Some(_seat) = self.seat() else { return crowded() };
        let read = pieces::read(body, ARCHIVE_MAX, archive::unpack).await;
        let store = match read {
            Ok(Ok(Backup { store, .. })) => store,
            Ok(Err(unfit)) => return Reply::text(500, format!("{unfit}; nothing was changed")),
            Err(lost) => return Reply::text(500, lost.to_string()),
        };
        let id = self.dice().number();
        match self.staged(id, &store).await {
            Ok(()) => {
                tracing::info!(index = %store.index(), "a snapshot was restored");
                Reply::empty(200)
            }
            Err(reply) => {
                // If this fails too, what is staged goes after a while.
                let _ = self.submit(Command::Restore(RestoreCommand::Abort { id })).await;
                reply
            }
        }
    }

    async fn staged(&self, id: u64, store: &Store) -> Result<(), Reply> {
        self.stage(RestoreCommand::Begin { id }).await?;
        let mut tables = store.tables().peekable();
        let mut number = 0;
        while tables.peek().is_some() {
            let mut bytes = 0;
            let mut rows = Vec::new();
            while bytes < STEP
                && let Some(table) = tables.next()
            {
                bytes += table.len();
                rows.push(table.into());
            }
            self.stage(RestoreCommand::Stage { id, number, rows }).await?;
            number += 1;
        }
        self.stage(RestoreCommand::Commit { id, count: number }).await
    }

    /// A step may be repeated until it surely happened.
    async fn stage(&self, command: RestoreCommand) -> Result<(), Reply> {
        match self.step(Command::Restore(command)).await {
            Ok(Some(Outcome::Refused(refusal))) => Err(Reply::text(500, answer::refusal_text(&refusal))),
            Ok(Some(_done)) => Ok(()),
            Ok(None) => Err(forward::outcome_unknown()),
            Err(why) => Err(forward::given_up(why)),
        }
    }
}

fn crowded() -> Reply {
    let text = format!("{BACKUPS_MAX} snapshots are being saved or restored at this agent already; try again later");
    Reply::text(429, text)
}

/// A view as an archive that is written while it is read, and what is said of it.
fn saved(view: Arc<View>, consistency: Consistency) -> (Saved, Pieces) {
    let freshness = Freshness::of(&view, clock::now());
    let (known_leader, last_contact_ms) = (freshness.known_leader, freshness.age_ms(consistency));
    let saved = Saved { index: view.applied, known_leader, last_contact_ms };
    (saved, Pieces::written(move |writer| archive::pack(&view, writer)))
}
