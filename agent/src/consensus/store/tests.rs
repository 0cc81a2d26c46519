//! The real store on simulated bytes: writes that are lost, torn, refused, and bits that turn.

use super::*;
use crate::consensus::file::FileBackend;
use crate::consensus::raft::{Config, Raft, bootstrap};
use crate::consensus::{Committed, Engine as _, Index, Member, Members};
use crate::dice::Dice;
use redb::{ReadableTableMetadata as _, StorageBackend};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

const SECTOR: usize = 512;

#[derive(Clone, Debug)]
enum Op {
    Write(u64, Vec<u8>),
    Length(u64),
}

impl Op {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Length(length) => image.resize(usize::try_from(*length).unwrap(), 0),
            Self::Write(offset, data) => {
                let from = usize::try_from(*offset).unwrap();
                // A write whose growth was lost lands nowhere.
                if from + data.len() <= image.len() {
                    image[from..from + data.len()].copy_from_slice(data);
                }
            }
        }
    }
}

#[derive(Debug, Default)]
struct Medium {
    seen: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Op>,
    full: bool,
    sync_fails: bool,
}

#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<Medium>>);

impl Disk {
    fn holding(image: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.lock().seen.clone_from(&image);
        disk.lock().durable = image;
        disk
    }

    fn lock(&self) -> MutexGuard<'_, Medium> {
        self.0.lock().unwrap()
    }

    /// What a power cut leaves: each unsynced write whole, in part by sectors, or not at all.
    fn torn(&self, dice: &mut Dice) -> Vec<u8> {
        let bytes = self.lock();
        let mut image = bytes.durable.clone();
        for op in &bytes.unsynced {
            match (op, dice.below(3)) {
                (_, 0) => {}
                (Op::Write(offset, data), 1) => {
                    for (at, sector) in data.chunks(SECTOR).enumerate() {
                        if dice.below(2) == 0 {
                            Op::Write(offset + (at * SECTOR) as u64, sector.to_vec()).apply(&mut image);
                        }
                    }
                }
                (op, _) => op.apply(&mut image),
            }
        }
        image
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap();
        let bytes = self.lock();
        let found = bytes.seen.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.change(Op::Length(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut bytes = self.lock();
        if bytes.sync_fails {
            return Err(io::Error::other("the disk is gone"));
        }
        bytes.durable = bytes.seen.clone();
        bytes.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Op::Write(offset, data.to_vec()))
    }
}

impl Disk {
    fn change(&self, op: Op) -> io::Result<()> {
        let mut bytes = self.lock();
        if bytes.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        op.apply(&mut bytes.seen);
        bytes.unsynced.push(op);
        Ok(())
    }
}

fn identity() -> Identity {
    Identity { node: Uuid::from_u128(5), fresh: EngineId(77) }
}

fn open(disk: &Disk) -> Result<(LogStore, Recovered), OpenError> {
    LogStore::open(disk.clone(), Path::new("/data/consensus.redb"), identity(), 1 << 20)
}

fn snapshot(index: u64) -> Snapshot {
    let members = Members { voters: vec![Member { engine: EngineId(77), node: Uuid::from_u128(5) }], learners: vec![] };
    Snapshot { index: Index(index), members, engine: Bytes::from_static(b"handle") }
}

fn state(index: u64, bytes: usize) -> States {
    States::from([(index, State::new(move || std::iter::once(Bytes::from(vec![9; bytes]))))])
}

fn records(indexes: std::ops::Range<u64>) -> Write {
    Write::Append(indexes.map(|index| (index, Bytes::from(vec![index as u8; 300]))).collect())
}

fn vote(text: &'static str) -> Write {
    Write::Vote { record: Bytes::from_static(text.as_bytes()), guard: true }
}

/// A store with a snapshot at 4, entries 5 to 9 and a vote.
fn filled() -> (Disk, LogStore) {
    let disk = Disk::default();
    let (mut store, recovered) = open(&disk).unwrap();
    assert!(recovered.was_new && recovered.engine == EngineId(77) && recovered.snapshot.is_none());
    let batch = [Write::Cluster(Uuid::from_u128(8)), Write::Install(snapshot(4)), vote("one")];
    store.write(&batch, &state(4, 600_000), true).unwrap();
    store.write(&[records(5..10)], &States::new(), true).unwrap();
    (disk, store)
}

