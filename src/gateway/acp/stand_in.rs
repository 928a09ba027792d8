//! A stand-in for `goose serve` 1.52, as measured: session names count from 1 on every node, a session's
//! first updates come right after its name, one prompt at a time, sessions outlive the process. Only the
//! WebSocket, which is what the gateway uses. What a prompt says makes it misbehave.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tungstenite::Message as WsMessage;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::Role;

use crate::gateway::stand_in::secret_of;

/// How the next `session/new` goes wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum New {
    #[default]
    Well,
    /// An error.
    Refused,
    /// Taken, and no answer.
    Hangs,
    /// Taken, and made when the test says so, by [`State::late`].
    Late,
    /// Taken, and the connection closed.
    Dies,
}

#[derive(Debug, Default)]
pub struct Session {
    pub history: Vec<String>,
    busy: bool,
    pub mode: String,
}

#[derive(Debug, Default)]
pub struct State {
    pub sessions: BTreeMap<String, Session>,
    pub new: New,
    pub news: usize,
    /// What `initialize` was told, each time.
    pub hellos: Vec<Value>,
    pub config: BTreeMap<String, Value>,
    pub refuses_config: bool,
    /// Whether `session/load` asks the client something, and waits for that.
    pub asks_to_load: bool,
    /// How long `initialize` takes.
    pub slow_hello: Duration,
    /// Whether `initialize` gets no answer.
    pub mute: bool,
    /// The highest version it speaks, where it is not the client's.
    pub version: Option<u64>,
    /// What it can do, where it is not the usual.
    pub able: Option<Value>,
    /// Whether `config/upsert` is answered when the test says so, by [`State::late`].
    pub slow_config: bool,
    /// Lets late sessions be made.
    pub late: Arc<Notify>,
    pub cancelled: Vec<Value>,
    /// Where set, lists come in pages of that many.
    pub page: Option<usize>,
}

/// One node; its sessions outlive its death.
#[derive(Debug, Clone)]
pub struct Goose {
    pub id: String,
    pub port: u16,
    pub state: Arc<Mutex<State>>,
    /// Clients connected at the moment.
    pub connected: Arc<AtomicUsize>,
    killed: Arc<Mutex<watch::Sender<bool>>>,
}

impl Goose {
    pub async fn start(id: &str) -> Self {
        let goose = Self {
            id: id.to_owned(),
            port: 0,
            state: Arc::default(),
            connected: Arc::default(),
            killed: Arc::new(Mutex::new(watch::Sender::new(true))),
        };
        goose.at(0).await
    }

    /// Once more, after it was killed.
    pub async fn restart(&self) {
        self.clone().at(self.port).await;
    }

    async fn at(mut self, port: u16) -> Self {
        let listener = loop {
            match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        self.port = listener.local_addr().unwrap().port();
        let sender = watch::Sender::new(false);
        let mut killed = sender.subscribe();
        *self.killed.lock().unwrap() = sender;
        let goose = self.clone();
        let status = || get(|| async { "ok" });
        let router = Router::new()
            .route("/status", status())
            .route("/health", status())
            .route(
                "/acp",
                get({
                    let killed = killed.clone();
                    move |request| upgrade(goose, killed, request)
                }),
            );
        tokio::spawn(async move {
            loop {
                let (stream, _) = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap(),
                    () = until(&mut killed) => return,
                };
                let service = TowerToHyperService::new(router.clone());
                let mut killed = killed.clone();
                tokio::spawn(async move {
                    let served = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades();
                    tokio::select! {
                        _ = served => {}
                        () = until(&mut killed) => {}
                    }
                });
            }
        });
        self
    }

    /// As `kill -9` does: every connection is gone at once.
    pub fn kill(&self) {
        self.killed.lock().unwrap().send_replace(true);
        for session in self.state.lock().unwrap().sessions.values_mut() {
            session.busy = false;
        }
    }

    pub fn connected(&self) -> usize {
        self.connected.load(Ordering::SeqCst)
    }
}

async fn until(set: &mut watch::Receiver<bool>) {
    let _ = set.wait_for(|set| *set).await;
}

