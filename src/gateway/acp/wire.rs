//! One connection to a node, a WebSocket: opened and initialised, written to by its link and read by a task
//! of its own, which gives every answer to whoever waits for it and everything else to the client. When it
//! ends, whoever still waits is told so at once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio_tungstenite::WebSocketStream;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::{Error as WsError, Message as WsMessage};

use super::asked::{Full, Question, Waiting};
use super::client::Client;
use super::frame::{Id, Message, Outcome, Params, Raw};
use super::link::{Answer, Asker};
use super::names;
use super::out::{Gone, Route};
use crate::gateway::lock;
use crate::gateway::nodes::{Endpoint, Live};
use crate::gateway::upstream::{Failure, SECRET_HEADER};
use crate::routing::node::Health;

/// Largest message either way.
pub const MESSAGE: usize = 50 * 1024 * 1024;

/// Largest frame sent. A message in one frame of more than 16 MiB makes goose 1.52 drop the connection; in
/// several it takes it.
const FRAME: usize = 1024 * 1024;

/// For a connection on loopback.
const CONNECT: Duration = Duration::from_secs(1);

/// For the WebSocket's handshake, after which nothing is executed yet.
const HANDSHAKE: Duration = Duration::from_secs(2);

/// For `initialize`. Measured: 1 ms.
const INITIALIZE: Duration = Duration::from_secs(5);

/// How long a node may leave what was written unread. Measured: it reads at once, whatever it does.
const WRITE: Duration = Duration::from_secs(10);

/// How often a look is taken at whether the node still lives.
const LOOK: Duration = Duration::from_secs(1);

/// After so long without a word an idle node is asked for a sign of life; one that is waited for is asked
/// at every look.
const QUIET: Duration = Duration::from_secs(15);

/// For the sign of life.
const ALIVE: Duration = Duration::from_secs(5);

/// Most requests of one client that a node may leave unanswered.
const UNANSWERED: usize = 4096;

/// How long what the gateway makes of an answer may hold back the rest: a pin is written down in between.
const HOLD: Duration = Duration::from_secs(10);

type Socket = WebSocketStream<TcpStream>;
/// `None` once the connection is over.
type Sink = Arc<tokio::sync::Mutex<Option<SplitSink<Socket, WsMessage>>>>;

/// A request that was not written, and who waits for it.
pub struct WriteError(pub Failure, pub Asker);

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
    /// Always [`Failure::NotSent`]: nothing that matters was sent.
    pub async fn open(client: &Arc<Client>, node: &str) -> Result<Self, Failure> {
        let gone = |why: &str| Failure::NotSent(why.to_owned());
        let live = client
            .gateway
            .nodes
            .get(node)
            .ok_or_else(|| gone("it is no longer in the fleet"))?;
        let endpoint = live
            .endpoint
            .clone()
            .ok_or_else(|| gone("it has never started"))?;
        // Before anything is sent, so that no cut is missed.
        let cut = live.streams.wait();
        let stopped = client.gateway.stopping.wait();
        let begun = std::time::Instant::now();
        let opened = connect(&endpoint, &client.hello()).await;
        let (sink, stream, hello) = opened.map_err(|health| {
            let why = health.why().to_owned();
            live.found(health);
            Failure::NotSent(why)
        })?;
        client.gateway.metrics.took(node, begun.elapsed());
        let number = client.next_wire();
        let sink = Arc::new(tokio::sync::Mutex::new(Some(sink)));
        let waiting = Arc::new(Mutex::new(Waiting::new(UNANSWERED)));
        let reader = Reader {
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
            reader,
        })
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
                let why = match full {
                    Full::TooMany => "it leaves too many requests unanswered",
                    Full::Ended => "the connection to it has just ended",
                };
                return Err(WriteError(Failure::NotSent(why.to_owned()), asker));
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

    /// Writes a message, in frames that the node takes. One that cannot be written ends the connection.
    async fn write(&mut self, message: &Message) {
        let mut sink = self.sink.lock().await;
        let written = match sink.as_mut() {
            Some(sink) => tokio::time::timeout(WRITE, send(sink, message.text())).await,
            None => return,
        };
        if !matches!(written, Ok(Ok(()))) {
            *sink = None;
            lock(&self.waiting).close();
            self.broken.notify_one();
        }
    }
}

async fn send(sink: &mut SplitSink<Socket, WsMessage>, text: String) -> Result<(), WsError> {
    if text.len() <= FRAME {
        return sink.send(WsMessage::text(text)).await;
    }
    let bytes = axum::body::Bytes::from(text);
    let last = bytes.len().div_ceil(FRAME) - 1;
    for at in 0..=last {
        let part = bytes.slice(at * FRAME..bytes.len().min((at + 1) * FRAME));
        let kind = if at == 0 { Data::Text } else { Data::Continue };
        let frame = Frame::message(part, OpCode::Data(kind), at == last);
        sink.send(WsMessage::Frame(frame)).await?;
    }
    Ok(())
}

