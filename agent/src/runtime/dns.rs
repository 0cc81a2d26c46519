//! Where DNS gets its rows: a server from its own view; a client agent asks a server for the part that a name needs, and
//! falls back on the last part it got when no server answers.

use crate::dice::Dice;
use crate::runtime::clock;
use crate::runtime::handle::Handle;
use crate::runtime::meter::Event;
use crate::runtime::rpc::client::Client;
use crate::time::Instant;
use crate::view::View;
use lictor_catalog::Store;
use lictor_catalog::store::Scope;
use lictor_dns::{Source, Unavailable};
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A server that has not sent a part by then is passed over.
const PATIENCE: Duration = Duration::from_millis(900);
/// Servers asked for one part.
const TRIES: usize = 3;
/// Names whose last part is kept for when all servers are gone.
const KEPT_MAX: usize = 4096;

/// The rows behind a client agent's answers.
#[derive(Debug)]
pub struct Parts {
    handle: Arc<Handle>,
    client: Arc<Client>,
    dice: Mutex<Dice>,
    kept: Mutex<Kept>,
}

/// The last parts that were got, for when all servers are gone. When it is full, the one goes that was not asked for the
/// longest.
#[derive(Debug, Default)]
struct Kept {
    /// Each with when it was last asked for.
    parts: HashMap<Scope, (Store, u64)>,
    /// Counts what is asked.
    asked: u64,
}

impl Kept {
    fn keep(&mut self, scope: Scope, part: &Store) {
        // Names that are not there must not crowd out those that are.
        if part.nodes().next().is_none() && part.services().next().is_none() {
            self.parts.remove(&scope);
            return;
        }
        if self.parts.len() >= KEPT_MAX && !self.parts.contains_key(&scope) {
            let oldest = self.parts.iter().min_by_key(|(_, (_, asked))| *asked).map(|(scope, _)| scope.clone());
            oldest.map(|scope| self.parts.remove(&scope));
        }
        self.asked += 1;
        self.parts.insert(scope, (part.clone(), self.asked));
    }

    fn last(&mut self, scope: &Scope) -> Option<Store> {
        let (part, asked) = self.parts.get_mut(scope)?;
        self.asked += 1;
        *asked = self.asked;
        Some(part.clone())
    }
}

impl Parts {
    #[must_use]
    pub fn new(handle: Arc<Handle>, client: Arc<Client>, dice: Dice) -> Self {
        Self { handle, client, dice: Mutex::new(dice), kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rows that this scope needs.
    ///
    /// # Errors
    /// [`Unavailable`] when no server answers and none ever did for this scope.
    pub async fn fetch(&self, scope: Scope) -> Result<Store, Unavailable> {
        if let Some(part) = self.ask(&scope).await {
            self.kept().keep(scope, &part);
            return Ok(part);
        }
        self.kept().last(&scope).ok_or(Unavailable)
    }

    /// Asks servers in random order.
    async fn ask(&self, scope: &Scope) -> Option<Store> {
        let local = self.handle.local.load_full();
        let mut servers = crate::server::rpc_addresses(&local.members, &self.handle.facts.datacenter);
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).shuffle(&mut servers);
        for server in servers.into_iter().take(TRIES) {
            if let Ok(part) = self.client.part(server, scope, PATIENCE).await {
                return Some(part);
            }
        }
        None
    }
}

impl Parts {
    /// The rows of this scope, from the view at hand or from a server. Never what was kept for want of a server: whoever
    /// compares himself with it would take the past for the present.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn rows(&self, scope: Scope) -> Result<Store, Unavailable> {
        match self.load(&scope)? {
            Some(held) => Ok(Store::clone(&held)),
            None => self.ask(&scope).await.ok_or(Unavailable),
        }
    }
}

/// A store for the time of one answer.
pub enum Held {
    View(arc_swap::Guard<Arc<View>>),
    Part(Box<Store>),
}

impl Deref for Held {
    type Target = Store;

    fn deref(&self) -> &Store {
        match self {
            Self::View(view) => &view.store,
            Self::Part(part) => part,
        }
    }
}

impl Source for Parts {
    type Held = Held;

    fn load(&self, _: &Scope) -> Result<Option<Held>, Unavailable> {
        if !self.handle.facts.server {
            return Ok(None);
        }
        let view = self.handle.view.load();
        if view.caught_up { Ok(Some(Held::View(view))) } else { Err(Unavailable) }
    }

    async fn fetch(&self, scope: Scope) -> Result<Held, Unavailable> {
        Self::fetch(self, scope).await.map(|part| Held::Part(Box::new(part)))
    }

    fn now_unix(&self) -> u32 {
        u32::try_from(clock::unix_ms() / 1000).unwrap_or(u32::MAX)
    }

    fn moment(&self) -> u64 {
        clock::now().0
    }

    fn answered(&self, messages: usize, since: u64) {
        if messages > 0 {
            self.handle.meter.took_each(Event::DomainQuery, messages, clock::now().since(Instant(since)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lictor_catalog::Index;
    use lictor_catalog::command::{Command, Entry, Register};

    fn scope(name: usize) -> Scope {
        Scope::Service(name.to_string())
    }

    /// A part with one node in it.
    fn part() -> Store {
        let node = lictor_catalog::Node { name: "n1".into(), ..lictor_catalog::Node::default() };
        let register = Register { node, skip_node_update: false, service: None, checks: Vec::new() };
        let mut store = Store::default();
        store.apply(Index(1), &Entry { time_ms: 0, id: 0, command: Command::Register(Box::new(register)) });
        store
    }

    #[test]
    fn the_part_that_nobody_asked_for_the_longest_makes_room() {
        let (mut kept, part) = (Kept::default(), part());
        for name in 0..KEPT_MAX {
            kept.keep(scope(name), &part);
        }
        assert!(kept.last(&scope(0)).is_some());
        kept.keep(scope(1), &part);
        for new in KEPT_MAX..KEPT_MAX + 2 {
            kept.keep(scope(new), &part);
        }
        assert_eq!(kept.parts.len(), KEPT_MAX);
        for (name, held) in [(0, true), (1, true), (2, false), (3, false), (4, true), (KEPT_MAX + 1, true)] {
            assert_eq!(kept.last(&scope(name)).is_some(), held, "{name}");
        }
    }

    #[test]
    fn what_became_empty_is_kept_no_longer() {
        let mut kept = Kept::default();
        kept.keep(scope(0), &part());
        kept.keep(scope(0), &Store::default());
        kept.keep(scope(1), &Store::default());
        assert!(kept.parts.is_empty());
    }
}
