//! No blocking read sleeps through a change of what it waits for, nor past its own deadline (DESIGN §2: no lost wake-up).

use crate::sim::{Deed, Kind, SECOND, Storm};
use lictor_catalog::{Command, KvCommand};
use std::collections::BTreeMap;

/// How long after the calm began whoever ought to be awake must be.
const BOUND: u64 = 30 * SECOND;

pub(super) fn check(storm: &Storm) -> Result<(), String> {
    // The last unconditional write of each key changed it for certain.
    let sets: BTreeMap<&str, (u64, u64)> = storm
        .world
        .logs
        .commands
        .iter()
        .filter_map(|agreed| match &agreed.command {
            Command::Kv(KvCommand::Set { key, .. }) => Some((key.as_str(), (agreed.index, agreed.at))),
            _ => None,
        })
        .collect();
    for (at, op) in storm.world.history.iter().enumerate() {
        let Kind::Wait { key, index, wait_ms } = &op.kind else { continue };
        let ended = op.ended.as_ref().map(|(end, _)| *end);
        // Who asked at a process that died was told so.
        if matches!(op.ended, Some((_, Deed::Unknown | Deed::Failed(_)))) {
            continue;
        }
        let due = storm.calm + BOUND;
        // A sixteenth of jitter, and what forwarding and holding may add.
        let latest = (op.begun + wait_ms * 17 / 16 * 1_000_000 + 20 * SECOND).max(due);
        if ended.is_none_or(|end| end > latest) && storm.world.now > latest {
            return Err(format!("operation {at} overslept its own deadline: {op:?}"));
        }
        let Some((changed, applied)) = sets.get(key.as_str()).filter(|(changed, _)| changed > index) else { continue };
        let due = due.max(applied + BOUND);
        if ended.is_none_or(|end| end > due) && storm.world.now > due {
            return Err(format!("operation {at} ({op:?}) sleeps though {key} changed at index {changed}"));
        }
    }
    Ok(())
}
