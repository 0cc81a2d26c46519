//! A small web service with an agent beside it. It registers itself with an HTTP check, finds its upstream by SRV whenever it is
//! asked, and takes its leave on SIGTERM or Ctrl-C: it deregisters first, so that nobody new comes, and then finishes
//! what it has begun.
//!
//! ```sh
//! cargo run --example sidecar -- api &        # answers by itself
//! cargo run --example sidecar -- web api      # answers by asking api
//! ```
//!
//! The agent is at `CONSUL_HTTP_ADDR` (`127.0.0.1:8500` unless set), its DNS at port 8600 of the same address.
#![expect(clippy::print_stdout, reason = "a program to watch")]

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use reqwest::Client;
use serde_json::json;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// How long a caller waits for the upstream, and the end for callers.
const PATIENCE: Duration = Duration::from_secs(5);

struct App {
    name: String,
    address: SocketAddr,
    upstream: Option<String>,
    http: Client,
    resolver: TokioResolver,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    // reqwest leaves the choice of cryptography to the program.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut args = std::env::args().skip(1);
    let name = args.next().ok_or("usage: sidecar NAME [UPSTREAM]")?;
    let agent = std::env::var("CONSUL_HTTP_ADDR").unwrap_or_else(|_| "127.0.0.1:8500".to_owned());
    let agent: SocketAddr = agent.trim_start_matches("http://").parse()?;
    let http = Client::builder().no_proxy().timeout(PATIENCE).build()?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let resolver = resolver(agent.ip())?;
    let app = Arc::new(App { name, address, upstream: args.next(), http: http.clone(), resolver });

    // Signals are listened for before anybody is told of this service, so that it never goes without a word.
    let mut terminate = signal(SignalKind::terminate())?;
    let id = register(&http, agent, &app).await?;
    println!("{id} serves http://{address}/");

    let connections = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            _ = terminate.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
        };
        let app = Arc::clone(&app);
        let service = service_fn(move |request| {
            let app = Arc::clone(&app);
            async move { Ok::<_, Infallible>(app.answer(request).await) }
        });
        let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connections.watch(connection));
    }

    http.put(format!("http://{agent}/v1/agent/service/deregister/{id}")).send().await?.error_for_status()?;
    println!("{id} deregistered");
    let _ = tokio::time::timeout(PATIENCE, connections.shutdown()).await;
    Ok(())
}

async fn register(http: &Client, agent: SocketAddr, app: &App) -> Result<String, Error> {
    let id = format!("{}-{}", app.name, app.address.port());
    let service = json!({
        "ID": id,
        "Name": app.name,
        "Address": app.address.ip(),
        "Port": app.address.port(),
        "Check": {
            "HTTP": format!("http://{}/health", app.address),
            "Interval": "1s",
            "Timeout": "500ms",
            // If this program dies without a word, it is forgotten by and by.
            "DeregisterCriticalServiceAfter": "1m",
        },
    });
    let url = format!("http://{agent}/v1/agent/service/register");
    let registered = http.put(url).body(service.to_string()).send().await;
    registered.map_err(|error| format!("no agent at {agent}: {error}"))?.error_for_status()?;
    Ok(id)
}

impl App {
    async fn answer(&self, request: Request<Incoming>) -> Response<String> {
        let (status, text) = match (request.uri().path(), &self.upstream) {
            ("/health", _) => (StatusCode::OK, "ok".to_owned()),
            ("/", None) => (StatusCode::OK, format!("{} at {}", self.name, self.address)),
            ("/", Some(upstream)) => match self.ask(upstream).await {
                Ok(answer) => (StatusCode::OK, format!("{} at {}, through {answer}", self.name, self.address)),
                Err(error) => (StatusCode::BAD_GATEWAY, format!("{upstream} did not answer: {error}")),
            },
            _ => (StatusCode::NOT_FOUND, "there is nothing here but /".to_owned()),
        };
        let mut response = Response::new(text + "\n");
        *response.status_mut() = status;
        response
    }

    /// What an instance of the upstream says. The agent gives them in random order, so that the first one will do; if it does
    /// not answer, the next one may.
    async fn ask(&self, upstream: &str) -> Result<String, Error> {
        let mut last: Error = "no instance".into();
        for record in self.resolver.srv_lookup(format!("{upstream}.service.consul.")).await?.answers() {
            let RData::SRV(srv) = &record.data else { continue };
            let ip =
                self.resolver.lookup_ip(srv.target.clone()).await?.iter().next().ok_or("a name without address")?;
            let url = format!("http://{}/", SocketAddr::new(ip, srv.port));
            match self.http.get(url).send().await.and_then(reqwest::Response::error_for_status) {
                Ok(response) => return Ok(response.text().await?.trim_end().to_owned()),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }
}

/// A resolver that asks this agent and nobody else; by TCP what is too long for UDP.
fn resolver(agent: IpAddr) -> Result<TokioResolver, Error> {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = 8600;
        connection
    });
    let server = NameServerConfig::new(agent, true, connections.to_vec());
    let config = ResolverConfig::from_name_servers(vec![server]);
    Ok(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build()?)
}
