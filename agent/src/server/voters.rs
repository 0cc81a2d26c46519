//! Who should vote: the replicated configuration that fits the servers that live. The rules are Consul's autopilot's, and
//! replicated themselves ([`Autopilot`]).
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
use lictor_catalog::{Autopilot, Index};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

/// A learner that has been gone for so long is taken off; should it come back, it begins anew.
const LEARNER_GONE_AFTER: Duration = Duration::from_secs(60);

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

/// What the leader goes by beside gossip: how far the logs are, and the rules.
#[derive(Clone, Debug)]
pub struct Standing<'a> {
    pub committed: Index,
    pub matched: &'a BTreeMap<EngineId, Index>,
    pub rules: &'a Autopilot,
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
        standing: &Standing<'_>,
    ) -> Option<Members> {
        let rules = standing.rules;
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
        self.watch_learners(now, current, standing, alive);
        self.watch_unknown(now, current, gossip);

        // Those who leave go, and those who were given up as far as the rules allow, as long as those who stay are a majority
        // of themselves.
        let forgotten = |voter: &Voter| {
            let since = self.unknown_since.get(&voter.engine);
            since.is_some_and(|since| self.known.contains(&voter.engine) || now.since(*since) >= self.reap_after)
        };
        let mut stay: Vec<Voter> = current.voters.iter().filter(|voter| !left(voter)).copied().collect();
        let mut spare = stay.len().saturating_sub(rules.min_quorum as usize);
        stay.retain(|voter| {
            let goes = rules.cleanup_dead_servers && spare > 0 && forgotten(voter);
            spare -= usize::from(goes);
            !goes
        });
        if keeps_quorum(stay.iter().filter(|voter| alive(voter)).count(), stay.len()) {
            wish.voters = stay;
        }
        let gone = |learner: &Voter| {
            rules.cleanup_dead_servers
                && self.gone_since.get(&learner.engine).is_some_and(|since| now.since(*since) >= LEARNER_GONE_AFTER)
        };
        wish.learners.retain(|learner| !left(learner) && !gone(learner));

        add_newcomers(&mut wish, &servers, cluster);
        if wish != *current {
            return Some(wish);
        }
        self.promote(now, current, rules, alive)
    }

    fn watch_learners(
        &mut self,
        now: Instant,
        current: &Members,
        standing: &Standing<'_>,
        alive: impl Fn(&Voter) -> bool,
    ) {
        let well = |learner: &&Voter| {
            alive(learner)
                && standing.matched.get(&learner.engine).is_some_and(|matched| {
                    let reach = matched.0.saturating_add(standing.rules.max_trailing_logs);
                    matched.0 > 0 && reach >= standing.committed.0
                })
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

    /// Promotes one learner; it takes the place of a voter that is gone, if there is one and the rules allow it.
    fn promote(
        &self,
        now: Instant,
        current: &Members,
        rules: &Autopilot,
        alive: impl Fn(&Voter) -> bool,
    ) -> Option<Members> {
        let ready = |learner: &&Voter| {
            let since = self.well_since.get(&learner.engine);
            since.is_some_and(|since| now.since(*since) >= rules.server_stabilization_time)
        };
        let learner = *current.learners.iter().find(ready)?;
        let mut wish = current.clone();
        let gone = wish
            .voters
            .iter()
            .position(|voter| voter.node == learner.node)
            .or_else(|| wish.voters.iter().position(|voter| rules.cleanup_dead_servers && !alive(voter)));
        if let Some(gone) = gone {
            wish.voters.remove(gone);
        }
        wish.learners.retain(|other| other.engine != learner.engine);
        wish.voters.push(learner);
        Some(wish)
    }
}

/// Newcomers learn first.
fn add_newcomers(wish: &mut Members, servers: &BTreeMap<Uuid, (&Member, ServerTags)>, cluster: Uuid) {
    let known: BTreeSet<EngineId> = wish.all().map(|voter| voter.engine).collect();
    for (&node, (member, tags)) in servers {
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
}
