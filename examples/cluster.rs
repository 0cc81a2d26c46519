//! Agents as processes, for the examples that bring their own cluster: the program `lictor` on addresses of 127.0.0.0/8, where
//! default ports serve, with data and logs in a temporary directory. Whatever was started ends with the value that started
//! it. Speaks HTTP to agents as any client does; knows nothing of their insides.

use reqwest::Client;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T> = std::result::Result<T, Error>;

/// How long anything may take that should happen by itself.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The program: what `LICTOR` names, else what cargo built beside the running example or test. Where nothing was built yet, cargo is
/// asked to; one that is there is taken as it is, so build it anew after a change.
pub fn lictor() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("LICTOR") {
        return Ok(named.into());
    }
    // <target>/<profile>/{examples,deps}/<this program>
    let own = std::env::current_exe()?;
    let built = own.ancestors().nth(2).ok_or("this program is in no directory that cargo made")?;
    let program = built.join("lictor");
    if !program.exists() {
        let profile = match built.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(profile) => profile,
        };
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--bin", "lictor", "--profile", profile])
            .arg("--manifest-path")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"))
            .status();
        if !status.is_ok_and(|status| status.success()) || !program.exists() {
            let program = program.display();
            return Err(format!("there is no {program}: run `cargo build`, or name a program in LICTOR").into());
        }
    }
    Ok(program)
}

/// A network and a directory for agents of one's own. The directory goes when this does, unless something panics.
pub struct Cluster {
    program: PathBuf,
    network: [u8; 3],
    dir: PathBuf,
    http: Client,
    kept: AtomicBool,
}

