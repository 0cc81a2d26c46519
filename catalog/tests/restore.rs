//! Restoring through the log: staged on every server alike, in one step or not at all.

use bytes::Bytes;
use lictor_catalog::model::{Session, Ttl};
use lictor_catalog::{
    Applied, Command, Damaged, Entry, Index, KvCommand, Node, Outcome, Query, Refusal, Register, Restore,
    RestoreCommand, Rows, SessionCommand, Store,
};
use std::time::Duration;
use uuid::Uuid;

/// A server that applies a log.
#[derive(Default)]
struct Server {
    store: Store,
    time_ms: u64,
}

impl Server {
    fn apply(&mut self, command: Command) -> Applied {
        self.time_ms += 1;
        let entry = Entry { time_ms: self.time_ms, id: 0, command };
        self.store.apply(Index(self.store.index().0 + 1), &entry)
    }

    fn step(&mut self, command: RestoreCommand) -> Outcome {
        self.apply(Command::Restore(command)).outcome
    }

    fn set(&mut self, key: &str, value: &str) {
        let value = Bytes::copy_from_slice(value.as_bytes());
        self.apply(Command::Kv(KvCommand::Set { key: key.to_owned(), value, flags: 0 }));
    }

    fn stage(&mut self, id: u64, number: u64, rows: Vec<u8>) -> Outcome {
        self.step(RestoreCommand::Stage { id, number, rows: vec![rows.into()] })
    }

    /// All of it at once.
    fn take_over(&mut self, id: u64, backup: &Store) -> Outcome {
        self.step(RestoreCommand::Begin { id });
        let rows: Vec<Bytes> = backup.tables().map(Bytes::from).collect();
        self.step(RestoreCommand::Stage { id, number: 0, rows });
        self.step(RestoreCommand::Commit { id, count: 1 })
    }

    fn read(&self, key: &str) -> (Index, Option<String>) {
        let query = Query::KvGet { key: key.to_owned() };
        match query.run(&self.store, &lictor_catalog::AllowAll) {
            (index, Rows::KvEntry(row)) => {
                (index, row.map(|row| String::from_utf8_lossy(row.entry().value).into_owned()))
            }
            other => panic!("{other:?}"),
        }
    }

    /// Thrown away, and back from its snapshot.
    fn restart(&mut self) {
        let mut restore = Restore::new();
        for chunk in self.store.chunks() {
            restore.feed(&chunk).expect("sound");
        }
        let restored = restore.finish().expect("whole");
        assert!(restored == self.store);
        assert_eq!(restored.hash(), self.store.hash());
        self.store = restored;
    }
}

/// A store with some hundred frames' worth of keys, at an index of its own.
fn backup(keys: u64) -> Store {
    let mut server = Server::default();
    for key in 0..keys {
        server.set(&format!("old/{key:06}"), &"x".repeat(1000));
    }
    server.store
}

#[test]
fn a_snapshot_takes_the_place_of_everything_in_one_step() {
    let backup = backup(500);
    let mut server = Server::default();
    server.set("new", "1");
    assert_eq!(server.step(RestoreCommand::Begin { id: 7 }), Outcome::Done);
    let tables: Vec<_> = backup.tables().collect();
    assert!(tables.len() > 5, "several frames");
    for (number, rows) in (0..).zip(tables.clone()) {
        assert_eq!(server.stage(7, number, rows.clone()), Outcome::Done);
        assert_eq!(server.stage(7, number, rows), Outcome::Done, "a repeated step counts as done");
        server.restart();
        assert_eq!(server.read("new").1.as_deref(), Some("1"), "nobody sees what is staged");
        assert_eq!(server.read("old/000001").1, None);
    }
    let before = server.store.index();
    let commit = RestoreCommand::Commit { id: 7, count: tables.len() as u64 };
    let applied = server.apply(Command::Restore(commit.clone()));
    assert_eq!(applied.outcome, Outcome::Done);
    assert!(applied.touched.all, "everybody wakes");
    assert_eq!(server.store.index(), Index(before.0 + 1));
    assert_eq!(server.read("new").1, None);
    assert_eq!(server.read("old/000001"), (Index(2), Some("x".repeat(1000))), "with its own index");
    server.restart();
    assert_eq!(server.step(commit), Outcome::Done, "a repeated step counts as done");
}

