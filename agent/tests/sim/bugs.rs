//! Known bugs are caught: each is put into every node of a world, and the invariant that ought to see it names it within a
//! few fixed seeds; without the bug the same seeds pass. The line that a run with a bug prints replays exactly that run.

use crate::plain;
use crate::provoke::{self, Ran, Violation};
use lictor_agent::sim::{Bug, Plan, World, broken};
use std::panic::{AssertUnwindSafe, catch_unwind};

type Situation = fn(u64, Option<Bug>) -> Ran;
/// What situations do not promise: enough writes, and few enough on a key for the checker.
const OF_STORMS: [&str; 2] = ["progress", "linearizable"];

type Holds = fn(&World) -> Result<(), String>;

/// What stands in for the checker.
const PLAIN: [(&str, Holds); 3] = [
    ("fresh_reads", plain::reads_are_fresh),
    ("survives", plain::acknowledged_survive),
    ("refused", plain::refused_is_never_seen),
];

/// Where a bug shows: the situation, how many seeds of it, and the invariant that names it.
const fn case(bug: Bug) -> (Situation, u64, &'static str) {
    match bug {
        Bug::VoteNotPersisted => (provoke::power_cut_after_a_vote, 4, "election"),
        Bug::AckBeforeSync => (storm, 12, "election"),
        Bug::StaleReadIndex => (provoke::paused_leader, 3, "fresh_reads"),
        Bug::LostWakeup => (provoke::waiting_readers, 3, "waiters"),
        Bug::RefutationIgnored => (provoke::short_pauses, 4, "false_alarm"),
        Bug::PromiseNotPersisted => (provoke::crash_while_bootstrapping, 4, "cluster"),
        Bug::ReusedEngineId => (provoke::emptied_voter, 3, "survives"),
        Bug::ForgetfulSync => (provoke::registered_without_a_leader, 5, "catalog"),
        Bug::VoteInsideLease => (provoke::restart_inside_a_lease, 3, "fresh_reads"),
        Bug::LeaseInTransfer => (provoke::cut_off_while_handing_over, 3, "fresh_reads"),
        Bug::SnapshotOfEarlier => (provoke::restarts_from_snapshots, 3, "state_machine"),
        Bug::RunawayClock => (provoke::wanted_lock, 2, "holders"),
        Bug::LostTakenForUnsent => (provoke::lost_answers, 3, "refused"),
    }
}

fn storm(seed: u64, bug: Option<Bug>) -> Ran {
    Ran { storm: Plan { bug, ..Plan::of(seed) }.run(), violated: None, dense: false }
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    trace: u64,
    violations: Vec<Violation>,
    plan: Vec<String>,
}

fn outcome(situation: Situation, seed: u64, bug: Option<Bug>) -> Outcome {
    match catch_unwind(AssertUnwindSafe(|| situation(seed, bug))) {
        Ok(Ran { storm, violated, dense }) => {
            let general = broken(&storm).into_iter().filter(|(name, _)| !dense || !OF_STORMS.contains(name));
            let plain =
                PLAIN.iter().filter(|_| dense).filter_map(|(name, holds)| Some((*name, holds(&storm.world).err()?)));
            let violations = violated.into_iter().chain(general).chain(plain).collect();
            Outcome { trace: storm.world.trace.hash(), violations, plan: storm.plan }
        }
        Err(panic) => {
            let words = panic.downcast_ref::<String>().cloned();
            let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()));
            Outcome { trace: 0, violations: vec![("panic", words.unwrap_or_default())], plan: Vec::new() }
        }
    }
}

/// What a run did wrong, and how to see it again.
fn told(bug: Bug, seed: u64, Outcome { trace, violations, plan }: &Outcome) -> String {
    let violations: Vec<String> = violations.iter().map(|(name, words)| format!("{name}: {words}")).collect();
    let (name, violations, plan) = (bug.name(), violations.join("\n  "), plan.join("\n  "));
    format!(
        "seed {seed} with {name}, trace {trace:016x}:\n  {violations}\n  {plan}\n\
         replay: LICTOR_SEED={seed} LICTOR_BUG={name} cargo test -p lictor-agent --test sim bugs:: -- --nocapture"
    )
}

