//! A network of agents under one clock and one seed: loss, delay, one-way cuts, dials delivered or refused.

use crate::dice::Dice;
use crate::gossip::{DialError, Gossip, GossipConfig, Identity, Member, MemberEvent, MemberStatus, Output};
use crate::time::Instant;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use uuid::Uuid;

enum Arrival {
    Packet { to: SocketAddr, from: SocketAddr, bytes: Bytes },
    Request { to: SocketAddr, from: SocketAddr, process: u64, dial: u64, body: Bytes },
    Answer { to: SocketAddr, process: u64, dial: u64, result: Result<Bytes, DialError> },
}

pub(super) struct Process {
    pub(super) gossip: Gossip,
    number: u64,
    /// When what was told.
    pub(super) told: Vec<(Instant, Output)>,
}

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) processes: BTreeMap<SocketAddr, Process>,
    arrivals: BTreeMap<(Instant, u64), Arrival>,
    sent: u64,
    started: u64,
    dice: Dice,
    /// In percent, of packets only.
    pub(super) loss: u64,
    pub(super) tcp: bool,
    pub(super) cuts: BTreeSet<(SocketAddr, SocketAddr)>,
    pub(super) setup: fn(&mut GossipConfig),
    /// Of everything that was sent.
    pub(super) digest: u32,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    /// Every packet (true) and request, where wanted.
    pub(super) record: Option<Vec<(bool, Bytes)>>,
}

pub(super) fn address(n: u16) -> SocketAddr {
    ([10, 0, 0, n as u8], 8301).into()
}

pub(super) fn id(n: u128) -> Uuid {
    Uuid::from_u128(0x1c70_0000 + n)
}

