//! Who should vote: the replicated configuration that fits the servers that live (Consul's autopilot rules).
//!
//! A new server becomes a learner, and a voter once it has caught up and has been well for a while. A voter that leaves or left
//! is removed; one that failed stays until a healthy server takes its place, or until gossip has not known it for as long as
//! a failed member is kept, so that the number of votes never falls by a failure that nobody looked at. Nobody is removed
//! without whom the living voters would be no majority. A wiped server comes back with a new engine id and is a new server; its
//! old id goes when it is promoted.

use super::tags::ServerTags;
use crate::consensus::{EngineId, Member as Voter, Members};
use crate::gossip::{Member, MemberStatus};
use crate::time::Instant;
use lictor_catalog::Index;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

/// How long a new server must have been well before it votes (`autopilot.server_stabilization_time`).
pub const STABLE_AFTER: Duration = Duration::from_secs(10);
/// A learner that has been gone for so long is taken off; should it come back, it begins anew.
const LEARNER_GONE_AFTER: Duration = Duration::from_secs(60);
/// How far behind a healthy server's log may be (`autopilot.max_trailing_logs`).
const TRAILING_MAX: u64 = 250;

/// What this leader noticed about newcomers, and when. Volatile.
#[derive(Debug)]
pub struct Electorate {
    /// This leader: it hands over rather than remove itself.
    me: Uuid,
    /// A voter that gossip has not known for so long is gone.
    reap_after: Duration,
    well_since: BTreeMap<EngineId, Instant>,
    /// Learners of whom gossip knows nothing good. Each emptied directory makes another one.
    gone_since: BTreeMap<EngineId, Instant>,
    /// Voters that gossip knew in this leader's time: one that it knows no longer was reaped, or sent away and pruned.
    known: BTreeSet<EngineId>,
    /// Voters that gossip does not know at all.
    unknown_since: BTreeMap<EngineId, Instant>,
}

/// Whether so many living voters are a majority of all of them.
#[must_use]
pub const fn keeps_quorum(living: usize, voters: usize) -> bool {
    living * 2 > voters
}

/// What is known of the log's progress.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    pub committed: Index,
    pub matched: &'a BTreeMap<EngineId, Index>,
}

impl Electorate {
    /// One that has noticed nothing yet.
    #[must_use]
    pub const fn new(me: Uuid, reap_after: Duration) -> Self {
        Self {
            me,
            reap_after,
            well_since: BTreeMap::new(),
            gone_since: BTreeMap::new(),
            known: BTreeSet::new(),
            unknown_since: BTreeMap::new(),
        }
    }

    /// The configuration that ought to be, when it differs from `current`. One step at a time.
    pub fn wish(
        &mut self,
        now: Instant,
        current: &Members,
        gossip: &[Member],
        cluster: Uuid,
        datacenter: &str,
        progress: &Progress<'_>,
    ) -> Option<Members> {
        let servers: BTreeMap<Uuid, (&Member, ServerTags)> = gossip
            .iter()
            .filter_map(|member| ServerTags::of(member).map(|tags| (member.id, (member, tags))))
            .filter(|(_, (_, tags))| tags.datacenter == datacenter)
            .collect();
        let alive = |voter: &Voter| {
            servers.get(&voter.node).is_some_and(|(member, tags)| {
                matches!(member.status, MemberStatus::Alive | MemberStatus::Suspect)
                    && tags.engine.is_none_or(|engine| engine == voter.engine)
            })
        };
        let me = self.me;
        let left = |voter: &Voter| {
            let said = |(_, tags): &(&Member, ServerTags)| tags.leaving;
            voter.node != me
                && (gossip.iter().any(|member| member.id == voter.node && member.status == MemberStatus::Left)
                    || servers.get(&voter.node).is_some_and(said))
        };
        let mut wish = current.clone();
        self.watch_learners(now, current, progress, alive);
        self.watch_unknown(now, current, gossip);

        // Those who leave go, as long as those who stay are a majority of themselves.
        let forgotten = |voter: &Voter| {
            let since = self.unknown_since.get(&voter.engine);
            since.is_some_and(|since| self.known.contains(&voter.engine) || now.since(*since) >= self.reap_after)
        };
        let stay: Vec<Voter> =
            current.voters.iter().filter(|voter| !left(voter) && !forgotten(voter)).copied().collect();
        if keeps_quorum(stay.iter().filter(|voter| alive(voter)).count(), stay.len()) {
            wish.voters = stay;
        }
        let gone = |learner: &Voter| {
            self.gone_since.get(&learner.engine).is_some_and(|since| now.since(*since) >= LEARNER_GONE_AFTER)
        };
        wish.learners.retain(|learner| !left(learner) && !gone(learner));

        // Newcomers learn first.
        let known: BTreeSet<EngineId> = wish.voters.iter().chain(&wish.learners).map(|voter| voter.engine).collect();
        for (&node, (member, tags)) in &servers {
            let fits = tags.cluster.is_none_or(|theirs| theirs == cluster);
            if let Some(engine) = tags.engine
                && member.status == MemberStatus::Alive
                && !tags.leaving
                && fits
                && !known.contains(&engine)
            {
                wish.learners.retain(|learner| learner.node != node);
                wish.learners.push(Voter { engine, node });
            }
        }
        if wish != *current {
            return Some(wish);
        }
        self.promote(now, current, alive)
    }

    fn watch_learners(
        &mut self,
        now: Instant,
        current: &Members,
        progress: &Progress<'_>,
        alive: impl Fn(&Voter) -> bool,
    ) {
        let well = |learner: &&Voter| {
            alive(learner)
                && progress
                    .matched
                    .get(&learner.engine)
                    .is_some_and(|matched| matched.0 > 0 && matched.0 + TRAILING_MAX >= progress.committed.0)
        };
        let since = |of: &BTreeMap<EngineId, Instant>, learner: &Voter| {
            (learner.engine, of.get(&learner.engine).copied().unwrap_or(now))
        };
        let gone = current.learners.iter().filter(|learner| !alive(learner));
        self.gone_since = gone.map(|learner| since(&self.gone_since, learner)).collect();
        self.well_since =
            current.learners.iter().filter(well).map(|learner| since(&self.well_since, learner)).collect();
    }

    fn watch_unknown(&mut self, now: Instant, current: &Members, gossip: &[Member]) {
        let (known, unknown): (Vec<&Voter>, Vec<&Voter>) =
            current.voters.iter().partition(|voter| gossip.iter().any(|member| member.id == voter.node));
        self.known.extend(known.into_iter().map(|voter| voter.engine));
        self.known.retain(|engine| current.is_voter(*engine));
        self.unknown_since = unknown
            .into_iter()
            .map(|voter| (voter.engine, self.unknown_since.get(&voter.engine).copied().unwrap_or(now)))
            .collect();
    }

    /// Promotes one learner; it takes the place of a voter that is gone, if there is one.
    fn promote(&self, now: Instant, current: &Members, alive: impl Fn(&Voter) -> bool) -> Option<Members> {
        let ready = |learner: &&Voter| {
            self.well_since.get(&learner.engine).is_some_and(|since| now.since(*since) >= STABLE_AFTER)
        };
        let learner = *current.learners.iter().find(ready)?;
        let mut wish = current.clone();
        let gone = wish
            .voters
            .iter()
            .position(|voter| voter.node == learner.node)
            .or_else(|| wish.voters.iter().position(|voter| !alive(voter)));
        if let Some(gone) = gone {
            wish.voters.remove(gone);
        }
        wish.learners.retain(|other| other.engine != learner.engine);
        wish.voters.push(learner);
        Some(wish)
    }
}
