//! What is written to disks and wires: formats pinned by stored bytes, and readers that believe nothing.

use bytes::Bytes;
use lictor_catalog::command::{
    Command, Deregister, Entry, KvCommand, PreparedCommand, Register, RestoreCommand, SessionCommand, Unreadable,
};
use lictor_catalog::model::{
    Behavior, Failover, FailoverTarget, Node, Sequencer, Service, ServiceCheck, ServiceQuery, Session, Signing, Status,
    Template, Ttl,
};
use lictor_catalog::{
    Authority, Autopilot, Check, Coordinate, Damaged, Index, NodeCoordinate, PreparedQuery, Restore, Store, Txn,
    TxnLook, TxnOp, TxnPut,
};
use proptest::prelude::*;
use std::time::Duration;
use uuid::Uuid;

/// Every table has a row, and a few fields beside the plain ones are set.
fn sample() -> Vec<Entry> {
    let register = Register {
        node: Node {
            id: Some(Uuid::from_u128(0x1234)),
            name: "Alpha".into(),
            address: "10.0.0.1".to_owned(),
            meta: [("zone".to_owned(), "x".to_owned())].into(),
            ..Node::default()
        },
        skip_node_update: false,
        service: Some(Service {
            id: "web-1".into(),
            name: "web".into(),
            tags: vec!["v1".to_owned()],
            port: 8080,
            ..Service::default()
        }),
        checks: vec![Check {
            id: "c".into(),
            name: "C".to_owned(),
            status: Status::Warning,
            service_id: "web-1".into(),
            interval: Duration::from_millis(1500),
            definition: Some(Box::default()),
            ..Check::default()
        }],
    };
    let set =
        |key: &str| Command::Kv(KvCommand::Set { key: key.to_owned(), value: Bytes::from_static(b"value"), flags: 42 });
    let create = |id| {
        Command::Session(SessionCommand::Create(Box::new(Session {
            id: Uuid::from_u128(id),
            name: "lock".to_owned(),
            node: "alpha".into(),
            service_checks: vec![ServiceCheck { id: "c".into(), namespace: "n".to_owned() }],
            lock_delay: Duration::from_secs(15),
            behavior: Behavior::Delete,
            ttl: Ttl { span: Duration::from_secs(90), text: "90s".to_owned() },
            ..Session::default()
        })))
    };
    let lock = |key: &str, id| {
        let (value, session) = (Bytes::from_static(b"held"), Uuid::from_u128(id));
        Command::Kv(KvCommand::Acquire { key: key.to_owned(), value, flags: 1, session })
    };
    let prepared = |id, session| {
        let failover = Failover {
            nearest: 2,
            datacenters: vec!["dc2".to_owned()],
            targets: vec![FailoverTarget { peer: "p".to_owned(), datacenter: String::new() }],
        };
        let service = ServiceQuery {
            service: "${name.suffix}".to_owned(),
            failover,
            ignore_checks: vec!["c".to_owned()],
            near: "_agent".to_owned(),
            tags: vec!["!v1".to_owned()],
            node_meta: [("zone".to_owned(), "x".to_owned())].into(),
            ..ServiceQuery::default()
        };
        Box::new(PreparedQuery {
            id: Uuid::from_u128(id),
            name: format!("geo-{id}"),
            session,
            token: "t".to_owned(),
            template: Template { prefix_match: true, regexp: ".".to_owned(), remove_empty_tags: true },
            service,
            dns_ttl: Ttl { span: Duration::from_secs(10), text: "10s".to_owned() },
            ..PreparedQuery::default()
        })
    };
    let commands = [
        Command::FeatureLevel(1),
        Command::Register(Box::new(register)),
        set("a"),
        set("b"),
        Command::Coordinate(NodeCoordinate { node: "alpha".into(), coordinate: place(0.25) }),
        Command::Kv(KvCommand::Delete { key: "b".to_owned() }),
        create(1),
        create(2),
        lock("c", 1),
        lock("d", 2),
        Command::Fenced(Box::new(Sequencer { key: "d".to_owned(), lock_index: 1, session: Uuid::from_u128(2) }), {
            KvCommand::Delete { key: "b".to_owned() }
        }),
        Command::Prepared(PreparedCommand::Create(prepared(1, None))),
        Command::Prepared(PreparedCommand::Create(prepared(2, Some(Uuid::from_u128(2))))),
        Command::Prepared(PreparedCommand::Update(prepared(1, Some(Uuid::from_u128(1))))),
        Command::Prepared(PreparedCommand::Delete(Uuid::from_u128(2))),
        Command::Session(SessionCommand::Renew(Uuid::from_u128(1))),
        Command::Session(SessionCommand::Expire { id: Uuid::from_u128(1), renewed_ms: 1 }),
        Command::Session(SessionCommand::Destroy(Uuid::from_u128(2))),
        Command::Txn(Txn {
            fence: None,
            ops: vec![
                TxnOp::Look(TxnLook::KeyOrEmpty("a".to_owned())),
                TxnOp::Kv(KvCommand::Cas { key: "a".to_owned(), value: Bytes::new(), flags: 1, index: Index(3) }),
                TxnOp::Put(TxnPut::Node(Box::new(Node { name: "beta".into(), ..Node::default() })), Some(Index(0))),
                TxnOp::Remove(Deregister::Node("beta".into()), None),
            ],
        }),
        Command::Kv(KvCommand::Sequence { prefix: "q".to_owned(), value: Bytes::new(), flags: 0, session: None }),
        Command::Autopilot {
            settings: Box::new(Autopilot {
                min_quorum: 3,
                redundancy_zone_tag: "z".to_owned(),
                ..Autopilot::default()
            }),
            cas: Some(Index(0)),
        },
        Command::Restore(RestoreCommand::Begin { id: 5 }),
        Command::Restore(RestoreCommand::Stage {
            id: 5,
            number: 0,
            rows: Store::default().tables().map(Bytes::from).collect(),
        }),
        Command::Authority(Box::new(Authority {
            trust_domain: Uuid::from_u128(9),
            id: Bytes::from_static(b"id"),
            key_id: Bytes::from_static(b"key id"),
            serial: 1,
            not_before: 2,
            not_after: 3,
            certificate: Bytes::from_static(b"certificate"),
            key: Bytes::from_static(b"key"),
            ..Authority::default()
        })),
        Command::Signing(Box::new(Signing {
            leaf_life: Duration::from_secs(3600),
            state: [("a".to_owned(), "b".to_owned())].into(),
            ..Signing::default()
        })),
    ];
    commands.into_iter().enumerate().map(|(at, command)| Entry { time_ms: 1000 + at as u64, id: 7, command }).collect()
}

