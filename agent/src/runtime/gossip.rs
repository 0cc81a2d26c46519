//! Gossip's sockets: packets over UDP, requests over TCP on the same port. A request is one frame there and one back.

use crate::event::Event;
use crate::gossip::DialError;
use crate::runtime::handle::Handle;
use crate::runtime::mailbox::Lane;
use crate::runtime::meter::Event as Figure;
use bytes::Bytes;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, oneshot};

/// Bytes of one request or answer: the whole member list, with tags.
const BODY_MAX: u32 = 8 << 20;
/// A request that has not been answered by then has failed.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Requests served at once.
const REQUESTS_MAX: usize = 256;
/// More than any packet that we send, so that a longer one is seen to be foreign.
const PACKET_MAX: usize = 2048;

/// Requests that wait for the agent's answer.
#[derive(Debug, Default)]
pub struct Answers(Mutex<HashMap<u64, oneshot::Sender<Bytes>>>);

impl Answers {
    pub fn give(&self, ticket: u64, body: Bytes) {
        let asker = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket);
        if let Some(asker) = asker {
            let _ = asker.send(body);
        }
    }

    fn expect(&self, ticket: u64) -> oneshot::Receiver<Bytes> {
        let (sender, receiver) = oneshot::channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(ticket, sender);
        receiver
    }

    fn forget(&self, ticket: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket);
    }
}

/// Hands every packet to the agent.
pub async fn receive(socket: UdpSocket, handle: Arc<Handle>) {
    let mut buffer = vec![0; PACKET_MAX];
    loop {
        // An error here is a neighbour's closed port reported late: nothing of ours is broken.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        handle.meter.count(Figure::UdpReceived, length);
        let bytes = Bytes::copy_from_slice(&buffer[..length]);
        let _ = handle.mailbox.push(Lane::Gossip, Event::Packet { from, bytes });
    }
}

/// Serves requests until the task is dropped.
pub async fn serve(listener: TcpListener, handle: Arc<Handle>, answers: Arc<Answers>) {
    let places = Arc::new(Semaphore::new(REQUESTS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        handle.meter.count(Figure::TcpAccept, 1);
        let (handle, answers) = (Arc::clone(&handle), Arc::clone(&answers));
        tokio::spawn(async move {
            let _ = tokio::time::timeout(TIMEOUT, request(stream, &handle, &answers)).await;
            drop(place);
        });
    }
}

async fn request(mut stream: TcpStream, handle: &Handle, answers: &Answers) -> io::Result<()> {
    let body = read_frame(&mut stream).await?;
    let ticket = handle.ticket();
    let answer = answers.expect(ticket);
    if handle.mailbox.push(Lane::Gossip, Event::GossipAsked { ticket, body }).is_ok()
        && let Ok(Ok(answer)) = tokio::time::timeout(TIMEOUT, answer).await
    {
        handle.meter.count(Figure::TcpSent, answer.len());
        write_frame(&mut stream, &answer).await?;
    }
    answers.forget(ticket);
    Ok(())
}

/// Asks a member over TCP and hands in what it answered.
pub async fn dial(to: SocketAddr, dial: u64, body: Bytes, handle: Arc<Handle>) {
    let asked = async {
        let mut stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        handle.meter.count(Figure::TcpConnect, 1);
        handle.meter.count(Figure::TcpSent, body.len());
        write_frame(&mut stream, &body).await?;
        read_frame(&mut stream).await
    };
    let answer = match tokio::time::timeout(TIMEOUT, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Err(DialError::Refused),
        Ok(Err(_)) => Err(DialError::Unreachable),
        Err(_) => Err(DialError::TimedOut),
    };
    let _ = handle.mailbox.push(Lane::Gossip, Event::GossipAnswered { dial, answer });
}

async fn read_frame(stream: &mut TcpStream) -> io::Result<Bytes> {
    let length = stream.read_u32().await?;
    if length > BODY_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // Grows with what really arrives: a claimed length alone allocates nothing.
    let mut body = Vec::new();
    stream.take(u64::from(length)).read_to_end(&mut body).await?;
    if body.len() == length as usize { Ok(body.into()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

async fn write_frame(stream: &mut TcpStream, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).ok().filter(|length| *length <= BODY_MAX);
    stream.write_u32(length.ok_or(io::ErrorKind::InvalidInput)?).await?;
    stream.write_all(body).await?;
    stream.flush().await
}
