//! One request to an agent, with the options and environment variables that all client commands share.

use super::progress::Progress;
use crate::config::flags::switch;
use clap::{Arg, ArgMatches, Command};
use hyper::body::{Frame, SizeHint};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use std::error::Error as _;
use std::io::Read as _;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Why there is no answer, or not the wanted one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error(
        "no agent answers at {address} ({cause}); start one, for example with \"lictor agent -dev\", or name another \
         with -http-addr or CONSUL_HTTP_ADDR"
    )]
    Unreachable { address: String, cause: String },
    #[error("the agent at {address} did not answer within {}s", TIMEOUT.as_secs())]
    Timeout { address: String },
    #[error("Unexpected response code: {status} ({body})")]
    Status { status: u16, body: String },
    #[error(
        "the answer of {address} broke off: {cause}; if that is no agent's HTTP address, name one with -http-addr or CONSUL_HTTP_ADDR"
    )]
    Broken { address: String, cause: String },
    #[error("the answer of {address} is not what was expected: {cause}")]
    Form { address: String, cause: String },
    #[error("{option}: {problem}")]
    Option { option: &'static str, problem: String },
}

impl ClientError {
    /// The agent knows nothing of that name.
    pub(crate) const fn is_not_found(&self) -> bool {
        matches!(self, Self::Status { status: 404, .. })
    }

    /// Whether the same question may be answered later. What the agent does not understand, it never will.
    pub(crate) const fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Broken { .. } => true,
            Self::Status { status, .. } => !matches!(status, 400 | 404 | 405),
            Self::Form { .. } | Self::Option { .. } => false,
        }
    }
}

/// Longer than an agent holds a call without a leader, and than a leave may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// What is followed ends when somebody ends it.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// More than any answer that a command shows; a value is at most half a megabyte unless configured otherwise.
pub(crate) const BODY_MAX: usize = 256 << 20;

/// Everything but what a path's segment may hold; `/` too stays as it is, for keys.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// Keeps `/`, escapes the rest.
pub(crate) fn escape(path: &str) -> String {
    utf8_percent_encode(path, PATH).to_string()
}

/// Adds the options of every client command.
pub(crate) fn options(command: Command) -> Command {
    let text = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help).value_name("VALUE");
    command.args_override_self(true).next_help_heading("HTTP API options").args([
        text("http-addr", "Address of the agent [env: CONSUL_HTTP_ADDR] [default: http://127.0.0.1:8500]"),
        text("token", "ACL token [env: CONSUL_HTTP_TOKEN]"),
        text("token-file", "File that holds the ACL token [env: CONSUL_HTTP_TOKEN_FILE]"),
        text("ca-file", "Certificate authority to trust [env: CONSUL_CACERT]"),
        text("ca-path", "Directory of certificate authorities to trust [env: CONSUL_CAPATH]"),
        text("client-cert", "Client certificate [env: CONSUL_CLIENT_CERT]"),
        text("client-key", "Key of the client certificate [env: CONSUL_CLIENT_KEY]"),
        text("tls-server-name", "Name expected in the server's certificate [env: CONSUL_TLS_SERVER_NAME]"),
        text("namespace", "Accepted for Consul Enterprise [env: CONSUL_NAMESPACE]"),
        text("partition", "Accepted for Consul Enterprise [env: CONSUL_PARTITION]"),
    ])
}

/// Adds what only commands that read the catalog have.
pub(crate) fn server_options(command: Command) -> Command {
    leader_options(command).arg(switch("stale", "Let any server answer, not only the leader"))
}

/// Adds what only commands have that ask the servers for what no stale answer is good enough for.
pub(crate) fn leader_options(command: Command) -> Command {
    options(command).arg(
        Arg::new("datacenter")
            .long("datacenter")
            .value_name("NAME")
            .help("Datacenter to ask; the agent's own if not given"),
    )
}

/// How the agent is reached, from flags and environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// `http://host:port` with a path's prefix, perhaps, and no slash at the end.
    base: String,
    unix: Option<PathBuf>,
    token: String,
    user: Option<(String, String)>,
    ca_files: Vec<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    tls_name: Option<String>,
    verify: bool,
    /// Parameters of every request.
    query: Vec<(&'static str, String)>,
}

