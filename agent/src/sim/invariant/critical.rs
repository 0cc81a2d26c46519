//! A node that dies in a healthy cluster turns critical within the bound, and passes again when it is back (T9; SWIM's detection,
//! then one write of the leader).

use crate::sim::{MS, SECOND, Storm};

/// Detection, suspicion at its slowest in a cluster of this size, and the leader's write.
const BOUND: u64 = 20 * SECOND;

pub(super) fn check(storm: &Storm) -> Result<(), String> {
    let Some(death) = storm.death else { return Ok(()) };
    match death.critical {
        Some(at) if at - death.died <= BOUND => Ok(()),
        Some(at) => {
            Err(format!("node {} was dead for {} ms before it was critical", death.node, (at - death.died) / MS))
        }
        None => Err(format!("node {} is dead and not critical", death.node)),
    }
}
