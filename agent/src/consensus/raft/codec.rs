//! Our own form of the engine's messages, entries and configurations, on the wire and on the disk.
//!
//! The `raft` crate speaks protobuf. Nothing protobuf leaves or enters this process: every type is mirrored here, checked
//! when it comes in, and a configuration change inside an entry is taken apart and put together again locally.

use crate::consensus::encode;
use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb as pb;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// First byte of every record in the log store.
const FORMAT: u8 = 1;
/// More servers than this in one configuration make no sense.
const MEMBERS_MAX: usize = 256;

/// Which node holds which log store.
pub type Names = BTreeMap<u64, Uuid>;

/// What came in makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Only what servers say to each other; local notes and forwarded proposals cannot even be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    Append,
    AppendResponse,
    RequestVote,
    RequestVoteResponse,
    Snapshot,
    Heartbeat,
    HeartbeatResponse,
    TimeoutNow,
    ReadIndex,
    ReadIndexResponse,
    RequestPreVote,
    RequestPreVoteResponse,
}

const KINDS: [(Kind, pb::MessageType); 12] = [
    (Kind::Append, pb::MessageType::MsgAppend),
    (Kind::AppendResponse, pb::MessageType::MsgAppendResponse),
    (Kind::RequestVote, pb::MessageType::MsgRequestVote),
    (Kind::RequestVoteResponse, pb::MessageType::MsgRequestVoteResponse),
    (Kind::Snapshot, pb::MessageType::MsgSnapshot),
    (Kind::Heartbeat, pb::MessageType::MsgHeartbeat),
    (Kind::HeartbeatResponse, pb::MessageType::MsgHeartbeatResponse),
    (Kind::TimeoutNow, pb::MessageType::MsgTimeoutNow),
    (Kind::ReadIndex, pb::MessageType::MsgReadIndex),
    (Kind::ReadIndexResponse, pb::MessageType::MsgReadIndexResp),
    (Kind::RequestPreVote, pb::MessageType::MsgRequestPreVote),
    (Kind::RequestPreVoteResponse, pb::MessageType::MsgRequestPreVoteResponse),
];

/// A message between two engines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    kind: Kind,
    to: u64,
    from: u64,
    term: u64,
    log_term: u64,
    index: u64,
    entries: Vec<Entry>,
    commit: u64,
    commit_term: u64,
    pub(crate) snapshot: Option<Handle>,
    reject: bool,
    reject_hint: u64,
    context: Bytes,
    priority: i64,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub(crate) index: u64,
    pub(crate) term: u64,
    content: EntryContent,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum EntryContent {
    /// Empty for the engine's own entry. The context tells nothing and is dropped.
    Command(Bytes),
    Change(Change),
}

/// A change of members. Empty means: leave the joint configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Change {
    transition: Transition,
    changes: Vec<(ChangeKind, u64)>,
    /// The nodes of all members after the change.
    names: Vec<(u64, Uuid)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Transition {
    #[default]
    Auto,
    Implicit,
    Explicit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ChangeKind {
    Voter,
    Learner,
    Remove,
}

/// The engine's part of a snapshot: where it is, and the configuration there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) conf: Conf,
    pub(crate) names: Vec<(u64, Uuid)>,
}

/// A configuration, joint or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conf {
    pub(crate) voters: Vec<u64>,
    pub(crate) learners: Vec<u64>,
    pub(crate) outgoing: Vec<u64>,
    pub(crate) learners_next: Vec<u64>,
    pub(crate) auto_leave: bool,
}

/// What a server has promised, and how far it knows the log to be agreed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Vote {
    pub(crate) term: u64,
    pub(crate) vote: u64,
    pub(crate) commit: u64,
}

impl Message {
    /// `None` for what must not travel: local notes and forwarded proposals.
    pub(crate) fn of(mut message: pb::Message) -> Option<Self> {
        let kind = KINDS.iter().find(|(_, theirs)| *theirs == message.get_msg_type())?.0;
        let snapshot = (kind == Kind::Snapshot).then(|| Handle::of(message.get_snapshot()));
        Some(Self {
            kind,
            to: message.to,
            from: message.from,
            term: message.term,
            log_term: message.log_term,
            index: message.index,
            entries: message.take_entries().into_iter().map(Entry::of).collect(),
            commit: message.commit,
            commit_term: message.commit_term,
            snapshot,
            reject: message.reject,
            reject_hint: message.reject_hint,
            context: message.take_context(),
            priority: message.priority,
        })
    }

