//! A client's connection that is given up when the client no longer takes what it asked for.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// A client that takes less than this within the time limit is as good as gone: one that
/// takes a byte now and then would otherwise hold a crate file in memory for ever.
const LEAST_BYTES: usize = 16 << 10;

/// A TCP connection whose writes fail once the client has stalled for too long.
#[derive(Debug)]
pub(super) struct Stream {
    tcp: TcpStream,
    limit: Duration,
    /// Counts from when the client began to be behind.
    waiting: Option<Pin<Box<Sleep>>>,
    taken_bytes: usize,
}

impl Stream {
    /// `limit` is the longest that a client may take for the next 16 KiB.
    pub fn new(tcp: TcpStream, limit: Duration) -> Stream {
        Stream {
            tcp,
            limit,
            waiting: None,
            taken_bytes: 0,
        }
    }

    fn watch(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
        asked_bytes: usize,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                self.taken_bytes += bytes;
                if bytes == asked_bytes || self.taken_bytes >= LEAST_BYTES {
                    (self.waiting, self.taken_bytes) = (None, 0);
                }
                Poll::Ready(Ok(bytes))
            }
            Poll::Pending => {
                let limit = self.limit;
                let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
                match waiting.as_mut().poll(context) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                }
            }
            failed => failed,
        }
    }

    /// Whether the client has been behind for so long that it was given up.
    fn is_given_up(&self) -> bool {
        self.waiting
            .as_ref()
            .is_some_and(|sleep| sleep.deadline() <= Instant::now())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(context, bytes);
        self.watch(context, written, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let asked_bytes = slices.iter().map(|slice| slice.len()).sum();
        let written = Pin::new(&mut self.tcp).poll_write_vectored(context, slices);
        self.watch(context, written, asked_bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_given_up() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}
