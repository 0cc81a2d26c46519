//! The network: two ways in, UDP by batches and TCP by hickory-server's streams, one [`message`] behind both.
//!
//! Each UDP socket has a thread of its own, which answers what needs no waiting on the spot; what must be fetched first
//! is handed to the runtime, a bounded number at a time. Each TCP connection, of which there are so many at most, is a
//! task that answers one question after the other. This is the only file of the crate with sockets, threads, tasks
//! and randomness.

use crate::message::{self, Asker, Outcome, Question, Transport};
use crate::settings::Settings;
use crate::source::{Source, Unavailable};
use futures_util::StreamExt as _;
use hickory_proto::op::SerialMessage;
use lictor_catalog::SplitMix64;
use lictor_catalog::store::Scope;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, SockaddrStorage, bind as bind_socket, listen, sendto,
    setsockopt, socket, sockopt,
};
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use trust_dns_server::net::runtime::iocompat::AsyncIoTokioAsStd;
use trust_dns_server::net::tcp::TcpStream;
use trust_dns_server::net::xfer::DnsStreamHandle as _;
use trust_dns_server::server::TimeoutStream;

/// Messages taken from a socket by one system call.
const BATCH: usize = 32;
/// Longer questions than this are not questions.
const QUESTION_MAX: usize = 4096;
/// What an output buffer may keep for the next answer.
const REPLY_KEPT: usize = 4096;
/// How often a quiet thread looks whether it is to stop.
const LOOK_UP: Duration = Duration::from_millis(200);
/// Asked for, so that a burst waits in the kernel; the kernel gives what it allows.
const RECEIVE_BUFFER: usize = 1 << 20;
/// A TCP client may be silent for so long.
const TCP_IDLE: Duration = Duration::from_secs(10);
/// TCP clients at once (BIND lets 150 in); further ones are hung up on, so that they cannot use up the descriptors of the
/// whole agent.
pub(crate) const TCP_MAX: usize = 256;
/// Replies that may wait for a TCP client to read them; he is asked for no further question before.
const TCP_REPLIES: usize = 1;
const TCP_BACKLOG: i32 = 1024;
/// After a connection could not be accepted, for want of descriptors: some may be given back meanwhile.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// Questions whose part of the catalog is being fetched; more are refused by SERVFAIL.
const FETCHES_MAX: usize = 1024;
/// No resolver waits longer.
const FETCH_TIME: Duration = Duration::from_secs(5);

/// Gives the settings of the moment, so that a reload reaches the next question.
pub trait CurrentSettings: Fn() -> Arc<Settings> + Send + Sync + 'static {}
impl<F: Fn() -> Arc<Settings> + Send + Sync + 'static> CurrentSettings for F {}

/// What every thread and connection shares.
struct Shared<S, F> {
    source: Arc<S>,
    settings: F,
    fetches: Arc<Semaphore>,
    stopped: AtomicBool,
}

/// Tells the threads to stop, also when `serve` is dropped halfway.
struct StopOnDrop<S, F>(Arc<Shared<S, F>>);

impl<S, F> Drop for StopOnDrop<S, F> {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }
}

/// `sockets` UDP sockets that share one address, and a TCP listener on it. Port 0 takes a free one.
///
/// # Errors
/// Names the address, what is wrong with it, and what to do.
pub fn bind(address: SocketAddr, sockets: usize) -> io::Result<(Vec<UdpSocket>, TcpListener)> {
    // A free TCP port may be taken for UDP: then another is tried.
    let tries = if address.port() == 0 { 16 } else { 1 };
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..tries {
        match bind_once(address, sockets) {
            Ok(bound) => return Ok(bound),
            Err(error) => last = error,
        }
    }
    let remedy = match last.kind() {
        io::ErrorKind::AddrInUse => {
            "another DNS server (perhaps another agent) holds the port: stop it, or set `ports.dns` or `addresses.dns`"
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address: set `addresses.dns` or `client_addr`",
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE: grant it, or set `ports.dns` to a higher port"
        }
        _ => "set `ports.dns` or `addresses.dns` to an address that can be bound",
    };
    Err(io::Error::new(last.kind(), format!("cannot serve DNS on {address}: {last}; {remedy}")))
}

