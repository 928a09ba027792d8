//! Clients of tests: one by WebSocket, one by HTTP.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tungstenite::Message as WsMessage;
use tungstenite::client::IntoClientRequest as _;

use crate::gateway::stand_in::SECRET;

/// Almost everything in these tests takes milliseconds, on an idle machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client by WebSocket. Everything it hears is kept, in order.
pub struct Ws {
    out: mpsc::UnboundedSender<WsMessage>,
    heard: Arc<Mutex<Vec<Value>>>,
    news: Arc<Notify>,
    closed: Arc<Mutex<Option<String>>>,
    next: AtomicU64,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Ws {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Ws {
    pub async fn open(url: &str) -> Self {
        Self::try_open(url, &[("x-secret-key", SECRET)])
            .await
            .unwrap()
    }

    pub async fn try_open(url: &str, headers: &[(&'static str, &str)]) -> Result<Self, StatusCode> {
        let at = url.strip_prefix("http://").unwrap();
        let (host, path) = at.split_once('/').unwrap_or((at, "acp"));
        let stream = TcpStream::connect(host).await.unwrap();
        let mut request = format!("ws://{host}/{path}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, answer) = match tokio_tungstenite::client_async(request, stream).await {
            Ok(opened) => opened,
            Err(tungstenite::Error::Http(answer)) => return Err(answer.status()),
            Err(e) => panic!("{e}"),
        };
        assert_eq!(answer.headers()["acp-connection-id"].len(), 36);
        let (mut sink, mut stream) = socket.split();
        let (out, mut say) = mpsc::unbounded_channel::<WsMessage>();
        let heard: Arc<Mutex<Vec<Value>>> = Arc::default();
        let (news, closed) = (
            Arc::new(Notify::new()),
            Arc::<Mutex<Option<String>>>::default(),
        );
        let task = tokio::spawn({
            let (heard, news, closed) =
                (Arc::clone(&heard), Arc::clone(&news), Arc::clone(&closed));
            async move {
                let why = loop {
                    tokio::select! {
                        Some(message) = say.recv() => {
                            if let Err(e) = sink.send(message).await {
                                break e.to_string();
                            }
                        }
                        message = stream.next() => match message {
                            Some(Ok(WsMessage::Text(text))) => {
                                heard.lock().unwrap().push(serde_json::from_str(&text).unwrap());
                                news.notify_waiters();
                            }
                            Some(Ok(WsMessage::Close(frame))) => break format!("{frame:?}"),
                            Some(Ok(_)) => {}
                            Some(Err(e)) => break e.to_string(),
                            None => break "end".to_owned(),
                        },
                    }
                };
                *closed.lock().unwrap() = Some(why);
                news.notify_waiters();
            }
        });
        Ok(Self {
            out,
            heard,
            news,
            closed,
            next: AtomicU64::new(1),
            task,
        })
    }

    pub fn text(&self, text: &str) {
        let _ = self.out.send(WsMessage::text(text));
    }

    pub fn send(&self, message: &Value) {
        self.text(&message.to_string());
    }

    /// Asks, without waiting; the id.
    pub fn ask(&self, method: &str, params: Value) -> u64 {
        let id = self.next.fetch_add(1, Ordering::SeqCst);
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    pub fn notify(&self, method: &str, params: Value) {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    /// The first thing heard that is meant.
    pub async fn hear(&self, what: &str, meant: impl Fn(&Value) -> bool) -> Value {
        let wait = async {
            loop {
                let news = self.news.notified();
                tokio::pin!(news);
                news.as_mut().enable();
                if let Some(found) = self.heard().iter().find(|v| meant(v)) {
                    return found.clone();
                }
                assert!(
                    self.closed().is_none(),
                    "closed while waiting for {what}: {:?}",
                    self.closed()
                );
                news.await;
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("no {what} among {:#?}", self.heard()))
    }

    pub async fn answer(&self, id: u64) -> Value {
        self.hear(&format!("answer to {id}"), |v| {
            v["id"] == id && v.get("method").is_none()
        })
        .await
    }

    pub async fn call(&self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params);
        self.answer(id).await
    }

    #[track_caller]
    pub fn result(&self, method: &str, params: Value) -> impl Future<Output = Value> {
        let (id, method) = (self.ask(method, params), method.to_owned());
        async move {
            let answer = self.answer(id).await;
            assert!(answer.get("error").is_none(), "{method}: {answer}");
            answer["result"].clone()
        }
    }

    pub async fn error(&self, method: &str, params: Value) -> Value {
        let answer = self.call(method, params).await;
        assert!(answer.get("result").is_none(), "{method}: {answer}");
        answer["error"].clone()
    }

    pub fn heard(&self) -> Vec<Value> {
        self.heard.lock().unwrap().clone()
    }

    pub fn closed(&self) -> Option<String> {
        self.closed.lock().unwrap().clone()
    }

    /// Texts of a session's chunks so far.
    pub fn chunks(&self, session: &str) -> Vec<String> {
        chunks(&self.heard(), session)
    }
}

/// Texts of a session's chunks.
pub fn chunks(heard: &[Value], session: &str) -> Vec<String> {
    heard
        .iter()
        .filter(|v| v["params"]["sessionId"] == session)
        .filter_map(|v| {
            Some(
                v["params"]["update"]["content"]["text"]
                    .as_str()?
                    .to_owned(),
            )
        })
        .collect()
}

/// A client by HTTP.
pub struct Http {
    pub url: String,
    pub connection: String,
    client: Client<HttpConnector, Body>,
}

impl Http {
    pub fn new(url: &str) -> Self {
        Self {
            url: format!("{url}/acp"),
            connection: String::new(),
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    pub async fn request(
        &self,
        method: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> (StatusCode, HeaderMap, Incoming) {
        let mut request = Request::builder().method(method).uri(&self.url);
        let secret = [("x-secret-key", SECRET)];
        for (name, value) in headers.iter().chain(&secret) {
            request = request.header(*name, *value);
        }
        let answer = self
            .client
            .request(request.body(Body::from(body)).unwrap())
            .await
            .unwrap();
        let (parts, body) = answer.into_parts();
        (parts.status, parts.headers, body)
    }

    pub async fn said(&self, method: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let (status, _, body) = self.request(method, headers, body.to_owned()).await;
        let bytes = body.collect().await.unwrap().to_bytes();
        (status.as_u16(), String::from_utf8(bytes.to_vec()).unwrap())
    }

    pub async fn initialize(&mut self, params: Value) -> Value {
        let body =
            json!({"jsonrpc": "2.0", "id": "init", "method": "initialize", "params": params});
        let json = [("content-type", "application/json")];
        let (status, headers, answer) = self.request("POST", &json, body.to_string()).await;
        assert_eq!(status, 200);
        self.connection = headers["acp-connection-id"].to_str().unwrap().to_owned();
        let bytes = answer.collect().await.unwrap().to_bytes();
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Posts a message that is taken.
    pub async fn post(&self, session: Option<&str>, message: Value) {
        let mut headers = vec![
            ("content-type", "application/json; charset=utf-8"),
            ("acp-connection-id", self.connection.as_str()),
        ];
        headers.extend(session.map(|s| ("acp-session-id", s)));
        let (status, said) = self.said("POST", &headers, &message.to_string()).await;
        assert_eq!((status, said.as_str()), (202, ""), "{message}");
    }

    pub async fn stream(&self, session: Option<&str>) -> Events {
        let mut headers = vec![
            ("accept", "text/event-stream"),
            ("acp-connection-id", self.connection.as_str()),
        ];
        headers.extend(session.map(|s| ("acp-session-id", s)));
        let (status, got, body) = self.request("GET", &headers, String::new()).await;
        assert_eq!(status, 200);
        assert_eq!(got["content-type"], "text/event-stream");
        assert_eq!(got["acp-connection-id"], self.connection.as_str());
        assert_eq!(
            got.get("acp-session-id").map(|v| v.to_str().unwrap()),
            session
        );
        Events {
            body,
            rest: String::new(),
        }
    }
}

/// An open stream of events.
pub struct Events {
    body: Incoming,
    rest: String,
}

impl Events {
    /// The next message; `None` when the stream has ended.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.rest.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.rest = rest;
                match event.strip_prefix("data: ") {
                    Some(data) => return Some(serde_json::from_str(data).unwrap()),
                    None => continue,
                }
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame())
                .await
                .unwrap()?;
            let data = frame.ok()?.into_data().ok()?;
            self.rest.push_str(std::str::from_utf8(&data).unwrap());
        }
    }

    /// The answer to a request, and what came before it.
    pub async fn until(&mut self, id: &Value) -> (Vec<Value>, Value) {
        let mut before = Vec::new();
        loop {
            let message = self.next().await.expect("the stream goes on");
            if message["id"] == *id && message.get("method").is_none() {
                return (before, message);
            }
            before.push(message);
        }
    }
}
