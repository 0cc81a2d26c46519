//! Blocking queries as values. This page is their whole contract.
//!
//! A waiting read is a [`Waiter`]: a subject, the index its client has seen, and a deadline. It is answered when its
//! query's index is above that index, or at the deadline with whatever the answer is then. Who waits is kept by what he
//! waits for ([`Watch`]); a published batch looks only at the waiters of what it touched. Equal (query, encoding) is one
//! *group*: evaluated once and encoded (and compressed) once for each batch that touches it, and all its members get the same bytes.
//!
//! No wake-up is lost: registration compares with the hub's own latest view *after* the waiter is filed, and a view
//! reaches the hub before its batch is answered to anybody. No early answer is given either: a touched group whose index
//! is still at or below a member's lets that member sleep on, and so does one whose index rose while what it shows, after all
//! options and filters, stayed the same to the byte. A replaced store (snapshot installed) wakes everybody.
//!
//! What the agent knows by itself is waited for likewise: the user events that it has heard, and its own services. Only
//! their index does not rise. It names the last event, or is the service's content hash, so whoever has seen any other one
//! is answered; and what is gone is news to all.
//!
//! What the hub never does: it knows no socket, no clock and no thread. One thread owns it in production
//! (`runtime/hub.rs`); the simulator owns it directly.

use crate::gossip::UserEvent;
use crate::http::call::{Blocking, Encoding, Read, Subject};
use crate::http::wire::{self, Encoded};
use crate::time::Instant;
use crate::view::{LocalView, View};
use lictor_catalog::{AllowAll, Index, Query, Rows, Service, Touched, Watch};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// The most reads that may wait at one agent; the next one is refused.
pub const WAITERS_MAX: usize = 100_000;

/// By which the asker recognises his answer.
pub type WaitId = u64;

/// A read that waits.
#[derive(Clone, Debug)]
pub struct Waiter {
    pub id: WaitId,
    pub subject: Subject,
    pub encoding: Encoding,
    pub min_index: Index,
    pub deadline: Instant,
}

impl Waiter {
    /// `None` when the read does not block.
    #[must_use]
    pub fn of(read: &Read, id: WaitId, now: Instant) -> Option<Self> {
        let Blocking { min_index, wait } = read.blocking?;
        let (subject, encoding) = (read.subject.clone(), read.encoding.clone());
        Some(Self { id, subject, encoding, min_index, deadline: now + wait })
    }
}

/// What a read found: one evaluation, one encoding, shared by all who asked the same.
#[derive(Clone, Debug)]
pub struct Found {
    pub index: Index,
    pub encoded: Encoded,
    /// The view it was found in.
    pub view: Arc<View>,
}

/// What a subject shows, before it is encoded.
enum Shown<'a> {
    Rows(&'a Query, Rows),
    Events(Vec<&'a UserEvent>),
    /// With its content hash.
    Service(&'a str, Option<(&'a Service, u64)>),
}

impl<'a> Shown<'a> {
    /// Evaluates a subject.
    fn look(view: &View, local: &'a LocalView, subject: &'a Subject, near: Option<&str>) -> (Index, Self) {
        match subject {
            Subject::Catalog(query) => {
                let (index, mut rows) = query.run(&view.store, &AllowAll);
                if let Some(near) = near {
                    rows.sort_by_nearness(&view.store, near);
                }
                (index, Self::Rows(query, rows))
            }
            Subject::Events { name } => {
                let named = local.events.iter().filter(|event| name.is_empty() || event.announcement.name == *name);
                let shown: Vec<&UserEvent> = named.map(|event| &**event).collect();
                (Index(shown.last().map_or(1, |last| last.index())), Self::Events(shown))
            }
            Subject::Service { id } => {
                let service = local.services.get(id.as_str()).map(|service| (&**service, wire::content_hash(service)));
                (Index(service.map_or(0, |(_, hash)| hash)), Self::Service(id, service))
            }
        }
    }

    fn encode(&self, encoding: &Encoding, datacenter: &str) -> Encoded {
        match self {
            Self::Rows(query, rows) => wire::encode(query, rows, encoding, datacenter),
            Self::Events(events) => wire::events(events, encoding),
            Self::Service(id, service) => wire::own_service(id, *service, encoding, datacenter),
        }
    }
}

/// Whether an answer at `index` is new to who has seen the one at `seen`.
const fn is_news(rises: bool, index: Index, seen: Index) -> bool {
    if rises { index.0 > seen.0 } else { index.0 != seen.0 }
}

/// Evaluates and encodes a read at once.
#[must_use]
pub fn find(view: &Arc<View>, local: &LocalView, subject: &Subject, encoding: &Encoding, datacenter: &str) -> Found {
    let (index, shown) = Shown::look(view, local, subject, encoding.near.as_deref());
    Found { index, encoded: shown.encode(encoding, datacenter), view: Arc::clone(view) }
}

