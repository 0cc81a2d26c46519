//! Whole clusters of engines under one seed.

mod world;

use crate::consensus::{Engine as _, EngineId, Refused};
use world::{World, members};

fn settled(world: &World) -> bool {
    world.leader().is_some_and(|id| world.servers[&id].engine.as_ref().is_some_and(|engine| engine.status().settled))
}

fn led(seed: u64, voters: &[u64], spares: &[u64]) -> (World, u64) {
    let mut world = World::new(seed, voters, spares);
    assert!(world.run_until(10_000, settled), "no leader");
    let leader = world.leader().unwrap();
    (world, leader)
}

/// Every server in `ids` has applied as much as the leader.
fn level(world: &World, ids: &[u64]) -> bool {
    let Some(leader) = world.leader() else { return false };
    ids.iter().all(|id| world.servers[id].applied == world.servers[&leader].applied)
}

#[test]
fn a_single_server_leads_at_once() {
    let mut world = World::new(1, &[1], &[]);
    assert!(world.run_until(100, settled), "within two ticks");
    let command = world.propose(1).expect("led");
    world.run(20);
    assert!(world.acked.contains(&command));
    world.crash(1);
    world.start(1);
    assert!(world.run_until(100, settled), "at once again after a restart");
    world.assert_survived(&[1]);
}

#[test]
fn three_servers_survive_the_loss_of_their_leader() {
    let (mut world, leader) = led(2, &[1, 2, 3], &[]);
    for _ in 0..10 {
        world.propose(leader).expect("led");
    }
    world.run(500);
    assert_eq!(world.acked.len(), 10);
    world.crash(leader);
    assert!(world.run_until(5_000, |world| world.leader().is_some_and(|new| new != leader) && settled(world)));
    let new = world.leader().unwrap();
    world.propose(new).expect("led");
    world.start(leader);
    assert!(world.run_until(5_000, |world| level(world, &[1, 2, 3])));
    assert_eq!(world.acked.len(), 11);
    world.assert_survived(&[1, 2, 3]);
}