impl Options {
    /// `env` looks a variable up; `LICTOR_X` is asked before `CONSUL_X`.
    pub(crate) fn read(matches: &ArgMatches, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ClientError> {
        let variable = |name: &str| {
            [format!("LICTOR_{name}"), format!("CONSUL_{name}")]
                .iter()
                .find_map(|name| env(name).filter(|value| !value.is_empty()))
        };
        let given = |flag: &str| matches.try_get_one::<String>(flag).ok().flatten().cloned();
        let either = |flag: &str, name: &str| given(flag).filter(|text| !text.is_empty()).or_else(|| variable(name));
        let yes = |name: &str| variable(name).map(|text| !matches!(text.as_str(), "0" | "f" | "F" | "false" | "FALSE"));

        let mut options = Self { verify: yes("HTTP_SSL_VERIFY").unwrap_or(true), ..Self::default() };
        let address = either("http-addr", "HTTP_ADDR").unwrap_or_else(|| "127.0.0.1:8500".to_owned());
        options.set_address(&address, yes("HTTP_SSL").unwrap_or_default())?;
        options.token = either("token", "HTTP_TOKEN").unwrap_or_default();
        if let Some(path) = either("token-file", "HTTP_TOKEN_FILE") {
            options.token = String::from_utf8_lossy(&read_file("-token-file", &PathBuf::from(path))?).trim().to_owned();
        }
        options.user = variable("HTTP_AUTH").map(|text| match text.split_once(':') {
            Some((user, password)) => (user.to_owned(), password.to_owned()),
            None => (text, String::new()),
        });
        options.ca_files.extend(either("ca-file", "CACERT").map(PathBuf::from));
        if let Some(path) = either("ca-path", "CAPATH") {
            options.ca_files.extend(files("-ca-path", &PathBuf::from(path))?);
        }
        options.identity = match (either("client-cert", "CLIENT_CERT"), either("client-key", "CLIENT_KEY")) {
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            (None, None) => None,
            _ => {
                let problem = "a client certificate needs -client-cert and -client-key".to_owned();
                return Err(ClientError::Option { option: "-client-cert", problem });
            }
        };
        options.tls_name = either("tls-server-name", "TLS_SERVER_NAME");
        options.query.extend(given("datacenter").filter(|dc| !dc.is_empty()).map(|dc| ("dc", dc)));
        if matches.try_get_one::<bool>("stale").ok().flatten() == Some(&true) {
            options.query.push(("stale", String::new()));
        }
        options.query.extend(either("namespace", "NAMESPACE").map(|name| ("ns", name)));
        options.query.extend(either("partition", "PARTITION").map(|name| ("partition", name)));
        Ok(options)
    }

    fn set_address(&mut self, address: &str, tls: bool) -> Result<(), ClientError> {
        if let Some(path) = address.strip_prefix("unix://") {
            self.unix = Some(PathBuf::from(path));
            self.base = "http://localhost".to_owned();
            return Ok(());
        }
        let base = match address.split_once("://") {
            Some(("http" | "https", _)) => address.to_owned(),
            Some((scheme, _)) => {
                let problem = format!("{scheme}:// is unknown; use host:port, http://, https:// or unix:///path");
                return Err(ClientError::Option { option: "-http-addr", problem });
            }
            None => format!("{}://{address}", if tls { "https" } else { "http" }),
        };
        self.base = base.trim_end_matches('/').to_owned();
        Ok(())
    }

    /// For messages.
    fn address(&self) -> String {
        match &self.unix {
            Some(path) => format!("unix://{}", path.display()),
            None => self.base.clone(),
        }
    }
}

fn read_file(option: &'static str, path: &PathBuf) -> Result<Vec<u8>, ClientError> {
    std::fs::read(path)
        .map_err(|error| ClientError::Option { option, problem: format!("cannot read {}: {error}", path.display()) })
}

fn files(option: &'static str, path: &PathBuf) -> Result<Vec<PathBuf>, ClientError> {
    let failed = |error: std::io::Error| ClientError::Option {
        option,
        problem: format!("cannot read {}: {error}", path.display()),
    };
    let mut found: Vec<PathBuf> = std::fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(failed)?;
    found.retain(|path| path.is_file());
    found.sort();
    Ok(found)
}

/// Status and body of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// `X-Consul-Index`.
    pub(crate) index: Option<u64>,
}

/// How following an answer came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Interrupted,
    /// The agent ended it, or was lost.
    Remote,
    /// What was shown has no reader any more.
    NobodyReads,
}

