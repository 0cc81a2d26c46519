//! One cluster: every server that ever took part says the same cluster id (DESIGN §3, bootstrap).

use crate::sim::{Sight, Storm};

pub(super) fn check(storm: &Storm) -> Result<(), String> {
    let mut first = None;
    for seen in &storm.world.seen {
        let Sight::Cluster(cluster) = seen.sight else { continue };
        let (node, known) = *first.get_or_insert((seen.node, cluster));
        if known != cluster {
            return Err(format!("node {node} is of the cluster {known}, node {} of {cluster}", seen.node));
        }
    }
    if first.is_some() { Ok(()) } else { Err("no cluster was ever made".to_owned()) }
}