/// Whether a newer view of what the agent knows by itself has anything that is waited for.
#[must_use]
pub fn is_news_of_own(old: &LocalView, new: &LocalView) -> bool {
    !Arc::ptr_eq(&old.events, &new.events) || !Arc::ptr_eq(&old.services, &new.services)
}

/// There are too many waiting reads already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{WAITERS_MAX} reads are waiting at this agent already; try again later or wait at another agent")]
pub struct Full;

type Key = (Subject, Encoding);

#[derive(Debug, Default)]
struct Group {
    /// By the index each member has seen: those at the front wake first.
    members: BTreeSet<(Index, WaitId)>,
    /// Since when the answer is what it is, as far as is known. It holds until a batch touches what is watched.
    changed: Option<Index>,
    /// Of the last answer, where an index may rise without it.
    print: Option<u64>,
}

/// How often the hub worked; the difference is what sharing saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub evaluations: u64,
    pub encodes: u64,
    pub answers: u64,
}

/// All waiting reads of one agent.
#[derive(Debug)]
pub struct Hub {
    datacenter: String,
    view: Arc<View>,
    local: Arc<LocalView>,
    groups: HashMap<Key, Group>,
    by_watch: BTreeMap<Watch, BTreeSet<u64>>,
    /// Those that wait for what the agent knows by itself.
    by_own: BTreeSet<u64>,
    /// Groups are named by number in `by_watch`; a number is never used twice.
    names: HashMap<Key, u64>,
    keys: BTreeMap<u64, Key>,
    waiters: HashMap<WaitId, (u64, Index, Instant)>,
    deadlines: BTreeSet<(Instant, WaitId)>,
    next_name: u64,
    /// Of fingerprints: keyed by chance, so that nobody can write two answers that have the same.
    hasher: RandomState,
    pub counters: Counters,
}

impl Hub {
    #[must_use]
    pub fn new(datacenter: String, view: Arc<View>) -> Self {
        Self {
            datacenter,
            view,
            local: Arc::default(),
            groups: HashMap::new(),
            by_watch: BTreeMap::new(),
            by_own: BTreeSet::new(),
            names: HashMap::new(),
            keys: BTreeMap::new(),
            waiters: HashMap::new(),
            deadlines: BTreeSet::new(),
            next_name: 0,
            hasher: RandomState::new(),
            counters: Counters::default(),
        }
    }

    /// Files a waiting read, or answers it at once when the hub's view is already past its index.
    ///
    /// # Errors
    /// [`Full`]; nothing was filed.
    pub fn wait(&mut self, waiter: Waiter, answers: &mut Vec<(WaitId, Found)>) -> Result<(), Full> {
        if self.waiters.len() >= WAITERS_MAX {
            return Err(Full);
        }
        let key = (waiter.subject, waiter.encoding);
        let name = match self.names.get(&key) {
            Some(&name) => name,
            None => self.open(&key),
        };
        let rises = key.0.index_rises();
        let group = self.groups.entry(key).or_default();
        group.members.insert((waiter.min_index, waiter.id));
        let sleeps = group.changed.is_some_and(|changed| !is_news(rises, changed, waiter.min_index));
        self.waiters.insert(waiter.id, (name, waiter.min_index, waiter.deadline));
        self.deadlines.insert((waiter.deadline, waiter.id));
        if !sleeps {
            self.wake(name, answers);
        }
        Ok(())
    }

    /// The asker went away.
    pub fn cancel(&mut self, id: WaitId) {
        self.remove(id);
    }

    /// A newer view, and what differs. Answers whose index rose are appended.
    pub fn published(&mut self, view: Arc<View>, touched: &Touched, answers: &mut Vec<(WaitId, Found)>) {
        self.view = view;
        let woken: BTreeSet<u64> = if touched.all {
            // A restored store may stand at a lower index: whoever waits gets the new truth now.
            let of_catalog = |name: &u64| !self.by_own.contains(name);
            let waiters = self.waiters.iter().filter(|(_, (name, ..))| of_catalog(name));
            let mut all: Vec<WaitId> = waiters.map(|(id, _)| *id).collect();
            // In order of arrival: the map's own order differs from run to run.
            all.sort_unstable();
            self.answer_all(all, answers);
            BTreeSet::new()
        } else {
            touched.watches.iter().flat_map(|watch| self.watchers(watch)).collect()
        };
        for name in woken {
            self.wake(name, answers);
        }
    }

    /// What the agent knows by itself by now.
    pub fn told(&mut self, local: Arc<LocalView>, answers: &mut Vec<(WaitId, Found)>) {
        self.local = local;
        for name in self.by_own.clone() {
            self.wake(name, answers);
        }
    }

