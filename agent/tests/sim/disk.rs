//! All servers lose power at once, again and again, with torn disks: what was acknowledged is there.

use crate::cluster::{first_acked, settled, value};
use crate::replay;
use lictor_agent::http::call::Method;
use lictor_agent::sim::{Deed, Kind, MS, SECOND, Setup, World};
use std::collections::BTreeMap;

#[test]
fn acknowledged_writes_survive_a_crash_of_all_servers() {
    replay::each(6, "disk", |seed| {
        let mut world = settled(Setup::new(seed, 3, 0));
        for round in 0..4 {
            let first = world.history.len();
            for n in 0..20 {
                world.put(n % 3, &format!("k-{round}-{n}"), "kept");
                let pause = world.dice.below(8 * MS);
                world.run(pause);
            }
            for at in 0..3 {
                world.crash(at, true);
            }
            for at in 0..3 {
                world.start(at);
                assert!(world.process(at).is_some(), "seed {seed}: {:?}", world.seen.last());
            }
            assert!(first_acked(&mut world, 0, 30 * SECOND).is_some(), "writes go on");
            let acked: BTreeMap<String, String> = world.history[first..]
                .iter()
                .filter_map(|op| match (&op.kind, &op.ended) {
                    (Kind::Put { key, value }, Some((_, Deed::Acked(true)))) if key != "probe" => {
                        Some((key.clone(), value.clone()))
                    }
                    _ => None,
                })
                .collect();
            assert!(!acked.is_empty());
            for (key, kept) in acked {
                assert_eq!(value(&mut world, 1, &key), Some(kept), "{key}");
            }
        }
    });
}

/// It hears the leader and learns nothing: what it hears does not make its answers younger.
#[test]
fn a_server_with_a_full_disk_says_how_old_its_answers_are() {
    replay::each(2, "disk::a_server_with", |seed| {
        let mut world = settled(Setup::new(seed, 3, 0));
        let leader = world.leader().expect("it leads");
        let full = (0..3).find(|at| *at != leader).expect("three servers");
        world.nodes[full].disk.fill(true);
        for n in 0..40 {
            world.put(leader, "key", &format!("v{n}"));
            world.run(SECOND / 4);
        }
        let age = |world: &mut World| {
            let reply = world.answer(full, Method::Get, "/v1/kv/key?stale", "", SECOND).expect("an answer");
            let header = reply.headers.iter().find(|(name, _)| name == "x-consul-lastcontact");
            header.and_then(|(_, value)| value.parse::<u64>().ok()).expect("an age in ms")
        };
        let old = age(&mut world);
        assert!((8_000..11_000).contains(&old), "{old} ms");
        world.nodes[full].disk.fill(false);
        world.run(3 * SECOND);
        let young = age(&mut world);
        assert!(young < 500, "{young} ms");
    });
}
