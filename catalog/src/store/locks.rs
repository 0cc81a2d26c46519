//! Sessions and the locks that they hold: what may be locked by whom, and what the end of a session does.

use super::apply::Change;
use super::sessions::SessionRow;
use super::{Outcome, Refusal, Store, Watch};
use crate::command::SessionCommand;
use crate::model::{Behavior, KvRow, LOCK_DELAY_MAX, Sequencer, Session, Status, folded};
use std::sync::Arc;
use uuid::Uuid;

/// Who holds the lock on a key, and how often it was freshly acquired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lock {
    pub(super) session: Option<Uuid>,
    pub(super) index: u64,
}

/// Why a key was not locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotLocked {
    /// There is no such session.
    NoSession,
    /// Another session holds it.
    Held,
    /// Its last holder ended a short while ago.
    Delayed,
}

/// The key is not locked, or by another session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotHeld;

impl Store {
    pub(super) fn apply_session(&mut self, command: &SessionCommand, change: &mut Change) -> Outcome {
        match command {
            SessionCommand::Create(session) => self.create_session(session, change),
            SessionCommand::Renew(id) => Outcome::Session(self.renew_session(*id)),
            SessionCommand::Destroy(id) => {
                self.end_session(*id, change);
                Outcome::Done
            }
            SessionCommand::Expire { id, renewed_ms } => {
                let expired = |row: &SessionRow| {
                    row.renewed_ms == *renewed_ms && row.due_ms().is_some_and(|due| due <= self.time_ms)
                };
                if self.sessions.get(*id).is_some_and(expired) {
                    self.end_session(*id, change);
                }
                Outcome::Done
            }
        }
    }

    fn create_session(&mut self, session: &Session, change: &mut Change) -> Outcome {
        match self.admit_session(session) {
            Err(refusal) => Outcome::Refused(refusal),
            Ok(session) => {
                let session = Arc::new(Session { create_index: change.index, ..session });
                self.sessions.insert(SessionRow { session: Arc::clone(&session), renewed_ms: self.time_ms });
                self.sessions_changed(change);
                Outcome::Session(Some(session))
            }
        }
    }

    /// The session with its node spelled as the node is, if it can live at all.
    fn admit_session(&self, session: &Session) -> Result<Session, Refusal> {
        if self.sessions.get(session.id).is_some() {
            return Err(Refusal::SessionTaken { id: session.id });
        }
        let key = folded(&session.node);
        let missing = || Refusal::MissingNode { node: session.node.clone() };
        let node = self.nodes.get(&key).ok_or_else(missing)?.node.name.clone();
        for id in session.checks() {
            match self.checks.get(&key, &folded(id)) {
                None => return Err(Refusal::MissingCheck { check: id.clone() }),
                Some(check) if check.status == Status::Critical => {
                    return Err(Refusal::CriticalCheck { check: id.clone() });
                }
                Some(_) => {}
            }
        }
        Ok(Session { node, ..session.clone() })
    }

    /// Readers see nothing of it.
    fn renew_session(&mut self, id: Uuid) -> Option<Arc<Session>> {
        let session = Arc::clone(&self.sessions.get(id)?.session);
        self.sessions.insert(SessionRow { session: Arc::clone(&session), renewed_ms: self.time_ms });
        Some(session)
    }

    /// Its prepared queries go. Its keys are unlocked or deleted, and nobody can lock them for its lock-delay.
    pub(super) fn end_session(&mut self, id: Uuid, change: &mut Change) {
        let Some(session) = self.sessions.remove(id) else { return };
        self.sessions_changed(change);
        self.end_prepared_of(id, change);
        let delay = session.lock_delay.min(LOCK_DELAY_MAX);
        let until_ms = self.time_ms.saturating_add(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        let held: Vec<_> = self.kv.held_by(id).filter_map(|key| self.kv.get(key)).cloned().collect();
        for row in &held {
            let entry = row.entry();
            match session.behavior {
                Behavior::Release => {
                    let lock = Lock { session: None, index: entry.lock_index };
                    self.put_key(entry.key, entry.value, entry.flags, lock, change);
                }
                Behavior::Delete => self.remove_key(entry.key, change),
            }
            if until_ms > self.time_ms {
                self.delays.insert(Arc::from(entry.key), until_ms);
            }
        }
    }

    /// Every session on the node, which goes.
    pub(super) fn end_sessions_of(&mut self, node: &str, change: &mut Change) {
        self.end_sessions_where(node, |_| true, change);
    }

    /// Every session that needs this check, which turned critical or goes.
    pub(super) fn end_sessions_needing(&mut self, node: &str, check: &str, change: &mut Change) {
        self.end_sessions_where(node, |session| session.checks().any(|id| *folded(id) == *check), change);
    }

    fn end_sessions_where(&mut self, node: &str, wanted: impl Fn(&Session) -> bool, change: &mut Change) {
        let ended: Vec<_> =
            self.sessions.of_node(node).filter(|session| wanted(session)).map(|session| session.id).collect();
        for id in ended {
            self.end_session(id, change);
        }
    }

    fn sessions_changed(&mut self, change: &mut Change) {
        self.sessions.index = change.index;
        change.touch(Watch::Sessions);
    }

    /// The lock on a key; a key that is not there was never locked.
    pub(super) fn lock_of(&self, key: &str) -> Lock {
        let entry = self.kv.get(key).map(KvRow::entry);
        entry.map_or_else(Lock::default, |entry| Lock { session: entry.session, index: entry.lock_index })
    }

    /// Locks a key for a session and sets it; its holder may set it again, and holds the same lock.
    pub(super) fn lock_key(
        &mut self,
        key: &str,
        value: &[u8],
        flags: u64,
        session: Uuid,
        change: &mut Change,
    ) -> Result<(), NotLocked> {
        if self.sessions.get(session).is_none() {
            return Err(NotLocked::NoSession);
        }
        let lock = self.lock_of(key);
        let lock = match lock.session {
            Some(holder) if holder == session => lock,
            Some(_) => return Err(NotLocked::Held),
            None if self.delays.hold(key, self.time_ms) => return Err(NotLocked::Delayed),
            None => Lock { session: Some(session), index: lock.index.saturating_add(1) },
        };
        self.put_key(key, value, flags, lock, change);
        Ok(())
    }

    /// Gives a lock back, for anybody to take at once, and sets the key.
    pub(super) fn unlock_key(
        &mut self,
        key: &str,
        value: &[u8],
        flags: u64,
        session: Uuid,
        change: &mut Change,
    ) -> Result<(), NotHeld> {
        let lock = self.lock_of(key);
        if lock.session != Some(session) {
            return Err(NotHeld);
        }
        self.put_key(key, value, flags, Lock { session: None, ..lock }, change);
        Ok(())
    }

    /// Refuses a sequencer whose lock has passed to somebody else, or to nobody.
    pub(super) fn fence(&self, sequencer: &Sequencer) -> Result<(), Refusal> {
        let Sequencer { key, lock_index, session } = sequencer;
        let lock = self.lock_of(key);
        if lock == (Lock { session: Some(*session), index: *lock_index }) {
            return Ok(());
        }
        let holder = |session| Box::new(Sequencer { key: key.clone(), lock_index: lock.index, session });
        Err(Refusal::StaleSequencer { key: key.clone(), holder: lock.session.map(holder) })
    }
}
