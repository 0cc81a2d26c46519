//! Anti-entropy: makes the catalog say of this node what this agent says. Sans-IO.
//!
//! It keeps what it believes the catalog to hold. A full sync replaces the belief by a fresh read; every local change and
//! every full sync makes it look at services whose truth and belief may differ, and push only differences. A steady
//! agent therefore reads once in a while and writes nothing.
//!
//! Order: all that concerns one service goes into one write at a time, so that two pushes of the same row never overtake
//! each other. At most [`IN_FLIGHT_MAX`] pushes are under way.

use super::remote::{Remote, is_misplaced, same_check_but_output, same_node, same_service};
use super::state::{Key, Local};
use crate::dice::Dice;
use crate::time::Instant;
use lictor_catalog::command::{Command, Deregister, Register};
use lictor_catalog::model::{SERF_HEALTH, folded};
use lictor_catalog::{Check, Coordinate, Node, NodeCoordinate, Refusal, Service, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub(super) const IN_FLIGHT_MAX: usize = 32;
/// Checks that go into one push.
const CHECKS_MAX: usize = 64;
const FULL_EVERY: Duration = Duration::from_secs(60);
const RETRY_AFTER: Duration = Duration::from_secs(15);
const SERVER_UP_AFTER: Duration = Duration::from_secs(3);
/// An answer that has not come by then never will.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// The cluster up to which everybody syncs each minute.
const SCALE_FROM: usize = 128;

/// Coordinates that all members together tell the servers in a second (Consul's `SyncCoordinateRateTarget`).
const COORDINATES_PER_SECOND: u64 = 64;

/// The service of an agent's node that belongs to the servers, not to the agent; so does [`SERF_HEALTH`].
const SERVERS_SERVICE: &str = "consul";

/// Names a fetch or a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SyncTicket(pub u64);

#[derive(Clone, Debug, PartialEq)]
pub enum SyncEffect {
    /// Read all rows of this node from the leader and bring them to [`Sync::fetched`].
    Fetch(SyncTicket),
    /// Write this with this token (empty: the agent's own) and bring the answer to [`Sync::pushed`].
    Push { ticket: SyncTicket, command: Command, token: String },
    /// For the log.
    Warn(String),
}

/// Why a fetch or a push failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyncError {
    /// Not tried again before the next full sync, since nothing here can mend it.
    #[error("permission denied: {0}; give the token the missing rule")]
    Denied(String),
    /// The catalog is not what we believed.
    #[error("the catalog refused it: {0:?}")]
    Refused(Refusal),
    #[error("{0}; trying again soon")]
    Failed(String),
}

/// When and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncOptions {
    /// `check_update_interval`: how long a changed output may wait while the status stays; zero: not at all.
    pub check_update_interval: Duration,
    /// How often, at most, the catalog is told that this node is somewhere else; rarer in large clusters.
    pub coordinate_interval: Duration,
}

impl Default for SyncOptions {
    fn default() -> Self {
        Self { check_update_interval: Duration::from_secs(300), coordinate_interval: Duration::from_secs(15) }
    }
}

/// What one push is about; never two pushes of one at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Node,
    /// A service and its checks; the node's own checks under the empty key.
    Service(Key),
    /// Where the node is.
    Place,
}

#[derive(Debug)]
struct Push {
    unit: Unit,
    command: Command,
    since: Instant,
}

/// The state of anti-entropy.
#[derive(Debug)]
pub struct Sync {
    options: SyncOptions,
    members: usize,
    /// What the catalog holds, as far as we know; `None` until it was first read.
    remote: Option<Remote>,
    dirty: BTreeSet<Unit>,
    pushes: BTreeMap<SyncTicket, Push>,
    fetch: Option<(SyncTicket, Instant)>,
    /// Pushed while a fetch was under way: the fetch may not have seen it.
    fresher: BTreeSet<Key>,
    full_at: Option<Instant>,
    leader_known: bool,
    /// Outputs that wait, until when.
    waiting: Waiting,
    /// A refusal has caused a full sync already; the next one waits.
    refused: bool,
    /// Where the node is, and when that is next compared.
    place: Option<Coordinate>,
    place_at: Option<Instant>,
    tickets: u64,
}

