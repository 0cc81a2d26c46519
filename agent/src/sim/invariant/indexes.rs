//! On one server, without a restore, indexes never go back, and no answer has index 0 (Consul: "Blocking queries", the implementation notes).

use crate::sim::{Deed, Sight, Storm};

pub(super) fn check(storm: &Storm) -> Result<(), String> {
    for seen in &storm.world.seen {
        if let Sight::WentBack { from, to } = seen.sight {
            return Err(format!("node {} showed the index {} after {}", seen.node, to.0, from.0));
        }
    }
    for (at, op) in storm.world.history.iter().enumerate() {
        if let Some((_, Deed::Found { index: 0, .. })) = op.ended {
            return Err(format!("operation {at} was answered with index 0"));
        }
    }
    Ok(())
}
