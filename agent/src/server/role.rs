//! What a server does besides being an agent: it holds a replica, bootstraps a cluster or waits to be added to one, and
//! while it leads it does the leader's work.
//!
//! Without a socket, disk or clock: letters, gossip's news and time come in, effects go out.

pub mod operate;
pub mod recovery;
mod sessions;

use super::lineage;
use super::reconcile::Reconciler;
use super::replica::{Diverging, Peer, Replica};
use super::tags::{OwnServer, ServerTags};
use super::voters::{Electorate, Standing, keeps_quorum};
use crate::consensus::bootstrap::{BadPromise, Bootstrap, Candidate, Letter as BootstrapLetter, Output};
use crate::consensus::lease::Lease;
use crate::consensus::raft;
use crate::consensus::store::Recovered;
use crate::consensus::{Engine, EngineId, Letter, Make, Member as Voter, Members, Write};
use crate::dice::Dice;
use crate::effect::{Answer, Effect, Job, Ticket};
use crate::gossip::{Member, MemberStatus};
use crate::rpc::Unserved;
use crate::time::Instant;
use lictor_catalog::command::FEATURE_LEVEL;
use lictor_catalog::{Autopilot, Command, Index, Store};
use std::net::SocketAddr;
use std::time::Duration;
use uuid::Uuid;

/// The full pass over all members; changes are looked at as they come.
const FULL_PASS: Duration = Duration::from_secs(60);
/// The pass while somebody is on probation or unknown.
const SHORT_PASS: Duration = Duration::from_secs(1);
/// How often the candidates are looked at while there is no cluster.
const BOOTSTRAP_POLL: Duration = Duration::from_millis(200);
/// A reason to wait is told once it has lasted so long.
const REASON_LASTS: Duration = Duration::from_secs(1);
/// Writes of one pass; the next pass goes on.
const WRITES_A_PASS: usize = 256;
/// Batch numbers of writes that are not the engine's, whose own begin with 1: of the cluster id, of a promise, and of a
/// recovered state.
const FOUNDED: u64 = 0;
const RECOVERED: u64 = u64::MAX - 1;
const PROMISED: u64 = u64::MAX;

/// What a server is told at its start.
#[derive(Clone, Debug)]
pub struct RoleConfig {
    pub me: Uuid,
    pub datacenter: String,
    pub rpc: SocketAddr,
    /// How many servers bootstrap together; 0: this one only joins.
    pub expect: u32,
    pub engine: Make,
    pub raft: raft::Config,
    pub reap_after: Duration,
    /// How servers are tended until somebody sets it.
    pub autopilot: Autopilot,
}

