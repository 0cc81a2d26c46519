//! Rows of a log store with sound checksums and any content: see [`crate::malformed`]. Damage below the rows, in the
//! pages, is `tests.rs`'s subject.

use super::record;
use super::{CHUNKS, Identity, LOG, LogStore, META, row};
use crate::consensus::raft::{Config, Raft, bootstrap};
use crate::consensus::{EngineId, Member, Members};
use crate::dice::Dice;
use crate::malformed::{Seeds, Verdict};
use redb::backends::InMemoryBackend;
use std::path::Path;
use uuid::Uuid;

const NAMES: [&str; 7] = [row::FORMAT, row::ENGINE, row::NODE, row::CLUSTER, row::PROMISE, row::VOTE, row::SNAPSHOT];

/// The first byte says which row, the second whether it has a checksum; the rest is its content. The store is refused, or
/// an engine starts from it or refuses.
pub(crate) fn log_row(bytes: &[u8]) -> Verdict {
    let (place, sealed, content) = match bytes {
        [place, sealed, content @ ..] => (usize::from(*place), *sealed == 0, content),
        _ => return Err("no row".to_owned()),
    };
    let identity = Identity { node: Uuid::from_u128(1), fresh: EngineId(1) };
    let store = LogStore::open(InMemoryBackend::new(), Path::new("log.redb"), identity, 1 << 20);
    let (store, _) = store.expect("an empty store");
    put(&store, place, sealed, content).expect("memory takes every row");
    let recovered = store.recover(identity).map_err(|error| error.to_string())?;
    let engine = Raft::recover(&recovered, Config::default(), Dice::new(1)).map_err(|error| error.to_string())?;
    drop(engine);
    Ok(())
}

fn put(store: &LogStore, place: usize, sealed: bool, content: &[u8]) -> Result<(), redb::Error> {
    let seal = |name: &[u8]| if sealed { record::seal(name, content) } else { content.to_vec() };
    let transaction = store.database().begin_write()?;
    if let Some(name) = NAMES.get(place) {
        transaction.open_table(META)?.insert(*name, seal(name.as_bytes()).as_slice())?;
    } else if place == NAMES.len() {
        transaction.open_table(LOG)?.insert(1, seal(&1_u64.to_le_bytes()).as_slice())?;
    } else {
        transaction.open_table(CHUNKS)?.insert((0, 0), seal(&record::chunk_place(0, 0)).as_slice())?;
    }
    transaction.commit()?;
    Ok(())
}

pub(crate) fn log_rows() -> Seeds {
    let place = |name: &str| NAMES.iter().position(|known| *known == name).expect("a row of that name") as u8;
    let with = |name: &str, content: &[u8]| [&[place(name), 0], content].concat();
    let member = Member { engine: EngineId(1), node: Uuid::from_u128(1) };
    let snapshot = bootstrap(&Members { voters: vec![member], learners: Vec::new() });
    vec![
        ("format", with(row::FORMAT, &[1])),
        ("engine", with(row::ENGINE, &7_u64.to_le_bytes())),
        ("node", with(row::NODE, Uuid::from_u128(1).as_bytes())),
        ("cluster", with(row::CLUSTER, Uuid::from_u128(9).as_bytes())),
        ("promise", with(row::PROMISE, &[1, 0, 0])),
        ("snapshot", with(row::SNAPSHOT, &record::encode_snapshot(&snapshot, 0))),
    ]
}
