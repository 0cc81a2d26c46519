//! Keys are linearizable: default and consistent reads, writes, deletions and compare-and-sets have one order (DESIGN §2;
//! Herlihy & Wing 1990), the last reads after the calm included.

use crate::sim::linear::{self, Action, Operation};
use crate::sim::{Deed, Kind, Mode, Op, Storm};
use std::collections::BTreeMap;

/// What each `ModifyIndex` of a key stood for, as somebody read it.
type Known<'a> = BTreeMap<(&'a str, u64), &'a str>;

pub(super) fn check(storm: &Storm) -> Result<(), String> {
    let history = &storm.world.history;
    let known: Known<'_> = history.iter().filter_map(read).collect();
    let (places, operations): (Vec<usize>, Vec<Operation>) =
        history.iter().enumerate().filter_map(|(at, op)| Some((at, operation(op, &known)?))).unzip();
    linear::check(&operations).map_err(|violation| {
        let first = places.first().copied().unwrap_or_default();
        format!("{violation}\n(operations that say nothing are left out; the first is number {first})")
    })
}

fn read(op: &Op) -> Option<((&str, u64), &str)> {
    let (Kind::Get { key, .. } | Kind::Wait { key, .. }) = &op.kind else { return None };
    match &op.ended {
        Some((_, Deed::Found { value: Some(value), modified, .. })) => Some(((key, *modified), value)),
        _ => None,
    }
}

/// `None`: it says nothing, or surely did not happen.
fn operation(op: &Op, known: &Known<'_>) -> Option<Operation> {
    let ended = op.ended.as_ref().map(|(at, deed)| (*at, deed));
    let acked = match ended {
        Some((_, Deed::Failed(_))) => return None,
        Some((_, Deed::Acked(matched))) => Some(*matched),
        _ => None,
    };
    let (key, action) = match (&op.kind, ended) {
        (Kind::Put { key, value }, _) => (key, Action::Put(value.clone())),
        (Kind::Delete { key }, _) => (key, Action::Delete),
        (Kind::Cas { key, value, index }, _) => {
            let held = known.get(&(key.as_str(), *index)).map(|value| (*value).to_owned());
            // An index that nobody read belongs to a value that nobody wrote.
            let expect = if *index == 0 { None } else { held.or_else(|| Some(format!("at index {index}"))) };
            (key, Action::Cas { expect, value: value.clone(), matched: acked })
        }
        (Kind::Get { key, mode: Mode::Default | Mode::Consistent }, Some((_, Deed::Found { value, .. }))) => {
            (key, Action::Read(value.clone()))
        }
        _ => return None,
    };
    let certain = ended.filter(|(_, deed)| **deed != Deed::Unknown).map(|(at, _)| at);
    Some(Operation { key: key.clone(), begun: op.begun, ended: certain, action })
}
