//! Every invariant (`agent/src/sim/invariant/`) against every storm of the fixed set; each storm is run once for all of them.

use crate::replay::{self, always};
use lictor_agent::sim::{INVARIANTS, Plan};

macro_rules! hold {
    ($($invariant:ident)*) => {
        $(#[test]
        fn $invariant() {
            always(stringify!($invariant));
        })*

        #[test]
        fn none_is_left_out() {
            let names: Vec<&str> = INVARIANTS.iter().map(|invariant| invariant.name).collect();
            assert_eq!(names, [$(stringify!($invariant)),*]);
        }
    };
}

hold! {
    cluster
    election
    matching
    completeness
    state_machine
    acknowledged
    once
    linearizable
    stale
    locks
    holders
    indexes
    endings
    progress
    waiters
    membership
    catalog
    critical
}

/// Two runs of one seed are one run: each tenth seed is run twice.
#[test]
fn equal_seeds_have_equal_traces() {
    for seed in replay::twice() {
        let first = replay::trace(seed);
        let world = Plan::of(seed).run().world;
        assert_eq!(first, (world.trace.hash(), world.trace.events), "{}", replay::command(seed, "equal_seeds"));
        assert!(first.1 > 10_000, "a storm in which {} things happen is none", first.1);
    }
}

/// The set is worth its name: storms of the size that is asked for, and every kind of fault.
#[test]
fn the_fixed_set_holds_large_storms_and_every_fault() {
    if std::env::var("LICTOR_SEED").is_ok() || std::env::var("LICTOR_SEEDS").is_ok() {
        return;
    }
    let large =
        replay::seeds(replay::STORMS).into_iter().map(Plan::of).any(|plan| plan.servers >= 5 && plan.clients >= 20);
    assert!(large, "no storm has 5 servers and 20 client agents");
    let struck = replay::faults();
    let missing: Vec<&str> = lictor_agent::sim::fault_names().filter(|name| !struck.contains(*name)).collect();
    assert!(missing.is_empty(), "no storm of the fixed set has any of {missing:?}");
}
