//! What must be so in every storm, one file each, with its source. Tests and `examples/simulate.rs` hold the same ones.

mod acknowledged;
mod catalog;
mod cluster;
mod completeness;
mod critical;
mod election;
mod endings;
mod holders;
mod indexes;
mod linearizable;
mod locks;
mod matching;
mod membership;
mod once;
mod progress;
mod stale;
mod state_machine;
mod waiters;

use super::storm::Storm;

/// One thing that must be so.
#[derive(Clone, Copy)]
pub struct Invariant {
    pub name: &'static str,
    /// What is wrong, in words.
    pub check: fn(&Storm) -> Result<(), String>,
}

/// All of them: safety first, then what the calm must bring.
pub static INVARIANTS: &[Invariant] = &[
    Invariant { name: "cluster", check: cluster::check },
    Invariant { name: "election", check: election::check },
    Invariant { name: "matching", check: matching::check },
    Invariant { name: "completeness", check: completeness::check },
    Invariant { name: "state_machine", check: state_machine::check },
    Invariant { name: "acknowledged", check: acknowledged::check },
    Invariant { name: "once", check: once::check },
    Invariant { name: "linearizable", check: linearizable::check },
    Invariant { name: "stale", check: stale::check },
    Invariant { name: "locks", check: locks::check },
    Invariant { name: "holders", check: holders::check },
    Invariant { name: "indexes", check: indexes::check },
    Invariant { name: "endings", check: endings::check },
    Invariant { name: "progress", check: progress::check },
    Invariant { name: "waiters", check: waiters::check },
    Invariant { name: "membership", check: membership::check },
    Invariant { name: "catalog", check: catalog::check },
    Invariant { name: "critical", check: critical::check },
];

/// Every invariant that a storm broke, and how.
#[must_use]
pub fn broken(storm: &Storm) -> Vec<(&'static str, String)> {
    INVARIANTS.iter().filter_map(|invariant| Some((invariant.name, (invariant.check)(storm).err()?))).collect()
}

/// Whether all that the calm must bring is there.
#[must_use]
pub(super) fn settled(storm: &Storm) -> bool {
    membership::check(storm).is_ok() && catalog::check(storm).is_ok() && state_machine::ends_equal(storm).is_ok()
}
