//! How the first servers of a cluster agree to be one by promises.
//!
//! The lowest node id among exactly `bootstrap_expect` servers without state proposes the members and a random cluster id;
//! its proposal is its own promise. Every member promises durably to at most one proposal and tells all the others. Whoever
//! knows the promises of all, or is written to by a Raft engine of that cluster, starts. One durable refusal by a named
//! member kills a proposal, since it can never be whole again, and frees everybody who promised it.
//!
//! Sans-IO: what must be persisted comes out as [`Output::Persist`], and nothing that depends on it happens before
//! [`Bootstrap::persisted`]. It never decides anything for a server that already has state.

use super::{EngineId, Member, Members, encode};
use crate::dice::Dice;
use crate::time::Instant;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

/// First byte of letters and of the persisted promise.
const FORMAT: u8 = 1;
/// Promises are told again so often, since letters get lost.
const REPEAT: Duration = Duration::from_secs(1);
/// How long a proposer that was never in sight may stay out of it.
const PATIENCE: Duration = Duration::from_secs(30);
/// Nodes remembered as seen.
const SEEN_MAX: usize = 1024;
/// More first servers than this make no sense.
const EXPECT_MAX: usize = 64;
/// Dead proposals remembered. Past it this server refuses no more, and says so.
const REFUSALS_MAX: usize = 256;

/// A server as gossip knows it, this one included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub node: Uuid,
    pub engine: EngineId,
    pub expect: usize,
    /// It belongs to this cluster already.
    pub cluster: Option<Uuid>,
}

/// A cluster to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    pub cluster: Uuid,
    pub proposer: Uuid,
    /// In the order of their node ids.
    pub members: Vec<Member>,
}

/// What servers say to each other before there is a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Letter {
    /// `answer`: said by one who has started, to one who lags; it is not answered again.
    Promised {
        proposal: Proposal,
        by: Member,
        answer: bool,
    },
    Refused {
        cluster: Uuid,
        by: Member,
    },
}

impl Letter {
    #[must_use]
    pub fn encode(&self) -> Bytes {
        encode(FORMAT, self)
    }

    /// `None` for anything that is not such a letter.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let letter = decode(bytes)?;
        match &letter {
            Self::Promised { proposal, .. } if proposal.members.len() > EXPECT_MAX => None,
            _ => Some(letter),
        }
    }
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => match postcard::take_from_bytes(rest) {
            Ok((value, [])) => Some(value),
            _ => None,
        },
        _ => None,
    }
}

/// What this server is bound to, as it is persisted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Vow {
    promised: Option<Proposal>,
    /// Never to be promised: refused by us, or known to be dead.
    refused: BTreeSet<Uuid>,
}

/// What the host does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Send {
        to: Uuid,
        letter: Letter,
    },
    /// [`Write::Promise`](super::Write::Promise), synced; then [`Bootstrap::persisted`].
    Persist(Bytes),
    /// Write the cluster id, the [`bootstrap`](super::raft::bootstrap) snapshot of these members and no promise in one synced
    /// batch, and start the engine. Keep feeding letters: those who lag are still answered.
    Start {
        cluster: Uuid,
        members: Members,
    },
}

/// A persisted promise that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bootstrap promise cannot be read: run the version that wrote it, or empty the directory of this server")]
pub struct BadPromise;

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    me: Member,
    expect: usize,
    vow: Vow,
    /// The vow on its way to the disk; nothing else is decided meanwhile.
    saving: bool,
    /// Who is known to have promised the proposal we promised.
    promises: BTreeSet<Member>,
    candidates: BTreeMap<Uuid, Candidate>,
    /// Every node that was a candidate at some time.
    seen: BTreeSet<Uuid>,
    /// A proposal whose proposer was never in sight, and since when it is known.
    unseen: Option<(Uuid, Instant)>,
    /// As of the last poll.
    now: Instant,
    repeat_at: Instant,
    started: bool,
    /// The cluster it belongs to, once that is on the disk.
    joined: Option<Uuid>,
}

