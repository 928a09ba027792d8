//! Chats on opencode, over a stand-in with its routes (1.18): what happens in a directory is told where that
//! directory is named, and its turns are known there only.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::{Caller, next, run, said};
use crate::gateway::lock;
use crate::gateway::nodes::Endpoint;
use crate::gateway::stand_in::{gateway, serve};
use crate::routing::node::Dialect;

pub struct Stand {
    sessions: Mutex<BTreeMap<String, Vec<Value>>>,
    pub busy: Mutex<Option<String>>,
    pub events: broadcast::Sender<Value>,
    /// Of the sessions, in their order.
    directories: Mutex<Vec<String>>,
    prompts: Mutex<usize>,
    /// What is answered as soon as something is said.
    at_once: Mutex<Option<String>>,
    /// What was asked, without what it was asked with.
    asked: Mutex<Vec<String>>,
}

/// Where the server itself works.
const OWN: &str = "/own";

type Here = State<Arc<Stand>>;
type Named = Query<BTreeMap<String, String>>;

fn place(named: &BTreeMap<String, String>) -> String {
    named
        .get("directory")
        .map_or(OWN, String::as_str)
        .to_owned()
}

impl Stand {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            sessions: Mutex::default(),
            busy: Mutex::default(),
            events: broadcast::Sender::new(64),
            directories: Mutex::default(),
            prompts: Mutex::default(),
            at_once: Mutex::default(),
            asked: Mutex::default(),
        })
    }

    /// Where a session is.
    fn directory(&self, session: &str) -> Option<String> {
        let n: usize = session.strip_prefix("ses_")?.parse().ok()?;
        lock(&self.directories).get(n - 1).cloned()
    }

    /// How often something was asked for.
    fn asked(&self, what: &str) -> usize {
        let asked = lock(&self.asked);
        asked.iter().filter(|a| *a == what).count()
    }

    pub fn tell(&self, kind: &str, properties: Value) {
        let _ = self
            .events
            .send(json!({"id": "evt_1", "type": kind, "properties": properties}));
    }

    /// Says something in the turn that the last message began, and ends it.
    pub fn answer(&self, text: &str) {
        let session = lock(&self.busy).take().unwrap();
        let mut sessions = lock(&self.sessions);
        let messages = sessions.get_mut(&session).unwrap();
        let parent = messages.last().unwrap()["info"]["id"].clone();
        let id = format!("msg_zz{}", messages.len());
        let part = |text: &str| {
            json!({"id": "prt_1", "messageID": id, "sessionID": session, "type": "text",
                "text": text})
        };
        let mut info = json!({"id": id, "sessionID": session, "role": "assistant",
            "parentID": parent, "time": {"created": 1_795_261_836_205_i64}});
        self.tell(
            "message.updated",
            json!({"sessionID": session, "info": info}),
        );
        let written = json!({"sessionID": session, "part": part("")});
        self.tell("message.part.updated", written);
        let delta = json!({"sessionID": session, "messageID": id, "partID": "prt_1",
            "field": "text", "delta": text});
        self.tell("message.part.delta", delta);
        info["time"]["completed"] = json!(1_795_261_836_300_i64);
        self.tell(
            "message.updated",
            json!({"sessionID": session, "info": info}),
        );
        messages.push(json!({"info": info, "parts": [part(text)]}));
        let idle = json!({"sessionID": session, "status": {"type": "idle"}});
        self.tell("session.status", idle);
    }

    pub async fn serve(self: &Arc<Self>) -> u16 {
        let router = Router::new()
            .route("/global/health", get(async || "{}"))
            .route("/session", post(create))
            .route("/session/status", get(status))
            .route("/session/{id}", get(session))
            .route("/session/{id}/message", get(messages))
            .route("/session/{id}/prompt_async", post(prompt))
            .route("/session/{id}/abort", post(abort))
            .route("/event", get(events))
            .with_state(Arc::clone(self));
        serve(router).await
    }
}

async fn create(State(stand): Here, Query(named): Named, Json(body): Json<Value>) -> Json<Value> {
    let mut sessions = lock(&stand.sessions);
    let id = format!("ses_{}", sessions.len() + 1);
    sessions.insert(id.clone(), Vec::new());
    let directory = place(&named);
    lock(&stand.directories).push(directory.clone());
    Json(json!({"id": id, "title": body["title"], "directory": directory}))
}

