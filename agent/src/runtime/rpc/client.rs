//! Connections to servers: one for short calls and one for waiting calls to each, opened when needed by whoever comes
//! first while the others wait for it, and one long stream of letters to each peer of the log. A broken connection is
//! forgotten and opened anew by the next call.

use super::{Frames, frame, whole};
use crate::consensus::bootstrap::Letter as BootstrapLetter;
use crate::consensus::{EngineId, Letter, News};
use crate::event::Event;
use crate::rpc::{
    self, Answered, AskedToSave, CALL_MAX, Forwarded, Hello, Saved, Signature, Submission, Submitted, Unserved,
};
use crate::runtime::handle::Handle;
use crate::runtime::mailbox::Lane;
use crate::runtime::pieces::Pieces;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use lictor_catalog::Store;
use lictor_catalog::store::{Restore, Scope};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, mpsc};

/// A server that does not answer the connection attempt by then is taken for unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);
/// A waiting call's connection is probed this often, so that a silent cut is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// Letters waiting for a slow peer; more are dropped, as a network would.
const LETTERS_MAX: usize = 4096;
/// Chunks of a store under way.
const CHUNKS_MAX: usize = 8;

type Payload = UnsyncBoxBody<Bytes, Infallible>;
type Sender = SendRequest<Payload>;

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// It surely did not arrive.
    NotSent,
    /// The server does not talk to this agent, and says why.
    Refused(String),
    /// It may have arrived.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Class {
    Short,
    Waiting,
}

/// A connection, or an attempt at one: one caller connects, and all who wait meanwhile share what comes of it.
type Line = Arc<OnceCell<Result<Sender, Failed>>>;

/// Letters on their way to one peer.
#[derive(Debug)]
struct Stream {
    /// Tells it from the streams before and after it.
    number: u64,
    address: SocketAddr,
    letters: mpsc::Sender<Bytes>,
}

/// All connections of this agent to servers.
#[derive(Debug)]
pub struct Client {
    hello: Mutex<Hello>,
    lines: Mutex<HashMap<(SocketAddr, Class), Line>>,
    letters: Mutex<HashMap<EngineId, Stream>>,
    streams: AtomicU64,
    from: OnceLock<EngineId>,
}

impl Client {
    #[must_use]
    pub fn new(hello: Hello) -> Self {
        Self {
            hello: Mutex::new(hello),
            lines: Mutex::default(),
            letters: Mutex::default(),
            streams: AtomicU64::new(0),
            from: OnceLock::new(),
        }
    }