/// The bug and the seed that a line of [`told`] names.
fn wanted() -> Option<(Bug, u64)> {
    let name = std::env::var("LICTOR_BUG").ok()?;
    let bug = Bug::named(&name).unwrap_or_else(|| panic!("LICTOR_BUG is one of {:?}", Bug::ALL.map(Bug::name)));
    Some((bug, crate::replay::seeds(1)[0]))
}

fn caught(bug: Bug) {
    let (situation, seeds, invariant) = case(bug);
    if let Some((wanted, seed)) = wanted() {
        let outcome = if wanted == bug { outcome(situation, seed, Some(bug)) } else { return };
        assert!(outcome.violations.is_empty(), "{}", told(bug, seed, &outcome));
        return;
    }
    let names = |outcome: &Outcome| outcome.violations.iter().any(|(name, _)| *name == invariant);
    let mut first = None;
    for seed in 1..=seeds {
        let healthy = outcome(situation, seed, None);
        assert!(healthy.violations.is_empty(), "without the bug: {}", told(bug, seed, &healthy));
        if first.is_none() {
            first = Some((seed, outcome(situation, seed, Some(bug)))).filter(|(_, ill)| names(ill));
        }
    }
    let Some((seed, ill)) = first else { panic!("{invariant} does not see {} within {seeds} seeds", bug.name()) };
    println!("{}", told(bug, seed, &ill));
    assert_eq!(outcome(situation, seed, Some(bug)), ill, "two runs of one seed are one run");
}

#[test]
fn a_vote_that_is_not_persisted() {
    caught(Bug::VoteNotPersisted);
}

#[test]
fn an_acknowledgement_before_the_sync() {
    caught(Bug::AckBeforeSync);
}

#[test]
fn a_stale_read_index() {
    caught(Bug::StaleReadIndex);
}

#[test]
fn a_lost_wakeup() {
    caught(Bug::LostWakeup);
}

#[test]
fn an_ignored_refutation() {
    caught(Bug::RefutationIgnored);
}

#[test]
fn a_promise_that_is_not_persisted() {
    caught(Bug::PromiseNotPersisted);
}

#[test]
fn a_reused_engine_id() {
    caught(Bug::ReusedEngineId);
}

#[test]
fn anti_entropy_that_forgets() {
    caught(Bug::ForgetfulSync);
}

#[test]
fn a_vote_inside_a_lease() {
    caught(Bug::VoteInsideLease);
}

#[test]
fn a_lease_during_a_transfer() {
    caught(Bug::LeaseInTransfer);
}

#[test]
fn a_snapshot_of_an_earlier_state() {
    caught(Bug::SnapshotOfEarlier);
}

#[test]
fn a_clock_that_runs_away() {
    caught(Bug::RunawayClock);
}

#[test]
fn a_lost_answer_taken_for_an_unsent_call() {
    caught(Bug::LostTakenForUnsent);
}

/// The situations in which the rules of elections and leases matter, on more seeds: as many as `LICTOR_SEEDS` says.
#[test]
fn situations_are_safe_without_bugs() {
    let situations: [(&str, Situation); 3] = [
        ("restless_elections", provoke::restless_elections),
        ("restart_inside_a_lease", provoke::restart_inside_a_lease),
        ("cut_off_while_handing_over", provoke::cut_off_while_handing_over),
    ];
    for (name, situation) in situations {
        for seed in crate::replay::seeds(4) {
            let Outcome { violations, plan, .. } = outcome(situation, seed, None);
            let replay = crate::replay::command(seed, "bugs::situations");
            assert!(violations.is_empty(), "{name}: {violations:?}\n  {}\nreplay: {replay}", plan.join("\n  "));
        }
    }
}
