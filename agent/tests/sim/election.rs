//! At most one server is elected in an epoch (Raft's paper, figure 3: election safety).

use crate::replay::always;
use lictor_agent::sim::{Sight, World};
use std::collections::BTreeMap;

pub(crate) fn one_leader_an_epoch(world: &World) -> Result<(), String> {
    let mut leaders = BTreeMap::new();
    for seen in &world.seen {
        if let Sight::Elected { epoch } = seen.sight {
            let first = *leaders.entry(epoch).or_insert(seen.node);
            if first != seen.node {
                return Err(format!("nodes {first} and {} were both elected for epoch {epoch}", seen.node));
            }
        }
    }
    if leaders.is_empty() { Err("nobody was ever elected".to_owned()) } else { Ok(()) }
}

#[test]
fn in_every_storm() {
    always("election", |storm| one_leader_an_epoch(&storm.world));
}