/// TCP first, without sharing: two agents on one port must collide rather than split the questions between them.
fn bind_once(address: SocketAddr, sockets: usize) -> io::Result<(Vec<UdpSocket>, TcpListener)> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let stream = socket(family, SockType::Stream, close_on_exec(), None)?;
    setsockopt(&stream, sockopt::ReuseAddr, &true)?;
    bind_socket(stream.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&stream, Backlog::new(TCP_BACKLOG)?)?;
    let listener = TcpListener::from(stream);
    let address = listener.local_addr()?;
    let mut bound = Vec::with_capacity(sockets);
    for _ in 0..sockets.max(1) {
        let datagram = socket(family, SockType::Datagram, close_on_exec(), None)?;
        if sockets > 1 {
            setsockopt(&datagram, sockopt::ReusePort, &true)?;
        }
        // Only a wish: the kernel's own bound is as good.
        let _ = setsockopt(&datagram, sockopt::RcvBuf, &RECEIVE_BUFFER);
        bind_socket(datagram.as_raw_fd(), &SockaddrStorage::from(address))?;
        bound.push(UdpSocket::from(datagram));
    }
    Ok((bound, listener))
}

#[cfg(target_os = "linux")]
const fn close_on_exec() -> SockFlag {
    SockFlag::SOCK_CLOEXEC
}

#[cfg(not(target_os = "linux"))]
const fn close_on_exec() -> SockFlag {
    SockFlag::empty()
}

/// Serves until `stop` is ready; then everything has ended. Needs a tokio runtime with I/O and time.
///
/// # Errors
/// A socket that cannot be set up, or a thread that cannot be started.
pub async fn serve<S: Source>(
    settings: impl CurrentSettings,
    source: Arc<S>,
    udp: Vec<UdpSocket>,
    tcp: TcpListener,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let fetches = Arc::new(Semaphore::new(FETCHES_MAX));
    let shared = Arc::new(Shared { source, settings, fetches, stopped: AtomicBool::new(false) });
    let stopping = StopOnDrop(Arc::clone(&shared));
    tcp.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(tcp)?;
    let runtime = tokio::runtime::Handle::current();
    let mut threads = Vec::with_capacity(udp.len());
    for socket in udp {
        socket.set_read_timeout(Some(LOOK_UP))?;
        let worker = Worker::new(Arc::new(socket), Arc::clone(&shared), runtime.clone());
        let thread = std::thread::Builder::new().name("dns".to_owned());
        threads.push(thread.spawn(move || worker.run())?);
    }
    tokio::select! {
        () = stop => {}
        never = accept(listener, shared) => match never {},
    }
    drop(stopping);
    let joined = tokio::task::spawn_blocking(move || threads.into_iter().map(std::thread::JoinHandle::join).count());
    joined.await.map(|_| ()).map_err(io::Error::other)
}

/// Chance for the order of answers. `RandomState` is the standard library's way to the system's randomness.
fn dice() -> SplitMix64 {
    SplitMix64::new(RandomState::new().hash_one(0))
}

/// One UDP socket and what answers on it.
struct Worker<S, F> {
    socket: Arc<UdpSocket>,
    shared: Arc<Shared<S, F>>,
    runtime: tokio::runtime::Handle,
    dice: SplitMix64,
}

impl<S: Source, F: CurrentSettings> Worker<S, F> {
    fn new(socket: Arc<UdpSocket>, shared: Arc<Shared<S, F>>, runtime: tokio::runtime::Handle) -> Self {
        Self { socket, shared, runtime, dice: dice() }
    }

