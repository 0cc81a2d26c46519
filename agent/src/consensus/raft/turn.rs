//! One turn of the engine: its effects in the order that keeps them safe (`ready`), and what follows once they are on the
//! disk (`stored`).

use super::codec::{Change, Conf, Entry, Handle, Message, Vote};
use super::{Agreed, Committed, Queued, Raft};
use crate::consensus::{Batch, Claim, Content, EngineId, Index, Letter, Member, Members, Peer, Ready, Snapshot, Write};
use bytes::Bytes;
use raft::eraftpb as pb;
use raft::{GetEntriesContext, StateRole};

fn letters(messages: Vec<pb::Message>) -> Vec<(Peer, Letter)> {
    let letter = |message: pb::Message| {
        let to = EngineId(message.to);
        Some((to, Letter(Content::Raft(Box::new(Message::of(message)?)))))
    };
    messages.into_iter().filter_map(letter).collect()
}

impl Raft {
    pub(super) fn turn(&mut self) -> Option<Ready> {
        if !self.node.has_ready() && !self.can_hand_out() && self.compaction.is_none() {
            return None;
        }
        self.node.mut_store().free_some();
        self.batch += 1;
        let mut turn = Ready { batch: Batch(self.batch), ..Ready::default() };
        let mut queued =
            Queued { batch: self.batch, number: None, sync: false, commit: 0, installed: None, letters: Vec::new() };
        if self.node.has_ready() {
            self.take_ready(&mut turn, &mut queued);
        }
        self.hand_out(&mut turn);
        self.take_compaction(&mut turn);
        turn.then = queued.letters.len();
        queued.sync = turn.sync;
        queued.commit = self.written.commit;
        self.queued.push_back(queued);
        Some(turn)
    }

    /// Between `ready` and `advance_append_async` the engine must not be called.
    fn take_ready(&mut self, turn: &mut Ready, queued: &mut Queued) {
        let mut ready = self.node.ready();
        turn.now = letters(ready.take_messages());
        for state in ready.take_read_states() {
            turn.reads.extend(self.own_ask(&state.request_ctx).map(|ask| (ask, Index(state.index))));
        }
        if !ready.snapshot().is_empty() {
            queued.installed = Some(self.install(ready.snapshot(), turn));
        }
        if !ready.entries().is_empty() {
            let entries = ready.take_entries();
            self.node.mut_store().append(&entries);
            let record = |entry: pb::Entry| (entry.index, Entry::of(entry).encode());
            turn.store.push(Write::Append(entries.into_iter().map(record).collect()));
        }
        if let Some(hard) = ready.hs() {
            self.node.mut_store().hard = hard.clone();
            self.write_vote(Vote::of(hard), turn);
        }
        turn.sync = ready.must_sync();
        queued.letters = letters(ready.take_persisted_messages());
        self.agreed.extend(ready.take_committed_entries().into_iter().map(Agreed::Entry));
        queued.number = Some(ready.number());
        self.node.advance_append_async(ready);
    }

    fn write_vote(&mut self, vote: Vote, turn: &mut Ready) {
        let guard = (vote.term, vote.vote) != (self.written.term, self.written.vote);
        self.written = vote;
        turn.store.push(Write::Vote { record: vote.encode(), guard });
    }

    /// The engine replaced its log; the commit index it writes beside it is never below the snapshot.
    fn install(&mut self, snapshot: &pb::Snapshot, turn: &mut Ready) -> Snapshot {
        let handle = Handle::of(snapshot);
        self.names = handle.names.iter().copied().collect();
        self.confs.clear();
        self.confs.push_back((handle.index, handle.conf.clone(), self.names.clone()));
        // Everything not yet handed out lies inside the snapshot.
        self.agreed.clear();
        self.compaction = None;
        self.node.mut_store().install(handle.clone());
        let snapshot = self.snapshot_of(&handle);
        turn.store.push(Write::Install(snapshot.clone()));
        snapshot
    }

