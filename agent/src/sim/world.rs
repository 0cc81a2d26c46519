//! The world: time, the queue of what happens next, and the turns of every node.

use super::bug::{self, Bug};
use super::call::Message;
use super::clock::Clock;
use super::disk::ByteDisk;
use super::history::{Op, Seen, Sight};
use super::logs::Logs;
use super::net::Net;
use super::node::{Node, Process};
use super::rpc::{Failure, Request, Response};
use super::trace::Trace;
use crate::dice::Dice;
use crate::effect::Effect;
use crate::event::Event;
use crate::http::call::Method;
use crate::runtime::mailbox::Lane;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1_000 * MS;
/// As `runtime/core.rs`: even an agent that waits for nothing looks at its clock this often.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    pub seed: u64,
    pub servers: usize,
    pub clients: usize,
    /// Of each server's log in memory.
    pub log_bytes_max: usize,
    /// The clocks' rates are off by at most this, in parts per billion.
    pub drift: u64,
    /// States are hashed at every so many-th index.
    pub hash_every: u64,
    /// Sessions live as long as their TTL says, not twice as long.
    pub session_ttl_exact: bool,
    /// A known bug in every node.
    pub bug: Option<Bug>,
}

impl Setup {
    #[must_use]
    pub const fn new(seed: u64, servers: usize, clients: usize) -> Self {
        Self {
            seed,
            servers,
            clients,
            log_bytes_max: 1 << 20,
            drift: 5_000_000,
            hash_every: 4,
            session_ttl_exact: false,
            bug: None,
        }
    }
}

/// What happens to a node.
pub(super) enum Happening {
    Take(Lane, Box<Event>),
    /// The agent's thread looks at its mailbox and its clock.
    Turn,
    /// The disk is done with its transaction, or tries again.
    Disk,
    /// Records of local state reach the disk.
    Files(Option<crate::local::Ticket>, Vec<crate::local::Write>),
    Hub(Message),
    HubTimer,
    Asked {
        from: usize,
        life: u64,
        id: u64,
        request: Request,
    },
    Answered {
        id: u64,
        answer: Result<Response, Failure>,
    },
    /// An answer that was held up by a cut.
    Respond {
        asker: (usize, u64, u64),
        response: Response,
    },
    /// Looks whether a call's connection still lives.
    KeepAlive {
        id: u64,
    },
    /// A held call is tried again.
    Retry {
        walk: u64,
        tries: u32,
    },
    /// The agent or a server did not answer a call in time.
    Overdue {
        walk: u64,
        step: u64,
    },
    Dialled {
        from: usize,
        life: u64,
        dial: u64,
        body: bytes::Bytes,
    },
    Join {
        number: u64,
    },
    JoinOverdue {
        number: u64,
        ticket: u64,
    },
    Fetch {
        number: u64,
    },
    /// A peer that did not answer may be tried again.
    Rest(crate::consensus::EngineId),
    /// Whatever process there is then: start it if there is none.
    Start,
}

/// See the module's page.
pub struct World {
    pub now: u64,
    pub nodes: Vec<Node>,
    pub net: Net,
    pub dice: Dice,
    pub trace: Trace,
    pub history: Vec<Op>,
    pub seen: Vec<Seen>,
    pub logs: Logs,
    /// An agent that ended of its own accord is started again.
    pub supervised: bool,
    /// How long a sync may take, in ns.
    pub sync_time: (u64, u64),
    pub(super) setup: Setup,
    seq: u64,
    queue: BTreeMap<(u64, u64), (usize, u64, Happening)>,
    pub(super) leaders_seen: BTreeSet<(usize, u64, u64)>,
    /// How many views were published.
    pub(super) publications: u64,
}

