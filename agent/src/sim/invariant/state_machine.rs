//! Nothing different is ever applied at one index, and equal indexes have equal states (Raft's paper, figure 3: state machine
//! safety); in the calm all servers reach one state.

use crate::sim::{Sight, Storm};
use std::collections::BTreeMap;

pub(super) fn check(storm: &Storm) -> Result<(), String> {
    let mut places = BTreeMap::new();
    for (node, place) in &storm.world.logs.applied {
        let (first, known) = *places.entry(place.index).or_insert((*node, *place));
        if known != *place {
            return Err(format!("node {first} applied {known:?} where node {node} applied {place:?}"));
        }
    }
    let mut states = BTreeMap::new();
    for seen in &storm.world.seen {
        let Sight::State { applied, hash } = seen.sight else { continue };
        let (node, first) = *states.entry(applied).or_insert((seen.node, hash));
        if first != hash {
            return Err(format!("nodes {node} and {} differ at index {}", seen.node, applied.0));
        }
    }
    ends_equal(storm)
}

pub(super) fn ends_equal(storm: &Storm) -> Result<(), String> {
    let servers = storm.wanted().filter(|(_, node)| node.server);
    let ends: Vec<_> = servers
        .map(|(at, node)| (at, node.process.as_ref().map(|process| (process.view.applied, process.view.store.hash()))))
        .collect();
    match ends.iter().all(|(_, end)| end.is_some() && *end == ends[0].1) {
        true => Ok(()),
        false => Err(format!("after the calm the servers stand at {ends:?}")),
    }
}
