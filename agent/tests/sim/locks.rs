//! Locks in scenes: kept through elections for as long as was promised, and passed on when their holder is gone.

use crate::cluster::settled;
use crate::replay;
use lictor_agent::sim::{Deed, Kind, MS, Mode, Plan, SECOND, Setup, World};
use lictor_catalog::{Command, SessionCommand};
use std::collections::BTreeSet;
use uuid::Uuid;

const KEY: &str = "lock-0";

fn deed(world: &mut World, number: usize) -> Deed {
    world.run_until(20 * SECOND, |world| world.history[number].ended.is_some());
    world.history[number].ended.clone().expect("an answer").1
}

fn opened(world: &mut World, node: usize, body: &str) -> Uuid {
    let number = world.open(node, body);
    match deed(world, number) {
        Deed::Given(id) => id.parse().expect("an id"),
        other => panic!("{other:?}"),
    }
}

fn locks(world: &mut World, node: usize, session: Uuid) -> bool {
    let number = world.lock(node, KEY, &format!("v{}", world.history.len()), session);
    deed(world, number) == Deed::Acked(true)
}

/// When a session was gone from the leader's view, seen each ms.
fn gone(world: &mut World, session: Uuid, most: u64) -> Option<u64> {
    let lives = |world: &World| {
        let leader = world.leader().and_then(|leader| world.process(leader));
        leader.is_none_or(|leader| leader.view.store.session(session).is_some())
    };
    let end = world.now + most;
    while lives(world) {
        if world.now >= end {
            return None;
        }
        world.run(MS);
    }
    Some(world.now)
}

#[test]
fn an_exact_ttl_is_kept_to_a_tenth() {
    for (exact, least, most) in [(true, 10 * SECOND, 11 * SECOND), (false, 20 * SECOND, 22 * SECOND)] {
        let setup = Setup { session_ttl_exact: exact, drift: 0, ..Setup::new(7, 3, 1) };
        let mut world = settled(setup);
        let body = r#"{"TTL":"10s","NodeChecks":[]}"#;
        let (asked, kept) = (world.now, opened(&mut world, 3, body));
        let ended = gone(&mut world, kept, 60 * SECOND).expect("it ends");
        assert!((least..most).contains(&(ended - asked)), "exact: {exact}: after {} ms", (ended - asked) / MS);
        // A renewal counts from when it was made.
        let renewed = opened(&mut world, 3, body);
        world.run(7 * SECOND);
        let asked = world.now;
        let number = world.renew(3, renewed);
        assert_eq!(deed(&mut world, number), Deed::Acked(true));
        let ended = gone(&mut world, renewed, 60 * SECOND).expect("it ends");
        assert!((least..most).contains(&(ended - asked)), "exact: {exact}: renewed, after {} ms", (ended - asked) / MS);
        let number = world.renew(3, renewed);
        assert_eq!(deed(&mut world, number), Deed::Acked(false), "what has ended is not renewed");
    }
}

