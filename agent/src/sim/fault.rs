//! The faults of a storm, one function each. Whatever they do together can be survived: what is lost for good (a log, a voter)
//! is taken only from a healthy cluster, and never a second time before that is healthy again.

use super::storm::{Rot, Storm};
use super::world::{MS, SECOND};
use crate::server::replica::Replica;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// One kind of fault.
pub(super) struct Fault {
    pub(super) name: &'static str,
    pub(super) weight: u64,
    /// `false`: it cannot be done now; everything is mended instead.
    pub(super) strike: fn(&mut Storm) -> bool,
}

const fn fault(name: &'static str, weight: u64, strike: fn(&mut Storm) -> bool) -> Fault {
    Fault { name, weight, strike }
}

pub(super) static FAULTS: &[Fault] = &[
    fault("crash", 4, crash),
    fault("crash-leader", 4, crash_leader),
    fault("blackout", 2, blackout),
    fault("isolate", 4, isolate),
    fault("split", 2, split),
    fault("one-way", 3, one_way),
    fault("pause", 4, pause),
    fault("bad-network", 3, bad_network),
    fault("full-disk", 2, full_disk),
    fault("failed-sync", 2, failed_sync),
    fault("move", 3, move_away),
    fault("client-leaves", 2, client_leaves),
    fault("client-returns", 2, client_returns),
    fault("client-wiped", 1, client_wiped),
    fault("server-joins", 1, server_joins),
    fault("server-leaves", 1, server_leaves),
    fault("server-wiped", 4, server_wiped),
    fault("rot", 4, rot),
    fault("heal", 5, |_| false),
];

/// What the kinds of faults are called.
pub fn names() -> impl Iterator<Item = &'static str> {
    FAULTS.iter().map(|fault| fault.name)
}

impl Storm {
    fn draw(&mut self, from: &[usize]) -> Option<usize> {
        let at = self.below(from.len());
        from.get(at).copied()
    }

    fn machines(&self, server: bool) -> Vec<usize> {
        self.wanted().filter(|(_, node)| node.server == server).map(|(at, _)| at).collect()
    }

    fn any(&mut self) -> Option<usize> {
        let all: Vec<usize> = self.wanted().map(|(at, _)| at).collect();
        self.draw(&all)
    }

    fn any_server(&mut self) -> Option<usize> {
        let all = self.machines(true);
        self.draw(&all)
    }

    fn running(&mut self, server: bool) -> Option<usize> {
        let mut all = self.machines(server);
        all.retain(|at| self.world.nodes[*at].process.is_some());
        self.draw(&all)
    }

    fn a_while(&mut self) -> u64 {
        SECOND / 2 + self.dice.below(6 * SECOND)
    }

    /// Healthy, and no rot waits for a start to find it: it may turn out to be a lost log.
    fn sound(&self) -> bool {
        self.healthy() && self.rotten.iter().all(|rot| rot.emptied.is_some())
    }

    /// Nothing is broken, and the servers that live, with the logs they have now, are those that vote.
    fn healthy(&self) -> bool {
        let world = &self.world;
        let sound = |(_, node): (usize, &super::Node)| node.process.is_some() && node.paused_until <= world.now;
        if !world.net.cut.is_empty() || world.net.loss > 0 || !self.wanted().all(sound) {
            return false;
        }
        let leader = world.leader().and_then(|leader| world.process(leader));
        let Some(status) = leader.and_then(|leader| leader.agent.role()?.replica()).map(Replica::status) else {
            return false;
        };
        let servers = self.wanted().filter(|(_, node)| node.server);
        let engines: BTreeSet<_> = servers.filter_map(|(_, node)| node.process.as_ref()?.engine).collect();
        let votes: BTreeSet<_> = status.members.voters.iter().map(|voter| voter.engine).collect();
        let near = |engine| status.progress.get(engine).is_some_and(|held| held.0 + 20 >= status.committed.0);
        votes == engines && status.members.learners.is_empty() && votes.iter().all(near)
    }

    fn strike_down(&mut self, node: usize, words: &str) {
        let (power, wait) = (self.dice.below(2) == 0, self.a_while());
        let how = if power { "loses power" } else { "is killed" };
        self.note(format!("{words} {node} {how}, back after {} ms", wait / MS));
        self.world.crash(node, power);
        self.world.start_later(node, wait);
    }
}

fn crash(storm: &mut Storm) -> bool {
    let Some(node) = storm.any() else { return false };
    storm.strike_down(node, "node");
    true
}

fn crash_leader(storm: &mut Storm) -> bool {
    let Some(leader) = storm.world.leader() else { return false };
    storm.strike_down(leader, "leader");
    true
}

fn blackout(storm: &mut Storm) -> bool {
    storm.note("every server loses power".to_owned());
    for node in storm.machines(true) {
        storm.world.crash(node, true);
        let wait = storm.dice.below(2 * SECOND);
        storm.world.start_later(node, wait);
    }
    true
}

fn isolate(storm: &mut Storm) -> bool {
    let Some(server) = storm.any_server() else { return false };
    let others: Vec<usize> = storm.machines(true).into_iter().filter(|other| *other != server).collect();
    storm.note(format!("server {server} is cut off from the other servers"));
    storm.world.net.partition(&[&[server], &others]);
    true
}

