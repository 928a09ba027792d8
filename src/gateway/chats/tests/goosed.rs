//! Chats on goosed, over a stand-in with the routes that they need (1.37).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::{Caller, next, run, said};
use crate::gateway::limits::Limits;
use crate::gateway::lock;
use crate::gateway::stand_in::{gateway, policy, serve, within};
use crate::routing::node::Dialect;
use crate::routing::policy::Policy;

const ID: &str = "20261121_1";

#[derive(Default)]
struct Inner {
    started: Option<Value>,
    resumed: bool,
    name: Value,
    conversation: Vec<Value>,
    active: Vec<String>,
    last_event: Option<String>,
    /// Sessions begun, messages taken.
    starts: usize,
    replies: usize,
    /// What it does wrong.
    nameless: bool,
    unready: bool,
    forgets_ids: bool,
    refuses: Option<u16>,
}

struct Stand {
    inner: Mutex<Inner>,
    events: broadcast::Sender<(u64, Value)>,
    /// Closed, it takes requests and answers none.
    gate: tokio::sync::RwLock<()>,
}

type Here = State<Arc<Stand>>;

impl Stand {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::default(),
            events: broadcast::Sender::new(64),
            gate: tokio::sync::RwLock::default(),
        })
    }

    async fn serve(self: &Arc<Self>) -> u16 {
        let router = Router::new()
            .route("/status", get(async || "ok"))
            .route("/system_info", get(async || "{}"))
            .route("/agent/start", post(start))
            .route("/agent/resume", post(resume))
            .route("/sessions/{id}", get(session))
            .route("/sessions/{id}/name", put(name))
            .route("/sessions/{id}/reply", post(reply))
            .route("/sessions/{id}/cancel", post(cancel))
            .route("/sessions/{id}/events", get(events))
            .with_state(Arc::clone(self));
        serve(router).await
    }

    /// Says it in two pieces, and ends the turn.
    fn answer(&self, one: &str, two: &str) {
        let mut inner = lock(&self.inner);
        let request = inner.active.remove(0);
        let message = |text: &str| {
            json!({"id": "m9", "role": "assistant", "created": 1_795_261_836,
                "content": [{"type": "text", "text": text}]})
        };
        for (n, text) in [(7, one), (8, two)] {
            let event = json!({"type": "Message", "message": message(text),
                "chat_request_id": request});
            let _ = self.events.send((n, event));
        }
        inner.conversation.push(message(&format!("{one}{two}")));
        let end = json!({"type": "Finish", "reason": "stop", "chat_request_id": request});
        let _ = self.events.send((9, end));
    }
}

async fn start(State(stand): Here, Json(body): Json<Value>) -> Json<Value> {
    let nameless = {
        let mut inner = lock(&stand.inner);
        inner.started = Some(body["working_dir"].clone());
        inner.starts += 1;
        inner.nameless
    };
    let _open = stand.gate.read().await;
    match nameless {
        true => Json(json!({"conversation": []})),
        false => Json(json!({"id": ID, "conversation": []})),
    }
}

async fn resume(State(stand): Here, Json(body): Json<Value>) -> StatusCode {
    assert_eq!(body["load_model_and_extensions"], true);
    assert_eq!(body["session_id"], ID);
    let mut inner = lock(&stand.inner);
    if inner.unready {
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    inner.resumed = true;
    StatusCode::OK
}

async fn name(State(stand): Here, Json(body): Json<Value>) -> StatusCode {
    lock(&stand.inner).name = body["name"].clone();
    StatusCode::OK
}

async fn session(State(stand): Here, Path(id): Path<String>) -> Json<Value> {
    assert_eq!(id, ID);
    Json(json!({"id": id, "conversation": lock(&stand.inner).conversation}))
}

async fn reply(State(stand): Here, Json(body): Json<Value>) -> (StatusCode, Json<Value>) {
    let request = body["request_id"].as_str().unwrap().to_owned();
    {
        let mut inner = lock(&stand.inner);
        if let Some(status) = inner.refuses {
            let status = StatusCode::from_u16(status).unwrap();
            return (status, Json(json!({"message": "not now"})));
        }
        if !inner.active.is_empty() {
            let why = json!({"message": "Session already has an active request"});
            return (StatusCode::BAD_REQUEST, Json(why));
        }
        assert!(uuid::Uuid::parse_str(&request).is_ok());
        let mut message = body["user_message"].clone();
        if inner.forgets_ids {
            message["id"] = Value::Null;
        }
        inner.conversation.push(message);
        inner.replies += 1;
        if !inner.forgets_ids {
            inner.active.push(request.clone());
        }
    }
    let _open = stand.gate.read().await;
    (StatusCode::OK, Json(json!({"request_id": request})))
}

async fn cancel(State(stand): Here, Json(body): Json<Value>) -> StatusCode {
    let mut inner = lock(&stand.inner);
    let request = inner.active.remove(0);
    assert_eq!(body["request_id"], request.as_str());
    StatusCode::OK
}

async fn events(
    State(stand): Here,
    headers: HeaderMap,
) -> Sse<impl futures_util::Stream<Item = Result<Event, std::convert::Infallible>>> {
    let receiver = stand.events.subscribe();
    let mut inner = lock(&stand.inner);
    inner.last_event = headers
        .get("last-event-id")
        .map(|v| v.to_str().unwrap().to_owned());
    let first = json!({"type": "ActiveRequests", "request_ids": inner.active});
    let first = Event::default().data(first.to_string());
    let rest = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let (n, event) = receiver.recv().await.ok()?;
        let event = Event::default().id(n.to_string()).data(event.to_string());
        Some((Ok(event), receiver))
    });
    Sse::new(futures_util::stream::once(async { Ok(first) }).chain(rest))
}