/// Elections only lengthen what was promised. What does not count: the time without a leader, and what had passed since the
/// log's last entry, which is all that the next leader knows.
#[test]
fn no_election_shortens_a_session() {
    replay::each(4, "no_election", |seed| {
        let mut world = settled(Setup { session_ttl_exact: true, drift: 0, ..Setup::new(seed, 3, 1) });
        let begun = world.now;
        let session = opened(&mut world, 3, r#"{"TTL":"10s","NodeChecks":[]}"#);
        assert!(locks(&mut world, 3, session));
        let mut lost = 0;
        for _ in 0..2 {
            let leader = world.leader().expect("a leader");
            world.crash(leader, true);
            let known = world.logs.commands.last().map_or(0, |agreed| agreed.at);
            assert!(world.run_until(30 * SECOND, |world| world.leader().is_some_and(|new| new != leader)));
            lost += world.now - known;
            world.start(leader);
            world.run(2 * SECOND);
        }
        let ended = gone(&mut world, session, 60 * SECOND).expect("it ends");
        let (lived, least) = (ended - begun, 10 * SECOND);
        assert!((least..least + lost + SECOND).contains(&lived), "{} ms, of which {} are lost", lived / MS, lost / MS);
    });
}

#[test]
fn a_lock_passes_to_another_when_its_holder_dies() {
    replay::each(4, "a_lock_passes", |seed| {
        let mut world = settled(Setup::new(seed, 3, 2));
        let node = |world: &World, at: usize| {
            let leader = world.leader().and_then(|leader| world.process(leader));
            leader.is_some_and(|leader| leader.view.store.check(&format!("client-{at}"), "serfHealth").is_some())
        };
        assert!(world.run_until(20 * SECOND, |world| node(world, 3) && node(world, 4)));
        let holder = opened(&mut world, 3, r#"{"LockDelay":"3s"}"#);
        let rival = opened(&mut world, 4, r#"{"LockDelay":"3s"}"#);
        assert!(locks(&mut world, 3, holder) && !locks(&mut world, 4, rival));
        let number = world.sequencer(4, KEY);
        let Deed::Given(old) = deed(&mut world, number) else { panic!("a sequencer") };
        let leader = world.leader().expect("a leader");
        world.crash(leader, true);
        assert!(world.run_until(30 * SECOND, |world| world.leader().is_some_and(|new| new != leader)));
        assert!(!locks(&mut world, 4, rival), "an election gives no lock away");
        world.start(leader);
        world.crash(3, true);
        let freed = gone(&mut world, holder, 60 * SECOND).expect("its node is found dead");
        let mut tries = 0;
        while !locks(&mut world, 4, rival) {
            world.run(50 * MS);
            tries += 1;
            assert!(tries < 200, "nobody holds it any more");
        }
        assert!(world.now - freed >= 29 * SECOND / 10, "lock-delay is kept: {} ms", (world.now - freed) / MS);
        let number = world.put_fenced(4, "guarded", "by-the-dead", &old);
        assert_eq!(deed(&mut world, number), Deed::Acked(false), "{:?}", world.history[number].reply);
        let number = world.sequencer(4, KEY);
        let Deed::Given(new) = deed(&mut world, number) else { panic!("a sequencer") };
        let number = world.put_fenced(4, "guarded", "by-the-living", &new);
        assert_eq!(deed(&mut world, number), Deed::Acked(true));
        let number = world.get(4, "guarded", Mode::Consistent);
        let Deed::Found { value, .. } = deed(&mut world, number) else { panic!("a value") };
        assert_eq!(value.as_deref(), Some("by-the-living"));
    });
}

/// What the invariants of locks stand on: in a few storms everything happens to them that can.
#[test]
fn storms_try_locks() {
    let mut seen = BTreeSet::new();
    for seed in replay::seeds(4) {
        let world = Plan::of(seed).run().world;
        for op in &world.history {
            let acked = match &op.ended {
                Some((_, Deed::Acked(acked))) => *acked,
                Some((_, Deed::Given(_))) => true,
                _ => continue,
            };
            seen.insert(match &op.kind {
                Kind::Lock { .. } => ("lock", acked),
                Kind::Unlock { .. } => ("unlock", acked),
                Kind::Renew { .. } => ("renew", acked),
                Kind::Fenced { .. } => ("fenced", acked),
                _ => continue,
            });
        }
        let agreed = world.logs.commands.iter();
        let expired = |command: &Command| matches!(command, Command::Session(SessionCommand::Expire { .. }));
        seen.extend(agreed.filter(|agreed| expired(&agreed.command)).map(|_| ("expired", true)));
    }
    let all = ["fenced", "lock", "renew", "unlock"].map(|what| [(what, false), (what, true)]);
    let mut all: BTreeSet<_> = all.into_iter().flatten().collect();
    all.insert(("expired", true));
    assert_eq!(seen, all);
}
