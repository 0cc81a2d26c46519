//! The internal RPC's transport: HTTP/2 on the server port. The shapes are in `crate::rpc`.

pub mod client;
pub mod server;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body;

/// A body that is longer than it may be, or broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadBody;

/// Reads a whole body of at most `max` bytes.
///
/// # Errors
/// [`BadBody`].
pub async fn whole<B>(body: B, max: usize) -> Result<Bytes, BadBody>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match http_body_util::Limited::new(body, max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(_) => Err(BadBody),
    }
}

/// Length-prefixed frames out of a body that arrives in pieces.
#[derive(Debug)]
pub struct Frames<B> {
    body: B,
    buffer: BytesMut,
    max: usize,
}

impl<B> Frames<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    pub fn new(body: B, max: usize) -> Self {
        Self { body, buffer: BytesMut::new(), max }
    }

    /// The next frame; `None` at a clean end.
    ///
    /// # Errors
    /// [`BadBody`] when the body breaks off inside a frame, or a frame is too long.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BadBody> {
        loop {
            if let Some(head) = self.buffer.first_chunk::<4>() {
                let length = u32::from_be_bytes(*head) as usize;
                if length > self.max {
                    return Err(BadBody);
                }
                if self.buffer.len() >= 4 + length {
                    self.buffer.advance(4);
                    return Ok(Some(self.buffer.split_to(length).freeze()));
                }
            }
            match self.more().await? {
                Some(data) => self.buffer.extend_from_slice(&data),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(BadBody),
            }
        }
    }

    /// What follows the frames, as it comes: first what is buffered, then the rest of the body.
    ///
    /// # Errors
    /// [`BadBody`] when the body breaks off.
    pub async fn rest(&mut self) -> Result<Option<Bytes>, BadBody> {
        if self.buffer.is_empty() { self.more().await } else { Ok(Some(self.buffer.split().freeze())) }
    }

    async fn more(&mut self) -> Result<Option<Bytes>, BadBody> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(_)) => return Err(BadBody),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// Puts the length in front.
#[must_use]
pub fn frame(payload: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(4 + payload.len());
    framed.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(payload);
    framed.freeze()
}
