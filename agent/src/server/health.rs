//! How well the servers of the configuration are, as their leader sees it (Consul's autopilot).
//!
//! It only judges, by rules that are replicated; what follows from it is up to [`voters`](super::voters) and operators.
//! Volatile: each leader begins anew.

use crate::consensus::{EngineId, Status};
use crate::time::Instant;
use crate::view::Health;
use lictor_catalog::{Autopilot, Index};
use std::collections::BTreeMap;

/// When each server was heard, and since when it has been as well, or as unwell, as it is.
#[derive(Debug, Default)]
pub struct Pulse {
    heard: BTreeMap<EngineId, Instant>,
    judged: BTreeMap<EngineId, (bool, Instant)>,
}

impl Pulse {
    /// Whoever follows sends a letter for every one that the leader sends, at least ten times a second.
    pub fn hear(&mut self, from: EngineId, now: Instant) {
        self.heard.insert(from, now);
    }

    /// Forgets whoever is no server any more, or everything, if this one does not lead.
    pub fn forget(&mut self, status: &Status) {
        let known = |engine: &EngineId| status.leading && status.members.all().any(|member| member.engine == *engine);
        self.heard.retain(|engine, _| known(engine));
        self.judged.retain(|engine, _| known(engine));
    }

    /// The health of one server, as of now; `alive`: in gossip. Nobody but a leader can tell.
    pub fn judge(
        &mut self,
        now: Instant,
        engine: EngineId,
        alive: bool,
        status: &Status,
        rules: &Autopilot,
    ) -> Option<Health> {
        if !status.leading {
            return None;
        }
        let leader = status.leader == Some(engine);
        let heard = if leader { Some(now) } else { self.heard.get(&engine).copied() };
        let last_contact = heard.map(|heard| now.since(heard));
        let matched = status.progress.get(&engine).copied().unwrap_or_default();
        let keeps_up =
            leader || (matched > Index(0) && matched.0.saturating_add(rules.max_trailing_logs) >= status.last.0);
        let healthy = alive && keeps_up && last_contact.is_some_and(|silence| silence <= rules.last_contact_threshold);
        let (was, since) = *self.judged.entry(engine).or_insert((healthy, now));
        let since = if was == healthy { since } else { now };
        self.judged.insert(engine, (healthy, since));
        Some(Health { healthy, last_contact, since })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::{Member, Members};
    use std::time::Duration;
    use uuid::Uuid;

    const LEADER: EngineId = EngineId(1);
    const OTHER: EngineId = EngineId(2);

    fn status(matched: u64) -> Status {
        let voters = [LEADER, OTHER].map(|engine| Member { engine, node: Uuid::from_u128(engine.0.into()) }).to_vec();
        Status {
            leader: Some(LEADER),
            leading: true,
            last: Index(1000),
            members: Members { voters, learners: Vec::new() },
            progress: BTreeMap::from([(OTHER, Index(matched))]),
            ..Status::default()
        }
    }

    #[test]
    fn who_is_silent_or_lags_or_is_dead_is_not_well() {
        let at = |ms| Instant(0) + Duration::from_millis(ms);
        let rules = Autopilot::default();
        let mut pulse = Pulse::default();
        let healthy = |pulse: &mut Pulse, now, alive, matched| {
            let health = pulse.judge(at(now), OTHER, alive, &status(matched), &rules).expect("it leads");
            (health.healthy, health.since)
        };
        assert_eq!(healthy(&mut pulse, 0, true, 1000), (false, at(0)), "it was never heard");
        pulse.hear(OTHER, at(100));
        assert_eq!(healthy(&mut pulse, 200, true, 750), (true, at(200)));
        assert_eq!(healthy(&mut pulse, 300, true, 1000), (true, at(200)), "since then");
        assert_eq!(healthy(&mut pulse, 301, true, 1000), (false, at(301)), "not heard for more than 200 ms");
        pulse.hear(OTHER, at(400));
        assert_eq!(healthy(&mut pulse, 400, true, 749), (false, at(301)), "251 entries behind");
        assert_eq!(healthy(&mut pulse, 400, false, 1000), (false, at(301)), "dead to gossip");
        assert_eq!(healthy(&mut pulse, 400, true, 1000), (true, at(400)));

        let own = pulse.judge(at(9000), LEADER, true, &status(0), &rules).expect("it leads");
        assert!(own.healthy && own.last_contact == Some(Duration::ZERO), "the leader hears itself");
        pulse.forget(&Status { leading: false, ..status(1000) });
        assert_eq!(pulse.judge(at(9000), OTHER, true, &Status { leading: false, ..status(0) }, &rules), None);
        assert_eq!(healthy(&mut pulse, 9000, true, 1000), (false, at(9000)), "each leader begins anew");
    }
}
