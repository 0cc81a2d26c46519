//! Going on after most voters were lost for good: one survivor declares its log the truth and itself the only voter.
//!
//! That is safe only if no living server knows more. While there is no leader each server tells in its tags how far its log
//! reaches ([`LogEnd`]); whoever has less than a living other refuses, and so does everybody
//! while a majority lives. What only the lost servers had is lost. The cluster goes on under its next generation's id
//! ([`lineage`]), so that the others, when they come back with their old logs, stop instead of electing a second truth.
//!
//! It never acts of its own accord: an operator confirms the very situation that he was shown.

use super::{RECOVERED, Recovered, Role, no_leader, replica};
use crate::consensus::{LogEnd, Member as Voter, Members, Write};
use crate::effect::{Answer, Effect, Job, Ticket};
use crate::gossip::MemberStatus;
use crate::server::lineage;
use crate::server::tags::ServerTags;
use crate::server::voters::keeps_quorum;
use crate::time::Instant;
use lictor_catalog::{Entry, Store};
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

/// A server that had a leader is not given up before it has been without one for so long.
pub(super) const LEADERLESS: Duration = Duration::from_secs(10);

/// What a recovery would do, for the operator to read.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Prospect {
    /// The voters that are given up.
    pub given_up: Vec<String>,
    /// Living voters that have to be emptied and join anew.
    pub to_empty: Vec<String>,
    /// Where the log ends here: the last thing that will not be lost.
    pub index: u64,
    /// Says that it is this situation which is confirmed.
    pub confirm: String,
}

/// Why nothing is recovered. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotRecover {
    #[error("this server takes part in no cluster: there is nothing to recover")]
    NoCluster,
    #[error(
        "this is a client agent, which has no log to recover: ask a server that survived, with \
         -http-addr=<its address>:<its HTTP port>"
    )]
    NoServer,
    #[error("the cluster has a leader: there is nothing to recover")]
    HasLeader,
    #[error("this server is no voter: recover on one of {0}")]
    NotAVoter(String),
    #[error("{alive} of {voters} voters are alive, which is a majority: they will elect a leader by themselves")]
    Majority { alive: usize, voters: usize },
    #[error("server {0} is alive and has not told yet how far its log reaches: try again in some seconds")]
    Silent(String),
    #[error("server {fresher} knows more than this one: recover there, or writes that were acknowledged are lost")]
    Staler { fresher: String },
    #[error("server {0} knows as much as this one and comes first by its id: recover there")]
    NotFirst(String),
    #[error("the log is being written just now: try again")]
    Busy,
    #[error("the situation is no longer the one that was shown: look at it again")]
    Changed,
}

/// A recovery on its way to the disk.
pub(super) struct Recovering {
    ticket: Ticket,
    prospect: Prospect,
    held: Recovered,
    store: Store,
}

impl Role {
    /// What this server tells of its log, while it knows no leader.
    pub(super) fn log_end(&self) -> Option<LogEnd> {
        let status = self.replica.as_ref()?.status();
        (status.leader.is_none() && !status.leading).then_some(status.end)
    }

    /// A living server of a later generation of our cluster: this one was given up. A cluster that still has its leader goes on all
    /// the same: then it was the recovery that was a mistake, and the operator is told of two clusters.
    #[must_use]
    pub fn given_up(&self, now: Instant) -> Option<String> {
        let ours = self.cluster?;
        if self.followed.is_some_and(|followed| now.since(followed) < LEADERLESS) {
            return None;
        }
        let later = self.members.iter().find(|member| {
            let theirs = ServerTags::of(member).and_then(|tags| tags.cluster);
            member.status == MemberStatus::Alive && theirs.is_some_and(|theirs| lineage::supersedes(theirs, ours))
        })?;
        Some(format!(
            "this server's cluster was recovered at {} ({}) without it, and what its log holds no longer counts: empty the \
             directory raft in its data directory and start it again, then it is copied from the others",
            later.name, later.address
        ))
    }

