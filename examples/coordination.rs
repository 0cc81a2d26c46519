//! Three servers, one of which is killed every so often, and clients that coordinate by them all the while: holders of a lock
//! (`lictor lock`), candidates of an election, parties of a barrier, producers and consumers of a queue (the examples of these
//! names), and two holders on two client agents, the first of which is lost. In the end it is checked that
//!
//! - what was written by right of the lock was never written by two in turn, and no increment was lost;
//! - leaders followed each other in the order of their candidacy, and none wrote when the next one had;
//! - nobody passed a barrier before all had come, and all passed each;
//! - each item was taken once, in order, and none was lost;
//! - the second of the two holders came in when the first had ended, whose sequencer is refused from then on.
//!
//! `cargo build --release && cargo run --release --example coordination [SECONDS [PERIOD]]`; 60 s and a kill each 10 s if not
//! given.
#![allow(clippy::duplicate_mod, reason = "each recipe is a program of its own, that has the line of its own")]
#![expect(clippy::print_stdout, reason = "a program to watch")]
#![expect(clippy::disallowed_methods, reason = "a stopwatch asks the clock")]

#[allow(dead_code, reason = "a program of its own, of which only the recipe is wanted")]
#[path = "barrier.rs"]
mod barrier;
mod line;
#[allow(dead_code, reason = "a program of its own, of which only the recipe is wanted")]
#[path = "queue.rs"]
mod queue;