    fn stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::Relaxed)
    }

    /// Whether `out` now holds a reply for `from`.
    fn answer(&mut self, settings: &Arc<Settings>, message: &[u8], from: SockaddrStorage, out: &mut Vec<u8>) -> bool {
        let Some(sender) = sender(&from).filter(|sender| sender.port() != 0) else { return false };
        let dice = &mut |sides| self.dice.below(sides);
        let asker = Asker { transport: Transport::Udp, address: Some(sender.ip()) };
        match message::respond(message, asker, settings, &*self.shared.source, dice, out) {
            Outcome::Dropped => false,
            Outcome::Replied => true,
            Outcome::Fetch(question, scope) => {
                let Ok(permit) = Arc::clone(&self.shared.fetches).try_acquire_owned() else {
                    message::finish(&question, Err(Unavailable), settings, 0, dice, out);
                    return true;
                };
                let (socket, shared) = (Arc::clone(&self.socket), Arc::clone(&self.shared));
                let settings = Arc::clone(settings);
                let begun = shared.source.moment();
                self.runtime.spawn(async move {
                    let mut out = Vec::new();
                    shared.finish(&question, scope, &settings, &mut out).await;
                    // A full socket drops the reply, as a full network would; the client asks again.
                    let _ = sendto(socket.as_raw_fd(), &out, &from, MsgFlags::MSG_DONTWAIT);
                    shared.source.answered(1, begun);
                    drop(permit);
                });
                false
            }
        }
    }

    /// Receives and sends by batches.
    #[cfg(target_os = "linux")]
    fn run(mut self) {
        use nix::sys::socket::MultiHeaders;
        let mut questions = vec![[0u8; QUESTION_MAX]; BATCH];
        let mut replies: Vec<Vec<u8>> = vec![Vec::new(); BATCH];
        let mut incoming = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
        let mut outgoing = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
        let mut received: Vec<(usize, Option<SockaddrStorage>)> = Vec::with_capacity(BATCH);
        let mut to: Vec<Option<SockaddrStorage>> = Vec::with_capacity(BATCH);
        while !self.stopped() {
            received.clear();
            let fd = self.socket.as_raw_fd();
            if let Err(error) = receive_batch(fd, &mut incoming, &mut questions, &mut received) {
                rest_after(error.into());
                continue;
            }
            let begun = self.shared.source.moment();
            let settings = (self.shared.settings)();
            to.clear();
            for ((length, from), question) in received.iter().zip(&questions) {
                let (Some(from), Some(question)) = (from, question.get(..*length)) else { continue };
                if self.answer(&settings, question, *from, &mut replies[to.len()]) {
                    to.push(Some(*from));
                }
            }
            send_batch(fd, &mut outgoing, &replies, &to);
            self.shared.source.answered(to.len(), begun);
            for reply in &mut replies[..to.len()] {
                reply.shrink_to(REPLY_KEPT);
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn run(mut self) {
        let mut question = [0u8; QUESTION_MAX];
        let mut reply = Vec::new();
        while !self.stopped() {
            let (length, from) = match self.socket.recv_from(&mut question) {
                Ok(received) => received,
                Err(error) => {
                    rest_after(error);
                    continue;
                }
            };
            let begun = self.shared.source.moment();
            let settings = (self.shared.settings)();
            if self.answer(&settings, &question[..length], SockaddrStorage::from(from), &mut reply) {
                let _ = self.socket.send_to(&reply, from);
                self.shared.source.answered(1, begun);
                reply.shrink_to(REPLY_KEPT);
            }
        }
    }
}

/// Waits for one message, and takes what has come besides: its length and its sender.
#[cfg(target_os = "linux")]
fn receive_batch(
    fd: std::os::fd::RawFd,
    headers: &mut nix::sys::socket::MultiHeaders<SockaddrStorage>,
    buffers: &mut [[u8; QUESTION_MAX]],
    received: &mut Vec<(usize, Option<SockaddrStorage>)>,
) -> nix::Result<()> {
    let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| [io::IoSliceMut::new(buffer)]).collect();
    let messages = nix::sys::socket::recvmmsg(fd, headers, slices.iter_mut(), MsgFlags::MSG_WAITFORONE, None)?;
    received.extend(messages.map(|message| (message.bytes, message.address)));
    Ok(())
}

/// Sends each reply to its address. One that cannot be sent is passed over: it must not stop those behind it.
#[cfg(target_os = "linux")]
fn send_batch(
    fd: std::os::fd::RawFd,
    headers: &mut nix::sys::socket::MultiHeaders<SockaddrStorage>,
    replies: &[Vec<u8>],
    to: &[Option<SockaddrStorage>],
) {
    let slices: Vec<_> = replies.iter().map(|reply| [io::IoSlice::new(reply)]).collect();
    let mut done = 0;
    while done < to.len() {
        let (slices, to) = (&slices[done..to.len()], &to[done..]);
        let sent = nix::sys::socket::sendmmsg(fd, headers, slices, to, [], MsgFlags::empty());
        done += sent.map_or(1, |sent| sent.count().max(1));
    }
}

/// Nothing came in time, or a signal did: no matter. Any other error is no reason to spin.
fn rest_after(error: io::Error) {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    if !matches!(error.kind(), WouldBlock | TimedOut | Interrupted) {
        tracing::warn!(%error, "receiving DNS questions failed; trying again");
        std::thread::park_timeout(LOOK_UP);
    }
}

fn sender(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::from((v4.ip(), v4.port())));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::from((v6.ip(), v6.port()))))
}

