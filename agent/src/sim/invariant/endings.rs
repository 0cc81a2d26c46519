//! Nobody ends, or refuses to start, without a reason that an operator can act on: he was asked to leave, or his disk failed, was
//! full, or was damaged (DESIGN §3: a failed sync is fatal; damage refuses to start by name).

use crate::sim::{Sight, Storm};

/// Of the disk itself: a sync that failed while running or at the start, and a full disk.
const DISK: [&str; 3] = ["the disk cannot be trusted", "input/output error", "no space left on the disk"];

pub(super) fn check(storm: &Storm) -> Result<(), String> {
    let disk = |why: &str| DISK.iter().any(|reason| why.contains(reason));
    for seen in &storm.world.seen {
        match &seen.sight {
            Sight::Ended(why) if why != "left" && !disk(why) && !storm.damaged(seen) => {
                return Err(format!("node {} ended: {why}", seen.node));
            }
            Sight::Dead(why) if !disk(why) && !storm.damaged(seen) => {
                return Err(format!("node {} did not start: {why}", seen.node));
            }
            _ => {}
        }
    }
    Ok(())
}