/// One agent; killed when dropped.
pub struct Agent {
    pub ip: Ipv4Addr,
    pub name: String,
    /// Its data directory; its log is beside it.
    pub dir: PathBuf,
    program: PathBuf,
    args: Vec<String>,
    child: Option<Child>,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Cluster {
    pub fn new() -> Result<Self> {
        // reqwest leaves the choice of cryptography to the program; a second choice is no harm.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let program = lictor()?;
        let network =
            free_network().ok_or("no free network in 127.128.0.0/9; does this system have all of 127.0.0.0/8?")?;
        let [_, b, c] = network;
        let dir = std::env::temp_dir().join(format!("lictor-{}-{b}-{c}", std::process::id()));
        fs::create_dir_all(&dir)?;
        let http = Client::builder().no_proxy().timeout(PATIENCE).build()?;
        Ok(Self { program, network, dir, http, kept: AtomicBool::new(false) })
    }

    pub fn ip(&self, host: u8) -> Ipv4Addr {
        let [a, b, c] = self.network;
        Ipv4Addr::new(a, b, c, host)
    }

    /// One of `expect` durable servers, which sit on hosts 1 to `expect`.
    pub fn server(&self, host: u8, expect: u8) -> Result<Agent> {
        let mut args = vec!["-server".to_owned(), format!("-bootstrap-expect={expect}")];
        args.extend((1..=expect).filter(|other| *other != host).map(|other| format!("-retry-join={}", self.ip(other))));
        self.agent(host, &format!("server{host}"), &args)
    }

    /// Durable servers on hosts 1 to `count`, once they have a leader and accept writes.
    pub async fn servers(&self, count: u8) -> Result<Vec<Agent>> {
        let servers = (1..=count).map(|host| self.server(host, count)).collect::<Result<Vec<_>>>()?;
        self.leader(&servers).await?;
        self.write(&servers[0], "ready", "yes").await?;
        Ok(servers)
    }

    /// A client agent that joins the servers on hosts 1 to 3.
    pub fn client(&self, host: u8) -> Result<Agent> {
        let args: Vec<String> = (1..=3).map(|server| format!("-retry-join={}", self.ip(server))).collect();
        self.agent(host, &format!("client{host}"), &args)
    }

    /// An agent with these further arguments.
    pub fn agent(&self, host: u8, name: &str, args: &[String]) -> Result<Agent> {
        self.agent_within(&[], host, name, args)
    }

    fn describe(&self, host: u8, name: &str, args: &[String]) -> Agent {
        let (ip, dir) = (self.ip(host), self.dir.join(name));
        let mut all = vec!["agent".to_owned(), format!("-node={name}"), format!("-bind={ip}"), format!("-client={ip}")];
        all.push(format!("-data-dir={}", dir.display()));
        all.extend_from_slice(args);
        Agent { ip, name: name.to_owned(), dir, program: self.program.clone(), args: all, child: None }
    }

    /// The same, within another program that ends by becoming it: `wrapper` comes before its command line.
    pub fn agent_within(&self, wrapper: &[String], host: u8, name: &str, args: &[String]) -> Result<Agent> {
        let mut agent = self.describe(host, name, args);
        if let Some((program, first)) = wrapper.split_first() {
            let inner = std::mem::replace(&mut agent.program, program.into()).display().to_string();
            agent.args = first.iter().cloned().chain([inner]).chain(std::mem::take(&mut agent.args)).collect();
        }
        agent.start()?;
        Ok(agent)
    }

    /// Something went wrong: data and logs stay when this value goes.
    pub fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    /// Where data and logs are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The client behind `get` and `put`, for what they leave out: headers, other addresses.
    pub fn http(&self) -> &Client {
        &self.http
    }

    /// The body of a successful answer.
    pub async fn get(&self, agent: &Agent, path: &str) -> Result<String> {
        Ok(self.http.get(agent.url(path)).send().await?.error_for_status()?.text().await?)
    }

    pub async fn put(&self, agent: &Agent, path: &str, body: impl Into<reqwest::Body>) -> Result<String> {
        Ok(self.http.put(agent.url(path)).body(body).send().await?.error_for_status()?.text().await?)
    }

    /// Writes a key, again and again until it is accepted.
    pub async fn write(&self, agent: &Agent, key: &str, value: &'static str) -> Result<()> {
        let path = format!("/v1/kv/{key}");
        until("a write to be accepted", async || self.put(agent, &path, value).await.ok().map(|_| ())).await
    }

    /// Which of these leads, once one of the running ones says so of a running one.
    pub async fn leader(&self, servers: &[Agent]) -> Result<usize> {
        until("a leader", async || {
            for asked in servers.iter().filter(|server| server.runs()) {
                let Ok(leader) = self.get(asked, "/v1/status/leader").await else { continue };
                let leads = |server: &Agent| server.runs() && leader.trim() == format!("\"{}:8300\"", server.ip);
                if let Some(found) = servers.iter().position(leads) {
                    return Some(found);
                }
            }
            None
        })
        .await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() || *self.kept.get_mut() {
            eprintln!("data and logs are kept in {}", self.dir.display());
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

impl Agent {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}:8500{path}", self.ip)
    }

    /// Starts it, or starts it again with what its directory holds.
    pub fn start(&mut self) -> Result<()> {
        let log = File::options().append(true).create(true).open(self.log())?;
        let mut command = Command::new(&self.program);
        command.args(&self.args).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().map_err(|error| format!("cannot start {}: {error}", self.program.display()))?;
        self.child = Some(child);
        Ok(())
    }

    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub fn log(&self) -> PathBuf {
        self.dir.with_extension("log")
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(status)
    }

    /// SIGKILL: it says nothing to anybody.
    pub fn kill(&mut self) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        let _ = child.kill();
        child.wait().ok()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Asks again and again until there is an answer; an error that names what was missed after `PATIENCE`.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    let asked = async {
        let mut beat = tokio::time::interval(Duration::from_millis(5));
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            if let Some(found) = ask().await {
                return found;
            }
        }
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(found) => Ok(found),
        Err(_) => Err(format!("no sign of {what} within {PATIENCE:?}").into()),
    }
}

/// A 127.a.b.0/24 whose HTTP port nobody has, and another one at each call.
fn free_network() -> Option<[u8; 3]> {
    // Processes that run at the same time start at different places.
    let first = std::process::id().wrapping_mul(61);
    let place = || first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % (127 * 250);
    let networks = std::iter::repeat_with(place).map(|place| [127, 128 + (place / 250) as u8, (place % 250) as u8]);
    networks.take(100).find(|[a, b, c]| TcpListener::bind((Ipv4Addr::new(*a, *b, *c, 1), 8500)).is_ok())
}
