//! Every member as we show it: foca's verdict, its card, and whether it left on purpose. Owns those; decides nobody's
//! liveness.

use super::identity::Identity;
use super::member::{Member, MemberStatus};
use super::output::MemberEvent;
use super::wire::Card;
use crate::time::Instant;
use lictor_catalog::model::folded;
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) who: Identity,
    pub(super) status: MemberStatus,
    /// When it went down.
    pub(super) since: Instant,
    /// The latest start that is known to have left.
    pub(super) left: Option<u64>,
    /// Off the list, but remembered so that it does not come back by hearsay.
    pub(super) pruned: bool,
    /// As the host last heard of it.
    pub(super) shown: Option<Member>,
    pub(super) conflicts_with: Option<Uuid>,
}

impl Entry {
    pub(super) fn new(who: Identity, now: Instant) -> Self {
        Self {
            who,
            status: MemberStatus::Alive,
            since: now,
            left: None,
            pruned: false,
            shown: None,
            conflicts_with: None,
        }
    }

    pub(super) const fn is_live(&self) -> bool {
        matches!(self.status, MemberStatus::Alive | MemberStatus::Suspect)
    }

    /// The present start, or a later one, left.
    pub(super) fn has_left(&self) -> bool {
        self.left.is_some_and(|counter| counter >= self.who.counter)
    }
}

#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) entries: BTreeMap<Uuid, Entry>,
    pub(super) cards: BTreeMap<Uuid, Card>,
}

impl Table {
    pub(super) fn get(&self, id: Uuid) -> Option<&Entry> {
        self.entries.get(&id)
    }

    fn member(&self, entry: &Entry) -> Option<Member> {
        let card = self.cards.get(&entry.who.id).filter(|_| !entry.pruned)?;
        Some(Member {
            id: entry.who.id,
            name: card.name.clone(),
            address: entry.who.address,
            status: entry.status,
            tags: card.tags.clone(),
        })
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.entries.values().filter_map(|entry| entry.shown.as_ref())
    }

    pub(super) fn live(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|entry| entry.is_live())
    }

    /// Entries whose card has this name, compared as the catalog does.
    pub(super) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.values().filter(move |entry| {
            let card = self.cards.get(&entry.who.id);
            !entry.pruned && card.is_some_and(|card| folded(&card.name) == folded(name))
        })
    }

    /// Keeps the card if it is news.
    pub(super) fn learn(&mut self, card: &Card, cards_max: usize) -> bool {
        match self.cards.get(&card.id) {
            Some(known) if known.age() >= card.age() => false,
            None if self.cards.len() >= cards_max => false,
            _ => {
                self.cards.insert(card.id, card.clone());
                true
            }
        }
    }

    /// Compares what the host was last shown with what is so now. `None` when that is the same; the event is absent
    /// where only a shade changed (suspicion) or where a member is first heard of when it is dead.
    pub(super) fn shift(&mut self, id: Uuid) -> Option<Option<MemberEvent>> {
        let entry = self.entries.get(&id)?;
        let next = self.member(entry);
        if next == entry.shown {
            return None;
        }
        let last = std::mem::replace(&mut self.entries.get_mut(&id)?.shown, next.clone());
        let live = |member: &Member| matches!(member.status, MemberStatus::Alive | MemberStatus::Suspect);
        Some(match (last, next) {
            (None, None) => None,
            (Some(last), None) => Some(MemberEvent::Reaped(last)),
            (None, Some(next)) => live(&next).then_some(MemberEvent::Joined(next)),
            (Some(last), Some(next)) if live(&next) => {
                let same = (&last.name, last.address, &last.tags) == (&next.name, next.address, &next.tags);
                match (live(&last), same) {
                    (false, _) => Some(MemberEvent::Joined(next)),
                    (true, false) => Some(MemberEvent::Updated(next)),
                    (true, true) => None,
                }
            }
            (Some(last), Some(next)) if last.status == next.status => Some(MemberEvent::Updated(next)),
            (Some(_), Some(next)) if next.status == MemberStatus::Left => Some(MemberEvent::Left(next)),
            (Some(_), Some(next)) => Some(MemberEvent::Failed(next)),
        })
    }

    /// Those whose time on the list is over.
    pub(super) fn expired(&self, now: Instant, dead: Duration, left: Duration) -> Vec<Uuid> {
        let over =
            |entry: &&Entry| !entry.is_live() && now.since(entry.since) >= if entry.has_left() { left } else { dead };
        self.entries.values().filter(over).map(|entry| entry.who.id).collect()
    }
}