/// The log store's content cannot be started from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotStart {
    #[error(transparent)]
    Engine(#[from] raft::RecoverError),
    #[error(transparent)]
    Promise(#[from] BadPromise),
}

/// Why there is no cluster yet, since when, and whether the log has it.
struct Reason {
    reason: String,
    since: Instant,
    told: bool,
}

/// See the module's page.
pub struct Role {
    config: RoleConfig,
    engine: EngineId,
    cluster: Option<Uuid>,
    replica: Option<Replica>,
    bootstrap: Bootstrap,
    next_poll: Instant,
    /// Why there is no cluster yet.
    waiting: Option<Reason>,
    reconciler: Reconciler,
    electorate: Electorate,
    members: Vec<Member>,
    next_pass: Instant,
    /// The last write of the leader's own; the next pass waits until it is applied.
    under_way: Index,
    /// The last of the commands that end sessions; until it is applied the same ones are still to be found.
    expiring: Index,
    was_settled: bool,
    orders: Vec<operate::Order>,
    recovering: Option<recovery::Recovering>,
    /// When there was a leader last, in this life.
    followed: Option<Instant>,
    /// Since when there is none, and whether the operator was told.
    leaderless: Option<(Instant, bool)>,
    /// It goes as soon as it is no voter any more.
    leaving: bool,
    dice: Dice,
}

impl Role {
    /// From what the log store held, and the state at its snapshot.
    ///
    /// # Errors
    /// [`CannotStart`] when what was recovered does not fit together.
    pub fn start(
        config: RoleConfig,
        found: &Recovered,
        store: Store,
        mut dice: Dice,
        now: Instant,
    ) -> Result<Self, CannotStart> {
        let (engine, cluster) = (found.engine, found.cluster);
        let me = Voter { engine, node: config.me };
        let expect = if cluster.is_some() { 0 } else { config.expect as usize };
        let mut bootstrap = Bootstrap::new(me, expect, found.promise.as_deref())?;
        if let Some(cluster) = cluster {
            bootstrap.joined(cluster);
        }
        let replica = match cluster {
            None => None,
            Some(_) => {
                let engine = (config.engine)(found, &config.raft, dice.split())?;
                Some(replica(engine, store, &config.raft, &mut dice, now))
            }
        };
        let electorate = Electorate::new(config.me, config.reap_after);
        Ok(Self {
            config,
            engine,
            cluster,
            replica,
            bootstrap,
            next_poll: now,
            waiting: None,
            reconciler: Reconciler::default(),
            electorate,
            members: Vec::new(),
            next_pass: now,
            under_way: Index(0),
            expiring: Index(0),
            was_settled: false,
            orders: Vec::new(),
            recovering: None,
            followed: None,
            leaderless: None,
            leaving: false,
            dice,
        })
    }

    /// What gossip should tell of this server.
    #[must_use]
    pub fn tags(&self) -> OwnServer {
        OwnServer {
            port: self.config.rpc.port(),
            engine: self.engine,
            cluster: self.cluster,
            expect: self.config.expect,
            bootstrap: self.config.expect == 1,
            leaving: self.leaving,
            log_end: self.log_end(),
        }
    }

    #[must_use]
    pub const fn cluster(&self) -> Option<Uuid> {
        self.cluster
    }

    #[must_use]
    pub const fn replica(&self) -> Option<&Replica> {
        self.replica.as_ref()
    }

    #[must_use]
    pub fn deadline(&self) -> Instant {
        match &self.replica {
            Some(replica) if replica.settled() => replica.deadline().min(self.next_pass),
            Some(replica) => replica.deadline(),
            None => self.next_poll,
        }
    }

    /// Gossip's list changed.
    pub fn members(&mut self, members: &[Member], now: Instant) {
        self.name_strangers(members);
        self.members = members.to_vec();
        self.next_pass = now;
        self.next_poll = now;
        self.tell_replica();
    }

    /// Servers of another cluster are members of the same gossip, but never peers: the operator must hear of it.
    fn name_strangers(&self, members: &[Member]) {
        let Some(ours) = self.cluster else { return };
        for member in members {
            let theirs = ServerTags::of(member).and_then(|tags| tags.cluster).filter(|theirs| *theirs != ours);
            let before = self.members.iter().find(|old| old.id == member.id).and_then(ServerTags::of);
            // Of two generations of one cluster, the earlier was given up, and says so itself.
            let recovered = |theirs| lineage::supersedes(theirs, ours) || lineage::supersedes(ours, theirs);
            if let Some(theirs) = theirs.filter(|theirs| !recovered(*theirs))
                && before.and_then(|tags| tags.cluster) != Some(theirs)
            {
                tracing::warn!(
                    "server {} at {} belongs to cluster {theirs}, this one to {ours}: they were bootstrapped apart and stay \
                     two; empty the data directory of one of them to let it join the other, or correct its retry_join",
                    member.name,
                    member.address
                );
            }
        }
    }

    fn tell_replica(&mut self) {
        let datacenter = &self.config.datacenter;
        let peers = self
            .members
            .iter()
            .filter_map(|member| ServerTags::of(member).map(|tags| (member, tags)))
            .filter(|(_, tags)| tags.datacenter == *datacenter)
            .map(|(member, tags)| {
                let alive = member.status == MemberStatus::Alive;
                (member.id, Peer { name: member.name.clone(), rpc: tags.rpc, engine: tags.engine, alive })
            })
            .collect();
        if let Some(replica) = &mut self.replica {
            replica.peers(peers);
        }
    }

    fn candidate(&self, member: &Member) -> Option<Candidate> {
        let tags = ServerTags::of(member).filter(|tags| tags.datacenter == self.config.datacenter)?;
        matches!(member.status, MemberStatus::Alive | MemberStatus::Suspect).then_some(())?;
        Some(Candidate { node: member.id, engine: tags.engine?, expect: tags.expect as usize, cluster: tags.cluster })
    }

    /// A letter of the engine, from a peer of this cluster. While a recovery is being written there is nobody to read it: its
    /// sender has been given up.
    pub fn letter(
        &mut self,
        from: EngineId,
        letter: Letter,
        state: Option<Store>,
        cluster: Option<Uuid>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        if self.recovering.is_some() {
            return;
        }
        if self.replica.is_none()
            && let Some(cluster) = cluster
        {
            let outputs = self.bootstrap.heard(cluster);
            self.carry_out(outputs, now, effects);
            if self.replica.is_none() && !self.bootstrap.is_bound() {
                // Whoever leads this cluster has made us a learner.
                self.found(cluster, None, now, effects);
            }
        }
        if let Some(replica) = &mut self.replica
            && cluster == self.cluster
        {
            replica.letter(from, letter, state, now);
        }
    }

    /// A letter about bootstrapping. Also after the start: those who lag are still answered. What comes while the disk is
    /// being told of the cluster is dropped; it is repeated.
    pub fn bootstrap(&mut self, letter: BootstrapLetter, now: Instant, effects: &mut Vec<Effect>) {
        if self.recovering.is_some() || (self.cluster.is_some() && !self.bootstrap.has_joined()) {
            return;
        }
        let outputs = self.bootstrap.receive(letter);
        self.carry_out(outputs, now, effects);
    }

    /// Begins to take part in a cluster: as one of its first members, or, without members, as one that waits to be added.
    fn found(&mut self, cluster: Uuid, members: Option<&Members>, now: Instant, effects: &mut Vec<Effect>) {
        let snapshot = members.map(raft::bootstrap);
        let mut writes = vec![Write::Cluster(cluster), Write::Promise(None)];
        writes.extend(snapshot.clone().map(Write::Install));
        effects.push(Effect::Cluster(cluster));
        // In order with everything the engine will store: nothing of the engine's can be durable before this is.
        effects.push(Effect::Store(Job { batch: FOUNDED, writes, sync: true, state: None }));
        let held = Recovered { engine: self.engine, snapshot, ..Recovered::default() };
        match (self.config.engine)(&held, &self.config.raft, self.dice.split()) {
            Ok(engine) => {
                self.cluster = Some(cluster);
                self.replica = Some(replica(engine, Store::default(), &self.config.raft, &mut self.dice, now));
                self.tell_replica();
                tracing::info!(%cluster, "takes part in the cluster");
            }
            Err(error) => tracing::error!("the consensus engine does not start: {error}"),
        }
    }

    pub fn stored(&mut self, batch: u64, now: Instant, effects: &mut Vec<Effect>) {
        match (batch, self.cluster, &mut self.replica) {
            (RECOVERED, ..) => self.recovered(now, effects),
            (FOUNDED, Some(cluster), _) => self.bootstrap.joined(cluster),
            (PROMISED, ..) => {
                let outputs = self.bootstrap.persisted();
                self.carry_out(outputs, now, effects);
            }
            (_, _, Some(replica)) => replica.stored(batch, effects),
            (_, _, None) => {}
        }
    }

    /// Whether reads and writes that come here get anywhere.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.replica.as_ref().is_some_and(Replica::serves)
    }

    /// The living voter beside this one whose log reaches furthest, as the leader knows.
    fn heir(&self) -> Option<EngineId> {
        let status = self.replica.as_ref()?.status();
        let others = status.members.voters.iter().filter(|voter| voter.engine != self.engine);
        let living = others.filter(|voter| alive(&self.members, voter) && !self.is_leaving(voter));
        living
            .max_by_key(|voter| status.progress.get(&voter.engine).copied().unwrap_or_default())
            .map(|voter| voter.engine)
    }

    /// Whether a voter is this server, or alive as far as gossip knows.
    fn lives(&self, voter: &Voter) -> bool {
        voter.engine == self.engine || alive(&self.members, voter)
    }

    fn is_leaving(&self, voter: &Voter) -> bool {
        let member = self.members.iter().find(|member| member.id == voter.node);
        member.and_then(ServerTags::of).is_some_and(|tags| tags.leaving)
    }

    /// Prepares this server's going: its tags say so, it gives leadership away, and the leader takes it off the voters, so
    /// that the others keep a quorum. `true` while that is worth waiting for. `offer`: leadership is to be offered now.
    pub fn waits_to_leave(&mut self, offer: bool, now: Instant, effects: &mut Vec<Effect>) -> bool {
        self.leaving = true;
        let heir = self.heir();
        let Some(replica) = &mut self.replica else { return false };
        let status = replica.status();
        let needed = status.members.is_voter(self.engine) && heir.is_some();
        if let Some(heir) = heir.filter(|_| needed && offer && status.leading) {
            // Refused while a change runs; it is offered again.
            let _ = replica.transfer(heir, now, effects);
        }
        needed
    }

    pub fn with_replica(&mut self, act: impl FnOnce(&mut Replica)) {
        if let Some(replica) = &mut self.replica {
            act(replica);
        }
    }

    pub fn write(&mut self, ticket: Ticket, mut command: Command, now: Instant, effects: &mut Vec<Effect>) {
        self.resolve(&mut command);
        match &mut self.replica {
            Some(replica) => replica.write(ticket, command, now),
            None => effects.push(no_leader(ticket)),
        }
    }

    pub fn read_index(&mut self, ticket: Ticket, now: Instant, effects: &mut Vec<Effect>) {
        match &mut self.replica {
            Some(replica) => replica.read_index(ticket, now),
            None => effects.push(no_leader(ticket)),
        }
    }

    /// Ends a turn.
    ///
    /// # Errors
    /// [`Diverging`]; the server must stop.
    pub fn finish(&mut self, now: Instant, effects: &mut Vec<Effect>) -> Result<(), Diverging> {
        self.run_bootstrap(now, effects);
        let Some(replica) = &mut self.replica else { return Ok(()) };
        replica.timer(now);
        replica.finish(now, effects)?;
        self.mind_leader(now);
        if !self.orders.is_empty() {
            self.carry_out_orders(now, effects);
            if let Some(replica) = &mut self.replica {
                replica.finish(now, effects)?;
            }
        }
        let Some(replica) = &mut self.replica else { return Ok(()) };
        let settled = replica.settled();
        if replica.nodes_changed() {
            // Somebody else may have written what gossip knows better, such as a node that has just left.
            self.next_pass = self.next_pass.min(now + SHORT_PASS);
        }
        if settled && !self.was_settled {
            self.next_pass = now;
            self.reconciler = Reconciler::default();
            self.electorate = Electorate::new(self.config.me, self.config.reap_after);
            self.under_way = Index(0);
            self.expiring = Index(0);
        }
        self.was_settled = settled;
        if settled && now >= self.next_pass {
            self.lead(now);
            if let Some(replica) = &mut self.replica {
                replica.finish(now, effects)?;
            }
        } else if now >= self.next_pass {
            self.next_pass = now + FULL_PASS;
        }
        self.expire_sessions(now, effects)
    }

    /// Tells the operator when there is no leader for longer than elections take, and when there is one again.
    fn mind_leader(&mut self, now: Instant) {
        let Some(status) = self.replica.as_ref().map(Replica::status) else { return };
        if status.leader.is_some() {
            self.followed = Some(now);
            if let Some((since, true)) = self.leaderless.take() {
                tracing::info!("there is a leader again, after {:.0?}", now.since(since));
            }
            return;
        }
        let (since, told) = self.leaderless.get_or_insert((now, false));
        if *told || now.since(*since) < recovery::LEADERLESS {
            return;
        }
        *told = true;
        let voters = &status.members.voters;
        let living = voters.iter().filter(|voter| self.lives(voter)).count();
        if keeps_quorum(living, voters.len()) {
            tracing::warn!(
                "there is no leader, though {living} of {} voters are alive; their logs say why",
                voters.len()
            );
        } else {
            tracing::warn!(
                "there is no leader, and there can be none: {living} of {} voters are alive. Nothing is written until more come \
                 back; if they are lost for good, see what `lictor operator raft recover` would do",
                voters.len()
            );
        }
    }

    /// Looks whether there can be a cluster now, and says why not.
    fn run_bootstrap(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.replica.is_some() || now < self.next_poll {
            return;
        }
        self.next_poll = now + BOOTSTRAP_POLL;
        if self.recovering.is_some() {
            return;
        }
        let candidates: Vec<Candidate> = self.members.iter().filter_map(|member| self.candidate(member)).collect();
        let outputs = self.bootstrap.poll(now, &candidates, &mut self.dice);
        self.carry_out(outputs, now, effects);
        let waiting = self.bootstrap.waiting();
        match (waiting, &mut self.waiting) {
            (Some(reason), Some(told)) if reason == told.reason => {
                // A reason that lasts is worth a line; most are gone with the next letter.
                if !told.told && now.since(told.since) >= REASON_LASTS {
                    told.told = true;
                    tracing::info!("no cluster yet: {reason}");
                }
            }
            (reason, waiting) => *waiting = reason.map(|reason| Reason { reason, since: now, told: false }),
        }
    }

    fn carry_out(&mut self, outputs: Vec<Output>, now: Instant, effects: &mut Vec<Effect>) {
        for output in outputs {
            match output {
                Output::Send { to, letter } => {
                    let server = self.members.iter().find(|member| member.id == to).and_then(ServerTags::of);
                    if let Some(server) = server {
                        effects.push(Effect::Bootstrap { address: server.rpc, letter });
                    }
                }
                Output::Persist(promise) => {
                    let writes = vec![Write::Promise(Some(promise))];
                    effects.push(Effect::Store(Job { batch: PROMISED, writes, sync: true, state: None }));
                }
                Output::Start { .. } if self.replica.is_some() => {}
                Output::Start { cluster, members } => self.found(cluster, Some(&members), now, effects),
            }
        }
    }

    /// One pass of the leader's work.
    fn lead(&mut self, now: Instant) {
        let Some(replica) = &mut self.replica else { return };
        if replica.status().applied < self.under_way {
            self.next_pass = now + super::replica::TICK;
            return;
        }
        let mut commands =
            self.reconciler.wish(now, &self.members, replica.store(), self.config.me, self.config.reap_after);
        commands.extend(level_wish(&self.members, replica.store(), &self.config.datacenter));
        commands.extend(autopilot_wish(replica.store(), &self.config.autopilot));
        let mut soon = commands.len() > WRITES_A_PASS;
        for command in commands.into_iter().take(WRITES_A_PASS) {
            match replica.propose(command, now) {
                Ok((index, _)) => self.under_way = index,
                Err(_) => {
                    soon = true;
                    break;
                }
            }
        }
        soon |= replica.status().changing || !replica.status().members.learners.is_empty();
        if let Some(cluster) = self.cluster
            && !replica.status().changing
        {
            let status = replica.status().clone();
            let rules = replica.store().autopilot();
            let standing = Standing { committed: status.committed, matched: &status.progress, rules };
            let datacenter = &self.config.datacenter;
            let wish = self.electorate.wish(now, &status.members, &self.members, cluster, datacenter, &standing);
            if let Some(wish) = wish {
                soon = true;
                match replica.change(&wish) {
                    Ok(()) => {
                        tracing::info!(voters = wish.voters.len(), learners = wish.learners.len(), "changes servers")
                    }
                    Err(refused) => tracing::debug!("servers are not changed now: {refused}"),
                }
            }
        }
        let next = now + if soon { SHORT_PASS } else { FULL_PASS };
        self.next_pass = self.reconciler.due().map_or(next, |due| next.min(due.max(now + SHORT_PASS)));
    }
}

