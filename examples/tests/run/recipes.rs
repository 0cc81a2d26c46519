//! Twenty clients of each recipe, some of which are killed: all others see what they would have seen without them.

use super::{check, example, output};
use lictor_examples::cluster::{Agent, Cluster, PATIENCE, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::RngExt as _;
use rand::seq::IteratorRandom as _;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use tokio::sync::mpsc;

const CLIENTS: usize = 20;

/// A server whose sessions end soon after their last renewal.
async fn server() -> (Cluster, Agent) {
    let cluster = Cluster::new().unwrap();
    let exact = "session_ttl_exact = true session_ttl_min = \"1s\"";
    let args = ["-server", "-bootstrap-expect=1", "-hcl", exact].map(str::to_owned);
    let agent = cluster.agent(1, "server1", &args).unwrap();
    cluster.leader(std::slice::from_ref(&agent)).await.unwrap();
    cluster.write(&agent, "ready", "yes").await.unwrap();
    (cluster, agent)
}

/// Clients of one recipe, and what they print, in the order in which it came.
struct Crowd {
    name: &'static str,
    agent: Agent,
    clients: BTreeMap<usize, Child>,
    told: mpsc::UnboundedReceiver<String>,
    teller: mpsc::UnboundedSender<String>,
}

impl Crowd {
    fn new(name: &'static str, agent: Agent) -> Self {
        let (teller, told) = mpsc::unbounded_channel();
        Self { name, agent, clients: BTreeMap::new(), told, teller }
    }

    /// Starts a client, whose name comes after these arguments.
    fn start(&mut self, number: usize, args: &[&str]) {
        let name = format!("c{number}");
        let mut command = example(self.name, Some(&self.agent), &[args, &[&name]].concat());
        let mut child = command.env("SESSION_TTL", "2").spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let teller = self.teller.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let _ = teller.send(line);
            }
        });
        self.clients.insert(number, child);
    }

    async fn next(&mut self) -> String {
        tokio::time::timeout(PATIENCE, self.told.recv()).await.expect("a line in time").unwrap()
    }

    /// The next line of all must be this client's and go on like this; what comes then.
    async fn expect(&mut self, number: usize, line: &str) -> String {
        let told = self.next().await;
        let rest = told.strip_prefix(&format!("c{number} {line}"));
        rest.unwrap_or_else(|| panic!("{told:?} instead of \"c{number} {line}\"")).to_owned()
    }

    fn signal(&self, number: usize, signal: Signal) {
        kill(Pid::from_raw(self.clients[&number].id().unwrap().cast_signed()), signal).unwrap();
    }

    /// SIGKILL: it says nothing to anybody.
    async fn kill(&mut self, number: usize) {
        self.clients.remove(&number).unwrap().kill().await.unwrap();
    }

    /// Whoever is told to end must end well.
    async fn ended(&mut self, number: usize) {
        let mut child = self.clients.remove(&number).unwrap();
        let status = tokio::time::timeout(PATIENCE, child.wait()).await.expect("its end in time").unwrap();
        assert!(status.success(), "c{number}: {status}");
    }

    /// What else they said, once all have ended.
    async fn rest(self) -> Vec<String> {
        let Self { mut told, teller, .. } = self;
        drop(teller);
        let mut lines = Vec::new();
        while let Some(line) = told.recv().await {
            lines.push(line);
        }
        lines
    }

    fn after(&self, number: usize) -> Option<usize> {
        self.clients.range(number + 1..).next().map(|(next, _)| *next)
    }
}

/// Kills a few, chosen at random.
async fn kill_some(crowd: &mut Crowd, among: std::ops::Range<usize>, count: usize) -> Vec<usize> {
    let chosen = among.sample(&mut rand::rng(), count);
    for number in &chosen {
        crowd.kill(*number).await;
    }
    chosen
}

#[tokio::test]
async fn leaders_follow_each_other_in_the_order_of_their_candidacy() {
    let (cluster, agent) = server().await;
    let mut crowd = Crowd::new("leader_election", agent);
    for number in 0..CLIENTS {
        crowd.start(number, &["e"]);
        crowd.expect(number, "is a candidate").await;
        if number == 0 {
            crowd.expect(0, "leads, woken 0 times").await;
        }
    }
    kill_some(&mut crowd, 2..CLIENTS - 1, 5).await;
    let (mut leader, mut woken) = (0, 0);
    while let Some(next) = crowd.after(leader) {
        if rand::rng().random_ratio(1, 4) {
            crowd.kill(leader).await;
        } else {
            crowd.signal(leader, Signal::SIGTERM);
            crowd.expect(leader, "steps down").await;
            crowd.ended(leader).await;
        }
        let times = crowd.expect(next, "leads, woken ").await;
        woken += times.trim_end_matches(" times").parse::<usize>().unwrap();
        assert_eq!(cluster.get(&crowd.agent, "/v1/kv/e/leader?raw").await.unwrap(), format!("c{next}"));
        leader = next;
    }
    assert!(woken < CLIENTS, "{woken} were woken by the departures of {}", CLIENTS - 1);
    crowd.signal(leader, Signal::SIGTERM);
    crowd.ended(leader).await;
    assert!(cluster.get(&crowd.agent, "/v1/kv/e/candidates/?keys").await.is_err(), "404: all are gone");
}

