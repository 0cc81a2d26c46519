//! At most one server is elected in an epoch (Raft's paper, figure 3: election safety).

use crate::sim::Storm;
use std::collections::BTreeMap;

pub(super) fn check(storm: &Storm) -> Result<(), String> {
    let mut leaders = BTreeMap::new();
    for election in &storm.world.logs.elections {
        let first = *leaders.entry(election.epoch).or_insert(election.node);
        if first != election.node {
            return Err(format!("nodes {first} and {} were both elected for epoch {}", election.node, election.epoch));
        }
    }
    if leaders.is_empty() { Err("nobody was ever elected".to_owned()) } else { Ok(()) }
}
