//! Servers leave, are removed, hand over, and are lost for good: writes go on wherever a quorum can be kept.

use crate::cluster::{first_acked, settled, value};
use crate::replay;
use lictor_agent::http::call::{Method, Reply};
use lictor_agent::sim::{Deed, MS, Op, SECOND, Setup, World};

/// The longest time without an acknowledged write while a client writes all the time.
fn longest_gap(world: &World, from: usize, begun: u64) -> u64 {
    let acked = |op: &Op| match &op.ended {
        Some((at, Deed::Acked(true))) => Some(*at),
        _ => None,
    };
    let mut ends: Vec<u64> = world.history[from..].iter().filter_map(acked).collect();
    ends.push(begun);
    ends.sort_unstable();
    ends.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(u64::MAX)
}

fn voters(world: &World) -> usize {
    let view = world.leader().and_then(|leader| world.process(leader)).map(|process| &process.view);
    view.map_or(0, |view| view.servers.iter().filter(|server| server.voter).count())
}

fn text(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.body).into_owned()
}

fn ask(world: &mut World, node: usize, method: Method, target: &str) -> Reply {
    world.answer(node, method, target, "", 20 * SECOND).expect("an answer")
}

#[test]
fn a_leader_that_leaves_leaves_no_gap() {
    replay::each(6, "leave", |seed| {
        let mut world = settled(Setup::new(seed, 3, 1));
        let leader = world.leader().expect("it leads");
        let (from, begun) = (world.history.len(), world.now);
        for n in 0..400 {
            if n == 50 {
                world.call(leader, Method::Put, "/v1/agent/leave", "");
            }
            world.put(3, &format!("k{n}"), "v");
            world.run(10 * MS);
        }
        world.run(5 * SECOND);
        assert!(world.process(leader).is_none(), "seed {seed}: it has left");
        assert_eq!(voters(&world), 2, "seed {seed}: the others vote without it");
        for op in &world.history[from..] {
            assert!(!matches!(op.ended, Some((_, Deed::Failed(_)))), "seed {seed}: {op:?}");
        }
        let gap = longest_gap(&world, from, begun) / MS;
        assert!(gap <= 500, "seed {seed}: {gap} ms without a write");
    });
}

#[test]
fn one_after_the_other_may_leave_until_one_is_left() {
    replay::each(4, "leave", |seed| {
        let mut world = settled(Setup::new(seed, 3, 0));
        for left in [2, 1] {
            let leaver = (0..3).rev().find(|at| world.process(*at).is_some()).expect("somebody runs");
            world.call(leaver, Method::Put, "/v1/agent/leave", "");
            assert!(world.run_until(20 * SECOND, |world| world.process(leaver).is_none()), "seed {seed}: it goes");
            let shrunk = world.run_until(10 * SECOND, |world| voters(world) == left);
            assert!(shrunk, "seed {seed}: {} voters", voters(&world));
        }
        assert!(first_acked(&mut world, 0, 10 * SECOND).is_some(), "seed {seed}: the last one writes on");
    });
}