impl Bootstrap {
    /// For a server whose store has no state. `expect` 0: it waits to be added by a cluster.
    ///
    /// # Errors
    /// [`BadPromise`] when `promise`, as recovered, is of another format.
    pub fn new(me: Member, expect: usize, promise: Option<&[u8]>) -> Result<Self, BadPromise> {
        let vow: Vow = match promise {
            Some(bytes) => decode(bytes).ok_or(BadPromise)?,
            None => Vow::default(),
        };
        let mut bootstrap = Self {
            me,
            expect,
            vow,
            saving: false,
            promises: BTreeSet::new(),
            candidates: BTreeMap::new(),
            seen: BTreeSet::new(),
            unseen: None,
            now: Instant(0),
            repeat_at: Instant(0),
            started: false,
            joined: None,
        };
        bootstrap.count_own();
        Ok(bootstrap)
    }

    /// Called when gossip's view changed, and at least each second. `candidates` are the servers alive, this one included.
    pub fn poll(&mut self, now: Instant, candidates: &[Candidate], dice: &mut Dice) -> Vec<Output> {
        self.candidates = candidates.iter().map(|candidate| (candidate.node, *candidate)).collect();
        self.now = now;
        if self.seen.len() < SEEN_MAX {
            self.seen.extend(self.candidates.keys());
        }
        let mut out = Vec::new();
        if self.started || self.saving {
            return out;
        }
        if self.vow.promised.is_none() && self.obstacle().is_none() && self.is_lowest() {
            let members = if self.expect == 1 { vec![self.me] } else { self.expected_members() };
            self.vow.promised = Some(Proposal { cluster: dice.uuid(), proposer: self.me.node, members });
            self.save(&mut out);
        } else if now >= self.repeat_at {
            self.repeat_at = now + REPEAT;
            self.tell_all(&mut out);
            self.start_if_whole(&mut out);
        }
        out
    }

    /// A letter from another server.
    pub fn receive(&mut self, letter: Letter) -> Vec<Output> {
        let mut out = Vec::new();
        if self.saving {
            // It will be told again.
            return out;
        }
        match letter {
            Letter::Promised { proposal, by, answer } => self.on_promised(proposal, by, answer, &mut out),
            Letter::Refused { cluster, by } => {
                let killed = self.vow.promised.as_ref().is_some_and(|bound| {
                    bound.cluster == cluster && bound.members.contains(&by) && !self.promises.contains(&by)
                });
                if killed && !self.started && self.joined.is_none() && self.vow.refused.len() < REFUSALS_MAX {
                    self.vow.promised = None;
                    self.vow.refused.insert(cluster);
                    self.save(&mut out);
                }
            }
        }
        out
    }

    /// A Raft letter of this cluster arrived: its members have started.
    pub fn heard(&mut self, cluster: Uuid) -> Vec<Output> {
        let mut out = Vec::new();
        if !self.saving && self.vow.promised.as_ref().is_some_and(|bound| bound.cluster == cluster) {
            self.start(&mut out);
        }
        out
    }

    /// The disk knows that this server belongs to a cluster: it never promises anything again, and says so to whoever asks.
    /// Without that, an emptied server that proposed a cluster to members of its old one would wait for them for ever.
    pub const fn joined(&mut self, cluster: Uuid) {
        self.joined = Some(cluster);
    }

    #[must_use]
    pub const fn has_joined(&self) -> bool {
        self.joined.is_some()
    }

    /// The last [`Output::Persist`] is on the disk.
    pub fn persisted(&mut self) -> Vec<Output> {
        let mut out = Vec::new();
        if !std::mem::take(&mut self.saving) {
            return out;
        }
        self.count_own();
        self.tell_all(&mut out);
        self.start_if_whole(&mut out);
        out
    }

    /// Bound by a promise: it may not follow another cluster.
    #[must_use]
    pub const fn is_bound(&self) -> bool {
        self.vow.promised.is_some()
    }

