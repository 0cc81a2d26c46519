//! Raft, with one of its rules or one of ours forgotten.

use super::Bug;
use crate::consensus::raft::{self, ELECTION_TICKS};
use crate::consensus::{Batch, Claim, Engine, Index, Letter, Make, Members, News, Peer, Ready, Refused, Status};
use bytes::Bytes;

struct Careless {
    inner: Box<dyn Engine + Send>,
    bug: Bug,
    batch: Batch,
    /// The last answer of a quorum, and the asks that get it once more.
    confirmed: Option<Index>,
    again: Vec<(u64, Index)>,
}

/// How a node's engine is made.
pub(in crate::sim) fn engine(bug: Option<Bug>) -> Make {
    match bug {
        Some(Bug::StaleReadIndex) => {
            |found, config, dice| Ok(careless(Bug::StaleReadIndex, raft::make(found, config, dice)?))
        }
        Some(Bug::LeaseInTransfer) => {
            |found, config, dice| Ok(careless(Bug::LeaseInTransfer, raft::make(found, config, dice)?))
        }
        Some(Bug::VoteInsideLease) => |found, config, dice| {
            let mut engine = raft::make(found, config, dice)?;
            for _ in 0..=ELECTION_TICKS * config.multiplier {
                engine.tick();
            }
            Ok(engine)
        },
        _ => raft::make,
    }
}

fn careless(bug: Bug, inner: Box<dyn Engine + Send>) -> Box<dyn Engine + Send> {
    Box::new(Careless { inner, bug, batch: Batch(0), confirmed: None, again: Vec::new() })
}

impl Engine for Careless {
    fn tick(&mut self) {
        self.inner.tick();
    }

    fn step(&mut self, from: Peer, letter: Letter) -> Result<(), Refused> {
        self.inner.step(from, letter)
    }

    fn propose(&mut self, command: Bytes) -> Result<Index, Refused> {
        self.inner.propose(command)
    }

    fn read_index(&mut self, ask: u64) -> Result<(), Refused> {
        match self.confirmed.filter(|_| self.bug == Bug::StaleReadIndex) {
            Some(index) => {
                self.again.push((ask, index));
                Ok(())
            }
            None => self.inner.read_index(ask),
        }
    }

    fn transfer(&mut self, to: Peer) -> Result<(), Refused> {
        self.inner.transfer(to)
    }

    fn change(&mut self, members: &Members) -> Result<(), Refused> {
        self.inner.change(members)
    }

    fn claim(&self, members: &Members) -> Option<Claim> {
        self.inner.claim(members)
    }

    fn ready(&mut self) -> Option<Ready> {
        let mut ready = match self.inner.ready() {
            Some(ready) => ready,
            None if self.again.is_empty() => return None,
            None => Ready { batch: self.batch, ..Ready::default() },
        };
        self.batch = ready.batch;
        self.confirmed = self.confirmed.max(ready.reads.iter().map(|(_, index)| *index).max());
        ready.reads.append(&mut self.again);
        Some(ready)
    }

    fn stored(&mut self, batch: Batch) -> Vec<(Peer, Letter)> {
        self.inner.stored(batch)
    }

    fn applied(&mut self, upto: Index) {
        self.inner.applied(upto);
    }

    fn needs_compaction(&self) -> bool {
        self.inner.needs_compaction()
    }

    fn compact(&mut self, upto: Index) {
        self.inner.compact(upto);
    }

    fn peer(&mut self, peer: Peer, news: News) {
        self.inner.peer(peer, news);
    }

    fn status(&self) -> Status {
        let status = self.inner.status();
        Status { transferred: status.transferred && self.bug != Bug::LeaseInTransfer, ..status }
    }
}
