//! Random commands over so few names that they keep meeting each other, and every query about those names.

use bytes::Bytes;
use lictor_catalog::command::{Command, Deregister, Entry, KvCommand, PreparedCommand, Register, SessionCommand};
use lictor_catalog::model::{
    Behavior, Connect, Node, NodeName, Sequencer, Service, ServiceCheck, ServiceId, ServiceQuery, Session, Signing,
    Template, Ttl,
};
use lictor_catalog::{Authority, Check, Coordinate, Index, NodeCoordinate, PreparedQuery, Query, Status};
use lictor_catalog::{Txn, TxnLook, TxnOp, TxnPut};
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

const NODES: &[&str] = &["alpha", "Alpha", "beta", "gamma"];
const SERVICES: &[&str] = &["web", "Web", "db", "api"];
const IDS: &[&str] = &["one", "One", "two"];
const CHECKS: &[&str] = &["serfHealth", "http", "HTTP", "disk"];
const KEYS: &[&str] = &["", "a", "a0000000002", "a/b", "a/b/c", "a/d", "b", "ä"];

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
    (select(SERVICES), select(IDS), tags(), 0u16..2, any::<bool>()).prop_map(|(name, id, tags, port, native)| Service {
        name: name.into(),
        id: id.into(),
        tags,
        port,
        connect: Connect { native },
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
        4 => (key(), value(), 0u64..2, session_id())
            .prop_map(|(key, value, flags, session)| KvCommand::Acquire { key, value, flags, session }),
        2 => (key(), value(), 0u64..2, session_id())
            .prop_map(|(key, value, flags, session)| KvCommand::Release { key, value, flags, session }),
        2 => (key(), value(), prop::option::of(session_id()))
            .prop_map(|(prefix, value, session)| KvCommand::Sequence { prefix, value, flags: 7, session }),
    ]
}

fn coordinate() -> impl Strategy<Value = NodeCoordinate> {
    (select(NODES), 0u8..3).prop_map(|(node, height)| {
        let coordinate = Coordinate::try_from(([0.5; 8], f64::from(height), 1.5, 0.0)).expect("finite");
        NodeCoordinate { node: node.into(), coordinate }
    })
}

fn session_id() -> impl Strategy<Value = Uuid> {
    (1u128..4).prop_map(Uuid::from_u128)
}

fn session() -> impl Strategy<Value = Session> {
    let checks = || prop_oneof![3 => Just(vec![]), 1 => select(CHECKS).prop_map(|check| vec![check])];
    let behavior = select(vec![Behavior::Release, Behavior::Delete]);
    let ttl = select(vec!["", "1ms", "100ms"]);
    let lock_delay = select(vec![0, 1, 300, 1_000_000]);
    (session_id(), select(NODES), checks(), checks(), lock_delay, behavior, ttl).prop_map(
        |(id, node, node_checks, service_checks, lock_delay, behavior, ttl)| Session {
            id,
            node: node.into(),
            node_checks: node_checks.into_iter().map(Into::into).collect(),
            service_checks: service_checks
                .into_iter()
                .map(|id| ServiceCheck { id: id.into(), ..ServiceCheck::default() })
                .collect(),
            lock_delay: Duration::from_millis(lock_delay),
            behavior,
            ttl: Ttl {
                span: Duration::from_millis(ttl.trim_end_matches("ms").parse().unwrap_or_default()),
                text: ttl.to_owned(),
            },
            ..Session::default()
        },
    )
}

fn session_command() -> impl Strategy<Value = SessionCommand> {
    prop_oneof![
        5 => session().prop_map(|session| SessionCommand::Create(Box::new(session))),
        2 => session_id().prop_map(SessionCommand::Renew),
        1 => session_id().prop_map(SessionCommand::Destroy),
        2 => (session_id(), 0u64..1000).prop_map(|(id, renewed_ms)| SessionCommand::Expire { id, renewed_ms }),
    ]
}

/// Names that meet each other's prefixes and ids.
pub(crate) const PREPARED: &[&str] = &["", "we", "Web", "web-x", "00000000-0000-0000-0000-000000000001", "DB"];