#[test]
fn what_was_written_comes_back() {
    let (disk, mut store) = filled();
    store.write(&[records(8..12), Write::Promise(Some("p".into()))], &States::new(), true).unwrap();
    drop(store);
    let fresh = Identity { fresh: EngineId(1), ..identity() };
    let (mut store, found) = LogStore::open(disk.clone(), Path::new("x"), fresh, 1 << 20).unwrap();
    assert_eq!((found.engine, found.was_new), (EngineId(77), false), "the id is made once");
    assert_eq!((found.cluster, found.vote.as_deref()), (Some(Uuid::from_u128(8)), Some(b"one".as_slice())));
    assert_eq!((found.snapshot, found.promise.as_deref()), (Some(snapshot(4)), Some(b"p".as_slice())));
    assert_eq!(found.log.iter().map(|(index, _)| *index).collect::<Vec<_>>(), (5..12).collect::<Vec<_>>());
    let sizes: Vec<usize> = store.chunks().unwrap().map(|chunk| chunk.unwrap().len()).collect();
    assert_eq!(sizes, [CHUNK_BYTES_MAX, CHUNK_BYTES_MAX, 600_000 - 2 * CHUNK_BYTES_MAX]);
    assert!(matches!(
        store.write(&[Write::Compact(snapshot(6))], &States::new(), true),
        Err(WriteError::StateMissing(6))
    ));
    store.write(&[Write::Compact(snapshot(6))], &state(6, 10), false).unwrap();
    store.write(&[Write::Promise(None)], &States::new(), true).unwrap();
    while store.go_on().unwrap() {}
    drop(store);
    let (store, found) = open(&disk).unwrap();
    assert_eq!((found.log.first().unwrap().0, found.promise), (7, None));
    assert_eq!(store.chunks().unwrap().count(), 1);
}

#[test]
fn a_compaction_that_is_cut_short_leaves_the_old_snapshot_or_the_new_one() {
    let mut held = Vec::new();
    for steps in 0.. {
        let (disk, mut store) = filled();
        store.write(&[Write::Compact(snapshot(7))], &state(7, 900_000), true).unwrap();
        // Writes go on between the steps.
        let more = (0..steps).all(|step| {
            let more = store.go_on().unwrap();
            store.write(&[records(10 + step..11 + step)], &States::new(), true).unwrap();
            more
        });
        drop(store);
        let (mut store, found) = open(&disk).unwrap();
        let base = found.snapshot.unwrap().index.0;
        assert_eq!(
            found.log.iter().map(|(index, _)| *index).collect::<Vec<_>>(),
            (base + 1..10 + steps).collect::<Vec<_>>()
        );
        let bytes: usize = store.chunks().unwrap().map(|chunk| chunk.unwrap().len()).sum();
        assert_eq!(bytes, if base == 4 { 600_000 } else { 900_000 });
        held.push(base);
        // What was left is swept, and the next compaction finds its way.
        store.write(&[Write::Compact(snapshot(8))], &state(8, 300_000), true).unwrap();
        while store.go_on().unwrap() {}
        let rows = store.database().begin_read().unwrap().open_table(CHUNKS).unwrap().len().unwrap();
        assert_eq!(rows, 2);
        if !more {
            break;
        }
    }
    assert!(held.is_sorted() && held.first() == Some(&4) && held.last() == Some(&7), "{held:?}");
}

#[test]
fn a_state_that_is_installed_overtakes_a_compaction() {
    let (disk, mut store) = filled();
    store.write(&[Write::Compact(snapshot(7))], &state(7, 900_000), true).unwrap();
    assert!(store.go_on().unwrap() && store.go_on().unwrap() && store.go_on().unwrap());
    store.write(&[Write::Install(snapshot(20))], &state(20, 10), true).unwrap();
    while store.go_on().unwrap() {}
    drop(store);
    let (store, found) = open(&disk).unwrap();
    assert_eq!((found.snapshot, found.log), (Some(snapshot(20)), Vec::new()));
    assert_eq!(store.database().begin_read().unwrap().open_table(CHUNKS).unwrap().len().unwrap(), 1);
}