#[test]
fn a_chat_is_started_and_resumed_and_streams() {
    run(async {
        let stand = Stand::new();
        let port = stand.serve().await;
        let under = gateway(&[("g", Dialect::Goosed, port)]).await;
        let caller = Caller::of(&under);
        let begin = json!({"chat": "c", "title": "t"});
        let (status, chat) = caller.call("POST", "/chats", begin).await;
        assert_eq!((status, &chat["native"]), (201, &json!(ID)), "{chat}");
        {
            let inner = lock(&stand.inner);
            assert_eq!(inner.started, Some(json!("/")));
            assert!(inner.resumed);
            assert_eq!(inner.name, "t");
        }
        let mut frames = caller.stream("/chats/c/events", None).await;
        assert_eq!(next(&mut frames).await["state"], "idle");
        let hi = json!({"text": "hi", "id": "m1"});
        let (status, sent) = caller.call("POST", "/chats/c/messages", hi.clone()).await;
        assert_eq!(
            (status, &sent["receipt"]),
            (200, &json!("accepted")),
            "{sent}"
        );
        // Again: known. Another one: goosed is busy.
        assert_eq!(caller.call("POST", "/chats/c/messages", hi).await.0, 200);
        let other = json!({"text": "more"});
        let (status, why) = caller.call("POST", "/chats/c/messages", other).await;
        assert_eq!(status, 409);
        assert!(said(&why).contains("already has"), "{why}");
        let waits = json!({"text": "hi", "id": "m1", "until": "answered"});
        let waiting = caller.call("POST", "/chats/c/messages", waits);
        let (answered, ()) = tokio::join!(waiting, async {
            // The listener above, and the one that waits.
            while stand.events.receiver_count() < 2 {
                tokio::task::yield_now().await;
            }
            stand.answer("hel", "lo");
        });
        assert_eq!((answered.0, &answered.1["answer"]), (200, &json!("hello")));
        for text in ["hel", "lo"] {
            assert_eq!(next(&mut frames).await["text"], text);
        }
        let whole = frames.next().await.unwrap();
        assert_eq!(whole.id.as_deref(), Some("9"));
        assert!(whole.data.contains("\"text\":\"hello\""), "{}", whole.data);
        assert_eq!(next(&mut frames).await["state"], "idle");
        let all = caller.get("/chats/c/messages").await.1;
        assert_eq!(all["messages"][0]["id"], "m1");
        assert_eq!(all["messages"][1]["text"], "hello");
        assert_eq!(all["messages"][1]["reply_to"], "m1");
        drop(caller.stream("/chats/c/events", Some("8")).await);
        assert_eq!(lock(&stand.inner).last_event.as_deref(), Some("8"));
    });
}

