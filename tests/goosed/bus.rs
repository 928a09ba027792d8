//! The events of one session: numbered, the last 512 kept for whoever comes back with `Last-Event-ID`;
//! one reply at a time.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc, watch};

use super::{Node, lock};

/// How many events are kept.
const KEPT: usize = 512;

/// Between two pings.
pub const PING: Duration = Duration::from_millis(500);

/// What goes to whoever listens.
#[derive(Debug, Clone)]
pub enum Event {
    /// A number and what it says.
    Data(u64, String),
    /// The connection breaks.
    Break,
}

/// One session's.
pub struct Bus {
    events: broadcast::Sender<Event>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    last: u64,
    kept: VecDeque<(u64, String)>,
    active: BTreeMap<String, watch::Sender<bool>>,
}

impl Default for Bus {
    fn default() -> Self {
        Self {
            events: broadcast::Sender::new(256),
            inner: Mutex::default(),
        }
    }
}

impl Bus {
    /// Sends an event of a request.
    pub fn publish(&self, request: &str, mut event: Value) {
        event["chat_request_id"] = json!(request);
        if event.get("request_id").is_none() {
            event["request_id"] = json!(request);
        }
        let mut inner = lock(&self.inner);
        inner.last += 1;
        let (number, text) = (inner.last, event.to_string());
        inner.kept.push_back((number, text.clone()));
        if inner.kept.len() > KEPT {
            inner.kept.pop_front();
        }
        let _ = self.events.send(Event::Data(number, text));
    }

    /// Breaks every stream.
    pub fn break_off(&self) {
        let _ = self.events.send(Event::Break);
    }

    /// Notes that a reply begins; what ends it. `None`: another one is under way.
    pub fn begin(&self, request: &str) -> Option<watch::Receiver<bool>> {
        let mut inner = lock(&self.inner);
        inner.active.retain(|_, cancelled| !*cancelled.borrow());
        if !inner.active.is_empty() {
            return None;
        }
        let (sender, receiver) = watch::channel(false);
        inner.active.insert(request.to_owned(), sender);
        Some(receiver)
    }

    pub fn cancel(&self, request: &str) {
        if let Some(sender) = lock(&self.inner).active.get(request) {
            let _ = sender.send(true);
        }
    }

    pub fn end(&self, request: &str) {
        lock(&self.inner).active.remove(request);
    }
}

/// `GET /sessions/{id}/events`
pub fn stream(node: &Arc<Node>, bus: &Arc<Bus>, headers: &HeaderMap) -> Response {
    let last: u64 = headers
        .get("last-event-id")
        .and_then(|v| v.to_str().ok()?.parse().ok())
        .unwrap_or(0);
    let (mut live, mut first, seen) = {
        let inner = lock(&bus.inner);
        let live = bus.events.subscribe();
        let mut first = Vec::new();
        let oldest = inner.kept.front().map_or(0, |(n, _)| *n);
        if last > 0 && oldest > 0 && last < oldest {
            let said = json!({"type": "Error", "error": "Client too far behind"});
            return sse(node, vec![format!("id: 0\ndata: {said}\n\n")], None);
        }
        if !inner.active.is_empty() {
            let ids: Vec<&String> = inner.active.keys().collect();
            let said = json!({"type": "ActiveRequests", "request_ids": ids});
            first.push(format!("data: {said}\n\n"));
        }
        let missed = inner.kept.iter().filter(|(n, _)| *n > last);
        first.extend(missed.map(|(n, text)| frame(*n, text)));
        (live, first, inner.last)
    };
    let (sender, receiver) = mpsc::channel::<Result<Bytes, std::io::Error>>(256);
    let node_ = Arc::clone(node);
    tokio::spawn(async move {
        let mut ping = tokio::time::interval(PING);
        let mut pings = 0;
        for frame in first.drain(..) {
            if sender.send(Ok(frame.into())).await.is_err() {
                return;
            }
        }
        loop {
            let out = tokio::select! {
                _ = ping.tick() => {
                    pings += 1;
                    Ok(format!(": ping {}\n\n", pings - 1))
                }
                event = live.recv() => match event {
                    Ok(Event::Data(number, _)) if number <= seen => continue,
                    Ok(Event::Data(number, text)) => Ok(frame(number, &text)),
                    Ok(Event::Break) => Err(std::io::Error::other("broken on demand")),
                    Err(_) => return,
                },
                () = sender.closed() => return,
            };
            if node_.faults().hang {
                continue;
            }
            let ends = out.is_err();
            if sender.send(out.map(Bytes::from)).await.is_err() || ends {
                return;
            }
        }
    });
    sse(node, Vec::new(), Some(receiver))
}

fn frame(number: u64, text: &str) -> String {
    format!("id: {number}\ndata: {text}\n\n")
}

/// Counts a stream for as long as somebody reads it.
struct Counted(Arc<Node>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Some frames, then what comes.
pub fn sse(
    node: &Arc<Node>,
    first: Vec<String>,
    receiver: Option<mpsc::Receiver<Result<Bytes, std::io::Error>>>,
) -> Response {
    node.streams.fetch_add(1, Ordering::SeqCst);
    let counted = Counted(Arc::clone(node));
    let body = match receiver {
        None => Body::from_stream(futures_util::stream::iter(
            first.into_iter().map(Ok::<_, Infallible>),
        )),
        Some(mut receiver) => Body::from_stream(futures_util::stream::poll_fn(move |cx| {
            let _counted = &counted;
            match receiver.poll_recv(cx) {
                Poll::Ready(out) => Poll::Ready(out),
                Poll::Pending => Poll::Pending,
            }
        })),
    };
    Response::builder()
        .header(header::CONTENT_TYPE, "text/event-stream")
        .header(header::CACHE_CONTROL, "no-cache")
        .body(body)
        .unwrap()
}
