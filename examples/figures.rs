//! Measures what users wait for, with real agents on loopback addresses: start to leader, failover, detection,
//! registration to DNS, resident memory. Prints one line a figure; compare lines of one run only.
//!
//! `cargo build --release && cargo run --release --example figures`, with the number of runs as an argument if not 10.
#![expect(clippy::print_stdout, reason = "a program to watch")]
#![expect(clippy::disallowed_methods, reason = "a stopwatch asks the clock")]

use hickory_resolver::proto::op::{Message, Query};
use hickory_resolver::proto::rr::{Name, RecordType};
use lictor_examples::cluster::{Agent, Cluster, Result, until};
use serde_json::json;
use std::net::{Ipv4Addr, UdpSocket};
use std::str::FromStr as _;
use std::time::{Duration, Instant};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let runs: usize = std::env::args().nth(1).map_or(Ok(10), |runs| runs.parse())?;
    if runs == 0 {
        return Err("usage: figures [RUNS]".into());
    }
    for (what, servers) in [
        ("-dev: exec to leader", 0),
        ("one durable server: exec to leader", 1),
        ("three durable servers: exec to leader", 3),
    ] {
        let mut times = Vec::new();
        for _ in 0..runs {
            times.push(start_to_leader(servers).await?);
        }
        print(what, times);
    }
    let mut times = Vec::new();
    for _ in 0..runs {
        times.push(failover().await?);
    }
    print("SIGKILL of the leader to the next accepted write", times);
    print("registration at a client agent to DNS at a server", registration(3 * runs).await?);
    let mut times = Vec::new();
    for _ in 0..runs {
        times.push(detection().await?);
    }
    print("SIGKILL of a client agent to serfHealth critical", times);
    memory().await
}

// Each run has a cluster of its own, so that nothing of the last one is in the way.

async fn start_to_leader(servers: u8) -> Result<Duration> {
    let cluster = Cluster::new()?;
    let begun = Instant::now();
    let agents = match servers {
        0 => vec![dev(&cluster)?],
        count => (1..=count).map(|host| cluster.server(host, count)).collect::<Result<Vec<_>>>()?,
    };
    cluster.leader(&agents).await?;
    Ok(begun.elapsed())
}

/// SIGKILL of the leader to the next write that a survivor accepted.
async fn failover() -> Result<Duration> {
    let cluster = Cluster::new()?;
    let mut servers = cluster.servers(3).await?;
    let leader = cluster.leader(&servers).await?;
    let survivor = (leader + 1) % 3;
    servers[leader].kill();
    let begun = Instant::now();
    cluster.write(&servers[survivor], "next", "1").await?;
    Ok(begun.elapsed())
}

/// Registration at one agent to its answer in another's DNS.
async fn registration(runs: usize) -> Result<Vec<Duration>> {
    let cluster = Cluster::new()?;
    let servers = cluster.servers(3).await?;
    let client = cluster.client(4)?;
    health(&cluster, &servers[1], "Agent alive").await?;
    let mut times = Vec::new();
    for run in 0..runs {
        let name = format!("web{run}");
        let begun = Instant::now();
        let service = json!({"Name": name, "Port": 80}).to_string();
        cluster.put(&client, "/v1/agent/service/register", service).await?;
        let asked = servers[run % 3].ip;
        until("the service in the DNS", async || answers(asked, &name).unwrap_or(false).then_some(())).await?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

/// SIGKILL of a client agent to a critical `serfHealth`.
async fn detection() -> Result<Duration> {
    let cluster = Cluster::new()?;
    let servers = cluster.servers(3).await?;
    let mut client = cluster.client(4)?;
    health(&cluster, &servers[0], "Agent alive").await?;
    // Everybody is to have heard of it: a member that is news is gossiped about, which would find it out sooner.
    tokio::time::sleep(Duration::from_secs(3)).await;
    client.kill();
    let begun = Instant::now();
    health(&cluster, &servers[0], "Agent not live").await?;
    Ok(begun.elapsed())
}

async fn memory() -> Result<()> {
    let cluster = Cluster::new()?;
    let durable = cluster.servers(1).await?.remove(0);
    let alone = Cluster::new()?;
    let dev = dev(&alone)?;
    let agents = [("-dev", dev), ("durable", durable)];
    // What was needed for the start is given back meanwhile.
    tokio::time::sleep(Duration::from_secs(5)).await;
    for (what, agent) in &agents {
        let mib = resident(agent)? as f64 / 1024.0;
        println!("{:<58} {mib:.1} MiB", format!("idle resident memory, one server, {what}"));
    }
    Ok(())
}

fn dev(cluster: &Cluster) -> Result<Agent> {
    cluster.agent(1, "dev", &["-dev".to_owned()])
}

/// Waits until the health of the client agent holds this word.
async fn health(cluster: &Cluster, asked: &Agent, word: &str) -> Result<()> {
    until(word, async || {
        let body = cluster.get(asked, "/v1/health/node/client4").await.ok()?;
        body.contains(word).then_some(())
    })
    .await
}

/// Whether the DNS at this address has an answer for the service.
fn answers(ip: Ipv4Addr, service: &str) -> Result<bool> {
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_str(&format!("{service}.service.consul."))?, RecordType::A));
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    socket.send_to(&query.to_vec()?, (ip, 8600))?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer)?;
    Ok(!Message::from_vec(&answer[..length])?.answers.is_empty())
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let (least, most, median) = (times[0], times[times.len() - 1], times[times.len() / 2]);
    println!("{what:<58} median {median:>10.1?}  min {least:>10.1?}  max {most:>10.1?}  ({} runs)", times.len());
}

/// Resident KiB of a process.
fn resident(agent: &Agent) -> Result<u64> {
    let pid = agent.pid().ok_or("the agent runs")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no figure")?.parse()?)
}