type Opened = (SplitSink<Socket, WsMessage>, SplitStream<Socket>, Raw);

async fn connect(endpoint: &Endpoint, hello: &Params) -> Result<Opened, Health> {
    let within = |wait: Duration| Health::Timeout(format!("nothing within {} s", wait.as_secs()));
    let address = (std::net::Ipv4Addr::LOCALHOST, endpoint.port);
    let stream = tokio::time::timeout(CONNECT, TcpStream::connect(address))
        .await
        .map_err(|_| within(CONNECT))?
        .map_err(|e| Health::Refused(words(&e)))?;
    stream
        .set_nodelay(true)
        .map_err(|e| Health::Refused(e.to_string()))?;
    let unfit = |e: &dyn std::fmt::Display| Health::Unfit(e.to_string());
    let mut request = format!("ws://127.0.0.1:{}/acp", endpoint.port)
        .into_client_request()
        .map_err(|e| unfit(&e))?;
    let secret = axum::http::HeaderValue::from_str(&endpoint.secret).map_err(|e| unfit(&e))?;
    request.headers_mut().insert(SECRET_HEADER, secret);
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE))
        .max_frame_size(Some(MESSAGE));
    let handshake = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
    let socket = match tokio::time::timeout(HANDSHAKE, handshake).await {
        Err(_) => return Err(within(HANDSHAKE)),
        Ok(Ok((socket, _))) => socket,
        Ok(Err(WsError::Http(answer))) if answer.status() == StatusCode::UNAUTHORIZED => {
            return Err(Health::Unauthorized(
                "it does not take its secret".to_owned(),
            ));
        }
        Ok(Err(WsError::Io(e))) => return Err(Health::Refused(words(&e))),
        Ok(Err(e)) => return Err(unfit(&e)),
    };
    let (mut sink, mut stream) = socket.split();
    let greeting = Message::Request {
        id: Id::Number("0".to_owned()),
        method: "initialize".to_owned(),
        params: hello.clone(),
    };
    let exchange = async {
        send(&mut sink, greeting.text())
            .await
            .map_err(|e| Health::Refused(e.to_string()))?;
        answer(&mut stream).await
    };
    let hello = tokio::time::timeout(INITIALIZE, exchange)
        .await
        .map_err(|_| within(INITIALIZE))??;
    Ok((sink, stream, hello))
}

/// The answer to `initialize`, before which nothing else of interest comes.
async fn answer(stream: &mut SplitStream<Socket>) -> Result<Raw, Health> {
    while let Some(message) = stream.next().await {
        let text = match message {
            Ok(WsMessage::Text(text)) => text,
            Ok(_) => continue,
            Err(e) => return Err(Health::Refused(e.to_string())),
        };
        let Ok(Message::Response { id, outcome }) = Message::read(&text) else {
            continue;
        };
        if id != Id::Number("0".to_owned()) {
            continue;
        }
        return match outcome {
            Outcome::Result(hello) => Ok(hello),
            Outcome::Error(error) => Err(Health::Unfit(format!(
                "it refuses to be initialised: {}",
                error.get()
            ))),
        };
    }
    Err(Health::Refused("it closed the connection".to_owned()))
}

fn words(e: &std::io::Error) -> String {
    match e.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => e.to_string(),
    }
}

/// What reads a connection.
struct Reader {
    number: u64,
    node: String,
    client: Arc<Client>,
    sink: Sink,
    waiting: Arc<Mutex<Waiting<Asker>>>,
}

impl Reader {
    /// Reads until the connection is over; why it is.
    async fn read(&self, mut stream: SplitStream<Socket>) -> String {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut heard = tokio::time::Instant::now();
        let mut asked: Option<tokio::time::Instant> = None;
        loop {
            let message = tokio::select! {
                message = stream.next() => message,
                _ = look.tick() => {
                    if asked.is_some_and(|at| at.elapsed() >= ALIVE) {
                        return "it does not answer".to_owned();
                    }
                    let waits = !lock(&self.waiting).is_empty();
                    if asked.is_none() && (waits || heard.elapsed() >= QUIET) && self.ping().await {
                        asked = Some(tokio::time::Instant::now());
                    }
                    continue;
                }
            };
            let text = match message {
                Some(Ok(WsMessage::Text(text))) => Some(text),
                Some(Ok(WsMessage::Close(_))) | None => {
                    return "the connection to it was closed".to_owned();
                }
                Some(Ok(_)) => None,
                Some(Err(e)) => return format!("the connection to it broke: {e}"),
            };
            if let Some(text) = text
                && self.heard(&text).await.is_err()
            {
                return "the client is gone".to_owned();
            }
            // Only now: while the client holds things up, the node cannot be heard.
            heard = tokio::time::Instant::now();
            asked = None;
        }
    }