    /// Checks all that can be checked without knowing the engine's state.
    pub(crate) fn into_engine(self, from: u64, to: u64) -> Result<pb::Message, Malformed> {
        let sane = self.from == from
            && self.to == to
            && (self.term != 0) == (self.kind != Kind::ReadIndex)
            // The engine counts on from each of these.
            && self.term < u64::MAX / 2
            && self.reject_hint < u64::MAX / 2
            && self.index < u64::MAX / 2
            && (self.kind == Kind::Snapshot) == self.snapshot.is_some()
            && self.entries_fit();
        if !sane {
            return Err(Malformed);
        }
        let mut message = pb::Message::default();
        let kind = KINDS.iter().find(|(ours, _)| *ours == self.kind).ok_or(Malformed)?.1;
        message.set_msg_type(kind);
        message.to = self.to;
        message.from = self.from;
        message.term = self.term;
        message.log_term = self.log_term;
        message.index = self.index;
        let entries = self.entries.into_iter().map(Entry::into_engine).collect::<Result<Vec<_>, _>>()?;
        message.set_entries(entries.into());
        message.commit = self.commit;
        message.commit_term = self.commit_term;
        if let Some(snapshot) = self.snapshot {
            message.set_snapshot(snapshot.into_engine()?);
        }
        message.reject = self.reject;
        message.reject_hint = self.reject_hint;
        message.context = self.context;
        message.priority = self.priority;
        Ok(message)
    }

    /// Appended entries follow the message's index without a gap and never fall in term; an ask carries exactly one. Only
    /// before the first entry is there no term: the engine takes a place beyond its log for one of term 0, would find the two
    /// equal, and stop the process on the commit index that follows.
    fn entries_fit(&self) -> bool {
        match self.kind {
            Kind::Append => {
                let mut at = (self.index, self.log_term);
                (self.index == 0) == (self.log_term == 0)
                    && self.entries.iter().all(|entry| {
                        let fits = entry.index == at.0 + 1 && entry.term >= at.1 && entry.term <= self.term;
                        at = (entry.index, entry.term);
                        fits
                    })
            }
            Kind::ReadIndex | Kind::ReadIndexResponse => self.entries.len() == 1,
            _ => self.entries.is_empty(),
        }
    }
}

impl Entry {
    pub(crate) fn of(mut entry: pb::Entry) -> Self {
        let content = match entry.get_entry_type() {
            pb::EntryType::EntryNormal => EntryContent::Command(entry.take_data()),
            // We never make the old form; written down as an empty change, which changes nothing.
            pb::EntryType::EntryConfChange => EntryContent::Change(Change::default()),
            pb::EntryType::EntryConfChangeV2 => EntryContent::Change(Change::of(&entry)),
        };
        Self { index: entry.index, term: entry.term, content }
    }

    pub(crate) fn into_engine(self) -> Result<pb::Entry, Malformed> {
        let mut entry = pb::Entry { index: self.index, term: self.term, ..pb::Entry::default() };
        match self.content {
            EntryContent::Command(data) => entry.data = data,
            EntryContent::Change(change) => {
                entry.set_entry_type(pb::EntryType::EntryConfChangeV2);
                entry.data = change.into_engine()?.write_to_bytes().map_err(|_protobuf| Malformed)?.into();
            }
        }
        Ok(entry)
    }

    pub(crate) fn encode(&self) -> Bytes {
        encode(FORMAT, self)
    }

    pub(crate) fn decode(record: &[u8]) -> Result<Self, Malformed> {
        decode(record)
    }
}

impl Change {
    pub(crate) fn new(changes: Vec<(ChangeKind, u64)>, names: &Names) -> Self {
        Self { transition: Transition::Auto, changes, names: names.iter().map(|(id, node)| (*id, *node)).collect() }
    }

