//! Measures how soon a durable server serves again after SIGKILL: with 100,000 entries in its log, and with 1,000,000 keys
//! in its snapshot; and how much memory it then has resident, against the encoded size of that snapshot.
//!
//! `cargo build --release && cargo run --release --example recovery`, with the numbers of entries and of keys as arguments if
//! not those. The data is written over HTTP, which takes minutes; what is measured is only the restart.
#![expect(clippy::print_stdout, reason = "a program to watch")]
#![expect(clippy::disallowed_methods, reason = "a stopwatch asks the clock")]

use lictor_agent::consensus::EngineId;
use lictor_agent::consensus::file::FileBackend;
use lictor_agent::consensus::store::{Identity, LogStore};
use lictor_examples::cluster::{Agent, Cluster, Result, until};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Restarts of each figure.
const RESTARTS: usize = 5;
/// Writers at once: the more, the more writes share a sync.
const WRITERS: usize = 128;
/// Bytes of a key's value in the log and in the snapshot.
const LOG_VALUE: usize = 64;
const SNAPSHOT_VALUE: usize = 100;
/// Overwritten again and again, these fill the log until it is compacted (at 32 MiB).
const FILLER: usize = 500_000;
const FILLERS: usize = 72;
/// More than compacting a million keys takes.
const COMPACTION: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<()> {
    let number = |at: usize, otherwise: u64| -> Result<u64> {
        Ok(std::env::args().nth(at).map_or(Ok(otherwise), |text| text.parse())?)
    };
    let (entries, keys) = (number(1, 100_000)?, number(2, 1_000_000)?);
    if entries > 0 {
        // So many and so small that the log is not compacted.
        measure(entries, LOG_VALUE, 0).await?;
    }
    if keys > 0 {
        measure(keys, SNAPSHOT_VALUE, FILLERS).await?;
    }
    Ok(())
}

async fn measure(keys: u64, value: usize, fillers: usize) -> Result<()> {
    let cluster = Cluster::new()?;
    let mut servers = cluster.servers(1).await?;
    write(&cluster, &servers[0], keys, value).await?;
    for _ in 0..fillers {
        cluster.put(&servers[0], "/v1/kv/filler", vec![b'f'; FILLER]).await?;
    }
    if fillers > 0 {
        // The snapshot is written in small steps, and nobody outside is told which is the last.
        tokio::time::sleep(COMPACTION).await;
    }
    let last = format!("/v1/kv/row/{:08}?raw", keys - 1);
    let mut times = Vec::new();
    let mut resident_kib = 0;
    for _ in 0..RESTARTS {
        servers[0].kill();
        let begun = Instant::now();
        servers[0].start()?;
        until("a default read", async || cluster.get(&servers[0], &last).await.ok()).await?;
        times.push(begun.elapsed());
        resident_kib = resident(&servers[0])?;
    }
    servers[0].kill();
    let held = held(&servers[0].dir)?;
    times.sort();
    println!(
        "{} entries in the log, after a snapshot at index {} of {:.1} MiB: exec to the first default read: median {:.0?}, min {:.0?}, max {:.0?} ({RESTARTS} runs); \
         resident {:.1} MiB",
        held.entries,
        held.snapshot_index,
        mib(held.encoded),
        times[times.len() / 2],
        times[0],
        times[times.len() - 1],
        mib(resident_kib * 1024),
    );
    Ok(())
}

async fn write(cluster: &Cluster, server: &Agent, keys: u64, value: usize) -> Result<()> {
    let next = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (next, http, url) = (Arc::clone(&next), cluster.http().clone(), server.url("/v1/kv/row/"));
            tokio::spawn(async move {
                loop {
                    let key = next.fetch_add(1, Ordering::Relaxed);
                    if key >= keys {
                        return Ok(());
                    }
                    let body = format!("{key:0value$}");
                    http.put(format!("{url}{key:08}")).body(body).send().await?.error_for_status()?;
                }
            })
        })
        .collect();
    for writer in writers {
        let written: reqwest::Result<()> = writer.await?;
        written?;
    }
    Ok(())
}

struct Held {
    entries: usize,
    snapshot_index: u64,
    /// Bytes of the snapshot's state.
    encoded: u64,
}

/// What the log store of a stopped server holds.
fn held(dir: &Path) -> Result<Held> {
    let path = dir.join("raft/log.redb");
    let node = std::fs::read_to_string(dir.join("node-id"))?.trim().parse()?;
    let identity = Identity { fresh: EngineId(1), node };
    let (store, found) = LogStore::open(FileBackend::open(&path)?, &path, identity, 1 << 20)?;
    let mut encoded = 0;
    for chunk in store.chunks()? {
        encoded += chunk?.len() as u64;
    }
    let snapshot_index = found.snapshot.map_or(0, |snapshot| snapshot.index.0);
    Ok(Held { entries: found.log.len(), snapshot_index, encoded })
}

/// Resident KiB of a process.
fn resident(agent: &Agent) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid().ok_or("it runs")?))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no figure")?.parse()?)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
