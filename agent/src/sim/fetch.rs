//! How anti-entropy gets the catalog's rows of its node: `runtime/dns.rs` and the retries of `runtime/world.rs`.

use super::rpc::{Behalf, Failure, Request, Response};
use super::walk::servers;
use super::world::{Happening, MS, World};
use crate::event::Event;
use crate::local::SyncTicket;
use lictor_catalog::Store;
use lictor_catalog::store::{Restore, Scope};
use std::net::SocketAddr;

/// As `runtime/world.rs`.
const PAUSES_MS: [u64; 6] = [50, 100, 200, 400, 800, 1600];
/// As `runtime/dns.rs`.
const PATIENCE: u64 = 900 * MS;
const TRIES: usize = 3;

/// A fetch under way.
pub(super) struct Fetch {
    ticket: SyncTicket,
    scope: Scope,
    /// Servers still to be asked in this round.
    servers: Vec<SocketAddr>,
    round: usize,
}

impl World {
    pub(super) fn fetch(&mut self, node: usize, ticket: SyncTicket) {
        let Some(process) = self.running(node) else { return };
        let number = process.number();
        let scope = Scope::Node(process.facts.node_name.to_string());
        process.fetches.insert(number, Fetch { ticket, scope, servers: Vec::new(), round: 0 });
        self.fetch_on(node, number);
    }

    /// A round of tries begins.
    pub(super) fn fetch_on(&mut self, node: usize, number: u64) {
        let Some(process) = self.running(node) else { return };
        let mut servers = servers(process);
        servers.truncate(TRIES);
        if process.facts.server {
            let view = &process.view;
            let rows = view.caught_up.then(|| view.store.clone());
            return self.fetched(node, number, rows);
        }
        let Some(fetch) = process.fetches.get_mut(&number) else { return };
        fetch.servers = servers;
        self.ask_for_part(node, number);
    }

    fn ask_for_part(&mut self, node: usize, number: u64) {
        let Some(process) = self.running(node) else { return };
        let Some(fetch) = process.fetches.get_mut(&number) else { return };
        if fetch.servers.is_empty() {
            let kept = process.kept.get(&fetch.scope).cloned();
            return self.fetched(node, number, kept);
        }
        let (to, scope) = (fetch.servers.remove(0), fetch.scope.clone());
        self.ask(node, to, Request::Part(scope), Behalf::Fetch(number), PATIENCE);
    }

    pub(super) fn part_came(&mut self, node: usize, number: u64, answer: Result<Response, Failure>) {
        let part = match answer {
            Ok(Response::Part(bytes)) => decoded(&bytes),
            _ => None,
        };
        let Some(part) = part else { return self.ask_for_part(node, number) };
        let Some(process) = self.running(node) else { return };
        if let Some(fetch) = process.fetches.get(&number) {
            process.kept.insert(fetch.scope.clone(), part.clone());
        }
        self.fetched(node, number, Some(part));
    }

    fn fetched(&mut self, node: usize, number: u64, rows: Option<Store>) {
        let Some(process) = self.running(node) else { return };
        let Some(fetch) = process.fetches.get_mut(&number) else { return };
        if rows.is_none()
            && let Some(pause) = PAUSES_MS.get(fetch.round)
        {
            fetch.round += 1;
            return self.at(self.now + pause * MS, node, Happening::Fetch { number });
        }
        let ticket = fetch.ticket;
        process.fetches.remove(&number);
        self.tell(node, Event::Fetched { ticket, rows });
    }
}

fn decoded(bytes: &[u8]) -> Option<Store> {
    let mut restore = Restore::new();
    restore.feed(bytes).ok()?;
    restore.finish().ok()
}
