//! Joining, from both sides. An agent asks to be let in before its first gossip packet; the member it asks looks for
//! live holders of its id and name first. Owns the joins under way.

use super::check::Purpose;
use super::core::{Gossip, Phase};
use super::exchange::Errand;
use super::identity::Identity;
use super::output::{JoinError, Output};
use super::timers::Task;
use super::wire::{Ask, JoinRefused, Left, Reply, Sync};
use crate::time::Instant;
use lictor_catalog::model::{NodeName, folded};
use std::net::SocketAddr;
use std::time::Duration;

const ADDRESSES_MAX: usize = 64;
const TICKETS_MAX: usize = 16;
/// Between two questions while the member looks for holders, and how many are worth asking.
const WAIT: Duration = Duration::from_millis(300);
const WAITS: u32 = 20;
/// How long the verdict on a holder is believed.
const VERDICT: Duration = Duration::from_secs(3);

/// One `join` of the host.
#[derive(Debug, Default)]
pub(super) struct Ticket {
    waiting: usize,
    reached: usize,
    failures: Vec<(SocketAddr, JoinError)>,
    /// A refusal for the name is told once per address and ticket.
    told: Vec<SocketAddr>,
}

impl Gossip {
    /// Asks each address to let us in. The ticket comes back in [`Output::Joined`] or [`Output::JoinFailed`].
    pub fn join(&mut self, now: Instant, addresses: Vec<SocketAddr>, ticket: u64) {
        let refused = if self.phase != Phase::Present {
            Some(JoinError::Leaving)
        } else if addresses.len() > ADDRESSES_MAX || self.tickets.len() >= TICKETS_MAX || addresses.is_empty() {
            Some(JoinError::TooMany)
        } else {
            None
        };
        if let Some(error) = refused {
            let failures = addresses.into_iter().take(ADDRESSES_MAX).map(|to| (to, error.clone())).collect();
            self.out.push(Output::JoinFailed { ticket, failures });
            return;
        }
        self.tickets.insert(ticket, Ticket { waiting: addresses.len(), ..Ticket::default() });
        for to in addresses {
            self.ask_to_join(now, ticket, to, 0);
        }
        self.flush(now);
    }

    /// We asked to be let in, nobody has yet, and nobody came to us.
    pub(super) fn is_joining(&self) -> bool {
        !self.tickets.is_empty() && self.swim.num_members() == 0
    }

    pub(super) fn ask_to_join(&mut self, now: Instant, ticket: u64, to: SocketAddr, tries: u32) {
        let ask = Ask::Join { name: self.card.name.clone(), sync: self.state(now) };
        if !self.dial(now, to, Errand::Join { ticket, to, tries }, ask) {
            self.join_done(ticket, to, Some(JoinError::TooMany));
        }
    }

    pub(super) fn join_answered(
        &mut self,
        now: Instant,
        ticket: u64,
        to: SocketAddr,
        tries: u32,
        reply: Result<Reply, JoinError>,
    ) {
        let error = match reply {
            Ok(Reply::State(sync)) => {
                if let Some(refused) = self.foreign(&sync) {
                    JoinError::Refused(refused)
                } else {
                    self.merge(now, sync);
                    return self.join_done(ticket, to, None);
                }
            }
            // That was our own address.
            Ok(Reply::Pong { .. }) => return self.join_done(ticket, to, None),
            Ok(Reply::Wait) if tries < WAITS => {
                return self.timers.set(now + WAIT, Task::Join { ticket, to, tries: tries + 1 });
            }
            Ok(Reply::Wait) => JoinError::Waited,
            Ok(Reply::Refused(JoinRefused::Clone { id, holder, joiner })) => {
                self.out.push(Output::Clone { id, holder, joiner });
                JoinError::Refused(JoinRefused::Clone { id, holder, joiner })
            }
            Ok(Reply::Refused(reason @ JoinRefused::Name { .. })) => {
                let Some(open) = self.tickets.get_mut(&ticket) else { return };
                if !open.told.contains(&to) {
                    open.told.push(to);
                    self.out.push(Output::JoinWaits { ticket, to, reason });
                }
                return self.timers.set(now + self.config.join_retry, Task::Join { ticket, to, tries: 0 });
            }
            Ok(Reply::Refused(refused)) => JoinError::Refused(refused),
            Err(error) => error,
        };
        self.join_done(ticket, to, Some(error));
    }

    fn join_done(&mut self, number: u64, to: SocketAddr, error: Option<JoinError>) {
        let Some(ticket) = self.tickets.get_mut(&number) else { return };
        ticket.waiting = ticket.waiting.saturating_sub(1);
        match error {
            None => ticket.reached += 1,
            Some(error) => ticket.failures.push((to, error)),
        }
        if ticket.waiting > 0 {
            return;
        }
        let Some(Ticket { reached, failures, .. }) = self.tickets.remove(&number) else { return };
        self.out.push(match reached {
            0 => Output::JoinFailed { ticket: number, failures },
            _ => Output::Joined { ticket: number, reached },
        });
    }

    pub(super) fn answer_join(&mut self, now: Instant, name: &NodeName, sync: Sync) -> Reply {
        if let Some(refused) = self.foreign(&sync) {
            return Reply::Refused(refused);
        }
        let joiner = sync.from;
        if joiner.id == self.card.id {
            // Ourselves, perhaps as of before we came back from the dead; or a copy of our data directory.
            let (id, holder) = (joiner.id, self.me().address);
            return if joiner.address == holder && joiner.counter <= self.me().counter {
                Reply::Pong { from: self.me(), incarnation: self.incarnation }
            } else {
                Reply::Refused(JoinRefused::Clone { id, holder, joiner: joiner.address })
            };
        }
        if self.is_full() && self.verdict(joiner.id).is_none() {
            return Reply::Refused(JoinRefused::Full);
        }
        if let Some(reply) = self.ask_the_holders(now, name, joiner) {
            return reply;
        }
        self.merge(now, sync);
        Reply::State(self.state(now))
    }

    /// `None` when nobody who lives has the joiner's id or name.
    fn ask_the_holders(&mut self, now: Instant, name: &NodeName, joiner: Identity) -> Option<Reply> {
        let taken = |holder| Reply::Refused(JoinRefused::Name { name: name.clone(), holder, joiner: joiner.address });
        if folded(name) == folded(&self.card.name) {
            return Some(taken(self.me().address));
        }
        let same_id = self.table.get(joiner.id).filter(|entry| entry.is_live()).map(|entry| entry.who);
        let same_name = self.table.named(name).filter(|entry| entry.is_live()).map(|entry| entry.who);
        let holders: Vec<Identity> = same_name.filter(|who| who.id != joiner.id).chain(same_id).collect();
        let mut waits = false;
        for holder in holders {
            if holder.address == joiner.address {
                // Two processes cannot listen at one address, so this holder is gone.
                if holder.id != joiner.id {
                    let left = Left { id: holder.id, counter: holder.counter, forced: false, prune: true };
                    self.take_left(now, left);
                }
                continue;
            }
            match self.verdicts.get(&holder).filter(|(at, _)| now.since(*at) < VERDICT) {
                Some((_, true)) if holder.id == joiner.id => {
                    let (id, holder, joiner) = (joiner.id, holder.address, joiner.address);
                    return Some(Reply::Refused(JoinRefused::Clone { id, holder, joiner }));
                }
                Some((_, true)) => return Some(taken(holder.address)),
                Some((_, false)) => {}
                None => {
                    self.start_check(now, holder, Purpose::Holder);
                    waits = true;
                }
            }
        }
        waits.then_some(Reply::Wait)
    }
}
