//! Locks, entry by entry of what was agreed: a key has one holder, who lives; it is locked afresh only when it was free and its
//! lock-delay is over; and a session ends for a reason (surface, semantics §3; Burrows 2006, §2.4; DESIGN §2, D19: no deadline
//! comes too early, whoever led meanwhile).

use crate::sim::{Agreed, Storm};
use lictor_catalog::model::{LOCK_DELAY_MAX, Session};
use lictor_catalog::{AllowAll, Command, Entry, Index, Query, Rows, SessionCommand, Status, Store};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// The holder of each key that is locked or was, and its lock index.
type Locks = BTreeMap<String, (Option<Uuid>, u64)>;
type Sessions = BTreeMap<Uuid, Arc<Session>>;

pub(super) fn check(storm: &Storm) -> Result<(), String> {
    let mut replay = Replay::default();
    for agreed in &storm.world.logs.commands {
        replay.entry(agreed).map_err(|wrong| format!("entry {}: {wrong}", agreed.index))?;
    }
    let world = &storm.world;
    let Some(leader) = world.leader().and_then(|leader| world.process(leader)) else { return Ok(()) };
    match leader.view.store.index() == replay.store.index() && leader.view.store != replay.store {
        true => Err("what was agreed does not lead to what the leader holds".to_owned()),
        false => Ok(()),
    }
}

#[derive(Default)]
struct Replay {
    store: Store,
    time_ms: u64,
    locks: Locks,
    sessions: Sessions,
    renewed_ms: BTreeMap<Uuid, u64>,
    /// Until when a key must stay free.
    delayed: BTreeMap<String, u64>,
}

impl Replay {
    fn entry(&mut self, agreed: &Agreed) -> Result<(), String> {
        let (now, command) = (agreed.time_ms, &agreed.command);
        if now < self.time_ms {
            return Err(format!("log time fell from {} to {now}", self.time_ms));
        }
        self.time_ms = now;
        self.store.apply(Index(agreed.index), &Entry { time_ms: now, id: 0, command: command.clone() });
        let sessions = sessions(&self.store);
        for (id, session) in &self.sessions {
            if !sessions.contains_key(id) {
                self.is_over(session, command)?;
                let delay = u64::try_from(session.lock_delay.min(LOCK_DELAY_MAX).as_millis()).unwrap_or(u64::MAX);
                let held = self.locks.iter().filter(|(_, (holder, _))| *holder == Some(*id));
                self.delayed.extend(held.map(|(key, _)| (key.clone(), now + delay)));
            }
        }
        match command {
            Command::Session(SessionCommand::Create(session)) => drop(self.renewed_ms.insert(session.id, now)),
            Command::Session(SessionCommand::Renew(id)) => drop(self.renewed_ms.insert(*id, now)),
            _ => {}
        }
        self.sessions = sessions;
        let locks = locks(&self.store);
        for (key, new) in &locks {
            self.follows(key, self.locks.get(key).copied().unwrap_or_default(), *new)?;
        }
        self.locks = locks;
        Ok(())
    }

    /// Whether there is a reason for the end of a session.
    fn is_over(&self, session: &Session, command: &Command) -> Result<(), String> {
        let id = session.id;
        let since = self.time_ms - self.renewed_ms.get(&id).copied().unwrap_or_default();
        let passed = u128::from(since) >= session.ttl.span.as_millis() && !session.ttl.span.is_zero();
        let fails = |check| {
            let check = self.store.check(&session.node, check);
            check.is_none_or(|check| check.status == Status::Critical)
        };
        let reason = match command {
            Command::Session(SessionCommand::Destroy(destroyed)) => *destroyed == id,
            Command::Session(SessionCommand::Expire { id: expired, .. }) => *expired == id && passed,
            _ => self.store.node(&session.node).is_none() || session.checks().any(|check| fails(check)),
        };
        if reason { Ok(()) } else { Err(format!("session {session:?} ended {since} ms after its last renewal")) }
    }

    /// Whether a lock may have become `new`.
    fn follows(&self, key: &str, old: (Option<Uuid>, u64), new: (Option<Uuid>, u64)) -> Result<(), String> {
        if let Some(holder) = new.0.filter(|holder| !self.sessions.contains_key(holder)) {
            return Err(format!("{key} is held by {holder}, which ended"));
        }
        match (old.0, new.0) {
            (Some(one), Some(other)) if one != other => Err(format!("{key} went from {one} to {other} at once")),
            (None, Some(holder)) if new.1 != old.1 + 1 => {
                Err(format!("{key} was locked by {holder}, its lock index went from {} to {}", old.1, new.1))
            }
            (None, Some(holder)) => match self.delayed.get(key).filter(|until| self.time_ms < **until) {
                Some(until) => Err(format!("{holder} locked {key} {} ms too early", until - self.time_ms)),
                None => Ok(()),
            },
            _ if new.1 != old.1 && self.store.key(key).is_some() => {
                Err(format!("the lock index of {key} went from {} to {}", old.1, new.1))
            }
            _ => Ok(()),
        }
    }
}

fn sessions(store: &Store) -> Sessions {
    match Query::Sessions.run(store, &AllowAll).1 {
        Rows::Sessions(sessions) => sessions.into_iter().map(|session| (session.id, session)).collect(),
        _ => Sessions::new(),
    }
}

fn locks(store: &Store) -> Locks {
    let lock = |key: String| {
        let entry = store.key(&key).map(|row| row.entry());
        let lock = entry.map(|entry| (entry.session, entry.lock_index)).unwrap_or_default();
        (key, lock)
    };
    crate::sim::locks::keys().map(lock).collect()
}