    /// Asks for a sign of life, unless something is being written anyway.
    async fn ping(&self) -> bool {
        let Ok(mut sink) = self.sink.try_lock() else {
            return false;
        };
        let Some(sink) = sink.as_mut() else {
            return false;
        };
        let ping = sink.send(WsMessage::Ping(axum::body::Bytes::new()));
        // Where even this does not get through, it counts as asked.
        let _ = tokio::time::timeout(LOOK, ping).await;
        true
    }

    async fn heard(&self, text: &str) -> Result<(), Gone> {
        match Message::read(text) {
            Ok(Message::Response { id, outcome }) => self.answered(&id, outcome).await,
            Ok(Message::Request { id, method, params }) => self.asks(id, method, params).await,
            Ok(Message::Notification { method, params }) => self.says(method, params).await,
            Err(bad) => {
                tracing::warn!(node = self.node, "the node sent no message: {}", bad.why);
                Ok(())
            }
        }
    }

    async fn answered(&self, id: &Id, outcome: Outcome) -> Result<(), Gone> {
        let asker = lock(&self.waiting).take(id);
        match asker {
            // Nobody waits any more.
            None => Ok(()),
            Some(Asker::Gateway(to)) => {
                let (hold, held) = oneshot::channel();
                if to.send(Ok(Answer { outcome, hold })).is_ok() {
                    let _ = tokio::time::timeout(HOLD, held).await;
                }
                Ok(())
            }
            Some(Asker::Client {
                id,
                route,
                chat,
                ends,
            }) => {
                let outcome = match outcome {
                    Outcome::Result(result) => {
                        if ends {
                            self.ended(chat).await;
                        }
                        Outcome::Result(names::result_outward(&self.node, result))
                    }
                    error => error,
                };
                let answer = Message::Response { id, outcome };
                self.client.say(&route, &answer).await
            }
        }
    }

    /// The session is no more, and its name will be given to another one.
    async fn ended(&self, chat: String) {
        let released: crate::error::Result<bool> = self
            .client
            .gateway
            .pins(move |pins| pins.release(&chat))
            .await;
        if let Err(e) = released {
            tracing::warn!("{e}");
        }
    }

    async fn asks(&self, id: Id, method: String, mut params: Params) -> Result<(), Gone> {
        let route = self.outward(&mut params);
        let question = Question {
            node: self.node.clone(),
            wire: self.number,
            id,
        };
        let Some(id) = self.client.ask(question) else {
            tracing::warn!("a client leaves too many questions unanswered: it is cut");
            self.client.close();
            return Err(Gone);
        };
        let request = Message::Request { id, method, params };
        self.client.say(&route, &request).await
    }

    async fn says(&self, method: String, mut params: Params) -> Result<(), Gone> {
        if method != "$/cancel_request" {
            let route = self.outward(&mut params);
            let notification = Message::Notification { method, params };
            return self.client.say(&route, &notification).await;
        }
        let id = params.id("requestId");
        match id.and_then(|id| self.client.withdrawn(self.number, &id)) {
            Some(id) => self.withdraw(id).await,
            None => Ok(()),
        }
    }

    fn outward(&self, params: &mut Params) -> Route {
        match names::outward(&self.node, params) {
            Some(name) => Route::Session(name),
            None => Route::Connection,
        }
    }

    /// Tells the client that a question needs no answer any more.
    async fn withdraw(&self, id: Id) -> Result<(), Gone> {
        let notification = Message::Notification {
            method: "$/cancel_request".to_owned(),
            params: Params::of(&json!({ "requestId": id })),
        };
        self.client.say(&Route::Connection, &notification).await
    }

    /// The connection is over: everybody who waits is told.
    async fn end(&self, live: &Live, why: &str) {
        let waiting = lock(&self.waiting).end();
        // At once where nothing is being written; else whoever writes ends by itself.
        if let Ok(mut sink) = self.sink.try_lock() {
            *sink = None;
        }
        if self.client.out.is_closed() {
            return;
        }
        if !waiting.is_empty() {
            tracing::info!(node = live.node.id, waiting = waiting.len(), "{why}");
        }
        for asker in waiting {
            let failure = Failure::NoAnswer(why.to_owned());
            asker.fail(&self.client, &self.node, failure).await;
        }
        for id in self.client.gone(self.number) {
            let _ = self.withdraw(id).await;
        }
    }
}