fn alive(members: &[Member], voter: &Voter) -> bool {
    members.iter().any(|member| member.id == voter.node && member.status == MemberStatus::Alive)
}

fn no_leader(ticket: Ticket) -> Effect {
    Effect::Answer { ticket, answer: Answer::Unserved(Unserved::NoLeader) }
}

fn replica(
    engine: Box<dyn Engine + Send>,
    store: Store,
    config: &raft::Config,
    dice: &mut Dice,
    now: Instant,
) -> Replica {
    Replica::new(engine, Lease::new(super::replica::TICK, config.multiplier), store, dice, now)
}

/// What the configuration says about autopilot holds as long as nobody has set anything. Defaults need no entry.
fn autopilot_wish(store: &Store, configured: &Autopilot) -> Option<Command> {
    let unset = store.autopilot().create_index == Index(0);
    let command = || Command::Autopilot { settings: Box::new(configured.clone()), cas: Some(Index(0)) };
    (unset && *configured != Autopilot::default()).then(command)
}

/// The feature level rises once every server that lives reads it.
fn level_wish(members: &[Member], store: &Store, datacenter: &str) -> Option<Command> {
    let offered = members
        .iter()
        .filter(|member| matches!(member.status, MemberStatus::Alive | MemberStatus::Suspect))
        .filter_map(ServerTags::of)
        .filter(|tags| tags.datacenter == datacenter)
        .map(|tags| tags.level)
        .min()?;
    let level = offered.min(FEATURE_LEVEL);
    (level > store.feature_level()).then_some(Command::FeatureLevel(level))
}
