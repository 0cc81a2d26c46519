//! Runs storms in the simulator: whole clusters under faults, each from one seed, every invariant held against each.
//!
//! ```text
//! cargo run --release --example simulate -- --seeds 1000     # as many as asked, on all cores
//! cargo run --release --example simulate -- --seed 17        # one, with its plan of faults
//! cargo run --release --example simulate -- --speed          # how fast 3 servers and 20 agents are, on one core
//! ```
//!
//! `--first SEED` and `--threads N` say where to begin and how wide; `--bug NAME` puts a known bug into every node. It ends
//! with 1 when an invariant was broken, and prints the line that replays it.

#![expect(clippy::disallowed_methods, reason = "a stopwatch asks the clock")]

use lictor_agent::http::call::Method;
use lictor_agent::sim::{Bug, MS, Mode, Plan, SECOND, Setup, Storm, World, broken};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: simulate [--seeds N] [--first SEED] [--seed SEED] [--threads N] [--bug NAME] [--speed]";

struct Wishes {
    first: u64,
    count: u64,
    threads: usize,
    bug: Option<Bug>,
    speed: bool,
}

impl Wishes {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut wishes = Self { first: 1, count: 100, threads, bug: None, speed: false };
        while let Some(word) = words.next() {
            if word == "--speed" {
                wishes.speed = true;
                continue;
            }
            let value = words.next().ok_or_else(|| format!("{word} wants a value\n{USAGE}"))?;
            let number = || value.parse::<u64>().map_err(|error| format!("{word} {value:?}: {error}\n{USAGE}"));
            match word.as_str() {
                "--seeds" => wishes.count = number()?,
                "--first" => wishes.first = number()?,
                "--seed" => (wishes.first, wishes.count) = (number()?, 1),
                "--threads" => wishes.threads = usize::try_from(number()?).unwrap_or(1).clamp(1, 256),
                "--bug" => {
                    let names = Bug::ALL.map(Bug::name).join(", ");
                    wishes.bug = Some(
                        Bug::named(&value).ok_or_else(|| format!("no bug is named {value:?}; there are {names}"))?,
                    );
                }
                _ => return Err(format!("{word} is unknown\n{USAGE}")),
            }
        }
        Ok(wishes)
    }
}

/// What all storms were together.
#[derive(Default)]
struct Totals {
    storms: u64,
    simulated: Duration,
    operations: u64,
    events: u64,
    faults: BTreeMap<&'static str, u64>,
    failures: u64,
}

/// A storm and what it broke, or how it panicked.
type Ended = Result<(Storm, Vec<(&'static str, String)>), String>;

fn run(seed: u64, bug: Option<Bug>) -> Ended {
    let run = || Plan { bug, ..Plan::of(seed) }.run();
    let storm = catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })?;
    let broken = broken(&storm);
    Ok((storm, broken))
}

fn replay(seed: u64, bug: Option<Bug>) -> String {
    let bug = bug.map(|bug| format!(" --bug {}", bug.name())).unwrap_or_default();
    format!("cargo run --release --example simulate -- --seed {seed}{bug}")
}

impl Totals {
    fn add(&mut self, seed: u64, wishes: &Wishes, ended: Ended) {
        self.storms += 1;
        let plan = Plan::of(seed);
        let size = format!("seed {seed} ({} servers, {} client agents)", plan.servers, plan.clients);
        let (storm, broken) = match ended {
            Ok(ended) => ended,
            Err(panic) => {
                self.failures += 1;
                println!("{size} panicked: {panic}\nreplay: {}", replay(seed, wishes.bug));
                return;
            }
        };
        self.simulated += Duration::from_nanos(storm.world.now);
        self.operations += storm.world.history.len() as u64;
        self.events += storm.world.trace.events;
        for (name, count) in &storm.faults {
            *self.faults.entry(name).or_default() += count;
        }
        let alone = wishes.count == 1;
        if alone || !broken.is_empty() {
            println!("{size}, trace {:016x}:\n  {}", storm.world.trace.hash(), storm.plan.join("\n  "));
        }
        if !broken.is_empty() {
            self.failures += 1;
            for (name, problem) in broken {
                println!("  broken: {name}: {problem}");
            }
            println!("replay: {}", replay(seed, wishes.bug));
        }
    }

    fn print(&self, took: Duration) {
        let ratio = self.simulated.as_secs_f64() / took.as_secs_f64();
        let faults: Vec<String> = self.faults.iter().map(|(name, count)| format!("{name} {count}")).collect();
        println!(
            "{} storms, {} with a violation; {:.0} s simulated in {:.1} s, {ratio:.0} x real time; {} operations, {} events",
            self.storms,
            self.failures,
            self.simulated.as_secs_f64(),
            took.as_secs_f64(),
            self.operations,
            self.events
        );
        println!("faults: {}", faults.join(", "));
    }
}

fn storms(wishes: &Wishes) -> bool {
    let begun = Instant::now();
    let totals = Mutex::new(Totals::default());
    let next = Mutex::new(wishes.first..wishes.first.saturating_add(wishes.count));
    std::thread::scope(|scope| {
        for _ in 0..wishes.threads {
            scope.spawn(|| {
                loop {
                    let seed = next.lock().expect("no thread panics while it draws").next();
                    let Some(seed) = seed else { return };
                    let ended = run(seed, wishes.bug);
                    let mut totals = totals.lock().expect("no thread panics while it counts");
                    totals.add(seed, wishes, ended);
                    if totals.storms.is_multiple_of(50) {
                        totals.print(begun.elapsed());
                    }
                }
            });
        }
    });
    let totals = totals.into_inner().expect("all threads are done");
    totals.print(begun.elapsed());
    totals.failures == 0
}

/// A calm cluster at work: every agent has a service with a check, and clients read and write 20 times a second.
fn speed() {
    const SPAN: u64 = 120 * SECOND;
    let mut world = World::started(Setup::new(1, 3, 20));
    world.run_until(30 * SECOND, |world| world.leader().is_some());
    for node in 0..23 {
        let body = format!(r#"{{"Name":"web","ID":"web-{node}","Port":80,"Check":{{"TTL":"1h","Status":"passing"}}}}"#);
        world.call(node, Method::Put, "/v1/agent/service/register", &body);
    }
    world.run(20 * SECOND);
    let (begun, from, events) = (Instant::now(), world.now, world.trace.events);
    let mut number: usize = 0;
    while world.now < from + SPAN {
        let node = number % 23;
        if number.is_multiple_of(2) {
            world.put(node, "key", &format!("v{number}"));
        } else {
            world.get(node, "key", Mode::Default);
        }
        number += 1;
        world.run(50 * MS);
    }
    let took = begun.elapsed();
    let simulated = Duration::from_nanos(world.now - from);
    println!(
        "3 servers and 20 client agents, {number} operations: {:.0} s simulated in {:.3} s on one core, {:.0} x real time; {} events",
        simulated.as_secs_f64(),
        took.as_secs_f64(),
        simulated.as_secs_f64() / took.as_secs_f64(),
        world.trace.events - events
    );
}

fn main() -> ExitCode {
    let wishes = match Wishes::parse(std::env::args().skip(1)) {
        Ok(wishes) => wishes,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    if wishes.speed {
        speed();
        return ExitCode::SUCCESS;
    }
    if storms(&wishes) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