    fn snapshot_of(&self, handle: &Handle) -> Snapshot {
        Snapshot { index: Index(handle.index), members: self.members(&handle.conf), engine: handle.encode() }
    }

    /// The ask inside a read index's context, when it is ours.
    fn own_ask(&self, context: &[u8]) -> Option<u64> {
        let (id, ask) = context.split_first_chunk::<8>()?;
        (u64::from_le_bytes(*id) == self.id).then_some(u64::from_le_bytes(ask.try_into().ok()?))
    }

    /// A change of members waits until the disk knows that it was agreed; all else goes out at once.
    fn can_hand_out(&self) -> bool {
        match self.agreed.front() {
            Some(Agreed::Entry(entry)) if is_change(entry) => {
                entry.index <= self.durable_commit || !self.durability_is_coming(entry.index)
            }
            Some(_) => true,
            None => false,
        }
    }

    /// A queued, synced batch will make the commit index `index` durable.
    fn durability_is_coming(&self, index: u64) -> bool {
        self.queued.iter().any(|queued| queued.sync && queued.commit >= index)
    }

    fn hand_out(&mut self, turn: &mut Ready) {
        while let Some(next) = self.agreed.front() {
            if let Agreed::Entry(entry) = next
                && is_change(entry)
                && entry.index > self.durable_commit
            {
                self.make_commit_durable(entry.index, turn);
                return;
            }
            match self.agreed.pop_front() {
                Some(Agreed::Entry(entry)) => {
                    self.handed_out = entry.index;
                    let committed = self.committed(entry);
                    turn.apply.push(committed);
                }
                Some(Agreed::Snapshot(snapshot)) => turn.apply.push(Committed::Snapshot(snapshot)),
                None => return,
            }
        }
    }

    /// The commit index is written lazily, so that a server restarted behind a change it had applied would vote with the
    /// members of before. Hence the index of a change reaches the disk before the change takes effect.
    fn make_commit_durable(&mut self, index: u64, turn: &mut Ready) {
        if self.durability_is_coming(index) {
            return;
        }
        if self.written.commit < index || turn.store.is_empty() {
            let vote = Vote::of(&self.node.raft.hard_state());
            self.write_vote(vote, turn);
        }
        turn.sync = true;
    }

    fn committed(&mut self, entry: pb::Entry) -> Committed {
        let index = Index(entry.index);
        if is_change(&entry) {
            self.apply_change(&entry);
            return Committed::Members { index, members: self.members(&self.conf()) };
        }
        let command: Bytes = entry.data;
        if command.is_empty() { Committed::Nothing { index } } else { Committed::Command { index, command } }
    }

    fn apply_change(&mut self, entry: &pb::Entry) {
        let change = Change::of(entry);
        let Ok(engine) = change.clone().into_engine() else { return };
        // A change that does not fit the configuration is refused by every server alike and changes nothing.
        if self.node.apply_conf_change(&engine).is_err() {
            return;
        }
        // Entering a joint configuration keeps the nodes of those on their way out; leaving it drops them.
        self.names.extend(change.into_names());
        let conf = self.conf();
        let ids = conf.ids();
        self.names.retain(|id, _| ids.contains(id));
        self.confs.push_back((entry.index, conf, self.names.clone()));
        // A leader without a place in the members stops the process when its own batch is reported as stored.
        let raft = &mut self.node.raft;
        if raft.state == StateRole::Leader && !raft.prs().conf().voters().contains(self.id) {
            let term = raft.term;
            raft.become_follower(term, 0);
        }
    }

    fn take_compaction(&mut self, turn: &mut Ready) {
        let Some(handle) = self.compaction.take() else { return };
        // Compaction must leave a commit index that is not below it, in the same transaction.
        let vote = Vote::of(&self.node.raft.hard_state());
        if self.written != vote || turn.store.is_empty() {
            self.write_vote(vote, turn);
        }
        while self.confs.get(1).is_some_and(|(from, ..)| *from <= handle.index) {
            self.confs.pop_front();
        }
        let names = handle.names.iter().copied().collect();
        let current = std::mem::replace(&mut self.names, names);
        turn.store.push(Write::Compact(self.snapshot_of(&handle)));
        self.names = current;
        self.node.mut_store().compact(handle);
    }

