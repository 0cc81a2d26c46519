//! Real agents, real sockets, real disk: each test gets a 127.a.b.0/24 of its own, where default ports serve.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub const LICTOR: &str = env!("CARGO_BIN_EXE_lictor");

/// A network and a directory of a test's own.
pub struct Cluster {
    prefix: [u8; 3],
    pub dir: PathBuf,
    pub http: reqwest::Client,
}

/// One running agent; killed when dropped.
pub struct Agent {
    pub ip: Ipv4Addr,
    pub dir: PathBuf,
    pub name: String,
    child: Option<Child>,
    args: Vec<String>,
}

/// What a machine has to show by then, however busy it is. How quick something is, simulated time tells and the figures.
const PATIENCE: Duration = Duration::from_secs(60);

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Cluster {
    pub fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Processes that test at the same time start at different places; a taken network is passed over.
        let prefix = loop {
            let place = std::process::id().wrapping_mul(61).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 60_000;
            let prefix = [127, 1 + (place / 250) as u8, (place % 250) as u8];
            let probe = SocketAddr::from((Ipv4Addr::new(prefix[0], prefix[1], prefix[2], 250), 8500));
            if TcpListener::bind(probe).is_ok() {
                break prefix;
            }
        };
        let dir = std::env::temp_dir().join(format!("lictor-test-{}-{}-{}", std::process::id(), prefix[1], prefix[2]));
        fs::create_dir_all(&dir).expect("the temporary directory is writable");
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().expect("a client");
        Self { prefix, dir, http }
    }

    pub fn ip(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(self.prefix[0], self.prefix[1], self.prefix[2], host)
    }

    /// An agent on `host` with these further arguments. It keeps its directory when started again.
    pub fn agent(&self, host: u8, name: &str, args: &[&str]) -> Agent {
        let ip = self.ip(host);
        let dir = self.dir.join(name);
        let mut all: Vec<String> = ["agent", "-log-level=debug"].map(str::to_owned).to_vec();
        all.push(format!("-bind={ip}"));
        all.push(format!("-client={ip}"));
        all.push(format!("-node={name}"));
        all.push(format!("-data-dir={}", dir.display()));
        all.extend(args.iter().map(|&arg| arg.to_owned()));
        let mut agent = Agent { ip, dir, name: name.to_owned(), child: None, args: all };
        agent.start();
        agent
    }

    /// One of three servers, which sit on hosts 1 to 3.
    pub fn server(&self, host: u8) -> Agent {
        let join = self.ip(if host == 1 { 2 } else { 1 });
        self.agent(
            host,
            &format!("server{host}"),
            &["-server", "-bootstrap-expect=3", &format!("-retry-join={join}"), &format!("-retry-join={}", self.ip(3))],
        )
    }

    pub fn client(&self, host: u8) -> Agent {
        let join: Vec<String> = (1..=3).map(|server| format!("-retry-join={}", self.ip(server))).collect();
        self.agent(host, &format!("client{host}"), &join.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Three servers that have a leader.
    pub async fn three(&self) -> [Agent; 3] {
        let servers = [self.server(1), self.server(2), self.server(3)];
        self.leader(&servers).await;
        servers
    }

    /// The number of the server that leads, once the living agree on one of themselves.
    pub async fn leader(&self, servers: &[Agent]) -> usize {
        until("a leader", async || {
            for server in servers.iter().filter(|server| server.runs()) {
                let Ok(leader) = self.get(server, "/v1/status/leader").await else { continue };
                let found = servers
                    .iter()
                    .position(|candidate| candidate.runs() && leader.1.trim() == format!("\"{}:8300\"", candidate.ip));
                if found.is_some() {
                    return found;
                }
            }
            None
        })
        .await
    }

    pub async fn get(&self, agent: &Agent, path: &str) -> reqwest::Result<(u16, String)> {
        let response = self.http.get(agent.url(path)).send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    }

    pub async fn put(
        &self,
        agent: &Agent,
        path: &str,
        body: impl Into<reqwest::Body>,
    ) -> reqwest::Result<(u16, String)> {
        let response = self.http.put(agent.url(path)).body(body).send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    }

    /// Waits until the agent answers HTTP at all.
    pub async fn up(&self, agent: &Agent) {
        until("its HTTP port", async || self.get(agent, "/v1/agent/version").await.ok()).await;
    }

    pub async fn json(&self, agent: &Agent, path: &str) -> serde_json::Value {
        let (status, body) = self.get(agent, path).await.expect("the agent answers");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path} answered {status} {body:?}: {error}"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("logs are kept in {}", self.dir.display());
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

impl Agent {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}:8500{path}", self.ip)
    }

    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// Starts it, or starts it again with what its directory holds.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        fs::create_dir_all(&self.dir).expect("the test's directory is writable");
        let log = File::options().append(true).create(true).open(self.log_path()).expect("a log file");
        let child = Command::new(LICTOR)
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        self.child = Some(child);
    }

    /// The same agent at another address.
    pub fn start_at(&mut self, ip: Ipv4Addr, join: &[Ipv4Addr]) {
        let old = self.ip.to_string();
        self.args.retain(|arg| !arg.starts_with("-retry-join"));
        for arg in &mut self.args {
            if *arg == format!("-bind={old}") || *arg == format!("-client={old}") {
                *arg = arg.replace(&old, &ip.to_string());
            }
        }
        self.args.extend(join.iter().map(|ip| format!("-retry-join={ip}")));
        self.ip = ip;
        self.start();
    }

    /// SIGKILL: it says nothing to anybody.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGSTOP and SIGCONT: it is as if the machine stood still.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().expect("it runs").id();
        kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).expect("a child of ours");
    }

    /// Waits for it to end by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("it runs");
        let status = until("its end", async || child.try_wait().expect("a child of ours")).await;
        self.child = None;
        status
    }

    fn log_path(&self) -> PathBuf {
        self.dir.with_extension("log")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Asks again and again, and fails by name when it takes too long.
#[track_caller]
pub fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> impl Future<Output = T> {
    let what = what.to_owned();
    let place = std::panic::Location::caller();
    async move {
        let asked = async {
            let mut beat = tokio::time::interval(Duration::from_millis(20));
            loop {
                beat.tick().await;
                if let Some(found) = ask().await {
                    return found;
                }
            }
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(found) => found,
            Err(_) => panic!("{place}: no sign of {what} within {PATIENCE:?}"),
        }
    }
}

/// Runs the command line and gives (exit code, stdout, stderr).
pub fn lictor(http: Option<&Agent>, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(LICTOR);
    command.args(args).stdin(Stdio::null()).env_remove("CONSUL_HTTP_ADDR");
    if let Some(agent) = http {
        command.env("CONSUL_HTTP_ADDR", format!("{}:8500", agent.ip));
    }
    let output = command.output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

pub fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("the test's directory is writable");
}
