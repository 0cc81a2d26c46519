//! After the storm everything comes right: everybody knows everybody, services of the living are there, the dead are
//! critical, and no agent ended without a reason.

use crate::cluster::settled;
use crate::replay::{self, always};
use lictor_agent::gossip::MemberStatus;
use lictor_agent::sim::{SECOND, Setup, Sight, World};
use lictor_catalog::Status;

#[test]
fn everything_is_there_after_the_calm() {
    always("liveness", |storm| everything_is_there(&storm.world));
}

pub(crate) fn everything_is_there(world: &World) -> Result<(), String> {
    let Some(leader) = world.leader().and_then(|leader| world.process(leader)) else {
        return Err("nobody leads after the calm".to_owned());
    };
    let store = &leader.view.store;
    for (at, node) in world.nodes.iter().enumerate() {
        let Some(process) = &node.process else {
            return Err(format!("node {at} does not run: {:?}", world.seen.last()));
        };
        let alive = process.local.members.iter().filter(|member| member.status == MemberStatus::Alive).count();
        if alive != world.nodes.len() {
            return Err(format!("node {at} sees {alive} members alive"));
        }
        if node.server && !process.view.caught_up {
            return Err(format!("server {at} has not caught up"));
        }
        if store.check(&node.name, "serfHealth").map(|check| check.status) != Some(Status::Passing) {
            return Err(format!("node {at} is not passing"));
        }
        for (id, service) in process.local.services.iter() {
            if store.service(&node.name, id).map(|held| held.port) != Some(service.port) {
                return Err(format!("service {id} of node {at} is not in the catalog"));
            }
        }
    }
    Ok(())
}

pub(crate) fn nobody_ended(world: &World) -> Result<(), String> {
    for seen in &world.seen {
        // The disk's own faults: a sync that failed while running or at the start, and a full disk.
        let disk = ["the disk cannot be trusted", "input/output error", "no space left on the disk"];
        let known = |why: &str| why == "left" || disk.iter().any(|reason| why.contains(reason));
        match &seen.sight {
            Sight::Ended(why) if !known(why) => return Err(format!("node {} ended: {why}", seen.node)),
            Sight::Dead(why) if !known(why) => return Err(format!("node {} did not start: {why}", seen.node)),
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn nobody_ends_without_a_reason() {
    always("liveness", |storm| nobody_ended(&storm.world));
}

#[test]
fn a_dead_node_turns_critical_and_a_living_one_passes_again() {
    replay::each(3, "liveness", |seed| {
        let mut world = settled(Setup::new(seed, 3, 2));
        let status = |world: &World| {
            let process = world.leader().and_then(|leader| world.process(leader));
            process.and_then(|process| process.view.store.check("client-4", "serfHealth").map(|check| check.status))
        };
        assert!(world.run_until(20 * SECOND, |world| status(world) == Some(Status::Passing)));
        world.crash(4, true);
        assert!(world.run_until(30 * SECOND, |world| status(world) == Some(Status::Critical)), "critical within 30 s");
        world.start(4);
        assert!(world.run_until(30 * SECOND, |world| status(world) == Some(Status::Passing)), "passing within 30 s");
    });
}
