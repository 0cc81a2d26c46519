//! At most one server is the settled leader of an epoch.

use crate::replay::always;
use lictor_agent::sim::Sight;
use std::collections::BTreeMap;

#[test]
fn one_leader_an_epoch() {
    always("election", |storm| {
        let mut leaders = BTreeMap::new();
        for seen in &storm.world.seen {
            if let Sight::Leads { epoch } = seen.sight {
                let first = *leaders.entry(epoch).or_insert(seen.node);
                if first != seen.node {
                    return Err(format!("nodes {first} and {} both led epoch {epoch}", seen.node));
                }
            }
        }
        if leaders.is_empty() { Err("nobody ever led".to_owned()) } else { Ok(()) }
    });
}