impl World {
    /// A cluster whose machines are off.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let mut dice = Dice::new(setup.seed);
        let mut nodes = Vec::new();
        for at in 0..setup.servers + setup.clients {
            let server = at < setup.servers;
            let expect = if server { setup.servers } else { 0 };
            nodes.push(machine(&setup, at, server, expect, &mut dice));
        }
        Self {
            now: 0,
            nodes,
            net: Net::default(),
            dice,
            trace: Trace::default(),
            history: Vec::new(),
            seen: Vec::new(),
            logs: Logs::default(),
            supervised: false,
            sync_time: (MS / 2, 4 * MS),
            setup,
            seq: 0,
            queue: BTreeMap::new(),
            leaders_seen: BTreeSet::new(),
            publications: 0,
        }
    }

    /// A cluster that has just been switched on.
    #[must_use]
    pub fn started(setup: Setup) -> Self {
        let mut world = Self::new(setup);
        for node in 0..world.nodes.len() {
            world.start(node);
        }
        world
    }

    pub(super) fn at(&mut self, when: u64, node: usize, what: Happening) {
        let life = self.nodes[node].life;
        self.seq += 1;
        self.queue.insert((when.max(self.now), self.seq), (node, life, what));
    }

    /// For whatever process there is then.
    pub(super) fn at_any(&mut self, when: u64, node: usize, what: Happening) {
        self.seq += 1;
        self.queue.insert((when.max(self.now), self.seq), (node, 0, what));
    }

    /// For the process of that life only.
    pub(super) fn at_life(&mut self, when: u64, node: usize, life: u64, what: Happening) {
        self.seq += 1;
        self.queue.insert((when.max(self.now), self.seq), (node, life, what));
    }

    pub(super) fn see(&mut self, node: usize, sight: Sight) {
        self.seen.push(Seen { at: self.now, node, sight });
    }

    /// Who has this address now.
    pub(super) fn owner(&self, ip: IpAddr) -> Option<usize> {
        self.nodes.iter().position(|node| node.ip == ip)
    }

    pub(super) fn running(&mut self, node: usize) -> Option<&mut Process> {
        self.nodes[node].process.as_mut()
    }

    /// Runs until this moment, in ns.
    pub fn run_to(&mut self, until: u64) {
        while let Some(entry) = self.queue.first_entry() {
            let (when, _) = *entry.key();
            if when > until {
                break;
            }
            let (node, life, what) = entry.remove();
            self.now = self.now.max(when);
            let at = &self.nodes[node];
            if life != 0 && at.life != life {
                continue;
            }
            if at.paused_until > self.now {
                let resume = at.paused_until;
                self.at_life(resume, node, life, what);
                continue;
            }
            self.happen(node, what);
        }
        self.now = self.now.max(until);
    }

    pub fn run(&mut self, span: u64) {
        self.run_to(self.now + span);
    }

    /// Runs in steps of 10 ms until this is so, at most `most` ns; whether it came to be so.
    pub fn run_until(&mut self, most: u64, mut so: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + most;
        while !so(self) {
            if self.now >= end {
                return false;
            }
            self.run(10 * MS);
        }
        true
    }

    fn happen(&mut self, node: usize, what: Happening) {
        self.trace.mix(&[self.now, node as u64, what.number()]);
        match what {
            Happening::Start => {
                if self.nodes[node].process.is_none() && self.nodes[node].wanted {
                    self.start(node);
                }
            }
            what if self.nodes[node].process.is_none() => self.nobody(node, what),
            Happening::Take(lane, event) => self.take(node, lane, *event),
            Happening::Turn => self.turn(node),
            Happening::Disk => self.disk_done(node),
            Happening::Files(ticket, writes) => self.files_done(node, ticket, writes),
            Happening::Hub(message) => self.hub(node, message),
            Happening::HubTimer => self.hub_timer(node),
            Happening::Asked { from, life, id, request } => self.asked(node, (from, life, id), request),
            Happening::Answered { id, answer } => self.answered(node, id, answer),
            Happening::Respond { asker, response } => self.respond(node, asker, response),
            Happening::KeepAlive { id } => self.keep_alive(node, id),
            Happening::Retry { walk, tries } => self.retry(node, walk, tries),
            Happening::Overdue { walk, step } => self.overdue(node, walk, step),
            Happening::Dialled { from, life, dial, body } => self.dialled(node, (from, life, dial), body),
            Happening::Join { number } => self.try_to_join(node, number),
            Happening::JoinOverdue { number, ticket } => self.join_overdue(node, number, ticket),
            Happening::Fetch { number } => self.fetch_on(node, number),
            Happening::Rest(peer) => self.rested(node, peer),
        }
    }

    /// Hands an event to the agent; its turn follows shortly.
    pub(super) fn take(&mut self, node: usize, lane: Lane, event: Event) {
        let wait = self.dice.below(MS / 10);
        let when = self.now + wait;
        let Some(process) = self.running(node) else { return };
        process.push(lane, event);
        if process.turn_at.is_none_or(|turn| turn > when) {
            process.turn_at = Some(when);
            self.at(when, node, Happening::Turn);
        }
    }

    /// One turn of the agent's thread.
    fn turn(&mut self, node: usize) {
        let now = self.nodes[node].local_now(self.now);
        let due = self.now;
        let Some(process) = self.running(node) else { return };
        // A turn that was moved forward leaves its old place in the queue.
        if process.turn_at.is_none_or(|turn| turn > due) {
            return;
        }
        process.turn_at = None;
        let _named = tracing::info_span!("turn", node, ms = due / MS).entered();
        let mut effects = Vec::new();
        for lane in 0..process.inbox.len() {
            while let Some(event) = process.inbox[lane].pop_front() {
                process.agent.step(now, event, &mut effects);
            }
        }
        process.agent.finish(now, &mut effects);
        for effect in effects {
            if self.nodes[node].process.is_none() {
                return;
            }
            self.carry_out(node, effect);
        }
        self.look_for_a_leader(node);
        self.next_turn(node);
    }

    fn next_turn(&mut self, node: usize) {
        let now = self.nodes[node].local_now(self.now);
        let clock = self.nodes[node].clock;
        let least = self.now + 1;
        let Some(process) = self.running(node) else { return };
        let deadline = process.agent.deadline().unwrap_or(now + PATIENCE).min(now + PATIENCE);
        let when = clock.when(deadline).max(least);
        if process.turn_at.is_none_or(|turn| turn > when) {
            process.turn_at = Some(when);
            self.at(when, node, Happening::Turn);
        }
    }

    /// Switches a machine on.
    pub fn start(&mut self, node: usize) {
        let dice = self.dice.split();
        let now = self.now;
        if self.nodes[node].process.is_some() {
            return;
        }
        self.trace.mix(&[now, node as u64, 100]);
        if let Err(problem) = self.nodes[node].start(now, dice, &mut self.logs, node) {
            self.trace.text(&problem);
            self.see(node, Sight::Dead(problem));
            if self.supervised {
                self.start_later(node, 2 * SECOND);
            }
            return;
        }
        if let Some(cluster) = self.nodes[node].process.as_ref().and_then(|process| process.hello.cluster) {
            self.see(node, Sight::Cluster(cluster));
        }
        self.next_turn(node);
        let (remembered, named) = (self.nodes[node].peers.clone(), self.named(node));
        self.join_through(node, remembered, Some(8));
        self.join_through(node, named, None);
    }

    /// Ends a process without a word. With `power`, what was not synced is left to chance.
    pub fn crash(&mut self, node: usize, power: bool) {
        self.trace.mix(&[self.now, node as u64, 101, u64::from(power)]);
        let mut process = self.nodes[node].process.take();
        if let Some(process) = &mut process {
            self.break_calls(node, process);
            if power && !process.writing.is_empty() {
                // The power goes in the middle of a transaction.
                self.nodes[node].disk.doom(self.dice.below(24));
                let _ = super::effects::write(process);
            }
            self.nodes[node].life += 1;
            if !power {
                self.nodes[node].disk.kill();
            }
        }
        if power {
            let mut dice = self.dice.split();
            self.nodes[node].disk.crash(&mut dice);
        }
        // Only now: a log store that is closed in order writes and syncs a last time.
        drop(process);
        self.nodes[node].paused_until = 0;
    }

    /// Starts a machine again after a while.
    pub fn start_later(&mut self, node: usize, wait: u64) {
        self.at_any(self.now + wait, node, Happening::Start);
    }

    /// Empties a dead server's log; what the agent owns and who it is stay.
    pub fn wipe_log(&mut self, node: usize) {
        self.nodes[node].disk.wipe();
    }

    /// Empties a dead machine's whole directory: what comes back is somebody else of the same name.
    pub fn wipe(&mut self, node: usize) {
        let id = self.dice.uuid();
        let node = &mut self.nodes[node];
        node.disk.wipe();
        node.records.clear();
        node.peers.clear();
        (node.id, node.starts) = (id, 0);
    }

    /// One more machine, which joins the cluster that there is.
    pub fn add(&mut self, server: bool) -> usize {
        let at = self.nodes.len();
        let node = machine(&self.setup, at, server, 0, &mut self.dice);
        self.nodes.push(node);
        self.start(at);
        at
    }

    /// Asks an agent to leave; it is not started again.
    pub fn leave(&mut self, node: usize) {
        self.nodes[node].wanted = false;
        self.call(node, Method::Put, "/v1/agent/leave", "");
    }

    /// Where the servers that ought to run are now, as an operator would name them.
    fn named(&self, node: usize) -> Vec<SocketAddr> {
        let others = self.nodes.iter().enumerate().filter(|(at, other)| *at != node && other.server && other.wanted);
        others.map(|(_, other)| other.gossip_address()).collect()
    }

    /// Moves a dead machine to another address.
    pub fn move_to(&mut self, node: usize, ip: IpAddr) {
        self.nodes[node].ip = ip;
    }

    /// Stops a process for a while, as SIGSTOP does.
    pub fn pause(&mut self, node: usize, span: u64) {
        self.trace.mix(&[self.now, node as u64, 102, span]);
        self.nodes[node].paused_until = self.now + span;
    }

    /// The view of a node that runs.
    #[must_use]
    pub fn process(&self, node: usize) -> Option<&Process> {
        self.nodes[node].process.as_ref()
    }

    /// The server that takes itself for the settled leader of the newest epoch.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        let leading = self.nodes.iter().enumerate().filter_map(|(at, node)| {
            let view = &node.process.as_ref()?.view;
            view.leading.then_some((view.epoch, at))
        });
        leading.max().map(|(_, at)| at)
    }

    pub(super) fn ended(&mut self, node: usize, why: String) {
        self.see(node, Sight::Ended(why));
        self.crash(node, false);
        if self.supervised {
            self.start_later(node, 2 * SECOND);
        }
    }
}

