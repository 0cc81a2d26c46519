//! Situations in which a bug of one kind would show. None knows of any bug: each brings a cluster where the rules are
//! needed, lets clients work, and ends in a calm, after which everything that holds after a storm must hold.

use crate::cluster::settled;
use lictor_agent::dice::Dice;
use lictor_agent::gossip::MemberStatus;
use lictor_agent::http::call::Method;
use lictor_agent::sim::{Bug, Deed, MS, Mode, SECOND, Setup, Storm, World};

/// The calm after a situation.
const CALM: u64 = 40 * SECOND;

/// What was seen while it went on.
pub(crate) type Violation = (&'static str, String);

/// A situation that is over.
pub(crate) struct Ran {
    pub(crate) storm: Storm,
    pub(crate) violated: Option<Violation>,
    /// Too much happens to one key for the checker.
    pub(crate) dense: bool,
}

struct Scene {
    seed: u64,
    world: World,
    dice: Dice,
    plan: Vec<String>,
    violated: Option<Violation>,
}

impl Scene {
    fn new(setup: Setup) -> Self {
        let seed = setup.seed;
        let mut world = settled(setup);
        world.supervised = true;
        Self { seed, world, dice: Dice::new(seed ^ 0x9e37_79b9), plan: Vec::new(), violated: None }
    }

    fn note(&mut self, words: String) {
        self.plan.push(format!("{:>8.3} s  {words}", self.world.now as f64 / SECOND as f64));
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.dice.below(bound as u64)).unwrap_or(0)
    }

    /// A client writes somewhere.
    fn write(&mut self, node: usize) {
        let value = format!("v{}", self.world.history.len());
        self.world.put(node, "key-0", &value);
    }

    /// For `span`, clients read here and write there, every two ms.
    fn work(&mut self, span: u64, reader: usize, writers: &[usize], mode: Mode) {
        let end = self.world.now + span;
        while self.world.now < end {
            self.world.get(reader, "key-0", mode);
            let writer = writers[self.below(writers.len())];
            if self.dice.below(4) == 0 {
                self.write(writer);
            }
            self.world.run(2 * MS);
        }
    }

    fn over(self) -> Ran {
        Ran { storm: Storm::over(self.seed, self.world, self.plan, CALM), violated: self.violated, dense: true }
    }
}

fn setup(seed: u64, servers: usize, clients: usize, bug: Option<Bug>) -> Setup {
    Setup { bug, ..Setup::new(seed, servers, clients) }
}

/// One-way cuts and short power cuts among three or five servers, changing faster than an election takes, while clients read
/// and write everywhere.
pub(crate) fn restless_elections(seed: u64, bug: Option<Bug>) -> Ran {
    let servers = if seed.is_multiple_of(2) { 5 } else { 3 };
    let mut scene = Scene::new(setup(seed, servers, 0, bug));
    for _ in 0..160 {
        let (from, to) = (scene.below(servers), scene.below(servers));
        match scene.dice.below(4) {
            0 => {
                let at = scene.below(servers);
                scene.note(format!("server {at} loses power for a moment"));
                scene.world.crash(at, true);
                scene.world.start_later(at, MS);
            }
            1 => scene.world.net.cut.clear(),
            _ => {
                scene.note(format!("nothing gets from {from} to {to}"));
                scene.world.net.cut.insert((from, to));
            }
        }
        for node in 0..servers {
            let mode = if scene.dice.below(3) == 0 { Mode::Consistent } else { Mode::Default };
            scene.world.get(node, "key-0", mode);
        }
        scene.write(from);
        let pause = 20 * MS + scene.dice.below(250 * MS);
        scene.world.run(pause);
    }
    scene.over()
}

/// Who was elected besides the old leader, settled or not.
fn elected(world: &World, old: usize) -> Option<usize> {
    let leads = |at: &usize| {
        let replica = world.process(*at).and_then(|process| process.agent.role()?.replica());
        replica.is_some_and(|replica| replica.status().leading)
    };
    (0..world.nodes.len()).filter(|at| *at != old).find(leads)
}

