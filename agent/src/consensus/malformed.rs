//! Letters from peers, and records from the disk, before and inside a running engine: see [`crate::malformed`].

use super::bootstrap::{BadPromise, Bootstrap, Candidate, Letter as BootstrapLetter, Output};
use super::raft::codec::{Entry, Handle, Vote};
use super::raft::{Config, Raft, bootstrap};
use super::{BadLetter, Engine, EngineId, Index, Letter, Member, Members, Peer, Refused, Snapshot};
use crate::dice::Dice;
use crate::malformed::{Seeds, Verdict, survives};
use crate::time::Instant;
use bytes::Bytes;
use std::collections::VecDeque;
use uuid::Uuid;

pub(crate) use super::store::malformed::{log_row, log_rows};

/// Turns in which an engine must have said all that one event makes it say.
const TURNS: usize = 64;
/// Ticks that pass afterwards: some elections.
const TICKS: usize = 64;

/// A letter to a follower and to a leader, each of three servers: neither may be stopped by it, now or later.
pub(crate) fn letter(bytes: &[u8]) -> Verdict {
    let letter = Letter::decode(bytes).map_err(|bad: BadLetter| bad.to_string())?;
    survives(&letter, Letter::encode, Letter::decode);
    let _ = letter.needs_state();
    let mut verdict = Err(Refused::Malformed);
    for mut engine in [engine(1, 3), leader()] {
        // The letter names its sender; another peer's is refused by the first comparison.
        for from in [2, 3].map(EngineId) {
            let stepped = engine.step(from, letter.clone());
            verdict = verdict.or(stepped);
        }
        lives_on(&mut engine);
    }
    verdict.map_err(|refused| refused.to_string())
}

pub(crate) fn letters() -> Seeds {
    let mut said = Said::new();
    for leader in [0, 1] {
        let mut engines = trio();
        elect(&mut engines, leader, &mut said);
        engines[leader].propose(Bytes::from_static(b"command")).expect("it leads");
        engines[leader].read_index(7).expect("it leads");
        deliver(&mut engines, &mut said);
        engines[leader].tick();
        engines[leader].tick();
        engines[leader].transfer(EngineId(2 - leader as u64)).expect("another voter");
        deliver(&mut engines, &mut said);
    }
    let mut seeds = Seeds::new();
    // To the first, the longest of each kind; the kind is the third byte.
    said.retain(|(_, to, _)| *to == EngineId(1));
    let mut letters: Vec<Vec<u8>> = said.into_iter().map(|(_, _, letter)| letter.encode().to_vec()).collect();
    letters.sort_by_key(|bytes| (bytes[2], std::cmp::Reverse(bytes.len())));
    letters.dedup_by_key(|bytes| bytes[2]);
    for bytes in letters {
        let name = match bytes[2] {
            0 => "append",
            1 => "append_response",
            2 => "request_vote",
            3 => "request_vote_response",
            5 => "heartbeat",
            6 => "heartbeat_response",
            7 => "timeout_now",
            10 => "request_pre_vote",
            11 => "request_pre_vote_response",
            _ => "other",
        };
        seeds.push((name, bytes));
    }
    seeds
}

/// A record of the log, of the vote or of a snapshot, as the only server of a cluster finds it when it starts.
pub(crate) fn record(bytes: &[u8]) -> Verdict {
    let mut accepted = false;
    let snapshot = bootstrap(&members(1));
    let first = Vote { term: 1, vote: 1, commit: 2 }.encode();
    let start = |snapshot: &Snapshot, vote: &[u8], log: &[(u64, Bytes)]| {
        if let Ok(mut engine) = Raft::new(EngineId(1), Some(snapshot), Some(vote), log, Config::default(), Dice::new(1))
        {
            lives_on(&mut engine);
        }
    };
    if let Ok(entry) = Entry::decode(bytes) {
        survives(&entry, Entry::encode, Entry::decode);
        start(&snapshot, &first, &[(entry.index, Bytes::copy_from_slice(bytes))]);
        accepted = true;
    }
    if let Ok(vote) = Vote::decode(bytes) {
        survives(&vote, |vote| vote.encode(), Vote::decode);
        start(&snapshot, bytes, &[]);
        accepted = true;
    }
    if let Ok(handle) = Handle::decode(bytes) {
        survives(&handle, Handle::encode, Handle::decode);
        let found = Snapshot { index: Index(handle.index), engine: Bytes::copy_from_slice(bytes), ..snapshot };
        let vote = Vote { term: handle.term, vote: 0, commit: handle.index }.encode();
        start(&found, &vote, &[]);
        accepted = true;
    }
    if accepted { Ok(()) } else { Err("no record of this format".to_owned()) }
}

pub(crate) fn records() -> Seeds {
    let mut engine = engine(1, 1);
    engine.propose(Bytes::from_static(b"command")).expect("the only server leads");
    let mut seeds = Seeds::new();
    while let Some(ready) = engine.ready() {
        for write in ready.store {
            match write {
                super::Write::Append(entries) => {
                    seeds.extend(entries.into_iter().map(|(_, record)| ("entry", record.to_vec())).take(1));
                }
                super::Write::Vote { record, .. } => seeds.push(("vote", record.to_vec())),
                _ => {}
            }
        }
        engine.stored(ready.batch);
    }
    seeds.push(("snapshot", bootstrap(&members(3)).engine.to_vec()));
    seeds.sort();
    seeds.dedup_by_key(|(name, _)| *name);
    seeds
}

