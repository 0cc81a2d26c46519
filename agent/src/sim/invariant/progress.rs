//! Every operation is answered, and enough are accepted for a storm to prove anything.

use crate::sim::{Deed, Kind, Storm};

pub(super) fn check(storm: &Storm) -> Result<(), String> {
    let (mut writes, mut acked) = (0, 0);
    for (at, op) in storm.world.history.iter().enumerate() {
        if !matches!(op.kind, Kind::Put { .. } | Kind::Cas { .. } | Kind::Delete { .. } | Kind::Get { .. }) {
            continue;
        }
        let write = !matches!(op.kind, Kind::Get { .. });
        writes += usize::from(write);
        match &op.ended {
            None => return Err(format!("operation {at} was never answered: {op:?}")),
            Some((_, Deed::Acked(_))) => acked += 1,
            Some(_) => {}
        }
    }
    if acked * 10 < writes { Err(format!("only {acked} of {writes} writes were accepted")) } else { Ok(()) }
}
