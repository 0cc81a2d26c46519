//! Measures what waiting costs: many blocking queries on one service and one change of it, many that must sleep through changes
//! of another service, and one stream that watches a thousand services. Prints one line a figure; fails when somebody was
//! woken for nothing, or when an answer was encoded more than once.
//!
//! `cargo build --release && cargo run --release --example watchers -- --queries 10000 --services 1000`
#![expect(clippy::print_stdout, reason = "a program to watch")]
#![expect(clippy::disallowed_methods, reason = "a stopwatch asks the clock")]

use lictor_examples::cluster::{Agent, Cluster, PATIENCE, Result, until};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Watchers of a service that does not change, and changes of another one.
const SLEEPERS: usize = 2000;
const NOISE: usize = 1000;

struct Options {
    queries: usize,
    services: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let options = options()?;
    descriptors(options.queries.max(SLEEPERS))?;
    let cluster = Cluster::new()?;
    let settings = "limits { http_max_conns_per_client = 0 } telemetry { prometheus_retention_time = \"1h\" disable_hostname = true }";
    let args = ["-server", "-bootstrap-expect=1", "-hcl", settings].map(str::to_owned);
    let server = cluster.agent(1, "server1", &args)?;
    cluster.leader(std::slice::from_ref(&server)).await?;
    for service in ["a", "b"] {
        register(&cluster, &server, "n0", service, "passing").await?;
    }
    fan_out(&cluster, &server, options.queries).await?;
    sleep_on(&cluster, &server).await?;
    stream(&cluster, &server, options.services).await
}

fn options() -> Result<Options> {
    const USAGE: &str = "usage: watchers [--queries 1..100000] [--services 1..2000]";
    let mut options = Options { queries: 10_000, services: 1000 };
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let value: usize = args.next().and_then(|value| value.parse().ok()).ok_or(USAGE)?;
        match (flag.as_str(), value) {
            ("--queries", 1..=100_000) => options.queries = value,
            ("--services", 1..=2000) => options.services = value,
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

/// Lets this process, and the agent that it starts, open so many connections.
fn descriptors(connections: usize) -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if most < connections as u64 + 500 {
        return Err(format!("{connections} connections need more than the {most} descriptors allowed: raise `ulimit -Hn`, or pass --queries").into());
    }
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most)?)
}

/// Many wait for one service, which changes once.
async fn fan_out(cluster: &Cluster, server: &Agent, queries: usize) -> Result<()> {
    let before = resident(server)?;
    let waiting = Waiting::start(cluster, server, "a", queries).await?;
    let each = resident(server)?.saturating_sub(before) / queries as u64;
    println!("{:<58} {each} bytes", format!("{queries} blocking queries, each on its connection: resident, each"));
    let counted = figure(cluster, server, "lictor_hub_encodes").await?;
    let begun = Instant::now();
    register(cluster, server, "n0", "a", "critical").await?;
    let ends = waiting.ends().await?;
    let first = ends.first().ok_or("somebody waited")?.duration_since(begun);
    let last = ends.last().ok_or("somebody waited")?.duration_since(begun);
    println!("{:<58} {first:.1?}", "one change to the first answer");
    println!("{:<58} {last:.1?}", "one change to the last answer");
    let encodes = figure(cluster, server, "lictor_hub_encodes").await? - counted;
    println!("{:<58} {encodes}", "answers encoded for that change");
    if encodes == 1.0 { Ok(()) } else { Err("equal answers are encoded once".into()) }
}

/// Many wait for one service while another one changes.
async fn sleep_on(cluster: &Cluster, server: &Agent) -> Result<()> {
    let waiting = Waiting::start(cluster, server, "a", SLEEPERS).await?;
    let evaluated = figure(cluster, server, "lictor_hub_evaluations").await?;
    for number in 0..NOISE {
        register(cluster, server, "n0", "b", if number % 2 == 0 { "critical" } else { "passing" }).await?;
    }
    let woken = waiting.answered.load(Ordering::Relaxed);
    println!("{:<58} {woken}", format!("{SLEEPERS} watchers of a, {NOISE} writes to b: early answers"));
    let evaluations = figure(cluster, server, "lictor_hub_evaluations").await? - evaluated;
    let early = figure(cluster, server, "lictor_hub_early").await?;
    println!("{:<58} {evaluations}", "evaluations for them meanwhile");
    println!("{:<58} {early}", "early answers that the agent counted itself, in all");
    register(cluster, server, "n0", "a", "passing").await?;
    waiting.ends().await?;
    if woken == 0 && early == 0.0 { Ok(()) } else { Err("nobody may be woken for nothing".into()) }
}

/// Blocking queries on one service, each on a connection of its own.
struct Waiting {
    tasks: JoinSet<Result<(Instant, TcpStream)>>,
    answered: Arc<AtomicUsize>,
}

