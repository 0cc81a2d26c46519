//! The table of prepared queries, what may stand in it, and which of them a name means.

use super::apply::Change;
use super::{Outcome, Refusal, Store, Watch};
use crate::command::PreparedCommand;
use crate::model::{Index, PreparedQuery, folded};
use imbl::{OrdMap, OrdSet};
use std::sync::Arc;
use uuid::Uuid;

/// Prepared queries by id, by folded name, and by session.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Prepared {
    rows: OrdMap<Uuid, Arc<PreparedQuery>>,
    /// Those with a name, and the one template without.
    by_name: OrdMap<Arc<str>, Uuid>,
    by_session: OrdSet<(Uuid, Uuid)>,
    /// Last time one came, went or changed.
    pub(crate) index: Index,
}

/// The name it is found by, if it is found by name at all.
fn key(query: &PreparedQuery) -> Option<Arc<str>> {
    let known = !query.name.is_empty() || query.is_template();
    known.then(|| Arc::from(&*folded(&query.name)))
}

impl Prepared {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn get(&self, id: Uuid) -> Option<&Arc<PreparedQuery>> {
        self.rows.get(&id)
    }

    pub(crate) fn rows(&self) -> &OrdMap<Uuid, Arc<PreparedQuery>> {
        &self.rows
    }

    fn named(&self, key: &str) -> Option<&Arc<PreparedQuery>> {
        self.by_name.get(key).and_then(|id| self.rows.get(id))
    }

    /// What `name` means: the query of this id, unless it is a template; else the one of this name; else the template whose
    /// name is the longest that `name` begins with.
    pub(crate) fn resolve(&self, name: &str) -> Option<&Arc<PreparedQuery>> {
        if let Some(query) = hyphenated(name).and_then(|id| self.rows.get(&id)) {
            return Some(query).filter(|query| !query.is_template());
        }
        if name.is_empty() || name.len() > PreparedQuery::NAME_MAX {
            return None;
        }
        let name = folded(name);
        let template = |end: usize| name.get(..end).and_then(|prefix| self.named(prefix)).filter(|q| q.is_template());
        self.named(&name).or_else(|| (0..name.len()).rev().find_map(template))
    }

    /// Puts a query in place of whatever had its id.
    pub(crate) fn insert(&mut self, query: Arc<PreparedQuery>) {
        let id = query.id;
        self.remove(id);
        self.by_name.extend(key(&query).map(|name| (name, id)));
        self.by_session.extend(query.session.map(|session| (session, id)));
        self.rows.insert(id, query);
    }

    fn remove(&mut self, id: Uuid) -> Option<Arc<PreparedQuery>> {
        let query = self.rows.remove(&id)?;
        if let Some(name) = key(&query) {
            self.by_name.remove(&name);
        }
        if let Some(session) = query.session {
            self.by_session.remove(&(session, id));
        }
        Some(query)
    }

    fn of_session(&self, session: Uuid) -> Vec<Uuid> {
        let range = self.by_session.range((session, Uuid::nil())..);
        range.take_while(|(of, _)| *of == session).map(|(_, id)| *id).collect()
    }
}

/// An id in the one form that Consul reads.
fn hyphenated(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|_| text.len() == uuid::fmt::Hyphenated::LENGTH)
}

impl Store {
    pub(super) fn apply_prepared(&mut self, command: &PreparedCommand, change: &mut Change) -> Outcome {
        match command {
            PreparedCommand::Create(query) => {
                if self.prepared.get(query.id).is_some() {
                    return Outcome::Refused(Refusal::QueryTaken { id: query.id });
                }
                match self.put_prepared(query, change) {
                    Ok(()) => Outcome::Made(query.id),
                    Err(refusal) => Outcome::Refused(refusal),
                }
            }
            PreparedCommand::Update(query) => match self.prepared.get(query.id) {
                Some(_) => self.put_prepared(query, change).into(),
                None => Outcome::Refused(Refusal::MissingQuery { id: query.id }),
            },
            PreparedCommand::Delete(id) => match self.prepared.remove(*id) {
                Some(_) => {
                    self.prepared_changed(change);
                    Outcome::Done
                }
                None => Outcome::Refused(Refusal::MissingQuery { id: *id }),
            },
        }
    }

    /// A write that would leave the query equal is skipped.
    fn put_prepared(&mut self, query: &PreparedQuery, change: &mut Change) -> Result<(), Refusal> {
        let other = key(query).and_then(|name| self.prepared.named(&name)).filter(|other| other.id != query.id);
        if other.is_some() {
            return Err(Refusal::QueryNameTaken { name: query.name.clone() });
        }
        // Queries are found by id or by name, and nobody shall catch another's look-ups.
        if hyphenated(&query.name).is_some_and(|id| self.prepared.get(id).is_some()) {
            return Err(Refusal::QueryNameIsId { name: query.name.clone() });
        }
        if let Some(id) = query.session.filter(|id| self.sessions.get(*id).is_none()) {
            return Err(Refusal::MissingSession { id });
        }
        let old = self.prepared.get(query.id);
        let mut row = PreparedQuery {
            create_index: old.map_or(change.index, |old| old.create_index),
            modify_index: old.map_or(change.index, |old| old.modify_index),
            ..query.clone()
        };
        if old.is_some_and(|old| **old == row) {
            return Ok(());
        }
        row.modify_index = change.index;
        self.prepared.insert(Arc::new(row));
        self.prepared_changed(change);
        Ok(())
    }

    /// The queries of a session, which ended.
    pub(super) fn end_prepared_of(&mut self, session: Uuid, change: &mut Change) {
        for id in self.prepared.of_session(session) {
            self.prepared.remove(id);
            self.prepared_changed(change);
        }
    }

    fn prepared_changed(&mut self, change: &mut Change) {
        self.prepared.index = change.index;
        change.touch(Watch::Prepared);
    }
}
