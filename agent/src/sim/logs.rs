//! What every server's log holds, as its disk is told, and what was agreed: the material of the log's invariants.
//!
//! It looks at effects from outside and decides nothing. A log's *chain* at an index is a hash of all records up to there,
//! so that two logs are equal up to an index exactly when their chains there are.

use super::world::World;
use crate::consensus::Write;
use crate::consensus::raft::codec::Entry as Record;
use crate::server::replica::Replica;
use crate::server::role::Role;
use crate::view::View;
use bytes::Bytes;
use lictor_catalog::{Command, Entry};
use raft::eraftpb::EntryType;
use std::collections::{BTreeMap, BTreeSet};

/// One place of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub index: u64,
    pub term: u64,
    /// Of everything up to here.
    pub chain: u64,
}

/// A server was elected; what it ought to know, and what its log holds there.
#[derive(Clone, Copy, Debug)]
pub struct Election {
    pub node: usize,
    pub epoch: u64,
    /// The newest place that was agreed in an earlier epoch.
    pub agreed: Option<Place>,
    /// `None`: nothing. A place below its snapshot counts as held: it was agreed before it was compacted.
    pub held: Option<Place>,
}

/// An agreed command.
#[derive(Clone, Debug)]
pub struct Agreed {
    pub index: u64,
    /// When the first server had applied it.
    pub at: u64,
    /// Log time.
    pub time_ms: u64,
    pub command: Command,
}

#[derive(Default)]
struct Log {
    /// Where the snapshot stands. Nothing is known of a log whose snapshot nobody was seen to agree on.
    base: Option<Place>,
    records: BTreeMap<u64, (Place, Bytes)>,
}

impl Log {
    fn place(&self, index: u64) -> Option<Place> {
        match self.base {
            Some(base) if base.index == index => Some(base),
            _ => self.records.get(&index).map(|(place, _)| *place),
        }
    }
}

/// See the module's page.
#[derive(Default)]
pub struct Logs {
    of: BTreeMap<usize, Log>,
    /// Every place that any server ever appended.
    pub appended: Vec<(usize, Place)>,
    /// Every place that any server ever applied.
    pub applied: Vec<(usize, Place)>,
    pub elections: Vec<Election>,
    /// In the order of the log.
    pub commands: Vec<Agreed>,
    agreed: BTreeMap<u64, Place>,
    elected: BTreeSet<(usize, u64)>,
}

const ORIGIN: Place = Place { index: 0, term: 0, chain: 0xcbf2_9ce4_8422_2325 };

impl Logs {
    /// A server starts from what its disk held.
    pub(super) fn recovered(&mut self, node: usize, snapshot: Option<u64>, records: &[(u64, Bytes)]) {
        let base = snapshot.map_or(Some(ORIGIN), |index| self.base(index));
        self.of.insert(node, Log { base, records: BTreeMap::new() });
        self.append(node, records);
    }

    /// The place where a snapshot stands. The first one is the configuration that the first servers began with: no log has it.
    fn base(&self, index: u64) -> Option<Place> {
        let first = self.agreed.first_key_value().is_none_or(|(first, _)| *first > index);
        let begun = first.then_some(Place { index, ..ORIGIN });
        self.agreed.get(&index).copied().or(begun)
    }

    pub(super) fn write(&mut self, node: usize, write: &Write) {
        match write {
            Write::Append(records) => self.append(node, records),
            Write::Install(snapshot) => {
                let base = self.base(snapshot.index.0);
                self.of.insert(node, Log { base, records: BTreeMap::new() });
            }
            Write::Compact(snapshot) => {
                let agreed = self.agreed.get(&snapshot.index.0).copied();
                let log = self.of.entry(node).or_default();
                log.base = log.place(snapshot.index.0).or(agreed);
                // What was compacted away goes when it was shown: it is applied before it is published.
            }
            Write::Vote { .. } | Write::Promise(_) | Write::Cluster(_) => {}
        }
    }

    fn append(&mut self, node: usize, records: &[(u64, Bytes)]) {
        let Some((first, _)) = records.first() else { return };
        let log = self.of.entry(node).or_default();
        log.records.split_off(first);
        for (index, record) in records {
            let Some(before) = index.checked_sub(1).and_then(|before| log.place(before)) else { return };
            let Ok(term) = Record::decode(record).map(|record| record.term) else { return };
            let chain =
                (before.chain ^ u64::from(crc32c::crc32c(record))).wrapping_mul(0x0100_0000_01b3).rotate_left(17);
            let place = Place { index: *index, term, chain };
            log.records.insert(*index, (place, record.clone()));
            self.appended.push((node, place));
        }
    }

    /// A server shows that it has applied everything up to `applied`.
    fn showed(&mut self, node: usize, from: u64, applied: u64, now: u64) {
        let Some(log) = self.of.get_mut(&node).filter(|_| from < applied) else { return };
        for (place, record) in log.records.range(from + 1..=applied).map(|(_, held)| held) {
            self.applied.push((node, *place));
            if self.agreed.contains_key(&place.index) {
                continue;
            }
            self.agreed.insert(place.index, *place);
            if let Some(Entry { time_ms, command, .. }) = entry(record) {
                self.commands.push(Agreed { index: place.index, at: now, time_ms, command });
            }
        }
        if let Some(base) = log.base {
            log.records = log.records.split_off(&(base.index + 1));
        }
    }

    fn elected(&mut self, node: usize, epoch: u64) -> bool {
        if !self.elected.insert((node, epoch)) {
            return false;
        }
        let agreed = self.agreed.values().rev().find(|place| place.term < epoch).copied();
        let log = self.of.get(&node);
        let below = |place: &Place| log.and_then(|log| log.base).is_some_and(|base| base.index >= place.index);
        let held = agreed.and_then(|place| if below(&place) { Some(place) } else { log?.place(place.index) });
        self.elections.push(Election { node, epoch, agreed, held });
        true
    }
}

impl World {
    pub(super) fn look_at_log(&mut self, node: usize, old: &View, new: &View) {
        let now = self.now;
        self.logs.showed(node, old.applied.0, new.applied.0, now);
    }

    pub(super) fn look_for_a_leader(&mut self, node: usize) {
        let role = self.nodes[node].process.as_ref().and_then(|process| process.agent.role());
        let Some(status) = role.and_then(Role::replica).map(Replica::status).filter(|status| status.leading) else {
            return;
        };
        let epoch = status.epoch;
        if self.logs.elected(node, epoch) {
            self.see(node, super::history::Sight::Elected { epoch });
        }
    }
}

fn entry(record: &[u8]) -> Option<Entry> {
    let record = Record::decode(record).ok()?.into_engine().ok()?;
    let data = record.get_data();
    let plain = record.get_entry_type() == EntryType::EntryNormal && !data.is_empty();
    plain.then(|| Entry::decode(data).ok())?
}
