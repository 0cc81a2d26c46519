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
use std::sync::{Arc, Mutex, PoisonError};
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
    kept: Mutex<HashMap<Scope, Store>>,
}

impl Parts {
    #[must_use]
    pub fn new(handle: Arc<Handle>, client: Arc<Client>, dice: Dice) -> Self {
        Self { handle, client, dice: Mutex::new(dice), kept: Mutex::default() }
    }

    fn keep(&self, scope: Scope, part: &Store) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.contains_key(&scope);
        // Names that were never there must not crowd out those that are.
        let empty = part.nodes().next().is_none() && part.services().next().is_none();
        if known || (kept.len() < KEPT_MAX && !empty) {
            kept.insert(scope, part.clone());
        }
    }

    /// The rows that this scope needs.
    ///
    /// # Errors
    /// [`Unavailable`] when no server answers and none ever did for this scope.
    pub async fn fetch(&self, scope: Scope) -> Result<Store, Unavailable> {
        if let Some(part) = self.ask(&scope).await {
            self.keep(scope, &part);
            return Ok(part);
        }
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&scope).cloned().ok_or(Unavailable)
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