    /// Takes apart what this process itself has put together.
    pub(crate) fn of(entry: &pb::Entry) -> Self {
        let Ok(theirs) = pb::ConfChangeV2::parse_from_bytes(entry.get_data()) else { return Self::default() };
        let kind = |change: &pb::ConfChangeSingle| match change.get_change_type() {
            pb::ConfChangeType::AddNode => ChangeKind::Voter,
            pb::ConfChangeType::AddLearnerNode => ChangeKind::Learner,
            pb::ConfChangeType::RemoveNode => ChangeKind::Remove,
        };
        Self {
            transition: match theirs.get_transition() {
                pb::ConfChangeTransition::Auto => Transition::Auto,
                pb::ConfChangeTransition::Implicit => Transition::Implicit,
                pb::ConfChangeTransition::Explicit => Transition::Explicit,
            },
            changes: theirs.get_changes().iter().map(|change| (kind(change), change.node_id)).collect(),
            names: postcard::from_bytes(theirs.get_context()).unwrap_or_default(),
        }
    }

    pub(crate) fn into_engine(self) -> Result<pb::ConfChangeV2, Malformed> {
        if self.changes.len() > 2 * MEMBERS_MAX || self.names.len() > MEMBERS_MAX {
            return Err(Malformed);
        }
        let mut theirs = pb::ConfChangeV2::default();
        theirs.set_transition(match self.transition {
            Transition::Auto => pb::ConfChangeTransition::Auto,
            Transition::Implicit => pb::ConfChangeTransition::Implicit,
            Transition::Explicit => pb::ConfChangeTransition::Explicit,
        });
        for (kind, id) in self.changes {
            let mut single = pb::ConfChangeSingle { node_id: id, ..pb::ConfChangeSingle::default() };
            single.set_change_type(match kind {
                ChangeKind::Voter => pb::ConfChangeType::AddNode,
                ChangeKind::Learner => pb::ConfChangeType::AddLearnerNode,
                ChangeKind::Remove => pb::ConfChangeType::RemoveNode,
            });
            theirs.mut_changes().push(single);
        }
        if !self.names.is_empty() {
            theirs.context = postcard::to_allocvec(&self.names).map_err(|_postcard| Malformed)?.into();
        }
        Ok(theirs)
    }

    pub(crate) fn into_names(self) -> Vec<(u64, Uuid)> {
        self.names
    }
}

impl Handle {
    pub(crate) fn of(snapshot: &pb::Snapshot) -> Self {
        let meta = snapshot.get_metadata();
        Self {
            index: meta.index,
            term: meta.term,
            conf: Conf::of(meta.get_conf_state()),
            names: postcard::from_bytes(snapshot.get_data()).unwrap_or_default(),
        }
    }

    pub(crate) fn into_engine(self) -> Result<pb::Snapshot, Malformed> {
        if self.index == 0 || self.term == 0 || self.names.len() > MEMBERS_MAX || !self.conf.is_sane() {
            return Err(Malformed);
        }
        let data = postcard::to_allocvec(&self.names).map_err(|_postcard| Malformed)?.into();
        let mut snapshot = pb::Snapshot { data, ..pb::Snapshot::default() };
        let meta = snapshot.mut_metadata();
        meta.index = self.index;
        meta.term = self.term;
        meta.set_conf_state(self.conf.into_engine());
        Ok(snapshot)
    }

    pub(crate) fn encode(&self) -> Bytes {
        encode(FORMAT, self)
    }

    pub(crate) fn decode(record: &[u8]) -> Result<Self, Malformed> {
        let handle: Self = decode(record)?;
        if handle.index == 0 || !handle.conf.is_sane() { Err(Malformed) } else { Ok(handle) }
    }
}

impl Conf {
    pub(crate) fn of(theirs: &pb::ConfState) -> Self {
        let sorted = |ids: &[u64]| {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids
        };
        Self {
            voters: sorted(theirs.get_voters()),
            learners: sorted(theirs.get_learners()),
            outgoing: sorted(theirs.get_voters_outgoing()),
            learners_next: sorted(theirs.get_learners_next()),
            auto_leave: theirs.auto_leave,
        }
    }

    pub(crate) fn into_engine(self) -> pb::ConfState {
        let mut theirs = pb::ConfState::default();
        theirs.set_voters(self.voters);
        theirs.set_learners(self.learners);
        theirs.set_voters_outgoing(self.outgoing);
        theirs.set_learners_next(self.learners_next);
        theirs.auto_leave = self.auto_leave;
        theirs
    }

    pub(crate) const fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    pub(crate) fn ids(&self) -> BTreeSet<u64> {
        [&self.voters, &self.learners, &self.outgoing, &self.learners_next].into_iter().flatten().copied().collect()
    }

