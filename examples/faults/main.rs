//! Real servers under faults, while clients work and remember: SIGKILL, SIGSTOP, failing and full disks. What the clients
//! were told is checked for linearizability.
//!
//! ```text
//! cargo build --release && cargo run --release --example faults -- [--servers 3|5] [--runs N] [--seconds N] [--seed N]
//! cargo run --release --example faults -- --paused-rounds 200
//! cargo run --release --example faults -- --disk
//! ```
//!
//! Each run has a cluster of its own and the next seed. A violation is printed, its history and the servers' directory are
//! kept, and the exit code is 1. What the machine does not permit is skipped by name.
#![allow(unreachable_pub, reason = "a program has no outside")]
#![expect(clippy::print_stdout, reason = "a program to watch")]

mod client;
mod disk;
mod nemesis;
mod paused;

use client::{Load, Recorder};
use lictor_agent::dice::Dice;
use lictor_agent::sim::linear::{self, Action, Operation};
use lictor_examples::cluster::{Agent, Cluster, Result};
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

const USAGE: &str =
    "usage: faults [--servers 3|5] [--runs N] [--seconds N] [--seed N] [--rate N] [--paused-rounds N] [--disk]";

struct Options {
    servers: u8,
    runs: u64,
    seconds: u64,
    seed: u64,
    rate: u64,
    paused_rounds: u32,
    disk: bool,
}

fn options() -> Result<Options> {
    let mut found = Options { servers: 3, runs: 1, seconds: 60, seed: 1, rate: 400, paused_rounds: 0, disk: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || -> Result<u64> {
            let text = words.next().ok_or_else(|| format!("{word} wants a number; {USAGE}"))?;
            Ok(text.parse().map_err(|error| format!("{word} {text}: {error}; {USAGE}"))?)
        };
        match word.as_str() {
            "--servers" => found.servers = u8::try_from(number()?)?,
            "--runs" => found.runs = number()?,
            "--seconds" => found.seconds = number()?,
            "--seed" => found.seed = number()?,
            "--rate" => found.rate = number()?,
            "--paused-rounds" => found.paused_rounds = u32::try_from(number()?)?,
            "--disk" => found.disk = true,
            _ => return Err(format!("{word} is no option; {USAGE}").into()),
        }
    }
    if !matches!(found.servers, 3 | 5) || !(200..=1000).contains(&found.rate) {
        return Err(format!("3 or 5 servers, 200 to 1000 operations a second; {USAGE}").into());
    }
    Ok(found)
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = options()?;
    if options.disk {
        for told in [disk::failing_sync(1).await?, disk::failing_sync(options.servers).await?, disk::full_disk().await?]
        {
            println!("{}", told.unwrap_or_else(|skipped| skipped));
        }
        return Ok(());
    }
    if options.paused_rounds > 0 {
        let cluster = Cluster::new()?;
        let servers = cluster.servers(options.servers).await?;
        let seen = paused::rounds(&cluster, &servers, options.paused_rounds).await.inspect_err(|_| cluster.keep())?;
        println!(
            "{} rounds with a paused leader, no stale read: {} answers were fresh, {} reads got none, {} stale ones said how old they were",
            seen.rounds, seen.fresh, seen.unanswered, seen.admitted
        );
        return Ok(());
    }
    for seed in (options.seed..).take(usize::try_from(options.runs)?) {
        run(&options, seed).await?;
    }
    Ok(())
}

async fn run(options: &Options, seed: u64) -> Result<()> {
    let cluster = Cluster::new()?;
    let mut servers = cluster.servers(options.servers).await?;
    let load = Load {
        servers: servers.iter().map(|server| server.url("")).collect(),
        clients: 10,
        keys: 20,
        rate: options.rate,
        seed,
        lasts: Duration::from_secs(options.seconds),
    };
    let recorder = Recorder::new();
    let mut dice = Dice::new(seed);
    let torment = nemesis::torment(&cluster, &mut servers, &mut dice, load.lasts);
    let ((), faults) = tokio::join!(client::run(&load, &recorder), torment);
    let faults = faults.inspect_err(|_| cluster.keep())?;
    settle(&cluster, &servers).await.inspect_err(|_| cluster.keep())?;
    client::read_all(&load, &recorder).await;
    let history = recorder.history();
    let path = cluster.dir().join(format!("history-{seed}.jsonl"));
    if let Err(violation) = linear::check(&history) {
        cluster.keep();
        write(&path, &history)?;
        println!("faults:\n  {}\n{violation}\nthe history is in {}", faults.join("\n  "), path.display());
        return Err(format!("seed {seed}: the history of {} operations is not linearizable", history.len()).into());
    }
    let open = history.iter().filter(|operation| operation.ended.is_none()).count();
    let (servers, done) = (options.servers, history.len());
    println!("seed {seed}: {servers} servers, {} faults, {done} operations ({open} open), linearizable", faults.len());
    Ok(())
}

/// Waits until every server answers again.
async fn settle(cluster: &Cluster, servers: &[Agent]) -> Result<()> {
    for server in servers {
        cluster.write(server, "settled", "yes").await?;
    }
    Ok(())
}

/// One operation a line, as JSON.
fn write(path: &Path, history: &[Operation]) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for Operation { key, begun, ended, action } in history {
        let what = match action {
            Action::Put(value) => json!({"put": value}),
            Action::Delete => json!("delete"),
            Action::Read(value) => json!({"read": value}),
            Action::Cas { expect, value, matched } => json!({"cas": value, "expect": expect, "matched": matched}),
        };
        writeln!(file, "{}", json!({"key": key, "begun_us": begun, "ended_us": ended, "action": what}))?;
    }
    Ok(file.flush()?)
}
