//! Whoever is elected holds all that was agreed in earlier epochs (Raft's paper, figure 3: leader completeness).

use crate::sim::Storm;

pub(super) fn check(storm: &Storm) -> Result<(), String> {
    for election in &storm.world.logs.elections {
        let Some(agreed) = election.agreed else { continue };
        if election.held != Some(agreed) {
            return Err(format!(
                "node {} was elected for epoch {} with {:?} in its log, where {agreed:?} had been agreed",
                election.node, election.epoch, election.held
            ));
        }
    }
    Ok(())
}