impl Waiting {
    /// They all wait when this returns.
    async fn start(cluster: &Cluster, server: &Agent, service: &str, count: usize) -> Result<Self> {
        let path = format!("/v1/health/service/{service}");
        let response = cluster.http().get(server.url(&path)).send().await?;
        let index = response.headers().get("x-consul-index").ok_or("no index")?.to_str()?.to_owned();
        let request: Arc<str> = format!("GET {path}?wait=10m&index={index} HTTP/1.1\r\nhost: lictor\r\n\r\n").into();
        let answered = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for number in 0..count {
            let mut stream = TcpStream::connect((server.ip, 8500)).await?;
            stream.write_all(request.as_bytes()).await?;
            let answered = Arc::clone(&answered);
            tasks.spawn(async move {
                read(&mut stream).await?;
                answered.fetch_add(1, Ordering::Relaxed);
                // Kept open, as by clients that ask again.
                Ok((Instant::now(), stream))
            });
            // The agent's queue of new connections is short.
            if number % 100 == 0 {
                blocked(cluster, server, number / 2).await?;
            }
        }
        blocked(cluster, server, count).await?;
        Ok(Self { tasks, answered })
    }

    /// When they were answered, in order.
    async fn ends(mut self) -> Result<Vec<Instant>> {
        let (mut ends, mut open) = (Vec::new(), Vec::new());
        while let Some(answered) = tokio::time::timeout(PATIENCE, self.tasks.join_next()).await? {
            let (end, stream) = answered??;
            ends.push(end);
            open.push(stream);
        }
        ends.sort_unstable();
        Ok(ends)
    }
}

/// Reads one whole answer, which must be a good one.
async fn read(stream: &mut TcpStream) -> Result<()> {
    let mut answer = Vec::with_capacity(4096);
    loop {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err("an answer broke off".into());
        }
        let Some(head) = answer.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(&answer[..head])?;
        if !text.starts_with("HTTP/1.1 200") {
            return Err(text.to_owned().into());
        }
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).ok_or("no length")?;
        if answer.len() >= head + 4 + length.parse::<usize>()? {
            return Ok(());
        }
    }
}

/// Waits until so many reads wait at the agent.
async fn blocked(cluster: &Cluster, server: &Agent, count: usize) -> Result<()> {
    until("queries that wait", async || {
        let waiting = figure(cluster, server, "rpc_queries_blocking").await.ok()?;
        (waiting >= count as f64).then_some(())
    })
    .await
}

/// One stream watches many services, one of which has a thousand instances.
async fn stream(cluster: &Cluster, server: &Agent, services: usize) -> Result<()> {
    for number in 0..1000 {
        register(cluster, server, &format!("n{number}"), "big", "passing").await?;
    }
    let names: Vec<String> = (1..services).map(|number| format!("&service=s{number}")).collect();
    let url = server.url(&format!("/v1/watch?service=big{}", names.concat()));
    let begun = Instant::now();
    // Without the patience of other requests: a stream has no end.
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut events = client.get(url).send().await?.error_for_status()?;
    let whole = read_events(&mut events, services).await?;
    println!("{:<58} {:.1?}", format!("a stream of {services} services: all snapshots"), begun.elapsed());
    println!("{:<58} {} bytes", "and their size", whole.len());
    let begun = Instant::now();
    register(cluster, server, "n500", "big", "critical").await?;
    let event = read_events(&mut events, 1).await?;
    println!("{:<58} {} bytes", "one flap in a service of 1,000 instances, on the stream", event.len());
    println!("{:<58} {:.1?}", "from the flap to its event", begun.elapsed());
    let told = event.contains("event: set") && event.contains("\"n500/big\"");
    if told { Ok(()) } else { Err(format!("the flap was told so: {event}").into()) }
}

/// What comes until there were so many events, comments included.
async fn read_events(response: &mut reqwest::Response, count: usize) -> Result<String> {
    let mut text = String::new();
    let read = async {
        while text.matches("\nevent: ").count() < count || !text.ends_with("\n\n") {
            let piece = response.chunk().await?.ok_or("the stream ended")?;
            text += std::str::from_utf8(&piece)?;
        }
        Ok(text)
    };
    tokio::time::timeout(PATIENCE, read).await?
}

/// An instance with a check.
async fn register(cluster: &Cluster, server: &Agent, node: &str, service: &str, status: &str) -> Result<()> {
    let address = Ipv4Addr::new(10, 0, 0, 1);
    let check: Value = json!({"CheckID": service, "Name": service, "ServiceID": service, "Status": status});
    let service = json!({"ID": service, "Service": service, "Port": 80, "Tags": ["v1"]});
    let body = json!({"Node": node, "Address": address, "Service": service, "Check": check});
    cluster.put(server, "/v1/catalog/register", body.to_string()).await.map(drop)
}

/// A figure of the agent since its start, as it shows it to Prometheus.
async fn figure(cluster: &Cluster, server: &Agent, name: &str) -> Result<f64> {
    let text = cluster.get(server, "/v1/agent/metrics?format=prometheus").await?;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("consul_{name} ")));
    Ok(line.ok_or_else(|| format!("no figure consul_{name}"))?.parse()?)
}

/// Bytes of the agent that are in memory.
fn resident(agent: &Agent) -> Result<u64> {
    let pid = agent.pid().ok_or("the agent runs")?;
    let pages: u64 =
        std::fs::read_to_string(format!("/proc/{pid}/statm"))?.split_whitespace().nth(1).ok_or("no figure")?.parse()?;
    Ok(pages * page_size()?)
}

fn page_size() -> Result<u64> {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?.ok_or("no page size")?;
    Ok(size.try_into()?)
}
