//! A stale read says how old it may be (`X-Consul-LastContact`, T3), and shows nothing older. A server that hears a leader may
//! hear one that was deposed, for as long as a leader without a quorum takes itself for one, and knows what is agreed one
//! heartbeat later than the leader; hence the allowance.

use crate::http::call::Reply;
use crate::sim::{Deed, Kind, MS, Mode, Op, SECOND, Storm};

const ALLOWANCE: u64 = 2 * SECOND;

pub(super) fn check(storm: &Storm) -> Result<(), String> {
    let history = &storm.world.history;
    for (at, op) in history.iter().enumerate() {
        let Kind::Get { key, mode: Mode::Stale } = &op.kind else { continue };
        let Some((_, Deed::Found { value, .. })) = &op.ended else { continue };
        let Some(age) = op.reply.as_ref().and_then(age) else {
            return Err(format!("operation {at} does not say how old its answer is: {:?}", op.reply));
        };
        let Some(fresh_from) = op.begun.checked_sub(age + ALLOWANCE) else { continue };
        // When what it shows was surely over; a deletion has no value to know it by.
        let Some(value) = value else { continue };
        let shown = history.iter().find(|other| writes(other, key) == Some(value));
        let Some(shown) = shown.and_then(over) else { continue };
        let newer = |other: &&Op| {
            let replaces =
                writes(other, key).is_some() || matches!(&other.kind, Kind::Delete { key: theirs } if theirs == key);
            replaces && other.begun > shown && over(other).is_some_and(|over| over < fresh_from)
        };
        if let Some(newer) = history.iter().find(newer) {
            return Err(format!(
                "operation {at} at node {}, begun at {} ms, shows {value:?} and claims to be {} ms old, but {:?} was over {} ms before",
                op.node,
                op.begun / MS,
                age / MS,
                newer.kind,
                (op.begun - over(newer).unwrap_or_default()) / MS
            ));
        }
    }
    Ok(())
}

/// In ns, as its headers say.
fn age(reply: &Reply) -> Option<u64> {
    let header = |name: &str| reply.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value);
    header("x-consul-knownleader")?;
    header("x-consul-lastcontact")?.parse::<u64>().ok().map(|ms| ms.saturating_mul(MS))
}

fn writes<'a>(op: &'a Op, wanted: &str) -> Option<&'a String> {
    match &op.kind {
        Kind::Put { key, value } | Kind::Cas { key, value, .. } if key == wanted => Some(value),
        _ => None,
    }
}

/// When an operation that surely took effect was over.
fn over(op: &Op) -> Option<u64> {
    match op.ended {
        Some((at, Deed::Acked(true))) => Some(at),
        _ => None,
    }
}
