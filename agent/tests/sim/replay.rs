//! Seeds, the storms they stand for, and how a failure is told.

use lictor_agent::sim::{Storm, storm};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, OnceLock};

/// Storms of a usual run.
const STORMS: u64 = 20;

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

type Ended = Result<Storm, u64>;

fn run(seed: u64) -> Ended {
    catch_unwind(|| storm(seed)).map_err(|_panic| seed)
}

/// Every storm, run once for all invariants.
fn storms() -> &'static Mutex<Vec<Ended>> {
    static RUN: OnceLock<Mutex<Vec<Ended>>> = OnceLock::new();
    RUN.get_or_init(|| {
        let seeds = seeds(STORMS);
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
        done.sort_by_key(|ended| ended.as_ref().map_or_else(|seed| *seed, |storm| storm.seed));
        Mutex::new(done)
    })
}

/// Holds an invariant against every storm.
pub(crate) fn always(test: &str, invariant: impl Fn(&Storm) -> Result<(), String>) {
    let storms = storms().lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut failures = Vec::new();
    for ended in storms.iter() {
        match ended {
            Err(seed) => failures.push(format!("seed {seed} panicked\nreplay: {}", command(*seed, test))),
            Ok(storm) => {
                if let Err(problem) = invariant(storm) {
                    let plan = storm.plan.join("\n  ");
                    let replay = command(storm.seed, test);
                    failures.push(format!("seed {}: {problem}\n  {plan}\nreplay: {replay}", storm.seed));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} of {} storms:\n{}", failures.len(), storms.len(), failures.join("\n"));
}

/// With `LICTOR_LOG=debug` the agents' own log is shown.
pub(crate) fn log() {
    if let Some(level) = std::env::var("LICTOR_LOG").ok().and_then(|level| level.parse::<tracing::Level>().ok()) {
        let _ = tracing_subscriber::fmt().with_max_level(level).without_time().with_test_writer().try_init();
    }
}
