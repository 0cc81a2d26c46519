//! What is in the log, and what a snapshot is: the bytes that would make servers differ, or stop all of them at once.

use super::{Seeds, Verdict, survives};
use bytes::Bytes;
use lictor_catalog::model::{DIMENSIONS, ServiceQuery, Template, Ttl, Weights};
use lictor_catalog::query::execute;
use lictor_catalog::{
    AllowAll, Authority, Check, Command, Coordinate, Deregister, Entry, Execution, Index, KvCommand, Node,
    NodeCoordinate, PreparedCommand, PreparedQuery, Register, Restore, RestoreCommand, Sequencer, Service, Session,
    SessionCommand, Status, Store, Txn, TxnLook, TxnOp,
};
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// An entry: applying it is total, the same everywhere, and leaves a store that a snapshot carries whole.
pub(super) fn entry(bytes: &[u8]) -> Verdict {
    let entry = Entry::decode(bytes).map_err(|unreadable| unreadable.to_string())?;
    survives(&entry, Entry::encode, Entry::decode);
    let (mut store, mut twin) = (small(), small());
    for index in [10, 11] {
        let applied = store.apply(Index(index), &entry);
        assert_eq!(applied.outcome, twin.apply(Index(index), &entry).outcome, "every server says the same");
    }
    assert!(store == twin, "every server holds the same");
    let restored = restore(store.chunks()).expect("a store's own snapshot is sound");
    assert!(restored == store, "a snapshot carries the store whole");
    Ok(())
}

/// The text by which a holder of a lock proves that it is one.
pub(super) fn sequencer(bytes: &[u8]) -> Verdict {
    let read = |bytes: &[u8]| str::from_utf8(bytes).unwrap_or_default().parse::<Sequencer>();
    let sequencer = read(bytes).map_err(|bad| bad.to_string())?;
    assert_eq!(sequencer.to_string().as_bytes(), bytes, "one sequencer has one text");
    survives(&sequencer, Sequencer::to_string, read);
    Ok(())
}

/// A template as lines: its expression, the name that is asked for, and a string to be filled in. Whether that can be done
/// does not depend on the name, and a query that could be written is found by every name that begins with its own.
pub(super) fn template(bytes: &[u8]) -> Verdict {
    let text = str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let mut lines = text.splitn(3, '\n').map(str::to_owned);
    let mut line = || lines.next().unwrap_or_default();
    let (regexp, name, string) = (line(), line(), line());
    let service = ServiceQuery { service: string.clone(), tags: vec![string], ..ServiceQuery::default() };
    let template = Template { prefix_match: true, regexp, remove_empty_tags: true };
    let query = PreparedQuery { id: SESSION, template, service, ..PreparedQuery::default() };
    let (own, other) = (query.rendered(""), query.rendered(&name));
    assert_eq!(own.as_ref().err(), other.as_ref().err(), "the same fault whatever the name");
    other.map_err(|bad| bad.to_string())?;
    let mut store = small();
    let create = PreparedCommand::Create(Box::new(PreparedQuery { id: Uuid::from_u128(8), ..query }));
    store.apply(Index(99), &Entry { time_ms: 1, id: 1, command: Command::Prepared(create) });
    let own_id = [6, 8].iter().any(|id| Uuid::from_u128(*id).to_string().eq_ignore_ascii_case(&name));
    let known = !name.is_empty() && name.len() <= PreparedQuery::NAME_MAX && !own_id;
    let found = execute(&store, &Execution { name, ..Execution::default() }, &AllowAll);
    assert_eq!(found.is_some(), known, "the template of every name");
    Ok(())
}

/// A node, a service, a check, a session with a lock, and a prepared query of it, that commands can meet.
pub(crate) fn small() -> Store {
    let mut store = Store::default();
    for (at, command) in commands().into_iter().take(6).enumerate() {
        store.apply(Index(at as u64 + 1), &Entry { time_ms: 1, id: 1, command });
    }
    store
}

const SESSION: Uuid = Uuid::from_u128(5);

