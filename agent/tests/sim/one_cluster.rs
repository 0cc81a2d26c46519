//! The servers of one bootstrap are one cluster (DESIGN §3, Bootstrap).

use crate::replay::always;
use lictor_agent::sim::World;
use std::collections::BTreeMap;

pub(crate) fn one_cluster_id(world: &World) -> Result<(), String> {
    let mut ids = BTreeMap::new();
    for (at, node) in world.nodes.iter().enumerate() {
        let role = node.process.as_ref().and_then(|process| process.agent.role());
        if let Some(cluster) = role.and_then(|role| role.cluster()) {
            ids.entry(cluster).or_insert(at);
        }
    }
    if ids.len() == 1 { Ok(()) } else { Err(format!("clusters, each with one of its servers: {ids:?}")) }
}

#[test]
fn in_every_storm() {
    always("one_cluster", |storm| one_cluster_id(&storm.world));
}
