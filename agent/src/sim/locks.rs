//! Clients that lock keys in a storm: sessions of all kinds, locks taken and given back, and writes under the sequencers of
//! holders old and new.

use super::client::call;
use super::history::{Deed, Kind};
use super::storm::Storm;
use super::world::World;
use crate::http::call::Method;
use uuid::Uuid;

/// Few enough that sessions meet.
const KEYS: u64 = 3;
/// How far back clients remember what they were given.
const REMEMBERED: usize = 400;

/// The keys that are locked.
pub(super) fn keys() -> impl Iterator<Item = String> {
    (0..KEYS).map(|number| format!("lock-{number}"))
}

impl World {
    /// Makes a session with this body.
    pub fn open(&mut self, node: usize, body: &str) -> usize {
        self.operate(node, Kind::Open, call(Method::Put, "/v1/session/create", body))
    }

    pub fn renew(&mut self, node: usize, session: Uuid) -> usize {
        let call = call(Method::Put, &format!("/v1/session/renew/{session}"), "");
        self.operate(node, Kind::Renew { session }, call)
    }

    pub fn close(&mut self, node: usize, session: Uuid) -> usize {
        let call = call(Method::Put, &format!("/v1/session/destroy/{session}"), "");
        self.operate(node, Kind::Close { session }, call)
    }

    pub fn lock(&mut self, node: usize, key: &str, value: &str, session: Uuid) -> usize {
        let kind = Kind::Lock { key: key.to_owned(), value: value.to_owned(), session };
        self.operate(node, kind, call(Method::Put, &format!("/v1/kv/{key}?acquire={session}"), value))
    }

    pub fn unlock(&mut self, node: usize, key: &str, value: &str, session: Uuid) -> usize {
        let kind = Kind::Unlock { key: key.to_owned(), value: value.to_owned(), session };
        self.operate(node, kind, call(Method::Put, &format!("/v1/kv/{key}?release={session}"), value))
    }

    pub fn sequencer(&mut self, node: usize, key: &str) -> usize {
        let kind = Kind::Sequencer { key: key.to_owned() };
        self.operate(node, kind, call(Method::Get, &format!("/v1/lock/sequencer/{key}"), ""))
    }

    pub fn put_fenced(&mut self, node: usize, key: &str, value: &str, sequencer: &str) -> usize {
        let kind = Kind::Fenced { key: key.to_owned(), value: value.to_owned(), sequencer: sequencer.to_owned() };
        self.operate(node, kind, call(Method::Put, &format!("/v1/kv/{key}?sequencer={sequencer}"), value))
    }
}

impl Storm {
    /// A client does something about a lock, at any node.
    pub(super) fn work_on_locks(&mut self) -> usize {
        let node = self.choose(self.world.nodes.len());
        let key = format!("lock-{}", self.lockers.below(KEYS));
        let value = format!("v{}", self.world.history.len());
        let sessions = self.given(|kind| *kind == Kind::Open);
        let session = sessions.get(self.choose(sessions.len().min(6))).and_then(|id| id.parse().ok());
        let Some(session) = session else { return self.open_session(node) };
        match self.lockers.below(16) {
            0 => self.open_session(node),
            1..7 => self.world.lock(node, &key, &value, session),
            7..9 => self.world.unlock(node, &key, &value, session),
            9..11 => self.world.renew(node, session),
            11 => self.world.close(node, session),
            12..14 => self.world.sequencer(node, &key),
            _ => {
                let sequencers = self.given(|kind| matches!(kind, Kind::Sequencer { .. }));
                match sequencers.get(self.choose(sequencers.len().min(4))).cloned() {
                    Some(sequencer) => self.world.put_fenced(node, "guarded", &value, &sequencer),
                    None => self.world.sequencer(node, &key),
                }
            }
        }
    }

    /// Half of them end when their node is found dead.
    fn open_session(&mut self, node: usize) -> usize {
        let checks = ["", r#","NodeChecks":[]"#][self.choose(2)];
        let behavior = ["release", "delete"][self.choose(2)];
        let delay = ["0s", "1s", "5s"][self.choose(3)];
        let ttl = ["10s", "10s", "15s", ""][self.choose(4)];
        let body = format!(r#"{{"TTL":"{ttl}","LockDelay":"{delay}","Behavior":"{behavior}"{checks}}}"#);
        self.world.open(node, &body)
    }

    fn choose(&mut self, bound: usize) -> usize {
        usize::try_from(self.lockers.below(bound as u64)).unwrap_or(0)
    }

    /// What was given lately, the latest first.
    fn given(&self, asked: impl Fn(&Kind) -> bool) -> Vec<String> {
        let lately = self.world.history.iter().rev().take(REMEMBERED);
        let given = lately.filter(|op| asked(&op.kind)).filter_map(|op| match &op.ended {
            Some((_, Deed::Given(text))) => Some(text.clone()),
            _ => None,
        });
        given.collect()
    }
}
