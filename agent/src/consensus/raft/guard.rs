//! What keeps the engine from its traps: letters it would stop the process on, elections it may not win yet, and its dice.

use super::{ASKS_MAX, ELECTION_TICKS, Raft};
use crate::consensus::{Index, Refused};
use raft::StateRole;
use raft::eraftpb as pb;
use raft::eraftpb::MessageType;

impl Raft {
    /// The shortest election timeout, in ticks.
    pub(super) fn election_ticks(&self) -> usize {
        (ELECTION_TICKS * self.config.multiplier) as usize
    }

    /// Whether a letter may reach the engine. `Ok(false)` drops it: it is in order, but not now.
    pub(super) fn admit(&self, message: &pb::Message) -> Result<bool, Refused> {
        let raft = &self.node.raft;
        let last = raft.raft_log.last_index();
        let current = message.term >= raft.term;
        match message.get_msg_type() {
            // The engine's own guard asks whether it knows a leader, which a restarted server does not, and a transfer's
            // request ignores it: both could elect a second leader inside the first one's lease.
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => Ok(self.deaf == 0),
            // Alone it would win on the spot, and the engine insists that its log be on the disk by then.
            MessageType::MsgTimeoutNow => Ok(!self.must_wait_for_disk()),
            // A leader names what this server acknowledged in its epoch, and nothing above.
            MessageType::MsgHeartbeat if current && message.commit > last => {
                Err(Refused::Forgotten { last: Index(last), told: Index(message.commit) })
            }
            // It would become the engine's truth about a peer without a further look.
            MessageType::MsgAppendResponse if current && !message.reject && message.index > last => {
                Err(Refused::Malformed)
            }
            MessageType::MsgReadIndex if raft.state != StateRole::Leader => Ok(false),
            MessageType::MsgReadIndex if raft.pending_read_count() >= ASKS_MAX => Err(Refused::Busy),
            _ => Ok(true),
        }
    }

    /// True while this server would be elected by its own vote alone although its log is not on the disk yet. The engine
    /// asserts `last_index == persisted` when it becomes leader; with other voters the vote requests wait for the disk.
    pub(super) fn must_wait_for_disk(&self) -> bool {
        let log = &self.node.raft.raft_log;
        self.node.raft.state != StateRole::Leader && self.is_alone() && log.persisted != log.last_index()
    }

    fn is_alone(&self) -> bool {
        let voters = self.node.raft.prs().conf().voters();
        voters.contains(self.id) && voters.ids().len() == 1
    }

    /// The only voter need not wait for anybody.
    pub(super) fn elect_alone(&mut self) {
        if self.node.raft.state != StateRole::Leader && self.is_alone() && !self.must_wait_for_disk() {
            // It stays a follower while members agreed on are not applied; the next tick tries again.
            let _ = self.node.campaign();
        }
    }

    /// The engine forgets to leave a joint configuration when its leader stepped down in between.
    pub(super) fn leave_joint(&mut self) {
        let raft = &self.node.raft;
        if raft.state == StateRole::Leader && !raft.has_pending_conf() && self.conf().is_joint() {
            // Refused while a transfer runs; the next tick tries again.
            let _ = self.node.propose_conf_change(Vec::new(), pb::ConfChangeV2::default());
        }
    }

    /// The engine draws its election timeout from the thread's generator. Ours stands in its place after every call, drawn
    /// anew only when role or term changed: comparing the two values instead would depend on the engine's draw.
    pub(super) fn overwrite_timeout(&mut self) {
        let now = (self.node.raft.state, self.node.raft.term);
        if self.drawn_for != now {
            self.drawn_for = now;
            let ticks = self.election_ticks();
            self.timeout = ticks + usize::try_from(self.dice.below(ticks as u64)).unwrap_or(0);
        }
        self.node.raft.set_randomized_election_timeout(self.timeout);
    }
}
