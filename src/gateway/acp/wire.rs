//! One connection to a node, a WebSocket: what is written to it. Its link writes, a task of its own reads.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::SinkExt as _;
use futures_util::stream::SplitSink;
use serde_json::json;
use tokio::sync::Notify;
use tungstenite::Message as WsMessage;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use super::asked::{Full, Waiting};
use super::client::Client;
use super::connect::{Closed, Socket, connect};
use super::frame::{Id, Message, Outcome, Params, Raw};
use super::link::{Asker, Lost};
use super::reader::Reader;
use crate::gateway::failure::Failure;
use crate::gateway::lock;

/// Largest message either way.
pub const MESSAGE: usize = 50 * 1024 * 1024;

/// Largest frame sent. A message in one frame of more than 16 MiB makes goose 1.52 drop the connection; in
/// several it takes it.
const FRAME: usize = 1024 * 1024;

/// How long a node may leave a frame unread. Measured: it reads at once, whatever it does.
const WRITE: Duration = Duration::from_secs(10);

/// Most requests of one client that a node may leave unanswered.
const UNANSWERED: usize = 4096;

/// `None` once the connection is over.
pub type Sink = Arc<tokio::sync::Mutex<Option<SplitSink<Socket, WsMessage>>>>;

/// Why a node cannot be spoken to.
#[derive(Debug, Clone)]
pub enum Unopened {
    /// Always [`Failure::NotSent`].
    Down(Failure),
    /// It refuses what the client says of itself, with this error. That is the client's doing: to others
    /// the node is as well as before.
    Refused(Raw),
}

/// A request that was not written, and who waits for it.
pub struct WriteError(pub Lost, pub Asker);

/// One connection.
pub struct Wire {
    /// Its number among all of its client's.
    pub number: u64,
    /// The node's answer to `initialize`.
    pub hello: Raw,
    sink: Sink,
    waiting: Arc<Mutex<Waiting<Asker>>>,
    /// Tells the reader that nothing can be written.
    broken: Arc<Notify>,
    /// Told by the reader when something that the gateway asked was answered.
    answered: Arc<Notify>,
    reader: tokio::task::JoinHandle<()>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        // Both halves are gone then, and with them the connection. One that is over by itself still has to
        // tell those who waited.
        if !self.is_over() {
            self.reader.abort();
        }
    }
}

impl Wire {
    /// Connects to a node, and says to it what the client says of itself.
    ///
    /// # Errors
    /// It cannot; nothing that matters was sent.
    pub async fn open(client: &Arc<Client>, node: &str) -> Result<Self, Unopened> {
        let gone = |why: &str| Unopened::Down(Failure::NotSent(why.to_owned()));
        let live = client
            .gateway
            .nodes
            .get(node)
            .ok_or_else(|| gone("it is no longer in the fleet"))?;
        let endpoint = live
            .endpoint
            .clone()
            .ok_or_else(|| gone("it has never started"))?;
        // In the version that is agreed on.
        client.introduced().await;
        // Before anything is sent, so that no cut is missed.
        let cut = live.streams.wait();
        let stopped = client.gateway.stopping.wait();
        let begun = std::time::Instant::now();
        let opened = connect(&client.gateway.upstream, &endpoint, &client.hello()).await;
        let (sink, stream, hello) = opened.map_err(|closed| match closed {
            Closed::Sick(health) => {
                let unopened = gone(health.why());
                live.found(health);
                unopened
            }
            Closed::Refused(error) => Unopened::Refused(error),
        })?;
        client.gateway.metrics.took(node, begun.elapsed());
        let number = client.next_wire();
        let sink = Arc::new(tokio::sync::Mutex::new(Some(sink)));
        let waiting = Arc::new(Mutex::new(Waiting::new(UNANSWERED)));
        let answered = Arc::new(Notify::new());
        let reader = Reader {
            answered: Arc::clone(&answered),
            number,
            node: node.to_owned(),
            client: Arc::clone(client),
            sink: Arc::clone(&sink),
            waiting: Arc::clone(&waiting),
        };
        let broken = Arc::new(Notify::new());
        let unwritable = Arc::clone(&broken);
        let reader = tokio::spawn(async move {
            let why = tokio::select! {
                () = unwritable.notified() => "it does not take what is sent to it".to_owned(),
                () = cut => "it does not answer".to_owned(),
                () = stopped => "the gateway stops".to_owned(),
                why = reader.read(stream) => why,
            };
            reader.end(&live, &why).await;
        });
        Ok(Self {
            number,
            hello,
            sink,
            waiting,
            broken,
            answered,
            reader,
        })
    }