#[test]
fn what_is_under_way_is_cancelled() {
    run(async {
        let stand = Stand::new();
        let port = stand.serve().await;
        let under = gateway(&[("g", Dialect::Goosed, port)]).await;
        let caller = Caller::of(&under);
        caller.call("POST", "/chats", json!({"chat": "c"})).await;
        let (status, done) = caller.call("POST", "/chats/c/cancel", json!({})).await;
        assert_eq!((status, &done["interrupted"]), (200, &json!(false)));
        let hi = json!({"text": "hi"});
        assert_eq!(caller.call("POST", "/chats/c/messages", hi).await.0, 200);
        let (status, done) = caller.call("POST", "/chats/c/cancel", json!({})).await;
        assert_eq!(
            (status, &done["interrupted"]),
            (200, &json!(true)),
            "{done}"
        );
        assert!(lock(&stand.inner).active.is_empty());
    });
}

/// Calls and goes away before it is answered.
async fn gives_up(call: impl Future, until: impl Fn() -> bool) {
    let until = async {
        while !until() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = call => panic!("it was answered"),
        () = until => {}
    }
}

#[test]
fn a_chat_that_may_have_been_made_stays_on_its_node() {
    run(async {
        let stands = [Stand::new(), Stand::new()];
        let (a, b) = (stands[0].serve().await, stands[1].serve().await);
        let under = gateway(&[("a", Dialect::Goosed, a), ("b", Dialect::Goosed, b)]).await;
        let caller = Caller::of(&under);
        for stand in &stands {
            lock(&stand.inner).nameless = true;
        }
        let begin = json!({"chat": "c", "working_dir": "/tmp"});
        let (status, why) = caller.call("POST", "/chats", begin.clone()).await;
        assert_eq!(status, 504, "{why}");
        assert!(said(&why).contains("`c`"), "{why}");
        let pinned = caller.get("/chats/c").await;
        assert_eq!((pinned.0, &pinned.1["native"]), (200, &Value::Null));
        let at = usize::from(pinned.1["node"] == "b");
        assert_eq!(lock(&stands[at].inner).starts, 1);
        for stand in &stands {
            lock(&stand.inner).nameless = false;
        }
        let (status, chat) = caller.call("POST", "/chats", begin).await;
        assert_eq!((status, &chat["native"]), (200, &json!(ID)), "{chat}");
        assert_eq!(chat["node"], pinned.1["node"]);
        assert_eq!(lock(&stands[1 - at].inner).starts, 0);
        // It works where it was to.
        assert_eq!(lock(&stands[at].inner).started, Some(json!("/tmp")));
        assert!(lock(&stands[at].inner).resumed);
    });
}

