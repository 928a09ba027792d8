//! The dialect against stand-ins: what goes where, and what a failure does.

#![allow(clippy::unwrap_used)]

mod by_hand;
mod events;
mod failures;
mod kept;
mod routes;
mod sessions;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::frames::Cutter;
use super::stand_in::{Opencode, Store};
use crate::gateway::nodes::Endpoint;
use crate::gateway::stand_in::{self, SECRET, Under};
use crate::host::basic_auth::basic;
use crate::routing::node::Dialect;

/// A gateway over servers, and a client of it.
struct World {
    under: Under,
    nodes: Vec<Opencode>,
    client: Client<HttpConnector, Body>,
}

/// An answer.
#[derive(Debug)]
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    json: Value,
}

impl World {
    /// Servers that each have a store of their own.
    async fn of(nodes: &[(&'static str, &'static str)]) -> Self {
        Self::with(nodes.iter().map(|(id, dir)| (*id, *dir, Store::default()))).await
    }

    /// Servers of one account.
    async fn sharing(nodes: &[(&'static str, &'static str)]) -> Self {
        let store = Store::default();
        Self::with(nodes.iter().map(|(id, dir)| (*id, *dir, store.clone()))).await
    }

    async fn with(nodes: impl Iterator<Item = (&'static str, &'static str, Store)>) -> Self {
        let nodes: Vec<Opencode> = nodes
            .map(|(id, dir, s)| Opencode::start(id, dir, &s))
            .collect();
        let known: Vec<_> = nodes
            .iter()
            .map(|n| (n.id, Dialect::Opencode, n.port))
            .collect();
        let under = stand_in::gateway(&known).await;
        let world = Self {
            under,
            nodes,
            client: Client::builder(TokioExecutor::new()).build_http(),
        };
        world.know();
        world
    }

    /// Tells the gateway of the nodes, as they are.
    fn know(&self) {
        let known = self.nodes.iter().map(|n| {
            let mut node = stand_in::node(n.id, Dialect::Opencode);
            node.working_directory = PathBuf::from(n.directory);
            let secret = stand_in::secret_of(n.id);
            let endpoint = Endpoint::new(n.id, Dialect::Opencode, n.port, &secret);
            (node, Some(endpoint))
        });
        self.under.gateway.nodes.set(known.collect());
        self.well();
    }

    /// All nodes are observed to be well.
    fn well(&self) {
        for n in &self.nodes {
            let live = self.under.gateway.nodes.get(n.id).unwrap();
            live.observed(stand_in::well(n.id));
        }
    }

    fn node(&self, id: &str) -> &Opencode {
        self.nodes.iter().find(|n| n.id == id).unwrap()
    }

    fn node_mut(&mut self, id: &str) -> &mut Opencode {
        self.nodes.iter_mut().find(|n| n.id == id).unwrap()
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> hyper::Response<Incoming> {
        let body = body.map_or_else(Body::empty, |v| Body::from(v.to_string()));
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/opencode{path}", self.under.url))
            .header(header::AUTHORIZATION, basic("opencode", SECRET))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .unwrap();
        self.request(request).await
    }

    async fn request(&self, request: Request<Body>) -> hyper::Response<Incoming> {
        let sent = self.client.request(request);
        tokio::time::timeout(Duration::from_secs(20), sent)
            .await
            .unwrap()
            .unwrap()
    }

    async fn get(&self, path: &str) -> Got {
        Got::of(self.send(Method::GET, path, None).await).await
    }

    async fn post(&self, path: &str, body: Value) -> Got {
        Got::of(self.send(Method::POST, path, Some(body)).await).await
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Got {
        Got::of(self.send(method, path, Some(body)).await).await
    }

    /// A session, and its node.
    async fn session(&self) -> (String, &Opencode) {
        let made = self.post("/session", json!({})).await;
        assert_eq!(made.status, 200, "{:?}", made.json);
        (made.id(), self.node(&made.node()))
    }

    async fn pin(&self, session: &str) -> Option<String> {
        let name = session.to_owned();
        let pin: crate::error::Result<_> = self.under.gateway.pins(move |p| p.pin(&name)).await;
        pin.unwrap().map(|p| p.node)
    }

    async fn listen(&self, path: &str) -> Events {
        let answer = self.send(Method::GET, path, None).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/event-stream");
        Events {
            body: answer.into_body(),
            cutter: Cutter::default(),
        }
    }
}

impl Got {
    async fn of(answer: hyper::Response<Incoming>) -> Self {
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Self {
            status: head.status,
            headers: head.headers,
            json: serde_json::from_slice(&body).unwrap_or_default(),
        }
    }

    fn id(&self) -> String {
        self.json["id"].as_str().unwrap().to_owned()
    }

    /// Who answered.
    fn node(&self) -> String {
        self.headers["x-mosaic-node"].to_str().unwrap().to_owned()
    }

    fn message(&self) -> &str {
        self.json["message"].as_str().unwrap_or_default()
    }
}

/// A client's stream.
struct Events {
    body: Incoming,
    cutter: Cutter,
}

impl Events {
    async fn frame(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.cutter.next() {
                return Some(frame);
            }
            let next = tokio::time::timeout(Duration::from_secs(15), self.body.frame()).await;
            let next = next.expect("an event in time")?.ok()?;
            self.cutter.push(next.data_ref().unwrap()).unwrap();
        }
    }

    async fn event(&mut self) -> Value {
        let frame = self.frame().await.unwrap();
        let text = std::str::from_utf8(&frame).unwrap();
        serde_json::from_str(text.trim().strip_prefix("data: ").unwrap()).unwrap()
    }

    /// The next event of a kind.
    async fn next(&mut self, kind: &str) -> Value {
        loop {
            let event = self.event().await;
            let inner = event.get("payload").unwrap_or(&event);
            if inner["type"] == kind {
                return event;
            }
        }
    }
}

async fn eventually(what: &str, is: impl Fn() -> bool) {
    for _ in 0..500 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not within 10 s: {what}");
}

fn count<'a>(all: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    all.fold(BTreeMap::new(), |mut counts, one| {
        *counts.entry(one).or_default() += 1;
        counts
    })
}
