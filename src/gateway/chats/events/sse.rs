//! Server-sent events: reading a node's, and writing the gateway's own.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use hyper::body::Body as HttpBody;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::gateway::upstream::NodeBody;

/// Longest event of a node; longer ones are given up with their stream.
const MOST: usize = 64 * 1024 * 1024;

/// Between two comments that keep a silent stream open.
const ALIVE: Duration = Duration::from_secs(15);

/// How many events may wait for a client, and for how long, before it is cut off.
const WAITING: usize = 64;
const SLOW: Duration = Duration::from_secs(10);

/// How many bytes of events may wait for a client. A longer event waits alone.
const HELD: u32 = 4 * 1024 * 1024;

/// An event as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// Its id, where it has one.
    pub id: Option<String>,
    /// Its lines of data, joined.
    pub data: String,
}

/// Puts events together from the pieces in which they come.
#[derive(Debug, Default)]
pub struct Parser {
    left: Vec<u8>,
    /// Up to where no line ends in it.
    seen: usize,
    frame: Frame,
    some: bool,
}

impl Parser {
    /// Takes a piece; the events that it completes.
    ///
    /// # Errors
    /// An event is too long.
    pub fn take(&mut self, piece: &[u8]) -> Result<Vec<Frame>, ()> {
        let mut frames = Vec::new();
        self.left.extend_from_slice(piece);
        let mut begun = 0;
        while let Some(more) = self.left[self.seen..].iter().position(|b| *b == b'\n') {
            let end = self.seen + more;
            let line = self.left[begun..end].to_vec();
            begun = end + 1;
            self.seen = begun;
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            self.line(&String::from_utf8_lossy(line), &mut frames);
        }
        self.left.drain(..begun);
        self.seen = self.left.len();
        match self.left.len() + self.frame.data.len() > MOST {
            true => Err(()),
            false => Ok(frames),
        }
    }

    fn line(&mut self, line: &str, frames: &mut Vec<Frame>) {
        if line.is_empty() {
            let frame = std::mem::take(&mut self.frame);
            if std::mem::take(&mut self.some) {
                frames.push(frame);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.some {
                    self.frame.data.push('\n');
                }
                self.frame.data.push_str(value);
                self.some = true;
            }
            "id" => self.frame.id = Some(value.to_owned()),
            // Comments, names and times: nothing here needs them.
            _ => {}
        }
    }
}

/// The events of a node's answer.
#[derive(Debug)]
pub struct Frames<B = NodeBody> {
    body: B,
    parser: Parser,
    ready: std::collections::VecDeque<Frame>,
}

impl<B: HttpBody<Data = Bytes> + Unpin> Frames<B> {
    /// Of an answer.
    pub fn of(body: B) -> Self {
        Self {
            body,
            parser: Parser::default(),
            ready: std::collections::VecDeque::new(),
        }
    }

    /// The next one; `None` when the stream has ended.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Some(frame);
            }
            let piece = self.body.frame().await?.ok()?;
            if let Ok(data) = piece.into_data() {
                self.ready.extend(self.parser.take(&data).ok()?);
            }
        }
    }
}

/// Where the events of one client go.
#[derive(Debug)]
pub struct Client {
    sender: mpsc::Sender<(Event, OwnedSemaphorePermit)>,
    /// Bytes that may still be put in.
    room: Arc<Semaphore>,
}

impl Client {
    /// Sends an event. `false`: the client has gone, or is too slow and is cut off.
    pub async fn tell(&self, id: Option<&str>, name: &str, data: &impl Serialize) -> bool {
        let mut event = Event::default().event(name);
        // An id of a node's may be anything; a line break would begin a new line of the stream.
        if let Some(id) = id.filter(|id| !id.contains(['\n', '\r', '\0'])) {
            event = event.id(id);
        }
        let Ok(text) = serde_json::to_string(data) else {
            return false;
        };
        let bytes = u32::try_from(text.len()).unwrap_or(HELD).min(HELD);
        let put_in = async {
            let room = Arc::clone(&self.room).acquire_many_owned(bytes).await;
            let event = event.data(text);
            self.sender.send((event, room.ok()?)).await.ok()
        };
        matches!(tokio::time::timeout(SLOW, put_in).await, Ok(Some(())))
    }

    /// Waits until the client has gone.
    pub async fn gone(&self) {
        self.sender.closed().await;
    }
}

/// A stream, and where its events are to be put in. It ends when that is dropped.
pub fn stream() -> (Client, Response) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let events = futures_util::stream::unfold(receiver, |mut receiver| async move {
        // The connection has it now, which takes one at a time.
        let (event, _room) = receiver.recv().await?;
        Some((Ok::<_, Infallible>(event), receiver))
    });
    let response = Sse::new(events)
        .keep_alive(KeepAlive::new().interval(ALIVE))
        .into_response();
    let room = Arc::new(Semaphore::new(HELD as usize));
    (Client { sender, room }, response)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn parse(pieces: &[&str]) -> Vec<(Option<String>, String)> {
        let mut parser = Parser::default();
        let frames = pieces
            .iter()
            .flat_map(|p| parser.take(p.as_bytes()).unwrap());
        frames.map(|f| (f.id, f.data)).collect()
    }

    #[test]
    fn events_are_put_together_from_their_pieces() {
        let whole = "id: 7\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\n: ping\n\ndata:x\n\ndata: left";
        let want = vec![
            (Some("7".to_owned()), "{\"a\":\n1}".to_owned()),
            (None, "x".to_owned()),
        ];
        assert_eq!(parse(&[whole]), want);
        for at in 1..whole.len() {
            assert_eq!(parse(&[&whole[..at], &whole[at..]]), want, "{at}");
        }
        assert_eq!(
            parse(&["event: x\n\n", "\n\n", "data\n\n"]),
            [(None, String::new())]
        );
    }

    #[test]
    fn a_long_line_is_looked_through_once() {
        let (piece, pieces) = (vec![b'x'; 4096], 2048);
        let mut parser = Parser::default();
        let begun = std::time::Instant::now();
        parser.take(b"data: ").unwrap();
        for _ in 0..pieces {
            assert_eq!(parser.take(&piece), Ok(Vec::new()));
        }
        let frames = parser.take(b"\n\n").unwrap();
        assert_eq!(frames[0].data.len(), piece.len() * pieces);
        // From its start for each piece it would be eight gigabytes.
        assert!(begun.elapsed() < Duration::from_secs(3));
    }

    #[test]
    fn no_more_than_a_few_megabytes_wait_for_a_client() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (client, response) = stream();
            let mut body = response.into_body();
            let long = "x".repeat(3 * 1024 * 1024);
            let short = Duration::from_millis(50);
            assert!(client.tell(None, "a", &long).await);
            let second = client.tell(None, "b", &long);
            tokio::pin!(second);
            assert!(tokio::time::timeout(short, &mut second).await.is_err());
            // It may be small, but comes after.
            assert!(
                body.frame()
                    .await
                    .unwrap()
                    .unwrap()
                    .into_data()
                    .unwrap()
                    .len()
                    > long.len()
            );
            assert!(second.await);
            // The longest one waits alone.
            body.frame().await.unwrap().unwrap();
            assert!(client.tell(None, "c", &"x".repeat(2 * HELD as usize)).await);
            let after = client.tell(None, "d", &1);
            assert!(tokio::time::timeout(short, after).await.is_err());
        });
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)) {
            let mut parser = Parser::default();
            for piece in pieces {
                let _ = parser.take(&piece);
            }
        }
    }
}