#[test]
fn a_torn_last_write_is_rolled_back_whole() {
    let before = (5..10).collect::<Vec<u64>>();
    let after = (5..7).chain(7..30).collect::<Vec<u64>>();
    let mut outcomes = [0; 2];
    for seed in 0..150 {
        let mut dice = Dice::new(seed);
        let (disk, mut store) = filled();
        // One sync or two: the sync that would end the write fails, as a power cut would look from here.
        let mut batch = vec![records(7..30)];
        if seed % 2 == 0 {
            batch.push(vote("two"));
        }
        disk.lock().sync_fails = true;
        let failed = store.write(&batch, &States::new(), true);
        assert!(matches!(failed, Err(WriteError::Failed { call: "sync", .. })), "{failed:?}");
        let image = disk.torn(&mut dice);
        drop(store);
        let (_store, found) = open(&Disk::holding(image)).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let log: Vec<u64> = found.log.iter().map(|(index, _)| *index).collect();
        let two = found.vote.as_deref() == Some(b"two");
        assert!(log == before || log == after, "seed {seed}: {log:?}");
        assert_eq!(two, log == after && seed % 2 == 0, "seed {seed}: a batch is whole or not there");
        outcomes[usize::from(log == after)] += 1;
    }
    assert!(outcomes[0] > 0, "{outcomes:?}");
}

#[test]
fn what_was_not_synced_is_lost_and_nothing_else() {
    let (disk, mut store) = filled();
    store.write(&[records(10..20)], &States::new(), false).unwrap();
    let image = disk.torn(&mut Dice::new(1));
    drop(store);
    let (_store, found) = open(&Disk::holding(image)).unwrap();
    assert_eq!(found.log.last().unwrap().0, 9);
}

/// Opening a file with one bit turned: as it was, or refused; `Some(log length)` when it opened.
fn turned(image: &[u8], dice: &mut Dice) -> Option<Recovered> {
    let mut image = image.to_vec();
    let at = usize::try_from(dice.below(image.len() as u64)).unwrap();
    image[at] ^= 1 << dice.below(8);
    match open(&Disk::holding(image)) {
        Ok((store, found)) => {
            assert!(store.chunks().unwrap().all(|chunk| chunk.unwrap().iter().all(|byte| *byte == 9)));
            Some(found)
        }
        Err(error) => {
            assert!(error.to_string().contains("/data/consensus.redb"), "names the file: {error}");
            None
        }
    }
}

#[test]
fn a_turned_bit_is_refused_or_harmless() {
    let (disk, store) = filled();
    let killed = disk.lock().durable.clone();
    drop(store);
    let closed = disk.lock().seen.clone();
    let (_, whole) = open(&Disk::holding(closed.clone())).unwrap();
    let mut dice = Dice::new(3);
    let mut refused = 0;
    for _ in 0..300 {
        match turned(&closed, &mut dice) {
            Some(found) => assert_eq!(found, whole, "closed well: nothing may go silently"),
            None => refused += 1,
        }
    }
    assert!(refused > 20, "{refused} refused");
    // After a kill, damage in the newest one-sync batch looks like a tear: that batch may go, the vote never.
    for _ in 0..300 {
        if let Some(found) = turned(&killed, &mut dice) {
            assert!(found == whole || found.log.is_empty(), "only the newest batch may go");
            assert_eq!((found.vote, found.snapshot), (whole.vote.clone(), whole.snapshot.clone()));
        }
    }
    // After a kill right behind a vote nothing goes silently.
    let (disk, mut store) = filled();
    store.write(&[vote("three")], &States::new(), true).unwrap();
    let killed = disk.lock().durable.clone();
    drop(store);
    for _ in 0..300 {
        if let Some(found) = turned(&killed, &mut dice) {
            assert_eq!((found.vote.as_deref(), found.log.len()), (Some(b"three".as_slice()), 5));
        }
    }
}

