//! No blocking read sleeps through a change of what it waits for.

use crate::replay::always;
use lictor_agent::sim::{Deed, Kind, SECOND, World};

/// How long after the calm began whoever ought to be awake must be.
const BOUND: u64 = 30 * SECOND;

/// `calm`: since when nothing has been in the way.
pub(crate) fn nobody_sleeps_through_a_change(world: &World, calm: u64) -> Result<(), String> {
    let Some(leader) = world.leader().and_then(|leader| world.process(leader)) else {
        return Err("nobody leads after the calm".to_owned());
    };
    let due = calm + BOUND;
    for (at, op) in world.history.iter().enumerate() {
        let Kind::Wait { key, index, wait_ms } = &op.kind else { continue };
        let ended = op.ended.as_ref().map(|(end, _)| *end);
        if let Some((_, Deed::Found { index: found, .. })) = &op.ended
            && *found == 0
        {
            return Err(format!("operation {at} was answered with index 0"));
        }
        // A sixteenth of jitter, and what forwarding and holding may add.
        let latest = op.begun + wait_ms * 17 / 16 * 1_000_000 + 20 * SECOND;
        if ended.is_none_or(|end| end > latest.max(due)) && world.now > latest.max(due) {
            return Err(format!("operation {at} overslept its own deadline: {op:?}"));
        }
        let modified = leader.view.store.key(key).map_or(0, |entry| entry.modify_index.0);
        if modified > *index && ended.is_none_or(|end| end > due) {
            return Err(format!("operation {at} ({op:?}) sleeps though {key} changed at {modified}"));
        }
    }
    Ok(())
}

#[test]
fn in_every_storm() {
    always("waiters", |storm| nobody_sleeps_through_a_change(&storm.world, storm.calm));
}