fn prepared() -> impl Strategy<Value = PreparedQuery> {
    let service = select(vec!["web", "DB", "${name.full}", "nothing"]);
    let tags = select(vec![vec![], vec!["v1"], vec!["!v1"], vec!["primary", "!v1"]]);
    let ignored = select(vec![vec![], vec!["http"]]);
    let wanted = (service, tags, ignored, any::<bool>(), meta());
    let session = prop_oneof![2 => Just(None), 1 => session_id().prop_map(Some)];
    (session_id(), select(PREPARED), session, any::<bool>(), wanted).prop_map(
        |(id, name, session, template, wanted)| {
            let (service, tags, ignored, only_passing, node_meta) = wanted;
            let strings = |list: Vec<&str>| list.into_iter().map(ToOwned::to_owned).collect();
            PreparedQuery {
                id,
                name: name.to_owned(),
                session,
                template: Template { prefix_match: template, ..Template::default() },
                service: ServiceQuery {
                    service: service.to_owned(),
                    tags: strings(tags),
                    ignore_checks: strings(ignored),
                    only_passing,
                    node_meta,
                    ..ServiceQuery::default()
                },
                ..PreparedQuery::default()
            }
        },
    )
}

fn prepared_command() -> impl Strategy<Value = PreparedCommand> {
    prop_oneof![
        4 => prepared().prop_map(|query| PreparedCommand::Create(Box::new(query))),
        3 => prepared().prop_map(|query| PreparedCommand::Update(Box::new(query))),
        1 => session_id().prop_map(PreparedCommand::Delete),
    ]
}

