//! The cluster's own certificate authority: one root, made by the leader when there is none and kept in the catalog, and
//! certificates for services, whose private keys never leave the agent that was asked for them.
//!
//! A root is made once: it is never rotated, and nobody else's can be put in its place.

pub mod authority;
pub mod leaves;

use super::clock;
use super::dispatch::Dispatcher;
use crate::effect::Pushed;
use lictor_catalog::Command;
use lictor_catalog::model::Signing;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How often a leader looks whether there still is a root: a restored snapshot may have none.
const LOOK: Duration = Duration::from_secs(10);
/// The pause after one that could not be made known.
const PAUSE: Duration = Duration::from_millis(200);

/// What a root is made of.
#[derive(Clone, Debug)]
pub struct Founding {
    /// `None`: a random one.
    pub trust_domain: Option<Uuid>,
    pub signing: Signing,
}

/// Sees to it, while this server leads, that there is a root. For ever.
pub async fn keep(dispatcher: Arc<Dispatcher>, founding: Founding) {
    let mut leadership = dispatcher.handle.leadership.subscribe();
    loop {
        leadership.borrow_and_update();
        let view = dispatcher.handle.view.load_full();
        let missing = view.leading && view.store.authority().is_none();
        let pause = if missing && !found(&dispatcher, &founding).await { PAUSE } else { LOOK };
        let _ = tokio::time::timeout(pause, leadership.changed()).await;
    }
}

/// Makes a root known; if another was faster, that one stays.
async fn found(dispatcher: &Dispatcher, founding: &Founding) -> bool {
    let trust_domain = founding.trust_domain.unwrap_or_else(|| dispatcher.dice().uuid());
    match authority::found(trust_domain, founding.signing.clone(), clock::unix_ms() / 1000) {
        Ok(authority) => matches!(dispatcher.submit(Command::Authority(Box::new(authority))).await, Pushed::Applied(_)),
        Err(error) => {
            tracing::error!("no root certificate can be made: {error}");
            false
        }
    }
}