fn commands() -> Vec<Command> {
    let node = Node { name: "n1".into(), address: "10.0.0.1".to_owned(), ..Node::default() };
    let known = Node { name: "n1".into(), ..Node::default() };
    let service = Service {
        node: "n1".into(),
        id: "web".into(),
        name: "web".into(),
        port: 80,
        tags: vec!["a".to_owned()],
        meta: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
        weights: Weights::default(),
        ..Service::default()
    };
    let check = Check {
        node: "n1".into(),
        id: "service:web".into(),
        service_id: "web".into(),
        service_name: "web".into(),
        status: Status::Passing,
        ..Check::default()
    };
    let coordinate = Coordinate::try_from(([1e-3; DIMENSIONS], 1e-5, 1.5, -1e-4)).expect("finite");
    let session = Session {
        id: SESSION,
        node: "n1".into(),
        node_checks: vec!["service:web".into()],
        lock_delay: Duration::from_secs(15),
        ttl: Ttl { span: Duration::from_secs(20), text: "10s".to_owned() },
        ..Session::default()
    };
    let set = |key: &str| KvCommand::Set { key: key.to_owned(), value: Bytes::from_static(b"value"), flags: 1 };
    vec![
        Command::Register(Box::new(Register { node, ..Register::default() })),
        Command::Register(Box::new(Register {
            node: known,
            skip_node_update: true,
            service: Some(service),
            checks: vec![check],
        })),
        Command::Kv(set("a/b")),
        Command::Session(SessionCommand::Create(Box::new(session))),
        Command::Kv(KvCommand::Acquire { key: "a/l".to_owned(), value: Bytes::new(), flags: 1, session: SESSION }),
        Command::Prepared(PreparedCommand::Create(prepared(6))),
        Command::Kv(KvCommand::Release { key: "a/l".to_owned(), value: Bytes::new(), flags: 1, session: SESSION }),
        Command::Fenced(Box::new(Sequencer { key: "a/l".to_owned(), lock_index: 1, session: SESSION }), set("a")),
        Command::Prepared(PreparedCommand::Update(prepared(6))),
        Command::Prepared(PreparedCommand::Delete(Uuid::from_u128(6))),
        Command::Session(SessionCommand::Renew(SESSION)),
        Command::Session(SessionCommand::Expire { id: SESSION, renewed_ms: 1 }),
        Command::Session(SessionCommand::Destroy(SESSION)),
        Command::Kv(KvCommand::Cas { key: "a".to_owned(), value: Bytes::new(), flags: u64::MAX, index: Index(3) }),
        Command::Kv(KvCommand::Delete { key: "a/b".to_owned() }),
        Command::Kv(KvCommand::DeleteCas { key: "a/b".to_owned(), index: Index(3) }),
        Command::Kv(KvCommand::DeleteTree { prefix: "a".to_owned() }),
        Command::Deregister(Deregister::Check("N1".into(), "service:web".into())),
        Command::Deregister(Deregister::Service("n1".into(), "web".into())),
        Command::Deregister(Deregister::Node("n1".into())),
        Command::FeatureLevel(1),
        Command::Authority(Box::new(Authority {
            certificate: Bytes::from_static(b"certificate"),
            key: Bytes::from_static(b"key"),
            ..Authority::default()
        })),
        Command::Txn(Txn { fence: None, ops: vec![TxnOp::Kv(set("t")), TxnOp::Look(TxnLook::Key("t".to_owned()))] }),
        Command::Kv(KvCommand::Sequence { prefix: "q".to_owned(), value: Bytes::new(), flags: 0, session: None }),
        Command::Coordinate(NodeCoordinate { node: "N1".into(), coordinate }),
        Command::Autopilot { settings: Box::default(), cas: Some(Index(0)) },
        Command::Signing(Box::default()),
        Command::Restore(RestoreCommand::Begin { id: 5 }),
        Command::Restore(RestoreCommand::Stage {
            id: 5,
            number: 0,
            rows: Store::default().tables().map(Bytes::from).collect(),
        }),
        Command::Restore(RestoreCommand::Commit { id: 5, count: 1 }),
        Command::Restore(RestoreCommand::Abort { id: 5 }),
    ]
}