fn split(storm: &mut Storm) -> bool {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for node in 0..storm.world.nodes.len() {
        if storm.dice.below(2) == 0 { left.push(node) } else { right.push(node) }
    }
    storm.note(format!("the nodes {left:?} and {right:?} do not hear each other"));
    storm.world.net.partition(&[&left, &right]);
    true
}

fn one_way(storm: &mut Storm) -> bool {
    let Some(node) = storm.any() else { return false };
    let deaf = storm.dice.below(2) == 0;
    storm.note(format!("nothing {} node {node}", if deaf { "reaches" } else { "leaves" }));
    let others = (0..storm.world.nodes.len()).filter(|other| *other != node);
    storm.world.net.cut.extend(others.map(|other| if deaf { (other, node) } else { (node, other) }));
    true
}

fn pause(storm: &mut Storm) -> bool {
    let node = if storm.dice.below(2) == 0 { storm.world.leader() } else { storm.any() };
    let Some(node) = node else { return false };
    let span = storm.a_while();
    storm.note(format!("node {node} stops for {} ms", span / MS));
    storm.world.pause(node, span);
    true
}

fn bad_network(storm: &mut Storm) -> bool {
    storm.world.net.loss = storm.dice.below(30);
    storm.world.net.twice = storm.dice.below(10);
    storm.world.net.delay = (MS, MS + storm.dice.below(120 * MS));
    let net = &storm.world.net;
    let text = format!("{} % lost, {} % doubled, {} ms at most", net.loss, net.twice, net.delay.1 / MS);
    storm.note(format!("the network is bad: {text}"));
    true
}

fn full_disk(storm: &mut Storm) -> bool {
    let Some(server) = storm.any_server() else { return false };
    storm.note(format!("the disk of server {server} is full"));
    storm.world.nodes[server].disk.fill(true);
    true
}

fn failed_sync(storm: &mut Storm) -> bool {
    let Some(server) = storm.any_server() else { return false };
    storm.note(format!("the next sync of server {server} fails"));
    storm.world.nodes[server].disk.fail_sync();
    true
}

fn move_away(storm: &mut Storm) -> bool {
    let Some(node) = storm.any() else { return false };
    let wait = storm.a_while();
    storm.moves += 1;
    let to = IpAddr::V4(Ipv4Addr::new(10, 0, 1, storm.moves));
    storm.note(format!("node {node} is killed and comes back at {to} after {} ms", wait / MS));
    storm.world.crash(node, false);
    storm.world.move_to(node, to);
    storm.world.start_later(node, wait);
    true
}

fn client_leaves(storm: &mut Storm) -> bool {
    let Some(node) = storm.running(false) else { return false };
    storm.note(format!("client agent {node} leaves"));
    storm.world.leave(node);
    true
}

fn client_returns(storm: &mut Storm) -> bool {
    let gone = |(_, node): &(usize, &super::Node)| !node.server && !node.wanted && node.process.is_none();
    let gone: Vec<usize> = storm.world.nodes.iter().enumerate().filter(gone).map(|(at, _)| at).collect();
    let Some(node) = storm.draw(&gone) else { return false };
    storm.note(format!("client agent {node} returns"));
    storm.world.nodes[node].wanted = true;
    storm.world.start(node);
    true
}

fn client_wiped(storm: &mut Storm) -> bool {
    let Some(node) = storm.running(false) else { return false };
    let wait = storm.a_while();
    storm.note(format!("client agent {node} is killed and comes back with an empty directory after {} ms", wait / MS));
    storm.world.crash(node, true);
    storm.world.wipe(node);
    storm.world.start_later(node, wait);
    true
}

fn server_joins(storm: &mut Storm) -> bool {
    if storm.machines(true).len() >= 6 || !storm.healthy() {
        return false;
    }
    let node = storm.world.add(true);
    storm.note(format!("server {node} joins"));
    true
}

fn server_leaves(storm: &mut Storm) -> bool {
    if storm.machines(true).len() < 4 || !storm.healthy() {
        return false;
    }
    let Some(node) = storm.running(true) else { return false };
    storm.note(format!("server {node} leaves"));
    storm.world.leave(node);
    true
}

fn server_wiped(storm: &mut Storm) -> bool {
    let Some(node) = storm.running(true).filter(|_| storm.sound()) else { return false };
    let (whole, wait) = (storm.dice.below(2) == 0, storm.a_while());
    let what = if whole { "directory" } else { "log" };
    storm.note(format!("server {node} is killed and comes back with an empty {what} after {} ms", wait / MS));
    storm.world.crash(node, true);
    if whole {
        storm.world.wipe(node);
    } else {
        storm.world.wipe_log(node);
    }
    storm.world.start_later(node, wait);
    true
}

fn rot(storm: &mut Storm) -> bool {
    let Some(node) = storm.running(true).filter(|_| storm.sound()) else { return false };
    let wait = storm.a_while();
    storm.world.crash(node, false);
    let sectors: Vec<usize> = {
        let count = 1 + storm.below(8);
        let disk = storm.world.nodes[node].disk.clone();
        (0..count).map(|_| disk.rot(&mut storm.dice)).collect()
    };
    storm.note(format!("server {node} is killed, its sectors {sectors:?} rot, back after {} ms", wait / MS));
    storm.rotten.push(Rot { node, since: storm.world.now, emptied: None });
    storm.world.start_later(node, wait);
    true
}
