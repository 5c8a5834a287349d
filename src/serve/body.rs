//! What is sent behind a head, counted as it goes out.

use hyper::body::{Body, Bytes, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Handed over in pieces, so that what was sent of a response that breaks off is known.
const PIECE_BYTES: usize = 256 << 10;

/// What is told how many bytes were handed over, once the body is done with.
pub(super) type WhenDone = Box<dyn FnOnce(u64) + Send>;

/// The bytes of a response; calls back when they are sent or the client has gone.
pub(super) struct Sent {
    rest: Bytes,
    sent_bytes: u64,
    when_done: Option<WhenDone>,
}

impl Sent {
    pub fn new(bytes: Bytes, when_done: WhenDone) -> Sent {
        Sent {
            rest: bytes,
            sent_bytes: 0,
            when_done: Some(when_done),
        }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let piece_bytes = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(piece_bytes);
        self.sent_bytes += piece_bytes as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if let Some(when_done) = self.when_done.take() {
            when_done(self.sent_bytes);
        }
    }
}