    /// Why there is no cluster yet, for the log and for `lictor info`; `None` once started.
    #[must_use]
    pub fn waiting(&self) -> Option<String> {
        if self.started {
            return None;
        }
        let Some(bound) = &self.vow.promised else {
            return Some(self.obstacle().unwrap_or_else(|| match self.candidates.keys().next() {
                Some(lowest) => format!("waiting for server {lowest} to propose the cluster"),
                None => "waiting for gossip".to_owned(),
            }));
        };
        let missing = bound.members.iter().filter(|member| !self.promises.contains(member));
        let missing: Vec<String> =
            missing.map(|member| format!("{} (log store {})", member.node, member.engine)).collect();
        let others: Vec<String> = bound.members.iter().map(|member| member.node.to_string()).collect();
        Some(format!(
            "bound to the cluster proposed by server {}, which still lacks the promise of {}; if that server or its data is \
             lost for good, stop the servers {}, empty their data directories and start them again",
            bound.proposer,
            missing.join(", "),
            others.join(", "),
        ))
    }

    /// What keeps the servers in sight from being a first cluster.
    fn obstacle(&self) -> Option<String> {
        if self.expect == 0 {
            return Some("bootstrap_expect is not set: waiting to be added by a cluster".to_owned());
        }
        if let Some((other, cluster)) = self.candidates.values().find_map(|other| Some((other, other.cluster?))) {
            let node = other.node;
            return Some(format!("server {node} belongs to cluster {cluster} already: waiting to be added by it"));
        }
        if self.expect == 1 {
            return None;
        }
        if let Some(other) = self.candidates.values().find(|other| other.expect != self.expect) {
            return Some(format!(
                "server {} has bootstrap_expect {}, this one {}: set them equal",
                other.node, other.expect, self.expect
            ));
        }
        let (found, expect) = (self.candidates.len(), self.expect);
        if !self.candidates.contains_key(&self.me.node) || found < expect {
            return Some(format!("{found} of {expect} expected servers are here"));
        }
        if found > expect || expect > EXPECT_MAX {
            return Some(format!("{found} servers are here, but bootstrap_expect is {expect}: stop some, or raise it"));
        }
        None
    }

    fn is_lowest(&self) -> bool {
        self.expect == 1 || self.candidates.keys().next() == Some(&self.me.node)
    }

    fn expected_members(&self) -> Vec<Member> {
        self.candidates.values().map(|other| Member { engine: other.engine, node: other.node }).collect()
    }

    fn on_promised(&mut self, proposal: Proposal, by: Member, answer: bool, out: &mut Vec<Output>) {
        // Our node under another log store: the promise of a directory that was emptied is not ours to give or to break.
        if !proposal.members.contains(&self.me) || !proposal.members.contains(&by) || by == self.me {
            return;
        }
        let cluster = proposal.cluster;
        if let Some(ours) = self.joined {
            // A member of the proposed cluster itself has surely promised it: nobody starts before all have.
            let letter = if ours == cluster {
                Letter::Promised { proposal, by: self.me, answer: true }
            } else {
                Letter::Refused { cluster, by: self.me }
            };
            if !answer {
                out.push(Output::Send { to: by.node, letter });
            }
            return;
        }
        if let Some(bound) = &self.vow.promised {
            if *bound == proposal {
                self.promises.insert(by);
                self.start_if_whole(out);
                if self.started && !answer {
                    let letter = Letter::Promised { proposal, by: self.me, answer: true };
                    out.push(Output::Send { to: by.node, letter });
                }
                return;
            }
            // Bound elsewhere, so this one can never have our promise while that lasts: it dies, and its members are free.
            if !self.vow.refused.contains(&cluster) {
                self.refuse(cluster, out);
                return;
            }
        }
        if self.vow.refused.contains(&cluster) {
            out.push(Output::Send { to: by.node, letter: Letter::Refused { cluster, by: self.me } });
            return;
        }
        if !self.candidates.contains_key(&proposal.proposer) {
            if self.has_failed(&proposal) {
                self.refuse(cluster, out);
            }
            return;
        }
        // Seen from here it may still come right; the proposal is told again.
        if self.obstacle().is_some() || self.expected_members() != proposal.members {
            return;
        }
        self.promises = BTreeSet::from([by]);
        self.vow.promised = Some(proposal);
        self.save(out);
    }

