//! After healing the catalog is what the agents that live own, no more and no less, with `serfHealth` passing (DESIGN §6; T16).

use crate::sim::{Node, Storm};
use lictor_catalog::model::SERF_HEALTH;
use lictor_catalog::{Status, Store};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(storm: &Storm) -> Result<(), String> {
    let world = &storm.world;
    let Some(leader) = world.leader().and_then(|leader| world.process(leader)) else {
        return Err("nobody leads after the calm".to_owned());
    };
    let store = &leader.view.store;
    let wanted: BTreeSet<&str> = storm.wanted().map(|(_, node)| node.name.as_str()).collect();
    // Whom no server remembers, all having been restarted, stays for the reaper; but nobody is sent there.
    let dead = |name: &str| store.check(name, SERF_HEALTH).is_some_and(|check| check.status == Status::Critical);
    if let Some(stranger) = store.nodes().find(|node| !wanted.contains(&*node.name) && !dead(&node.name)) {
        return Err(format!("{} is in the catalog and does not live", stranger.name));
    }
    storm.wanted().try_for_each(|(_, node)| owned(store, node))
}

fn owned(store: &Store, node: &Node) -> Result<(), String> {
    let name = &node.name;
    let Some(process) = &node.process else { return Err(format!("{name} does not run")) };
    match store.node(name) {
        None => return Err(format!("{name} is not in the catalog")),
        Some(held) if held.id != Some(node.id) || held.address != node.ip.to_string() => {
            return Err(format!("{name} is in the catalog as {held:?}"));
        }
        Some(_) => {}
    }
    let health = store.check(name, SERF_HEALTH).map(|check| check.status);
    if health != Some(Status::Passing) {
        return Err(format!("{name} lives, its serfHealth is {health:?}"));
    }
    let held: BTreeMap<&str, u16> = store
        .services_of(name)
        .filter(|service| !(node.server && &*service.id == "consul"))
        .map(|service| (&*service.id, service.port))
        .collect();
    let ours: BTreeMap<&str, u16> = process.local.services.iter().map(|(id, service)| (&**id, service.port)).collect();
    if held != ours {
        return Err(format!("{name} owns {ours:?}, the catalog has {held:?}"));
    }
    let held: BTreeMap<&str, Status> = store
        .checks_of(name)
        .filter(|check| &*check.id != SERF_HEALTH)
        .map(|check| (&*check.id, check.status))
        .collect();
    let ours: BTreeMap<&str, Status> = process.local.checks.iter().map(|(id, check)| (&**id, check.status)).collect();
    if held == ours { Ok(()) } else { Err(format!("{name} has the checks {ours:?}, the catalog has {held:?}")) }
}