async fn upgrade(goose: Goose, killed: watch::Receiver<bool>, mut request: Request) -> Response {
    let secret = request.headers().get("x-secret-key");
    if secret.is_none_or(|s| s.as_bytes() != secret_of(&goose.id).as_bytes()) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else {
        return StatusCode::NOT_ACCEPTABLE.into_response();
    };
    let accept = derive_accept_key(key.as_bytes());
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let io = TokioIo::new(upgraded.await.unwrap());
        // As axum configures it for the real one.
        let config = tungstenite::protocol::WebSocketConfig::default();
        let socket =
            tokio_tungstenite::WebSocketStream::from_raw_socket(io, Role::Server, Some(config))
                .await;
        goose.connected.fetch_add(1, Ordering::SeqCst);
        let mut killed = killed;
        let talk = Talk::new(&goose);
        tokio::select! {
            () = talk.run(socket) => {}
            () = until(&mut killed) => {}
        }
        goose.connected.fetch_sub(1, Ordering::SeqCst);
        // A client that is gone takes the turns with it.
        for session in goose.state.lock().unwrap().sessions.values_mut() {
            session.busy = false;
        }
    });
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    for (name, value) in [
        (header::CONNECTION, "upgrade"),
        (header::UPGRADE, "websocket"),
        (header::SEC_WEBSOCKET_ACCEPT, accept.as_str()),
    ] {
        let value = HeaderValue::from_str(value).unwrap();
        response.headers_mut().insert(name, value);
    }
    response
}

/// One connection.
#[derive(Clone)]
struct Talk {
    goose: Goose,
    out: mpsc::UnboundedSender<Value>,
    /// Answers of the client by this connection's own ids, which count from 0.
    answers: Arc<Mutex<BTreeMap<u64, Value>>>,
    answered: Arc<Notify>,
    asked: Arc<AtomicUsize>,
    cancelled: Arc<Notify>,
    hung: Arc<watch::Sender<bool>>,
    dead: Arc<watch::Sender<bool>>,
    receiver: Arc<Mutex<Option<mpsc::UnboundedReceiver<Value>>>>,
}

impl Talk {
    fn new(goose: &Goose) -> Self {
        let (out, receiver) = mpsc::unbounded_channel();
        Self {
            goose: goose.clone(),
            out,
            answers: Arc::default(),
            answered: Arc::default(),
            asked: Arc::default(),
            cancelled: Arc::default(),
            hung: Arc::new(watch::Sender::new(false)),
            dead: Arc::new(watch::Sender::new(false)),
            receiver: Arc::new(Mutex::new(Some(receiver))),
        }
    }