async fn session(State(stand): Here, Path(id): Path<String>) -> Result<Json<Value>, StatusCode> {
    let directory = stand.directory(&id).ok_or(StatusCode::NOT_FOUND)?;
    Ok(Json(json!({"id": id, "directory": directory})))
}

async fn status(State(stand): Here, Query(named): Named) -> Json<Value> {
    lock(&stand.asked).push("status".to_owned());
    let here = place(&named);
    let busy = lock(&stand.busy).clone();
    let all: serde_json::Map<String, Value> = busy
        .into_iter()
        .filter(|id| stand.directory(id).as_ref() == Some(&here))
        .map(|id| (id, json!({"type": "busy"})))
        .collect();
    Json(Value::Object(all))
}

async fn messages(State(stand): Here, Path(id): Path<String>) -> Result<Json<Value>, StatusCode> {
    lock(&stand.asked).push("messages".to_owned());
    let sessions = lock(&stand.sessions);
    let all = sessions.get(&id).ok_or(StatusCode::NOT_FOUND)?;
    Ok(Json(Value::Array(all.clone())))
}

async fn prompt(
    State(stand): Here,
    Path(id): Path<String>,
    Query(named): Named,
    Json(body): Json<Value>,
) -> StatusCode {
    assert_eq!(stand.directory(&id), Some(place(&named)));
    *lock(&stand.prompts) += 1;
    let info = json!({"id": body["messageID"], "sessionID": id, "role": "user",
        "time": {"created": 1_795_261_836_000_i64}});
    let mut sessions = lock(&stand.sessions);
    let Some(messages) = sessions.get_mut(&id) else {
        return StatusCode::NOT_FOUND;
    };
    messages.push(json!({"info": info, "parts": body["parts"]}));
    *lock(&stand.busy) = Some(id.clone());
    stand.tell("message.updated", json!({"sessionID": id, "info": info}));
    let mut part = body["parts"][0].clone();
    part["messageID"] = info["id"].clone();
    stand.tell(
        "message.part.updated",
        json!({"sessionID": id, "part": part}),
    );
    let busy = json!({"sessionID": id, "status": {"type": "busy"}});
    stand.tell("session.status", busy);
    drop(sessions);
    if let Some(text) = lock(&stand.at_once).take() {
        stand.answer(&text);
    }
    StatusCode::NO_CONTENT
}

async fn abort(State(stand): Here, Path(id): Path<String>, Query(named): Named) -> Json<bool> {
    assert_eq!(stand.directory(&id), Some(place(&named)));
    let mut busy = lock(&stand.busy);
    assert_eq!(busy.take(), Some(id));
    Json(true)
}

async fn events(
    State(stand): Here,
    Query(named): Named,
) -> Sse<impl futures_util::Stream<Item = Result<Event, std::convert::Infallible>>> {
    let receiver = stand.events.subscribe();
    Sse::new(futures_util::stream::unfold(
        (receiver, stand, place(&named)),
        |(mut receiver, stand, here)| async move {
            loop {
                let event = receiver.recv().await.ok()?;
                let session = event["properties"]["sessionID"].as_str();
                let of = session.and_then(|id| stand.directory(id));
                if of.is_none_or(|of| of == here) {
                    let event = Event::default().data(event.to_string());
                    return Some((Ok(event), (receiver, stand, here)));
                }
            }
        },
    ))
}

