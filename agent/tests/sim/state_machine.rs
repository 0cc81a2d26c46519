//! Equal indexes, equal states.

use crate::replay::always;
use lictor_agent::sim::Sight;
use std::collections::BTreeMap;

#[test]
fn servers_agree_at_equal_indexes() {
    always("state_machine", |storm| {
        let mut states = BTreeMap::new();
        for seen in &storm.world.seen {
            if let Sight::State { applied, hash } = seen.sight {
                let (node, first) = *states.entry(applied).or_insert((seen.node, hash));
                if first != hash {
                    return Err(format!("nodes {node} and {} differ at index {}", seen.node, applied.0));
                }
            }
        }
        let ends: Vec<_> =
            (0..3).map(|at| storm.world.process(at).map(|p| (p.view.applied, p.view.store.hash()))).collect();
        match ends.iter().all(|end| end.is_some() && *end == ends[0]) {
            true => Ok(()),
            false => Err(format!("after the calm the servers stand at {ends:?}")),
        }
    });
}
