//! The dialect against three stand-ins for goosed, behind real ports.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod awake;
mod config;
mod contract;
mod create;
mod failure;
mod fuzz;
mod limits;
mod lists;
mod pure;
mod streams;

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

#[path = "../../../../tests/goosed/mod.rs"]
mod goosed;

use crate::gateway::limits::Limits;
use crate::gateway::stand_in::{self, SECRET, Under, secret_of};
use crate::routing::node::Dialect;
use goosed::{Node, Options, StandIn};

/// Long enough for a machine at work, and far below every limit of the gateway's.
const SOON: Duration = Duration::from_secs(20);

/// Three nodes, `g0` to `g2`, and the gateway before them.
struct Rig {
    under: Under,
    nodes: Vec<StandIn>,
    client: Client<HttpConnector, Body>,
}

/// An answer that came whole.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    #[track_caller]
    fn ok(&self) -> Value {
        assert!(self.status.is_success(), "{self:?}");
        self.json()
    }

    /// What the gateway or goosed says in words.
    #[track_caller]
    fn says(&self, status: u16, words: &[&str]) {
        assert_eq!(self.status, status, "{self:?}");
        let message = self.json()["message"].as_str().unwrap().to_owned();
        for word in words {
            assert!(message.contains(word), "{word}: {message}");
        }
    }
}

impl Rig {
    async fn new() -> Self {
        let mut nodes = Vec::new();
        for name in ["g0", "g1", "g2"] {
            nodes.push(StandIn::new(name, &secret_of(name)).await);
        }
        Self::over(nodes).await
    }

    /// The same, with no provider in their environment.
    async fn bare() -> Self {
        let mut nodes = Vec::new();
        for name in ["g0", "g1", "g2"] {
            let options = Options {
                name: name.to_owned(),
                secret: secret_of(name),
                directory: None,
                provider: String::new(),
                model: String::new(),
            };
            nodes.push(StandIn::with(options).await);
        }
        Self::over(nodes).await
    }

    async fn over(nodes: Vec<StandIn>) -> Self {
        Self::within(nodes, Limits::default()).await
    }

    /// The same within limits.
    async fn within(nodes: Vec<StandIn>, limits: Limits) -> Self {
        let known: Vec<(&str, Dialect, u16)> = nodes
            .iter()
            .map(|n| (n.node.options.name.as_str(), Dialect::Goosed, n.port))
            .collect();
        let under = stand_in::within(&known, limits).await;
        Self {
            under,
            nodes,
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    fn node(&self, n: usize) -> &Node {
        &self.nodes[n].node
    }

    async fn send(&self, request: Request<Body>) -> hyper::Response<Incoming> {
        tokio::time::timeout(SOON, self.client.request(request))
            .await
            .unwrap()
            .unwrap()
    }

    fn request(&self, method: &str, target: &str, body: Option<&[u8]>) -> Request<Body> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{target}", self.under.url))
            .header("x-secret-key", SECRET)
            .header("content-type", "application/json");
        let body = body.map_or_else(Body::empty, |b| Body::from(b.to_vec()));
        request.body(body).unwrap()
    }

    async fn raw(&self, method: &str, target: &str, body: Option<&[u8]>) -> Answer {
        let answer = self.send(self.request(method, target, body)).await;
        whole(answer).await
    }

    async fn get(&self, target: &str) -> Answer {
        self.raw("GET", target, None).await
    }

    async fn post(&self, target: &str, body: &Value) -> Answer {
        self.raw("POST", target, Some(body.to_string().as_bytes()))
            .await
    }

    /// A new chat's name.
    async fn start(&self) -> String {
        let begun = self
            .post("/agent/start", &json!({"working_dir": "/"}))
            .await;
        begun.ok()["id"].as_str().unwrap().to_owned()
    }

    /// A session of the same native name on every node, made behind the gateway's back, its model
    /// loaded. The native name; what the nodes have seen so far is forgotten.
    async fn everywhere(&self) -> String {
        let mut id = String::new();
        for node in &self.nodes {
            let secret = node.node.options.secret.clone();
            let ask = async |path: &str, body: Value| {
                let request = Request::post(format!("http://127.0.0.1:{}{path}", node.port))
                    .header("x-secret-key", &secret)
                    .header("content-type", "application/json")
                    .body(Body::from(body.to_string()))
                    .unwrap();
                whole(self.send(request).await).await.ok()
            };
            let begun = ask("/agent/start", json!({"working_dir": "/"})).await;
            id = begun["id"].as_str().unwrap().to_owned();
            let resume = json!({"session_id": id, "load_model_and_extensions": true});
            ask("/agent/resume", resume).await;
            // The gateway learns of it as it does of a client's.
            let name = format!("{}.{id}", node.node.options.name);
            let resume = json!({"session_id": name, "load_model_and_extensions": true});
            self.post("/agent/resume", &resume).await.ok();
            node.node.seen();
        }
        id
    }

    /// How many requests each node has seen since it was asked last.
    fn seen(&self) -> Vec<usize> {
        self.nodes.iter().map(|n| n.node.seen().len()).collect()
    }
}

async fn whole(answer: hyper::Response<Incoming>) -> Answer {
    let (parts, body) = answer.into_parts();
    let body = tokio::time::timeout(SOON, body.collect()).await.unwrap();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: body.unwrap().to_bytes(),
    }
}

/// A message as a client sends it, and the id of its request.
fn message(text: &str) -> (String, Value) {
    let id = uuid::Uuid::new_v4().to_string();
    let content = json!([{"type": "text", "text": text}]);
    let body = json!({
        "request_id": id,
        "user_message": {
            "role": "user", "created": 1, "content": content,
            "metadata": {"userVisible": true, "agentVisible": true},
        },
    });
    (id, body)
}

/// Waits for a condition.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    eventually_some(what, || condition().then_some(())).await;
}

/// Waits until there is an answer.
async fn eventually_some<T>(what: &str, answer: impl Fn() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(begun.elapsed() < SOON, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
