//! A storm: faults drawn by the seed while clients work, then calm, in which everything must come right.

use super::bug::Bug;
use super::fault::FAULTS;
use super::history::{Deed, Kind, Mode, Seen, Sight};
use super::invariant;
use super::node::Node;
use super::world::{MS, SECOND, Setup, World};
use crate::dice::Dice;
use crate::gossip::MemberStatus;
use crate::http::call::Method;
use lictor_catalog::Status;
use lictor_catalog::model::SERF_HEALTH;
use std::collections::BTreeMap;

const KEYS: u64 = 12;
/// How long the calm may take until everything is right, and how long it takes at least, in ns.
const CALM_MAX: u64 = 180 * SECOND;
const CALM: u64 = 35 * SECOND;
/// Faults start what they stopped within this time, in ns.
const STARTED_BY: u64 = 10 * SECOND;
/// Small enough that servers that lag are sent a snapshot.
const LOG_BYTES_MAX: usize = 8 << 10;

/// What a storm is made of.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub servers: usize,
    pub clients: usize,
    /// How long it rages, in ns.
    pub rage: u64,
    /// A known bug in every node.
    pub bug: Option<Bug>,
}

impl Plan {
    /// The plan of a seed: each tenth is of 5 servers and 20 client agents, the others are smaller.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x0091_a27e);
        let (servers, clients) = match seed % 10 {
            0 => (5, 20),
            _ => ([3, 3, 3, 4, 5][usize::try_from(dice.below(5)).unwrap_or(0)], 1 + dice.below(5)),
        };
        Self { seed, servers, clients: usize::try_from(clients).unwrap_or(1), rage: 40 * SECOND, bug: None }
    }

    /// Runs it to its end.
    #[must_use]
    pub fn run(self) -> Storm {
        let setup = Setup::new(self.seed, self.servers, self.clients);
        let session_ttl_exact = self.seed.is_multiple_of(2);
        let setup = Setup { bug: self.bug, log_bytes_max: LOG_BYTES_MAX, session_ttl_exact, ..setup };
        let mut world = World::started(setup);
        world.supervised = true;
        let mut storm = Storm::new(self.seed, world, Vec::new());
        storm.world.run_until(30 * SECOND, |world| world.leader().is_some());
        for node in 0..self.servers + self.clients {
            storm.register(node);
        }
        storm.world.run(2 * SECOND);
        storm.rage(self.rage);
        storm.calm_down();
        storm
    }
}

/// The death of one node in a healthy cluster.
#[derive(Clone, Copy, Debug)]
pub struct Death {
    pub node: usize,
    pub died: u64,
    /// When the leader's catalog first said so.
    pub critical: Option<u64>,
}

/// A log store that rotted while its server was down.
pub(super) struct Rot {
    pub(super) node: usize,
    pub(super) since: u64,
    /// When the operator emptied it, if he had to.
    pub(super) emptied: Option<u64>,
}

/// What a storm was, and what is left of it.
pub struct Storm {
    pub seed: u64,
    pub world: World,
    /// The faults, in words.
    pub plan: Vec<String>,
    /// How many of each kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// When the calm began, in ns.
    pub calm: u64,
    pub death: Option<Death>,
    pub(super) dice: Dice,
    /// Of those who lock keys, so that the other clients and the faults do not depend on them.
    pub(super) lockers: Dice,
    pub(super) rotten: Vec<Rot>,
    /// Whom the operator told the cluster to forget, and when last.
    sent_away: BTreeMap<String, u64>,
    /// How many machines moved.
    pub(super) moves: u8,
}

impl Storm {
    fn new(seed: u64, world: World, plan: Vec<String>) -> Self {
        let (dice, lockers) = (Dice::new(seed ^ 0x5707_3a11), Dice::new(seed ^ 0x10c4_e125));
        let (faults, sent_away) = (BTreeMap::new(), BTreeMap::new());
        Self { seed, world, plan, faults, calm: 0, death: None, dice, lockers, rotten: Vec::new(), sent_away, moves: 0 }
    }

    /// A storm of another making: what was done to `world` is in `plan`, and now it is over.
    #[must_use]
    pub fn over(seed: u64, world: World, plan: Vec<String>, calm: u64) -> Self {
        let mut storm = Self::new(seed, world, plan);
        storm.clear_up();
        storm.world.run(calm);
        storm
    }

    /// The machines whose operators want them to run.
    pub fn wanted(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.world.nodes.iter().enumerate().filter(|(_, node)| node.wanted)
    }