#[test]
fn indexes_rise_above_those_of_a_log_that_had_got_further() {
    let mut server = Server::default();
    assert_eq!(server.take_over(1, &backup(300)), Outcome::Done);
    let log = server.store.index();
    assert!(log.0 < 300, "the log of this cluster is short: {log}");
    assert_eq!(server.read("old/000299").0, Index(300));
    server.set("old/000299", "newer");
    assert_eq!(server.read("old/000299").0, Index(301), "higher than every index that a client has seen");
    assert_eq!(server.store.index(), Index(log.0 + 1), "the log's own index goes on");
    server.restart();
    server.set("old/000299", "newest");
    assert_eq!(server.read("old/000299").0, Index(302));
}

#[test]
fn time_and_level_are_those_of_this_log() {
    let mut old = Server { time_ms: 1_000_000, ..Server::default() };
    old.set("a", "1");
    let mut server = Server { time_ms: 5_000, ..Server::default() };
    server.apply(Command::FeatureLevel(1));
    assert_eq!(server.take_over(1, &old.store), Outcome::Done);
    assert_eq!((server.store.time_ms(), server.store.feature_level()), (5_004, 1));
    old.apply(Command::FeatureLevel(9));
    let refused = Refusal::Level { snapshot: 9, cluster: 1 };
    assert_eq!(server.take_over(2, &old.store), Outcome::Refused(refused));
    assert_eq!(server.read("a").1.as_deref(), Some("1"));
}

/// Log times of two clusters have nothing to do with each other: whether the saved one is ahead or behind, a session has
/// its whole time to live before it, a lock-delay and a tombstone what was left of theirs, and no number is given twice.
#[test]
fn what_ends_by_time_ends_as_late_as_it_would_have() {
    let (holder, gone) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let session = |id, ttl| Session {
        id,
        node: "alpha".into(),
        lock_delay: Duration::from_secs(15),
        ttl: Ttl { span: Duration::from_secs(ttl), text: format!("{ttl}s") },
        ..Session::default()
    };
    let create = |id, ttl| Command::Session(SessionCommand::Create(Box::new(session(id, ttl))));
    let acquire = |key: &str, session| {
        Command::Kv(KvCommand::Acquire { key: key.to_owned(), value: Bytes::new(), flags: 0, session })
    };
    let sequence =
        || Command::Kv(KvCommand::Sequence { prefix: "q/".to_owned(), value: Bytes::new(), flags: 0, session: None });
    for (then_ms, now_ms) in [(50_000, 9_000_000), (9_000_000, 50_000), (0, 0)] {
        let mut old = Server { time_ms: then_ms, ..Server::default() };
        old.apply(Command::Register(Box::new(Register {
            node: Node { name: "alpha".into(), address: "10.0.0.1".to_owned(), ..Node::default() },
            ..Register::default()
        })));
        old.set("deleted/a", "1");
        for command in [create(holder, 30), create(gone, 0), acquire("held", holder), acquire("free", gone), sequence()]
        {
            old.apply(command);
        }
        old.apply(Command::Kv(KvCommand::Delete { key: "deleted/a".to_owned() }));
        let deleted = old.store.index();
        old.apply(Command::Session(SessionCommand::Destroy(gone)));
        old.time_ms += 10_000;
        old.set("later", "1");

        let mut server = Server { time_ms: now_ms, ..Server::default() };
        for number in 0..3 {
            assert_eq!(server.apply(sequence()).outcome, Outcome::Key(format!("q/{number:010}")));
        }
        assert_eq!(server.take_over(1, &old.store), Outcome::Done);
        server.restart();
        let now = server.store.time_ms();
        assert_eq!(now, server.time_ms);
        assert_eq!(server.store.expiries(now + 29_999).count(), 0, "the whole time to live");
        assert_eq!(server.store.expiries(now + 30_000).count(), 1);
        assert_eq!(server.apply(sequence()).outcome, Outcome::Key("q/0000000003".to_owned()));

        assert_eq!(server.apply(acquire("held", holder)).outcome, Outcome::Matched(true), "it is his");
        assert_eq!(server.apply(acquire("free", holder)).outcome, Outcome::Matched(false));
        server.time_ms = now + 4_990;
        assert_eq!(server.apply(acquire("free", holder)).outcome, Outcome::Matched(false), "five seconds were left");
        server.time_ms = now + 5_000;
        assert_eq!(server.apply(acquire("free", holder)).outcome, Outcome::Matched(true));

        let under = |server: &Server| {
            Query::KvList { prefix: "deleted/".to_owned() }.run(&server.store, &lictor_catalog::AllowAll).0
        };
        assert_eq!(under(&server), deleted, "the deletion shows in its prefix");
    }
}

