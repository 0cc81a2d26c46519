//! A server that lags, and one that was emptied, get a snapshot; a server may come back at another address.

use crate::cluster::settled;
use crate::replay;
use lictor_agent::sim::{SECOND, Setup, World};

fn written(seed: u64) -> Setup {
    let mut setup = Setup::new(seed, 3, 0);
    setup.log_bytes_max = 4 << 10;
    setup
}

fn fill(world: &mut World, at: usize, count: usize, word: &str) {
    for n in 0..count {
        world.put(at, &format!("{word}-{n}"), &"x".repeat(100));
        if n % 10 == 9 {
            world.run(SECOND / 10);
        }
    }
    world.run(2 * SECOND);
}

fn assert_equal(world: &mut World, servers: &[usize], seed: u64) {
    let same = world.run_until(40 * SECOND, |world| {
        let states: Vec<_> = servers
            .iter()
            .map(|at| world.process(*at).map(|process| (process.view.applied, process.view.store.hash())))
            .collect();
        states[0].is_some() && states.iter().all(|state| *state == states[0])
    });
    let applied: Vec<_> = servers
        .iter()
        .map(|at| {
            world
                .process(*at)
                .map(|process| (process.view.applied, process.view.store.index(), process.view.store.hash()))
        })
        .collect();
    assert!(same, "servers differ: {applied:?}; {}", replay::command(seed, "snapshot"));
}

#[test]
fn a_lagging_server_gets_a_snapshot() {
    replay::each(4, "snapshot", |seed| {
        let mut world = settled(written(seed));
        let lagging = (0..3).find(|at| Some(*at) != world.leader()).expect("three servers");
        world.crash(lagging, true);
        let leader = world.leader().expect("it still leads");
        fill(&mut world, leader, 200, "a");
        world.start(lagging);
        assert_equal(&mut world, &[0, 1, 2], seed);
        assert!(world.process(lagging).expect("it runs").view.store.key("a-199").is_some());
    });
}

#[test]
fn a_restarted_leader_sends_what_it_recovered() {
    replay::each(4, "snapshot", |seed| {
        let mut world = settled(written(seed));
        let lagging = (0..3).find(|at| Some(*at) != world.leader()).expect("three servers");
        let leader = world.leader().expect("it still leads");
        fill(&mut world, leader, 20, "a");
        world.crash(lagging, true);
        fill(&mut world, leader, 100, "b");
        for at in (0..3).filter(|at| *at != lagging) {
            world.crash(at, true);
            world.start(at);
        }
        assert!(world.run_until(30 * SECOND, |world| world.leader().is_some()));
        world.start(lagging);
        assert_equal(&mut world, &[0, 1, 2], seed);
        assert!(world.process(lagging).expect("it runs").view.store.key("b-99").is_some());
    });
}

/// The log is compacted at a change of members, above the last command: the recovered state stands for that index too.
#[test]
fn a_restarted_leader_sends_a_state_that_ends_in_a_change_of_members() {
    replay::each(4, "snapshot", |seed| {
        let mut setup = written(seed);
        setup.servers = 5;
        let mut world = settled(setup);
        let leader = world.leader().expect("it leads");
        let others: Vec<usize> = (0..5).filter(|at| *at != leader).collect();
        let (lagging, emptied) = (others[0], others[1]);
        fill(&mut world, leader, 10, "a");
        world.crash(lagging, true);
        world.crash(emptied, true);
        world.wipe_log(emptied);
        fill(&mut world, leader, 10, "b");
        world.start(emptied);
        world.run(5 * SECOND);
        for at in (0..5).filter(|at| *at != lagging) {
            world.crash(at, true);
            world.start(at);
        }
        assert!(world.run_until(30 * SECOND, |world| world.leader().is_some()));
        world.start(lagging);
        assert_equal(&mut world, &[0, 1, 2, 3, 4], seed);
        assert!(world.process(lagging).expect("it runs").view.store.key("b-9").is_some());
    });
}

#[test]
fn an_emptied_server_gets_a_snapshot_and_votes_again() {
    replay::each(3, "snapshot", |seed| {
        let mut world = settled(written(seed));
        let emptied = (0..3).find(|at| Some(*at) != world.leader()).expect("three servers");
        let leader = world.leader().expect("it still leads");
        fill(&mut world, leader, 100, "a");
        world.crash(emptied, true);
        world.wipe_log(emptied);
        world.run(SECOND);
        world.start(emptied);
        assert_equal(&mut world, &[0, 1, 2], seed);
        let voters = world.run_until(60 * SECOND, |world| {
            let process = world.leader().and_then(|leader| world.process(leader));
            process.is_some_and(|process| process.view.servers.iter().filter(|server| server.voter).count() == 3)
        });
        assert!(voters, "three vote again; {}", replay::command(seed, "snapshot"));
    });
}

#[test]
fn a_server_that_moved_is_the_same_server() {
    replay::each(2, "snapshot", |seed| {
        let mut world = settled(written(seed));
        let moving = (0..3).find(|at| Some(*at) != world.leader()).expect("three servers");
        world.crash(moving, true);
        world.move_to(moving, [10, 0, 1, 77].into());
        world.run(SECOND);
        world.start(moving);
        let leader = world.leader().expect("it still leads");
        fill(&mut world, leader, 20, "a");
        assert_equal(&mut world, &[0, 1, 2], seed);
        let shown = world.run_until(30 * SECOND, |world| {
            let servers = &world.process(leader).expect("it runs").view.servers;
            servers.len() == 3 && servers.iter().any(|server| server.address == "10.0.1.77:8300")
        });
        assert!(shown, "its new address is shown; {}", replay::command(seed, "snapshot"));
    });
}