/// The leader is cut off and another server elected; at that moment its voter loses power, and it is cut off in its turn.
pub(crate) fn power_cut_after_a_vote(seed: u64, bug: Option<Bug>) -> Ran {
    let mut scene = Scene::new(setup(seed, 3, 0, bug));
    for _ in 0..4 {
        let Some(old) = scene.world.leader() else { break };
        let others: Vec<usize> = (0..3).filter(|at| *at != old).collect();
        scene.note(format!("leader {old} is cut off"));
        scene.world.net.partition(&[&[old], &others]);
        let end = scene.world.now + 5 * SECOND;
        while elected(&scene.world, old).is_none() && scene.world.now < end {
            scene.world.run(MS / 10);
        }
        let Some(new) = elected(&scene.world, old) else { break };
        let voter = 3 - old - new;
        scene.note(format!("server {new} is elected and cut off; server {voter} loses power for a moment"));
        scene.world.net.cut.clear();
        scene.world.net.partition(&[&[new], &[old, voter]]);
        scene.world.crash(voter, true);
        scene.world.start(voter);
        scene.world.run(4 * SECOND);
        scene.world.net.cut.clear();
        scene.world.run(3 * SECOND);
    }
    scene.over()
}

/// The leader is stopped for longer than an election takes and goes on while clients read there.
pub(crate) fn paused_leader(seed: u64, bug: Option<Bug>) -> Ran {
    let mut scene = Scene::new(setup(seed, 3, 0, bug));
    for _ in 0..3 {
        let Some(leader) = scene.world.leader() else { break };
        let others: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
        scene.write(leader);
        scene.world.run(300 * MS);
        let span = 1_200 * MS + scene.dice.below(1_500 * MS);
        scene.note(format!("leader {leader} stops for {} ms", span / MS));
        scene.world.pause(leader, span);
        for _ in 0..40 {
            scene.write(others[0]);
            scene.world.run(span / 40);
        }
        scene.work(100 * MS, leader, &others, Mode::Consistent);
        scene.world.run(3 * SECOND);
    }
    scene.over()
}

/// A server that the leader does not reach wants to be elected; then nobody reaches the leader and the third server, whose
/// answers made the lease, loses power for a moment. Clients read at the leader and write at the others.
pub(crate) fn restart_inside_a_lease(seed: u64, bug: Option<Bug>) -> Ran {
    let mut scene = Scene::new(setup(seed, 3, 0, bug));
    for _ in 0..4 {
        let Some(leader) = scene.world.leader() else { break };
        let others: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
        let (rival, third) = (others[0], others[1]);
        scene.note(format!("leader {leader} and server {rival} do not hear each other"));
        scene.world.net.partition(&[&[leader], &[rival]]);
        let pause = 1_500 * MS + scene.dice.below(SECOND);
        scene.world.run(pause);
        scene.note(format!("leader {leader} hears nobody, server {third} loses power for a moment"));
        scene.world.net.partition(&[&[leader], &others]);
        scene.world.crash(third, true);
        scene.world.start(third);
        scene.work(450 * MS, leader, &others, Mode::Default);
        scene.world.net.cut.clear();
        scene.world.run(3 * SECOND);
    }
    scene.over()
}

/// A leader that hands over and leaves is cut off as soon as its heir was told.
pub(crate) fn cut_off_while_handing_over(seed: u64, bug: Option<Bug>) -> Ran {
    let mut scene = Scene::new(setup(seed, 3, 0, bug));
    if let Some(leader) = scene.world.leader() {
        let others: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
        scene.write(leader);
        scene.world.run(300 * MS);
        scene.note(format!("leader {leader} is told to leave"));
        scene.world.call(leader, Method::Put, "/v1/agent/leave", "");
        let wait = MS / 2 + scene.dice.below(3 * MS);
        scene.world.run(wait);
        scene.note(format!("leader {leader} hears nobody"));
        scene.world.net.partition(&[&[leader], &others]);
        scene.work(450 * MS, leader, &others, Mode::Default);
    }
    scene.over()
}