#[test]
fn leadership_goes_where_it_is_sent_and_a_dead_server_is_removed() {
    replay::each(4, "leave", |seed| {
        let mut world = settled(Setup::new(seed, 3, 1));
        let leader = world.leader().expect("it leads");
        let heir = (0..3).find(|at| *at != leader).expect("three servers");
        let target = format!("/v1/operator/raft/transfer-leader?id={}", world.nodes[heir].id);
        let reply = ask(&mut world, 3, Method::Post, &target);
        assert_eq!((reply.status, text(&reply)), (200, r#"{"Success":true}"#.to_owned()));
        assert!(world.run_until(5 * SECOND, |world| world.leader() == Some(heir)), "seed {seed}");
        let nobody = ask(
            &mut world,
            3,
            Method::Post,
            "/v1/operator/raft/transfer-leader?id=00000000-0000-0000-0000-000000000009",
        );
        assert_eq!(nobody.status, 500, "{}", text(&nobody));
        // A dead one is removed; then there are two, of whom none may be spared.
        let dead = (0..3).find(|at| *at != heir && *at != leader).expect("a third");
        world.crash(dead, true);
        world.run(10 * SECOND);
        let target = format!("/v1/operator/raft/peer?id={}", world.nodes[dead].id);
        let reply = ask(&mut world, 3, Method::Delete, &target);
        assert_eq!(reply.status, 200, "seed {seed}: {}", text(&reply));
        assert_eq!(voters(&world), 2);
        world.crash(leader, true);
        world.start(leader);
        let reply = ask(&mut world, 3, Method::Delete, "/v1/operator/raft/peer?address=10.9.9.9:8300");
        assert_eq!(text(&reply), "address \"10.9.9.9:8300\" was not found in the Raft configuration");
    });
}

#[test]
fn without_whom_there_is_no_quorum_is_not_removed() {
    let mut world = settled(Setup::new(5, 3, 0));
    let leader = world.leader().expect("it leads");
    let others: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
    // One is dead and not noticed yet as far as votes go: the other must stay.
    world.crash(others[0], true);
    world.run(10 * SECOND);
    let target = format!("/v1/operator/raft/peer?id={}", world.nodes[others[1]].id);
    let reply = ask(&mut world, leader, Method::Delete, &target);
    assert_eq!(reply.status, 500);
    assert!(text(&reply).contains("only 1 of 2 voters would be alive"), "{}", text(&reply));
    assert_eq!(voters(&world), 3);
}

/// Asks what a recovery would do, and confirms it.
fn recover(world: &mut World, at: usize) -> Reply {
    let shown = ask(world, at, Method::Get, "/v1/operator/raft/recover");
    if shown.status != 200 {
        return shown;
    }
    let shown: serde_json::Value = serde_json::from_slice(&shown.body).expect("JSON");
    let code = shown["Confirm"].as_str().expect("a code").to_owned();
    ask(world, at, Method::Put, &format!("/v1/operator/raft/recover?confirm={code}"))
}

#[test]
fn the_last_survivor_goes_on_and_those_given_up_do_no_harm() {
    replay::each(3, "leave", |seed| {
        let mut world = settled(Setup::new(seed, 3, 1));
        let survivor = usize::try_from(seed % 3).expect("small");
        for n in 0..20 {
            world.put(3, &format!("k{n}"), "kept");
        }
        world.run(2 * SECOND);
        let refused = ask(&mut world, survivor, Method::Get, "/v1/operator/raft/recover");
        assert_eq!((refused.status, text(&refused).contains("has a leader")), (409, true), "{}", text(&refused));
        let lost: Vec<usize> = (0..3).filter(|at| *at != survivor).collect();
        for at in &lost {
            world.crash(*at, true);
        }
        world.run(20 * SECOND);
        let wrong = ask(&mut world, survivor, Method::Put, "/v1/operator/raft/recover?confirm=00000000");
        assert_eq!(wrong.status, 409, "{}", text(&wrong));
        let reply = recover(&mut world, survivor);
        assert_eq!(reply.status, 200, "seed {seed}: {}", text(&reply));
        assert!(first_acked(&mut world, 3, 10 * SECOND).is_some(), "seed {seed}: writes go on");
        for n in 0..20 {
            assert_eq!(value(&mut world, 3, &format!("k{n}")).as_deref(), Some("kept"), "seed {seed}");
        }
        // A restart finds the recovered state.
        world.crash(survivor, true);
        world.start(survivor);
        assert!(first_acked(&mut world, 3, 20 * SECOND).is_some(), "seed {seed}: after a restart too");
        // Those given up come back with their old logs: they stop, and nobody elects them.
        for at in &lost {
            world.start(*at);
        }
        let stopped = world.run_until(30 * SECOND, |world| lost.iter().all(|at| world.process(*at).is_none()));
        assert!(stopped, "seed {seed}: they know that they were given up");
        assert_eq!(world.leader(), Some(survivor));
        // Emptied, they join anew and vote.
        for at in &lost {
            world.wipe_log(*at);
            world.start(*at);
        }
        assert!(world.run_until(60 * SECOND, |world| voters(world) == 3), "seed {seed}: {} voters", voters(&world));
        assert_eq!(value(&mut world, 3, "k7").as_deref(), Some("kept"));
    });
}

#[test]
fn the_staler_survivor_refuses_and_the_fresher_recovers() {
    replay::each(3, "leave", |seed| {
        let mut world = settled(Setup::new(seed, 5, 0));
        let leader = world.leader().expect("it leads");
        let others: Vec<usize> = (0..5).filter(|at| *at != leader).collect();
        let (stale, fresh, lost) = (others[0], others[1], [leader, others[2], others[3]]);
        // The staler one hears nothing of the last writes.
        let rest: Vec<usize> = (0..5).filter(|at| *at != stale).collect();
        world.net.partition(&[&[stale], &rest]);
        for n in 0..10 {
            world.put(leader, &format!("k{n}"), "kept");
        }
        world.run(SECOND);
        for at in lost {
            world.crash(at, true);
        }
        world.net.heal();
        // The tags of a server that was cut off spread with the next full exchange.
        let told = |world: &mut World| {
            (0..12).any(|_| {
                world.run(5 * SECOND);
                !text(&ask(world, fresh, Method::Get, "/v1/operator/raft/recover")).contains("has not told yet")
            })
        };
        assert!(told(&mut world), "seed {seed}");
        let refused = recover(&mut world, stale);
        assert_eq!(refused.status, 409, "seed {seed}: {}", text(&refused));
        assert!(text(&refused).contains(&format!("{} (", world.nodes[fresh].name)), "{}", text(&refused));
        let reply = recover(&mut world, fresh);
        assert_eq!(reply.status, 200, "seed {seed}: {}", text(&reply));
        assert!(first_acked(&mut world, fresh, 10 * SECOND).is_some(), "seed {seed}");
        assert_eq!(value(&mut world, fresh, "k9").as_deref(), Some("kept"), "seed {seed}");
        assert!(world.run_until(30 * SECOND, |world| world.process(stale).is_none()), "the other one stops by itself");
        world.wipe_log(stale);
        world.start(stale);
        assert!(world.run_until(60 * SECOND, |world| voters(world) == 2), "seed {seed}");
    });
}

#[test]
fn letters_of_the_old_cluster_do_not_disturb_a_recovery_that_the_disk_delays() {
    replay::each(3, "leave", |seed| {
        let mut world = settled(Setup::new(seed, 5, 0));
        // A restart forgets what the bootstrap promised.
        for at in 0..5 {
            world.crash(at, true);
            world.start(at);
        }
        assert!(world.run_until(30 * SECOND, |world| world.leader().is_some()), "seed {seed}");
        world.put(0, "k", "kept");
        world.run(10 * SECOND);
        let first = (0..5).min_by_key(|at| world.nodes[*at].id).expect("five");
        let other = (0..5).rev().find(|at| *at != first).expect("five");
        let lost: Vec<usize> = (0..5).filter(|at| *at != first && *at != other).collect();
        for at in &lost {
            world.crash(*at, true);
        }
        world.run(30 * SECOND);
        let shown = ask(&mut world, first, Method::Get, "/v1/operator/raft/recover");
        let shown: serde_json::Value = serde_json::from_slice(&shown.body).expect("a prospect");
        let code = shown["Confirm"].as_str().expect("a code");
        world.nodes[first].disk.fill(true);
        world.call(first, Method::Put, &format!("/v1/operator/raft/recover?confirm={code}"), "");
        // The other survivor asks for votes all the time.
        world.run(10 * SECOND);
        world.nodes[first].disk.fill(false);
        let stopped = world.run_until(60 * SECOND, |world| world.process(other).is_none());
        assert!(stopped, "seed {seed}: the other survivor finds a later generation of its cluster");
        assert!(first_acked(&mut world, first, 10 * SECOND).is_some(), "seed {seed}: writes go on");
        assert_eq!(value(&mut world, first, "k").as_deref(), Some("kept"), "seed {seed}");
    });
}

#[test]
fn a_majority_that_lived_out_of_sight_goes_on_serving() {
    let mut world = settled(Setup::new(7, 3, 0));
    let leader = world.leader().expect("it leads");
    let alone = (0..3).find(|at| *at != leader).expect("three servers");
    let rest: Vec<usize> = (0..3).filter(|at| *at != alone).collect();
    world.net.partition(&[&[alone], &rest]);
    world.run(20 * SECOND);
    // From where the operator stands the others are dead. They are not.
    assert_eq!(recover(&mut world, alone).status, 200);
    world.net.heal();
    world.run(60 * SECOND);
    assert!(rest.iter().all(|at| world.process(*at).is_some()), "the majority had its leader all the time");
    let number = world.history.len();
    world.put(rest[0], "k", "v");
    assert!(world.run_until(10 * SECOND, |world| matches!(world.history[number].ended, Some((_, Deed::Acked(true))))));
}
