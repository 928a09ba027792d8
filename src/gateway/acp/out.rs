//! The way to a client: what goes to it, in order, held back while the client does not read, and cut when
//! that lasts. A WebSocket has one stream; over HTTP there is one for the connection and one for each of its
//! sessions, as the real server has them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::gateway::lock;

/// Unit of the budgets below. Small messages cost one, so that their number is bounded too.
const UNIT: usize = 1024;

/// What may wait for one client, in units: a long chat's replay, and a large message beside it.
const BUDGET: usize = 16 * 1024;

/// How long a client may leave its budget used up. A page in the background reads late, but reads.
pub const STALLED: Duration = Duration::from_secs(30);

/// Most streams of sessions of one connection.
const STREAMS: usize = 4096;

/// On which stream something goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Route {
    /// That of the connection.
    Connection,
    /// That of a session, by its name towards clients.
    Session(String),
}

/// A message, and the place it takes up until it is written.
#[derive(Debug)]
pub struct Parcel {
    /// The message.
    pub text: String,
    _room: OwnedSemaphorePermit,
}

/// The client is gone, or was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// One stream; whoever reads it has the receiver, and gives it back.
#[derive(Debug)]
struct Mailbox {
    sender: UnboundedSender<Parcel>,
    slot: Arc<Mutex<Option<UnboundedReceiver<Parcel>>>>,
}

impl Mailbox {
    fn new() -> Self {
        let (sender, receiver) = unbounded_channel();
        Self {
            sender,
            slot: Arc::new(Mutex::new(Some(receiver))),
        }
    }
}

/// The right to read a stream.
#[derive(Debug)]
pub struct Lease {
    receiver: Option<UnboundedReceiver<Parcel>>,
    slot: Arc<Mutex<Option<UnboundedReceiver<Parcel>>>>,
}

impl Lease {
    /// The next message; waits for ever when there is none.
    pub async fn next(&mut self) -> Option<Parcel> {
        self.receiver.as_mut()?.recv().await
    }

    /// One that is there already.
    pub fn ready(&mut self) -> Option<Parcel> {
        self.receiver.as_mut()?.try_recv().ok()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        *lock(&self.slot) = self.receiver.take();
    }
}

/// The way to one client.
#[derive(Debug)]
pub struct Out {
    budget: Arc<Semaphore>,
    patience: Duration,
    closed: watch::Sender<bool>,
    /// Whether sessions have streams of their own.
    split: bool,
    streams: Mutex<BTreeMap<Route, Mailbox>>,
}

impl Out {
    /// For a WebSocket (one stream) or HTTP (`split`).
    pub fn new(split: bool, patience: Duration) -> Self {
        Self {
            budget: Arc::new(Semaphore::new(BUDGET)),
            patience,
            closed: watch::Sender::new(false),
            split,
            streams: Mutex::new(BTreeMap::new()),
        }
    }

    /// Sends a message once the client has read enough of what was sent before.
    ///
    /// # Errors
    /// The client is gone; one that does not read is cut by this.
    pub async fn send(&self, route: &Route, text: String) -> Result<(), Gone> {
        let units = u32::try_from((text.len() / UNIT + 1).min(BUDGET)).unwrap_or(u32::MAX);
        let mut closed = self.closed.subscribe();
        let room = tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => return Err(Gone),
            room = tokio::time::timeout(
                self.patience,
                Arc::clone(&self.budget).acquire_many_owned(units),
            ) => room,
        };
        let Ok(Ok(room)) = room else {
            tracing::warn!("a client does not read what is sent to it: its connection is cut");
            self.close();
            return Err(Gone);
        };
        let parcel = Parcel { text, _room: room };
        let route = if self.split {
            route
        } else {
            &Route::Connection
        };
        self.with(route, |mailbox| {
            mailbox.sender.send(parcel).map_err(|_| Gone)
        })
        .unwrap_or(Err(Gone))
    }

    /// The right to read a stream; `None` when somebody has it, or there are too many streams.
    pub fn lease(&self, route: &Route) -> Option<Lease> {
        self.with(route, |mailbox| {
            let receiver = lock(&mailbox.slot).take()?;
            Some(Lease {
                receiver: Some(receiver),
                slot: Arc::clone(&mailbox.slot),
            })
        })?
    }

    fn with<T>(&self, route: &Route, run: impl FnOnce(&Mailbox) -> T) -> Option<T> {
        let mut streams = lock(&self.streams);
        if !streams.contains_key(route) {
            if streams.len() > STREAMS {
                return None;
            }
            streams.insert(route.clone(), Mailbox::new());
        }
        streams.get(route).map(run)
    }

    /// Ends the connection. What was sent before can still be read.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Whether it has ended.
    pub fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Waits for its end.
    pub fn closing(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut closed = self.closed.subscribe();
        async move {
            // An error: nobody is left who could close it.
            let _ = closed.wait_for(|closed| *closed).await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn out(split: bool, patience: u64) -> Out {
        Out::new(split, Duration::from_millis(patience))
    }

    fn session(name: &str) -> Route {
        Route::Session(name.to_owned())
    }

    #[tokio::test]
    async fn each_stream_has_one_reader_at_a_time_and_keeps_its_order() {
        let out = out(true, 100);
        for text in ["1", "2"] {
            out.send(&session("a"), text.into()).await.unwrap();
        }
        out.send(&Route::Connection, "c".into()).await.unwrap();
        let mut lease = out.lease(&session("a")).unwrap();
        assert!(out.lease(&session("a")).is_none());
        assert_eq!(lease.next().await.unwrap().text, "1");
        drop(lease);
        let mut lease = out.lease(&session("a")).unwrap();
        assert_eq!(lease.ready().unwrap().text, "2");
        assert!(lease.ready().is_none());
        assert_eq!(
            out.lease(&Route::Connection).unwrap().ready().unwrap().text,
            "c"
        );
    }

    #[tokio::test]
    async fn one_that_does_not_read_is_cut_and_one_that_reads_late_is_not() {
        let out = Arc::new(out(false, 200));
        let mut lease = out.lease(&Route::Connection).unwrap();
        let big = "x".repeat(BUDGET * UNIT);
        out.send(&session("a"), big.clone()).await.unwrap();
        let late = tokio::spawn({
            let out = Arc::clone(&out);
            async move { out.send(&Route::Connection, "y".into()).await }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(lease.ready().is_some());
        assert_eq!(late.await.unwrap(), Ok(()));
        lease.ready().unwrap();
        out.send(&Route::Connection, big).await.unwrap();
        assert_eq!(out.send(&Route::Connection, "z".into()).await, Err(Gone));
        assert!(out.is_closed());
        out.closing().await;
    }
}
