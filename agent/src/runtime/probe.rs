//! Executes probes: the one place where checks meet sockets and processes. It never judges what comes back.
//!
//! Whatever happens, a probe ends with an outcome within its timeout and a moment of grace, its processes are killed with
//! all that they started, and no more of its output is held than was asked for.

use crate::checks::{Captured, Outcome, Probe, Run, Tail, TlsOptions};
use crate::time::format_duration;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use reqwest::header::{ACCEPT, CONNECTION, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;
use tokio::time::timeout;

const REDIRECTS_MAX: usize = 10;
/// Clients kept for checks with the same way of looking at certificates.
const CLIENTS_MAX: usize = 64;
/// How long a killed process may keep its output open.
const GRACE: Duration = Duration::from_secs(1);

/// Executes probes. A clone shares everything.
#[derive(Clone, Debug, Default)]
pub struct Prober(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    clients: Mutex<BTreeMap<ClientKey, reqwest::Client>>,
    running: Mutex<BTreeMap<Run, oneshot::Sender<()>>>,
}

/// What a client is built for. With a server name of its own, also the host that it stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ClientKey {
    tls: TlsOptions,
    follow_redirects: bool,
    host: String,
}

impl Prober {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Executes a probe in a task of its own and brings the outcome to `done`. How many run at once is bounded by the
    /// schedule that starts them.
    pub fn start(&self, run: Run, probe: Probe, done: impl FnOnce(Run, Outcome) + Send + 'static) {
        let (stop, stopped) = oneshot::channel();
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner).insert(run, stop);
        let prober = self.clone();
        tokio::spawn(async move {
            let outcome = prober.execute(probe, stopped).await;
            prober.0.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
            done(run, outcome);
        });
    }

    /// Calls a run off. Its outcome still comes, and soon.
    pub fn stop(&self, run: Run) {
        if let Some(stop) = self.0.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&run) {
            let _already_over = stop.send(());
        }
    }

    async fn execute(&self, probe: Probe, stopped: oneshot::Receiver<()>) -> Outcome {
        match probe {
            Probe::Script { args, timeout, output_max } => script(&args, timeout, output_max, stopped).await,
            Probe::Tcp { address, timeout } => {
                let late = timed_out(&format!("dial tcp {address}"), timeout);
                within(timeout, late, stopped, connect_tcp(&address)).await
            }
            // Silence up to the timeout is what most healthy UDP services answer.
            Probe::Udp { address, timeout } => within(timeout, Outcome::Connected, stopped, ask_udp(&address)).await,
            Probe::Http { url, method, headers, body, tls, follow_redirects, timeout, output_max } => {
                let late = timed_out(&format!("{method} {url:?}"), timeout);
                let ask = Ask { url, method, headers, body, tls, follow_redirects, output_max };
                within(timeout, late, stopped, self.ask_http(ask)).await
            }
        }
    }

    async fn ask_http(&self, ask: Ask) -> Outcome {
        let what = format!("{} {:?}", ask.method, ask.url);
        match self.try_http(ask).await {
            Ok(outcome) => outcome,
            Err(cause) => Outcome::Failed(format!("{what}: {cause}")),
        }
    }

    async fn try_http(&self, ask: Ask) -> Result<Outcome, String> {
        let mut url = reqwest::Url::parse(&ask.url).map_err(|error| error.to_string())?;
        let method = reqwest::Method::from_bytes(ask.method.as_bytes()).map_err(|error| error.to_string())?;
        let mut headers = headers(&ask.headers)?;
        let mut host = String::new();
        if url.scheme() == "https" && !ask.tls.server_name.is_empty() {
            // The client takes the name to ask for and to verify from the URL: the URL gets the name, the name resolves
            // to the host, and the Host header stays what it was.
            host = url.host_str().unwrap_or_default().to_owned();
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            let given = HeaderValue::from_str(&format!("{host}{port}")).map_err(|error| error.to_string())?;
            headers.entry(reqwest::header::HOST).or_insert(given);
            url.set_host(Some(&ask.tls.server_name)).map_err(|error| error.to_string())?;
        }
        let client = self.client(ClientKey { tls: ask.tls, follow_redirects: ask.follow_redirects, host })?;
        let request = client.request(method, url).headers(headers).body(ask.body);
        let mut response = request.send().await.map_err(|error| innermost(&error))?;
        let code = response.status();
        let reason = match response.extensions().get::<hyper::ext::ReasonPhrase>() {
            Some(phrase) => String::from_utf8_lossy(phrase.as_bytes()).into_owned(),
            None => code.canonical_reason().unwrap_or_default().to_owned(),
        };
        let mut body = Tail::new(ask.output_max);
        while let Some(chunk) = response.chunk().await.map_err(|error| innermost(&error))? {
            body.push(&chunk);
        }
        Ok(Outcome::Answered { code: code.as_u16(), reason, body: body.finish() })
    }

    /// The client for these options, built at its first use.
    fn client(&self, key: ClientKey) -> Result<reqwest::Client, String> {
        let mut clients = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let redirects = match key.follow_redirects {
            true => reqwest::redirect::Policy::limited(REDIRECTS_MAX),
            false => reqwest::redirect::Policy::none(),
        };
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirects)
            .pool_max_idle_per_host(0)
            .referer(false)
            .tls_danger_accept_invalid_certs(key.tls.skip_verify);
        if !key.host.is_empty() {
            let (name, host) = (key.tls.server_name.clone(), key.host.clone());
            builder = builder.dns_resolver(Arc::new(StandIn { name, host }));
        }
        let client = builder.build().map_err(|error| innermost(&error))?;
        if clients.len() >= CLIENTS_MAX {
            clients.pop_first();
        }
        clients.insert(key, client.clone());
        Ok(client)
    }
}