impl<S: Source, F: CurrentSettings> Shared<S, F> {
    /// Writes the reply to a question whose part of the catalog must be fetched first.
    async fn finish(&self, question: &Question, scope: Scope, settings: &Settings, out: &mut Vec<u8>) {
        let fetched = tokio::time::timeout(FETCH_TIME, self.source.fetch(scope)).await.unwrap_or(Err(Unavailable));
        let store = fetched.as_deref().map_err(|unavailable| *unavailable);
        let mut dice = dice();
        message::finish(question, store, settings, self.source.now_unix(), &mut |sides| dice.below(sides), out);
    }

    /// Whether `out` now holds a reply to what a TCP client asked.
    async fn answer_stream(&self, message: &[u8], from: SocketAddr, out: &mut Vec<u8>) -> bool {
        let settings = (self.settings)();
        let asker = Asker { transport: Transport::Tcp, address: Some(from.ip()) };
        let mut dice = dice();
        let outcome = message::respond(message, asker, &settings, &*self.source, &mut |sides| dice.below(sides), out);
        match outcome {
            Outcome::Dropped => return false,
            Outcome::Replied => {}
            Outcome::Fetch(question, scope) => match self.fetches.try_acquire() {
                Ok(_permit) => self.finish(&question, scope, &settings, out).await,
                Err(_full) => {
                    message::finish(&question, Err(Unavailable), &settings, 0, &mut |sides| dice.below(sides), out);
                }
            },
        }
        true
    }
}

/// Lets TCP clients in. Dropping it hangs up on all of them.
async fn accept<S: Source, F: CurrentSettings>(
    listener: tokio::net::TcpListener,
    shared: Arc<Shared<S, F>>,
) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        let accepted = listener.accept().await;
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, from)) if connections.len() < TCP_MAX => {
                connections.spawn(converse(stream, from, Arc::clone(&shared)));
            }
            Ok(_one_too_many) => {}
            Err(error) => {
                tracing::debug!(%error, "a DNS client could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Answers the questions of one TCP client until he hangs up, is silent for too long, or does not read.
async fn converse<S: Source, F: CurrentSettings>(
    stream: tokio::net::TcpStream,
    from: SocketAddr,
    shared: Arc<Shared<S, F>>,
) {
    let (stream, mut replies) = TcpStream::from_stream_with_buffer_size(AsyncIoTokioAsStd(stream), from, TCP_REPLIES);
    let mut questions = TimeoutStream::new(stream, TCP_IDLE);
    while let Some(Ok(question)) = questions.next().await {
        let begun = shared.source.moment();
        let mut reply = Vec::new();
        if shared.answer_stream(question.bytes(), from, &mut reply).await {
            // It goes out when the next question is waited for.
            if replies.send(SerialMessage::new(reply, from)).is_err() {
                return;
            }
            shared.source.answered(1, begun);
        }
    }
}