    async fn run(
        &self,
        socket: tokio_tungstenite::WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>,
    ) {
        let (mut sink, mut stream) = socket.split();
        let mut out = self.receiver.lock().unwrap().take().unwrap();
        let (mut hung, mut dead) = (self.hung.subscribe(), self.dead.subscribe());
        loop {
            tokio::select! {
                biased;
                () = until(&mut dead) => return,
                () = until(&mut hung) => std::future::pending().await,
                Some(value) = out.recv() => {
                    if sink.send(WsMessage::text(value.to_string())).await.is_err() {
                        return;
                    }
                }
                message = stream.next() => match message {
                    Some(Ok(WsMessage::Text(text))) => self.take(&text),
                    Some(Ok(WsMessage::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => {}
                },
            }
        }
    }

    fn take(&self, text: &str) {
        let message: Value = serde_json::from_str(text).unwrap();
        let talk = self.clone();
        match message["method"].as_str() {
            Some(method) => {
                let (method, id) = (method.to_owned(), message.get("id").cloned());
                let params = message["params"].clone();
                // In its order, as far as it needs no waiting.
                match id {
                    None => talk.notified(&method, &params),
                    Some(id) if method == "session/prompt" => {
                        tokio::spawn(async move {
                            let outcome = talk.prompt(&params).await;
                            talk.answer(&id, outcome);
                        });
                    }
                    Some(id) => talk.called(&id, &method, &params),
                }
            }
            None => {
                let id = message["id"].as_u64().unwrap();
                self.answers.lock().unwrap().insert(id, message);
                self.answered.notify_waiters();
            }
        }
    }

    fn notified(&self, method: &str, params: &Value) {
        match method {
            "session/cancel" => self.cancelled.notify_waiters(),
            "$/cancel_request" => {
                let mut state = self.goose.state.lock().unwrap();
                state.cancelled.push(params["requestId"].clone());
            }
            _ => {}
        }
    }

    fn answer(&self, id: &Value, outcome: Result<Value, Value>) {
        let _ = self.out.send(match outcome {
            Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
            Err(error) => json!({"jsonrpc": "2.0", "id": id, "error": error}),
        });
    }

    fn say(&self, session: &str, update: Value) {
        let _ = self
            .out
            .send(json!({"jsonrpc": "2.0", "method": "session/update",
            "params": {"sessionId": session, "update": update}}));
    }

    fn chunk(&self, session: &str, text: &str) {
        self.say(
            session,
            json!({"sessionUpdate": "agent_message_chunk",
            "content": {"type": "text", "text": text}}),
        );
    }

    /// Asks the client and waits for the answer.
    async fn ask(&self, method: &str, params: Value) -> Value {
        let id = self.asked.fetch_add(1, Ordering::SeqCst) as u64;
        let _ = self
            .out
            .send(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        loop {
            let answered = self.answered.notified();
            if let Some(answer) = self.answers.lock().unwrap().remove(&id) {
                return answer;
            }
            answered.await;
        }
    }

    fn called(&self, id: &Value, method: &str, params: &Value) {
        let mut state = self.goose.state.lock().unwrap();
        let session = params["sessionId"].as_str().unwrap_or_default().to_owned();
        let known = state.sessions.contains_key(&session);
        let missing = json!({"code": -32002, "message": "Resource not found",
            "data": format!("Session not found: {session}")});
        let outcome = match method {
            "initialize" if !params["protocolVersion"].is_u64() => Err(
                json!({"code": -32602, "message": "Invalid params", "data": {"phase": "deserialization"}}),
            ),
            "initialize" => {
                state.hellos.push(params.clone());
                if state.mute {
                    return;
                }
                let asked = params["protocolVersion"].as_u64().unwrap();
                let able = state.able.clone().unwrap_or_else(|| {
                    json!({"loadSession": true,
                        "sessionCapabilities": {"list": {}, "delete": {}, "close": {}}})
                });
                let said = json!({"protocolVersion": state.version.unwrap_or(asked).min(asked),
                    "agentCapabilities": able,
                    "agentInfo": {"name": "goose", "version": self.goose.id}});
                let (talk, id, slow) = (self.clone(), id.clone(), state.slow_hello);
                tokio::spawn(async move {
                    tokio::time::sleep(slow).await;
                    talk.answer(&id, Ok(said));
                });
                return;
            }
            "session/new" | "_goose/unstable/session/import" => {
                state.news += 1;
                match state.new {
                    New::Refused => Err(json!({"code": -32603, "message": "no provider"})),
                    New::Hangs => return,
                    New::Late => {
                        let (talk, id, late) = (self.clone(), id.clone(), Arc::clone(&state.late));
                        tokio::spawn(async move {
                            late.notified().await;
                            // Other news come before the answer.
                            talk.say("20261128_1", json!({"sessionUpdate": "usage_update"}));
                            let name = talk.fresh(&mut talk.goose.state.lock().unwrap());
                            talk.answer(&id, Ok(json!({ "sessionId": name })));
                        });
                        return;
                    }
                    New::Dies => {
                        self.dead.send_replace(true);
                        return;
                    }
                    New::Well
                        if method == "session/new"
                            && !Path::new(params["cwd"].as_str().unwrap_or("")).is_dir() =>
                    {
                        Err(
                            json!({"code": -32602, "message": "Invalid params", "data": "invalid directory path"}),
                        )
                    }
                    New::Well => {
                        let name = self.fresh(&mut state);
                        let result = json!({"sessionId": name, "modes": {"currentModeId": "auto"}});
                        self.answer(id, Ok(result));
                        self.say(&name, json!({"sessionUpdate": "usage_update", "used": 0}));
                        return;
                    }
                }
            }
            "session/fork" if known => {
                let name = self.fresh(&mut state);
                Ok(json!({ "sessionId": name }))
            }
            "session/list" => Ok(self.list(&state, params)),
            "session/load" if known && state.asks_to_load => {
                let (talk, id) = (self.clone(), id.clone());
                tokio::spawn(async move {
                    let file = json!({"sessionId": session, "path": "/x"});
                    talk.ask("fs/read_text_file", file).await;
                    talk.answer(&id, Ok(json!({})));
                });
                return;
            }
            "session/load" if known => {
                for text in &state.sessions[&session].history {
                    self.say(
                        &session,
                        json!({"sessionUpdate": "user_message_chunk",
                        "content": {"type": "text", "text": text}}),
                    );
                }
                Ok(json!({"modes": {}}))
            }
            "session/set_mode" if known => {
                let mode = params["modeId"].as_str().unwrap_or_default().to_owned();
                state.sessions.get_mut(&session).unwrap().mode = mode;
                Ok(json!({}))
            }
            "session/delete" if known => {
                state.sessions.remove(&session);
                Ok(json!({}))
            }
            "_goose/unstable/session/info" if known => {
                Ok(json!({"session": {"sessionId": session}, "node": self.goose.id}))
            }
            "_goose/unstable/config/upsert" if state.refuses_config => {
                Err(json!({"code": -32602, "message": "not this"}))
            }
            "_goose/unstable/config/upsert" => {
                let (talk, id, late) = (self.clone(), id.clone(), Arc::clone(&state.late));
                let key = params["key"].as_str().unwrap_or_default().to_owned();
                state.config.insert(key, params["value"].clone());
                if state.slow_config {
                    tokio::spawn(async move {
                        late.notified().await;
                        talk.answer(&id, Ok(json!({})));
                    });
                    return;
                }
                Ok(json!({}))
            }
            "_goose/unstable/config/read" => {
                Ok(json!({"node": self.goose.id, "bytes": params.to_string().len()}))
            }
            _ if session.is_empty() => Err(json!({"code": -32601, "message": "Method not found"})),
            _ if known => Err(json!({"code": -32601, "message": "Method not found"})),
            _ => Err(missing),
        };
        drop(state);
        self.answer(id, outcome);
    }

    /// One more than the highest, so that a deleted one's name is given again.
    fn fresh(&self, state: &mut State) -> String {
        let number = |name: &String| name.rsplit('_').next()?.parse::<u32>().ok();
        let last = state.sessions.keys().filter_map(number).max().unwrap_or(0);
        let name = format!("20261128_{}", last + 1);
        state.sessions.insert(name.clone(), Session::default());
        name
    }

    fn list(&self, state: &State, params: &Value) -> Value {
        let from: usize = params["cursor"].as_str().map_or(0, |c| c.parse().unwrap());
        let all: Vec<&String> = state.sessions.keys().collect();
        let most = state.page.unwrap_or(all.len().max(1));
        let sessions: Vec<Value> = all
            .iter()
            .enumerate()
            .skip(from)
            .take(most)
            .map(|(n, name)| {
                json!({"sessionId": name, "updatedAt": format!("2026-11-28T10:{:02}:{:02}Z", n, self.goose.id.len())})
            })
            .collect();
        match from + most < all.len() {
            true => json!({"sessions": sessions, "nextCursor": (from + most).to_string()}),
            false => json!({ "sessions": sessions }),
        }
    }

    async fn prompt(&self, params: &Value) -> Result<Value, Value> {
        let session = params["sessionId"].as_str().unwrap_or_default().to_owned();
        let text = params["prompt"][0]["text"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        {
            let mut state = self.goose.state.lock().unwrap();
            let Some(known) = state.sessions.get_mut(&session) else {
                return Err(json!({"code": -32002, "message": "Resource not found",
                    "data": format!("Session not found: {session}")}));
            };
            if known.busy {
                return Err(json!({"code": -32602, "message": "Invalid params",
                    "data": "session already has active run"}));
            }
            known.busy = true;
            known.history.push(text.clone());
        }
        let reason = self.turn(&session, &text).await;
        if let Some(s) = self.goose.state.lock().unwrap().sessions.get_mut(&session) {
            s.busy = false;
        }
        Ok(json!({ "stopReason": reason }))
    }

    async fn turn(&self, session: &str, text: &str) -> &'static str {
        self.chunk(session, &format!("{} {session}: {text}", self.goose.id));
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "DIE" => {
                self.dead.send_replace(true);
            }
            "HANG" => {
                // What was said before still goes out.
                tokio::time::sleep(Duration::from_millis(20)).await;
                self.hung.send_replace(true);
            }
            "WAIT" => {
                self.cancelled.notified().await;
                return "cancelled";
            }
            "ASK" => {
                let answer = self
                    .ask(
                        "session/request_permission",
                        json!({"sessionId": session,
                        "toolCall": {"toolCallId": "call_1", "rawInput": {"sessionId": session}},
                        "options": [{"optionId": "allow_once"}]}),
                    )
                    .await;
                self.chunk(
                    session,
                    &answer["result"]["outcome"]["optionId"].to_string(),
                );
            }
            "READ" => {
                let answer = self
                    .ask(
                        "fs/read_text_file",
                        json!({"sessionId": session, "path": "/x"}),
                    )
                    .await;
                self.chunk(session, &answer["error"]["message"].to_string());
            }
            // Says two things in one message.
            "BOTH" => {
                let update = |text: &str| {
                    json!({"jsonrpc": "2.0", "method": "session/update",
                        "params": {"sessionId": session, "update": {"content": {"text": text}}}})
                };
                let _ = self.out.send(json!([update("one"), update("two")]));
            }
            "FLOOD" => {
                let big = "x".repeat(64 * 1024);
                for _ in 0..rest.parse().unwrap_or(10) {
                    self.chunk(session, &big);
                }
            }
            _ => {}
        }
        "end_turn"
    }
}