pub(super) fn name(n: u16) -> String {
    format!("node-{n}")
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            now: Instant(1_000_000_000),
            processes: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            sent: 0,
            started: 0,
            dice: Dice::new(seed),
            loss: 0,
            tcp: true,
            cuts: BTreeSet::new(),
            setup: |_| {},
            digest: 0,
            packets: 0,
            bytes: 0,
            record: None,
        }
    }

    /// Members 1..=n, let in and settled.
    pub(super) fn cluster(seed: u64, n: u16) -> Self {
        let mut world = Self::new(seed);
        world.grow(n);
        world
    }

    pub(super) fn grow(&mut self, n: u16) {
        for member in 1..=n {
            self.start(member);
            if member > 1 {
                self.join(member, 1);
                self.run_ms(50);
            }
        }
        self.run(5);
    }

    pub(super) fn start(&mut self, n: u16) {
        self.start_as(id(n.into()), &name(n), address(n));
    }

    pub(super) fn start_as(&mut self, id: Uuid, name: &str, address: SocketAddr) {
        self.started += 1;
        let mut seed = [0; 12];
        seed[..8].copy_from_slice(&self.dice.number().to_be_bytes());
        let mut config = GossipConfig::lan("dc1", seed);
        (self.setup)(&mut config);
        let me = Identity { id, counter: self.now.0 / 1_000_000, address };
        let tags = BTreeMap::from([("role".to_owned(), "node".to_owned()), ("build".to_owned(), "x".repeat(120))]);
        let gossip = Gossip::new(config, me, name.into(), tags, self.dice.split(), self.now).expect("a good key");
        self.processes.insert(address, Process { gossip, number: self.started, told: Vec::new() });
    }

    pub(super) fn kill(&mut self, n: u16) {
        self.processes.remove(&address(n));
    }

    pub(super) fn join(&mut self, n: u16, to: u16) {
        self.join_at(address(n), address(to));
    }

    pub(super) fn join_at(&mut self, at: SocketAddr, to: SocketAddr) {
        let now = self.now;
        self.with(at, |gossip| gossip.join(now, vec![to], 1));
    }

    pub(super) fn gossip(&self, n: u16) -> &Gossip {
        &self.processes[&address(n)].gossip
    }

    pub(super) fn with<R>(&mut self, at: SocketAddr, act: impl FnOnce(&mut Gossip) -> R) -> R {
        let result = act(&mut self.processes.get_mut(&at).expect("a running process").gossip);
        self.carry(at);
        result
    }

    /// Takes a process's outputs to where they belong.
    fn carry(&mut self, at: SocketAddr) {
        let Some(process) = self.processes.get_mut(&at) else { return };
        let number = process.number;
        for output in process.gossip.outputs() {
            match output {
                Output::Packet { to, bytes } => {
                    assert!(bytes.len() <= 1400, "a packet of {} bytes", bytes.len());
                    self.digest = crc32c::crc32c_append(self.digest, &bytes);
                    (self.packets, self.bytes) = (self.packets + 1, self.bytes + bytes.len() as u64);
                    self.record.iter_mut().for_each(|record| record.push((true, bytes.clone())));
                    if self.dice.below(100) >= self.loss && !self.cuts.contains(&(at, to)) {
                        self.deliver(Arrival::Packet { to, from: at, bytes });
                    }
                }
                Output::Dial { to, dial, body } => {
                    self.digest = crc32c::crc32c_append(self.digest, &body);
                    self.record.iter_mut().for_each(|record| record.push((false, body.clone())));
                    let cut = !self.tcp || self.cuts.contains(&(at, to)) || self.cuts.contains(&(to, at));
                    self.deliver(if cut {
                        Arrival::Answer { to: at, process: number, dial, result: Err(DialError::Unreachable) }
                    } else {
                        Arrival::Request { to, from: at, process: number, dial, body }
                    });
                }
                output => self.processes.get_mut(&at).expect("as above").told.push((self.now, output)),
            }
        }
    }

    fn deliver(&mut self, arrival: Arrival) {
        let delay = Duration::from_micros(200) + self.dice.span(Duration::from_micros(800));
        self.sent += 1;
        self.arrivals.insert((self.now + delay, self.sent), arrival);
    }

    fn arrive(&mut self, arrival: Arrival) {
        let now = self.now;
        match arrival {
            Arrival::Packet { to, from, bytes } => {
                if let Some(process) = self.processes.get_mut(&to) {
                    process.gossip.packet(now, from, &bytes);
                    self.carry(to);
                }
            }
            Arrival::Request { to, from, process, dial, body } => {
                let result = match self.processes.get_mut(&to) {
                    Some(process) => Ok(process.gossip.request(now, &body)),
                    None => Err(DialError::Refused),
                };
                self.carry(to);
                self.deliver(Arrival::Answer { to: from, process, dial, result });
            }
            Arrival::Answer { to, process, dial, result } => {
                if let Some(asker) = self.processes.get_mut(&to).filter(|asker| asker.number == process) {
                    asker.gossip.answered(now, dial, result);
                    self.carry(to);
                }
            }
        }
    }

    pub(super) fn run(&mut self, seconds: u64) {
        self.run_ms(seconds * 1000);
    }

    pub(super) fn run_ms(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        loop {
            let timer = self.processes.iter().filter_map(|(at, p)| Some((p.gossip.deadline()?, *at))).min();
            let arrival = self.arrivals.first_key_value().map(|((at, _), _)| *at);
            let next = timer.map(|(at, _)| at).into_iter().chain(arrival).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            if arrival == Some(next) {
                let (_, arrival) = self.arrivals.pop_first().expect("as above");
                self.arrive(arrival);
            } else if let Some((_, at)) = timer {
                let now = self.now;
                self.with(at, |gossip| gossip.timer(now));
            }
        }
        self.now = end;
    }

    pub(super) fn status(&self, seen_by: u16, n: u16) -> Option<MemberStatus> {
        self.member(seen_by, &name(n)).map(|member| member.status)
    }

    pub(super) fn member(&self, seen_by: u16, name: &str) -> Option<Member> {
        self.gossip(seen_by).members().into_iter().find(|member| *member.name == *name)
    }

    pub(super) fn events(&self, of: u16) -> impl Iterator<Item = (Instant, &MemberEvent)> {
        self.processes[&address(of)].told.iter().filter_map(|(at, output)| match output {
            Output::Event(event) => Some((*at, event)),
            _ => None,
        })
    }

    pub(super) fn told(&self, n: u16) -> Vec<&Output> {
        self.told_at(address(n))
    }

    pub(super) fn told_at(&self, at: SocketAddr) -> Vec<&Output> {
        let told = self.processes[&at].told.iter().map(|(_, output)| output);
        told.filter(|output| !matches!(output, Output::Changed | Output::Event(_) | Output::Heard(_))).collect()
    }

    pub(super) fn forget_events(&mut self) {
        for process in self.processes.values_mut() {
            process.told.clear();
        }
    }

    /// Failed events seen by anybody.
    pub(super) fn failures(&self) -> Vec<(Instant, SocketAddr, String)> {
        let mut failures = Vec::new();
        for (at, process) in &self.processes {
            for (when, output) in &process.told {
                if let Output::Event(MemberEvent::Failed(member)) = output {
                    failures.push((*when, *at, member.name.to_string()));
                }
            }
        }
        failures
    }

    /// Everybody that runs lists exactly these members as alive.
    pub(super) fn assert_alive(&self, expected: &[u16]) {
        let expected: BTreeSet<String> = expected.iter().map(|n| name(*n)).collect();
        for (at, process) in &self.processes {
            let members = process.gossip.members();
            let live = members.iter().filter(|m| m.status == MemberStatus::Alive).map(|m| m.name.to_string());
            assert_eq!(live.collect::<BTreeSet<_>>(), expected, "as {at} sees it at {:?}", self.now);
        }
    }
}
