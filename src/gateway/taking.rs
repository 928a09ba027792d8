//! A client's connection, and how fast it takes what it is answered. One that takes nothing, or next to
//! nothing, holds the answer's room, its node and a place that another one needs.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep};

use super::limits::Limits;
use super::workers::Seat;

/// A connection that fails when its client takes nothing for too long, or is too far behind.
pub struct Taking<S> {
    stream: S,
    pace: Pace,
    timer: Option<Pin<Box<Sleep>>>,
    /// Since when a write is not possible.
    waits: Option<Instant>,
    _place: Option<Place>,
}

/// A connection's place among all of them, and with the thread that serves it.
#[derive(Debug)]
pub struct Place {
    /// Among all.
    pub permit: OwnedSemaphorePermit,
    /// With its thread.
    pub seat: Option<Seat>,
}

impl<S> Taking<S> {
    /// Of a connection.
    pub fn new(stream: S, limits: &Limits) -> Self {
        Self {
            stream,
            pace: Pace::of(limits),
            timer: None,
            waits: None,
            _place: None,
        }
    }

    /// With its place, which is free when the last one lets go of the connection: that is not the server any
    /// more once it has become something else, say a WebSocket.
    pub fn in_place(self, place: Place) -> Self {
        Self {
            _place: Some(place),
            ..self
        }
    }

    /// Passes a write on; one that is not possible for too long is an error.
    fn within(&mut self, cx: &mut Context<'_>, write: Poll<Result<usize>>) -> Poll<Result<usize>> {
        if let Poll::Ready(written) = write {
            let waited = self.waits.take().map(|since| since.elapsed());
            if let Ok(bytes) = written {
                self.pace.took(waited.unwrap_or_default(), bytes as u64);
            }
            return Poll::Ready(written);
        }
        let wait = self.pace.wait();
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(wait)));
        if self.waits.is_none() {
            let now = Instant::now();
            self.waits = Some(now);
            timer.as_mut().reset(now + wait);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(Error::new(ErrorKind::TimedOut, self.pace.words())))
    }
}

/// How far a client is behind. It is not asked for more than there is: only the time counts in which something
/// is there for it and it does not take it.
#[derive(Debug)]
struct Pace {
    stall: Duration,
    rate: u64,
    most: Duration,
    behind: Duration,
}

impl Pace {
    fn of(limits: &Limits) -> Self {
        Self {
            stall: limits.stall,
            rate: limits.taken.max(1),
            most: limits.behind,
            behind: Duration::ZERO,
        }
    }

    /// It took so much after so long. What it took faster than it must is no credit for later: a connection that
    /// is kept may have taken gigabytes.
    fn took(&mut self, waited: Duration, bytes: u64) {
        let worth = Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / self.rate);
        self.behind = (self.behind + waited).saturating_sub(worth);
    }

    /// How long it may take nothing now.
    fn wait(&self) -> Duration {
        self.stall.min(self.most.saturating_sub(self.behind))
    }

    fn words(&self) -> String {
        match self.wait() == self.stall {
            true => format!("the client took nothing for {} s", self.stall.as_secs()),
            false => format!(
                "the client takes less than {} KiB/s, and is {} s behind",
                self.rate / 1024,
                self.most.as_secs()
            ),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taking<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before && self.waits.is_none() {
            // It has what it was answered, and asks anew: with what it was behind before, that has no more to do.
            self.pace.behind = Duration::ZERO;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taking<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.within(cx, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.within(cx, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn limits() -> Limits {
        Limits {
            stall: Duration::from_millis(400),
            taken: 100 * 1024,
            behind: Duration::from_millis(400),
            ..Limits::default()
        }
    }

    /// Writes 128 KiB to a client that takes so many bytes a hundred times a second; how it ended, and after
    /// how long.
    async fn written(each: usize) -> (Result<()>, Duration) {
        let (mut client, server) = tokio::io::duplex(1024);
        let begun = Instant::now();
        let client = tokio::spawn(async move {
            let mut taken = vec![0; each];
            while client.read_exact(&mut taken).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let mut server = Taking::new(server, &limits());
        let done = server.write_all(&[b'x'; 128 * 1024]).await;
        client.abort();
        (done, begun.elapsed())
    }

    #[tokio::test]
    async fn a_client_that_trickles_is_cut_off_and_a_slow_one_is_not() {
        let (cut, after) = written(256).await;
        let why = cut.unwrap_err().to_string();
        assert!(why.contains("less than 100 KiB/s"), "{why}");
        assert!(after >= Duration::from_millis(400), "{after:?}");
        assert!(after < Duration::from_secs(4), "{after:?}");
        let (done, _) = written(8192).await;
        done.unwrap();
    }

    #[test]
    fn what_was_taken_fast_is_no_credit() {
        let mut pace = Pace::of(&limits());
        pace.took(Duration::ZERO, 1 << 40);
        assert_eq!(pace.wait(), Duration::from_millis(400));
        pace.took(Duration::from_millis(200), 10 * 1024);
        assert_eq!(pace.wait(), Duration::from_millis(300));
    }

    #[tokio::test]
    async fn who_asks_anew_is_not_behind_and_who_only_talks_is() {
        let (mut client, server) = tokio::io::duplex(1024);
        let mut server = Taking::new(server, &limits());
        server.pace.took(Duration::from_millis(200), 0);
        client.write_all(b"xx").await.unwrap();
        // An answer is waiting to be taken.
        server.waits = Some(Instant::now());
        server.read_exact(&mut [0]).await.unwrap();
        assert_eq!(server.pace.wait(), Duration::from_millis(200));
        server.waits = None;
        server.read_exact(&mut [0]).await.unwrap();
        assert_eq!(server.pace.wait(), Duration::from_millis(400));
    }
}
