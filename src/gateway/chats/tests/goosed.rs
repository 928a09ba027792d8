//! Chats on goosed, over a stand-in with the routes that they need (1.37).

use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::{Caller, next, run, said};
use crate::gateway::lock;
use crate::gateway::stand_in::{gateway, serve};
use crate::routing::node::Dialect;

const ID: &str = "20261121_1";

#[derive(Default)]
struct Inner {
    started: Option<Value>,
    resumed: bool,
    name: Value,
    conversation: Vec<Value>,
    active: Vec<String>,
    last_event: Option<String>,
}

struct Stand {
    inner: Mutex<Inner>,
    events: broadcast::Sender<(u64, Value)>,
}

type Here = State<Arc<Stand>>;

impl Stand {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::default(),
            events: broadcast::Sender::new(64),
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
    lock(&stand.inner).started = Some(body["working_dir"].clone());
    Json(json!({"id": ID, "conversation": []}))
}

async fn resume(State(stand): Here, Json(body): Json<Value>) -> StatusCode {
    assert_eq!(body["load_model_and_extensions"], true);
    assert_eq!(body["session_id"], ID);
    lock(&stand.inner).resumed = true;
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
    let mut inner = lock(&stand.inner);
    if !inner.active.is_empty() {
        let why = json!({"message": "Session already has an active request"});
        return (StatusCode::BAD_REQUEST, Json(why));
    }
    let request = body["request_id"].as_str().unwrap().to_owned();
    assert!(uuid::Uuid::parse_str(&request).is_ok());
    inner.conversation.push(body["user_message"].clone());
    inner.active.push(request.clone());
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
