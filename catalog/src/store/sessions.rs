//! The table of sessions, and when each of them is due to end.

use crate::model::{Index, Session};
use imbl::{OrdMap, OrdSet};
use std::sync::Arc;
use uuid::Uuid;

/// A session, and the log time at which it was made or renewed last.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SessionRow {
    pub(crate) session: Arc<Session>,
    pub(crate) renewed_ms: u64,
}

impl SessionRow {
    /// The log time at which its time to live is over; `None` if it lives for ever.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        let ttl = self.session.ttl.span;
        let span = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        (!ttl.is_zero()).then(|| self.renewed_ms.saturating_add(span))
    }
}

/// Sessions by id, by folded node, and by when they are due.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Sessions {
    rows: OrdMap<Uuid, SessionRow>,
    by_node: OrdSet<(Arc<str>, Uuid)>,
    by_due: OrdSet<(u64, Uuid)>,
    /// Last time a session came or went.
    pub(crate) index: Index,
}

impl Sessions {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many have a time to live.
    pub(crate) fn mortal(&self) -> usize {
        self.by_due.len()
    }

    pub(crate) fn get(&self, id: Uuid) -> Option<&SessionRow> {
        self.rows.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.rows.values().map(|row| &row.session)
    }

    pub(crate) fn rows(&self) -> &OrdMap<Uuid, SessionRow> {
        &self.rows
    }

    /// The sessions of a node, by id.
    pub(crate) fn of_node<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a Arc<Session>> {
        self.by_node
            .range((Arc::from(node), Uuid::nil())..)
            .take_while(move |(on, _)| **on == *node)
            .filter_map(|(_, id)| self.rows.get(id).map(|row| &row.session))
    }

    /// Those whose time to live is over by now, the first due first.
    pub(crate) fn due(&self, now_ms: u64) -> impl Iterator<Item = &SessionRow> {
        let over = self.by_due.iter().take_while(move |(due_ms, _)| *due_ms <= now_ms);
        over.filter_map(|(_, id)| self.rows.get(id))
    }

    /// Puts a session in place of whatever had its id.
    pub(crate) fn insert(&mut self, row: SessionRow) {
        let id = row.session.id;
        self.remove(id);
        self.by_node.insert((row.session.node.folded(), id));
        self.by_due.extend(row.due_ms().map(|due| (due, id)));
        self.rows.insert(id, row);
    }

    /// Every time to live begins anew.
    pub(crate) fn renew(&mut self, now_ms: u64) {
        for row in self.rows.clone().values() {
            self.insert(SessionRow { session: Arc::clone(&row.session), renewed_ms: now_ms });
        }
    }

    pub(crate) fn remove(&mut self, id: Uuid) -> Option<Arc<Session>> {
        let row = self.rows.remove(&id)?;
        self.by_node.remove(&(row.session.node.folded(), id));
        if let Some(due) = row.due_ms() {
            self.by_due.remove(&(due, id));
        }
        Some(row.session)
    }
}