fn machine(setup: &Setup, at: usize, server: bool, expect: usize, dice: &mut Dice) -> Node {
    let whole = 2 * setup.drift + 1;
    let drift = i64::try_from(dice.below(whole)).unwrap_or(0) - i64::try_from(setup.drift).unwrap_or(0);
    Node {
        name: if server { format!("server-{at}") } else { format!("client-{at}") },
        id: dice.uuid(),
        ip: ip(at),
        server,
        expect: u32::try_from(expect).unwrap_or(0),
        log_bytes_max: setup.log_bytes_max,
        session_ttl_exact: setup.session_ttl_exact,
        disk: ByteDisk::default(),
        records: BTreeMap::new(),
        starts: 0,
        peers: Vec::new(),
        clock: Clock { start: SECOND + dice.below(3_600 * SECOND), drift: bug::drift(setup.bug, drift) },
        life: 0,
        paused_until: 0,
        wanted: true,
        process: None,
        bug: setup.bug,
    }
}

/// Where the machine with this number stands at first.
fn ip(at: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, u8::try_from(at + 1).unwrap_or(u8::MAX)))
}

impl Happening {
    const fn number(&self) -> u64 {
        match self {
            Self::Take(..) => 1,
            Self::Turn => 2,
            Self::Disk => 3,
            Self::Files(..) => 4,
            Self::Hub(_) => 5,
            Self::HubTimer => 6,
            Self::Asked { .. } => 7,
            Self::Answered { .. } => 8,
            Self::KeepAlive { .. } => 9,
            Self::Retry { .. } => 10,
            Self::Overdue { .. } => 11,
            Self::Dialled { .. } => 12,
            Self::Join { .. } => 13,
            Self::JoinOverdue { .. } => 14,
            Self::Fetch { .. } => 15,
            Self::Rest(_) => 16,
            Self::Start => 17,
            Self::Respond { .. } => 18,
        }
    }
}

/// The number of an effect's kind, for the trace.
pub(super) const fn kind(effect: &Effect) -> u64 {
    match effect {
        Effect::Packet { .. } => 1,
        Effect::Dial { .. } => 2,
        Effect::GossipAnswer { .. } => 3,
        Effect::Letter { .. } => 4,
        Effect::Bootstrap { .. } => 5,
        Effect::Cluster(_) => 6,
        Effect::Store(_) => 7,
        Effect::Probe { .. } => 8,
        Effect::StopProbe { .. } => 9,
        Effect::Persist { .. } => 10,
        Effect::Publish { .. } => 11,
        Effect::PublishLocal(_) => 12,
        Effect::Answer { .. } => 13,
        Effect::Fetch { .. } => 14,
        Effect::Push { .. } => 15,
        Effect::Exit(_) => 16,
        Effect::Retire(_) => 17,
    }
}