    /// The snapshot handle for an applied index above the last snapshot.
    pub(super) fn handle_at(&self, index: u64) -> Option<Handle> {
        let log = &self.node.raft.raft_log;
        let base = self.node.raft.store().snapshot.as_ref()?.index;
        // While a received snapshot is on its way to the disk, what the host has applied lies below it.
        if index <= base || index > log.applied() || log.unstable_snapshot().is_some() {
            return None;
        }
        let (_, conf, names) = self.confs.iter().rev().find(|(from, ..)| *from <= index)?;
        let names = names.iter().map(|(id, node)| (*id, *node)).collect();
        Some(Handle { index, term: log.term(index).ok()?, conf: conf.clone(), names })
    }

    /// Everything after what was handed out, and the handle on the end of the log with only these members.
    pub(super) fn claimed(&self, members: &Members) -> Option<Claim> {
        let log = &self.node.raft.raft_log;
        let (applied, last) = (log.applied(), log.last_index());
        // A snapshot on its way to the disk is not in the host's hands yet, nor is what has been agreed but not given out.
        if log.unstable_snapshot().is_some() || self.handed_out != applied {
            return None;
        }
        let tail = match last > applied {
            true => log.entries(applied + 1, None, GetEntriesContext::empty(false)).ok()?,
            false => Vec::new(),
        };
        let commands = tail.into_iter().filter(|entry| !is_change(entry) && !entry.data.is_empty());
        let commands = commands.map(|entry| (Index(entry.index), entry.data)).collect();
        let ids = |members: &[Member]| members.iter().map(|member| member.engine.0).collect();
        let conf = Conf { voters: ids(&members.voters), learners: ids(&members.learners), ..Conf::default() };
        let names = members.all().map(|member| (member.engine.0, member.node)).collect();
        let handle = Handle { index: last, term: log.last_term(), conf, names };
        let snapshot = Snapshot { index: Index(last), members: members.clone(), engine: handle.encode() };
        let vote = Vote { commit: last, ..Vote::of(&self.node.raft.hard_state()) };
        Some(Claim { commands, snapshot, vote: vote.encode() })
    }

    pub(super) fn on_stored(&mut self, batch: u64) -> Vec<(Peer, Letter)> {
        let mut done = Vec::new();
        while self.queued.front().is_some_and(|queued| queued.batch <= batch) {
            done.extend(self.queued.pop_front());
        }
        if let Some(synced) = done.iter().rposition(|queued| queued.sync) {
            self.durable_commit = self.durable_commit.max(done[synced].commit);
        }
        let letters = done.iter_mut().flat_map(|queued| std::mem::take(&mut queued.letters)).collect();
        if let Some(number) = done.iter().rev().find_map(|queued| queued.number) {
            self.node.on_persist_ready(number);
        }
        // Nobody else tells the engine that a stored snapshot is applied; an election would later stop the process. One that
        // another already follows to the disk is passed over: the host has the state of the last one only.
        let overtaken = self.queued.iter().any(|queued| queued.installed.is_some());
        let installed = done.into_iter().rev().find_map(|queued| queued.installed);
        if let Some(snapshot) = installed.filter(|_| !overtaken) {
            self.advance_applied(snapshot.index.0);
            self.handed_out = self.handed_out.max(snapshot.index.0);
            self.agreed.push_front(Agreed::Snapshot(snapshot));
        }
        letters
    }

    pub(super) fn advance_applied(&mut self, upto: u64) {
        if upto > self.node.raft.raft_log.applied() {
            self.node.advance_apply_to(upto);
        }
    }
}

fn is_change(entry: &pb::Entry) -> bool {
    entry.get_entry_type() != pb::EntryType::EntryNormal
}
