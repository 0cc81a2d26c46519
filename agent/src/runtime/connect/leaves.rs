//! The certificates of services that clients have asked this agent for. Their private keys were drawn here and leave only
//! with the certificate, to who asked.
//!
//! A certificate is kept until two thirds of its time have passed, or until the cluster has another root. Whoever waits
//! for the next one waits on the roots, as any client would, and wakes for the renewal.

use super::authority;
use crate::http::answer;
use crate::http::call::{Call, LeafRead, Method, Reply};
use crate::http::params::Params;
use crate::http::wire::{self, Leaf};
use crate::runtime::clock;
use crate::runtime::dispatch::Dispatcher;
use crate::time::{Instant, format_duration};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lictor_catalog::Index;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Services that one agent keeps certificates of.
const LEAVES_MAX: usize = 1024;
/// The pause after a read of the roots that failed.
const PAUSE: Duration = Duration::from_secs(1);

const ROOTS: &str = "/v1/connect/ca/roots";

/// A certificate with its key.
#[derive(Debug)]
struct Kept {
    leaf: Leaf,
    /// Of the roots when it was signed.
    roots: u64,
    made: Instant,
    renew_at: Instant,
}

/// All certificates that an agent keeps.
#[derive(Debug, Default)]
pub struct Leaves(Mutex<HashMap<String, Arc<Kept>>>);

impl Leaves {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Kept>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that need not be replaced yet.
    fn good(&self, service: &str, now: Instant) -> Option<Arc<Kept>> {
        self.lock().get(service).filter(|kept| now < kept.renew_at).cloned()
    }

    /// Keeps a new one, whose index is above that of the one before. Of two that were asked for at once the first stays.
    fn keep(&self, mut new: Kept) -> Arc<Kept> {
        let mut leaves = self.lock();
        let name = new.leaf.service.clone();
        if let Some(old) = leaves.get(&name) {
            if old.roots == new.roots && new.made < old.renew_at {
                return Arc::clone(old);
            }
            let index = new.leaf.modify_index.max(old.leaf.modify_index + 1);
            (new.leaf.create_index, new.leaf.modify_index) = (index, index);
        } else if leaves.len() >= LEAVES_MAX {
            let oldest = leaves.iter().min_by_key(|(_, kept)| kept.made).map(|(name, _)| name.clone());
            oldest.map(|name| leaves.remove(&name));
        }
        let kept = Arc::new(new);
        leaves.insert(name, Arc::clone(&kept));
        kept
    }

    /// Answers with a service's certificate, once its index is above what the asker has seen, or his time is over.
    pub async fn read(&self, dispatcher: &Dispatcher, read: &LeafRead) -> Reply {
        let min_index = read.blocking.map_or(0, |blocking| blocking.min_index.0);
        let until = clock::now() + read.blocking.map_or(Duration::ZERO, |blocking| blocking.wait);
        let mut hit = true;
        let mut kept = self.good(&read.service, clock::now());
        loop {
            let current = match kept {
                Some(kept) => kept,
                None => {
                    hit = false;
                    match self.renew(dispatcher, &read.service).await {
                        Ok(kept) => kept,
                        Err(refused) => return refused,
                    }
                }
            };
            let now = clock::now();
            if current.leaf.modify_index > min_index || now >= until {
                return answered(&current, hit, now, read.pretty);
            }
            let patience = current.renew_at.min(until).since(now);
            let other_roots = roots(dispatcher, Some((current.roots, patience)));
            kept = match tokio::time::timeout(patience, other_roots).await {
                Ok(Ok(index)) if index != current.roots => None,
                Ok(Err(_)) => {
                    tokio::time::sleep(PAUSE.min(patience)).await;
                    self.good(&read.service, clock::now())
                }
                Ok(Ok(_)) | Err(_) => self.good(&read.service, clock::now()),
            };
        }
    }