    /// A proposer out of sight has failed if it was in sight before. One that never was (gossip may lag behind the letter,
    /// or this server was restarted) is given a while.
    fn has_failed(&mut self, proposal: &Proposal) -> bool {
        if self.seen.contains(&proposal.proposer) {
            return true;
        }
        match self.unseen {
            Some((cluster, since)) if cluster == proposal.cluster => self.now.since(since) >= PATIENCE,
            _ => {
                self.unseen = Some((proposal.cluster, self.now));
                false
            }
        }
    }

    /// Durable before it is said; the one who told us hears it when he tells again.
    fn refuse(&mut self, cluster: Uuid, out: &mut Vec<Output>) {
        if self.started || self.vow.refused.len() >= REFUSALS_MAX {
            return;
        }
        self.vow.refused.insert(cluster);
        self.save(out);
    }

    fn save(&mut self, out: &mut Vec<Output>) {
        self.saving = true;
        out.push(Output::Persist(encode(FORMAT, &self.vow)));
    }

    /// Our own promise, and the proposer's, which is the proposal itself.
    fn count_own(&mut self) {
        let Some(bound) = &self.vow.promised else {
            self.promises.clear();
            return;
        };
        self.promises.retain(|member| bound.members.contains(member));
        self.promises.insert(self.me);
        self.promises.extend(bound.members.iter().find(|member| member.node == bound.proposer));
    }

    fn tell_all(&self, out: &mut Vec<Output>) {
        let Some(proposal) = &self.vow.promised else { return };
        for member in proposal.members.iter().filter(|member| **member != self.me) {
            let letter = Letter::Promised { proposal: proposal.clone(), by: self.me, answer: false };
            out.push(Output::Send { to: member.node, letter });
        }
    }

    fn start_if_whole(&mut self, out: &mut Vec<Output>) {
        let whole = |bound: &Proposal| bound.members.iter().all(|member| self.promises.contains(member));
        if self.vow.promised.as_ref().is_some_and(whole) {
            self.start(out);
        }
    }

    fn start(&mut self, out: &mut Vec<Output>) {
        if let Some(bound) = self.vow.promised.as_ref().filter(|_| !self.started) {
            self.started = true;
            let members = Members { voters: bound.members.clone(), learners: Vec::new() };
            out.push(Output::Start { cluster: bound.cluster, members });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "an unwrap that fails is a test that fails")]
mod tests {
    use super::*;

    fn member(id: u64) -> Member {
        Member { engine: EngineId(100 + id), node: Uuid::from_u128(u128::from(id)) }
    }

    fn candidate(id: u64, expect: usize) -> Candidate {
        Candidate { node: member(id).node, engine: member(id).engine, expect, cluster: None }
    }

    /// Servers that reach each other unless they are down; disks that are done at once unless `slow`.
    struct Town {
        servers: BTreeMap<u64, Bootstrap>,
        disks: BTreeMap<u64, Option<Bytes>>,
        started: BTreeMap<u64, (Uuid, Members)>,
        down: BTreeSet<u64>,
        /// Letters from these are lost.
        mute: BTreeSet<u64>,
        dice: Dice,
        now: Instant,
    }

    impl Town {
        fn new(ids: &[u64], expect: usize) -> Self {
            let new = |id: &u64| (*id, Bootstrap::new(member(*id), expect, None).unwrap());
            Self {
                servers: ids.iter().map(new).collect(),
                disks: BTreeMap::new(),
                started: BTreeMap::new(),
                down: BTreeSet::new(),
                mute: BTreeSet::new(),
                dice: Dice::new(7),
                now: Instant(1),
            }
        }

