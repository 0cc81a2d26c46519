//! Locks, as their holders see them: what a client was told of a lock or of a fenced write is what was agreed; whoever was told
//! to hold a lock is alone with it for as long as he may believe so, which is until he gives it back or the TTL has passed
//! since he last asked for a renewal that was granted; and a session is of the node whose agent was asked.

use crate::sim::{Deed, Kind, Op, Storm};
use crate::time::Instant;
use lictor_catalog::model::SERF_HEALTH;
use lictor_catalog::{Command, Entry, Index, KvCommand, Outcome, Refusal, SessionCommand, Status, Store};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Clocks that are slow by a per cent must not make a belief too long.
const DRIFT_PERCENT: u64 = 1;

pub(super) fn check(storm: &Storm) -> Result<(), String> {
    let agreed = Agreed::of(storm)?;
    for (at, op) in storm.world.history.iter().enumerate() {
        agreed.told(op).map_err(|wrong| format!("operation {at}: {wrong}: {op:?}"))?;
        if let (Kind::Open, Some((_, Deed::Given(id)))) = (&op.kind, &op.ended) {
            let session = id.parse().ok().and_then(|id: Uuid| agreed.sessions.get(&id));
            let node = storm.world.nodes[op.node].name.as_str();
            if session.is_none_or(|session| session.node != node) {
                return Err(format!("operation {at} made session {id} on {node}, agreed was {session:?}"));
            }
        }
    }
    alone(storm, &agreed)
}

/// A session that was made.
#[derive(Debug)]
struct Made {
    node: String,
    /// In ns; 0: for ever.
    ttl: u64,
    /// When it lost its node or a check: it was ended while its holder could not know, which lock-delay and sequencers are for.
    lost: Option<u64>,
}

/// What was agreed about locks. Every value is written by one operation.
#[derive(Default)]
struct Agreed {
    outcomes: BTreeMap<Vec<u8>, bool>,
    sessions: BTreeMap<Uuid, Made>,
}

impl Agreed {
    fn of(storm: &Storm) -> Result<Self, String> {
        let (mut found, mut store) = (Self::default(), Store::default());
        for agreed in &storm.world.logs.commands {
            let entry = Entry { time_ms: agreed.time_ms, id: 0, command: agreed.command.clone() };
            let outcome = store.apply(Index(agreed.index), &entry).outcome;
            match &agreed.command {
                Command::Kv(KvCommand::Acquire { value, .. } | KvCommand::Release { value, .. })
                | Command::Fenced(_, KvCommand::Set { value, .. }) => {
                    let done = match outcome {
                        Outcome::Matched(matched) => matched,
                        Outcome::Refused(Refusal::MissingSession { .. } | Refusal::StaleSequencer { .. }) => false,
                        _ => true,
                    };
                    if found.outcomes.insert(value.to_vec(), done).is_some() {
                        return Err(format!("{value:?} was agreed twice, again at index {}", agreed.index));
                    }
                }
                Command::Session(SessionCommand::Create(session)) if matches!(outcome, Outcome::Session(_)) => {
                    let ttl = session.ttl.text.trim_end_matches('s').parse::<u64>().unwrap_or_default();
                    let made = Made { node: session.node.to_string(), ttl: ttl * crate::sim::SECOND, lost: None };
                    found.sessions.insert(session.id, made);
                }
                Command::Register(_) | Command::Deregister(_) | Command::Txn(_) => {
                    for (id, made) in found.sessions.iter_mut().filter(|(_, made)| made.lost.is_none()) {
                        let health = store.check(&made.node, SERF_HEALTH);
                        let well = health.is_some_and(|check| check.status != Status::Critical);
                        made.lost = (!well && store.session(*id).is_none()).then_some(agreed.at);
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// Whether a client was told what was agreed.
    fn told(&self, op: &Op) -> Result<(), String> {
        let (Kind::Lock { value, .. } | Kind::Unlock { value, .. } | Kind::Fenced { value, .. }) = &op.kind else {
            return Ok(());
        };
        let agreed = self.outcomes.get(value.as_bytes()).copied();
        match &op.ended {
            Some((_, Deed::Acked(told))) if agreed != Some(*told) => Err(format!("agreed was {agreed:?}")),
            // A session that is not there is refused as such.
            Some((_, Deed::Failed(_))) if agreed == Some(true) => Err("it was refused, and yet agreed".to_owned()),
            _ => Ok(()),
        }
    }
}

/// Who may believe to hold what, from when to when.
struct Belief<'a> {
    key: &'a str,
    session: Uuid,
    from: u64,
    until: u64,
}

fn alone(storm: &Storm, agreed: &Agreed) -> Result<(), String> {
    let history = &storm.world.history;
    let mut beliefs: Vec<Belief<'_>> =
        history.iter().enumerate().filter_map(|(at, _)| belief(history, at, agreed)).collect();
    beliefs.sort_by_key(|belief| (belief.key, belief.from));
    for (at, first) in beliefs.iter().enumerate() {
        let later = beliefs[at + 1..].iter().take_while(|other| other.key == first.key && other.from < first.until);
        if let Some(second) = later.into_iter().find(|other| other.session != first.session) {
            let (from, until) = (Instant(first.from), Instant(first.until));
            return Err(format!(
                "{} was held by {} from {from:?} to {until:?}, and by {} from {:?}",
                first.key,
                first.session,
                second.session,
                Instant(second.from)
            ));
        }
    }
    Ok(())
}

/// What the client of this operation may believe after it.
fn belief<'a>(history: &'a [Op], at: usize, agreed: &Agreed) -> Option<Belief<'a>> {
    let op = &history[at];
    let Kind::Lock { key, session, .. } = &op.kind else { return None };
    let Some((from, Deed::Acked(true))) = op.ended else { return None };
    let made = agreed.sessions.get(session)?;
    let gives_back = |op: &&Op| match &op.kind {
        Kind::Unlock { key: theirs, session: given, .. } => theirs == key && given == session,
        Kind::Close { session: closed } => closed == session,
        _ => false,
    };
    // Whoever else of the same session may have given the lock back: nobody believes what he himself has ended, or may
    // have ended, for what nobody was told of may still be carried out.
    let over_before =
        |end: &Op| end.ended.as_ref().is_some_and(|(at, deed)| *at <= op.begun && !matches!(deed, Deed::Unknown));
    let given_back = history.iter().filter(gives_back).filter(|end| !over_before(end));
    let given_back = given_back.map(|end| end.begun).min().unwrap_or(u64::MAX);
    let renews = |renewal: &&Op| match (&renewal.kind, &renewal.ended) {
        (Kind::Renew { session: renewed }, Some((_, Deed::Acked(true)))) => renewed == session,
        (Kind::Open, Some((_, Deed::Given(id)))) => id.parse() == Ok(*session),
        _ => false,
    };
    let renewed = history.iter().filter(renews).map(|renewal| renewal.begun).max()?;
    let expires = match made.ttl {
        0 => u64::MAX,
        ttl => renewed + ttl - ttl / 100 * DRIFT_PERCENT,
    };
    let until = given_back.min(expires).min(made.lost.unwrap_or(u64::MAX));
    (from < until).then_some(Belief { key, session: *session, from, until })
}