#[test]
fn a_chat_is_a_session_of_its_own_and_streams() {
    run(async {
        let stand = Stand::new();
        let port = stand.serve().await;
        let under = gateway(&[("o", Dialect::Opencode, port)]).await;
        let caller = Caller::of(&under);
        let begin = json!({"chat": "c", "working_dir": "/tmp", "title": "t"});
        let (status, chat) = caller.call("POST", "/chats", begin).await;
        assert_eq!((status, &chat["native"]), (201, &json!("ses_1")), "{chat}");
        assert_eq!(*lock(&stand.directories), ["/tmp"]);
        let mut frames = caller.stream("/chats/c/events", None).await;
        assert_eq!(next(&mut frames).await["state"], "idle");
        let (status, sent) = caller
            .call(
                "POST",
                "/chats/c/messages",
                json!({"text": "hi", "id": "m1"}),
            )
            .await;
        assert_eq!(
            (status, &sent["receipt"]),
            (200, &json!("accepted")),
            "{sent}"
        );
        assert_eq!(sent["node"], "o");
        let message = next(&mut frames).await;
        assert_eq!(
            (&message["text"], &message["id"]),
            (&json!("hi"), &json!("m1"))
        );
        assert_eq!(next(&mut frames).await["state"], "working");
        stand.answer("hello");
        let delta = next(&mut frames).await;
        assert_eq!(delta["text"], "hello");
        let whole = next(&mut frames).await;
        assert_eq!(
            (&whole["text"], &whole["role"]),
            (&json!("hello"), &json!("agent"))
        );
        assert_eq!(
            (&whole["id"], &whole["reply_to"]),
            (&delta["id"], &json!("m1"))
        );
        assert_eq!(next(&mut frames).await["state"], "idle");
        // Said again it is known, and its answer too.
        let again = json!({"text": "hi", "id": "m1", "until": "answered"});
        let (status, sent) = caller.call("POST", "/chats/c/messages", again).await;
        assert_eq!((status, &sent["answer"]), (200, &json!("hello")), "{sent}");
        assert_eq!(*lock(&stand.prompts), 1);
        let other = json!({"text": "other", "id": "m1"});
        assert_eq!(caller.call("POST", "/chats/c/messages", other).await.0, 409);
        let all = caller.get("/chats/c/messages").await.1;
        assert_eq!(all["messages"][0]["id"], "m1");
        assert_eq!(all["messages"][1]["reply_to"], "m1");
        assert_eq!(all["messages"][1]["text"], "hello");
        // Whoever comes in the midst of a turn knows what its answer refers to.
        let more = json!({"text": "more", "id": "m2"});
        assert_eq!(caller.call("POST", "/chats/c/messages", more).await.0, 200);
        let mut late = caller.stream("/chats/c/events", None).await;
        for _ in ["state", "hi", "hello", "more"] {
            next(&mut late).await;
        }
        stand.answer("and more");
        assert_eq!(next(&mut late).await["text"], "and more");
        assert_eq!(next(&mut late).await["reply_to"], "m2");
    });
}

#[test]
fn a_turn_that_does_not_end_is_told_and_can_be_broken_off() {
    run(async {
        let stand = Stand::new();
        let port = stand.serve().await;
        let under = gateway(&[("o", Dialect::Opencode, port)]).await;
        let caller = Caller::of(&under);
        caller.call("POST", "/chats", json!({"chat": "c"})).await;
        caller.call("POST", "/chats", json!({"chat": "d"})).await;
        let ask = json!({"text": "hi", "until": "answered", "timeout_secs": 1});
        let (status, sent) = caller.call("POST", "/chats/c/messages", ask).await;
        assert_eq!(
            (status, &sent["receipt"]),
            (504, &json!("accepted")),
            "{sent}"
        );
        assert_eq!(sent["retry"], true);
        // The other chat is not at work.
        let (status, done) = caller.call("POST", "/chats/d/cancel", json!({})).await;
        assert_eq!((status, &done["interrupted"]), (200, &json!(false)));
        let (status, done) = caller.call("POST", "/chats/c/cancel", json!({})).await;
        assert_eq!(
            (status, &done["interrupted"]),
            (200, &json!(true)),
            "{done}"
        );
        assert_eq!(*lock(&stand.busy), None);
    });
}

#[test]
fn a_chat_elsewhere_than_its_server_is_heard_and_broken_off() {
    run(async {
        let stand = Stand::new();
        let port = stand.serve().await;
        let under = gateway(&[("o", Dialect::Opencode, port)]).await;
        let caller = Caller::of(&under);
        let begin = json!({"chat": "c", "working_dir": "/usr/share"});
        assert_eq!(caller.call("POST", "/chats", begin).await.0, 201);
        let mut frames = caller.stream("/chats/c/events", None).await;
        assert_eq!(next(&mut frames).await["state"], "idle");
        let hi = json!({"text": "hi", "until": "answered", "timeout_secs": 1});
        let (status, sent) = caller.call("POST", "/chats/c/messages", hi).await;
        assert_eq!(status, 504, "{sent}");
        assert_eq!(next(&mut frames).await["text"], "hi");
        let mut late = caller.stream("/chats/c/events", None).await;
        assert_eq!(next(&mut late).await["state"], "working");
        let (status, done) = caller.call("POST", "/chats/c/cancel", json!({})).await;
        assert_eq!(
            (status, &done["interrupted"]),
            (200, &json!(true)),
            "{done}"
        );
    });
}

