//! Measures what users wait for, with real agents on loopback addresses: start to leader, failover, detection,
//! registration to DNS, resident memory. Prints one line a figure; compare lines of one run only.
//!
//! `cargo build --release && cargo run --release -p lictor-examples --example figures`

#![expect(clippy::disallowed_methods, reason = "a stopwatch asks the clock")]

use reqwest::Client;
use std::error::Error;
use std::fs::File;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Runs of each figure.
const RUNS: usize = 10;
const PATIENCE: Duration = Duration::from_secs(60);

struct Agent {
    child: Child,
    ip: Ipv4Addr,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Bench {
    lictor: PathBuf,
    dir: PathBuf,
    client: Client,
    /// Each run has a network of its own, so that nothing of the last one is in the way.
    network: u8,
}

impl Bench {
    fn ip(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 77, self.network, host)
    }

    fn start(&self, host: u8, args: &[&str]) -> Outcome<Agent> {
        let ip = self.ip(host);
        let log = File::create(self.dir.join(format!("{ip}.log")))?;
        let child = Command::new(&self.lictor)
            .args(["agent", "-log-level=warn", &format!("-bind={ip}"), &format!("-client={ip}")])
            .arg(format!("-node=n{host}"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Agent { child, ip })
    }

    fn start_server(&self, host: u8, expect: u8) -> Outcome<Agent> {
        let data = self.dir.join(format!("{}-{host}", self.network));
        let mut args = vec!["-server".to_owned(), format!("-bootstrap-expect={expect}")];
        args.push(format!("-data-dir={}", data.display()));
        if expect > 1 {
            args.extend((1..=expect).map(|other| format!("-retry-join={}", self.ip(other))));
        }
        self.start(host, &args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn start_client(&self, host: u8) -> Outcome<Agent> {
        let data = self.dir.join(format!("{}-{host}", self.network));
        self.start(host, &[&format!("-data-dir={}", data.display()), &format!("-retry-join={}", self.ip(1))])
    }

    async fn get(&self, agent: &Agent, path: &str) -> Option<String> {
        let response = self.client.get(format!("http://{}:8500{path}", agent.ip)).send().await.ok()?;
        if response.status().is_success() { response.text().await.ok() } else { None }
    }

    async fn put(&self, agent: &Agent, path: &str, body: String) -> bool {
        let sent = self.client.put(format!("http://{}:8500{path}", agent.ip)).body(body).send().await;
        sent.is_ok_and(|response| response.status().is_success())
    }

    async fn leader(&self, agent: &Agent) -> String {
        until(async || self.get(agent, "/v1/status/leader").await.filter(|leader| leader.trim().len() > 2)).await
    }

    async fn three(&self) -> Outcome<Vec<Agent>> {
        let servers = (1..=3).map(|host| self.start_server(host, 3)).collect::<Outcome<Vec<_>>>()?;
        self.leader(&servers[0]).await;
        until(async || self.put(&servers[0], "/v1/kv/ready", "1".to_owned()).await.then_some(())).await;
        Ok(servers)
    }

    async fn start_to_leader(&mut self, durable_servers: u8) -> Outcome<Duration> {
        self.network += 1;
        let begun = Instant::now();
        let agents = match durable_servers {
            0 => vec![self.start(1, &["-dev"])?],
            count => (1..=count).map(|host| self.start_server(host, count)).collect::<Outcome<Vec<_>>>()?,
        };
        self.leader(&agents[0]).await;
        Ok(begun.elapsed())
    }

    /// SIGKILL of the leader to the next write that a survivor accepted.
    async fn failover(&mut self) -> Outcome<Duration> {
        self.network += 1;
        let mut servers = self.three().await?;
        let leader = self.leader(&servers[0]).await;
        let place =
            servers.iter().position(|server| leader.contains(&format!("{}:", server.ip))).ok_or("no such leader")?;
        let survivor = (place + 1) % 3;
        servers[place].child.kill()?;
        let begun = Instant::now();
        until(async || self.put(&servers[survivor], "/v1/kv/next", "1".to_owned()).await.then_some(())).await;
        Ok(begun.elapsed())
    }

    /// SIGKILL of a client agent to a critical `serfHealth`.
    async fn detection(&mut self) -> Outcome<Duration> {
        self.network += 1;
        let servers = self.three().await?;
        let mut client = self.start_client(4)?;
        let health = async |word: &str| {
            let body = self.get(&servers[0], "/v1/health/node/n4").await?;
            body.contains(word).then_some(())
        };
        until(async || health("Agent alive").await).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        client.child.kill()?;
        let begun = Instant::now();
        until(async || health("Agent not live").await).await;
        Ok(begun.elapsed())
    }

    /// Registration at one agent to its answer in another's DNS.
    async fn registration(&mut self, runs: usize) -> Outcome<Vec<Duration>> {
        self.network += 1;
        let servers = self.three().await?;
        let client = self.start_client(4)?;
        until(async || self.get(&servers[1], "/v1/health/node/n4").await.filter(|body| body.contains("alive"))).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut times = Vec::new();
        for run in 0..runs {
            let name = format!("web{run}");
            let begun = Instant::now();
            if !self.put(&client, "/v1/agent/service/register", format!("{{\"Name\":\"{name}\",\"Port\":80}}")).await {
                return Err("the registration was refused".into());
            }
            until(async || answers(servers[run % 3].ip, &name).then_some(())).await;
            times.push(begun.elapsed());
        }
        Ok(times)
    }
}

/// Whether the DNS at this address has an answer for the service.
fn answers(ip: Ipv4Addr, service: &str) -> bool {
    let mut query = vec![0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in [service, "service", "consul"] {
        query.push(label.len() as u8);
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    let asked = || -> std::io::Result<bool> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        socket.send_to(&query, (ip, 8600))?;
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer)?;
        Ok(length > 8 && answer[7] > 0)
    };
    asked().unwrap_or(false)
}

async fn until<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "nothing within {PATIENCE:?}; the logs are in the temporary directory");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let (least, most, median) = (times[0], times[times.len() - 1], times[times.len() / 2]);
    println!("{what:<58} median {median:>10.1?}  min {least:>10.1?}  max {most:>10.1?}  ({} runs)", times.len());
}

/// Resident KiB of a process.
fn resident(agent: &Agent) -> Outcome<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.child.id()))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no figure")?.parse()?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let own = std::env::current_exe()?;
    let beside = own.parent().and_then(Path::parent).ok_or("no directory")?.join("lictor");
    let lictor = std::env::args().nth(1).map_or(beside, PathBuf::from);
    let dir = std::env::temp_dir().join(format!("lictor-figures-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let client = Client::builder().no_proxy().timeout(Duration::from_secs(20)).build()?;
    let mut bench = Bench { lictor, dir: dir.clone(), client, network: 0 };

    for (what, servers) in [
        ("-dev: exec to leader", 0),
        ("one durable server: exec to leader", 1),
        ("three durable servers: exec to leader", 3),
    ] {
        let mut times = Vec::new();
        for _ in 0..RUNS {
            times.push(bench.start_to_leader(servers).await?);
        }
        print(what, times);
    }
    let mut times = Vec::new();
    for _ in 0..RUNS {
        times.push(bench.failover().await?);
    }
    print("SIGKILL of the leader to the next accepted write", times);
    print("registration at a client agent to DNS at a server", bench.registration(30).await?);
    let mut times = Vec::new();
    for _ in 0..RUNS {
        times.push(bench.detection().await?);
    }
    print("SIGKILL of a client agent to serfHealth critical", times);

    bench.network += 1;
    let agents = [bench.start(1, &["-dev"])?, bench.start_server(2, 1)?];
    for agent in &agents {
        bench.leader(agent).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    for (what, agent) in ["-dev", "durable"].iter().zip(&agents) {
        println!(
            "{:<58} {:.1} MiB",
            format!("idle resident memory, one server, {what}"),
            resident(agent)? as f64 / 1024.0
        );
    }
    std::fs::remove_dir_all(dir)?;
    Ok(())
}