        fn round(&mut self, candidates: &[Candidate]) {
            self.now = self.now + Duration::from_secs(1);
            for id in self.servers.keys().copied().collect::<Vec<_>>() {
                if !self.down.contains(&id) {
                    let out = self.servers.get_mut(&id).unwrap().poll(self.now, candidates, &mut self.dice);
                    self.carry(id, out);
                }
            }
        }

        fn carry(&mut self, id: u64, outputs: Vec<Output>) {
            for output in outputs {
                match output {
                    Output::Send { to, letter } => {
                        let to = u64::try_from(to.as_u128()).unwrap();
                        let letter = Letter::decode(&letter.encode()).unwrap();
                        if !self.down.contains(&to) && !self.mute.contains(&id) && self.servers.contains_key(&to) {
                            let out = self.servers.get_mut(&to).unwrap().receive(letter);
                            self.carry(to, out);
                        }
                    }
                    Output::Persist(vow) => {
                        self.disks.insert(id, Some(vow));
                        let out = self.servers.get_mut(&id).unwrap().persisted();
                        self.carry(id, out);
                    }
                    Output::Start { cluster, members } => {
                        let twice = self.started.insert(id, (cluster, members));
                        assert_eq!(twice, None, "started once");
                    }
                }
            }
        }

        fn restart(&mut self, id: u64, expect: usize) {
            let promise = self.disks.get(&id).cloned().flatten();
            self.servers.insert(id, Bootstrap::new(member(id), expect, promise.as_deref()).unwrap());
            self.down.remove(&id);
        }
    }

    #[test]
    fn three_agree_on_one_cluster() {
        let mut town = Town::new(&[1, 2, 3], 3);
        town.round(&[candidate(1, 3), candidate(2, 3)]);
        assert!(town.started.is_empty());
        assert_eq!(town.servers[&1].waiting().unwrap(), "2 of 3 expected servers are here");
        let all = [candidate(1, 3), candidate(2, 3), candidate(3, 3)];
        for _ in 0..3 {
            town.round(&all);
        }
        assert_eq!(town.started.len(), 3);
        let first = &town.started[&1];
        assert!(town.started.values().all(|started| started == first), "the same cluster");
        assert_eq!(first.1.voters.len(), 3);
        assert_eq!(town.servers[&1].waiting(), None);
    }

    #[test]
    fn one_alone_starts_at_once_and_none_expected_never() {
        let mut town = Town::new(&[1], 1);
        town.round(&[candidate(1, 1)]);
        assert_eq!(town.started.len(), 1);
        let mut town = Town::new(&[1], 0);
        town.round(&[candidate(1, 0)]);
        assert!(town.started.is_empty());
        assert!(town.servers[&1].waiting().unwrap().contains("waiting to be added"));
    }

    #[test]
    fn state_a_candidate_too_many_or_another_number_prevent() {
        let check = |extra: Candidate, reason: &str| {
            let mut town = Town::new(&[1, 2, 3], 3);
            for _ in 0..3 {
                town.round(&[candidate(1, 3), candidate(2, 3), candidate(3, 3), extra]);
            }
            assert!(town.started.is_empty() && town.disks.is_empty(), "{reason}");
            assert!(town.servers[&2].waiting().unwrap().contains(reason), "{:?}", town.servers[&2].waiting());
        };
        check(Candidate { cluster: Some(Uuid::max()), ..candidate(4, 3) }, "belongs to cluster");
        check(candidate(4, 3), "4 servers are here, but bootstrap_expect is 3");
        check(candidate(3, 5), "set them equal");
    }

    #[test]
    fn the_rest_start_when_the_proposer_dies_after_the_promises() {
        let mut town = Town::new(&[1, 2, 3], 3);
        let all = [candidate(1, 3), candidate(2, 3), candidate(3, 3)];
        // 2 and 3 hear the proposal, and nobody hears them; then the proposer is gone.
        town.mute = BTreeSet::from([2, 3]);
        town.round(&all);
        town.round(&all);
        assert!(town.disks.len() == 3 && town.started.is_empty());
        town.down.insert(1);
        town.mute.clear();
        town.round(&all[1..]);
        assert_eq!(town.started.keys().copied().collect::<Vec<_>>(), [2, 3]);
        let (cluster, members) = town.started[&2].clone();
        // The proposer comes back with its promise; a Raft letter of that cluster is all it needs.
        town.restart(1, 3);
        let out = town.servers.get_mut(&1).unwrap().heard(cluster);
        town.carry(1, out);
        assert_eq!(town.started[&1], (cluster, members));
    }