use lictor_examples::cluster::{self, Cluster, PATIENCE, Result, lictor, until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// How long a killed server is away.
const AWAY: Duration = Duration::from_secs(2);
/// The shortest that servers allow by default.
const TTL: Duration = Duration::from_secs(10);
/// Between a failure and the next try, and between two items that are put.
const PAUSE: Duration = Duration::from_millis(50);
/// Candidates and consumers at each agent.
const EACH: usize = 2;
/// What a leader, or a holder, writes before it makes room for the next one.
const WRITES: usize = 5;

/// What was done by one recipe, and when there was nothing done for longest.
#[derive(Default)]
struct Tally(Mutex<Counts>);

#[derive(Clone, Default)]
struct Counts {
    done: u64,
    failed: u64,
    last: Option<Instant>,
    pause: Duration,
}

impl Tally {
    fn add(&self, outcome: &Result<()>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if outcome.is_err() {
            counts.failed += 1;
            return;
        }
        let now = Instant::now();
        counts.done += 1;
        counts.pause = counts.last.map_or(counts.pause, |last| counts.pause.max(now - last));
        counts.last = Some(now);
    }

    fn get(&self) -> Counts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the workers tell of.
#[derive(Default)]
struct Run {
    lock: Tally,
    election: Tally,
    barrier: Tally,
    queue: Tally,
    /// Who has come to each round of the barrier.
    come: Mutex<Vec<BTreeSet<usize>>>,
    /// Keys of items whose putting was acknowledged.
    put: Mutex<Vec<String>>,
    wrong: Mutex<Vec<String>>,
}

impl Run {
    fn wrong(&self, what: impl Display) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(what.to_string());
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "hold") {
        return hold(args.get(1).is_some_and(|arg| arg == "on")).await;
    }
    let number = |at: usize, otherwise: u64| -> Result<Duration> {
        Ok(Duration::from_secs(args.get(at).map_or(Ok(otherwise), |text| text.parse())?))
    };
    let (time, period) = (number(0, 60)?, number(1, 10)?.max(AWAY * 2));
    tokio::select! {
        shown = show(time, period) => shown,
        // Ends through here, so that the agents end, too.
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn show(time: Duration, period: Duration) -> Result<()> {
    let cluster = Cluster::new()?;
    let mut servers = cluster.servers(3).await?;
    let mut clients = [cluster.client(4)?, cluster.client(5)?];
    for agent in servers.iter().chain(&clients) {
        let path = format!("/v1/health/node/{}", agent.name);
        let known = async || cluster.get(agent, &path).await.ok().filter(|checks| checks.contains("serfHealth"));
        until("an agent in the catalog", known).await?;
    }
    let run = Arc::new(Run::default());
    let mut workers = JoinSet::new();
    for (number, server) in servers.iter().enumerate() {
        let address = format!("{}:8500", server.ip);
        workers.spawn(holder(Arc::clone(&run), address.clone()));
        workers.spawn(party(Arc::clone(&run), address.clone(), number, servers.len()));
        workers.spawn(producer(Arc::clone(&run), address.clone(), number));
        for place in 0..EACH {
            let name = format!("{}-{place}", server.name);
            workers.spawn(candidate(Arc::clone(&run), address.clone(), name.clone()));
            workers.spawn(consumer(Arc::clone(&run), address.clone(), name));
        }
    }
    let begun = Instant::now();
    let (killed, over) = (Notify::new(), AtomicBool::new(false));
    let handover = async {
        let mut handover = Handover::begin(&clients).await?;
        killed.notified().await;
        let took = handover.finish(&cluster, &mut clients).await?;
        println!("{:5.1} s  the lock of a lost agent has passed on", begun.elapsed().as_secs_f64());
        over.store(true, Ordering::Relaxed);
        Ok(took)
    };
    let nemesis = async {
        let mut kills = 0;
        while begun.elapsed() < time || !over.load(Ordering::Relaxed) {
            tokio::time::sleep(period - AWAY).await;
            let leader = cluster.leader(&servers).await?;
            // The leader and another one in turn.
            let victim = if kills % 2 == 0 { leader } else { (leader + 1) % servers.len() };
            println!("{:5.1} s  kill -9 {}", begun.elapsed().as_secs_f64(), servers[victim].name);
            servers[victim].kill();
            kills += 1;
            killed.notify_one();
            tokio::time::sleep(AWAY).await;
            servers[victim].start()?;
        }
        Ok::<_, cluster::Error>(kills)
    };
    let (took, kills) = tokio::try_join!(handover, nemesis)?;
    workers.shutdown().await;
    check(&cluster, &servers[cluster.leader(&servers).await?], &run).await?;
    print(&run, kills, begun.elapsed(), took);
    let wrong = run.wrong.lock().unwrap_or_else(PoisonError::into_inner).join("\n");
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}

fn print(run: &Run, kills: u32, elapsed: Duration, handover: Duration) {
    println!(
        "\n{kills} kills in {:.0} s{:>21}{:>12}{:>17}",
        elapsed.as_secs_f64(),
        "done",
        "begun anew",
        "longest pause"
    );
    for (what, tally) in [
        ("lock: increments", &run.lock),
        ("election: leaders", &run.election),
        ("barrier: passes", &run.barrier),
        ("queue: items taken", &run.queue),
    ] {
        let Counts { done, failed, pause, .. } = tally.get();
        println!("{what:<28}{done:>10}{failed:>12}{:>15.2} s", pause.as_secs_f64());
    }
    println!("{:<28}{:>10}{:>12}{:>15.2} s", "lock of a lost agent", 1, "", handover.as_secs_f64());
}

/// A shell of `lictor lock` that runs this program as its child, and what that says.
fn lock(address: &str, prefix: &str, args: &[&str]) -> Result<(Child, Lines<BufReader<ChildStdout>>)> {
    let mut child = Command::new(lictor()?)
        .args(["lock", "-shell=false", "-monitor-retry=10", prefix])
        .arg(std::env::current_exe()?)
        .args(args)
        .env("CONSUL_HTTP_ADDR", address)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
    Ok((child, lines))
}

/// The child of `lictor lock`: counts one more, or says that it is in and holds on until it is ended.
async fn hold(on: bool) -> Result<()> {
    let agent = line::Agent::nearby()?;
    let sequencer = std::env::var("LICTOR_LOCK_SEQUENCER")?;
    if on {
        println!("{sequencer}");
        line::told_to_end().await?;
        println!("out");
        return Ok(());
    }
    let session = sequencer.split('.').nth(1).ok_or("no session in it")?;
    let count: u64 = agent.value("lock/counter").await?.map_or(Ok(0), |count| count.parse())?;
    for _ in 0..WRITES {
        agent.number(&format!("lock/log/{session}/"), &format!("&sequencer={sequencer}"), "").await?;
    }
    let path = format!("/v1/kv/lock/counter?sequencer={sequencer}");
    agent.write(&path, (count + 1).to_string()).await?.error_for_status()?;
    println!("counted");
    Ok(())
}

async fn holder(run: Arc<Run>, address: String) {
    loop {
        let counted = async {
            let (mut child, mut lines) = lock(&address, "lock/jobs", &["hold"])?;
            let said = lines.next_line().await?;
            child.wait().await?;
            if said.is_some() { Ok(()) } else { Err("it was ended".into()) }
        };
        let outcome: Result<()> = counted.await;
        run.lock.add(&outcome);
        if outcome.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn candidate(run: Arc<Run>, address: String, name: String) {
    loop {
        let led = async {
            let agent = line::Agent::at(&address, TTL)?;
            let session = line::Session::begin(&agent).await?;
            let outcome = lead(&agent, &session, &name).await;
            session.end().await?;
            outcome
        };
        let outcome = led.await;
        run.election.add(&outcome);
    }
}

async fn lead(agent: &line::Agent, session: &line::Session, name: &str) -> Result<()> {
    let candidates = "election/candidates/";
    let place = line::Place::take(session, candidates, name).await?;
    place.first().await?;
    let sequencer = agent.sequencer(&place.key).await?;
    let log = format!("election/log/{}/", place.key.trim_start_matches(candidates));
    for _ in 0..WRITES {
        agent.number(&log, &format!("&sequencer={sequencer}"), name).await?;
    }
    Ok(())
}

async fn party(run: Arc<Run>, address: String, number: usize, count: usize) {
    for round in 0.. {
        {
            let mut come = run.come.lock().unwrap_or_else(PoisonError::into_inner);
            let rounds = come.len().max(round + 1);
            come.resize_with(rounds, BTreeSet::new);
            come[round].insert(number);
        }
        loop {
            let passed = async {
                let agent = barrier::line::Agent::at(&address, TTL)?;
                let session = barrier::line::Session::begin(&agent).await?;
                let barrier = format!("barrier/{round}");
                let outcome = async {
                    let place = barrier::come(&session, &barrier, &number.to_string()).await?;
                    barrier::pass(&agent, &place, &barrier, count).await
                };
                let outcome = outcome.await;
                // Nobody counts twice: who begins anew must be gone before.
                session.end().await?;
                outcome
            };
            let outcome = passed.await;
            run.barrier.add(&outcome);
            if outcome.is_ok() {
                break;
            }
        }
        if run.come.lock().unwrap_or_else(PoisonError::into_inner)[round].len() < count {
            run.wrong(format_args!("barrier: {number} went on in round {round} before all had come"));
        }
    }
}

async fn producer(run: Arc<Run>, address: String, number: usize) {
    let Ok(agent) = line::Agent::at(&address, TTL) else { return };
    loop {
        // One whose answer was lost may be there, or not.
        if let Ok(key) = agent.number("queue/items/", "", &number.to_string()).await {
            run.put.lock().unwrap_or_else(PoisonError::into_inner).push(key);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn consumer(run: Arc<Run>, address: String, name: String) {
    loop {
        let consumed = async {
            let agent = queue::line::Agent::at(&address, TTL)?;
            let session = queue::line::Session::begin(&agent).await?;
            let failed = loop {
                match queue::take(&agent, &session, "queue", &name).await {
                    Ok(_) => run.queue.add(&Ok(())),
                    Err(error) => break error,
                }
            };
            session.end().await?;
            Err(failed)
        };
        let outcome = consumed.await;
        run.queue.add(&outcome);
    }
}

/// Two holders of one lock at two client agents: the first is in, the second waits.
struct Handover {
    first: (Child, Lines<BufReader<ChildStdout>>),
    second: (Child, Lines<BufReader<ChildStdout>>),
    sequencer: String,
}

impl Handover {
    async fn begin(clients: &[cluster::Agent; 2]) -> Result<Self> {
        let [first, second] = clients.each_ref().map(|client| format!("{}:8500", client.ip));
        let mut first = lock(&first, "handover", &["hold", "on"])?;
        let sequencer = first.1.next_line().await?.ok_or("the first holder did not come in")?;
        let second = lock(&second, "handover", &["hold", "on"])?;
        Ok(Self { first, second, sequencer })
    }

    /// A leader was killed meanwhile, which must have changed nothing. Now the first holder's agent is, and the second comes in.
    /// Gives how long that took.
    async fn finish(&mut self, cluster: &Cluster, clients: &mut [cluster::Agent; 2]) -> Result<Duration> {
        let held = cluster.get(&clients[1], "/v1/lock/sequencer/handover/.lock").await?;
        if !held.contains(&self.sequencer) || self.first.0.try_wait()?.is_some() {
            return Err(format!("the leader's death took the lock of {}: {held}", self.sequencer).into());
        }
        let killed = Instant::now();
        clients[0].kill();
        let out = async {
            tokio::select! {
                biased;
                _ = self.second.1.next_line() => Err("two holders were in at the same time".into()),
                out = self.first.1.next_line() => Ok(out?),
            }
        };
        let out: Result<_> = tokio::time::timeout(PATIENCE * 2, out).await?;
        out?.ok_or("the first holder was killed")?;
        let sequencer = tokio::time::timeout(PATIENCE * 2, self.second.1.next_line()).await??;
        let took = killed.elapsed();
        let sequencer = sequencer.ok_or("the second holder did not come in")?;
        for (sequencer, expected) in [(&self.sequencer, 409), (&sequencer, 200)] {
            let url = clients[1].url(&format!("/v1/kv/handover/data?sequencer={sequencer}"));
            let answer = cluster.http().put(url).send().await?;
            if answer.status() != expected {
                return Err(format!("{} instead of {expected} for {sequencer}", answer.status()).into());
            }
        }
        Ok(took)
    }
}

/// The keys under a prefix in the order in which they were made.
async fn made(cluster: &Cluster, agent: &cluster::Agent, prefix: &str) -> Result<Vec<String>> {
    let rows: Vec<Value> = serde_json::from_str(&cluster.get(agent, &format!("/v1/kv/{prefix}?recurse")).await?)?;
    let key = |row: &Value| Some((row["CreateIndex"].as_u64()?, row["Key"].as_str()?.strip_prefix(prefix)?.to_owned()));
    let mut keys =
        rows.iter().map(|row| key(row).ok_or("a row without key")).collect::<std::result::Result<Vec<_>, _>>()?;
    keys.sort();
    Ok(keys.into_iter().map(|(_, key)| key).collect())
}

async fn check(cluster: &Cluster, agent: &cluster::Agent, run: &Run) -> Result<()> {
    let writer = |key: &String| key.split('/').next().unwrap_or_default().to_owned();
    let holders = made(cluster, agent, "lock/log/").await?;
    let mut gone = BTreeSet::new();
    for two in holders.iter().map(writer).collect::<Vec<_>>().windows(2) {
        if two[0] != two[1] {
            gone.insert(two[0].clone());
        }
        if gone.contains(&two[1]) {
            run.wrong(format_args!("lock: {} wrote after it had passed on", two[1]));
        }
    }
    let counter: u64 = cluster.get(agent, "/v1/kv/lock/counter?raw").await?.parse()?;
    // Who was ended may have counted without saying so, and one is cut off at the end by each agent's holder.
    let Counts { done, failed, .. } = run.lock.get();
    if counter < done || counter > done + failed + 3 {
        run.wrong(format_args!("lock: {done} increments and {failed} failures made {counter}"));
    }
    let leaders = made(cluster, agent, "election/log/").await?;
    if !leaders.iter().map(writer).is_sorted() {
        run.wrong("election: a leader wrote after the next one had");
    }
    let rounds = run.come.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if rounds.iter().rev().skip(1).any(|come| come.len() < 3) {
        run.wrong("barrier: a party was left behind");
    }
    let taken: Vec<String> = made(cluster, agent, "queue/taken/").await?.iter().map(writer).collect();
    if !taken.is_sorted_by(|one, next| one < next) {
        run.wrong("queue: an item was taken twice or out of order");
    }
    let left = made(cluster, agent, "queue/items/").await.unwrap_or_default();
    let known: BTreeSet<&String> = taken.iter().chain(&left).collect();
    let put = run.put.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for key in put.iter().map(|key| key.trim_start_matches("queue/items/").to_owned()) {
        if !known.contains(&key) {
            run.wrong(format_args!("queue: item {key} was lost"));
        }
    }
    for (what, tally) in
        [("lock", &run.lock), ("election", &run.election), ("barrier", &run.barrier), ("queue", &run.queue)]
    {
        if tally.get().done == 0 {
            run.wrong(format_args!("{what}: nothing was done"));
        }
    }
    Ok(())
}
