//! The node API over stand-ins of opencode and goosed, as a client meets it.

#![allow(clippy::unwrap_used)]

mod goosed;
mod mortal;
mod opencode;
mod streams;

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::events::sse::Frames;
use crate::gateway::stand_in::{self, SECRET, Under, gateway};
use crate::routing::node::{Advert, Dialect, Health};

/// A deadline for everything: nothing here waits for the world.
const DEADLINE: Duration = Duration::from_secs(20);

pub fn run(test: impl Future<Output = ()>) {
    run_within(DEADLINE, test);
}

/// The same for what waits for a limit that is longer.
pub fn run_within(deadline: Duration, test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { tokio::time::timeout(deadline, test).await.unwrap() });
    runtime.shutdown_timeout(Duration::from_secs(1));
}

/// A client of the gateway.
pub struct Caller<'a> {
    under: &'a Under,
    client: Client<HttpConnector, Body>,
}

impl<'a> Caller<'a> {
    pub fn of(under: &'a Under) -> Self {
        Self {
            under,
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> axum::http::Response<Incoming> {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(format!("{}{path}", self.under.url))
            .header("x-secret-key", SECRET);
        for (key, value) in headers {
            request = request.header(*key, *value);
        }
        let request = request.body(Body::from(body)).unwrap();
        self.client.request(request).await.unwrap()
    }

    pub async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.call_with(method, path, &[], body.to_string().into_bytes())
            .await
    }

    pub async fn call_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> (u16, Value) {
        let answer = self.send(method, path, headers, body).await;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let value = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        (status, value)
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.call_with("GET", path, &[], Vec::new()).await
    }

    pub async fn stream(&self, path: &str, last: Option<&str>) -> Frames<Incoming> {
        let headers: Vec<(&str, &str)> = last.map(|l| ("last-event-id", l)).into_iter().collect();
        let answer = self.send("GET", path, &headers, Vec::new()).await;
        assert_eq!(answer.status(), StatusCode::OK);
        Frames::of(answer.into_body())
    }
}

pub async fn next(frames: &mut Frames<Incoming>) -> Value {
    let frame = frames.next().await.unwrap();
    serde_json::from_str(&frame.data).unwrap()
}

fn said(value: &Value) -> &str {
    value["message"].as_str().unwrap()
}

#[test]
fn nodes_are_shown_and_what_is_not_there_is_missing() {
    run(async {
        let under = gateway(&[("a", Dialect::Tui, 1), ("b", Dialect::Opencode, 2)]).await;
        let caller = Caller::of(&under);
        let (status, all) = caller.get("/nodes").await;
        assert_eq!(status, 200);
        assert_eq!(all["nodes"][1]["id"], "b");
        assert_eq!(all["nodes"][1]["dialect"], "opencode");
        assert_eq!(all["nodes"][0]["health"], "healthy");
        assert!(!all.to_string().contains("secret"));
        assert_eq!(caller.get("/nodes/a").await.1["class"], "node");
        for path in [
            "/nodes/x",
            "/chats/x",
            "/chats/x/messages",
            "/chats/x/events",
        ] {
            let (status, why) = caller.get(path).await;
            assert_eq!(status, 404, "{path}");
            assert!(said(&why).contains("`x`"), "{why}");
        }
        for (method, path) in [("DELETE", "/chats/x"), ("POST", "/chats/x/cancel")] {
            assert_eq!(caller.call(method, path, json!({})).await.0, 404, "{path}");
        }
        let say = caller
            .call("POST", "/chats/x/messages", json!({"text": "hi"}))
            .await;
        assert_eq!(say.0, 404);
        let (status, description) = caller.get("/openapi.json").await;
        assert_eq!((status, &description["openapi"]), (200, &json!("3.1.0")));
    });
}

#[test]
fn a_chat_has_one_node_and_chats_spread() {
    run(async {
        let under = gateway(&[
            ("a", Dialect::Tui, 1),
            ("b", Dialect::Tui, 1),
            ("c", Dialect::Tui, 1),
        ])
        .await;
        let caller = Caller::of(&under);
        let placing = (0..12).map(|n| {
            let body = json!({"chat": format!("c{n}")});
            caller.call("POST", "/chats", body)
        });
        let placed = futures_util::future::join_all(placing).await;
        let mut nodes = std::collections::BTreeMap::new();
        for (status, chat) in &placed {
            assert_eq!(*status, 201, "{chat}");
            *nodes.entry(chat["node"].as_str().unwrap()).or_insert(0) += 1;
        }
        assert_eq!(nodes.values().collect::<Vec<_>>(), [&4, &4, &4]);
        // Again, and by several at a time: the same pin.
        let again = (0..4).map(|_| caller.call("POST", "/chats", json!({"chat": "c7"})));
        for (status, chat) in futures_util::future::join_all(again).await {
            assert_eq!((status, &chat["node"]), (200, &placed[7].1["node"]));
        }
        let named = caller.call_with("POST", "/chats", &[], Vec::new()).await.1;
        assert!(named["chat"].as_str().unwrap().starts_with("chat-"));
        assert_eq!(
            caller.get("/chats").await.1["chats"]
                .as_array()
                .unwrap()
                .len(),
            13
        );
        assert_eq!(caller.get("/chats/c7").await.1["dialect"], "tui");
        assert_eq!(caller.call("DELETE", "/chats/c7", json!({})).await.0, 204);
        assert_eq!(caller.get("/chats/c7").await.0, 404);
    });
}

#[test]
fn whom_nothing_is_placed_on_is_told_with_the_filter() {
    run(async {
        let under = gateway(&[
            ("a", Dialect::Tui, 1),
            ("b", Dialect::Acp, 1),
            ("c", Dialect::Opencode, 1),
        ])
        .await;
        let caller = Caller::of(&under);
        let place = async |body: Value| caller.call("POST", "/chats", body).await;
        let (status, why) = place(json!({"selector": "b"})).await;
        assert_eq!(status, 501);
        assert!(said(&why).contains("/acp"), "{why}");
        let (status, why) = place(json!({"selector": "class:none"})).await;
        assert_eq!(status, 503);
        assert!(said(&why).contains("`selector`"), "{why}");
        let sick = Advert {
            health: Health::Unfit("it asks something".into()),
            ..stand_in::well("a")
        };
        under.gateway.nodes.get("a").unwrap().observed(sick);
        let (status, why) = place(json!({"selector": "a"})).await;
        assert_eq!(status, 503);
        assert!(
            said(&why).contains("`health`") && said(&why).contains("it asks something"),
            "{why}"
        );
        // Nobody listens there.
        let (status, why) = place(json!({"selector": "c"})).await;
        assert_eq!(status, 503);
        assert!(
            said(&why).contains("`health`") && said(&why).contains("is refused"),
            "{why}"
        );
        for bad in [
            json!({"selector": "clas:x"}),
            json!({"chat": "a/b"}),
            json!({"chat": ""}),
            json!({"working_dir": "relative"}),
            json!({"working_dir": "/no/such/directory"}),
            json!({"strategy": "best"}),
            json!({"chatt": "x"}),
            json!([]),
        ] {
            let (status, why) = place(bad.clone()).await;
            assert_eq!(status, 400, "{bad}: {why}");
            assert!(!said(&why).is_empty());
        }
        // A terminal works where it works.
        let (status, why) = place(json!({"selector": "a", "working_dir": "/tmp"})).await;
        assert_eq!(status, 503, "{why}");
        assert_eq!(caller.get("/chats").await.1["chats"], json!([]));
    });
}

#[test]
fn a_terminal_without_a_fleet_is_down_and_agentapis_errors_have_its_shape() {
    run(async {
        let under = gateway(&[("a", Dialect::Tui, 1), ("b", Dialect::Opencode, 1)]).await;
        let caller = Caller::of(&under);
        caller
            .call("POST", "/chats", json!({"chat": "c", "selector": "a"}))
            .await;
        let say = async |body: Value| caller.call("POST", "/chats/c/messages", body).await;
        let (status, why) = say(json!({"text": "hi"})).await;
        assert_eq!(status, 503);
        assert!(said(&why).contains("`a`"), "{why}");
        for bad in [
            json!({"text": " "}),
            json!({}),
            json!({"text": "x", "id": "a b"}),
            json!({"text": "x", "until": "typed"}),
            json!({"text": "x", "timeout_secs": -1}),
        ] {
            assert_eq!(say(bad.clone()).await.0, 400, "{bad}");
        }
        let headers = [("idempotency-key", "1")];
        let differs = br#"{"text":"x","id":"2"}"#.to_vec();
        let answer = caller
            .call_with("POST", "/chats/c/messages", &headers, differs)
            .await;
        assert_eq!(answer.0, 400);
        for (path, status) in [
            ("/nodes/x/status", 404),
            ("/nodes/b/messages", 501),
            ("/nodes/a/status", 503),
            ("/nodes/a/events", 503),
        ] {
            let answer = caller.send("GET", path, &[], Vec::new()).await;
            assert_eq!(answer.status().as_u16(), status, "{path}");
            assert_eq!(answer.headers()["content-type"], "application/problem+json");
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let problem: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem["status"], status);
            assert!(problem["detail"].is_string() && problem["errors"].is_array());
        }
        let message = async |body: Value| caller.call("POST", "/nodes/a/message", body).await;
        assert_eq!(
            message(json!({"content": "x", "type": "user"})).await.0,
            503
        );
        assert_eq!(message(json!({"content": "", "type": "user"})).await.0, 500);
        assert_eq!(
            message(json!({"content": "x", "type": "other"})).await.0,
            422
        );
        let (status, problem) = message(json!({"content": "\u{1b}[A", "type": "raw"})).await;
        assert_eq!(status, 501);
        assert!(problem["detail"].as_str().unwrap().contains("approve a"));
    });
}

