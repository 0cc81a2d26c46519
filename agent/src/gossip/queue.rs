//! Items waiting to ride in packets, each a limited number of times. foca's `BroadcastHandler` keeps its state out of
//! reach and its items in one queue with no bound, so ours ride behind foca's part of the packet instead.

use super::wire;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use uuid::Uuid;

const ITEMS_MAX: usize = 2048;

/// A newer item under the same key replaces the older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Left(Uuid),
    Suspect { who: Uuid, from: Uuid },
    Card(Uuid),
    Event(Uuid),
}

struct Waiting {
    bytes: Vec<u8>,
    left: u32,
}

#[derive(Default)]
pub(super) struct Queue {
    items: BTreeMap<Key, Waiting>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.items.clear();
    }

    /// False when the queue is full of items that have been sent less often.
    pub(super) fn push(&mut self, key: Key, bytes: Vec<u8>, times: u32) -> bool {
        if !self.items.contains_key(&key) && self.items.len() >= ITEMS_MAX {
            let Some(worn) = self.items.iter().min_by_key(|(_, waiting)| waiting.left).map(|(key, _)| *key) else {
                return false;
            };
            if self.items[&worn].left >= times {
                return false;
            }
            self.items.remove(&worn);
        }
        self.items.insert(key, Waiting { bytes, left: times });
        true
    }

    pub(super) fn drop_suspicions(&mut self, about: Uuid) {
        self.items.retain(|key, _| !matches!(key, Key::Suspect { who, .. } if *who == about));
    }

    /// Fills the packet, the least sent first.
    pub(super) fn fill(&mut self, payload: &mut Vec<u8>, size_max: usize) {
        if self.items.is_empty() {
            return;
        }
        let mut order: Vec<(Reverse<u32>, Key)> = self.items.iter().map(|(key, w)| (Reverse(w.left), *key)).collect();
        order.sort_unstable();
        for (_, key) in order {
            if let Some(waiting) = self.items.get_mut(&key)
                && wire::append(payload, &waiting.bytes, size_max)
            {
                waiting.left -= 1;
                if waiting.left == 0 {
                    self.items.remove(&key);
                }
            }
            if payload.len() + 8 > size_max {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_ride_a_limited_number_of_times_the_least_sent_first() {
        let mut queue = Queue::default();
        let card = |n| Key::Card(Uuid::from_u128(n));
        assert!(queue.push(card(1), vec![1; 40], 3));
        assert!(queue.push(card(2), vec![2; 40], 2));
        let mut sent = Vec::new();
        while !queue.is_empty() {
            let mut payload = Vec::new();
            queue.fill(&mut payload, 50);
            sent.push(payload[2]);
        }
        assert_eq!(sent, [1, 1, 2, 1, 2]);
        for n in 0..3000 {
            queue.push(card(n), vec![0; 8], 4);
        }
        assert_eq!(queue.items.len(), ITEMS_MAX);
        assert!(queue.push(Key::Left(Uuid::nil()), vec![0; 8], 8), "what is more urgent finds room");
    }
}