    /// Answers every waiter whose deadline has come, with the state of now.
    pub fn timer(&mut self, now: Instant, answers: &mut Vec<(WaitId, Found)>) {
        let due: Vec<WaitId> = self.deadlines.range(..=(now, WaitId::MAX)).map(|&(_, id)| id).collect();
        self.answer_all(due, answers);
    }

    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }

    fn open(&mut self, key: &Key) -> u64 {
        let name = self.next_name;
        self.next_name += 1;
        self.names.insert(key.clone(), name);
        self.keys.insert(name, key.clone());
        match &key.0 {
            Subject::Catalog(query) => {
                for watch in query.watches() {
                    self.by_watch.entry(watch).or_default().insert(name);
                }
            }
            Subject::Events { .. } | Subject::Service { .. } => drop(self.by_own.insert(name)),
        }
        name
    }

    /// The groups that a touched thing may concern. A key concerns its own waiters and those of every prefix of it, a node
    /// its own and those of all nodes.
    fn watchers(&self, watch: &Watch) -> Vec<u64> {
        let mut found: Vec<u64> = self.by_watch.get(watch).into_iter().flatten().copied().collect();
        if let Watch::Node(_) = watch {
            found.extend(self.by_watch.get(&Watch::AnyNode).into_iter().flatten());
        }
        if let Watch::Key(key) = watch {
            let prefixes = (0..=key.len()).filter(|&end| key.is_char_boundary(end)).map(|end| &key[..end]);
            for prefix in prefixes {
                found.extend(self.by_watch.get(&Watch::Prefix(prefix.into())).into_iter().flatten());
            }
        }
        found
    }

    /// Evaluates a group once and answers those of its members who have not seen what it shows now.
    fn wake(&mut self, name: u64, answers: &mut Vec<(WaitId, Found)>) {
        let Some(key) = self.keys.get(&name).cloned() else { return };
        let (index, shown) = Shown::look(&self.view, &self.local, &key.0, key.1.near.as_deref());
        self.counters.evaluations += 1;
        let Some(group) = self.groups.get_mut(&key) else { return };
        let mut encode = || {
            self.counters.encodes += 1;
            shown.encode(&key.1, &self.datacenter)
        };
        let mut encoded = None;
        let mut print = None;
        if key.1.filter.is_some() || !key.0.shows_what_it_watches() {
            let encoded = encoded.insert(encode());
            print = Some(self.hasher.hash_one((encoded.status, &encoded.body)));
        }
        if group.changed.is_none() || print.is_none() || group.print != print {
            group.changed = Some(index);
        }
        group.print = print;
        let seen = group.changed.unwrap_or(index);
        let mut passed: Vec<WaitId> = group.members.range(..(seen, 0)).map(|&(_, id)| id).collect();
        if !key.0.index_rises() {
            passed.extend(group.members.range((seen, WaitId::MAX)..).map(|&(_, id)| id));
        }
        if passed.is_empty() {
            return;
        }
        let encoded = encoded.unwrap_or_else(encode);
        let found = Found { index, encoded, view: Arc::clone(&self.view) };
        for id in passed {
            self.remove(id);
            self.counters.answers += 1;
            answers.push((id, found.clone()));
        }
    }

    /// Answers these waiters whatever their index, still encoding once a group.
    fn answer_all(&mut self, ids: Vec<WaitId>, answers: &mut Vec<(WaitId, Found)>) {
        let mut ready: BTreeMap<u64, Found> = BTreeMap::new();
        for id in ids {
            let Some(&(name, ..)) = self.waiters.get(&id) else { continue };
            let Some((subject, encoding)) = self.keys.get(&name) else { continue };
            let found = ready.entry(name).or_insert_with(|| {
                self.counters.evaluations += 1;
                self.counters.encodes += 1;
                find(&self.view, &self.local, subject, encoding, &self.datacenter)
            });
            answers.push((id, found.clone()));
            self.remove(id);
            self.counters.answers += 1;
        }
    }

    fn remove(&mut self, id: WaitId) {
        let Some((name, min_index, deadline)) = self.waiters.remove(&id) else { return };
        self.deadlines.remove(&(deadline, id));
        let Some(key) = self.keys.get(&name) else { return };
        let Some(group) = self.groups.get_mut(key) else { return };
        group.members.remove(&(min_index, id));
        if group.members.is_empty() {
            self.close(name);
        }
    }

    fn close(&mut self, name: u64) {
        let Some(key) = self.keys.remove(&name) else { return };
        self.groups.remove(&key);
        self.names.remove(&key);
        let Subject::Catalog(query) = &key.0 else {
            self.by_own.remove(&name);
            return;
        };
        for watch in query.watches() {
            if let Some(names) = self.by_watch.get_mut(&watch) {
                names.remove(&name);
                if names.is_empty() {
                    self.by_watch.remove(&watch);
                }
            }
        }
    }
}