#[test]
fn a_client_that_goes_away_loses_no_session() {
    run(async {
        let stand = Stand::new();
        let port = stand.serve().await;
        let under = gateway(&[("g", Dialect::Goosed, port)]).await;
        let caller = Caller::of(&under);
        let begun = |n| lock(&stand.inner).starts == n;
        // One that is placed now, and one that was placed from the command line.
        let node = crate::gateway::stand_in::node("g", Dialect::Goosed);
        let placed = under.gateway.pins(move |pins| pins.adopt("d", &node, None));
        let placed: crate::error::Result<_> = placed.await;
        placed.unwrap();
        for (n, chat) in [(1, "c"), (2, "d")] {
            let closed = stand.gate.write().await;
            match chat {
                "c" => {
                    gives_up(caller.call("POST", "/chats", json!({"chat": "c"})), || {
                        begun(n)
                    })
                    .await
                }
                _ => gives_up(caller.get("/chats/d/messages"), || begun(n)).await,
            }
            drop(closed);
            while caller.get(&format!("/chats/{chat}")).await.1["native"] != ID {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(caller.get(&format!("/chats/{chat}/messages")).await.0, 200);
            assert_eq!(lock(&stand.inner).starts, n);
        }
    });
}

#[test]
fn a_session_that_cannot_be_loaded_is_kept_and_loaded_later() {
    run(async {
        let stand = Stand::new();
        lock(&stand.inner).unready = true;
        let port = stand.serve().await;
        let under = gateway(&[("g", Dialect::Goosed, port)]).await;
        let caller = Caller::of(&under);
        let (status, chat) = caller.call("POST", "/chats", json!({"chat": "c"})).await;
        assert_eq!((status, &chat["native"]), (201, &json!(ID)), "{chat}");
        let hi = json!({"text": "hi", "id": "m1"});
        for _ in 0..2 {
            let (status, why) = caller.call("POST", "/chats/c/messages", hi.clone()).await;
            assert_eq!(status, 502, "{why}");
        }
        lock(&stand.inner).unready = false;
        assert_eq!(caller.call("POST", "/chats/c/messages", hi).await.0, 200);
        let inner = lock(&stand.inner);
        assert_eq!((inner.starts, inner.replies, inner.resumed), (1, 1, true));
    });
}

#[test]
fn a_chat_of_an_earlier_gateway_or_process_is_loaded_before_its_first_message() {
    run(async {
        let stand = Stand::new();
        let port = stand.serve().await;
        let under = gateway(&[("g", Dialect::Goosed, port)]).await;
        let caller = Caller::of(&under);
        let node = crate::gateway::stand_in::node("g", Dialect::Goosed);
        let placed = under
            .gateway
            .pins(move |pins| pins.adopt("c", &node, Some(ID)));
        let placed: crate::error::Result<_> = placed.await;
        placed.unwrap();
        let hi = json!({"text": "hi"});
        assert_eq!(caller.call("POST", "/chats/c/messages", hi).await.0, 200);
        // Once.
        assert!(std::mem::take(&mut lock(&stand.inner).resumed));
        stand.answer("hel", "lo");
        let more = json!({"text": "more"});
        assert_eq!(caller.call("POST", "/chats/c/messages", more).await.0, 200);
        assert!(!lock(&stand.inner).resumed);
    });
}

#[test]
fn a_node_that_hangs_is_given_up() {
    run(async {
        let stand = Stand::new();
        let port = stand.serve().await;
        let under = gateway(&[("g", Dialect::Goosed, port)]).await;
        let caller = Caller::of(&under);
        caller.call("POST", "/chats", json!({"chat": "c"})).await;
        let live = under.gateway.nodes.get("g").unwrap();
        let waits = json!({"text": "hi", "id": "m1", "until": "answered", "timeout_secs": 60});
        for cut in [&live.streams, &under.gateway.stopping] {
            let waiting = caller.call("POST", "/chats/c/messages", waits.clone());
            tokio::pin!(waiting);
            let (status, sent) = loop {
                tokio::select! {
                    answered = &mut waiting => break answered,
                    () = tokio::time::sleep(Duration::from_millis(50)) => {
                        if lock(&stand.inner).replies > 0 && stand.events.receiver_count() > 0 {
                            cut.cut();
                        }
                    }
                }
            };
            assert_eq!((status, &sent["retry"]), (504, &json!(true)), "{sent}");
        }
        assert_eq!(lock(&stand.inner).replies, 1);
        let _closed = stand.gate.write().await;
        let waiting = caller.call("POST", "/chats", json!({"chat": "d"}));
        tokio::pin!(waiting);
        let (status, why) = loop {
            tokio::select! {
                answered = &mut waiting => break answered,
                () = tokio::time::sleep(Duration::from_millis(50)) => {
                    if lock(&stand.inner).starts == 2 {
                        live.streams.cut();
                    }
                }
            }
        };
        assert_eq!(status, 504, "{why}");
        assert!(said(&why).contains("hangs"), "{why}");
    });
}

#[test]
fn a_message_is_handed_over_once_though_its_client_goes_away() {
    run(async {
        let stand = Stand::new();
        lock(&stand.inner).forgets_ids = true;
        let port = stand.serve().await;
        let under = gateway(&[("g", Dialect::Goosed, port)]).await;
        let caller = Caller::of(&under);
        caller.call("POST", "/chats", json!({"chat": "c"})).await;
        let say =
            |id: &str| caller.call("POST", "/chats/c/messages", json!({"text": "hi", "id": id}));
        let closed = stand.gate.write().await;
        gives_up(say("m1"), || lock(&stand.inner).replies == 1).await;
        drop(closed);
        assert_eq!(say("m1").await.0, 200);
        assert_eq!(lock(&stand.inner).replies, 1);
        // What was refused was not said.
        for (refused, status) in [(400, 409), (422, 422)] {
            lock(&stand.inner).refuses = Some(refused);
            assert_eq!(say("m2").await.0, status);
        }
        lock(&stand.inner).refuses = None;
        assert_eq!(say("m2").await.0, 200);
        assert_eq!(lock(&stand.inner).replies, 2);
    });
}

#[test]
fn a_session_is_begun_only_where_it_can_work() {
    run(async {
        let stand = Stand::new();
        let port = stand.serve().await;
        let under = gateway(&[("g", Dialect::Goosed, port)]).await;
        let caller = Caller::of(&under);
        under.gateway.set_policy(Policy {
            working_dir: Some("/no/such/directory".into()),
            ..policy()
        });
        let (status, why) = caller.call("POST", "/chats", json!({"chat": "c"})).await;
        // The client named none.
        assert_eq!(status, 503, "{why}");
        assert!(said(&why).contains("does not exist"), "{why}");
        assert_eq!(lock(&stand.inner).starts, 0);
        // What it names itself is taken instead.
        let there = json!({"chat": "c", "working_dir": "/tmp"});
        assert_eq!(caller.call("POST", "/chats", there).await.0, 201);
    });
}

#[test]
fn a_node_whose_own_directory_is_gone_leaves_the_chat_to_another() {
    run(async {
        let stands = [Stand::new(), Stand::new()];
        let ports = [stands[0].serve().await, stands[1].serve().await];
        let nodes = [
            ("g", Dialect::Goosed, ports[0]),
            ("h", Dialect::Goosed, ports[1]),
        ];
        let under = gateway(&nodes).await;
        let known = |g: &'static str, h: &'static str| {
            let directory = |id: &str| if id == "g" { g } else { h };
            crate::gateway::stand_in::know(&under.gateway, &nodes, directory);
        };
        let caller = Caller::of(&under);
        known("/no/such/directory", "/");
        for chat in ["c1", "c2"] {
            let (status, chat) = caller.call("POST", "/chats", json!({"chat": chat})).await;
            assert_eq!((status, &chat["node"]), (201, &json!("h")), "{chat}");
        }
        known("/no/such/directory", "/nor/this");
        let (status, why) = caller.call("POST", "/chats", json!({"chat": "c3"})).await;
        assert_eq!(status, 503, "{why}");
        assert!(
            said(&why).contains("/no/such/directory") && said(&why).contains("/nor/this"),
            "{why}"
        );
        // The nodes are as well as before: a chat that says where it works is taken.
        let there = json!({"chat": "c3", "working_dir": "/tmp", "selector": "g"});
        assert_eq!(caller.call("POST", "/chats", there).await.0, 201);
        let before = lock(&stands[0].inner).starts + lock(&stands[1].inner).starts;
        assert_eq!(before, 3);
    });
}

#[test]
fn a_long_conversation_takes_room_while_it_is_read_and_until_its_client_has_it() {
    run(async {
        let stand = Stand::new();
        let port = stand.serve().await;
        let limits = Limits {
            answers: 16 * 1024 * 1024,
            looks: 20 * 1024 * 1024,
            ..Limits::default()
        };
        let under = within(&[("g", Dialect::Goosed, port)], limits).await;
        let caller = Caller::of(&under);
        let begin = json!({"chat": "c", "working_dir": "/tmp"});
        assert_eq!(caller.call("POST", "/chats", begin).await.0, 201);
        let talk = |mib: usize| {
            let text = "x".repeat(mib << 20);
            let content = json!([{"type": "text", "text": text}]);
            let message =
                json!({"id": "m1", "role": "assistant", "created": 1, "content": content});
            lock(&stand.inner).conversation = vec![message];
        };
        talk(10);
        let path = "/chats/c/messages";
        let unread = caller.send("GET", path, &[], Vec::new()).await;
        assert_eq!(unread.status(), 200);
        let (looks, answers) = (&under.gateway.looks, &under.gateway.answers);
        assert_eq!(looks.left(), 20 * 1024);
        assert!(answers.left() < 7 * 1024, "{}", answers.left());
        // Who is slow keeps others from long answers, and the gateway from nothing.
        let (status, why) = caller.get(path).await;
        assert_eq!(status, 503, "{why}");
        assert!(said(&why).contains("try again"), "{why}");
        let say = json!({"text": "hello", "until": "accepted"});
        let (status, sent) = caller.call("POST", path, say).await;
        assert_eq!(
            (status, &sent["receipt"]),
            (200, &json!("accepted")),
            "{sent}"
        );
        drop(unread);
        while answers.left() < 16 * 1024 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (status, all) = caller.get(path).await;
        let text = all["messages"][0]["text"].as_str().unwrap_or_default();
        assert_eq!((status, text.len()), (200, 10 << 20));
        // What is too long for the gateway itself.
        talk(21);
        let (status, why) = caller.get(path).await;
        assert_eq!(status, 503, "{why}");
        assert!(said(&why).contains("no room"), "{why}");
        assert_eq!(looks.left(), 20 * 1024);
    });
}
