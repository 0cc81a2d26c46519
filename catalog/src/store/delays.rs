//! Keys that nobody can lock yet, because the session that held them ended without giving them back: its holder may still
//! believe in its lock, and have writes under way (lock-delay; Burrows, "The Chubby lock service", OSDI 2006, §2.4).

use imbl::{OrdMap, OrdSet};
use std::sync::Arc;

/// At most so many delays go at one command.
const REAPED_AT_ONCE: usize = 256;

/// Until which log time each of these keys stays free.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Delays {
    rows: OrdMap<Arc<str>, u64>,
    /// The same, the first to end first.
    by_end: OrdSet<(u64, Arc<str>)>,
}

impl Delays {
    pub(crate) fn rows(&self) -> &OrdMap<Arc<str>, u64> {
        &self.rows
    }

    /// Whether the key cannot be locked now.
    pub(crate) fn hold(&self, key: &str, now_ms: u64) -> bool {
        self.rows.get(key).is_some_and(|until_ms| now_ms < *until_ms)
    }

    pub(crate) fn insert(&mut self, key: Arc<str>, until_ms: u64) {
        if let Some(former) = self.rows.insert(Arc::clone(&key), until_ms) {
            self.by_end.remove(&(former, Arc::clone(&key)));
        }
        self.by_end.insert((until_ms, key));
    }

    /// Puts every end where it is in another log's time.
    pub(crate) fn carry_over(&mut self, time: impl Fn(u64) -> u64) {
        for (key, until_ms) in &self.rows.clone() {
            self.insert(Arc::clone(key), time(*until_ms));
        }
    }

    /// Drops what is over by log time, so every server drops the same at the same command.
    pub(crate) fn reap(&mut self, now_ms: u64) {
        for _ in 0..REAPED_AT_ONCE {
            let Some(first) = self.by_end.get_min().filter(|(until_ms, _)| *until_ms <= now_ms).cloned() else {
                return;
            };
            self.by_end.remove(&first);
            self.rows.remove(&*first.1);
        }
    }
}