/// Checks whose output differs from the catalog's, and when that is to be told.
#[derive(Debug, Default)]
struct Waiting {
    until: BTreeMap<(Key, Key), Instant>,
    order: BTreeSet<(Instant, (Key, Key))>,
}

impl Waiting {
    fn remove(&mut self, at: &(Key, Key)) {
        if let Some(until) = self.until.remove(at) {
            self.order.remove(&(until, at.clone()));
        }
    }

    fn insert(&mut self, at: (Key, Key), until: Instant) {
        self.order.insert((until, at.clone()));
        self.until.insert(at, until);
    }
}

impl Sync {
    #[must_use]
    pub fn new(options: SyncOptions) -> Self {
        Self {
            options,
            members: 1,
            remote: None,
            dirty: BTreeSet::new(),
            pushes: BTreeMap::new(),
            fetch: None,
            fresher: BTreeSet::new(),
            full_at: None,
            leader_known: false,
            waiting: Waiting::default(),
            refused: false,
            place: None,
            place_at: None,
            tickets: 0,
        }
    }

    /// The number of members in the datacenter: the more there are, the rarer each one syncs fully.
    pub const fn set_members(&mut self, members: usize) {
        self.members = members;
    }

    /// There is a leader, perhaps a new one: an agent that never synced does so at once.
    pub fn leader_known(&mut self, now: Instant, local: &mut Local, dice: &mut Dice, effects: &mut Vec<SyncEffect>) {
        self.leader_known = true;
        if self.remote.is_none() {
            self.full_at = Some(now);
        }
        self.turn(now, local, dice, effects);
    }

    /// A server came up; what failed for want of one may work now.
    pub fn server_appeared(&mut self, now: Instant, dice: &mut Dice) {
        let soon = now + SERVER_UP_AFTER + dice.span(SERVER_UP_AFTER);
        self.full_at = Some(self.full_at.map_or(soon, |at| at.min(soon)));
    }

    /// [`Local::view`] changed.
    pub fn local_changed(&mut self, now: Instant, local: &mut Local, dice: &mut Dice, effects: &mut Vec<SyncEffect>) {
        self.turn(now, local, dice, effects);
    }

    /// Where the node is.
    pub fn set_place(&mut self, now: Instant, place: Coordinate) {
        self.place = Some(place);
        self.place_at.get_or_insert(now);
    }

    /// Between two coordinates: not more than so many a second reach the servers from all members.
    fn place_interval(&self, dice: &mut Dice) -> Duration {
        let fair = Duration::from_secs(self.members as u64 / COORDINATES_PER_SECOND);
        let interval = self.options.coordinate_interval.max(fair);
        interval + dice.span(interval)
    }

    /// Time has passed.
    pub fn timer(&mut self, now: Instant, local: &mut Local, dice: &mut Dice, effects: &mut Vec<SyncEffect>) {
        let late = |since: Instant| now.since(since) >= ANSWER_WITHIN;
        if self.fetch.is_some_and(|(_, since)| late(since)) {
            self.fetch = None;
            self.retry_later(now, dice);
        }
        let lost: Vec<SyncTicket> =
            self.pushes.iter().filter(|(_, push)| late(push.since)).map(|(ticket, _)| *ticket).collect();
        for ticket in lost {
            self.pushes.remove(&ticket);
            self.retry_later(now, dice);
        }
        while self.waiting.order.first().is_some_and(|(until, _)| *until <= now) {
            let (_, at) = self.waiting.order.pop_first().expect("its first entry was looked at just above");
            if !local.checks.contains_key(&at.1) {
                self.waiting.remove(&at);
            }
            self.dirty.insert(Unit::Service(at.0));
        }
        if self.place_at.is_some_and(|at| at <= now) {
            self.place_at = Some(now + self.place_interval(dice));
            self.dirty.insert(Unit::Place);
        }
        self.turn(now, local, dice, effects);
    }