/// Most are stale; with so few keys and sessions some are not.
fn sequencer() -> impl Strategy<Value = Sequencer> {
    (select(KEYS), 1u64..3, session_id()).prop_map(|(key, lock_index, session)| Sequencer {
        key: key.to_owned(),
        lock_index,
        session,
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

fn look() -> impl Strategy<Value = TxnLook> {
    let key = || select(KEYS).prop_map(ToOwned::to_owned);
    let holder = prop_oneof![Just(String::new()), session_id().prop_map(|id| id.to_string())];
    let node = || select(NODES).prop_map(NodeName::from);
    prop_oneof![
        1 => key().prop_map(TxnLook::Key),
        2 => key().prop_map(TxnLook::KeyOrEmpty),
        2 => key().prop_map(TxnLook::Tree),
        1 => (key(), 0u64..50).prop_map(|(key, index)| TxnLook::KeyIndex(key, Index(index))),
        1 => (key(), holder).prop_map(|(key, holder)| TxnLook::KeyHolder(key, holder)),
        1 => key().prop_map(TxnLook::NoKey),
        1 => (prop::option::of(session_id()), node()).prop_map(|(id, node)| TxnLook::Node(id, node)),
        1 => (node(), select(IDS)).prop_map(|(node, id)| TxnLook::Service(node, id.into())),
        1 => (node(), select(CHECKS)).prop_map(|(node, id)| TxnLook::Check(node, id.into())),
    ]
}

fn txn() -> impl Strategy<Value = Txn> {
    let put = prop_oneof![
        2 => node().prop_map(|node| TxnPut::Node(Box::new(node))),
        1 => (select(NODES), service())
            .prop_map(|(node, row)| TxnPut::Service(Box::new(Service { node: node.into(), ..row }))),
        1 => (select(NODES), check()).prop_map(|(node, row)| TxnPut::Check(Box::new(Check { node: node.into(), ..row }))),
    ];
    let index = || prop_oneof![3 => Just(None), 1 => Just(Some(Index(0))), 1 => (10u64..50).prop_map(|index| Some(Index(index)))];
    let op = prop_oneof![
        2 => look().prop_map(TxnOp::Look),
        4 => kv().prop_map(TxnOp::Kv),
        3 => (put, index()).prop_map(|(put, index)| TxnOp::Put(put, index)),
        1 => (deregister(), index()).prop_map(|(what, index)| TxnOp::Remove(what, index)),
    ];
    let fence = prop_oneof![9 => Just(None), 1 => sequencer().prop_map(Some)];
    (fence, prop::collection::vec(op, 0..4)).prop_map(|(fence, ops)| Txn { fence, ops })
}

fn authority(id: u128) -> Authority {
    Authority { trust_domain: Uuid::from_u128(id), ..Authority::default() }
}

fn signing(hours: u64) -> Signing {
    Signing { leaf_life: Duration::from_secs(hours * 3600), ..Signing::default() }
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
        6 => kv().prop_map(Command::Kv),
        1 => (sequencer(), kv()).prop_map(|(sequencer, kv)| Command::Fenced(Box::new(sequencer), kv)),
        4 => session_command().prop_map(Command::Session),
        4 => prepared_command().prop_map(Command::Prepared),
        6 => txn().prop_map(Command::Txn),
        1 => (1u128..4).prop_map(|id| Command::Authority(Box::new(authority(id)))),
        1 => (0u32..3).prop_map(Command::FeatureLevel),
        1 => (1u64..3).prop_map(|hours| Command::Signing(Box::new(signing(hours)))),
    ]
}

/// Commands with their entries' times: some stand still, some fall back, some jump beyond the age of tombstones.
pub(crate) fn log(len: usize) -> impl Strategy<Value = Vec<Entry>> {
    let time = prop_oneof![4 => 0u64..1000, 1 => Just(2_000_000u64)];
    prop::collection::vec((time, command()), 1..len)
        .prop_map(|log| log.into_iter().map(|(time_ms, command)| Entry { time_ms, id: 0, command }).collect())
        .prop_map(aimed)
}

/// Half of all expiries name the last renewal; a number out of the air would never meet it.
fn aimed(mut log: Vec<Entry>) -> Vec<Entry> {
    let (mut now, mut renewals) = (0, BTreeMap::new());
    for entry in &mut log {
        now = entry.time_ms.max(now);
        let Command::Session(command) = &mut entry.command else { continue };
        match command {
            SessionCommand::Create(session) => drop(renewals.entry(session.id).or_insert(now)),
            SessionCommand::Renew(id) => drop(renewals.insert(*id, now)),
            SessionCommand::Destroy(id) => drop(renewals.remove(id)),
            SessionCommand::Expire { id, renewed_ms } if *renewed_ms % 2 == 0 => {
                *renewed_ms = renewals.remove(id).unwrap_or_default();
            }
            SessionCommand::Expire { .. } => {}
        }
    }
    log
}

/// As [`log`], with no jump in time: no tombstone is old enough to be reaped.
pub(crate) fn short_log(len: usize) -> impl Strategy<Value = Vec<Entry>> {
    log(len).prop_map(|mut log| {
        log.iter_mut().for_each(|entry| entry.time_ms %= 1000);
        aimed(log)
    })
}

pub(crate) fn queries() -> Vec<Query> {
    let zone = vec![("zone".to_owned(), "x".to_owned())];
    let names = ["alpha", "beta", "gamma", "nobody"].map(ToOwned::to_owned);
    let services = ["WEB", "db", "api", "nothing"].map(ToOwned::to_owned);
    let mut queries = vec![
        Query::Coordinates,
        Query::Dump { node: None },
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
                Query::ServiceNodes { name: name.clone(), native: false, tags: vec![], meta: meta.clone() },
                Query::HealthService {
                    name: name.clone(),
                    native: false,
                    tags: vec![],
                    meta: meta.clone(),
                    passing: false,
                },
                Query::HealthService { name, native: true, tags: v1, meta: meta.clone(), passing: true },
                Query::HealthChecks { service, meta: meta.clone() },
            ]);
        }
    }
    for name in names {
        let node = NodeName::from(name.as_str());
        queries.push(Query::Txn {
            looks: vec![
                TxnLook::Node(None, node.clone()),
                TxnLook::Service(node.clone(), "one".into()),
                TxnLook::Check(node, "http".into()),
            ],
        });
        queries.extend([
            Query::Node { name: name.clone() },
            Query::Dump { node: Some(name.clone()) },
            Query::Coordinate { node: name.clone() },
            Query::SessionsOfNode { node: name.clone() },
            Query::HealthNode { name },
        ]);
    }
    queries.extend([Query::Sessions, Query::PreparedQueries, Query::Authority]);
    queries.extend((1..4).map(|id| Query::PreparedQuery { id: Uuid::from_u128(id) }));
    queries.extend(PREPARED.iter().map(|name| Query::Explain { name: (*name).to_owned() }));
    queries.extend((1..4).map(|id| Query::Session { id: Uuid::from_u128(id) }));
    queries.push(Query::Txn { looks: vec![TxnLook::Node(Some(Uuid::from_u128(1)), "".into())] });
    for key in KEYS.iter().map(|key| (*key).to_owned()) {
        queries.extend([
            Query::KvGet { key: key.clone() },
            Query::Txn { looks: vec![TxnLook::Key(key.clone()), TxnLook::NoKey(key.clone())] },
            Query::Txn { looks: vec![TxnLook::KeyOrEmpty(key.clone()), TxnLook::Tree(key.clone())] },
            Query::Txn { looks: vec![TxnLook::KeyHolder(key.clone(), String::new())] },
            Query::KvList { prefix: key.clone() },
            Query::KvKeys { prefix: key, separator: "/".to_owned() },
        ]);
    }
    queries
}
