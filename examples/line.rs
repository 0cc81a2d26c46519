//! Standing in line: what `leader_election`, `barrier`, `queue` and `semaphore` are made of, to be copied along with them.
//!
//! A session lives for as long as its program does, and not much longer if that dies without a word. A place in line is a key that
//! lives as long as the session, numbered in the order of arrival. Whoever is not first waits for the key just before its own to
//! go, and for no other: each departure wakes one, however long the line. What is done by right of a place carries its
//! sequencer, so that it is refused to those who lost the place and don't know yet.
#![allow(dead_code, reason = "each of the programs needs a part of it")]

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// How long agent or servers may be away, the longest wait for an answer included.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(200);

/// The agent beside this program.
#[derive(Clone)]
pub(crate) struct Agent {
    http: Client,
    url: String,
    ttl: Duration,
}

impl Agent {
    /// The one at `CONSUL_HTTP_ADDR` (`127.0.0.1:8500` unless set). Sessions live for `SESSION_TTL` seconds (10 unless set).
    pub(crate) fn nearby() -> Result<Self> {
        let address = std::env::var("CONSUL_HTTP_ADDR").unwrap_or_else(|_| "127.0.0.1:8500".to_owned());
        let ttl = std::env::var("SESSION_TTL").unwrap_or_else(|_| "10".to_owned()).parse()?;
        Self::at(address.trim_start_matches("http://"), Duration::from_secs(ttl))
    }

    pub(crate) fn at(address: &str, ttl: Duration) -> Result<Self> {
        // reqwest leaves the choice of cryptography to the program.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(90)).build()?;
        Ok(Self { http, url: format!("http://{address}"), ttl })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// Asks once more while nobody answers, or no server can. Only for what may be done twice.
    async fn ask(&self, request: RequestBuilder) -> Result<Response> {
        let asked = async {
            loop {
                match request.try_clone().ok_or("a body that cannot be sent twice")?.send().await {
                    Ok(response) if !response.status().is_server_error() => return Ok(response),
                    _ => tokio::time::sleep(PAUSE).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.map_err(|_over| "no agent, or no server behind it, for too long")?
    }

    /// What is at this path, and the index of that: at once, or when it is another than `index`. Nothing is there: no rows.
    async fn read(&self, path: &str, index: &str) -> Result<(Vec<Value>, String)> {
        let response = self.ask(self.request(Method::GET, &format!("{path}index={index}&wait=60s"))).await?;
        let now = response.headers().get("X-Consul-Index").ok_or("an answer without index")?.to_str()?.to_owned();
        match response.status() {
            StatusCode::NOT_FOUND => Ok((Vec::new(), now)),
            _ => Ok((response.error_for_status()?.json().await?, now)),
        }
    }

    /// The keys under a prefix in their order, and the index of that.
    pub(crate) async fn keys(&self, prefix: &str, index: &str) -> Result<(Vec<String>, String)> {
        let (rows, index) = self.read(&format!("/v1/kv/{prefix}?keys&"), index).await?;
        Ok((rows.into_iter().filter_map(|key| key.as_str().map(str::to_owned)).collect(), index))
    }

    /// The value of a key, if it is there.
    pub(crate) async fn value(&self, key: &str) -> Result<Option<String>> {
        let response = self.ask(self.request(Method::GET, &format!("/v1/kv/{key}?raw"))).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            _ => Ok(Some(response.error_for_status()?.text().await?)),
        }
    }

    /// Waits until a key is there, or until it is not.
    pub(crate) async fn until(&self, key: &str, there: bool) -> Result<()> {
        let mut index = "0".to_owned();
        loop {
            let (rows, now) = self.read(&format!("/v1/kv/{key}?"), &index).await?;
            if rows.is_empty() != there {
                return Ok(());
            }
            index = now;
        }
    }

    /// Writes what may be written twice; its answer.
    pub(crate) async fn write(&self, path: &str, body: String) -> Result<Response> {
        self.ask(self.request(Method::PUT, path).body(body)).await
    }

    /// A new key `<prefix><number>` with the next number. One that got no answer may be there all the same.
    pub(crate) async fn number(&self, prefix: &str, query: &str, value: &str) -> Result<String> {
        let path = format!("/v1/kv/{prefix}?sequence{query}");
        Ok(self.request(Method::PUT, &path).body(value.to_owned()).send().await?.error_for_status()?.json().await?)
    }

    /// Proof of holding the lock on this key.
    pub(crate) async fn sequencer(&self, key: &str) -> Result<String> {
        let response = self.ask(self.request(Method::GET, &format!("/v1/lock/sequencer/{key}"))).await?;
        let held: Value = response.error_for_status()?.json().await?;
        Ok(held["Sequencer"].as_str().ok_or("no sequencer")?.to_owned())
    }
}

/// A session that is renewed until this value goes. Its keys go with it.
pub(crate) struct Session {
    id: String,
    agent: Agent,
    renewal: JoinHandle<()>,
}

impl Session {
    pub(crate) async fn begin(agent: &Agent) -> Result<Self> {
        let ttl = agent.ttl;
        let wanted = json!({"TTL": format!("{}s", ttl.as_secs()), "Behavior": "delete"});
        // One too many ends by itself.
        let made = agent.write("/v1/session/create", wanted.to_string()).await?.error_for_status()?;
        let made: Value = made.json().await?;
        let id = made["ID"].as_str().ok_or("no session")?.to_owned();
        let (renewer, path) = (agent.clone(), format!("/v1/session/renew/{id}"));
        let renewal = tokio::spawn(async move {
            loop {
                tokio::time::sleep(ttl / 3).await;
                // Whoever is too late finds that his key is gone.
                let _ = renewer.request(Method::PUT, &path).timeout(ttl).send().await;
            }
        });
        Ok(Self { id, agent: agent.clone(), renewal })
    }

    pub(crate) async fn end(self) -> Result<()> {
        self.agent.write(&format!("/v1/session/destroy/{}", self.id), String::new()).await?.error_for_status()?;
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// A place in the line under a prefix.
pub(crate) struct Place {
    agent: Agent,
    prefix: String,
    pub(crate) key: String,
}

impl Place {
    /// Takes the last place. When this fails the place may be taken all the same: end the session, and begin anew.
    pub(crate) async fn take(session: &Session, prefix: &str, who: &str) -> Result<Self> {
        let agent = session.agent.clone();
        let key = agent.number(prefix, &format!("&acquire={}", session.id), who).await?;
        Ok(Self { agent, prefix: prefix.to_owned(), key })
    }

    /// Waits to be first. Gives how many departures that took.
    pub(crate) async fn first(&self) -> Result<usize> {
        for woken in 0.. {
            let (keys, _) = self.agent.keys(&self.prefix, "0").await?;
            let place = keys.iter().position(|key| *key == self.key).ok_or("the place in line is lost")?;
            let Some(before) = place.checked_sub(1) else { return Ok(woken) };
            self.agent.until(&keys[before], false).await?;
        }
        Err("a line without end".into())
    }

    /// Waits until the place is lost, as its session has ended.
    pub(crate) async fn lost(&self) -> Result<()> {
        self.agent.until(&self.key, false).await
    }

    /// Gives the place up, while the session goes on.
    pub(crate) async fn leave(self) -> Result<()> {
        let request = self.agent.request(Method::DELETE, &format!("/v1/kv/{}", self.key));
        self.agent.ask(request).await?.error_for_status()?;
        Ok(())
    }
}

/// Waits for SIGTERM or Ctrl-C.
pub(crate) async fn told_to_end() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        heard = tokio::signal::ctrl_c() => Ok(heard?),
    }
}