    /// When [`Sync::timer`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let full = self.full_at.filter(|_| self.leader_known && self.fetch.is_none());
        let fetch = self.fetch.map(|(_, since)| since + ANSWER_WITHIN);
        let push = self.pushes.values().map(|push| push.since + ANSWER_WITHIN).min();
        let output = self.waiting.order.first().map(|(until, _)| *until);
        [full, fetch, push, output, self.place_at].into_iter().flatten().min()
    }

    /// The rows of this node, or why there are none.
    pub fn fetched(
        &mut self,
        now: Instant,
        ticket: SyncTicket,
        result: Result<&Store, SyncError>,
        local: &mut Local,
        dice: &mut Dice,
        effects: &mut Vec<SyncEffect>,
    ) {
        if self.fetch.is_none_or(|(awaited, _)| awaited != ticket) {
            return;
        }
        self.fetch = None;
        match result {
            Ok(store) => {
                self.believe(Remote::read(store, &local.node().name), local);
                let every = FULL_EVERY * scale(self.members);
                self.full_at = Some(now + every + dice.span(every));
            }
            Err(error) => {
                effects.push(SyncEffect::Warn(format!("anti-entropy could not read the catalog: {error}")));
                self.retry_later(now, dice);
            }
        }
        self.turn(now, local, dice, effects);
    }

    /// A push was committed, or why not.
    pub fn pushed(
        &mut self,
        now: Instant,
        ticket: SyncTicket,
        result: Result<(), SyncError>,
        local: &mut Local,
        dice: &mut Dice,
        effects: &mut Vec<SyncEffect>,
    ) {
        let Some(push) = self.pushes.remove(&ticket) else { return };
        match result {
            Ok(()) => {
                self.refused = false;
                if push.unit == Unit::Node {
                    // Only a node that is there can be placed.
                    self.dirty.insert(Unit::Place);
                }
                self.dirty.insert(push.unit);
                self.believe_pushed(push.command);
            }
            Err(error) => {
                effects.push(SyncEffect::Warn(format!("anti-entropy could not write {:?}: {error}", push.unit)));
                match error {
                    SyncError::Denied(_) => {}
                    SyncError::Refused(_) if !self.refused => {
                        self.refused = true;
                        self.full_at = Some(now);
                    }
                    SyncError::Refused(_) | SyncError::Failed(_) => self.retry_later(now, dice),
                }
            }
        }
        self.turn(now, local, dice, effects);
    }

    /// Whether the catalog is still to be told of a service and its checks (of the node's own checks: the empty key). What it has
    /// refused, or nobody took, is not owed before the next full sync.
    #[must_use]
    pub fn owes(&self, service: &Key) -> bool {
        let unit = Unit::Service(Arc::clone(service));
        self.dirty.contains(&unit) || self.pushes.values().any(|push| push.unit == unit)
    }

    fn retry_later(&mut self, now: Instant, dice: &mut Dice) {
        let later = now + RETRY_AFTER + dice.span(RETRY_AFTER);
        self.full_at = Some(self.full_at.filter(|at| *at > now).map_or(later, |at| at.min(later)));
    }

    fn ticket(&mut self) -> SyncTicket {
        self.tickets += 1;
        SyncTicket(self.tickets)
    }

    /// A fresh read replaces the belief, except for what was pushed while it was under way.
    fn believe(&mut self, mut fresh: Remote, local: &mut Local) {
        let mut held = self.remote.take().unwrap_or_default();
        for key in std::mem::take(&mut self.fresher) {
            fresh.adopt_service(&key, &mut held);
        }
        for (key, theirs) in &fresh.services {
            if local.services.get(key).is_some_and(|owned| owned.row.enable_tag_override) {
                local.adopt_tags(key, &theirs.tags);
            }
        }
        let keys = local.services.keys().chain(fresh.services.keys()).cloned();
        let of_checks = fresh.checks.keys().map(|(service, _)| Arc::clone(service));
        self.dirty.extend(keys.chain(of_checks).chain([Key::from("")]).map(Unit::Service));
        self.dirty.extend([Unit::Node, Unit::Place]);
        self.remote = Some(fresh);
    }

    /// The catalog holds what we wrote.
    fn believe_pushed(&mut self, command: Command) {
        let Some(remote) = &mut self.remote else { return };
        match command {
            Command::Register(register) => {
                let Register { node, skip_node_update, service, checks } = *register;
                if !skip_node_update {
                    remote.node = Some(Arc::new(node));
                }
                if let Some(service) = service {
                    remote.services.insert(service.id.folded(), Arc::new(service));
                }
                for check in checks {
                    let at = (check.service_id.folded(), check.id.folded());
                    self.waiting.remove(&at);
                    remote.checks.insert(at, Arc::new(check));
                }
            }
            Command::Deregister(Deregister::Service(_, id)) => remote.forget_service(&id.folded()),
            Command::Deregister(Deregister::Check(_, id)) => {
                let key = id.folded();
                remote.checks.retain(|(_, check), _| *check != key);
            }
            Command::Coordinate(placed) => remote.place = Some(placed.coordinate),
            // Anti-entropy writes nothing else.
            Command::Deregister(Deregister::Node(_))
            | Command::Kv(_)
            | Command::Fenced(..)
            | Command::Txn(_)
            | Command::Session(_)
            | Command::Prepared(_)
            | Command::Authority(_)
            | Command::Signing(_)
            | Command::Restore(_)
            | Command::Autopilot { .. }
            | Command::FeatureLevel(_) => {}
        }
    }

    /// Takes note of local changes, begins what is due and pushes what differs.
    fn turn(&mut self, now: Instant, local: &mut Local, dice: &mut Dice, effects: &mut Vec<SyncEffect>) {
        self.dirty.extend(local.take_touched().into_iter().map(Unit::Service));
        if self.leader_known && self.fetch.is_none() && self.full_at.is_some_and(|at| at <= now) {
            let ticket = self.ticket();
            self.fetch = Some((ticket, now));
            self.full_at = None;
            self.fresher = self.pushes.values().filter_map(|push| push.unit.key()).collect();
            effects.push(SyncEffect::Fetch(ticket));
        }
        let Some(mut remote) = self.remote.take() else { return };
        let busy: BTreeSet<Unit> = self.pushes.values().map(|push| push.unit.clone()).collect();
        let ready: Vec<Unit> = self.dirty.iter().filter(|unit| !busy.contains(unit)).cloned().collect();
        for unit in ready {
            if self.pushes.len() >= IN_FLIGHT_MAX {
                break;
            }
            self.dirty.remove(&unit);
            let Some(command) = self.difference(now, &unit, local, &mut remote, dice) else { continue };
            let token = unit.key().and_then(|key| local.services.get(&key)).map_or("", |owned| &owned.token);
            let (ticket, token) = (self.ticket(), token.to_owned());
            if self.fetch.is_some() {
                self.fresher.extend(unit.key());
            }
            effects.push(SyncEffect::Push { ticket, command: command.clone(), token });
            self.pushes.insert(ticket, Push { unit, command, since: now });
        }
        self.remote = Some(remote);
    }

    /// The next write that brings the catalog nearer to the truth about one unit; `None` when it is there.
    fn difference(
        &mut self,
        now: Instant,
        unit: &Unit,
        local: &Local,
        remote: &mut Remote,
        dice: &mut Dice,
    ) -> Option<Command> {
        let node = local.node();
        let in_sync = remote.node.as_ref().is_some_and(|theirs| same_node(node, theirs));
        let key = match unit {
            Unit::Node => return (!in_sync).then(|| register(node, false, None, Vec::new())),
            Unit::Place => return self.placed(node, remote),
            Unit::Service(key) => key,
        };
        let ours = local.services.get(key).map(|owned| &owned.row);
        if ours.is_none() && !key.is_empty() {
            let theirs = remote.services.get(key).filter(|_| **key != *SERVERS_SERVICE)?;
            return Some(Command::Deregister(Deregister::Service(node.name.clone(), theirs.id.clone())));
        }
        let theirs = remote.services.get(key);
        let service = ours.filter(|ours| theirs.is_none_or(|theirs| !same_service(ours, theirs)));
        let mut checks = Vec::new();
        for check in local.checks_of(key) {
            let ours = &local.checks[check].row;
            let theirs = remote.checks.get(&(Arc::clone(key), Arc::clone(check)));
            if checks.len() < CHECKS_MAX && self.differs(now, (key, check), ours, theirs, dice) {
                checks.push((**ours).clone());
            }
        }
        if service.is_some() || !checks.is_empty() {
            return Some(register(node, in_sync, service.map(|row| (**row).clone()), checks));
        }
        Self::superfluous_check(key, local, remote)
            .map(|check| Command::Deregister(Deregister::Check(node.name.clone(), check.id.clone())))
    }

    fn placed(&self, node: &Node, remote: &Remote) -> Option<Command> {
        let place = self.place.filter(|place| remote.node.is_some() && is_misplaced(place, remote.place.as_ref()))?;
        Some(Command::Coordinate(NodeCoordinate { node: node.name.clone(), coordinate: place }))
    }

    /// A check that the catalog has and we do not. One that moved to another service is that service's push to make.
    fn superfluous_check(key: &Key, local: &Local, remote: &mut Remote) -> Option<Arc<Check>> {
        let extra: Vec<(Key, Arc<Check>)> = remote
            .checks_of(key)
            .filter(|(check, _)| ***check != *folded(SERF_HEALTH))
            .filter(|(check, _)| local.checks.get(*check).is_none_or(|owned| owned.row.service_id.folded() != *key))
            .map(|(check, row)| (Arc::clone(check), Arc::clone(row)))
            .collect();
        for (check, row) in extra {
            if !local.checks.contains_key(&check) {
                return Some(row);
            }
            remote.checks.remove(&(Arc::clone(key), check));
        }
        None
    }

    /// Whether the catalog must be told of this check now. An output that changed by itself may wait.
    fn differs(
        &mut self,
        now: Instant,
        (service, check): (&Key, &Key),
        ours: &Check,
        theirs: Option<&Arc<Check>>,
        dice: &mut Dice,
    ) -> bool {
        let at = (Arc::clone(service), Arc::clone(check));
        let Some(theirs) = theirs.filter(|theirs| same_check_but_output(ours, theirs)) else {
            return true;
        };
        if ours.output == theirs.output {
            self.waiting.remove(&at);
            return false;
        }
        let interval = self.options.check_update_interval;
        match self.waiting.until.get(&at) {
            Some(until) => *until <= now,
            None if interval.is_zero() => true,
            None => {
                self.waiting.insert(at, now + interval / 2 + dice.span(interval));
                false
            }
        }
    }
}

impl Unit {
    fn key(&self) -> Option<Key> {
        match self {
            Self::Node | Self::Place => None,
            Self::Service(key) => Some(Arc::clone(key)),
        }
    }
}

fn register(node: &Node, skip_node_update: bool, service: Option<Service>, checks: Vec<Check>) -> Command {
    Command::Register(Box::new(Register { node: node.clone(), skip_node_update, service, checks }))
}

/// 1 up to 128 members, then one more for each doubling: the servers' work per minute stays bounded (Consul's rule).
fn scale(members: usize) -> u32 {
    match members {
        0..=SCALE_FROM => 1,
        // The ceiling of log2(members) - log2(128), and one.
        _ => (members - 1).ilog2() - SCALE_FROM.ilog2() + 2,
    }
}

#[cfg(test)]
mod tests {
    use super::scale;

    #[test]
    fn big_clusters_sync_more_rarely() {
        for (members, factor) in [(1, 1), (128, 1), (129, 2), (256, 2), (257, 3), (512, 3), (513, 4), (8192, 7)] {
            assert_eq!(scale(members), factor, "{members}");
        }
    }
}
