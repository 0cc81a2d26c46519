//! Gossip into catalog, as Consul does it: a living member has its node and a passing `serfHealth`, a failed one
//! a critical `serfHealth`, one that left has no node. Nodes that were registered by hand (no `serfHealth`) are never
//! touched.
//!
//! Unlike Consul, a node that gossip does not know is not removed at once: after all servers were restarted together,
//! gossip knows nobody yet. It turns critical after a grace, and goes when a failed member would be reaped.

use super::tags::ServerTags;
use crate::gossip::{Member, MemberStatus};
use crate::time::Instant;
use lictor_catalog::model::{CheckId, NodeName, SERF_HEALTH, Weights, folded};
use lictor_catalog::{
    Check, Command, Deregister, Node, Query, Register, Rows, Service, Status, Store, Txn, TxnOp, TxnPut,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

const ALIVE: &str = "Agent alive and reachable";
const GONE: &str = "Agent not live or unreachable";
/// How long a node may be unknown to gossip before it turns critical.
const UNKNOWN_GRACE: Duration = Duration::from_secs(60);

/// What this leader noticed, and when. Volatile: a new leader begins anew.
#[derive(Debug, Default)]
pub struct Reconciler {
    unknown_since: BTreeMap<NodeName, Instant>,
    due: Option<Instant>,
}

impl Reconciler {
    /// The writes that make the catalog match these members; none when it does already.
    pub fn wish(
        &mut self,
        now: Instant,
        members: &[Member],
        store: &Store,
        me: Uuid,
        reap_after: Duration,
    ) -> Vec<Command> {
        let living: BTreeSet<Uuid> = members.iter().filter(|member| lives(member)).map(|member| member.id).collect();
        let wishes = members.iter().flat_map(|member| member_wish(member, store, me, &living));
        let mut commands: Vec<Command> = wishes.collect();
        // Names are compared as the catalog does. Whoever took a name over and is gone again says nothing of its former owner.
        let known: BTreeSet<_> = members.iter().map(|member| (folded(&member.name), member.id)).collect();
        let names: BTreeSet<_> = known.iter().map(|(name, _)| name).collect();
        let is_known = |node: &Node| match node.id {
            Some(id) => known.contains(&(folded(&node.name), id)),
            None => names.contains(&folded(&node.name)),
        };
        let (_, rows) = Query::Nodes { meta: Vec::new() }.run(store, &lictor_catalog::AllowAll);
        let Rows::Nodes(nodes) = rows else { return commands };
        let strangers = nodes.iter().filter(|node| !is_known(node));
        let mut unknown_since = BTreeMap::new();
        self.due = None;
        for node in strangers {
            let Some(health) = serf_health(store, &node.name) else { continue };
            let since = self.unknown_since.get(&node.name).copied().unwrap_or(now);
            unknown_since.insert(node.name.clone(), since);
            let next = if health == Status::Critical { reap_after } else { UNKNOWN_GRACE.min(reap_after) };
            self.due = self.due.into_iter().chain([since + next]).min();
            if now.since(since) >= reap_after {
                commands.push(Command::Deregister(Deregister::Node(node.name.clone())));
            } else if now.since(since) >= UNKNOWN_GRACE && health != Status::Critical {
                commands.push(health_write(&node.name, Status::Critical));
            }
        }
        self.unknown_since = unknown_since;
        commands
    }

    /// When a stranger has to be looked at again.
    #[must_use]
    pub const fn due(&self) -> Option<Instant> {
        self.due
    }
}

const fn lives(member: &Member) -> bool {
    matches!(member.status, MemberStatus::Alive | MemberStatus::Suspect)
}

fn serf_health(store: &Store, node: &NodeName) -> Option<Status> {
    store.check(node, SERF_HEALTH).map(|check| check.status)
}

fn member_wish(member: &Member, store: &Store, me: Uuid, living: &BTreeSet<Uuid>) -> Vec<Command> {
    let stored = store.node(&member.name);
    // The row may belong to somebody who had the name before: his death says nothing about its present owner.
    let mine = stored.is_some_and(|node| node.id == Some(member.id));
    match member.status {
        // Two that live have one name: the first keeps it, or each pass would throw out the other's services.
        MemberStatus::Alive | MemberStatus::Suspect
            if stored.is_some_and(|node| node.id.is_some_and(|id| id != member.id && living.contains(&id))) =>
        {
            Vec::new()
        }
        MemberStatus::Alive | MemberStatus::Suspect => alive_wish(member, store, stored.map(|node| &**node)),
        MemberStatus::Dead if mine && serf_health(store, &member.name) != Some(Status::Critical) => {
            vec![health_write(&member.name, Status::Critical)]
        }
        MemberStatus::Left if mine && member.id != me => {
            vec![Command::Deregister(Deregister::Node(member.name.clone()))]
        }
        MemberStatus::Dead | MemberStatus::Left => Vec::new(),
    }
}

/// In a transaction, which a node that was deregistered meanwhile does not come back by.
fn health_write(node: &NodeName, status: Status) -> Command {
    let put = TxnPut::Check(Box::new(health(node, status)));
    Command::Txn(Txn { fence: None, ops: vec![TxnOp::Put(put, None)] })
}

fn health(node: &NodeName, status: Status) -> Check {
    Check {
        node: node.clone(),
        id: CheckId::from(SERF_HEALTH),
        name: "Serf Health Status".to_owned(),
        status,
        output: if status == Status::Passing { ALIVE } else { GONE }.to_owned(),
        ..Check::default()
    }
}

fn alive_wish(member: &Member, store: &Store, stored: Option<&Node>) -> Vec<Command> {
    // Tags say what it is: until they are known there is nothing to write.
    if member.tags.is_empty() {
        return Vec::new();
    }
    let mut commands = Vec::new();
    let address = member.address.ip().to_string();
    if stored.is_some_and(|node| node.id.is_some_and(|id| id != member.id)) {
        // The name has a new owner: nothing of the old one's is to be inherited.
        commands.push(Command::Deregister(Deregister::Node(member.name.clone())));
    }
    let same_node = stored.filter(|node| node.id == Some(member.id));
    let node_fits = same_node.is_some_and(|node| node.address == address);
    let healthy = same_node.is_some() && serf_health(store, &member.name) == Some(Status::Passing);
    let service = consul_service(member);
    let service_fits = service.as_ref().is_none_or(|wished| {
        same_node.is_some()
            && store.service(&member.name, &wished.id).is_some_and(|found| {
                (found.port, &found.meta, &found.address) == (wished.port, &wished.meta, &wished.address)
            })
    });
    if node_fits && healthy && service_fits {
        return commands;
    }
    commands.push(Command::Register(Box::new(Register {
        node: Node {
            id: Some(member.id),
            name: member.name.clone(),
            address,
            ..same_node.cloned().unwrap_or_default()
        },
        skip_node_update: node_fits,
        service,
        checks: vec![health(&member.name, Status::Passing)],
    })));
    commands
}

/// Servers are an instance of `consul`, by which DNS names them.
fn consul_service(member: &Member) -> Option<Service> {
    let tags = ServerTags::of(member)?;
    let meta = [
        ("version", super::tags::version(member)),
        ("raft_version", "3"),
        ("serf_protocol_current", "2"),
        ("serf_protocol_min", "2"),
        ("serf_protocol_max", "3"),
        ("read_replica", "false"),
        ("non_voter", "false"),
    ];
    Some(Service {
        node: member.name.clone(),
        id: "consul".into(),
        name: "consul".into(),
        port: tags.rpc.port(),
        weights: Weights::default(),
        meta: meta.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        ..Service::default()
    })
}