/// A letter before there is a cluster.
pub(crate) fn bootstrap_letter(bytes: &[u8]) -> Verdict {
    let letter = BootstrapLetter::decode(bytes).ok_or("no bootstrap letter of this format")?;
    survives(&letter, BootstrapLetter::encode, |bytes| BootstrapLetter::decode(bytes).ok_or(()));
    let mut server = Bootstrap::new(member(1), 3, None).map_err(|BadPromise| BadPromise.to_string())?;
    let candidates: Vec<Candidate> = (1..=3).map(candidate).collect();
    server.poll(Instant(1), &candidates[..2], &mut Dice::new(1));
    for now in [2, 60_000_000_000] {
        said_in_bounds(&server.receive(letter.clone()));
        said_in_bounds(&server.persisted());
        said_in_bounds(&server.poll(Instant(now), &candidates, &mut Dice::new(1)));
    }
    let _ = server.waiting();
    Ok(())
}

pub(crate) fn bootstrap_letters() -> Seeds {
    let mut first = Bootstrap::new(member(1), 3, None).expect("no promise is no bad one");
    let candidates: Vec<Candidate> = (1..=3).map(candidate).collect();
    let mut said = first.poll(Instant(1), &candidates, &mut Dice::new(1));
    said.extend(first.persisted());
    let promised = said.into_iter().find_map(|output| match output {
        Output::Send { letter, .. } => Some(letter.encode().to_vec()),
        _ => None,
    });
    let refused = BootstrapLetter::Refused { cluster: Uuid::from_u128(9), by: member(2) };
    vec![("promised", promised.expect("a proposer tells all")), ("refused", refused.encode().to_vec())]
}

/// A promise from the disk.
pub(crate) fn promise(bytes: &[u8]) -> Verdict {
    let mut server = Bootstrap::new(member(1), 3, Some(bytes)).map_err(|bad: BadPromise| bad.to_string())?;
    let candidates: Vec<Candidate> = (1..=3).map(candidate).collect();
    for now in [1, 60_000_000_000] {
        for output in server.poll(Instant(now), &candidates, &mut Dice::new(1)) {
            if let Output::Persist(record) = output {
                Bootstrap::new(member(1), 3, Some(&record)).expect("what it writes it reads");
            }
        }
        said_in_bounds(&server.persisted());
    }
    let _ = server.waiting();
    Ok(())
}

pub(crate) fn promises() -> Seeds {
    let mut first = Bootstrap::new(member(1), 3, None).expect("no promise is no bad one");
    let candidates: Vec<Candidate> = (1..=3).map(candidate).collect();
    let persisted =
        first.poll(Instant(1), &candidates, &mut Dice::new(1)).into_iter().find_map(|output| match output {
            Output::Persist(record) => Some(record.to_vec()),
            _ => None,
        });
    vec![("proposed", persisted.expect("a proposer binds itself first"))]
}

fn said_in_bounds(outputs: &[Output]) {
    assert!(outputs.len() <= 256, "{} outputs", outputs.len());
}

fn member(id: u64) -> Member {
    Member { engine: EngineId(id), node: Uuid::from_u128(id.into()) }
}

fn candidate(id: u64) -> Candidate {
    Candidate { node: Uuid::from_u128(id.into()), engine: EngineId(id), expect: 3, cluster: None }
}

fn members(count: u64) -> Members {
    Members { voters: (1..=count).map(member).collect(), learners: Vec::new() }
}

fn engine(id: u64, count: u64) -> Raft {
    let snapshot = bootstrap(&members(count));
    Raft::new(EngineId(id), Some(&snapshot), None, &[], Config::default(), Dice::new(id)).expect("a fresh start")
}

type Said = Vec<(Peer, Peer, Letter)>;

/// Lets an engine say and store all it wants; its letters.
fn turns(engine: &mut Raft) -> Vec<(Peer, Letter)> {
    let mut said = Vec::new();
    for _ in 0..TURNS {
        let Some(ready) = engine.ready() else { return said };
        said.extend(ready.now);
        said.extend(engine.stored(ready.batch));
        if let Some(last) = ready.apply.last() {
            engine.applied(last.index());
        }
    }
    panic!("an engine that does not come to rest");
}

fn deliver(engines: &mut [Raft], record: &mut Said) {
    let mut post = VecDeque::new();
    for _ in 0..TURNS {
        for (from, engine) in (1..).zip(engines.iter_mut()) {
            post.extend(turns(engine).into_iter().map(|(to, letter)| (EngineId(from), to, letter)));
        }
        if post.is_empty() {
            return;
        }
        for (from, to, letter) in post.drain(..) {
            record.push((from, to, letter.clone()));
            let _ = engines[to.0 as usize - 1].step(from, letter);
        }
    }
    panic!("engines that do not come to rest");
}

/// One of them becomes the leader: the others do not tick.
fn elect(engines: &mut [Raft], leader: usize, record: &mut Said) {
    for _ in 0..TICKS {
        engines[leader].tick();
        deliver(engines, record);
        if engines[leader].status().leading {
            return;
        }
    }
    panic!("nobody stands against it");
}

fn leader() -> Raft {
    let mut engines = trio();
    elect(&mut engines, 0, &mut Said::new());
    engines.swap_remove(0)
}

fn trio() -> Vec<Raft> {
    (1..=3).map(|id| engine(id, 3)).collect()
}

/// Time passes, and a proposal comes.
fn lives_on(engine: &mut Raft) {
    turns(engine);
    let _ = engine.propose(Bytes::from_static(b"command"));
    for _ in 0..TICKS {
        engine.tick();
        turns(engine);
    }
    let _ = engine.status();
}
