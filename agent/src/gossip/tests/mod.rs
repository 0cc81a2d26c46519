//! Whole clusters on a simulated network.

mod world;

use super::{Announcement, JoinError, JoinRefused, MemberEvent, MemberStatus, NotFired, Output};
use crate::time::Instant;
use std::collections::BTreeMap;
use std::time::Duration;
use world::{World, address, id, name};

#[test]
fn nine_join_and_know_each_other_with_tags() {
    let world = World::cluster(1, 9);
    world.assert_alive(&[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    for n in 1..=9 {
        let members = world.gossip(n).members();
        assert!(members.iter().all(|member| member.tags["role"] == "node"));
        let joined = world.events(n).filter(|(_, event)| matches!(event, MemberEvent::Joined(_))).count();
        assert_eq!((joined, world.events(n).count()), (8, 8), "each other member joined once, and nothing else");
        assert_eq!(world.gossip(n).counts(), super::GossipCounts::default());
    }
    assert_eq!(world.told(2), [&Output::Joined { ticket: 1, reached: 1 }]);
}

/// Median of the time from a kill to the Failed event at each of the others.
fn detection(n: u16, kills: u64) -> Vec<Duration> {
    let mut times = Vec::new();
    for seed in 0..kills {
        let mut world = World::cluster(seed, n);
        world.run_ms(3000 + seed * 370 % 1000);
        world.forget_events();
        let at = world.now;
        world.kill(n);
        world.run(30);
        let failures = world.failures();
        assert_eq!(failures.len(), usize::from(n) - 1, "seed {seed}: {failures:?}");
        assert!(failures.iter().all(|(_, _, failed)| *failed == name(n)));
        times.extend(failures.iter().map(|(when, _, _)| when.since(at)));
    }
    times.sort_unstable();
    times
}

#[test]
fn a_killed_agent_is_failed_within_four_and_a_half_seconds() {
    for n in [2, 4, 5, 7, 9] {
        let times = detection(n, 60);
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        eprintln!("{n} members: median {median:?}, worst {worst:?}");
        if n > 2 {
            assert!(median <= Duration::from_millis(4500), "{n} members: median {median:?}");
        }
        assert!(worst < Duration::from_secs(12), "{n} members: worst {worst:?}");
    }
}

#[test]
fn nobody_fails_falsely_under_loss() {
    for tcp in [true, false] {
        let mut world = World::cluster(7, 7);
        (world.loss, world.tcp) = (30, tcp);
        world.run(600);
        assert_eq!(world.failures(), [], "tcp {tcp}");
        world.loss = 0;
        world.run(30);
        world.assert_alive(&[1, 2, 3, 4, 5, 6, 7]);
    }
}

#[test]
fn a_farewell_is_not_a_failure_even_under_loss() {
    for seed in 0..10 {
        let mut world = World::new(seed);
        world.setup = |config| config.left_timeout = Duration::from_secs(600);
        world.grow(6);
        world.loss = 20;
        world.forget_events();
        let now = world.now;
        world.with(address(3), |gossip| gossip.leave(now));
        world.run(2);
        assert_eq!(world.told(3), [&Output::Gone]);
        world.kill(3);
        world.run(60);
        assert_eq!(world.failures(), [], "seed {seed}");
        for n in [1, 2, 4, 5, 6] {
            assert_eq!(world.status(n, 3), Some(MemberStatus::Left), "seed {seed}, as {n} sees it");
        }
        world.run(660);
        assert_eq!(world.status(1, 3), None, "who left is forgotten after its term");
        assert!(world.events(1).any(|(_, event)| matches!(event, MemberEvent::Reaped(_))));
    }
}

#[test]
fn a_restart_at_the_same_address_is_the_same_member() {
    let mut world = World::cluster(3, 5);
    world.forget_events();
    world.kill(4);
    world.run_ms(700);
    world.start(4);
    world.join(4, 1);
    world.run(20);
    assert_eq!(world.failures(), []);
    world.assert_alive(&[1, 2, 3, 4, 5]);
    assert_eq!(world.gossip(1).members().len(), 5);
    // After it had failed.
    world.kill(4);
    world.run(20);
    assert_eq!(world.status(1, 4), Some(MemberStatus::Dead));
    world.forget_events();
    world.start(4);
    world.join(4, 2);
    world.run(5);
    world.assert_alive(&[1, 2, 3, 4, 5]);
    let joined = |(_, event): (Instant, &MemberEvent)| matches!(event, MemberEvent::Joined(_));
    assert!([1, 2, 3, 5].iter().all(|n| world.events(*n).filter(|event| joined(*event)).count() == 1));
}

#[test]
fn a_restart_at_another_address_is_the_same_member() {
    let mut world = World::cluster(4, 5);
    world.forget_events();
    world.kill(4);
    world.run_ms(300);
    world.start_as(id(4), &name(4), address(44));
    world.join_at(address(44), address(1));
    world.run(15);
    assert_eq!(world.failures(), []);
    world.assert_alive(&[1, 2, 3, 4, 5]);
    assert_eq!(world.gossip(1).members().len(), 5);
    assert_eq!(world.member(2, &name(4)).expect("listed").address, address(44));
}

#[test]
fn a_clone_is_found_out_before_it_gossips() {
    let mut world = World::cluster(5, 4);
    world.forget_events();
    let sent = |world: &World| world.member(1, &name(3)).expect("listed").address;
    world.start_as(id(3), &name(3), address(33));
    world.join_at(address(33), address(1));
    world.run(5);
    let clone = Output::Clone { id: id(3), holder: address(3), joiner: address(33) };
    assert_eq!(world.told_at(address(33))[0], &clone);
    assert_eq!((world.failures(), sent(&world)), (vec![], address(3)));
    assert!((1..=4).all(|n| world.events(n).count() == 0));
}

#[test]
fn a_name_in_use_is_refused_until_its_holder_is_gone() {
    let mut world = World::cluster(6, 4);
    world.start_as(id(99), "NODE-3", address(99));
    world.join_at(address(99), address(1));
    world.run(10);
    let reason = JoinRefused::Name { name: "NODE-3".into(), holder: address(3), joiner: address(99) };
    let text = reason.to_string();
    assert!(text.contains("10.0.0.3:8301") && text.contains("10.0.0.99:8301"), "{text}");
    assert_eq!(world.told_at(address(99)), [&Output::JoinWaits { ticket: 1, to: address(1), reason }]);
    assert_eq!(world.gossip(1).members().len(), 4);
    world.kill(3);
    world.run(15);
    assert_eq!(world.told_at(address(99))[1], &Output::Joined { ticket: 1, reached: 1 });
    let listed = world.gossip(2).members();
    let newcomer = listed.iter().find(|member| member.id == id(99)).expect("listed");
    assert_eq!((listed.len(), newcomer.status), (4, MemberStatus::Alive));
    assert!(world.member(2, &name(3)).is_none(), "the dead holder gave way");
}

#[test]
fn a_name_at_the_very_address_is_taken_over_at_once() {
    let mut world = World::cluster(8, 4);
    world.forget_events();
    world.kill(3);
    world.start_as(id(99), &name(3), address(3));
    world.join(3, 1);
    world.run(10);
    world.assert_alive(&[1, 2, 3, 4]);
    assert_eq!((world.failures(), world.gossip(4).members().len()), (vec![], 4));
    assert_eq!(world.member(4, &name(3)).expect("listed").id, id(99));
}

#[test]
fn strangers_are_refused_with_a_reason() {
    let check = |theirs: fn(&mut super::GossipConfig), ours: fn(&mut super::GossipConfig), reason: JoinRefused| {
        let mut world = World::new(9);
        world.setup = theirs;
        world.grow(2);
        world.setup = ours;
        world.start(3);
        world.join(3, 1);
        world.run(3);
        let failures = vec![(address(1), JoinError::Refused(reason))];
        assert_eq!(world.told(3), [&Output::JoinFailed { ticket: 1, failures }]);
        assert_eq!((world.gossip(1).members().len(), world.gossip(3).members().len()), (2, 1));
    };
    let text = |text: &str| text.to_owned();
    check(
        |_| {},
        |c| c.datacenter = "dc2".to_owned(),
        JoinRefused::Datacenter { theirs: text("dc1"), ours: text("dc2") },
    );
    check(|_| {}, |c| c.label = "blue".to_owned(), JoinRefused::Label { theirs: text(""), ours: text("blue") });
    check(|c| c.key = Some(vec![1; 32]), |c| c.key = Some(vec![2; 32]), JoinRefused::Key);
    check(|c| c.key = Some(vec![1; 16]), |_| {}, JoinRefused::NeedsKey);
    check(|_| {}, |c| c.key = Some(vec![1; 24]), JoinRefused::NoKey);
}

#[test]
fn a_sealed_cluster_works_and_packets_of_others_are_dropped() {
    let mut world = World::new(10);
    world.setup = |config| config.key = Some(vec![9; 32]);
    world.grow(5);
    world.assert_alive(&[1, 2, 3, 4, 5]);
    let now = world.now;
    let mut plain = World::cluster(10, 2);
    plain.with(address(1), |gossip| gossip.set_tags(now, BTreeMap::new()));
    world.with(address(1), |gossip| gossip.packet(now, address(2), &[1, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(world.gossip(1).counts().packets_refused, 1);
}

#[test]
fn force_leave_and_prune() {
    let mut world = World::cluster(11, 5);
    let now = world.now;
    let force = |world: &mut World, n: u16, whom: &str, prune| {
        let now = world.now;
        world.with(address(n), |gossip| gossip.force_leave(now, whom, prune))
    };
    assert!(world.with(address(1), |gossip| gossip.force_leave(now, "nobody", false)).is_err());
    force(&mut world, 1, "node-5", false).expect("known");
    world.run(5);
    world.assert_alive(&[1, 2, 3, 4, 5]);
    world.kill(5);
    world.run(20);
    assert_eq!(world.status(4, 5), Some(MemberStatus::Dead));
    world.forget_events();
    force(&mut world, 1, "Node-5", false).expect("known");
    world.run(2);
    assert!((1..=4).all(|n| world.status(n, 5) == Some(MemberStatus::Left)));
    assert!(world.events(3).any(|(_, event)| matches!(event, MemberEvent::Left(_))));
    force(&mut world, 2, "node-5", true).expect("known");
    world.run(120);
    assert!((1..=4).all(|n| world.status(n, 5).is_none()), "pruned, and push/pull does not bring it back");
    world.start(5);
    world.join(5, 3);
    world.run(5);
    world.assert_alive(&[1, 2, 3, 4, 5]);
}

#[test]
fn a_partition_heals_by_itself() {
    let mut world = World::cluster(12, 6);
    for a in [1, 2] {
        for b in [3, 4, 5, 6] {
            world.cuts.extend([(address(a), address(b)), (address(b), address(a))]);
        }
    }
    world.run(60);
    assert!((3..=6).all(|n| world.status(1, n) == Some(MemberStatus::Dead)));
    assert!((1..=2).all(|n| world.status(5, n) == Some(MemberStatus::Dead)));
    world.cuts.clear();
    world.run(90);
    world.assert_alive(&[1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_one_way_cut_does_not_kill() {
    let mut world = World::cluster(13, 5);
    world.forget_events();
    world.cuts.insert((address(2), address(4)));
    world.run(120);
    assert_eq!(world.failures(), []);
}

#[test]
fn tags_change_everywhere_small_by_gossip_large_by_push_pull() {
    let mut world = World::cluster(14, 6);
    world.forget_events();
    let now = world.now;
    let tags = |size: usize| BTreeMap::from([("role".to_owned(), "c".repeat(size))]);
    world.with(address(2), |gossip| gossip.set_tags(now, tags(100)));
    world.run(2);
    assert!((1..=6).all(|n| world.member(n, &name(2)).expect("listed").tags == tags(100)));
    assert!(world.events(5).all(|(_, event)| matches!(event, MemberEvent::Updated(_))));
    let now = world.now;
    world.with(address(2), |gossip| gossip.set_tags(now, tags(5000)));
    world.run(180);
    assert!((1..=6).all(|n| world.member(n, &name(2)).expect("listed").tags == tags(5000)));
}

#[test]
fn the_dead_are_reaped_after_their_term_and_stay_forgotten() {
    let mut world = World::new(15);
    world.setup = |config| config.reconnect_timeout = Duration::from_secs(3600);
    world.grow(3);
    world.kill(3);
    world.run(3500);
    assert_eq!(world.status(1, 3), Some(MemberStatus::Dead));
    world.run(900);
    assert_eq!((world.status(1, 3), world.status(2, 3)), (None, None));
}

#[test]
fn one_seed_one_run() {
    let digest = || {
        let mut world = World::new(16);
        world.setup = |config| config.key = Some(vec![3; 16]);
        world.loss = 10;
        world.grow(5);
        world.kill(2);
        world.run(60);
        (world.digest, world.packets, world.bytes)
    };
    assert_eq!(digest(), digest());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Nothing from outside panics: noise, truncated packets, and packets with a byte turned.
    #[test]
    fn noise_is_survived(noise in proptest::collection::vec(proptest::num::u8::ANY, 0..200), at in 0_usize..2000, turn in 1_u8..) {
        thread_local!(static SEEN: Vec<(bool, bytes::Bytes)> = seen());
        let mut world = World::cluster(17, 3);
        let (now, from) = (world.now, address(2));
        SEEN.with(|seen| for (packet, bytes) in seen {
            let mut bent = bytes.to_vec();
            let at = at % bent.len();
            bent[at] ^= turn;
            let spliced = [&bytes[..at], &noise[..]].concat();
            for bytes in [&noise[..], &bytes[..at], &bent, &spliced] {
                world.with(address(1), |gossip| if *packet {
                    gossip.packet(now, from, bytes);
                } else {
                    gossip.request(now, bytes);
                });
            }
        });
        world.run(1);
    }
}

/// Real packets and requests of a cluster in which something happens.
fn seen() -> Vec<(bool, bytes::Bytes)> {
    let mut world = World::new(17);
    world.record = Some(Vec::new());
    world.grow(3);
    world.kill(3);
    world.run(10);
    let now = world.now;
    world.with(address(2), |gossip| gossip.leave(now));
    world.run(2);
    world.record.take().expect("as set")
}

fn announcement(name: &str) -> Announcement {
    Announcement { name: name.to_owned(), payload: vec![7; 200], ..Announcement::default() }
}

/// The names of the events that this member has heard, in order.
fn heard(world: &World, n: u16) -> Vec<String> {
    let told = world.processes[&address(n)].told.iter();
    told.filter_map(|(_, output)| match output {
        Output::Heard(event) => Some(event.announcement.name.clone()),
        _ => None,
    })
    .collect()
}

fn fire(world: &mut World, n: u16, name: &str) {
    let now = world.now;
    world.with(address(n), |gossip| gossip.fire(now, announcement(name)).expect("a sound event"));
}

#[test]
fn an_event_reaches_everybody_once_whatever_is_lost() {
    for seed in 0..10 {
        let mut world = World::cluster(seed, 7);
        world.forget_events();
        world.loss = 30;
        for number in 0..8 {
            fire(&mut world, 1 + number % 7, &format!("e{number}"));
            world.run_ms(100);
        }
        world.run(5);
        let soon: usize = (1..=7).map(|n| heard(&world, n).len()).sum();
        assert!(soon >= 54, "seed {seed}: {soon} of 56 within seconds");
        world.run(120);
        let expected: Vec<String> = (0..8).map(|number| format!("e{number}")).collect();
        for n in 1..=7 {
            let mut events = heard(&world, n);
            events.sort_unstable();
            assert_eq!(events, expected, "seed {seed}: as {n} heard them");
        }
        world.loss = 0;
        world.run(120);
        assert!((1..=7).all(|n| heard(&world, n).len() == 8), "push/pull repeats nothing");
    }
}

#[test]
fn events_cross_a_partition_once_it_heals() {
    let mut world = World::cluster(21, 6);
    world.forget_events();
    for a in [1, 2] {
        for b in [3, 4, 5, 6] {
            world.cuts.extend([(address(a), address(b)), (address(b), address(a))]);
        }
    }
    world.run(60);
    fire(&mut world, 1, "few");
    fire(&mut world, 5, "many");
    world.run(10);
    assert_eq!((heard(&world, 2), heard(&world, 3)), (vec!["few".to_owned()], vec!["many".to_owned()]));
    world.cuts.clear();
    world.run(120);
    world.assert_alive(&[1, 2, 3, 4, 5, 6]);
    for n in 1..=6 {
        let mut events = heard(&world, n);
        events.sort_unstable();
        assert_eq!(events, ["few", "many"], "as {n} heard them");
    }
}

#[test]
fn who_joins_hears_nothing_of_before_and_everything_after() {
    let mut world = World::cluster(22, 3);
    fire(&mut world, 1, "before");
    world.run(3);
    world.start(4);
    world.join(4, 2);
    world.run(60);
    fire(&mut world, 3, "after");
    world.run(3);
    fire(&mut world, 4, "own");
    world.run(3);
    assert_eq!(heard(&world, 4), ["after", "own"]);
    assert_eq!(heard(&world, 1), ["before", "after", "own"]);
    // Alone, it also hears itself.
    world.start(9);
    fire(&mut world, 9, "alone");
    assert_eq!(heard(&world, 9), ["alone"]);
}

#[test]
fn what_is_too_large_too_much_or_makes_no_sense_is_not_fired() {
    let mut world = World::cluster(23, 2);
    let now = world.now;
    let mut check = |announcement: Announcement, expected: NotFired| {
        let fired = world.with(address(1), |gossip| gossip.fire(now, announcement));
        assert_eq!(fired.expect_err("a refusal"), expected);
    };
    check(announcement(""), NotFired::NoName);
    check(Announcement { tag_filter: "v1".to_owned(), ..announcement("a") }, NotFired::TagWithoutService);
    check(Announcement { payload: vec![0; 600], ..announcement("a") }, NotFired::TooLarge { size: 627 });
    let unclosed = Announcement { node_filter: "(".to_owned(), ..announcement("a") };
    let refused = world.with(address(1), |gossip| gossip.fire(now, unclosed)).expect_err("a refusal");
    assert!(refused.to_string().starts_with("Invalid node filter: "), "{refused}");
    let fired = (0..100).filter(|_| world.with(address(1), |gossip| gossip.fire(now, announcement("a"))).is_ok());
    assert_eq!(fired.count(), 64);
    world.run(1);
    fire(&mut world, 1, "a second later");
    world.run(2);
    assert_eq!(heard(&world, 2).len(), 65);
}

#[test]
fn members_find_their_places_by_the_acks_of_their_probes() {
    let mut world = World::cluster(31, 6);
    world.loss = 10;
    world.run(300);
    let place = |n: u16| world.gossip(n).place().expect("coordinates are on");
    for n in 2..=6 {
        // There and back, each from 0.2 to 1 ms.
        let round_trip = place(1).round_trip(&place(n));
        let expected = Duration::from_micros(600)..Duration::from_micros(1800);
        assert!(expected.contains(&round_trip), "from 1 to {n}: {round_trip:?}");
        assert!(place(n).error() < 0.5, "{:?}", place(n));
    }
    let mut world = World::new(32);
    world.setup = |config| config.coordinates = false;
    world.grow(2);
    assert_eq!(world.gossip(1).place(), None);
}
