//! A storm: faults drawn by the seed while clients work, then calm, in which everything must come right.

use super::bug::Bug;
use super::history::Mode;
use super::world::{MS, SECOND, Setup, World};
use crate::dice::Dice;

/// What a storm was, and what is left of it.
pub struct Storm {
    pub seed: u64,
    pub world: World,
    /// The faults, in words.
    pub plan: Vec<String>,
    /// When the calm began, in ns.
    pub calm: u64,
}

const SERVERS: usize = 3;
const CLIENTS: usize = 2;
const KEYS: u64 = 6;
/// How long the storm rages, and how long the calm may take.
const RAGE: u64 = 40 * SECOND;
const CALM: u64 = 60 * SECOND;

/// Runs the storm of this seed.
#[must_use]
pub fn storm(seed: u64) -> Storm {
    storm_with(seed, None)
}

/// The same with a known bug in every node.
#[must_use]
pub fn storm_with(seed: u64, bug: Option<Bug>) -> Storm {
    let mut setup = Setup { bug, ..Setup::new(seed, SERVERS, CLIENTS) };
    // Small enough that servers that lag are sent a snapshot.
    setup.log_bytes_max = 8 << 10;
    let mut world = World::started(setup);
    world.supervised = true;
    let mut storm = Storm { seed, world, plan: Vec::new(), calm: 0 };
    let mut dice = Dice::new(seed ^ 0x5707_3a11);
    storm.world.run_until(30 * SECOND, |world| world.leader().is_some());
    for node in 0..SERVERS + CLIENTS {
        storm.register(node);
    }
    storm.world.run(2 * SECOND);
    let end = storm.world.now + RAGE;
    let mut next_fault = storm.world.now + dice.below(2 * SECOND);
    while storm.world.now < end {
        storm.operate(&mut dice);
        if storm.world.now >= next_fault {
            storm.fault(&mut dice);
            next_fault = storm.world.now + SECOND + dice.below(4 * SECOND);
        }
        let pause = 5 * MS + dice.below(60 * MS);
        storm.world.run(pause);
    }
    storm.calm_down(CALM);
    storm
}

impl Storm {
    fn note(&mut self, words: String) {
        self.world.trace.text(&words);
        self.plan.push(format!("{:>8.3} s  {words}", self.world.now as f64 / SECOND as f64));
    }

    /// Each node has a service of its own with a check that passes.
    fn register(&mut self, node: usize) {
        let body = format!(r#"{{"Name":"web","ID":"web-{node}","Port":80,"Check":{{"TTL":"1h","Status":"passing"}}}}"#);
        self.world.call(node, crate::http::call::Method::Put, "/v1/agent/service/register", &body);
    }

    /// A client does something.
    fn operate(&mut self, dice: &mut Dice) {
        let node = usize::try_from(dice.below((SERVERS + CLIENTS) as u64)).unwrap_or(0);
        let key = format!("key-{}", dice.below(KEYS));
        let value = format!("v{}", self.world.history.len());
        match dice.below(10) {
            0..4 => self.world.put(node, &key, &value),
            4 => self.world.cas(node, &key, &value, 1 + dice.below(self.world.history.len() as u64 + 20)),
            5 | 6 => self.world.get(node, &key, Mode::Default),
            7 => self.world.get(node, &key, Mode::Consistent),
            8 => self.world.get(node, &key, Mode::Stale),
            _ => {
                let seen = self.world.process(node).map_or(1, |process| process.view.store.index().0.max(1));
                self.world.wait(node, &key, seen, 1_000 + dice.below(120_000))
            }
        };
    }

    fn fault(&mut self, dice: &mut Dice) {
        let server = usize::try_from(dice.below(SERVERS as u64)).unwrap_or(0);
        let any = usize::try_from(dice.below((SERVERS + CLIENTS) as u64)).unwrap_or(0);
        let wait = SECOND / 2 + dice.below(6 * SECOND);
        match dice.below(14) {
            0 | 1 => {
                let power = dice.below(2) == 0;
                self.note(format!(
                    "node {any} {}, back after {} ms",
                    if power { "loses power" } else { "is killed" },
                    wait / MS
                ));
                self.world.crash(any, power);
                self.world.start_later(any, wait);
            }
            2 | 3 => {
                if let Some(leader) = self.world.leader() {
                    let power = dice.below(2) == 0;
                    self.note(format!(
                        "leader {leader} {}, back after {} ms",
                        if power { "loses power" } else { "is killed" },
                        wait / MS
                    ));
                    self.world.crash(leader, power);
                    self.world.start_later(leader, wait);
                }
            }
            4 => {
                self.note("every server loses power".to_owned());
                for node in 0..SERVERS {
                    self.world.crash(node, true);
                    let wait = dice.below(2 * SECOND);
                    self.world.start_later(node, wait);
                }
            }
            5 | 6 => {
                let others: Vec<usize> = (0..SERVERS).filter(|other| *other != server).collect();
                self.note(format!("server {server} is cut off from the other servers"));
                self.world.net.partition(&[&[server], &others]);
            }
            7 => {
                self.note(format!("nothing leaves node {any}"));
                self.world.net.cut.extend((0..SERVERS + CLIENTS).filter(|to| *to != any).map(|to| (any, to)));
            }
            8 => {
                let leader = self.world.leader().unwrap_or(server);
                self.note(format!("node {leader} stops for {} ms", wait / MS));
                self.world.pause(leader, wait);
            }
            9 => {
                self.world.net.loss = dice.below(30);
                self.world.net.twice = dice.below(10);
                self.world.net.delay = (MS, MS + dice.below(120 * MS));
                let text = format!("{:?}", (self.world.net.loss, self.world.net.twice, self.world.net.delay));
                self.note(format!("the network is bad: {text}"));
            }
            10 => {
                self.note(format!("the disk of server {server} is full"));
                self.world.nodes[server].disk.fill(true);
            }
            11 => {
                self.note(format!("the next sync of server {server} fails"));
                self.world.nodes[server].disk.fail_sync();
            }
            _ => {
                self.note("the network heals and disks have room".to_owned());
                self.mend();
            }
        }
    }

    /// A storm of another making: what was done to `world` is in `plan`, and now it is over.
    #[must_use]
    pub fn over(seed: u64, world: World, plan: Vec<String>, calm: u64) -> Self {
        let mut storm = Self { seed, world, plan, calm: 0 };
        storm.calm_down(calm);
        storm
    }

    fn mend(&mut self) {
        self.world.net.heal();
        for node in &self.world.nodes {
            node.disk.fill(false);
        }
    }

    fn calm_down(&mut self, span: u64) {
        self.note("calm".to_owned());
        self.mend();
        self.calm = self.world.now;
        for node in 0..self.world.nodes.len() {
            self.world.nodes[node].paused_until = 0;
            self.world.start_later(node, SECOND);
        }
        self.world.run(span);
    }
}
