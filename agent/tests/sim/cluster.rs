//! Three servers and clients: elected, registered, visible everywhere; a dead leader is replaced and nothing is lost.

use crate::replay;
use lictor_agent::http::call::Method;
use lictor_agent::sim::{Deed, MS, Mode, SECOND, Setup, World};

/// A cluster that has elected and settled.
pub(crate) fn settled(setup: Setup) -> World {
    let mut world = World::started(setup);
    assert!(world.run_until(30 * SECOND, |world| world.leader().is_some()), "nobody leads after 30 s");
    world.run(2 * SECOND);
    world
}

/// Whether every server shows this service.
pub(crate) fn everywhere(world: &World, servers: usize, node: &str, service: &str) -> bool {
    (0..servers).all(|at| world.process(at).is_some_and(|process| process.view.store.service(node, service).is_some()))
}

/// Writes until one write is acknowledged; when that was.
pub(crate) fn first_acked(world: &mut World, node: usize, most: u64) -> Option<u64> {
    let begun = world.history.len();
    let end = world.now + most;
    while world.now < end {
        let number = world.history.len();
        world.put(node, "probe", &format!("p{number}"));
        world.run(20 * MS);
        let acked = |op: &lictor_agent::sim::Op| match &op.ended {
            Some((at, Deed::Acked(true))) => Some(*at),
            _ => None,
        };
        if let Some(at) = world.history[begun..].iter().filter_map(acked).min() {
            return Some(at);
        }
    }
    None
}

/// What a key holds, read consistently.
pub(crate) fn value(world: &mut World, node: usize, key: &str) -> Option<String> {
    let number = world.get(node, key, Mode::Consistent);
    world.run_until(20 * SECOND, |world| world.history[number].ended.is_some());
    match &world.history[number].ended {
        Some((_, Deed::Found { value, .. })) => value.clone(),
        other => panic!("{key}: {other:?}"),
    }
}

#[test]
fn a_registration_at_a_client_is_seen_everywhere() {
    replay::each(3, "cluster", |seed| {
        let mut world = settled(Setup::new(seed, 3, 2));
        let body = r#"{"Name":"web","Port":80}"#;
        let reply = world.answer(3, Method::Put, "/v1/agent/service/register", body, 5 * SECOND).expect("an answer");
        assert_eq!(reply.status, 200);
        assert!(world.run_until(20 * SECOND, |world| everywhere(world, 3, "client-3", "web")));
        let reply = world.answer(4, Method::Get, "/v1/catalog/service/web", "", 5 * SECOND).expect("an answer");
        assert!(String::from_utf8_lossy(&reply.body).contains("client-3"), "the other client sees it too");
    });
}

#[test]
fn a_dead_leader_is_replaced_and_no_acknowledged_write_is_lost() {
    let mut times = Vec::new();
    for seed in replay::seeds(10) {
        let mut world = settled(Setup::new(seed, 3, 1));
        let keys: Vec<String> = (0..10).map(|n| format!("k{n}")).collect();
        let first = world.history.len();
        for key in &keys {
            world.put(3, key, "kept");
        }
        world.run(2 * SECOND);
        let acked = world.history[first..].iter().all(|op| matches!(op.ended, Some((_, Deed::Acked(true)))));
        assert!(acked, "seed {seed}: all writes are answered in a calm cluster");
        let leader = world.leader().expect("somebody leads");
        world.crash(leader, seed % 2 == 0);
        let died = world.now;
        let at = first_acked(&mut world, 3, 30 * SECOND).expect("writes go on");
        times.push((at - died) / MS);
        assert_ne!(world.leader(), Some(leader));
        for key in &keys {
            assert_eq!(value(&mut world, 3, key).as_deref(), Some("kept"), "seed {seed}: {key}");
        }
        // The old leader comes back as a follower that knows everything.
        world.start(leader);
        let back = world.run_until(30 * SECOND, |world| {
            world
                .process(leader)
                .is_some_and(|process| process.view.caught_up && process.view.store.key("k9").is_some())
        });
        assert!(back, "seed {seed}: {}", replay::command(seed, "cluster"));
    }
    times.sort_unstable();
    println!(
        "from the leader's death to the next accepted write, simulated ms: {times:?}, median {}",
        times[times.len() / 2]
    );
}