    /// Draws a key and has the leader sign for it.
    async fn renew(&self, dispatcher: &Dispatcher, service: &str) -> Result<Arc<Kept>, Reply> {
        let roots = roots(dispatcher, None).await?;
        let (public, private) = authority::draw().map_err(|error| Reply::text(500, error.to_string()))?;
        let body = serde_json::json!({"Service": service, "PublicKey": STANDARD.encode(public)});
        let mut call = Call::new(Method::Put, "/v1/internal/connect/sign", Params::default());
        call.body = body.to_string().into();
        let signed = dispatcher.serve(call).await;
        if signed.status != 200 {
            return Err(signed);
        }
        let mut leaf: Leaf = serde_json::from_slice(&signed.body)
            .map_err(|error| Reply::text(500, format!("the leader's answer is no certificate: {error}")))?;
        leaf.private_key_pem = private;
        let life = life(&signed).ok_or_else(|| Reply::text(500, "the leader does not say how long it is valid"))?;
        let (made, renewed_after) = (clock::now(), life / 3 * 2);
        // Up to an eighth of that sooner, so that agents that started together do not come together.
        let renew_at = made + renewed_after - dispatcher.dice().span(renewed_after / 8);
        Ok(self.keep(Kept { leaf, roots, made, renew_at }))
    }
}

/// The index of the roots; given one, as soon as it is another, or after so long.
async fn roots(dispatcher: &Dispatcher, seen: Option<(u64, Duration)>) -> Result<u64, Reply> {
    let mut call = Call::new(Method::Get, ROOTS, Params::default());
    if let Some((index, wait)) = seen {
        call.params.push("index", index.to_string());
        call.params.push("wait", format_duration(wait));
    }
    let reply = dispatcher.serve(call).await;
    let index = reply.headers.iter().find(|(name, _)| name == "x-consul-index");
    match index.and_then(|(_, index)| index.parse().ok()) {
        Some(index) if reply.status == 200 => Ok(index),
        _ => Err(reply),
    }
}

/// For how long what was signed is valid.
fn life(signed: &Reply) -> Option<Duration> {
    let (_, value) = signed.headers.iter().find(|(name, _)| name == "cache-control")?;
    value.strip_prefix("max-age=")?.parse().ok().map(Duration::from_secs)
}

fn answered(kept: &Kept, hit: bool, now: Instant, pretty: bool) -> Reply {
    // It is the word of the leader, however long ago he gave it: what he knew then is all that there is to know.
    let reply =
        answer::read_headers(Reply::json(wire::shown(&kept.leaf, pretty)), Index(kept.leaf.modify_index), true, 0);
    let reply = reply.with("x-cache", if hit { "HIT" } else { "MISS" });
    if hit { reply.with("age", now.since(kept.made).as_secs().to_string()) } else { reply }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(service: &str, roots: u64, made: u64) -> Kept {
        let leaf = Leaf { service: service.to_owned(), create_index: 5, modify_index: 5, ..Leaf::default() };
        Kept { leaf, roots, made: Instant(made), renew_at: Instant(made + 100) }
    }

    #[test]
    fn a_certificate_is_replaced_when_it_is_due_or_the_root_is_another() {
        let leaves = Leaves::default();
        let shown = |kept: &Kept| (kept.made.0, kept.leaf.modify_index);
        assert!(leaves.good("web", Instant(0)).is_none());
        assert_eq!(shown(&leaves.keep(kept("web", 3, 0))), (0, 5));
        assert_eq!(shown(&leaves.keep(kept("web", 3, 1))), (0, 5), "asked for at the same time");
        assert!(leaves.good("web", Instant(99)).is_some());
        assert!(leaves.good("web", Instant(100)).is_none(), "due");
        assert_eq!(shown(&leaves.keep(kept("web", 3, 100))), (100, 6), "waiters see a higher index");
        assert_eq!(shown(&leaves.keep(kept("web", 4, 101))), (101, 7), "another root");
    }

    #[test]
    fn only_so_many_are_kept() {
        let leaves = Leaves::default();
        for made in 0..=LEAVES_MAX as u64 {
            leaves.keep(kept(&made.to_string(), 1, made));
        }
        assert_eq!(leaves.lock().len(), LEAVES_MAX);
        assert!(leaves.good("0", Instant(1)).is_none(), "the oldest is gone");
    }
}
