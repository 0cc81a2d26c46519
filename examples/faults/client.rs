//! Clients of a cluster of registers, and a record of what they were told, for the checker
//! ([`lictor_agent::sim::linear`]). They know addresses only; who runs the servers, and what befalls them, is no matter of theirs.
//!
//! What surely did not happen is left out of the record; what may have happened stays open.
#![expect(clippy::disallowed_methods, reason = "a history needs the one clock of the process that records it")]

use lictor_agent::dice::Dice;
use lictor_agent::sim::linear::{Action, Operation};
use reqwest::{Client, Response, StatusCode};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Who asks whom, and how often.
pub struct Load {
    /// `http://ip:port` of every server.
    pub servers: Vec<String>,
    pub clients: u64,
    pub keys: u64,
    /// Operations a second, of all clients together.
    pub rate: u64,
    pub seed: u64,
    pub lasts: Duration,
}

/// After so long an operation is given up, its outcome unknown.
const PATIENCE: Duration = Duration::from_secs(4);

/// What is recorded, on a clock in µs since the beginning.
pub struct Recorder {
    begun: Instant,
    operations: Mutex<Vec<Operation>>,
}

impl Recorder {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { begun: Instant::now(), operations: Mutex::default() })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn add(&self, operation: Operation) {
        self.operations.lock().expect("nobody panics while he holds it").push(operation);
    }

    pub fn history(&self) -> Vec<Operation> {
        self.operations.lock().expect("nobody panics while he holds it").clone()
    }
}

/// Runs the clients to their end.
pub async fn run(load: &Load, recorder: &Arc<Recorder>) {
    let clients = (0..load.clients).map(|number| {
        let caller = Caller::new(number, load, recorder);
        let dice = Dice::new(load.seed.wrapping_mul(1000).wrapping_add(number));
        let every = Duration::from_micros(1_000_000 * load.clients / load.rate.max(1));
        tokio::spawn(caller.work(dice, every, load.lasts))
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("a client does not panic");
    }
}

/// Reads every key once, so that what was acknowledged last is asked for too.
pub async fn read_all(load: &Load, recorder: &Arc<Recorder>) {
    let mut caller = Caller::new(load.clients, load, recorder);
    for key in 0..load.keys as usize {
        caller.read(key, key % load.servers.len(), "?consistent").await;
    }
}

struct Caller {
    number: u64,
    http: Client,
    servers: Vec<String>,
    recorder: Arc<Recorder>,
    written: u64,
    /// What was read last of each key, and at which index: what a compare-and-set compares with.
    seen: Vec<(Option<String>, u64)>,
}

impl Caller {
    fn new(number: u64, load: &Load, recorder: &Arc<Recorder>) -> Self {
        Self {
            number,
            http: Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client"),
            servers: load.servers.clone(),
            recorder: Arc::clone(recorder),
            written: 0,
            seen: vec![(None, 0); load.keys as usize],
        }
    }

    async fn work(mut self, mut dice: Dice, every: Duration, lasts: Duration) {
        let mut beat = tokio::time::interval(every);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let end = Instant::now() + lasts;
        while Instant::now() < end {
            beat.tick().await;
            let key = dice.below(self.seen.len() as u64) as usize;
            let server = dice.below(self.servers.len() as u64) as usize;
            match dice.below(10) {
                0..3 => self.read(key, server, "").await,
                3..5 => self.read(key, server, "?consistent").await,
                5..7 => self.put(key, server).await,
                7..9 => self.cas(key, server).await,
                _ => self.delete(key, server).await,
            }
        }
    }

    fn url(&self, key: usize, server: usize, query: &str) -> String {
        format!("{}/v1/kv/k{key}{query}", self.servers[server])
    }

    fn value(&mut self) -> String {
        self.written += 1;
        format!("{}-{}", self.number, self.written)
    }

    async fn read(&mut self, key: usize, server: usize, query: &str) {
        let begun = self.recorder.now();
        let and_raw = if query.is_empty() { "?raw".to_owned() } else { format!("{query}&raw") };
        // A read that fails says nothing.
        let Ok(response) = self.http.get(self.url(key, server, &and_raw)).send().await else { return };
        // The index of a key that is there is the index of its last change.
        let index = response.headers().get("x-consul-index").and_then(|index| index.to_str().ok()?.parse().ok());
        let found = match response.status() {
            StatusCode::OK => match response.text().await {
                Ok(text) => (Some(text), index.unwrap_or_default()),
                Err(_) => return,
            },
            StatusCode::NOT_FOUND => (None, 0),
            _ => return,
        };
        let ended = Some(self.recorder.now());
        self.seen[key] = found.clone();
        self.recorder.add(Operation { key: format!("k{key}"), begun, ended, action: Action::Read(found.0) });
    }

    async fn put(&mut self, key: usize, server: usize) {
        let value = self.value();
        let request = self.http.put(self.url(key, server, "")).body(value.clone());
        self.write(key, request, |_| Action::Put(value)).await;
    }

    async fn delete(&mut self, key: usize, server: usize) {
        let request = self.http.delete(self.url(key, server, ""));
        self.write(key, request, |_| Action::Delete).await;
    }

    async fn cas(&mut self, key: usize, server: usize) {
        let value = self.value();
        let (expect, index) = self.seen[key].clone();
        let request = self.http.put(self.url(key, server, &format!("?cas={index}"))).body(value.clone());
        self.write(key, request, |matched| Action::Cas { expect, value, matched }).await;
    }

    /// `action` is told `true` or `false` by the answer, or that it is unknown.
    async fn write(&self, key: usize, request: reqwest::RequestBuilder, action: impl FnOnce(Option<bool>) -> Action) {
        let begun = self.recorder.now();
        let answer = match request.send().await {
            Err(error) if error.is_connect() => return,
            Err(_) => None,
            Ok(response) if response.status() == StatusCode::TOO_MANY_REQUESTS => return,
            Ok(response) => said(response).await,
        };
        let ended = answer.map(|_| self.recorder.now());
        self.recorder.add(Operation { key: format!("k{key}"), begun, ended, action: action(answer) });
    }
}

/// What a write was answered; `None` leaves it open.
async fn said(response: Response) -> Option<bool> {
    if response.status() != StatusCode::OK {
        return None;
    }
    match response.text().await.ok()?.trim() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}
