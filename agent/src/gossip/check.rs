//! Looking for ourselves whether a member is there: three pings and a dial, one verdict after a second. Owns the checks
//! that are under way and what becomes of their verdicts.

use super::core::Gossip;
use super::exchange::Errand;
use super::identity::Identity;
use super::output::Output;
use super::timers::Task;
use super::wire::{self, Ask, Item};
use crate::time::Instant;
use std::time::Duration;

const PINGS: u32 = 3;
const PING_PERIOD: Duration = Duration::from_millis(330);
const CHECKS_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Somebody suspects it at this incarnation: do we agree?
    Confirm(u16),
    /// It holds the id or the name of one that wants to join.
    Holder,
    /// It has our id and a later counter, at another address.
    Rival,
}

#[derive(Debug)]
pub(super) struct Check {
    target: Identity,
    purpose: Purpose,
    nonce: u64,
    pings: u32,
}

impl Gossip {
    /// False when too many are under way. One that is under way already is not doubled.
    pub(super) fn start_check(&mut self, now: Instant, target: Identity, purpose: Purpose) -> bool {
        if self.checks.values().any(|check| check.target == target && check.purpose == purpose) {
            return true;
        }
        if self.checks.len() >= CHECKS_MAX {
            return false;
        }
        self.numbered += 1;
        let (check, nonce) = (self.numbered, self.dice.number());
        self.checks.insert(check, Check { target, purpose, nonce, pings: 0 });
        let suspected = match purpose {
            Purpose::Confirm(incarnation) => Some((target.counter, incarnation)),
            Purpose::Holder | Purpose::Rival => None,
        };
        self.dial(now, target.address, Errand::Check(check), Ask::Ping { target: target.id, suspected });
        self.check_due(now, check);
        true
    }

    pub(super) fn check_due(&mut self, now: Instant, number: u64) {
        let Some(check) = self.checks.get_mut(&number) else { return };
        if check.pings == PINGS {
            return self.conclude(now, number, false);
        }
        check.pings += 1;
        let (to, ping) = (check.target.address, Item::Ping { nonce: check.nonce, target: check.target.id });
        self.send_item(to, &wire::write(&ping));
        self.timers.set(now + PING_PERIOD, Task::Check(number));
    }

    pub(super) fn check_answered(&mut self, now: Instant, nonce: u64, from: Identity) {
        let found = self.checks.iter().find(|(_, check)| check.nonce == nonce && check.target.id == from.id);
        if let Some((&number, _)) = found {
            self.conclude(now, number, true);
        }
    }

    /// The dial of a check was answered. Silence there decides nothing: a filter may let only UDP through.
    pub(super) fn check_dialled(&mut self, now: Instant, number: u64, from: Identity, incarnation: u16) {
        let Some(check) = self.checks.get(&number).filter(|check| check.target.id == from.id) else { return };
        if let Purpose::Confirm(suspected) = check.purpose
            && incarnation > suspected
        {
            self.hear_alive(now, from, incarnation);
        }
        self.conclude(now, number, true);
    }

    fn conclude(&mut self, now: Instant, number: u64, lives: bool) {
        let Some(Check { target, purpose, .. }) = self.checks.remove(&number) else { return };
        match (purpose, lives) {
            (Purpose::Confirm(_), true) => {}
            (Purpose::Confirm(incarnation), false) => self.doubt(now, target, incarnation, self.card.id),
            (Purpose::Holder, _) => {
                self.verdicts.insert(target, (now, lives));
                let known = self.verdict(target.id).filter(|m| *m.id() == target).map(foca::Member::incarnation);
                if let (false, Some(incarnation)) = (lives, known) {
                    self.suspect(now, target, incarnation);
                    self.doubt(now, target, incarnation, self.card.id);
                }
            }
            (Purpose::Rival, true) => {
                let (holder, joiner) = (target.address, self.me().address);
                self.out.push(Output::Clone { id: target.id, holder, joiner });
            }
            (Purpose::Rival, false) => self.outbid(now, target.counter),
        }
    }

    /// Somebody else speaks under our id: our own past or future at this address, or a clone elsewhere.
    pub(super) fn rival(&mut self, now: Instant, who: Identity) {
        let me = self.me();
        if who == me || who.counter < me.counter {
            return;
        }
        if who.address == me.address {
            self.outbid(now, who.counter);
        } else {
            self.start_check(now, who, Purpose::Rival);
        }
    }
}