fn place(height: f64) -> Coordinate {
    Coordinate::try_from(([0.5, -0.125, 0.0, 0.0, 0.0, 0.0, 0.0, 1e-6], height, 1.5, -0.001)).expect("finite")
}

fn sample_store() -> Store {
    let mut store = Store::default();
    for (at, entry) in sample().iter().enumerate() {
        store.apply(Index(at as u64 + 1), entry);
    }
    store
}

fn large_store() -> Store {
    let mut store = Store::default();
    for at in 0..3000u64 {
        let command = KvCommand::Set { key: format!("key/{at}"), value: vec![at as u8; 100].into(), flags: at };
        store.apply(Index(at + 1), &Entry { time_ms: at, id: at, command: Command::Kv(command) });
    }
    store
}

fn restore(bytes: &[u8], piece: usize) -> Result<Store, Damaged> {
    let mut restore = Restore::new();
    for piece in bytes.chunks(piece) {
        restore.feed(piece)?;
    }
    restore.finish()
}

fn encoded(store: &Store) -> Vec<u8> {
    store.chunks().flatten().collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("two digits");
    digits.chunks(2).map(pair).collect()
}

/// Logs and snapshots outlive releases. Should one of these fail, the format has changed: give it a new number and read
/// both, rather than changing the stored bytes.
#[test]
fn format_1_of_entries_is_pinned() {
    let stored: Vec<_> = include_str!("entries.1.hex").lines().map(unhex).collect();
    let written: Vec<_> = sample().iter().map(Entry::encode).collect();
    assert_eq!(written.iter().map(|b| hex(b)).collect::<Vec<_>>(), stored.iter().map(|b| hex(b)).collect::<Vec<_>>());
    let read: Vec<_> = stored.iter().map(|bytes| Entry::decode(bytes).expect("stored by an earlier release")).collect();
    assert_eq!(read, sample());
}

#[test]
fn format_1_of_snapshots_is_pinned() {
    let stored = unhex(include_str!("snapshot.1.hex"));
    assert_eq!(hex(&encoded(&sample_store())), hex(&stored));
    assert!(restore(&stored, 7).expect("stored by an earlier release") == sample_store());
}

