//! After healing every agent that lives knows exactly those that live, there is a leader, and the servers that live and no
//! others vote (SWIM, §4: completeness; DESIGN §5; T17's liveness).

use crate::gossip::MemberStatus;
use crate::server::replica::Replica;
use crate::server::role::Role;
use crate::sim::{Process, Storm};
use std::collections::BTreeSet;
use uuid::Uuid;

pub(super) fn check(storm: &Storm) -> Result<(), String> {
    let world = &storm.world;
    let wanted: BTreeSet<Uuid> = storm.wanted().map(|(_, node)| node.id).collect();
    for (at, node) in storm.wanted() {
        let Some(process) = &node.process else {
            return Err(format!("node {at} does not run: {:?}", world.seen.last()));
        };
        let alive = process.local.members.iter().filter(|member| member.status == MemberStatus::Alive);
        let alive: BTreeSet<Uuid> = alive.map(|member| member.id).collect();
        if alive != wanted {
            let differ = alive.symmetric_difference(&wanted);
            let name = |id: &Uuid| world.nodes.iter().position(|node| node.id == *id);
            let differ: Vec<_> =
                differ.map(|id| name(id).map_or_else(|| id.to_string(), |at| at.to_string())).collect();
            return Err(format!("node {at} is wrong about the life of {differ:?}"));
        }
        if node.server && !process.view.caught_up {
            return Err(format!("server {at} has not caught up"));
        }
    }
    let Some(leader) = world.leader().and_then(|leader| world.process(leader)) else {
        return Err("nobody leads after the calm".to_owned());
    };
    let servers = storm.wanted().filter(|(_, node)| node.server);
    let engines: BTreeSet<_> = servers.filter_map(|(_, node)| node.process.as_ref()?.engine).collect();
    let voting = voters(leader);
    if voting == engines {
        Ok(())
    } else {
        Err(format!("the servers that live are {engines:?}, those that vote {voting:?}"))
    }
}

fn voters(leader: &Process) -> BTreeSet<crate::consensus::EngineId> {
    let status = leader.agent.role().and_then(Role::replica).map(Replica::status);
    status.into_iter().flat_map(|status| &status.members.voters).map(|voter| voter.engine).collect()
}
