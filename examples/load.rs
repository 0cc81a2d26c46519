//! End-to-end load: a durable cluster of its own, and from a bounded number of connections, each with one request under way, as
//! many requests as it answers. Prints a rate and percentiles for each kind; the load takes its share of the same
//! machine, so compare lines of one run, or runs with the same arguments.
//!
//! `cargo build --release && cargo run --release --example load -- --seconds 5 --connections 64 --servers 1`
#![expect(clippy::print_stdout, reason = "a program to watch")]
#![expect(clippy::disallowed_methods, reason = "a stopwatch asks the clock")]

use hickory_resolver::proto::op::{Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use lictor_examples::cluster::{Agent, Cluster, Result, until};
use serde_json::json;
use std::net::Ipv4Addr;
use std::str::FromStr as _;
use std::time::{Duration, Instant};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// After this long a request is lost, and the run is no measurement.
const PATIENCE: Duration = Duration::from_secs(10);

struct Options {
    seconds: u32,
    connections: u16,
    servers: u8,
}

#[derive(Clone, Copy)]
enum Kind {
    Health,
    Write,
    Srv,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let options = options()?;
    let cluster = Cluster::new()?;
    let servers = cluster.servers(options.servers).await?;
    let leader = &servers[cluster.leader(&servers).await?];
    register(&cluster, leader).await?;
    println!("{} connections for {} s each, servers: {}", options.connections, options.seconds, options.servers);
    for (what, kind) in [
        ("GET /v1/health/service/web?passing, 3 instances", Kind::Health),
        ("PUT /v1/kv/load/…", Kind::Write),
        ("DNS SRV web.service.consul by UDP, 3 instances", Kind::Srv),
    ] {
        let times = run(leader.ip, kind, &options).await?;
        report(what, options.seconds, times);
    }
    Ok(())
}

fn options() -> Result<Options> {
    const USAGE: &str = "usage: load [--seconds 1..600] [--connections 1..10000] [--servers 1|3|5]";
    let mut options = Options { seconds: 5, connections: 64, servers: 1 };
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let value: u32 = args.next().and_then(|value| value.parse().ok()).ok_or(USAGE)?;
        match (flag.as_str(), value) {
            ("--seconds", 1..=600) => options.seconds = value,
            ("--connections", 1..=10_000) => options.connections = u16::try_from(value)?,
            ("--servers", 1 | 3 | 5) => options.servers = u8::try_from(value)?,
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

/// Three instances of `web`, in the catalog when this returns.
async fn register(cluster: &Cluster, agent: &Agent) -> Result<()> {
    for instance in 1..=3 {
        let service = json!({"ID": format!("web-{instance}"), "Name": "web", "Port": 8080 + instance, "Tags": ["v1"]});
        cluster.put(agent, "/v1/agent/service/register", service.to_string()).await?;
    }
    until("three instances", async || {
        let body = cluster.get(agent, "/v1/health/service/web?passing").await.ok()?;
        (body.matches("\"ServiceID\"").count() >= 3 || body.matches("\"ID\":\"web-").count() == 3).then_some(())
    })
    .await
}

/// The time of each request, over all connections.
async fn run(agent: Ipv4Addr, kind: Kind, options: &Options) -> Result<Vec<Duration>> {
    let end = Instant::now() + Duration::from_secs(options.seconds.into());
    let mut connections = JoinSet::new();
    for connection in 0..options.connections {
        match kind {
            Kind::Health | Kind::Write => connections.spawn(http(agent, kind, connection, end)),
            Kind::Srv => connections.spawn(dns(agent, connection, end)),
        };
    }
    let mut times = Vec::new();
    while let Some(ended) = connections.join_next().await {
        times.extend(ended??);
    }
    Ok(times)
}

async fn http(agent: Ipv4Addr, kind: Kind, connection: u16, end: Instant) -> Result<Vec<Duration>> {
    let stream = TcpStream::connect((agent, 8500)).await?;
    stream.set_nodelay(true)?;
    let (mut sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(driver);
    let mut times = Vec::new();
    while Instant::now() < end {
        let request = match kind {
            // Values always differ: what changes nothing would be written to no log.
            Kind::Write => Request::put(format!("/v1/kv/load/{connection}"))
                .body(Full::from(format!("{connection} {}", times.len())))?,
            Kind::Health | Kind::Srv => Request::get("/v1/health/service/web?passing").body(Full::default())?,
        };
        let begun = Instant::now();
        tokio::time::timeout(PATIENCE, answered(&mut sender, request, agent)).await??;
        times.push(begun.elapsed());
    }
    Ok(times)
}

/// Sends a request and reads its whole answer, which must be a good one.
async fn answered(
    sender: &mut SendRequest<Full<Bytes>>,
    mut request: Request<Full<Bytes>>,
    agent: Ipv4Addr,
) -> Result<()> {
    request.headers_mut().insert("host", agent.to_string().parse()?);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if status.is_success() { Ok(()) } else { Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into()) }
}

async fn dns(agent: Ipv4Addr, connection: u16, end: Instant) -> Result<Vec<Duration>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect((agent, 8600)).await?;
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_str("web.service.consul.")?, RecordType::SRV));
    query.metadata.id = connection;
    let query = query.to_vec()?;
    let mut answer = [0; 4096];
    let mut times = Vec::new();
    while Instant::now() < end {
        let begun = Instant::now();
        socket.send(&query).await?;
        let length = tokio::time::timeout(PATIENCE, socket.recv(&mut answer)).await??;
        times.push(begun.elapsed());
        // The first of them is looked at closely; then the count of answers will do.
        if times.len() == 1 {
            let message = Message::from_vec(&answer[..length])?;
            if message.metadata.response_code != ResponseCode::NoError || message.metadata.id != connection {
                return Err(format!("no answer to the question: {message:?}").into());
            }
        }
        if length < 12 || answer[6..8] != [0, 3] {
            return Err("an answer without three instances".into());
        }
    }
    Ok(times)
}

fn report(what: &str, seconds: u32, mut times: Vec<Duration>) {
    times.sort_unstable();
    let rate = times.len() / seconds as usize;
    let [p50, p99, p999] = [500, 990, 999].map(|part| times[(times.len() - 1) * part / 1000]);
    println!("{what:<50} {rate:>8}/s   p50 {p50:>9.1?}   p99 {p99:>9.1?}   p99.9 {p999:>9.1?}");
}
