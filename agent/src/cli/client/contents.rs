//! A file as the body of a request.

use crate::cli::progress::Progress;
use hyper::body::{Frame, SizeHint};
use std::io::Read as _;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A file as a body.
pub(super) struct Contents {
    pub(super) file: std::fs::File,
    pub(super) left: u64,
    pub(super) progress: Progress,
}

/// Bytes of a file that are read at once.
const PIECE: u64 = 256 << 10;

impl hyper::body::Body for Contents {
    type Data = bytes::Bytes;
    type Error = std::io::Error;

    /// Reads at once: this program has nothing else to do meanwhile.
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<bytes::Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut piece = vec![0; usize::try_from(self.left.min(PIECE)).unwrap_or_default()];
        let read = self.file.read_exact(&mut piece);
        self.left -= piece.len() as u64;
        self.progress.inc(piece.len() as u64);
        Poll::Ready(Some(read.map(|()| Frame::data(piece.into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