/// Four servers of which three bootstrap: as soon as one of them has founded the cluster it is cut off, and the others lose
/// power and come back beside the fourth.
pub(crate) fn crash_while_bootstrapping(seed: u64, bug: Option<Bug>) -> Ran {
    let mut world = World::new(setup(seed, 4, 0, bug));
    world.supervised = true;
    let mut plan = Vec::new();
    for node in &mut world.nodes {
        node.expect = 3;
    }
    let late = 3;
    for at in 0..late {
        world.start(at);
    }
    let founded = |world: &World, at: usize| {
        world.process(at).is_some_and(|process| process.agent.role().is_some_and(|role| role.cluster().is_some()))
    };
    let end = world.now + 30 * SECOND;
    while !(0..late).any(|at| founded(&world, at)) && world.now < end {
        world.run(MS / 5);
    }
    if let Some(first) = (0..late).find(|at| founded(&world, *at)) {
        plan.push(format!("server {first} has founded the cluster and is cut off; the others lose power"));
        let others: Vec<usize> = (0..=late).filter(|at| *at != first).collect();
        world.net.partition(&[&[first], &others]);
        for at in others.iter().copied().filter(|at| *at != late) {
            world.crash(at, true);
            // What it remembers of its peers goes with its directory's other half.
            world.nodes[at].peers.clear();
            world.start_later(at, 100 * MS);
        }
        world.start_later(late, 100 * MS);
        world.run(40 * SECOND);
    }
    Ran { storm: Storm::over(seed, world, plan, CALM), violated: None, dense: true }
}

/// A follower's directory is emptied while the other one lags; then the leader is cut off.
pub(crate) fn emptied_voter(seed: u64, bug: Option<Bug>) -> Ran {
    let mut scene = Scene::new(setup(seed, 3, 0, bug));
    if let Some(leader) = scene.world.leader() {
        let others: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
        let (lagging, emptied) = (others[0], others[1]);
        scene.write(leader);
        scene.world.run(SECOND);
        scene.note(format!("server {lagging} hears nothing of the leader"));
        scene.world.net.cut.insert((leader, lagging));
        scene.write(leader);
        scene.world.run(200 * MS);
        scene.note(format!("leader {leader} is cut off; server {emptied} comes back with an empty directory"));
        scene.world.net.partition(&[&[leader], &others]);
        scene.world.crash(emptied, true);
        scene.world.wipe_log(emptied);
        scene.world.start(emptied);
        scene.world.run(10 * SECOND);
    }
    scene.over()
}

