//! Compaction in small steps, between the batches for which somebody waits: the rows of the new state, then the switch to it,
//! then the sweeping of what it replaced.
//!
//! Until the switch, the old snapshot and the whole log behind it are what counts; from then on the new one is. A crash at
//! any point leaves one of the two, and rows that the next start sweeps. A compaction is never put off by a newer one, or a
//! busy server would never finish any; the newest waits for its turn.

use super::{CHUNKS, LOG, LogStore, META, Pieces, State, put, put_chunk, record, row};
use crate::consensus::Snapshot;
use redb::{AccessGuard, ReadableTable as _, StorageError, WriteTransaction};

/// Bytes that one step writes or sweeps, at least. More, when more was written since the last step: the log that grows
/// meanwhile must not outgrow the state.
const STEP_BYTES: usize = 128 << 10;
/// Rows that one step sweeps at most, however small they are.
const STEP_ROWS: usize = 1024;

/// What is still to be done.
pub(super) struct Compaction {
    /// There may be rows that count no more.
    sweep: bool,
    /// Bytes that were written since the last step.
    behind: usize,
    begun: Option<Begun>,
    next: Option<(Snapshot, State)>,
}

struct Begun {
    snapshot: Snapshot,
    rows: Pieces,
    count: u64,
}

impl Default for Compaction {
    /// Of a store that was just opened: nobody knows how it was left.
    fn default() -> Self {
        Self { sweep: true, behind: 0, begun: None, next: None }
    }
}

impl Compaction {
    pub(super) fn begin(&mut self, snapshot: Snapshot, state: State) {
        self.next = Some((snapshot, state));
    }

    /// A batch was written.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.behind = self.behind.saturating_add(bytes);
    }

    /// A newer state was installed.
    pub(super) fn overtaken(&mut self) {
        *self = Self::default();
    }
}

impl LogStore {
    /// One step, in a transaction of its own. `false`: nothing is left to do.
    pub(super) fn step(&mut self) -> Result<bool, redb::Error> {
        let bytes = STEP_BYTES.max(std::mem::take(&mut self.compaction.behind));
        if self.compaction.sweep {
            self.compaction.sweep = self.sweep(bytes)?;
            return Ok(true);
        }
        if let Some(mut begun) = self.compaction.begun.take() {
            if self.write_rows(&mut begun, bytes)? {
                self.compaction.begun = Some(begun);
            } else {
                self.compaction.sweep = true;
            }
            return Ok(true);
        }
        let Some((snapshot, state)) = self.compaction.next.take() else { return Ok(false) };
        self.compaction.begun = Some(Begun { snapshot, rows: state.rows(), count: 0 });
        Ok(true)
    }

    /// Writes some rows; `false`: they were the last, and the new snapshot counts.
    fn write_rows(&self, begun: &mut Begun, budget: usize) -> Result<bool, redb::Error> {
        let mut transaction = self.database().begin_write()?;
        transaction.set_durability(redb::Durability::Immediate)?;
        let mut bytes = 0;
        let mut more = true;
        {
            let mut chunks = transaction.open_table(CHUNKS)?;
            while more && bytes < budget {
                match begun.rows.next() {
                    Some(row) => {
                        put_chunk(&mut chunks, begun.snapshot.index.0, begun.count, &row)?;
                        begun.count += 1;
                        bytes += row.len();
                    }
                    None => more = false,
                }
            }
        }
        if !more {
            let mut meta = transaction.open_table(META)?;
            put(&mut meta, row::SNAPSHOT, &record::encode_snapshot(&begun.snapshot, begun.count))?;
        }
        transaction.commit()?;
        Ok(more)
    }

    /// Removes some of what counts no more; `false`: nothing was left.
    fn sweep(&self, budget: usize) -> Result<bool, redb::Error> {
        let transaction = self.database().begin_write()?;
        let swept = sweep(&transaction, budget)?;
        if swept {
            transaction.commit()?
        } else {
            transaction.abort()?
        }
        Ok(swept)
    }
}

fn sweep(transaction: &WriteTransaction, budget: usize) -> Result<bool, redb::Error> {
    let held = {
        let meta = transaction.open_table(META)?;
        let row = meta.get(row::SNAPSHOT)?;
        row.and_then(|row| record::decode_snapshot(record::open(row::SNAPSHOT.as_bytes(), row.value())?))
    };
    let index = held.map_or(0, |(snapshot, _)| snapshot.index.0);
    let mut chunks = transaction.open_table(CHUNKS)?;
    let mut log = transaction.open_table(LOG)?;
    let mut swept = remove(chunks.extract_from_if(..(index, 0), |_, _| true)?, budget)?;
    swept |= remove(chunks.extract_from_if((index + 1, 0).., |_, _| true)?, budget)?;
    swept |= remove(log.extract_from_if(..=index, |_, _| true)?, budget)?;
    Ok(swept)
}

/// Removes rows up to the budget, one at least; `false`: there were none. A row is gone when it is taken.
fn remove<'r, K: redb::Key + 'static>(
    rows: impl Iterator<Item = Result<(AccessGuard<'r, K>, AccessGuard<'r, &'static [u8]>), StorageError>>,
    budget: usize,
) -> Result<bool, redb::Error> {
    let (mut count, mut bytes) = (0, 0);
    for row in rows {
        bytes += row?.1.value().len();
        count += 1;
        if bytes >= budget || count == STEP_ROWS {
            break;
        }
    }
    Ok(count > 0)
}
