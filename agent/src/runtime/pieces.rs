//! A body that a thread writes or reads while it is on its way: the bridge between code that blocks and hyper. What waits in
//! between is bounded.

use super::rpc::{BadBody, Frames};
use bytes::{Buf as _, Bytes};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::mpsc::{self, Receiver, Sender};

/// Pieces that wait.
const QUEUE: usize = 8;
/// Written bytes are sent on in pieces of this size.
const PIECE: usize = 64 << 10;
/// A body of which nothing comes for so long is given up.
const SILENCE: Duration = Duration::from_secs(60);

/// `None`: that was all. A queue that ends without it broke off.
type Piece = io::Result<Option<Bytes>>;

/// The body. It ends with an error, and so the connection, when its source does.
#[derive(Debug)]
pub struct Pieces {
    first: Option<Bytes>,
    queue: Receiver<Piece>,
    _seat: Option<OwnedSemaphorePermit>,
}

impl Pieces {
    /// What `write` writes, on a thread of its own.
    pub fn written(write: impl FnOnce(&mut Writer) -> io::Result<()> + Send + 'static) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE);
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || {
            let mut writer = Writer { sender, buffer: Vec::with_capacity(PIECE), runtime };
            let end = write(&mut writer).and_then(|()| writer.flush()).map(|()| None);
            // Nobody may listen any more.
            let _ = writer.send(end);
        });
        Self { first: None, queue, _seat: None }
    }

    /// What follows the frames of another body.
    pub fn relayed(mut frames: Frames<Incoming>) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            loop {
                let piece = match tokio::time::timeout(SILENCE, frames.rest()).await {
                    Ok(Ok(piece)) => Ok(piece),
                    Ok(Err(BadBody::Broken | BadBody::TooLong)) => Err(io::ErrorKind::UnexpectedEof.into()),
                    Err(_) => Err(io::ErrorKind::TimedOut.into()),
                };
                let last = !matches!(piece, Ok(Some(_)));
                if sender.send(piece).await.is_err() || last {
                    return;
                }
            }
        });
        Self { first: None, queue, _seat: None }
    }

    /// The same, holding a place among those that may be under way.
    #[must_use]
    pub fn seated(self, seat: OwnedSemaphorePermit) -> Self {
        Self { _seat: Some(seat), ..self }
    }

    /// The same with something in front.
    #[must_use]
    pub fn after(self, first: Bytes) -> Self {
        Self { first: Some(first), ..self }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        self.queue
            .poll_recv(context)
            .map(|piece| piece.unwrap_or_else(broken_off).map(|piece| piece.map(Frame::data)).transpose())
    }
}

/// Fills a body.
#[derive(Debug)]
pub struct Writer {
    sender: Sender<Piece>,
    buffer: Vec<u8>,
    runtime: Handle,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        self.send(Ok(Some(piece.into())))
    }
}

impl Writer {
    /// Whoever does not read must not hold a thread for ever.
    fn send(&self, piece: Piece) -> io::Result<()> {
        match self.runtime.block_on(self.sender.send_timeout(piece, SILENCE)) {
            Ok(()) => Ok(()),
            Err(SendTimeoutError::Timeout(_)) => Err(io::ErrorKind::TimedOut.into()),
            Err(SendTimeoutError::Closed(_)) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

fn broken_off() -> Piece {
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Hands a body, of at most `max` bytes, to a thread that reads it, and says what that came to.
///
/// # Errors
/// When the thread ended without a word.
pub async fn read<T: Send + 'static>(
    body: Incoming,
    max: u64,
    take: impl FnOnce(Reader) -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, queue) = mpsc::channel(QUEUE);
    let taken = tokio::task::spawn_blocking(move || take(Reader { queue, piece: Bytes::new(), ended: false }));
    tokio::spawn(feed(body, max, sender));
    taken.await.map_err(io::Error::other)
}

async fn feed(mut body: Incoming, max: u64, sender: Sender<Piece>) {
    let mut left = max;
    loop {
        let piece = match tokio::time::timeout(SILENCE, body.frame()).await {
            Ok(None) => Ok(None),
            Ok(Some(Ok(frame))) => Ok(Some(frame.into_data().unwrap_or_default())),
            Ok(Some(Err(error))) => Err(io::Error::other(error)),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        let piece = piece.and_then(|piece| {
            let len = piece.as_ref().map_or(0, Bytes::len) as u64;
            left = left.checked_sub(len).ok_or(io::ErrorKind::FileTooLarge)?;
            Ok(piece)
        });
        let last = !matches!(piece, Ok(Some(_)));
        if sender.send(piece).await.is_err() || last {
            return;
        }
    }
}

/// Reads a body as it comes.
#[derive(Debug)]
pub struct Reader {
    queue: Receiver<Piece>,
    piece: Bytes,
    ended: bool,
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            if self.ended {
                return Ok(0);
            }
            match self.queue.blocking_recv().unwrap_or_else(broken_off)? {
                None => {
                    self.ended = true;
                    return Ok(0);
                }
                Some(piece) => self.piece = piece,
            }
        }
        let len = self.piece.len().min(into.len());
        self.piece.copy_to_slice(&mut into[..len]);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_thread_writes_comes_whole_or_not_at_all() {
        let written = Pieces::written(|writer| (0..100_000u32).try_for_each(|n| writer.write_all(&n.to_be_bytes())));
        let whole = written.after(Bytes::from_static(b"head")).collect().await.expect("whole").to_bytes();
        assert_eq!(whole.len(), 400_004);
        assert_eq!((&whole[..4], &whole[400_000..]), (&b"head"[..], &99_999u32.to_be_bytes()[..]));

        let failed =
            Pieces::written(|writer| writer.write_all(b"half").and_then(|()| Err(io::ErrorKind::Other.into())));
        assert!(failed.collect().await.is_err());
        let panicked = Pieces::written(|_| panic!("a bug of the writer"));
        assert!(panicked.collect().await.is_err());
    }
}