#[test]
fn a_step_of_a_turn_that_goes_on_elsewhere_is_no_answer() {
    run(async {
        let stand = Stand::new();
        let port = stand.serve().await;
        let under = gateway(&[("o", Dialect::Opencode, port)]).await;
        let caller = Caller::of(&under);
        let begin = json!({"chat": "c", "working_dir": "/usr/share"});
        assert_eq!(caller.call("POST", "/chats", begin).await.0, 201);
        let hi = json!({"text": "hi", "id": "m1"});
        assert_eq!(caller.call("POST", "/chats/c/messages", hi).await.0, 200);
        stand.answer("a step");
        *lock(&stand.busy) = Some("ses_1".to_owned());
        let hi = json!({"text": "hi", "id": "m1", "until": "answered", "timeout_secs": 1});
        let (status, sent) = caller.call("POST", "/chats/c/messages", hi).await;
        assert_eq!(status, 504, "{sent}");
        assert_eq!(sent["receipt"], "accepted");
    });
}

/// A long conversation is megabytes: it is read when there is something to be found in it.
#[test]
fn while_a_turn_lasts_only_its_end_is_looked_for() {
    run(async {
        let stand = Stand::new();
        let port = stand.serve().await;
        let under = gateway(&[("o", Dialect::Opencode, port)]).await;
        let caller = Caller::of(&under);
        caller.call("POST", "/chats", json!({"chat": "c"})).await;
        let hi = json!({"text": "hi", "until": "answered"});
        let turn = caller.call("POST", "/chats/c/messages", hi);
        let ((status, sent), ()) = tokio::join!(turn, async {
            while stand.asked("status") < 8 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            stand.answer("hello");
        });
        assert_eq!((status, &sent["answer"]), (200, &json!("hello")), "{sent}");
        // For its id, whether it is there, and for the answer.
        assert_eq!(stand.asked("messages"), 3);
    });
}

#[test]
fn a_turn_that_ended_before_anybody_looked_is_answered() {
    run(async {
        let stand = Stand::new();
        let port = stand.serve().await;
        let under = gateway(&[("o", Dialect::Opencode, port)]).await;
        let caller = Caller::of(&under);
        caller.call("POST", "/chats", json!({"chat": "c"})).await;
        *lock(&stand.at_once) = Some("hello".to_owned());
        let hi = json!({"text": "hi", "until": "answered"});
        let (status, sent) = caller.call("POST", "/chats/c/messages", hi).await;
        assert_eq!((status, &sent["answer"]), (200, &json!("hello")), "{sent}");
    });
}

/// A turn that broke off before its first step has no answer, ever.
#[test]
fn a_session_at_rest_without_an_answer_is_read_ever_more_rarely() {
    run(async {
        let stand = Stand::new();
        let port = stand.serve().await;
        let under = gateway(&[("o", Dialect::Opencode, port)]).await;
        let caller = Caller::of(&under);
        caller.call("POST", "/chats", json!({"chat": "c"})).await;
        let hi = json!({"text": "hi", "until": "answered", "timeout_secs": 3});
        let turn = caller.call("POST", "/chats/c/messages", hi);
        let ((status, sent), ()) = tokio::join!(turn, async {
            while lock(&stand.busy).take().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert_eq!(status, 504, "{sent}");
        assert!(stand.asked("messages") < 9, "{}", stand.asked("messages"));
    });
}

#[test]
fn a_chat_whose_node_is_gone_stays_there() {
    run(async {
        let stand = Stand::new();
        let port = stand.serve().await;
        let under = gateway(&[("o", Dialect::Opencode, port)]).await;
        let caller = Caller::of(&under);
        caller.call("POST", "/chats", json!({"chat": "c"})).await;
        let live = under.gateway.nodes.get("o").unwrap();
        let endpoint = Endpoint::new("o", Dialect::Opencode, 1, "s");
        under
            .gateway
            .nodes
            .set(vec![(live.node.clone(), Some(endpoint))]);
        let hi = json!({"text": "hi"});
        let (status, why) = caller.call("POST", "/chats/c/messages", hi).await;
        assert_eq!(status, 503);
        assert!(
            said(&why).contains("`o`") && said(&why).contains("`c`"),
            "{why}"
        );
        for path in ["/chats/c/messages", "/chats/c/events"] {
            assert_eq!(caller.get(path).await.0, 503, "{path}");
        }
        assert_eq!(caller.get("/chats/c").await.1["node"], "o");
    });
}