#[test]
fn a_full_disk_is_waited_out_and_a_failed_sync_is_not() {
    let (disk, mut store) = filled();
    let big = Write::Append((10..200).map(|index| (index, Bytes::from(vec![1; 20_000]))).collect());
    disk.lock().full = true;
    let error = store.write(std::slice::from_ref(&big), &States::new(), true).unwrap_err();
    assert!(matches!(error, WriteError::Full(_)), "{error:?}");
    let again = store.write(std::slice::from_ref(&big), &States::new(), true).unwrap_err();
    assert!(matches!(again, WriteError::Full(_)), "still, until it is opened again: {again:?}");
    drop(store);
    disk.lock().full = false;
    let (mut store, found) = open(&disk).unwrap();
    assert_eq!(found.log.last().unwrap().0, 9, "none of it is there");
    store.write(&[big], &States::new(), true).unwrap();
    disk.lock().sync_fails = true;
    let error = store.write(&[vote("lost")], &States::new(), true).unwrap_err();
    assert!(matches!(error, WriteError::Failed { call: "sync", .. }), "{error:?}");
}

#[test]
fn foreign_files_and_other_nodes_are_refused_by_name() {
    let foreign = open(&Disk::holding(vec![b'x'; 100_000])).err().unwrap();
    assert!(matches!(foreign, OpenError::Foreign { .. } | OpenError::Damaged { .. }), "{foreign}");
    let (disk, store) = filled();
    drop(store);
    let other = Identity { node: Uuid::from_u128(6), ..identity() };
    let error = LogStore::open(disk, Path::new("/data/consensus.redb"), other, 1 << 20).err().unwrap();
    assert!(matches!(error, OpenError::OtherNode { .. }) && error.to_string().contains("/data/consensus.redb"));
}

fn scratch(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("lictor-consensus-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

#[test]
fn a_file_is_private_and_locked() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = scratch("lock");
    let path = directory.join("consensus.redb");
    let backend = FileBackend::open(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let (mut store, _) = LogStore::open(backend, &path, identity(), 1 << 20).unwrap();
    let error = FileBackend::open(&path).err().unwrap();
    assert!(matches!(error, OpenError::Locked { .. }));
    assert!(error.to_string().contains(&directory.display().to_string()), "{error}");
    store.write(&[vote("kept")], &States::new(), true).unwrap();
    drop(store);
    let (_store, found) = LogStore::open(FileBackend::open(&path).unwrap(), &path, identity(), 1 << 20).unwrap();
    assert_eq!(found.vote.as_deref(), Some(b"kept".as_slice()));
    std::fs::remove_dir_all(directory).unwrap();
}

/// Turns the engine over once: everything it wants is written, applied and reported.
fn turn_over(raft: &mut Raft, store: &mut LogStore, applied: &mut Vec<Bytes>) {
    while let Some(ready) = raft.ready() {
        store.write(&ready.store, &States::new(), ready.sync).unwrap();
        for committed in ready.apply {
            let index = committed.index();
            if let Committed::Command { command, .. } = committed {
                applied.push(command);
            }
            raft.applied(index);
        }
        assert!(raft.stored(ready.batch).is_empty(), "nobody to write to");
    }
}

#[test]
fn an_engine_goes_on_from_the_real_store() {
    let disk = Disk::default();
    let (mut store, recovered) = open(&disk).unwrap();
    let members =
        Members { voters: vec![Member { engine: recovered.engine, node: identity().node }], learners: vec![] };
    let first = bootstrap(&members);
    let batch = [Write::Cluster(Uuid::from_u128(8)), Write::Install(first), Write::Promise(None)];
    store.write(&batch, &States::from([(1, State::new(std::iter::empty))]), true).unwrap();
    let mut commands: Vec<Bytes> = Vec::new();
    for life in 0..3 {
        drop(store);
        let found;
        (store, found) = open(&disk).unwrap();
        let mut raft = Raft::recover(&found, Config::default(), Dice::new(life)).unwrap();
        let mut applied = Vec::new();
        turn_over(&mut raft, &mut store, &mut applied);
        assert!(raft.status().leading && raft.status().members == members);
        assert_eq!(applied, commands, "what was agreed comes out again");
        for number in 0..10 {
            let command = Bytes::from(format!("{life} {number}"));
            raft.propose(command.clone()).unwrap();
            commands.push(command);
        }
        turn_over(&mut raft, &mut store, &mut applied);
        assert_eq!(applied, commands);
    }
}
