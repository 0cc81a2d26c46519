//! The way into the agent's one thread: lanes in order of urgency, each bounded, and one place to wait.
//!
//! Letters of the log come first, then gossip, the disk, probes, and calls. A turn takes a ration of packets and of calls
//! and all else that waits, so that a flood of either never delays a heartbeat by more than one turn, nor crowds it out.

use crate::event::Event;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// What servers write to each other.
    Letters = 0,
    Gossip = 1,
    Disk = 2,
    Probes = 3,
    Calls = 4,
}

/// How many lanes there are.
pub const LANES: usize = 5;
/// Events that one lane holds at most. Full lanes of letters and gossip drop, as a network would; one of calls refuses.
const LANE_MAX: [usize; LANES] = [16_384, 16_384, 65_536, 16_384, 16_384];
/// Events of each lane taken in one turn at most.
const A_TURN: [usize; LANES] = [usize::MAX, 1024, usize::MAX, usize::MAX, 512];

/// The lane is full; the event was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

#[derive(Debug, Default)]
struct Lanes {
    queues: [VecDeque<Event>; LANES],
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
        for (queue, ration) in lanes.queues.iter_mut().zip(A_TURN) {
            let count = queue.len().min(ration);
            turn.extend(queue.drain(..count));
        }
        !lanes.closed
    }

    /// The reader stops after his next turn.
    pub fn close(&self) {
        self.lock().closed = true;
        self.news.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(ticket: u64) -> Event {
        Event::ReadIndex { ticket }
    }

    fn tickets(turn: &mut Vec<Event>) -> Vec<u64> {
        turn.drain(..).map(|event| if let Event::ReadIndex { ticket } = event { ticket } else { 0 }).collect()
    }

    #[test]
    fn lanes_go_in_order_and_calls_are_rationed() {
        let mailbox = Mailbox::default();
        let mut turn = Vec::new();
        assert!(mailbox.take(Duration::ZERO, &mut turn) && turn.is_empty());
        for ticket in 0..600 {
            mailbox.push(Lane::Calls, event(1000 + ticket)).expect("there is room");
        }
        for (lane, ticket) in [(Lane::Probes, 3), (Lane::Disk, 2), (Lane::Letters, 1)] {
            mailbox.push(lane, event(ticket)).expect("there is room");
        }
        mailbox.take(Duration::ZERO, &mut turn);
        let first = tickets(&mut turn);
        assert_eq!(first[..4], [1, 2, 3, 1000]);
        assert_eq!(first.len(), 3 + A_TURN[Lane::Calls as usize]);
        mailbox.push(Lane::Letters, event(4)).expect("there is room");
        mailbox.take(Duration::ZERO, &mut turn);
        assert_eq!(
            tickets(&mut turn)[..2],
            [4, 1000 + A_TURN[Lane::Calls as usize] as u64],
            "a flood of calls delays no peer"
        );
    }

    #[test]
    fn a_full_lane_refuses_and_a_closed_box_says_so() {
        let mailbox = Mailbox::default();
        for ticket in 0..LANE_MAX[Lane::Calls as usize] as u64 {
            mailbox.push(Lane::Calls, event(ticket)).expect("there is room");
        }
        assert_eq!(mailbox.push(Lane::Calls, event(0)), Err(Full));
        assert_eq!(mailbox.push(Lane::Letters, event(0)), Ok(()), "the others are not full");
        mailbox.close();
        assert!(!mailbox.take(Duration::from_secs(9), &mut Vec::new()));
    }
}