/// A connection to one agent, on a runtime of its own.
pub(crate) struct Client {
    options: Options,
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    pub(crate) fn new(options: Options) -> Result<Self, ClientError> {
        // Whoever installs a provider first wins; it is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let broken = |problem: String| ClientError::Option { option: "-http-addr", problem };
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("lictor/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &options.unix {
            builder = builder.unix_socket(path.as_path());
        }
        let mut trusted = Vec::new();
        for path in &options.ca_files {
            trusted.extend(reqwest::Certificate::from_pem_bundle(&read_file("-ca-file", path)?).map_err(|error| {
                ClientError::Option { option: "-ca-file", problem: format!("{}: {error}", path.display()) }
            })?);
        }
        if !trusted.is_empty() {
            builder = builder.tls_certs_only(trusted);
        }
        if let Some((certificate, key)) = &options.identity {
            let mut pem = read_file("-client-cert", certificate)?;
            pem.push(b'\n');
            pem.extend(read_file("-client-key", key)?);
            builder = builder.identity(
                reqwest::Identity::from_pem(&pem)
                    .map_err(|error| ClientError::Option { option: "-client-cert", problem: error.to_string() })?,
            );
        }
        // Without TLS nothing is verified, and loading the system's certificates would fail where there are none.
        if !options.verify || options.base.starts_with("http://") {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        let mut options = options;
        if let Some((base, name, addresses)) = renamed(&options)? {
            builder = builder.resolve_to_addrs(&name, &addresses);
            options.base = base;
        }
        let http = builder.build().map_err(|error| broken(causes(&error)))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| broken(format!("cannot start: {error}")))?;
        Ok(Self { options, http, runtime })
    }

    /// One request; any status is an answer.
    pub(crate) fn ask(
        &self,
        method: reqwest::Method,
        path: &str,
        query: &[(&str, String)],
        body: Vec<u8>,
    ) -> Result<Answer, ClientError> {
        self.block_on(self.send(method, path, query, body))
    }

    /// The same, beside other things that are waited for.
    pub(crate) async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        query: &[(&str, String)],
        body: Vec<u8>,
    ) -> Result<Answer, ClientError> {
        let address = self.options.address();
        let request = self.request(method, path, query).body(body);
        let mut response = request.send().await.map_err(|error| failure(&address, &error))?;
        let status = response.status().as_u16();
        let index = response.headers().get("x-consul-index").and_then(|index| index.to_str().ok()?.parse().ok());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(&address, &error))? {
            if body.len() + chunk.len() > BODY_MAX {
                let cause = format!("it is longer than {BODY_MAX} bytes");
                return Err(ClientError::Form { address, cause });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body, index })
    }

    /// Hands a GET's answer on piece by piece, for as long as there is one to come, somebody to read, and no Ctrl-C.
    pub(crate) fn follow(
        &self,
        path: &str,
        query: &[(&str, String)],
        mut show: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<End, ClientError> {
        let address = self.options.address();
        let request = self.request(reqwest::Method::GET, path, query).timeout(FOREVER);
        self.runtime.block_on(async {
            let followed = async {
                let mut response = succeeded(request.send().await.map_err(|error| failure(&address, &error))?).await?;
                while let Ok(Some(piece)) = response.chunk().await {
                    if show(&piece).is_err() {
                        return Ok(End::NobodyReads);
                    }
                }
                Ok(End::Remote)
            };
            tokio::select! {
                end = followed => end,
                _ = tokio::signal::ctrl_c() => Ok(End::Interrupted),
            }
        })
    }

    /// A GET's answer, whole, piece by piece.
    pub(crate) fn fetch(
        &self,
        path: &str,
        query: &[(&str, String)],
        mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<(), ClientError> {
        let address = self.options.address();
        let request = self.request(reqwest::Method::GET, path, query).timeout(FOREVER);
        let broken = |cause: std::io::Error| ClientError::Broken { address: address.clone(), cause: cause.to_string() };
        self.runtime.block_on(async {
            let mut response = succeeded(request.send().await.map_err(|error| failure(&address, &error))?).await?;
            while let Some(piece) = response.chunk().await.map_err(|error| failure(&address, &error))? {
                take(&piece).map_err(broken)?;
            }
            Ok(())
        })
    }

    /// A PUT whose body is read from a file as it is sent.
    pub(crate) fn send_file(
        &self,
        path: &str,
        file: std::fs::File,
        size: u64,
        progress: Progress,
    ) -> Result<(), ClientError> {
        let address = self.options.address();
        let body = reqwest::Body::wrap(Contents { file, left: size, progress });
        let request = self.request(reqwest::Method::PUT, path, &[]).timeout(FOREVER).body(body);
        self.runtime.block_on(async {
            succeeded(request.send().await.map_err(|error| failure(&address, &error))?).await.map(drop)
        })
    }

    fn request(&self, method: reqwest::Method, path: &str, query: &[(&str, String)]) -> reqwest::RequestBuilder {
        let mut request = self.http.request(method, self.url(path, query));
        if !self.options.token.is_empty() {
            request = request.header("X-Consul-Token", &self.options.token);
        }
        if let Some((user, password)) = &self.options.user {
            request = request.basic_auth(user, Some(password));
        }
        request
    }

    fn url(&self, path: &str, query: &[(&str, String)]) -> String {
        let mut serializer = form_urlencoded::Serializer::new(String::new());
        for (key, value) in query.iter().chain(&self.options.query) {
            if value.is_empty() {
                serializer.append_key_only(key);
            } else {
                serializer.append_pair(key, value);
            }
        }
        let query = serializer.finish();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}{path}{mark}{query}", self.options.base)
    }

    /// One request that must be answered with 200.
    pub(crate) fn expect(
        &self,
        method: reqwest::Method,
        path: &str,
        query: &[(&str, String)],
        body: Vec<u8>,
    ) -> Result<Vec<u8>, ClientError> {
        let answer = self.ask(method, path, query, body)?;
        if answer.status == 200 { Ok(answer.body) } else { Err(answer.refused()) }
    }

    /// A GET whose answer is JSON.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, ClientError> {
        let body = self.expect(reqwest::Method::GET, path, query, Vec::new())?;
        self.parse(&body)
    }

    pub(crate) fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(body).map_err(|error| self.strange(&error))
    }

    /// An answer that is not what was expected.
    pub(crate) fn strange(&self, error: &serde_json::Error) -> ClientError {
        ClientError::Form { address: self.options.address(), cause: error.to_string() }
    }

    /// Runs what waits for something else than an answer.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
}