#[test]
fn snapshots_come_in_any_pieces() {
    let store = large_store();
    let bytes = encoded(&store);
    assert!(store.chunks().count() > 6, "several frames to a table");
    assert!(store.chunks().all(|chunk| chunk.len() < 70 * 1024));
    for piece in [1, 13, 4096, 65_537, bytes.len()] {
        assert!(restore(&bytes, piece).expect("sound") == store, "in pieces of {piece}");
    }
    assert!(restore(&encoded(&Store::default()), 5).expect("sound") == Store::default());
}

#[test]
fn damage_is_named() {
    let bytes = encoded(&sample_store());
    for cut in 0..bytes.len() {
        assert_eq!(restore(&bytes[..cut], 64).err(), Some(Damaged::Truncated), "cut at {cut}");
    }
    for at in 0..bytes.len() {
        for bit in [0, 7] {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << bit;
            let damaged = restore(&bytes, 64).expect_err("one bit is wrong");
            let expected = match at {
                0..8 => damaged == Damaged::Magic,
                8..12 => matches!(damaged, Damaged::Format(_)),
                _ => damaged == Damaged::Checksum,
            };
            assert!(expected, "byte {at}: {damaged:?}");
        }
    }
    let trailing = [&*bytes, &[0]].concat();
    assert_eq!(restore(&trailing, 64).err(), Some(Damaged::Trailing));
    let mut poisoned = Restore::new();
    assert_eq!(poisoned.feed(&trailing), Err(Damaged::Trailing));
    assert_eq!(poisoned.feed(&bytes), Err(Damaged::Trailing), "damage stays");
    assert_eq!(poisoned.finish().err(), Some(Damaged::Trailing));

    // Whole frames left out, doubled or exchanged have sound checksums of their own.
    let chunks: Vec<_> = sample_store().chunks().collect();
    for at in 1..chunks.len() - 1 {
        let mut missing = chunks.clone();
        missing.remove(at);
        let mut double = chunks.clone();
        double.insert(at, chunks[at].clone());
        let mut swapped = chunks.clone();
        swapped.swap(at, at + 1);
        for chunks in [missing, double, swapped] {
            let damaged = restore(&chunks.concat(), 64).expect_err("frames are not as written");
            assert!(matches!(damaged, Damaged::Frame | Damaged::Checksum), "{damaged:?}");
        }
    }
}

#[test]
fn entries_say_why_they_do_not_decode() {
    let bytes = sample()[1].encode();
    assert_eq!(Entry::decode(&[]), Err(Unreadable::Empty));
    assert_eq!(Entry::decode(&[9, 1, 2]), Err(Unreadable::Format(9)));
    assert_eq!(Entry::decode(&[&*bytes, &[0]].concat()), Err(Unreadable::Damaged));
    for cut in 1..bytes.len() {
        assert_eq!(Entry::decode(&bytes[..cut]), Err(Unreadable::Damaged), "cut at {cut}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Lengths in the bytes are believed by nobody: neither a panic, nor memory beyond what came in.
    #[test]
    fn entries_survive_any_bytes(mut bytes in prop::collection::vec(any::<u8>(), 0..200), plain in any::<bool>()) {
        if let Some(first) = bytes.first_mut().filter(|_| plain) {
            *first = 1;
        }
        if let Ok(entry) = Entry::decode(&bytes) {
            prop_assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
        }
    }

    #[test]
    fn entries_survive_damage(which in 0..sample().len(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = sample()[which].encode().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(entry) = Entry::decode(&bytes) {
            let mut store = Store::default();
            store.apply(Index(1), &entry);
        }
    }

    /// Rows of any bytes under sound checksums: what a broken release might write.
    #[test]
    fn restore_survives_any_rows(kinds in prop::collection::vec((0u8..15, prop::collection::vec(any::<u8>(), 0..80)), 0..6)) {
        let mut bytes = encoded(&Store::default());
        // Keep the prologue and the header's frame, then follow with made-up frames.
        let header = 12 + 12 + u32::from_le_bytes(bytes[12..16].try_into().expect("four")) as usize;
        bytes.truncate(header);
        for (kind, rows) in kinds {
            let payload = [&[kind], &*rows].concat();
            let mut head = (payload.len() as u32).to_le_bytes().to_vec();
            head.extend(crc32c::crc32c(&payload).to_le_bytes());
            head.extend(crc32c::crc32c(&head).to_le_bytes());
            bytes.extend(head);
            bytes.extend(payload);
        }
        prop_assert!(restore(&bytes, 50).is_err());
    }

    #[test]
    fn restore_survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300), magic in any::<bool>()) {
        let bytes = if magic { [&b"lictorSN\x01\0\0\0"[..], &*bytes].concat() } else { bytes };
        prop_assert!(restore(&bytes, 11).is_err());
    }
}
