//! Random commands over so few names that they keep meeting each other, and every query about those names.

use bytes::Bytes;
use lictor_catalog::command::{Command, Deregister, Entry, KvCommand, Register};
use lictor_catalog::model::{Node, NodeName, Service, ServiceId};
use lictor_catalog::{Check, Coordinate, Index, NodeCoordinate, Query, Status};
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeMap;
use uuid::Uuid;

const NODES: &[&str] = &["alpha", "Alpha", "beta", "gamma"];
const SERVICES: &[&str] = &["web", "Web", "db", "api"];
const IDS: &[&str] = &["one", "One", "two"];
const CHECKS: &[&str] = &["serfHealth", "http", "HTTP", "disk"];
const KEYS: &[&str] = &["", "a", "a/b", "a/b/c", "a/d", "b", "ä"];

fn meta() -> impl Strategy<Value = BTreeMap<String, String>> {
    select(vec![vec![], vec![("zone", "x")], vec![("zone", "y"), ("rack", "1")]])
        .prop_map(|pairs| pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

fn tags() -> impl Strategy<Value = Vec<String>> {
    select(vec![vec![], vec!["v1"], vec!["v2", "primary"]])
        .prop_map(|tags| tags.into_iter().map(ToOwned::to_owned).collect())
}

fn node() -> impl Strategy<Value = Node> {
    let id = prop_oneof![3 => Just(None), 2 => (1u128..4).prop_map(|id| Some(Uuid::from_u128(id)))];
    (select(NODES), id, select(vec!["", "10.0.0.1", "10.0.0.2"]), meta()).prop_map(|(name, id, address, meta)| Node {
        name: name.into(),
        id,
        address: address.to_owned(),
        meta,
        ..Node::default()
    })
}

fn service() -> impl Strategy<Value = Service> {
    (select(SERVICES), select(IDS), tags(), 0u16..2).prop_map(|(name, id, tags, port)| Service {
        name: name.into(),
        id: id.into(),
        tags,
        port,
        address: "10.0.0.1".to_owned(),
        ..Service::default()
    })
}

fn check() -> impl Strategy<Value = Check> {
    let status = select(vec![Status::Passing, Status::Warning, Status::Critical]);
    let service = prop_oneof![Just(""), select(IDS)];
    (select(CHECKS), status, service).prop_map(|(id, status, service)| Check {
        id: id.into(),
        name: id.to_owned(),
        status,
        service_id: service.into(),
        ..Check::default()
    })
}

fn kv() -> impl Strategy<Value = KvCommand> {
    let key = || select(KEYS).prop_map(ToOwned::to_owned);
    let value = || select(vec![Bytes::new(), Bytes::from_static(b"1"), Bytes::from_static(b"2")]);
    prop_oneof![
        4 => (key(), value(), 0u64..2).prop_map(|(key, value, flags)| KvCommand::Set { key, value, flags }),
        2 => (key(), value(), 0u64..40)
            .prop_map(|(key, value, index)| KvCommand::Cas { key, value, flags: 0, index: Index(index) }),
        1 => key().prop_map(|key| KvCommand::Delete { key }),
        1 => (key(), 0u64..40).prop_map(|(key, index)| KvCommand::DeleteCas { key, index: Index(index) }),
        1 => key().prop_map(|prefix| KvCommand::DeleteTree { prefix }),
    ]
}

fn coordinate() -> impl Strategy<Value = NodeCoordinate> {
    (select(NODES), 0u8..3).prop_map(|(node, height)| {
        let coordinate = Coordinate::try_from(([0.5; 8], f64::from(height), 1.5, 0.0)).expect("finite");
        NodeCoordinate { node: node.into(), coordinate }
    })
}

fn deregister() -> impl Strategy<Value = Deregister> {
    let node = || select(NODES).prop_map(NodeName::from);
    prop_oneof![
        node().prop_map(Deregister::Node),
        (node(), select(IDS)).prop_map(|(node, id)| Deregister::Service(node, ServiceId::from(id))),
        (node(), select(CHECKS)).prop_map(|(node, id)| Deregister::Check(node, id.into())),
    ]
}

pub(crate) fn command() -> impl Strategy<Value = Command> {
    let register = (node(), any::<bool>(), proptest::option::of(service()), prop::collection::vec(check(), 0..3));
    let register = register.prop_map(|(node, skip_node_update, service, checks)| {
        Command::Register(Box::new(Register { node, skip_node_update, service, checks }))
    });
    prop_oneof![
        6 => register,
        2 => deregister().prop_map(Command::Deregister),
        2 => coordinate().prop_map(Command::Coordinate),
        4 => kv().prop_map(Command::Kv),
        1 => (0u32..3).prop_map(Command::FeatureLevel),
    ]
}

/// Commands with their entries' times: some stand still, some fall back, some jump beyond the age of tombstones.
pub(crate) fn log(len: usize) -> impl Strategy<Value = Vec<Entry>> {
    let time = prop_oneof![4 => 0u64..1000, 1 => Just(2_000_000u64)];
    prop::collection::vec((time, command()), 1..len)
        .prop_map(|log| log.into_iter().map(|(time_ms, command)| Entry { time_ms, id: 0, command }).collect())
}

/// As [`log`], with no jump in time: no tombstone is old enough to be reaped.
pub(crate) fn short_log(len: usize) -> impl Strategy<Value = Vec<Entry>> {
    log(len).prop_map(|mut log| {
        log.iter_mut().for_each(|entry| entry.time_ms %= 1000);
        log
    })
}

pub(crate) fn queries() -> Vec<Query> {
    let zone = vec![("zone".to_owned(), "x".to_owned())];
    let names = ["alpha", "beta", "gamma", "nobody"].map(ToOwned::to_owned);
    let services = ["WEB", "db", "api", "nothing"].map(ToOwned::to_owned);
    let mut queries = vec![
        Query::Coordinates,
        Query::HealthState { state: None, meta: vec![] },
        Query::HealthState { state: Some(Status::Critical), meta: zone.clone() },
    ];
    for meta in [vec![], zone] {
        queries.push(Query::Nodes { meta: meta.clone() });
        queries.push(Query::Services { meta: meta.clone() });
        for name in services.clone() {
            let v1 = vec!["v1".to_owned()];
            let service = name.clone();
            queries.extend([
                Query::ServiceNodes { name: name.clone(), tags: vec![], meta: meta.clone() },
                Query::HealthService { name: name.clone(), tags: vec![], meta: meta.clone(), passing: false },
                Query::HealthService { name, tags: v1, meta: meta.clone(), passing: true },
                Query::HealthChecks { service, meta: meta.clone() },
            ]);
        }
    }
    for name in names {
        let node = name.clone();
        queries.extend([Query::Node { name: name.clone() }, Query::HealthNode { name }, Query::Coordinate { node }]);
    }
    for key in KEYS.iter().map(|key| (*key).to_owned()) {
        queries.extend([
            Query::KvGet { key: key.clone() },
            Query::KvList { prefix: key.clone() },
            Query::KvKeys { prefix: key, separator: "/".to_owned() },
        ]);
    }
    queries
}