    /// Waits until nothing is unanswered that the gateway asked.
    pub async fn settled(&mut self) {
        while !self.reader.is_finished()
            && lock(&self.waiting).find(Asker::is_the_gateway).is_some()
        {
            tokio::select! {
                _ = &mut self.reader => return,
                () = self.answered.notified() => {}
            }
        }
    }

    /// Whether nothing can be said on it any more.
    pub fn is_over(&self) -> bool {
        self.reader.is_finished() || lock(&self.waiting).is_over()
    }

    /// Sends a request; its answer goes to whoever waits for it.
    ///
    /// # Errors
    /// It was certainly not sent. One that was sent in part is answered like all that wait when the
    /// connection ends.
    pub async fn request(
        &mut self,
        method: String,
        params: Params,
        asker: Asker,
    ) -> Result<(), WriteError> {
        let kept = lock(&self.waiting).keep(asker);
        let id = match kept {
            Ok(id) => id,
            Err((full, asker)) => {
                let lost = match full {
                    Full::TooMany => {
                        Lost::Client(format!("{UNANSWERED} of its requests are unanswered"))
                    }
                    Full::Ended => {
                        Failure::NotSent("the connection to it has just ended".to_owned()).into()
                    }
                };
                return Err(WriteError(lost, asker));
            }
        };
        let id = Id::Number(id.to_string());
        self.write(&Message::Request { id, method, params }).await;
        Ok(())
    }

    /// Sends a notification.
    pub async fn notify(&mut self, method: String, params: Params) {
        self.write(&Message::Notification { method, params }).await;
    }

    /// Sends an answer.
    pub async fn reply(&mut self, id: Id, outcome: Outcome) {
        self.write(&Message::Response { id, outcome }).await;
    }

    /// Tells the node that a request of the client's needs no answer any more.
    pub async fn cancel(&mut self, wanted: &Id) {
        let id = lock(&self.waiting).find(|asker| asker.is(wanted));
        if let Some(id) = id {
            let params = Params::of(&json!({ "requestId": id }));
            self.notify("$/cancel_request".to_owned(), params).await;
        }
    }

    /// Writes a message. One that cannot be written ends the connection.
    async fn write(&mut self, message: &Message) {
        let mut sink = self.sink.lock().await;
        let Some(open) = sink.as_mut() else { return };
        if send(open, message.text()).await.is_err() {
            *sink = None;
            lock(&self.waiting).close();
            self.broken.notify_one();
        }
    }
}

/// Writes a message, in frames that the node takes.
///
/// # Errors
/// The connection is broken, or the node does not read.
pub async fn send(sink: &mut SplitSink<Socket, WsMessage>, text: String) -> Result<(), String> {
    if text.len() <= FRAME {
        return put(sink, WsMessage::text(text)).await;
    }
    let bytes = axum::body::Bytes::from(text);
    let last = bytes.len().div_ceil(FRAME) - 1;
    for at in 0..=last {
        let part = bytes.slice(at * FRAME..bytes.len().min((at + 1) * FRAME));
        let kind = if at == 0 { Data::Text } else { Data::Continue };
        let frame = Frame::message(part, OpCode::Data(kind), at == last);
        put(sink, WsMessage::Frame(frame)).await?;
    }
    Ok(())
}

async fn put(sink: &mut SplitSink<Socket, WsMessage>, frame: WsMessage) -> Result<(), String> {
    match tokio::time::timeout(WRITE, sink.send(frame)).await {
        Ok(written) => written.map_err(|e| e.to_string()),
        Err(_) => Err(format!("it reads nothing for {} s", WRITE.as_secs())),
    }
}