#[test]
fn a_restore_that_does_not_end_well_leaves_everything_as_it_was() {
    let backup = backup(200);
    let tables: Vec<_> = backup.tables().collect();
    let count = tables.len() as u64;
    let mut server = Server::default();
    server.set("new", "1");
    let clean = |server: &Server| {
        assert_eq!(server.read("new").1.as_deref(), Some("1"));
        assert!(server.store.without_staging() == server.store, "nothing is staged");
    };
    let gone = |id| Outcome::Refused(Refusal::NotStaged { id });

    assert_eq!(server.stage(1, 0, tables[0].clone()), gone(1), "never begun");
    server.step(RestoreCommand::Begin { id: 1 });
    server.stage(1, 0, tables[0].clone());
    assert_eq!(server.stage(1, 2, tables[2].clone()), gone(1), "a step is missing");
    assert_eq!(server.step(RestoreCommand::Commit { id: 1, count }), gone(1), "rows are missing");
    assert!(server.store.without_staging() != server.store);
    server.step(RestoreCommand::Abort { id: 2 });
    assert!(server.store.without_staging() != server.store, "somebody else's");
    server.step(RestoreCommand::Abort { id: 1 });
    clean(&server);

    server.step(RestoreCommand::Begin { id: 3 });
    server.stage(3, 0, tables[0].clone());
    let unsound = server.stage(3, 1, vec![5, 255, 255, 255]);
    assert_eq!(unsound, Outcome::Refused(Refusal::Unsound(Damaged::Row)));
    clean(&server);

    server.step(RestoreCommand::Begin { id: 4 });
    server.step(RestoreCommand::Begin { id: 5 });
    assert_eq!(server.stage(4, 0, tables[0].clone()), gone(4), "another restore came");
    server.time_ms += 59_000;
    server.set("new", "1");
    assert_eq!(server.stage(5, 0, tables[0].clone()), Outcome::Done, "slow, but going on");
    server.time_ms += 60_000;
    server.set("new", "1");
    clean(&server);
    assert_eq!(server.stage(5, 1, tables[1].clone()), gone(5), "left alone for too long");
}

/// Whatever order rows come in, a server that came back from a snapshot in between decides as the others do.
#[test]
fn a_server_that_restarted_meanwhile_decides_as_the_others_do() {
    let backup = backup(200);
    let tables: Vec<_> = backup.tables().collect();
    for cut in 0..tables.len() {
        for next in 0..tables.len() {
            let mut server = Server::default();
            server.step(RestoreCommand::Begin { id: 1 });
            for (number, rows) in (0..).zip(&tables[..cut]) {
                server.stage(1, number, rows.clone());
            }
            let mut other = Server { store: server.store.clone(), time_ms: server.time_ms };
            other.restart();
            let answers = [&mut server, &mut other].map(|server| server.stage(1, cut as u64, tables[next].clone()));
            assert_eq!(answers[0], answers[1]);
            assert!(server.store == other.store, "frame {next} after {cut}");
        }
    }
}
