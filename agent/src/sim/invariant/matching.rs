//! Two logs that hold a record of one epoch at one index are equal up to there (Raft's paper, figure 3: log matching).

use crate::sim::Storm;
use std::collections::BTreeMap;

pub(super) fn check(storm: &Storm) -> Result<(), String> {
    let mut chains = BTreeMap::new();
    for (node, place) in &storm.world.logs.appended {
        let (first, chain) = *chains.entry((place.term, place.index)).or_insert((*node, place.chain));
        if chain != place.chain {
            let (index, term) = (place.index, place.term);
            return Err(format!(
                "the logs of nodes {first} and {node} differ below their record {index} of epoch {term}"
            ));
        }
    }
    if chains.is_empty() { Err("nothing was ever written to a log".to_owned()) } else { Ok(()) }
}