#[test]
fn a_body_that_is_too_long_is_refused() {
    run(async {
        let under = gateway(&[("a", Dialect::Tui, 1)]).await;
        let caller = Caller::of(&under);
        caller.call("POST", "/chats", json!({"chat": "c"})).await;
        let long = json!({"text": "x".repeat(super::body::MOST)}).to_string();
        let (status, why) = caller
            .call_with("POST", "/chats/c/messages", &[], long.into_bytes())
            .await;
        assert_eq!(status, 413);
        assert!(said(&why).contains("longer"));
    });
}

/// JSON with the keys that nodes use, at any depth.
fn events() -> impl Strategy<Value = Value> {
    let text = prop::sample::select(vec![
        "session.status",
        "message.updated",
        "message.part.updated",
        "message.part.delta",
        "permission.asked",
        "Message",
        "Finish",
        "Error",
        "ActiveRequests",
        "UpdateConversation",
        "text",
        "user",
        "assistant",
        "busy",
        "idle",
        "s",
        "m",
        "p",
    ]);
    let leaf = prop_oneof![
        4 => text.prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    let key = prop::sample::select(vec![
        "type",
        "properties",
        "sessionID",
        "info",
        "part",
        "id",
        "messageID",
        "partID",
        "field",
        "delta",
        "text",
        "role",
        "time",
        "created",
        "completed",
        "parts",
        "status",
        "error",
        "message",
        "content",
        "request_ids",
        "chat_request_id",
        "conversation",
        "metadata",
    ]);
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            4 => prop::collection::btree_map(key.clone(), inner, 0..7).prop_map(|map| {
                Value::Object(map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_event_breaks_a_reader(all in prop::collection::vec(events(), 0..12)) {
        use super::events::server::Reads as _;
        let mut of_opencode = super::opencode::Reader::new("n", "s", &[]);
        let mut of_goosed = super::goosed::Reader::new("n");
        for event in &all {
            let mut ours = event.clone();
            if let Some(object) = ours.as_object_mut() {
                let about = object.entry("properties").or_insert_with(|| json!({}));
                if let Some(about) = about.as_object_mut() {
                    about.insert("sessionID".to_owned(), json!("s"));
                }
            }
            of_opencode.take(event);
            of_opencode.take(&ours);
            of_goosed.take(event);
        }
    }
}

#[test]
fn the_disk_that_counts_is_the_one_that_the_chat_works_on() {
    run(async {
        let under = gateway(&[("a", Dialect::Tui, 1)]).await;
        let caller = Caller::of(&under);
        let live = under.gateway.nodes.get("a").unwrap();
        let disk = async |own: u64, least: u64, body: Value| {
            let mut advert = stand_in::well("a");
            advert.load.disk_available_bytes = own;
            live.observed(advert);
            under.gateway.set_policy(crate::routing::policy::Policy {
                min_disk_available_bytes: least,
                ..Default::default()
            });
            caller.call("POST", "/chats", body).await
        };
        let (anywhere, there) = (json!({}), json!({"working_dir": "/"}));
        // No disk has so much room.
        let (status, why) = disk(u64::MAX, u64::MAX, there.clone()).await;
        assert_eq!(status, 503, "{why}");
        assert!(said(&why).contains("`disk`"), "{why}");
        assert_eq!(disk(u64::MAX, u64::MAX, anywhere.clone()).await.0, 201);
        assert_eq!(disk(0, 1, there).await.0, 201);
        assert_eq!(disk(0, 1, anywhere).await.0, 503);
    });
}

/// Bodies that are nearly right, and bytes that are nothing.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let key = prop::sample::select(vec![
        "chat",
        "selector",
        "strategy",
        "host",
        "working_dir",
        "title",
        "text",
        "id",
        "until",
        "timeout_secs",
        "expires_secs",
        "raw",
        "content",
        "type",
        "sender",
    ]);
    let value = prop_oneof![
        "\\PC{0,12}".prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
        Just(json!(["a", {"b": 1}])),
        prop::sample::select(vec!["queued", "answered", "user", "raw", "a", "class:node"])
            .prop_map(Value::from),
    ];
    let object = prop::collection::btree_map(key, value, 0..6).prop_map(|map| {
        let map: serde_json::Map<String, Value> =
            map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        Value::Object(map).to_string().into_bytes()
    });
    prop_oneof![3 => object, 1 => prop::collection::vec(any::<u8>(), 0..64)]
}

#[test]
fn no_body_breaks_it() {
    let paths = prop::sample::select(vec![
        "/chats",
        "/chats/c/messages",
        "/chats/c/cancel",
        "/nodes/a/message",
        "/chats/%ff/messages",
        "/chats/../../x/messages",
        "/nodes/%2e%2e/message",
    ]);
    let cases = prop::collection::vec((paths, bodies()), 200);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 3,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let done = runner.run(&cases, |cases| {
        run(async {
            let under = gateway(&[("a", Dialect::Tui, 1), ("b", Dialect::Opencode, 1)]).await;
            let caller = Caller::of(&under);
            let first = caller
                .call("POST", "/chats", json!({"chat": "c", "selector": "a"}))
                .await;
            assert_eq!(first.0, 201);
            for (path, body) in cases {
                let (status, answer) = caller.call_with("POST", path, &[], body).await;
                // 500 is agentapi's own word for an empty message.
                let own = status == 500 && path == "/nodes/a/message";
                assert!(own || status != 500, "{path}: {answer}");
            }
            assert_eq!(caller.get("/chats/c").await.0, 200);
        });
        Ok(())
    });
    done.unwrap();
}
