//! Default and consistent reads never show less than what was acknowledged before they began.

use crate::replay::always;
use lictor_agent::sim::{Deed, Kind, Mode, World};

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

#[test]
fn in_every_storm() {
    always("fresh_reads", |storm| reads_are_fresh(&storm.world));
}