    /// What a recovery would do here and now.
    ///
    /// # Errors
    /// [`CannotRecover`], as its variants say.
    pub fn prospect(&self) -> Result<Prospect, CannotRecover> {
        let (Some(replica), Some(cluster)) = (&self.replica, self.cluster) else {
            return Err(CannotRecover::NoCluster);
        };
        let status = replica.status();
        if status.leader.is_some() || status.leading {
            return Err(CannotRecover::HasLeader);
        }
        let voters = &status.members.voters;
        let name = |voter: &Voter| {
            let member = self.members.iter().find(|member| member.id == voter.node);
            member.map_or_else(|| voter.node.to_string(), |member| format!("{} ({})", member.name, member.address.ip()))
        };
        if !status.members.is_voter(self.engine) {
            return Err(CannotRecover::NotAVoter(voters.iter().map(name).collect::<Vec<_>>().join(", ")));
        }
        let (living, lost): (Vec<Voter>, Vec<Voter>) = voters.iter().partition(|voter| self.lives(voter));
        if keeps_quorum(living.len(), voters.len()) {
            return Err(CannotRecover::Majority { alive: living.len(), voters: voters.len() });
        }
        let others: Vec<&Voter> = living.iter().filter(|voter| voter.engine != self.engine).collect();
        for other in &others {
            let tags = self.members.iter().find(|member| member.id == other.node).and_then(ServerTags::of);
            match tags.and_then(|tags| tags.log_end) {
                None => return Err(CannotRecover::Silent(name(other))),
                Some(end) if end > status.end => return Err(CannotRecover::Staler { fresher: name(other) }),
                Some(end) if end == status.end && other.node < self.config.me => {
                    return Err(CannotRecover::NotFirst(name(other)));
                }
                Some(_) => {}
            }
        }
        let situation = format!("{cluster} {} {lost:?} {others:?}", status.end);
        Ok(Prospect {
            given_up: lost.iter().map(name).collect(),
            to_empty: others.into_iter().map(name).collect(),
            index: status.last.0,
            confirm: format!("{:08x}", crc32c::crc32c(situation.as_bytes())),
        })
    }

    /// Recovers, if the situation is still the one that was confirmed. Answered once it is on the disk.
    pub fn recover(&mut self, ticket: Ticket, confirm: &str, effects: &mut Vec<Effect>) {
        if let Err(why) = self.begin_recovery(ticket, confirm, effects) {
            effects.push(Effect::Answer { ticket, answer: Answer::Recovery(Err(why)) });
        }
    }

    fn begin_recovery(
        &mut self,
        ticket: Ticket,
        confirm: &str,
        effects: &mut Vec<Effect>,
    ) -> Result<(), CannotRecover> {
        let prospect = self.prospect()?;
        if prospect.confirm != confirm {
            return Err(CannotRecover::Changed);
        }
        let (Some(old), Some(cluster)) = (&self.replica, self.cluster) else { return Err(CannotRecover::NoCluster) };
        let me = Voter { engine: self.engine, node: self.config.me };
        let members = Members { voters: vec![me], learners: Vec::new() };
        let (claim, mut store) = old.claim(&members).ok_or(CannotRecover::Busy)?;
        for (index, command) in &claim.commands {
            // What this release cannot read was not written by it, and cannot be kept.
            let entry = Entry::decode(command).map_err(|_unreadable| CannotRecover::Busy)?;
            store.apply(*index, &entry);
        }
        let cluster = lineage::next(cluster, self.dice.uuid());
        let (snapshot, vote) = (claim.snapshot, claim.vote);
        let writes = vec![
            Write::Cluster(cluster),
            Write::Install(snapshot.clone()),
            Write::Vote { record: vote.clone(), guard: true },
        ];
        effects.push(Effect::Store(Job { batch: RECOVERED, writes, sync: true, state: Some(store.clone()) }));
        // Until that is on the disk there is no replica: what the old engine had queued is reported before it, to nobody.
        if let Some(mut old) = self.replica.take() {
            old.abandon(effects);
        }
        self.cluster = Some(cluster);
        let held = Recovered {
            engine: self.engine,
            cluster: Some(cluster),
            snapshot: Some(snapshot),
            vote: Some(vote),
            ..Recovered::default()
        };
        tracing::warn!(
            "recovers the cluster as its only voter, as asked: gives up {}; goes on as cluster {cluster}",
            prospect.given_up.join(", ")
        );
        self.recovering = Some(Recovering { ticket, prospect, held, store });
        Ok(())
    }

    /// The recovered state is on the disk: this server leads from here.
    pub(super) fn recovered(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(Recovering { ticket, prospect, held, store }) = self.recovering.take() else { return };
        match (self.config.engine)(&held, &self.config.raft, self.dice.split()) {
            Ok(engine) => {
                self.replica = Some(replica(engine, store, &self.config.raft, &mut self.dice, now));
                self.was_settled = false;
                if let Some(cluster) = self.cluster {
                    self.bootstrap.joined(cluster);
                }
                effects.extend(self.cluster.map(Effect::Cluster));
                self.tell_replica();
                effects.push(Effect::Answer { ticket, answer: Answer::Recovery(Ok(prospect)) });
            }
            Err(error) => {
                tracing::error!(
                    "the consensus engine does not start on what was recovered: {error}; restart this agent"
                );
                effects.push(no_leader(ticket));
            }
        }
    }
}