    /// The engine stops the process on a configuration that breaks one of these (its `confchange` invariants).
    fn is_sane(&self) -> bool {
        let set = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<u64>>();
        let (voters, learners) = (set(&self.voters), set(&self.learners));
        let (outgoing, next) = (set(&self.outgoing), set(&self.learners_next));
        let distinct = voters.len() == self.voters.len()
            && learners.len() == self.learners.len()
            && outgoing.len() == self.outgoing.len()
            && next.len() == self.learners_next.len();
        distinct
            && !voters.is_empty()
            && self.ids().len() <= MEMBERS_MAX
            && !self.ids().contains(&0)
            && learners.is_disjoint(&voters)
            && learners.is_disjoint(&outgoing)
            && next.is_disjoint(&voters)
            && next.is_subset(&outgoing)
            && (self.is_joint() || !self.auto_leave)
    }
}

impl Vote {
    pub(crate) fn of(hard: &pb::HardState) -> Self {
        Self { term: hard.term, vote: hard.vote, commit: hard.commit }
    }

    pub(crate) fn encode(self) -> Bytes {
        encode(FORMAT, &self)
    }

    pub(crate) fn decode(record: &[u8]) -> Result<Self, Malformed> {
        decode(record)
    }
}

fn decode<'a, T: Deserialize<'a>>(record: &'a [u8]) -> Result<T, Malformed> {
    match record.split_first() {
        Some((&FORMAT, rest)) => match postcard::take_from_bytes(rest) {
            Ok((value, [])) => Ok(value),
            _ => Err(Malformed),
        },
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::Letter;
    use proptest::prelude::*;

    fn conf(voters: &[u64], learners: &[u64], outgoing: &[u64], next: &[u64]) -> Conf {
        Conf {
            voters: voters.to_vec(),
            learners: learners.to_vec(),
            outgoing: outgoing.to_vec(),
            learners_next: next.to_vec(),
            auto_leave: !outgoing.is_empty(),
        }
    }

    #[test]
    fn only_configurations_the_engine_survives_pass() {
        for good in [conf(&[1], &[], &[], &[]), conf(&[1, 2], &[3], &[], &[]), conf(&[1, 4], &[], &[1, 2], &[2])] {
            assert!(good.is_sane(), "{good:?}");
            assert_eq!(Conf::of(&good.clone().into_engine()), good);
        }
        for bad in [
            conf(&[], &[1], &[], &[]),
            conf(&[1, 1], &[], &[], &[]),
            conf(&[0], &[], &[], &[]),
            conf(&[1], &[1], &[], &[]),
            conf(&[1], &[], &[], &[2]),
            conf(&[1], &[2], &[2], &[]),
        ] {
            assert!(!bad.is_sane(), "{bad:?}");
        }
    }

    #[test]
    fn a_change_keeps_its_meaning_through_the_mirror() {
        let names = Names::from([(1, Uuid::from_u128(1)), (7, Uuid::from_u128(7))]);
        let change = Change::new(vec![(ChangeKind::Voter, 7), (ChangeKind::Remove, 2)], &names);
        let entry = Entry { index: 9, term: 3, content: EntryContent::Change(change) };
        let engine = Entry::decode(&entry.encode()).and_then(Entry::into_engine).expect("sane");
        assert_eq!(engine.get_entry_type(), pb::EntryType::EntryConfChangeV2);
        assert_eq!(Entry::of(engine), entry);
        let leave = Entry { index: 9, term: 3, content: EntryContent::Change(Change::default()) };
        assert!(leave.clone().into_engine().expect("sane").get_data().is_empty(), "leaving stays the empty change");
    }

    #[test]
    fn proposals_and_local_notes_do_not_travel() {
        for kind in [pb::MessageType::MsgPropose, pb::MessageType::MsgHup, pb::MessageType::MsgTransferLeader] {
            let mut message = pb::Message::default();
            message.set_msg_type(kind);
            assert_eq!(Message::of(message), None);
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_refused_not_trusted(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(letter) = Letter::decode(&bytes) {
                let crate::consensus::Content::Raft(message) = letter.0;
                let _ = message.into_engine(1, 2);
            }
            let _ = Entry::decode(&bytes);
            let _ = Handle::decode(&bytes);
        }
    }
}