    #[test]
    fn a_refusal_frees_those_who_promised_a_dead_proposer() {
        let mut town = Town::new(&[1, 2, 3], 3);
        let all = [candidate(1, 3), candidate(2, 3), candidate(3, 3)];
        town.down.insert(3);
        town.round(&all);
        town.round(&all);
        assert!(town.servers[&2].waiting().unwrap().contains(&member(3).node.to_string()), "names who is missing");
        town.down = BTreeSet::from([1]);
        for _ in 0..35 {
            town.round(&all[1..]);
        }
        assert_eq!(town.servers[&2].vow.promised, None, "freed by the refusal of 3");
        assert!(town.started.is_empty());
        // A new third server, and the two form a cluster with it; the old proposer is told that its proposal is dead.
        town.servers.insert(4, Bootstrap::new(member(4), 3, None).unwrap());
        for _ in 0..4 {
            town.round(&[candidate(2, 3), candidate(3, 3), candidate(4, 3)]);
        }
        assert_eq!(town.started.keys().copied().collect::<Vec<_>>(), [2, 3, 4]);
        town.restart(1, 3);
        let mut with_cluster = [candidate(1, 3), candidate(2, 3), candidate(3, 3), candidate(4, 3)];
        with_cluster[1].cluster = Some(town.started[&2].0);
        town.round(&with_cluster);
        town.round(&with_cluster);
        assert!(!town.started.contains_key(&1));
        assert_eq!(town.servers[&1].vow.promised, None);
    }

    #[test]
    fn an_emptied_member_neither_completes_nor_kills_a_proposal() {
        let mut town = Town::new(&[1, 2, 3], 3);
        let all = [candidate(1, 3), candidate(2, 3), candidate(3, 3)];
        town.mute = BTreeSet::from([2, 3]);
        town.round(&all);
        town.round(&all);
        town.mute.clear();
        let emptied = Member { engine: EngineId(999), node: member(3).node };
        town.servers.insert(3, Bootstrap::new(emptied, 3, None).unwrap());
        let new = [all[0], all[1], Candidate { engine: emptied.engine, ..all[2] }];
        for _ in 0..3 {
            town.round(&new);
        }
        assert!(town.started.is_empty());
        assert!(town.servers[&1].waiting().unwrap().contains(&member(3).engine.to_string()), "names the lost store");
    }

    #[test]
    fn who_belongs_to_a_cluster_refuses_every_other_proposal_and_vouches_for_his_own() {
        let members = vec![member(1), member(2)];
        let foreign = Proposal { cluster: Uuid::from_u128(9), proposer: member(1).node, members };
        let mut joined = Bootstrap::new(member(2), 2, None).unwrap();
        joined.poll(Instant(0), &[candidate(1, 2), candidate(2, 2)], &mut Dice::new(1));
        joined.joined(Uuid::from_u128(8));
        let asked = Letter::Promised { proposal: foreign.clone(), by: member(1), answer: false };
        let refused = Letter::Refused { cluster: foreign.cluster, by: member(2) };
        assert_eq!(joined.receive(asked.clone()), [Output::Send { to: member(1).node, letter: refused.clone() }]);
        let mut emptied = Bootstrap::new(member(1), 2, None).unwrap();
        emptied.vow.promised = Some(foreign.clone());
        emptied.count_own();
        emptied.receive(refused);
        assert!(!emptied.is_bound(), "the refusal frees the proposer");
        joined.joined(foreign.cluster);
        let vouched = Letter::Promised { proposal: foreign, by: member(2), answer: true };
        assert_eq!(joined.receive(asked), [Output::Send { to: member(1).node, letter: vouched }]);
    }
}
