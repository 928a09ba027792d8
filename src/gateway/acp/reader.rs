//! What a node says on one connection: every answer goes to whoever waits for it, everything else to the
//! client. At the end of the connection whoever still waits is told so at once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream::SplitStream;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::sync::{Notify, oneshot};
use tungstenite::{Message as WsMessage, Utf8Bytes};

use super::asked::{Question, Waiting};
use super::batch::{self, Said};
use super::client::Client;
use super::connect::Socket;
use super::fault::Fault;
use super::frame::{Id, Message, Outcome, Params};
use super::link::{Answer, Asker};
use super::names;
use super::out::{Gone, Route};
use super::wire::Sink;
use crate::gateway::failure::Failure;
use crate::gateway::lock;
use crate::gateway::nodes::Live;

/// How often a look is taken at whether the node still lives.
const LOOK: Duration = Duration::from_secs(1);

/// After so long without a word an idle node is asked for a sign of life; one that is waited for is asked
/// at every look.
const QUIET: Duration = Duration::from_secs(15);

/// For the sign of life.
const ALIVE: Duration = Duration::from_secs(5);

/// How long what the gateway makes of an answer may hold back the rest: a pin is written down in between.
const HOLD: Duration = Duration::from_secs(10);

/// What reads a connection.
pub struct Reader {
    /// The connection's number among all of its client's.
    pub number: u64,
    /// The node.
    pub node: String,
    /// The client.
    pub client: Arc<Client>,
    /// To be told when something that the gateway asked was answered.
    pub answered: Arc<Notify>,
    /// The other half.
    pub sink: Sink,
    /// Who waits for answers.
    pub waiting: Arc<Mutex<Waiting<Asker>>>,
}

impl Reader {
    /// Reads until the connection is over; why it is.
    pub async fn read(&self, mut stream: SplitStream<Socket>) -> String {
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
                && self.heard(text).await.is_err()
                // What a node is making for a client that has gone is pinned all the same.
                && lock(&self.waiting).find(Asker::is_the_gateway).is_none()
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

    async fn heard(&self, text: Utf8Bytes) -> Result<(), Gone> {
        let one = |text: &str| Message::read(text).map_err(|bad| Fault::from(bad).answer(Id::Null));
        match batch::read_aside(text, one).await {
            Said::One(message) => self.heard_one(message).await,
            Said::Several(messages) => {
                for (_, message) in messages {
                    self.heard_one(message).await?;
                }
                Ok(())
            }
        }
    }

    async fn heard_one(&self, message: Result<Message, Message>) -> Result<(), Gone> {
        match message {
            Ok(Message::Response { id, outcome }) => self.answered(&id, outcome).await,
            Ok(Message::Request { id, method, params }) => self.asks(id, method, params).await,
            Ok(Message::Notification { method, params }) => self.says(method, params).await,
            Err(bad) => {
                tracing::warn!(node = self.node, "the node sent no message: {}", bad.text());
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
                let told = to.send(Ok(Answer { outcome, hold })).is_ok();
                self.answered.notify_one();
                if told {
                    let _ = tokio::time::timeout(HOLD, held).await;
                }
                Ok(())
            }
            Some(Asker::Client {
                id, to, chat, ends, ..
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
                to.answer(&self.client, &answer).await
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
    pub async fn end(&self, live: &Live, why: &str) {
        let waiting = lock(&self.waiting).end();
        // At once where nothing is being written; else whoever writes ends by itself.
        if let Ok(mut sink) = self.sink.try_lock() {
            *sink = None;
        }
        if !waiting.is_empty() && !self.client.out.is_closed() {
            tracing::info!(node = live.node.id, waiting = waiting.len(), "{why}");
        }
        for asker in waiting {
            let failure = Failure::NoAnswer(why.to_owned());
            asker.fail(&self.client, &self.node, failure.into()).await;
        }
        // One that is gone hears nothing of this.
        for id in self.client.gone(self.number) {
            let _ = self.withdraw(id).await;
        }
    }
}