/// Services are registered at a client agent while the servers have no quorum, again and again.
pub(crate) fn registered_without_a_leader(seed: u64, bug: Option<Bug>) -> Ran {
    let mut scene = Scene::new(setup(seed, 3, 1, bug));
    let client = 3;
    scene.world.run(5 * SECOND);
    for round in 0..3 {
        scene.note("no server reaches another one".to_owned());
        scene.world.net.partition(&[&[0], &[1], &[2]]);
        scene.world.run(2 * SECOND);
        let body = format!(r#"{{"Name":"web","ID":"web-{round}","Port":80}}"#);
        scene.world.call(client, Method::Put, "/v1/agent/service/register", &body);
        let pause = 10 * SECOND + scene.dice.below(10 * SECOND);
        scene.world.run(pause);
        scene.world.net.cut.clear();
        scene.world.run(2 * SECOND);
    }
    scene.over()
}

/// Reads wait for keys that are written once each, everywhere.
pub(crate) fn waiting_readers(seed: u64, bug: Option<Bug>) -> Ran {
    let mut scene = Scene::new(setup(seed, 3, 1, bug));
    for round in 0..20 {
        let key = format!("key-{round}");
        for node in 0..4 {
            let seen = scene.world.process(node).map_or(1, |process| process.view.store.index().0.max(1));
            scene.world.wait(node, &key, seen, 120_000);
        }
        let pause = scene.dice.below(30 * MS);
        scene.world.run(pause);
        let node = scene.below(4);
        scene.world.put(node, &key, "there");
        scene.world.run(20 * MS);
    }
    scene.over()
}

/// Agents that stop for a second or two: long enough to be suspected, not long enough to be dead.
pub(crate) fn short_pauses(seed: u64, bug: Option<Bug>) -> Ran {
    let mut scene = Scene::new(setup(seed, 3, 2, bug));
    for _ in 0..8 {
        let at = scene.below(5);
        let span = 1_000 * MS + scene.dice.below(1_500 * MS);
        scene.note(format!("node {at} stops for {} ms", span / MS));
        scene.world.pause(at, span);
        for _ in 0..80 {
            scene.world.run(100 * MS);
            let buried = false_alarm(&scene.world).map(|words| ("false_alarm", words));
            scene.violated = scene.violated.take().or(buried);
        }
    }
    scene.over()
}

/// A member that runs is taken for dead.
fn false_alarm(world: &World) -> Option<String> {
    world.nodes.iter().enumerate().find_map(|(at, node)| {
        let dead = |member: &&lictor_agent::gossip::Member| member.status == MemberStatus::Dead;
        let members = &node.process.as_ref()?.local.members;
        let dead = members.iter().find(dead)?;
        Some(format!("node {at} takes {} for dead, which only stopped for a moment", dead.name))
    })
}

/// Logs that are compacted again and again, and servers that lose power.
pub(crate) fn restarts_from_snapshots(seed: u64, bug: Option<Bug>) -> Ran {
    let mut setup = setup(seed, 3, 0, bug);
    setup.log_bytes_max = 2 << 10;
    let mut scene = Scene::new(setup);
    for round in 0..60 {
        let node = scene.below(3);
        scene.world.put(node, &format!("key-{round}"), &format!("v{round}"));
        scene.world.run(20 * MS);
        if round % 20 == 19 {
            let at = scene.below(3);
            scene.note(format!("server {at} loses power"));
            scene.world.crash(at, true);
            scene.world.start_later(at, 200 * MS);
            scene.world.run(3 * SECOND);
        }
    }
    scene.over()
}

/// Compare-and-set through a follower whose leader's answers get lost.
pub(crate) fn lost_answers(seed: u64, bug: Option<Bug>) -> Ran {
    let mut scene = Scene::new(setup(seed, 3, 0, bug));
    for round in 0..4 {
        let Some(leader) = scene.world.leader() else { break };
        let follower = (leader + 1) % 3;
        let key = format!("key-{round}");
        scene.world.cas(follower, &key, &format!("v{round}"), 0);
        let wait = MS + scene.dice.below(2 * MS);
        scene.world.run(wait);
        scene.note(format!("leader {leader}'s answers do not reach server {follower}"));
        scene.world.net.cut.insert((leader, follower));
        scene.world.run(12 * SECOND);
        scene.world.net.cut.clear();
        scene.world.run(3 * SECOND);
        scene.world.get(follower, &key, Mode::Consistent);
        scene.world.run(SECOND);
    }
    scene.over()
}

/// A lock whose holder renews in time, and which another asks for all the while, through the ends of several leaders.
pub(crate) fn wanted_lock(seed: u64, bug: Option<Bug>) -> Ran {
    let mut scene = Scene::new(setup(seed, 3, 1, bug));
    let body = r#"{"TTL":"10s","LockDelay":"0s","NodeChecks":[]}"#;
    let asked = [(), ()].map(|()| scene.world.open(3, body));
    scene.world.run(SECOND);
    let sessions = asked.map(|number| match &scene.world.history[number].ended {
        Some((_, Deed::Given(id))) => id.parse().ok(),
        _ => None,
    });
    let [Some(holder), Some(other)] = sessions else { return scene.over() };
    scene.world.lock(3, "lock-0", "holder", holder);
    for round in 0..60 {
        if round % 16 == 0 {
            scene.world.renew(3, holder);
        }
        scene.world.renew(3, other);
        scene.world.lock(3, "lock-0", &format!("other-{round}"), other);
        scene.world.run(500 * MS);
        if let Some(leader) = scene.world.leader().filter(|_| round % 20 == 19) {
            scene.note(format!("leader {leader} loses power"));
            scene.world.crash(leader, true);
            scene.world.start_later(leader, SECOND);
        }
    }
    scene.over()
}