    /// Whether it was seen at a server whose log store had rotted.
    #[must_use]
    pub fn damaged(&self, seen: &Seen) -> bool {
        let when = |rot: &Rot| rot.since <= seen.at && rot.emptied.is_none_or(|emptied| seen.at <= emptied);
        self.rotten.iter().any(|rot| rot.node == seen.node && when(rot))
    }

    pub(super) fn note(&mut self, words: String) {
        self.world.trace.text(&words);
        self.plan.push(format!("{:>8.3} s  {words}", self.world.now as f64 / SECOND as f64));
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.dice.below(bound as u64)).unwrap_or(0)
    }

    /// Each node has a service of its own with a check that passes.
    fn register(&mut self, node: usize) {
        let body = format!(r#"{{"Name":"web","ID":"web-{node}","Port":80,"Check":{{"TTL":"1h","Status":"passing"}}}}"#);
        self.world.call(node, Method::Put, "/v1/agent/service/register", &body);
    }

    fn rage(&mut self, span: u64) {
        let end = self.world.now + span;
        let mut next_fault = self.world.now + self.dice.below(2 * SECOND);
        while self.world.now < end {
            self.operate();
            if self.lockers.below(3) == 0 {
                self.work_on_locks();
            }
            if self.world.now >= next_fault {
                self.fault();
                next_fault = self.world.now + SECOND + self.dice.below(4 * SECOND);
            }
            self.tend();
            let pause = 5 * MS + self.dice.below(60 * MS);
            self.world.run(pause);
        }
    }

    fn fault(&mut self) {
        let mut drawn = self.dice.below(FAULTS.iter().map(|fault| fault.weight).sum());
        for fault in FAULTS {
            if drawn < fault.weight {
                let done = (fault.strike)(self);
                let name = if done { fault.name } else { "heal" };
                if !done {
                    self.note("the network heals and disks have room".to_owned());
                    self.mend();
                }
                *self.faults.entry(name).or_default() += 1;
                return;
            }
            drawn -= fault.weight;
        }
    }

    /// A client does something, at any node.
    fn operate(&mut self) {
        let node = self.below(self.world.nodes.len());
        let key = format!("key-{}", self.dice.below(KEYS));
        let value = format!("v{}", self.world.history.len());
        match self.dice.below(24) {
            0..7 => self.world.put(node, &key, &value),
            7 => self.world.delete(node, &key),
            8..11 => {
                let index = self.learnt(&key);
                self.world.cas(node, &key, &value, index)
            }
            11..15 => self.world.get(node, &key, Mode::Default),
            15 | 16 => self.world.get(node, &key, Mode::Consistent),
            17 | 18 => self.world.get(node, &key, Mode::Stale),
            19 | 20 => self.work_on_services(node),
            _ => {
                let seen = self.world.process(node).map_or(1, |process| process.view.store.index().0.max(1));
                self.world.wait(node, &key, seen, 1_000 + self.dice.below(120_000))
            }
        };
    }

    /// The `ModifyIndex` that the last answer about this key showed; 0 when there was none or no value.
    fn learnt(&self, key: &str) -> u64 {
        let mut answers = self.world.history.iter().rev().take(200).filter_map(|op| match (&op.kind, &op.ended) {
            (Kind::Get { key: theirs, .. }, Some((_, Deed::Found { modified, .. }))) if theirs == key => {
                Some(*modified)
            }
            _ => None,
        });
        answers.next().unwrap_or(0)
    }

    fn work_on_services(&mut self, node: usize) -> usize {
        let extra = self.dice.below(3);
        let (target, body) = match self.dice.below(6) {
            0 | 1 => {
                let port = 1_000 + self.dice.below(9_000);
                let body = format!(r#"{{"Name":"extra","ID":"extra-{extra}","Port":{port}}}"#);
                ("/v1/agent/service/register".to_owned(), body)
            }
            2 => (format!("/v1/agent/service/deregister/extra-{extra}"), String::new()),
            3 => (format!("/v1/agent/check/pass/service:web-{node}"), String::new()),
            4 => (format!("/v1/agent/check/warn/service:web-{node}"), String::new()),
            _ => (format!("/v1/agent/check/fail/service:web-{node}"), String::new()),
        };
        self.world.call(node, Method::Put, &target, &body)
    }

    /// The operator empties the store of a server that does not go on with what rotted.
    fn tend(&mut self) {
        let refuses = |rot: &Rot| {
            let dead = |seen: &Seen| match &seen.sight {
                Sight::Dead(_) => true,
                // Not what else may end it: emptied for a failed sync it would be one lost log too many.
                Sight::Ended(why) => why.contains("lost records that were synced"),
                _ => false,
            };
            let dead = |seen: &Seen| seen.node == rot.node && seen.at >= rot.since && dead(seen);
            rot.emptied.is_none()
                && self.world.nodes[rot.node].process.is_none()
                && self.world.seen.iter().rev().take(64).any(dead)
        };
        let Some(place) = self.rotten.iter().position(refuses) else { return };
        let node = self.rotten[place].node;
        self.rotten[place].emptied = Some(self.world.now);
        self.note(format!("server {node} does not go on with what rotted: it is emptied"));
        self.world.wipe_log(node);
        *self.faults.entry("rot-refused").or_default() += 1;
    }

    fn mend(&mut self) {
        self.world.net.heal();
        for node in &self.world.nodes {
            node.disk.fill(false);
        }
    }

    fn clear_up(&mut self) {
        self.note("calm".to_owned());
        self.mend();
        self.calm = self.world.now;
        for node in 0..self.world.nodes.len() {
            self.world.nodes[node].paused_until = 0;
            self.world.start_later(node, SECOND);
        }
    }

    fn calm_down(&mut self) {
        self.clear_up();
        self.world.run(5 * SECOND);
        if self.settle(CALM_MAX) {
            self.lose_one();
            self.settle(CALM_MAX);
        }
        let rest = (self.calm + CALM).saturating_sub(self.world.now);
        self.world.run(rest);
        self.look_again();
    }

    /// The operator tells the cluster of those who went without a word.
    fn send_away(&mut self) {
        let Some(leader) = self.world.leader() else { return };
        let gone: Vec<String> = self.world.process(leader).map_or_else(Vec::new, |process| {
            let unwanted = |name: &str| self.world.nodes.iter().any(|node| !node.wanted && node.name == name);
            let lately = |name: &str| self.sent_away.get(name).is_some_and(|at| self.world.now < at + 10 * SECOND);
            let dead = process.local.members.iter().filter(|member| member.status == MemberStatus::Dead);
            dead.map(|member| member.name.to_string()).filter(|name| unwanted(name) && !lately(name)).collect()
        });
        for name in gone {
            self.note(format!("{name} is sent away"));
            self.world.call(leader, Method::Put, &format!("/v1/agent/force-leave/{name}"), "");
            self.sent_away.insert(name, self.world.now);
        }
    }

    /// Waits until everything that the calm must bring is there.
    fn settle(&mut self, most: u64) -> bool {
        let end = self.world.now + most;
        while !invariant::settled(self) {
            if self.world.now >= end {
                return false;
            }
            self.tend();
            self.send_away();
            self.world.run(SECOND / 2);
        }
        true
    }

    /// One node dies in the healthy cluster, and comes back.
    fn lose_one(&mut self) {
        // Whoever was to be started after the last fault has been started by then, and will not be again.
        self.world.run_to(self.calm + STARTED_BY);
        let leader = self.world.leader();
        let mortal: Vec<usize> = self.wanted().map(|(at, _)| at).filter(|at| Some(*at) != leader).collect();
        let node = mortal[self.below(mortal.len())];
        self.note(format!("node {node} dies in the calm"));
        self.world.crash(node, true);
        let died = self.world.now;
        let name = self.world.nodes[node].name.clone();
        let critical = |world: &World| {
            let process = world.leader().and_then(|leader| world.process(leader));
            let health =
                process.and_then(|process| process.view.store.check(&name, SERF_HEALTH).map(|check| check.status));
            health == Some(Status::Critical)
        };
        let told = self.world.run_until(60 * SECOND, critical);
        self.death = Some(Death { node, died, critical: told.then_some(self.world.now) });
        self.world.start(node);
    }

    /// Every key is read once more, everywhere.
    fn look_again(&mut self) {
        for number in 0..KEYS {
            let wanted: Vec<usize> = self.wanted().map(|(at, _)| at).collect();
            let (first, second) = (wanted[self.below(wanted.len())], wanted[self.below(wanted.len())]);
            let key = format!("key-{number}");
            self.world.get(first, &key, Mode::Consistent);
            self.world.get(second, &key, Mode::Default);
        }
        let over = |world: &World| world.history.iter().rev().take(64).all(|op| op.ended.is_some());
        self.world.run_until(20 * SECOND, over);
        self.settle(30 * SECOND);
    }
}