#[tokio::test]
async fn a_semaphore_lets_three_in_and_then_one_for_each_that_leaves() {
    let (_cluster, agent) = server().await;
    let mut crowd = Crowd::new("semaphore", agent);
    let mut inside: Vec<usize> = (0..3).collect();
    for number in 0..CLIENTS {
        crowd.start(number, &["s", "3"]);
        crowd.expect(number, "is in line").await;
        if inside.contains(&number) {
            crowd.expect(number, "is in").await;
        }
    }
    kill_some(&mut crowd, 3..CLIENTS - 1, 5).await;
    let mut last = 2;
    while let Some(next) = crowd.after(last) {
        let leaves = inside.swap_remove(rand::rng().random_range(0..inside.len()));
        if rand::rng().random_ratio(1, 4) {
            crowd.kill(leaves).await;
        } else {
            crowd.signal(leaves, Signal::SIGTERM);
            crowd.expect(leaves, "is out").await;
            crowd.ended(leaves).await;
        }
        crowd.expect(next, "is in").await;
        inside.push(next);
        last = next;
    }
    for number in inside {
        crowd.signal(number, Signal::SIGTERM);
        crowd.ended(number).await;
    }
}

#[tokio::test]
async fn a_barrier_opens_when_all_are_there_and_alive() {
    let (cluster, agent) = server().await;
    let mut crowd = Crowd::new("barrier", agent);
    let count = CLIENTS.to_string();
    let args = ["b", count.as_str()];
    for number in 0..CLIENTS - 1 {
        crowd.start(number, &args);
        crowd.expect(number, "has come").await;
    }
    let killed = kill_some(&mut crowd, 0..CLIENTS - 1, 4).await;
    until("the end of those who were killed", async || {
        let keys = cluster.get(&crowd.agent, "/v1/kv/b/come/?keys").await.ok()?;
        (keys.matches("come").count() == crowd.clients.len()).then_some(())
    })
    .await
    .unwrap();
    for number in killed.into_iter().chain([CLIENTS - 1]) {
        crowd.start(number, &args);
        crowd.expect(number, "has come").await;
    }
    let mut gone_on = BTreeSet::new();
    for _ in 0..CLIENTS {
        let told = crowd.next().await;
        let name = told.strip_suffix(" goes on").unwrap_or_else(|| panic!("{told:?} before all go on"));
        gone_on.insert(name.to_owned());
    }
    assert_eq!(gone_on.len(), CLIENTS);
    for number in 0..CLIENTS {
        crowd.ended(number).await;
    }
}

#[tokio::test]
async fn a_queue_gives_each_item_once_and_in_order() {
    let (cluster, agent) = server().await;
    let mut crowd = Crowd::new("queue", agent);
    for number in 0..CLIENTS {
        crowd.start(number, &["take", "q"]);
    }
    let items: Vec<String> = (0..20).map(|item| format!("item-{item}")).collect();
    let put: Vec<&str> = ["put", "q"].into_iter().chain(items.iter().map(String::as_str)).collect();
    let producers: Vec<_> =
        (0..3).map(|_| tokio::spawn(output(example("queue", Some(&crowd.agent), &put), 2))).collect();
    let taken = tokio::time::timeout(PATIENCE, taken(&cluster, &mut crowd, 60)).await.expect("all are taken in time");
    let mut items = BTreeSet::new();
    for producer in producers {
        items.extend(producer.await.unwrap().lines().map(|line| line.replace("put q/items/", "")));
    }
    let key = |note: &Value| note["Key"].as_str().unwrap().to_owned();
    let numbers: Vec<String> = taken.iter().map(|note| key(note).split('/').nth(2).unwrap().to_owned()).collect();
    assert_eq!(numbers, items.into_iter().collect::<Vec<_>>(), "each was taken once");
    let order: Vec<u64> = taken.iter().map(|note| note["CreateIndex"].as_u64().unwrap()).collect();
    assert!(order.is_sorted(), "in order: {order:?}");
    for number in crowd.clients.keys().copied().collect::<Vec<_>>() {
        crowd.signal(number, Signal::SIGTERM);
        crowd.ended(number).await;
    }
    let noted: BTreeSet<String> = taken.iter().map(key).collect();
    for line in crowd.rest().await {
        let (name, number) = line.split_once(" has taken ").unwrap_or_else(|| panic!("{line:?}"));
        assert!(noted.contains(&format!("q/taken/{number}/{name}")), "{line}, but it was noted otherwise");
    }
}

/// Waits until so many items are taken, and kills a consumer after each tenth: the notes of who took them.
async fn taken(cluster: &Cluster, crowd: &mut Crowd, count: usize) -> Vec<Value> {
    let mut index = "0".to_owned();
    let mut kills = 0;
    loop {
        let url = crowd.agent.url(&format!("/v1/kv/q/taken/?recurse&wait=10s&index={index}"));
        let response = cluster.http().get(url).send().await.unwrap();
        response.headers()["x-consul-index"].to_str().unwrap().clone_into(&mut index);
        if response.status() == 404 {
            continue;
        }
        let taken: Vec<Value> = response.json().await.unwrap();
        if taken.len() >= count {
            assert!(kills >= 3, "{kills} kills");
            return taken;
        }
        if taken.len() / 10 > kills {
            kills += 1;
            let number = *crowd.clients.keys().choose(&mut rand::rng()).unwrap();
            crowd.kill(number).await;
        }
    }
}

#[tokio::test]
async fn all_recipes_hold_while_servers_are_killed() {
    let text = output(example("coordination", None, &["10", "8"]), 4).await;
    check(
        &text,
        &[
            "kill -9 server",
            "the lock of a lost agent has passed on",
            " kills in ",
            "lock: increments",
            "election: leaders",
            "barrier: passes",
            "queue: items taken",
        ],
    );
}
