//! A log store that forgets.

use super::Bug;
use crate::consensus::Write;
use crate::consensus::raft::codec::Vote;
use crate::consensus::store::{LogStore, State, States, Storage, WriteError};

struct Forgetful {
    inner: LogStore,
    bug: Bug,
    /// The state of the last compaction or installation.
    state: Option<State>,
}

/// The log store of a node.
pub(in crate::sim) fn storage(bug: Option<Bug>, inner: LogStore) -> Box<dyn Storage> {
    match bug {
        None => Box::new(inner),
        Some(bug) => Box::new(Forgetful { inner, bug, state: None }),
    }
}

impl Storage for Forgetful {
    fn write(&mut self, batch: &[Write], states: &States, sync: bool) -> Result<(), WriteError> {
        match self.bug {
            Bug::VoteNotPersisted => {
                let batch: Vec<Write> = batch.iter().cloned().map(without_vote).collect();
                self.inner.write(&batch, states, sync)
            }
            Bug::AckBeforeSync => self.inner.write(batch, states, false),
            Bug::PromiseNotPersisted => {
                let kept = batch.iter().filter(|write| !matches!(write, Write::Promise(Some(_))));
                let kept: Vec<Write> = kept.cloned().collect();
                self.inner.write(&kept, states, sync)
            }
            Bug::SnapshotOfEarlier => {
                let mut earlier = states.clone();
                for state in earlier.values_mut() {
                    let now = state.clone();
                    if let Some(before) = self.state.replace(now) {
                        *state = before;
                    }
                }
                self.inner.write(batch, &earlier, sync)
            }
            _ => self.inner.write(batch, states, sync),
        }
    }

    fn go_on(&mut self) -> Result<bool, WriteError> {
        match self.bug {
            // A step would sync what the bug has left.
            Bug::AckBeforeSync => Ok(false),
            _ => self.inner.go_on(),
        }
    }
}

fn without_vote(write: Write) -> Write {
    match write {
        Write::Vote { record, guard } => {
            let record = match Vote::decode(&record) {
                Ok(vote) => Vote { vote: 0, ..vote }.encode(),
                Err(_) => record,
            };
            Write::Vote { record, guard }
        }
        write => write,
    }
}