fn prepared(id: u128) -> Box<PreparedQuery> {
    Box::new(PreparedQuery {
        id: Uuid::from_u128(id),
        name: "geo-".to_owned(),
        session: Some(SESSION),
        template: Template { prefix_match: true, regexp: "^geo-(.*)$".to_owned(), remove_empty_tags: true },
        service: ServiceQuery {
            service: "${match(1)}".to_owned(),
            tags: vec!["!b".to_owned()],
            ..ServiceQuery::default()
        },
        ..PreparedQuery::default()
    })
}

pub(super) fn entries() -> Seeds {
    const NAMES: [&str; 31] = [
        "register_node",
        "register_service",
        "kv_set",
        "session_create",
        "kv_acquire",
        "prepared_create",
        "kv_release",
        "kv_fenced",
        "prepared_update",
        "prepared_delete",
        "session_renew",
        "session_expire",
        "session_destroy",
        "kv_cas",
        "kv_delete",
        "kv_delete_cas",
        "kv_delete_tree",
        "deregister_check",
        "deregister_service",
        "deregister_node",
        "feature_level",
        "authority",
        "txn",
        "kv_sequence",
        "coordinate",
        "autopilot",
        "signing",
        "restore_begin",
        "restore_stage",
        "restore_commit",
        "restore_abort",
    ];
    let entries = commands().into_iter().map(|command| Entry { time_ms: 1_700_000_000_000, id: 7, command }.encode());
    NAMES.into_iter().zip(entries.map(|bytes| bytes.to_vec())).collect()
}

/// A snapshot, in pieces of several sizes. Checksums stop a fuzzer before it gets anywhere, and a liar can compute them:
/// so the bytes are tried as they are, and again with the checksums of their frames set right.
pub(super) fn snapshot(bytes: &[u8]) -> Verdict {
    let verdict = restore([bytes.to_vec()]);
    for size in [1 + bytes.len() / 3, 1 + bytes.len() / 64] {
        let pieces = restore(bytes.chunks(size).map(<[u8]>::to_vec));
        assert!(pieces == verdict, "the same in pieces of {size}");
    }
    let _ = restore([mended(bytes)]).map(sound);
    verdict.map(sound).map_err(|damaged| damaged.to_string())
}

fn sound(store: Store) {
    let restored = restore(store.chunks()).expect("a store's own snapshot is sound");
    assert!(restored == store, "a snapshot carries the store whole");
}

fn restore(pieces: impl IntoIterator<Item = Vec<u8>>) -> Result<Store, lictor_catalog::Damaged> {
    let mut restore = Restore::new();
    for piece in pieces {
        restore.feed(&piece)?;
    }
    restore.finish()
}

/// Prologue, then frames: length, checksum of the payload, checksum of those two, payload.
fn mended(bytes: &[u8]) -> Vec<u8> {
    const PROLOGUE: usize = 12;
    const HEAD: usize = 12;
    let mut out = bytes.to_vec();
    let mut at = PROLOGUE;
    while let Some(head) = out.get(at..at + HEAD) {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(payload) = out.get(at + HEAD..).and_then(|rest| rest.get(..length)) else { break };
        let checksum = crc32c::crc32c(payload);
        out[at + 4..at + 8].copy_from_slice(&checksum.to_le_bytes());
        let checksum = crc32c::crc32c(&out[at..at + 8]);
        out[at + 8..at + HEAD].copy_from_slice(&checksum.to_le_bytes());
        at += HEAD + length;
    }
    out
}

pub(super) fn snapshots() -> Seeds {
    let mut deleted = small();
    let command = Command::Kv(KvCommand::Delete { key: "a/b".to_owned() });
    deleted.apply(Index(9), &Entry { time_ms: 2, id: 0, command });
    let mut placed = small();
    let command = commands().pop().expect("the last places a node");
    placed.apply(Index(9), &Entry { time_ms: 2, id: 0, command });
    let part = small().part(&lictor_catalog::Scope::Service("web".to_owned()));
    let bytes = |store: Store| store.chunks().collect::<Vec<_>>().concat();
    vec![
        ("empty", bytes(Store::default())),
        ("small", bytes(small())),
        ("tombstone", bytes(deleted)),
        ("part", bytes(part)),
        ("placed", bytes(placed)),
    ]
}
