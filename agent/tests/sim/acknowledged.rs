//! What was acknowledged happened and stays; what was surely refused did not happen.

use crate::replay::always;
use lictor_agent::sim::{Deed, Kind, Mode, Op, World};
use std::collections::{BTreeMap, BTreeSet};

/// The value of each key at the end, as the leader holds it.
fn end(world: &World) -> Option<BTreeMap<String, String>> {
    let store = &world.process(world.leader()?)?.view.store;
    let keys: BTreeSet<&str> = world.history.iter().filter_map(|op| Some(write(op)?.0)).collect();
    let held = keys.into_iter().map(str::to_owned).filter_map(|key| {
        let value = String::from_utf8(store.key(&key)?.value.to_vec()).ok()?;
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

#[test]
fn acknowledged_writes_survive() {
    always("acknowledged", |storm| acknowledged_survive(&storm.world));
}

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

#[test]
fn what_surely_did_not_happen_is_never_seen() {
    always("acknowledged", |storm| refused_is_never_seen(&storm.world));
}

#[test]
fn writes_are_answered_and_many_are_accepted() {
    always("acknowledged", |storm| {
        let (mut writes, mut acked) = (0, 0);
        for (at, op) in storm.world.history.iter().enumerate().filter(|(_, op)| write(op).is_some()) {
            writes += 1;
            match &op.ended {
                None => return Err(format!("operation {at} was never answered: {op:?}")),
                Some((_, Deed::Acked(true))) => acked += 1,
                Some(_) => {}
            }
        }
        if acked * 10 < writes { Err(format!("only {acked} of {writes} writes were accepted")) } else { Ok(()) }
    });
}
