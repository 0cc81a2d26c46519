//! What every history must bear, judged operation by operation: necessary conditions of linearizability, for histories so dense
//! on one key that the checker would give up.

use lictor_agent::sim::{Deed, Kind, Mode, Op, World};
use std::collections::{BTreeMap, BTreeSet};

/// The value of each key at the end, as the leader holds it.
fn end(world: &World) -> Option<BTreeMap<String, String>> {
    let store = &world.process(world.leader()?)?.view.store;
    let keys: BTreeSet<&str> = world.history.iter().filter_map(|op| Some(write(op)?.0)).collect();
    let held = keys.into_iter().map(str::to_owned).filter_map(|key| {
        let value = String::from_utf8(store.key(&key)?.entry().value.to_vec()).ok()?;
        Some((key, value))
    });
    Some(held.collect())
}

fn write(op: &Op) -> Option<(&str, &str)> {
    match &op.kind {
        Kind::Put { key, value } | Kind::Cas { key, value, .. } => Some((key, value)),
        _ => None,
    }
}

/// What was acknowledged happened and stays.
pub(crate) fn acknowledged_survive(world: &World) -> Result<(), String> {
    let Some(end) = end(world) else { return Err("nobody leads after the calm".to_owned()) };
    for (at, op) in world.history.iter().enumerate() {
        let Some((key, value)) = write(op) else { continue };
        let Some((ended, Deed::Acked(true))) = &op.ended else { continue };
        let Some(held) = end.get(key) else { return Err(format!("operation {at} wrote {key}, which is gone")) };
        // Whoever holds the key now must not have been over before this write began.
        let holder = world.history.iter().find(|other| write(other) == Some((key, held)));
        let Some(holder) = holder else { return Err(format!("nobody ever wrote {held:?} to {key}")) };
        let over = holder.ended.as_ref().filter(|(_, deed)| *deed == Deed::Acked(true)).map(|(at, _)| *at);
        if held != value && over.is_some_and(|over| over < op.begun) {
            return Err(format!("{key} holds {held:?}, but {value:?} was acknowledged later, at {ended}"));
        }
    }
    Ok(())
}

/// What was surely refused did not happen.
pub(crate) fn refused_is_never_seen(world: &World) -> Result<(), String> {
    let refused: BTreeMap<(&str, &str), usize> = world
        .history
        .iter()
        .enumerate()
        .filter(|(_, op)| matches!(op.ended, Some((_, Deed::Failed(_) | Deed::Acked(false)))))
        .filter_map(|(at, op)| Some((write(op)?, at)))
        .collect();
    for op in &world.history {
        let Kind::Get { key, mode: Mode::Default | Mode::Consistent | Mode::Stale } = &op.kind else { continue };
        let Some((_, Deed::Found { value: Some(value), .. })) = &op.ended else { continue };
        if let Some(at) = refused.get(&(key.as_str(), value.as_str())) {
            return Err(format!("{key} held {value:?}, though operation {at} was refused: {:?}", world.history[*at]));
        }
    }
    Ok(())
}

/// Default and consistent reads never show less than what was acknowledged before they began.
pub(crate) fn reads_are_fresh(world: &World) -> Result<(), String> {
    let history = &world.history;
    for (at, op) in history.iter().enumerate() {
        let Kind::Get { key, mode: Mode::Default | Mode::Consistent } = &op.kind else { continue };
        let Some((_, Deed::Found { value, .. })) = &op.ended else { continue };
        let writes = |value: &str| {
            history.iter().find(|other| match &other.kind {
                Kind::Put { key: theirs, value: written } | Kind::Cas { key: theirs, value: written, .. } => {
                    theirs == key && written == value
                }
                _ => false,
            })
        };
        // When the write that is shown was surely over.
        let shown = match value {
            None => Some(0),
            Some(value) => match writes(value) {
                None => return Err(format!("operation {at} found {value:?}, which nobody wrote to {key}")),
                Some(write) if write.begun > op.ended.as_ref().map_or(0, |(end, _)| *end) => {
                    return Err(format!("operation {at} found a value from the future"));
                }
                Some(write) => match &write.ended {
                    Some((over, Deed::Acked(true))) => Some(*over),
                    _ => None,
                },
            },
        };
        let Some(shown) = shown else { continue };
        for (newer, write) in history.iter().enumerate() {
            let (Kind::Put { key: theirs, .. } | Kind::Cas { key: theirs, .. }) = &write.kind else { continue };
            let Some((over, Deed::Acked(true))) = &write.ended else { continue };
            if theirs == key && write.begun > shown && *over < op.begun {
                return Err(format!(
                    "operation {at} at node {} ({op:?}) missed operation {newer} ({:?}), over at {over}",
                    op.node, write.kind
                ));
            }
        }
    }
    Ok(())
}