/// An HTTP request to make.
struct Ask {
    url: String,
    method: String,
    headers: BTreeMap<String, Vec<String>>,
    body: String,
    tls: TlsOptions,
    follow_redirects: bool,
    output_max: usize,
}

/// Resolves one name as if it were another.
struct StandIn {
    name: String,
    host: String,
}

impl reqwest::dns::Resolve for StandIn {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let asked =
            if name.as_str().eq_ignore_ascii_case(&self.name) { self.host.clone() } else { name.as_str().to_owned() };
        let asked = asked.trim_start_matches('[').trim_end_matches(']').to_owned();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((asked, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

/// The check's own headers, and Consul's where it sets none. Connections are not kept.
fn headers(given: &BTreeMap<String, Vec<String>>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, values) in given {
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|error| format!("header {name:?}: {error}"))?;
        for value in values {
            let value = HeaderValue::from_str(value).map_err(|error| format!("header {name:?}: {error}"))?;
            headers.append(&key, value);
        }
    }
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static("Consul Health Check"));
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("text/plain, text/*, */*"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(headers)
}

/// The cause at the bottom, which is the one that helps.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn timed_out(what: &str, limit: Duration) -> Outcome {
    Outcome::Failed(format!("{what}: timed out after {}", format_duration(limit)))
}

/// The outcome of `ask`; `late` when it takes too long.
async fn within(
    limit: Duration,
    late: Outcome,
    stopped: oneshot::Receiver<()>,
    ask: impl Future<Output = Outcome>,
) -> Outcome {
    tokio::select! {
        outcome = timeout(limit, ask) => outcome.unwrap_or(late),
        Ok(()) = stopped => Outcome::Stopped,
    }
}

async fn connect_tcp(address: &str) -> Outcome {
    match tokio::net::TcpStream::connect(address).await {
        Ok(_) => Outcome::Connected,
        Err(error) => Outcome::Failed(format!("dial tcp {address}: {error}")),
    }
}

async fn ask_udp(address: &str) -> Outcome {
    let talk = async {
        let peer = tokio::net::lookup_host(address).await?.next();
        let peer = peer.ok_or_else(|| std::io::Error::other("no address found for the host"))?;
        let any: SocketAddr = if peer.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
        let socket = tokio::net::UdpSocket::bind(any).await?;
        socket.connect(peer).await?;
        socket.send(&[]).await?;
        socket.recv(&mut [0]).await
    };
    match talk.await {
        Ok(_) => Outcome::Connected,
        Err(error) => Outcome::Failed(format!("dial udp {address}: {error}")),
    }
}

/// A process group that does not outlive this value.
struct Group(Pid);

impl Group {
    fn kill(&self) {
        // ESRCH: all of it is gone already.
        let _gone = killpg(self.0, Signal::SIGKILL);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn script(args: &[String], limit: Duration, output_max: usize, stopped: oneshot::Receiver<()>) -> Outcome {
    let Some((program, rest)) = args.split_first() else { return Outcome::Failed("no program is named".to_owned()) };
    match spawn(program, rest) {
        Ok((child, output)) => attend(child, output, limit, output_max, stopped).await,
        Err(error) => Outcome::Failed(format!("{program:?} could not be started: {error}")),
    }
}

/// Starts a program in a process group of its own, its output and its errors in one pipe, in the order it wrote them.
fn spawn(program: &str, args: &[String]) -> std::io::Result<(tokio::process::Child, pipe::Receiver)> {
    let (reader, writer) = std::io::pipe()?;
    let child = tokio::process::Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::from(writer.try_clone()?))
        .stderr(Stdio::from(writer))
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    Ok((child, pipe::Receiver::from_owned_fd(reader.into())?))
}

/// How a process ended.
enum End {
    Exited(Option<i32>),
    Late,
    Stopped,
}

async fn attend(
    mut child: tokio::process::Child,
    mut output: pipe::Receiver,
    limit: Duration,
    output_max: usize,
    mut stopped: oneshot::Receiver<()>,
) -> Outcome {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(|id| Group(Pid::from_raw(id)));
    let mut tail = Tail::new(output_max);
    let mut buffer = vec![0; 8192];
    let deadline = tokio::time::sleep(limit);
    tokio::pin!(deadline);
    let (mut open, mut stoppable) = (true, true);
    let end = loop {
        tokio::select! {
            read = output.read(&mut buffer), if open => match read {
                Ok(0) | Err(_) => open = false,
                Ok(size) => tail.push(&buffer[..size]),
            },
            status = child.wait() => break End::Exited(status.ok().and_then(|status| status.code())),
            () = &mut deadline => break End::Late,
            call = &mut stopped, if stoppable => match call {
                Ok(()) => break End::Stopped,
                Err(_) => stoppable = false,
            },
        }
    };
    // Whatever it left behind goes too: a check must not leave anything running. The group's number cannot be somebody
    // else's while anybody of it lives, and the kernel hands a number out again only after all others.
    drop(group);
    let rest = async {
        if !matches!(end, End::Exited(_)) {
            let _reaped = child.wait().await;
        }
        while let Ok(size @ 1..) = output.read(&mut buffer).await {
            tail.push(&buffer[..size]);
        }
    };
    // A descendant that left the group may hold the pipe open for ever.
    let _complete = timeout(GRACE, rest).await;
    let output: Captured = tail.finish();
    match end {
        End::Exited(code) => Outcome::Exited { code, output },
        End::Late => Outcome::TimedOut { output },
        End::Stopped => Outcome::Stopped,
    }
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