    /// How this agent introduces itself from now on.
    pub fn introduce(&self, change: impl FnOnce(&mut Hello)) {
        change(&mut self.hello.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// How this agent introduces itself.
    #[must_use]
    pub fn hello(&self) -> Hello {
        self.hello.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whose letters these are.
    pub fn sign(&self, from: EngineId) {
        let _ = self.from.set(from);
    }

    /// Whose letters are for this server.
    #[must_use]
    pub fn engine(&self) -> Option<EngineId> {
        self.from.get().copied()
    }

    /// Who writes, and to whom: an address may belong to somebody else by now, such as an emptied server.
    fn signature(&self, to: EngineId) -> Bytes {
        rpc::encode(&Signature { from: self.engine().unwrap_or_default(), to })
    }

    async fn connection(&self, to: SocketAddr, class: Class) -> Result<Sender, Failed> {
        let line = self.line(to, class);
        line.get_or_init(|| self.connect(to)).await.clone()
    }

    /// The line to this server: the open one, the one that is being opened, or a new one. Whoever comes after an attempt
    /// that failed makes another.
    fn line(&self, to: SocketAddr, class: Class) -> Line {
        let is_of_use = |line: &Line| match line.get() {
            Some(Ok(sender)) => !sender.is_closed(),
            Some(Err(_)) => false,
            // Somebody waits for it; else whoever connected gave up, and nobody did after him.
            None => Arc::strong_count(line) > 1,
        };
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get(&(to, class)).filter(|line| is_of_use(line)) {
            return Arc::clone(line);
        }
        // Servers that moved or went leave nothing behind.
        lines.retain(|_, line| is_of_use(line));
        Arc::clone(lines.entry((to, class)).or_default())
    }

    async fn connect(&self, to: SocketAddr) -> Result<Sender, Failed> {
        let Ok(Ok(stream)) = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(to)).await else {
            return Err(Failed::NotSent);
        };
        // Small letters must not wait for each other.
        let _ = stream.set_nodelay(true);
        let handshake = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await;
        let Ok((mut sender, connection)) = handshake else { return Err(Failed::NotSent) };
        tokio::spawn(connection);
        let hello = rpc::encode(&self.hello());
        let greeted = tokio::time::timeout(CONNECT_TIMEOUT, post(&mut sender, "/hello", full(hello))).await;
        let Ok(Ok(response)) = greeted else { return Err(Failed::NotSent) };
        if response.status() == StatusCode::OK {
            return Ok(sender);
        }
        let reason = whole(response.into_body(), 4096).await.unwrap_or_default();
        Err(Failed::Refused(String::from_utf8_lossy(&reason).into_owned()))
    }

    /// Sends and waits for the answer, at most `patience`.
    async fn ask(
        &self,
        to: SocketAddr,
        class: Class,
        path: &'static str,
        body: Bytes,
        patience: Duration,
    ) -> Result<Bytes, Failed> {
        let mut sender = self.connection(to, class).await?;
        sender.ready().await.or(Err(Failed::NotSent))?;
        let asked = async {
            let response = post(&mut sender, path, full(body)).await.map_err(|error| {
                // A request that was never polled onto the wire comes back as cancelled.
                if error.is_canceled() { Failed::NotSent } else { Failed::Lost }
            })?;
            let status = response.status();
            match whole(response.into_body(), CALL_MAX).await {
                Ok(answer) if status == StatusCode::OK => Ok(answer),
                Ok(reason) => Err(Failed::Refused(String::from_utf8_lossy(&reason).into_owned())),
                Err(_) => Err(Failed::Lost),
            }
        };
        match tokio::time::timeout(patience, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(Failed::Lost),
        }
    }

    /// Passes a call on.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn call(&self, to: SocketAddr, forwarded: &Forwarded, blocking: bool) -> Result<Answered, Failed> {
        let class = if blocking { Class::Waiting } else { Class::Short };
        let patience = Duration::from_millis(forwarded.budget_ms);
        let answer = self.ask(to, class, "/call", rpc::encode(forwarded), patience).await?;
        rpc::decode(&answer).or(Err(Failed::Lost))
    }

    /// Passes a command on.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn submit(&self, to: SocketAddr, submission: &Submission) -> Result<Submitted, Failed> {
        let patience = Duration::from_millis(submission.budget_ms);
        let answer = self.ask(to, Class::Short, "/submit", rpc::encode(submission), patience).await?;
        rpc::decode(&answer).or(Err(Failed::Lost))
    }

