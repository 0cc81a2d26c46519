//! Equal indexes, equal states.

use crate::replay::always;
use lictor_agent::sim::{Sight, World};
use std::collections::BTreeMap;

pub(crate) fn servers_agree(world: &World) -> Result<(), String> {
    let mut states = BTreeMap::new();
    for seen in &world.seen {
        if let Sight::State { applied, hash } = seen.sight {
            let (node, first) = *states.entry(applied).or_insert((seen.node, hash));
            if first != hash {
                return Err(format!("nodes {node} and {} differ at index {}", seen.node, applied.0));
            }
        }
    }
    let servers = (0..world.nodes.len()).filter(|at| world.nodes[*at].server);
    let ends: Vec<_> = servers.map(|at| world.process(at).map(|p| (p.view.applied, p.view.store.hash()))).collect();
    match ends.iter().all(|end| end.is_some() && *end == ends[0]) {
        true => Ok(()),
        false => Err(format!("at the end the servers stand at {ends:?}")),
    }
}

#[test]
fn in_every_storm() {
    always("state_machine", |storm| servers_agree(&storm.world));
}
