//! The internal RPC's transport: HTTP/2 on the server port. The shapes are in `crate::rpc`.

pub mod client;
pub mod server;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body;

/// Why a body is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBody {
    /// It, or a frame of it, is longer than it may be.
    TooLong,
    /// It broke off, or is not what it ought to be.
    Broken,
}

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
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(BadBody::TooLong),
        Err(_) => Err(BadBody::Broken),
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
                    return Err(BadBody::TooLong);
                }
                if self.buffer.len() >= 4 + length {
                    self.buffer.advance(4);
                    return Ok(Some(self.buffer.split_to(length).freeze()));
                }
            }
            match self.more().await? {
                Some(data) => self.buffer.extend_from_slice(&data),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(BadBody::Broken),
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
                Some(Err(_)) => return Err(BadBody::Broken),
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

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::body::Frame;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// A body that arrives in these pieces.
    struct Pieces(Vec<Bytes>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let next = if self.0.is_empty() { None } else { Some(self.0.remove(0)) };
            Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
        }
    }

    fn pieces(bytes: &[u8], size: usize) -> Pieces {
        Pieces(bytes.chunks(size).map(Bytes::copy_from_slice).collect())
    }

    #[tokio::test]
    async fn frames_come_out_however_the_body_is_cut() {
        let sent = [frame(b"one"), frame(b""), frame(b"three")].concat();
        for size in 1..=sent.len() {
            let mut frames = Frames::new(pieces(&sent, size), 5);
            for expected in ["one", "", "three"] {
                assert_eq!(frames.next().await.expect("whole").expect("there"), expected, "pieces of {size}");
            }
            assert_eq!(frames.next().await, Ok(None));
        }
    }

    #[tokio::test]
    async fn a_broken_or_oversized_frame_is_refused() {
        for cut in 1..7 {
            assert_eq!(
                Frames::new(pieces(&frame(b"one")[..cut], 2), 5).next().await,
                Err(BadBody::Broken),
                "cut at {cut}"
            );
        }
        assert_eq!(Frames::new(pieces(&frame(b"sixsix"), 3), 5).next().await, Err(BadBody::TooLong));
        assert_eq!(
            Frames::new(pieces(&[0xff; 4], 4), 5).next().await,
            Err(BadBody::TooLong),
            "the claim alone suffices"
        );
    }

    #[tokio::test]
    async fn what_follows_the_frames_comes_as_it_is() {
        let sent = [&frame(b"head")[..], b"the rest"].concat();
        let mut frames = Frames::new(pieces(&sent, 10), 5);
        assert_eq!(frames.next().await.expect("whole").expect("there"), "head");
        let mut rest = Vec::new();
        while let Some(bytes) = frames.rest().await.expect("whole") {
            rest.extend_from_slice(&bytes);
        }
        assert_eq!(rest, b"the rest");
    }

    #[tokio::test]
    async fn a_whole_body_has_a_limit() {
        assert_eq!(whole(pieces(b"12345", 2), 5).await.expect("fits"), "12345");
        assert_eq!(whole(pieces(b"123456", 2), 5).await, Err(BadBody::TooLong));
    }
}