    /// Asks for a backup. It has a connection of its own: it is long, and what is short must not wait for it.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn save(&self, to: SocketAddr, asked: &AskedToSave) -> Result<Result<(Saved, Pieces), Unserved>, Failed> {
        let mut sender = self.connect(to).await?;
        let begun = async {
            let response = post(&mut sender, "/save", full(rpc::encode(asked))).await.or(Err(Failed::Lost))?;
            if response.status() != StatusCode::OK {
                let reason = whole(response.into_body(), 4096).await.unwrap_or_default();
                return Err(Failed::Refused(String::from_utf8_lossy(&reason).into_owned()));
            }
            let mut frames = Frames::new(response.into_body(), 4096);
            let head = frames.next().await.ok().flatten().ok_or(Failed::Lost)?;
            let head: Result<Saved, Unserved> = rpc::decode(&head).or(Err(Failed::Lost))?;
            Ok(head.map(|saved| (saved, Pieces::relayed(frames))))
        };
        tokio::time::timeout(Duration::from_millis(asked.budget_ms), begun).await.unwrap_or(Err(Failed::Lost))
    }

    /// Fetches a part of the catalog.
    ///
    /// # Errors
    /// [`Failed`]; also when the part does not decode.
    pub async fn part(&self, to: SocketAddr, scope: &Scope, patience: Duration) -> Result<Store, Failed> {
        let answer = self.ask(to, Class::Short, "/part", rpc::encode(scope), patience).await?;
        let mut restore = Restore::new();
        restore.feed(&answer).or(Err(Failed::Lost))?;
        restore.finish().or(Err(Failed::Lost))
    }

    /// Sends a bootstrap letter; its loss is made good by repetition.
    pub async fn bootstrap(&self, to: SocketAddr, letter: &BootstrapLetter) -> Result<(), Failed> {
        self.ask(to, Class::Short, "/bootstrap", letter.encode(), CONNECT_TIMEOUT).await.map(drop)
    }

    /// Queues a letter for a peer; drops it when the peer is slow, as a network would.
    pub fn letter(self: &Arc<Self>, handle: &Arc<Handle>, to: EngineId, address: SocketAddr, letter: &Letter) {
        let bytes = frame(&letter.encode());
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        // A broken stream stays on the list while its address rests: what is written meanwhile is lost.
        if let Some(stream) = letters.get(&to).filter(|stream| stream.address == address) {
            let _ = stream.letters.try_send(bytes);
            return;
        }
        let number = self.streams.fetch_add(1, Ordering::Relaxed);
        let (sender, queue) = mpsc::channel(LETTERS_MAX);
        let _ = sender.try_send(bytes);
        letters.insert(to, Stream { number, address, letters: sender });
        tokio::spawn(Arc::clone(self).carry(Arc::clone(handle), to, number, address, queue));
    }

    /// Carries letters to one peer until the stream breaks; the next letter then opens a new one.
    async fn carry(
        self: Arc<Self>,
        handle: Arc<Handle>,
        to: EngineId,
        number: u64,
        address: SocketAddr,
        queue: mpsc::Receiver<Bytes>,
    ) {
        let connected = self.connect(address).await;
        if let Err(Failed::Refused(reason)) = &connected {
            tracing::warn!("{address} takes no letters: {reason}");
        }
        if let Ok(mut sender) = connected {
            let _ = handle.mailbox.push(Lane::Letters, Event::Peer { peer: to, news: News::Reconnected });
            let body = Letters { first: Some(frame(&self.signature(to))), queue }.boxed_unsync();
            let _ = post(&mut sender, "/letters", body).await;
        }
        // Let a dead address rest a moment, so that each dropped letter does not dial again.
        tokio::time::sleep(Duration::from_millis(100)).await;
        {
            let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
            // A stream to another address may have taken its place; removing that one would break it, and so on for ever.
            if letters.get(&to).is_some_and(|stream| stream.number == number) {
                letters.remove(&to);
            }
        }
        let _ = handle.mailbox.push(Lane::Letters, Event::Peer { peer: to, news: News::Unreachable });
    }

    /// Sends a letter with the state that travels beside it, and reports how it went.
    pub async fn state(
        self: Arc<Self>,
        handle: Arc<Handle>,
        to: EngineId,
        address: SocketAddr,
        letter: Letter,
        store: Store,
    ) {
        let (chunks, queue) = mpsc::channel(CHUNKS_MAX);
        // Encoding a large state takes long: it happens off the agent's thread and off the runtime's.
        let encoder = tokio::task::spawn_blocking(move || {
            for chunk in store.chunks() {
                if chunks.blocking_send(Bytes::from(chunk)).is_err() {
                    return;
                }
            }
        });
        let sent = async {
            let mut sender = self.connect(address).await?;
            let head = [frame(&self.signature(to)), frame(&letter.encode())].concat();
            let body = Letters { first: Some(head.into()), queue }.boxed_unsync();
            let response = post(&mut sender, "/state", body).await.or(Err(Failed::Lost))?;
            if response.status() == StatusCode::OK { Ok(()) } else { Err(Failed::Lost) }
        }
        .await;
        encoder.abort();
        if let Err(failed) = &sent {
            tracing::warn!(%to, %address, "a snapshot was not delivered: {failed:?}");
        }
        let news = if sent.is_ok() { News::SnapshotArrived } else { News::SnapshotLost };
        // The engine sends that peer nothing until it hears of this: it must not be dropped.
        while handle.mailbox.push(Lane::Letters, Event::Peer { peer: to, news }).is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn full(body: Bytes) -> Payload {
    Full::new(body).boxed_unsync()
}

async fn post(sender: &mut Sender, path: &'static str, body: Payload) -> hyper::Result<Response<Incoming>> {
    let mut request = Request::new(body);
    *request.method_mut() = http::Method::POST;
    // HTTP/2 wants an authority; names of servers mean nothing here.
    *request.uri_mut() = http::Uri::builder()
        .scheme("http")
        .authority("lictor")
        .path_and_query(path)
        .build()
        .expect("the parts are constants");
    sender.send_request(request).await
}

/// A body fed from a queue.
struct Letters {
    first: Option<Bytes>,
    queue: mpsc::Receiver<Bytes>,
}

impl Body for Letters {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        self.queue.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