impl Answer {
    pub(crate) fn refused(&self) -> ClientError {
        let body = String::from_utf8_lossy(&self.body).trim_end().to_owned();
        ClientError::Status { status: self.status, body }
    }
}

/// An answer with 200.
async fn succeeded(response: reqwest::Response) -> Result<reqwest::Response, ClientError> {
    if response.status() == 200 {
        return Ok(response);
    }
    let status = response.status().as_u16();
    let body = response.text().await.unwrap_or_default().trim_end().to_owned();
    Err(ClientError::Status { status, body })
}

/// A file as a body.
struct Contents {
    file: std::fs::File,
    left: u64,
    progress: Progress,
}

/// Bytes of a file that are read at once.
const PIECE: u64 = 256 << 10;

impl hyper::body::Body for Contents {
    type Data = bytes::Bytes;
    type Error = std::io::Error;

    /// Reads at once: this program has nothing else to do meanwhile.
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<bytes::Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut piece = vec![0; usize::try_from(self.left.min(PIECE)).unwrap_or_default()];
        let read = self.file.read_exact(&mut piece);
        self.left -= piece.len() as u64;
        self.progress.inc(piece.len() as u64);
        Poll::Ready(Some(read.map(|()| Frame::data(piece.into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// With `-tls-server-name`, the URL carries that name and resolves to the address that was given.
fn renamed(options: &Options) -> Result<Option<(String, String, Vec<SocketAddr>)>, ClientError> {
    let (Some(name), Some(rest)) = (&options.tls_name, options.base.strip_prefix("https://")) else { return Ok(None) };
    let (authority, prefix) = rest.split_once('/').map_or((rest, ""), |(authority, prefix)| (authority, prefix));
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let target = if has_port { authority.to_owned() } else { format!("{authority}:443") };
    let unreachable =
        |error: std::io::Error| ClientError::Unreachable { address: options.address(), cause: error.to_string() };
    let addresses: Vec<SocketAddr> = target.to_socket_addrs().map_err(unreachable)?.collect();
    let port = target.rsplit_once(':').map_or("443", |(_, port)| port);
    let base = format!("https://{name}:{port}/{prefix}");
    Ok(Some((base.trim_end_matches('/').to_owned(), name.clone(), addresses)))
}

/// The last cause in the chain says most.
fn causes(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn failure(address: &str, error: &reqwest::Error) -> ClientError {
    let address = address.to_owned();
    if error.is_connect() {
        ClientError::Unreachable { address, cause: causes(error) }
    } else if error.is_timeout() {
        ClientError::Timeout { address }
    } else {
        let has_source = error.source().is_some();
        ClientError::Broken { address, cause: if has_source { causes(error) } else { error.to_string() } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn options_of(argv: &[&str], env: &[(&str, &str)]) -> Result<Options, ClientError> {
        let argv = argv.iter().map(|word| (*word).to_owned());
        let matches = server_options(Command::new("x").no_binary_name(true)).try_get_matches_from(argv).expect("flags");
        let look_up = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Options::read(&matches, &look_up)
    }

    #[track_caller]
    fn check_base(argv: &[&str], env: &[(&str, &str)], expected: &str) {
        assert_eq!(options_of(argv, env).expect("options").address(), expected, "{argv:?} {env:?}");
    }

    #[test]
    fn addresses_come_from_flags_then_environment() {
        check_base(&[], &[], "http://127.0.0.1:8500");
        check_base(&[], &[("CONSUL_HTTP_ADDR", "10.0.0.1:80")], "http://10.0.0.1:80");
        check_base(&[], &[("CONSUL_HTTP_ADDR", "a:1"), ("LICTOR_HTTP_ADDR", "b:2")], "http://b:2");
        check_base(&["--http-addr=https://c/prefix/"], &[("CONSUL_HTTP_ADDR", "a:1")], "https://c/prefix");
        check_base(&[], &[("CONSUL_HTTP_ADDR", "a:1"), ("CONSUL_HTTP_SSL", "true")], "https://a:1");
        check_base(&[], &[("CONSUL_HTTP_ADDR", "unix:///run/c.sock")], "unix:///run/c.sock");
        let error = options_of(&["--http-addr=tcp://x"], &[]).expect_err("scheme").to_string();
        assert!(error.starts_with("-http-addr: tcp:// is unknown"), "{error}");
    }

    #[test]
    fn everything_else_has_a_variable_too() {
        let env = [
            ("CONSUL_HTTP_TOKEN", "t"),
            ("CONSUL_HTTP_AUTH", "u:p:q"),
            ("CONSUL_HTTP_SSL_VERIFY", "false"),
            ("CONSUL_CACERT", "/ca"),
            ("CONSUL_CLIENT_CERT", "/c"),
            ("CONSUL_CLIENT_KEY", "/k"),
            ("CONSUL_TLS_SERVER_NAME", "n"),
            ("CONSUL_NAMESPACE", "ns1"),
            ("CONSUL_PARTITION", "p1"),
        ];
        let options = options_of(&["--stale", "--datacenter=dc2"], &env).expect("options");
        assert_eq!(options.token, "t");
        assert_eq!(options.user, Some(("u".to_owned(), "p:q".to_owned())));
        assert!(!options.verify);
        assert_eq!(options.ca_files, [PathBuf::from("/ca")]);
        assert_eq!(options.identity, Some(("/c".into(), "/k".into())));
        assert_eq!(options.tls_name.as_deref(), Some("n"));
        let query: Vec<String> = options.query.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(query, ["dc=dc2", "stale=", "ns=ns1", "partition=p1"]);
        assert!(options_of(&["--token-file=/nowhere/at/all"], &[]).is_err());
        assert!(options_of(&["--client-cert=/c"], &[]).is_err());
    }

    #[test]
    fn a_request_carries_token_and_query_and_its_refusal_is_told() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = Vec::new();
            let mut buffer = [0; 1024];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                let read = stream.read(&mut buffer).expect("a request");
                request.extend_from_slice(&buffer[..read]);
            }
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 18\r\n\r\nPermission denied\n").expect("sent");
            String::from_utf8_lossy(&request).to_lowercase()
        });
        let options =
            options_of(&[&format!("--http-addr={address}"), "--token=root", "--stale"], &[]).expect("options");
        let client = Client::new(options).expect("a client");
        let query = [("near", "_agent".to_owned())];
        let error =
            client.get::<serde_json::Value>(&format!("/v1/kv/{}", escape("a b/c")), &query).expect_err("refused");
        assert_eq!(error.to_string(), "Unexpected response code: 403 (Permission denied)");
        let request = server.join().expect("served");
        assert!(request.starts_with("get /v1/kv/a%20b/c?near=_agent&stale http/1.1"), "{request}");
        assert!(request.contains("x-consul-token: root"), "{request}");
    }

    #[test]
    fn where_nobody_listens_the_error_says_what_to_do() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        drop(listener);
        let options = options_of(&[&format!("--http-addr={address}")], &[]).expect("options");
        let error =
            Client::new(options).expect("a client").get::<String>("/v1/status/leader", &[]).expect_err("nobody");
        let text = error.to_string();
        assert!(
            text.contains(&address) && text.contains("lictor agent -dev") && text.contains("CONSUL_HTTP_ADDR"),
            "{text}"
        );
    }
}
