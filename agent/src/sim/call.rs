//! The hub's thread: messages reach it in order, a moment later (`runtime/hub.rs`).

use super::bug;
use super::world::{Happening, MS, World};
use crate::hub::{Found, Full, Waiter};
use crate::view::{LocalView, View};
use lictor_catalog::Touched;
use std::sync::Arc;

/// What the hub is told.
pub(super) enum Message {
    Wait(Waiter),
    Published(Arc<View>, Touched),
    Told(Arc<LocalView>),
}

impl World {
    pub(super) fn tell_hub(&mut self, node: usize, message: Message) {
        if matches!(message, Message::Published(..)) {
            self.publications += 1;
            if !bug::heard(self.setup.bug, self.publications) {
                return;
            }
        }
        let wait = self.dice.below(MS / 2);
        let now = self.now;
        let Some(process) = self.running(node) else { return };
        process.hub_free_at = process.hub_free_at.max(now + wait);
        let when = process.hub_free_at;
        self.at(when, node, Happening::Hub(message));
    }

    pub(super) fn hub(&mut self, node: usize, message: Message) {
        let now = self.nodes[node].local_now(self.now);
        let Some(process) = self.running(node) else { return };
        let mut answers = Vec::new();
        let mut refused = None;
        match message {
            Message::Wait(waiter) => {
                let id = waiter.id;
                if let Err(Full) = process.hub.wait(waiter, &mut answers) {
                    refused = Some(id);
                }
            }
            Message::Published(view, touched) => process.hub.published(view, &touched, &mut answers),
            Message::Told(local) => process.hub.told(local, &mut answers),
        }
        process.hub.timer(now, &mut answers);
        if let Some(id) = refused {
            self.waited(node, id, Err(Full));
        }
        self.hub_answers(node, answers);
    }

    pub(super) fn hub_timer(&mut self, node: usize) {
        let now = self.nodes[node].local_now(self.now);
        let Some(process) = self.running(node) else { return };
        process.hub_timer = None;
        let mut answers = Vec::new();
        process.hub.timer(now, &mut answers);
        self.hub_answers(node, answers);
    }

    fn hub_answers(&mut self, node: usize, answers: Vec<(u64, Found)>) {
        for (id, found) in answers {
            self.trace.mix(&[self.now, node as u64, 200, id, found.index.0]);
            self.waited(node, id, Ok(found));
        }
        let clock = self.nodes[node].clock;
        let Some(process) = self.running(node) else { return };
        let due = process.hub.deadline().map(|deadline| clock.when(deadline));
        if let Some(due) = due.filter(|due| process.hub_timer.is_none_or(|set| set > *due)) {
            process.hub_timer = Some(due);
            self.at(due, node, Happening::HubTimer);
        }
    }
}
