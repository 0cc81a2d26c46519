//! Seeds, the storms they stand for, and how a failure is told.

use lictor_agent::sim::{Plan, Storm, broken};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, OnceLock};

/// Storms that found something once: a stale answer that called itself fresh (162, 185, 382, 776), a name taken over and given up
/// (19), a deposed leader that showed what its successor had not applied (608), a snapshot that came while another was being
/// written (67). And one in which a server leaves (38), which the first twenty lack.
const LEARNT: [u64; 7] = [38, 67, 162, 185, 382, 608, 776];

/// Storms of a usual run.
pub(crate) const STORMS: u64 = 20;

/// The seed that `LICTOR_SEED` names alone, or the first `count`.
pub(crate) fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("LICTOR_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => {
            let count = std::env::var("LICTOR_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(count);
            (1..=count).collect()
        }
    }
}

/// What replays a seed.
pub(crate) fn command(seed: u64, test: &str) -> String {
    format!("LICTOR_SEED={seed} cargo test -p lictor-agent --test sim {test} -- --nocapture")
}

/// Runs `check` for every seed; a failure names its seed and how to replay it.
pub(crate) fn each(count: u64, test: &str, check: impl Fn(u64)) {
    log();
    for seed in seeds(count) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(seed))) {
            eprintln!("seed {seed} failed; replay it: {}", command(seed, test));
            std::panic::resume_unwind(panic);
        }
    }
}

/// What is left of a storm.
struct Ended {
    seed: u64,
    trace: (u64, u64),
    plan: String,
    faults: Vec<&'static str>,
    broken: Vec<(&'static str, String)>,
}

fn run(seed: u64) -> Ended {
    let ended = |storm: Storm| Ended {
        seed,
        trace: (storm.world.trace.hash(), storm.world.trace.events),
        plan: storm.plan.join("\n  "),
        faults: storm.faults.keys().copied().collect(),
        broken: broken(&storm),
    };
    let panicked =
        |_| Ended { seed, trace: (0, 0), plan: "it panicked".to_owned(), faults: Vec::new(), broken: Vec::new() };
    catch_unwind(|| ended(Plan::of(seed).run())).unwrap_or_else(panicked)
}

/// Every storm, run once for all invariants.
fn storms() -> &'static [Ended] {
    static RUN: OnceLock<Vec<Ended>> = OnceLock::new();
    RUN.get_or_init(|| {
        log();
        // The large ones first, so that no thread is left alone with one.
        let mut seeds = seeds(STORMS);
        if seeds.len() > 1 {
            let run = 1..=seeds.len() as u64;
            seeds.extend(LEARNT.into_iter().filter(|learnt| !run.contains(learnt)));
        }
        seeds.sort_by_key(|seed| std::cmp::Reverse(Plan::of(*seed).clients));
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(8);
        let todo = Mutex::new(seeds.into_iter());
        let done = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let Some(seed) = todo.lock().expect("unpoisoned").next() else { return };
                        let ended = run(seed);
                        done.lock().expect("unpoisoned").push(ended);
                    }
                });
            }
        });
        let mut done = done.into_inner().expect("unpoisoned");
        done.sort_by_key(|ended| ended.seed);
        done
    })
}

/// Holds the invariant of this name against every storm.
pub(crate) fn always(invariant: &str) {
    let mut failures = Vec::new();
    for Ended { seed, trace, plan, broken, .. } in storms() {
        let replay = command(*seed, &format!("invariants::{invariant}"));
        let problems = broken.iter().filter(|(name, _)| *name == invariant).map(|(_, problem)| problem.as_str());
        for problem in problems.chain((trace.1 == 0).then_some("a panic")) {
            failures.push(format!("seed {seed}: {problem}\n  {plan}\nreplay: {replay}"));
        }
    }
    assert!(failures.is_empty(), "{} of {} storms:\n{}", failures.len(), storms().len(), failures.join("\n"));
}

/// The seeds that are run twice.
pub(crate) fn twice() -> Vec<u64> {
    let seeds = storms().iter().map(|ended| ended.seed);
    let all = seeds.clone().count();
    seeds.filter(|seed| all == 1 || seed % 10 == 1).collect()
}

pub(crate) fn trace(seed: u64) -> (u64, u64) {
    storms().iter().find(|ended| ended.seed == seed).map_or((0, 0), |ended| ended.trace)
}

/// Every kind of fault that struck somewhere.
pub(crate) fn faults() -> BTreeSet<&'static str> {
    storms().iter().flat_map(|ended| ended.faults.iter().copied()).collect()
}

/// With `LICTOR_LOG=debug` the agents' own log is shown.
pub(crate) fn log() {
    if let Some(level) = std::env::var("LICTOR_LOG").ok().and_then(|level| level.parse::<tracing::Level>().ok()) {
        let _ = tracing_subscriber::fmt().with_max_level(level).without_time().with_test_writer().try_init();
    }
}
