//! The way into the agent's one thread: lanes in order of urgency, each bounded, and one place to wait.
//!
//! Gossip and Raft come first, then the disk, then probes, then calls (DESIGN §2). A turn takes everything that is urgent
//! and a bounded number of calls, so that a flood of calls never delays a heartbeat by more than one turn.

use crate::event::Event;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Peers = 0,
    Disk = 1,
    Probes = 2,
    Calls = 3,
}

/// Events that one lane holds at most. A full lane of peers drops, as a network would; a full lane of calls refuses.
const LANE_MAX: [usize; 4] = [16_384, 65_536, 16_384, 16_384];
/// Calls taken in one turn at most.
const CALLS_A_TURN: usize = 512;

/// The lane is full; the event was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

#[derive(Debug, Default)]
struct Lanes {
    queues: [VecDeque<Event>; 4],
    closed: bool,
}

/// Many writers, one reader.
#[derive(Debug, Default)]
pub struct Mailbox {
    lanes: Mutex<Lanes>,
    news: Condvar,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Lanes> {
        // A panic while holding this lock cannot leave a queue half changed.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    /// [`Full`].
    pub fn push(&self, lane: Lane, event: Event) -> Result<(), Full> {
        let mut lanes = self.lock();
        let queue = &mut lanes.queues[lane as usize];
        if queue.len() >= LANE_MAX[lane as usize] {
            return Err(Full);
        }
        queue.push_back(event);
        drop(lanes);
        self.news.notify_one();
        Ok(())
    }

    /// Waits for events, at most `patience`, and moves one turn's worth into `turn`. `false` once closed.
    pub fn take(&self, patience: Duration, turn: &mut Vec<Event>) -> bool {
        let idle = |lanes: &mut Lanes| !lanes.closed && lanes.queues.iter().all(VecDeque::is_empty);
        let (mut lanes, _) =
            self.news.wait_timeout_while(self.lock(), patience, idle).unwrap_or_else(PoisonError::into_inner);
        let [urgent @ .., calls] = &mut lanes.queues;
        for queue in urgent {
            turn.extend(queue.drain(..));
        }
        let count = calls.len().min(CALLS_A_TURN);
        turn.extend(calls.drain(..count));
        !lanes.closed
    }

    /// The reader stops after his next turn.
    pub fn close(&self) {
        self.lock().closed = true;
        self.news.notify_all();
    }
}
