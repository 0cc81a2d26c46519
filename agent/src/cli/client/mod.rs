//! Requests to an agent.

mod contents;
mod error;
mod options;

pub(crate) use error::ClientError;
pub(crate) use options::{Options, leader_options, options, server_options};

use super::progress::Progress;
use contents::Contents;
use error::{causes, failure};
use options::{read_file, renamed};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::time::Duration;

/// Longer than an agent holds a call without a leader, and than a leave may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// What is followed ends when somebody ends it.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// More than any answer that a command shows; a value is at most half a megabyte unless configured otherwise.
pub(crate) const BODY_MAX: usize = 256 << 20;

/// Everything but what a path's segment may hold; `/` too stays as it is, for keys.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// Keeps `/`, escapes the rest; and of a key also what an agent would clean away: repeated slashes, `.` and `..`.
pub(crate) fn escape(path: &str) -> String {
    let escaped = path.split_inclusive('/').map(|segment| match segment {
        "/" => "%2F".into(),
        "." | ".." | "./" | "../" => Cow::Owned(segment.replace('.', "%2E")),
        segment => Cow::from(utf8_percent_encode(segment, PATH)),
    });
    escaped.collect()
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

    /// Begins a GET whose answer is read piece by piece, for as long as that takes.
    pub(crate) async fn open(&self, path: &str, query: &[(&str, String)]) -> Result<reqwest::Response, ClientError> {
        let request = self.request(reqwest::Method::GET, path, query).timeout(FOREVER);
        succeeded(request.send().await.map_err(|error| failure(&self.options.address(), &error))?).await
    }

    /// Hands a GET's answer on piece by piece, for as long as there is one to come, somebody to read, and no Ctrl-C.
    pub(crate) fn follow(
        &self,
        path: &str,
        query: &[(&str, String)],
        mut show: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<End, ClientError> {
        self.runtime.block_on(async {
            let followed = async {
                let mut response = self.open(path, query).await?;
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
        let broken = |cause: std::io::Error| ClientError::Broken { address: address.clone(), cause: cause.to_string() };
        self.runtime.block_on(async {
            let mut response = self.open(path, query).await?;
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

#[cfg(test)]
mod tests {
    use super::options::tests::options_of;
    use super::*;
    use std::io::{Read, Write};

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
    fn tls_where_there_is_none_and_a_port_left_out_are_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut hello = [0; 1];
            stream.read_exact(&mut hello).expect("a hello");
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").expect("sent");
        });
        let ask = |address: &str| {
            let options = options_of(&[&format!("--http-addr={address}")], &[]).expect("options");
            Client::new(options).expect("a client").get::<String>("/v1/status/leader", &[]).expect_err("nobody")
        };
        let error = ask(&format!("https://{address}"));
        assert!(matches!(error, ClientError::NoTls { .. }), "{error}");
        server.join().expect("served");
        let text = ask("127.255.255.254").to_string();
        assert!(text.contains("no port is named, and agents listen on 8500"), "{text}");
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
