//! A stand-in for an opencode server, as 1.18.33 was measured: one process with sessions in a store that
//! others may share, events of its own only, a directory that it works in, HTTP Basic on every route.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::{Notify, broadcast};

use crate::gateway::stand_in::secret_of;
use crate::host::basic_auth::basic;

/// Sessions as in a database, which servers of one account share.
pub type Store = Arc<Mutex<BTreeMap<String, Value>>>;

/// One server.
pub struct Opencode {
    pub id: &'static str,
    pub directory: &'static str,
    pub port: u16,
    pub inner: Arc<Inner>,
    runtime: Option<tokio::runtime::Runtime>,
}

pub struct Inner {
    id: &'static str,
    directory: &'static str,
    pub store: Store,
    /// `method path?query`, those of probes left out.
    pub seen: Mutex<Vec<String>>,
    /// Headers of the newest request.
    pub headers: Mutex<HeaderMap>,
    pub open: Mutex<BTreeMap<String, Value>>,
    pub busy: Mutex<BTreeMap<String, Value>>,
    terminals: Mutex<Vec<String>>,
    /// Directory and event.
    events: broadcast::Sender<(String, Value)>,
    pub listeners: AtomicU64,
    /// Accepts and never answers.
    pub hangs: AtomicBool,
    /// Answers later.
    pub away: AtomicBool,
    /// Answers nothing but 401.
    pub rejects: AtomicBool,
    /// Does not answer what it has done (made, deleted, set) for as long.
    pub slow: AtomicBool,
    /// Breaks off in the answer to a creation that it has done.
    pub breaks: AtomicBool,
    /// Settings that are being changed, that were, and those meanwhile.
    changing: AtomicU64,
    pub changed: AtomicU64,
    pub mixed: AtomicBool,
    /// Lets a prompt's answer go on.
    pub turn: Notify,
    counter: AtomicU64,
}

impl Opencode {
    /// Starts one.
    pub fn start(id: &'static str, directory: &'static str, store: &Store) -> Self {
        let inner = Arc::new(Inner {
            id,
            directory,
            store: Arc::clone(store),
            seen: Mutex::default(),
            headers: Mutex::default(),
            open: Mutex::default(),
            busy: Mutex::default(),
            terminals: Mutex::default(),
            events: broadcast::channel(4096).0,
            listeners: AtomicU64::new(0),
            hangs: AtomicBool::new(false),
            away: AtomicBool::new(false),
            rejects: AtomicBool::new(false),
            slow: AtomicBool::new(false),
            breaks: AtomicBool::new(false),
            changing: AtomicU64::new(0),
            changed: AtomicU64::new(0),
            mixed: AtomicBool::new(false),
            turn: Notify::new(),
            counter: AtomicU64::new(0),
        });
        let mut server = Self {
            id,
            directory,
            port: 0,
            inner,
            runtime: None,
        };
        server.run();
        server
    }

    /// Starts it (again), at its port.
    pub fn run(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        // What was killed lets go of its port a moment later.
        let begun = std::time::Instant::now();
        let listener = loop {
            match std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)) {
                Ok(listener) => break listener,
                Err(e) => assert!(begun.elapsed() < Duration::from_secs(5), "{e}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        listener.set_nonblocking(true).unwrap();
        self.port = listener.local_addr().unwrap().port();
        let router = router(&self.inner);
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
        self.runtime = Some(runtime);
    }

    /// Kills it, with every connection.
    pub fn kill(&mut self) {
        self.inner.listeners.store(0, Ordering::SeqCst);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub fn seen(&self, what: &str) -> usize {
        let seen = self.inner.seen.lock().unwrap();
        seen.iter().filter(|s| s.contains(what)).count()
    }
}

impl Drop for Opencode {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Inner {
    pub fn emit(&self, directory: &str, name: &str, properties: Value) {
        let n = self.counter.fetch_add(1, Ordering::SeqCst);
        let id = format!("evt_{}{n}", self.id);
        let event = json!({"id": id, "type": name, "properties": properties});
        let _ = self.events.send((directory.to_owned(), event));
    }

    pub fn make(&self, directory: &str, parent: Option<&str>) -> Value {
        let id = format!("ses_{}", uuid::Uuid::new_v4().simple());
        self.make_named(&id, directory, parent)
    }

    async fn slowly(&self) {
        while self.slow.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn make_named(&self, id: &str, directory: &str, parent: Option<&str>) -> Value {
        if let Some(known) = self.store.lock().unwrap().get(id) {
            return known.clone();
        }
        let n = self.counter.fetch_add(1, Ordering::SeqCst);
        let now = jiff::Timestamp::now().as_millisecond() + i64::try_from(n).unwrap();
        let mut session = json!({
            "id": id, "directory": directory, "title": format!("by {}", self.id),
            "time": {"created": now, "updated": now},
        });
        if let Some(parent) = parent {
            session["parentID"] = parent.into();
        }
        self.store
            .lock()
            .unwrap()
            .insert(id.to_owned(), session.clone());
        self.emit(
            directory,
            "session.created",
            json!({"sessionID": id, "info": session}),
        );
        session
    }

    /// A session asks to be allowed something.
    pub fn ask(&self, session: &str) -> String {
        let id = format!("per_{}", uuid::Uuid::new_v4().simple());
        let request = json!({"id": id, "sessionID": session});
        self.open
            .lock()
            .unwrap()
            .insert(id.clone(), request.clone());
        self.emit(self.directory, "permission.asked", request);
        id
    }
}

fn router(inner: &Arc<Inner>) -> Router {
    Router::new()
        .route(
            "/global/health",
            get(async || Json(json!({"healthy": true}))),
        )
        .route("/event", get(events))
        .route("/global/event", get(global_events))
        .route("/session", get(list).post(create))
        .route("/session/status", get(status))
        .route("/session/{id}", get(session).patch(session).delete(delete))
        .route("/session/{id}/message", post(message))
        .route("/session/{id}/prompt_async", post(prompt))
        .route("/session/{id}/fork", post(fork))
        .route("/session/{id}/{verb}", any(verb))
        .route("/permission", get(permissions))
        .route("/permission/{id}/reply", post(reply))
        .route("/pty", get(ptys).post(pty))
        .route("/pty/{id}/connect", get(connect))
        .fallback(other)
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(inner),
            guard,
        ))
        .with_state(Arc::clone(inner))
}

async fn guard(State(inner): State<Arc<Inner>>, request: Request, next: Next) -> Response {
    if inner.hangs.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    while inner.away.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let want = basic("opencode", &secret_of(inner.id));
    let given = request.headers().get(header::AUTHORIZATION);
    if inner.rejects.load(Ordering::SeqCst) || given.is_none_or(|g| g.as_bytes() != want.as_bytes())
    {
        return (StatusCode::UNAUTHORIZED, [("www-authenticate", "Basic")]).into_response();
    }
    if request.uri().path() != "/global/health" {
        let line = format!("{} {}", request.method(), request.uri());
        inner.seen.lock().unwrap().push(line);
        *inner.headers.lock().unwrap() = request.headers().clone();
    }
    next.run(request).await
}

fn directory(inner: &Inner, request: &HeaderMap, query: Option<&str>) -> String {
    let of_query = query
        .unwrap_or_default()
        .split('&')
        .find_map(|p| p.strip_prefix("directory="));
    let of_header = request
        .get("x-opencode-directory")
        .and_then(|v| v.to_str().ok());
    let named = of_query.or(of_header).unwrap_or(inner.directory);
    percent_encoding::percent_decode_str(named)
        .decode_utf8_lossy()
        .into_owned()
}

fn frame(value: &Value) -> Result<Bytes, Infallible> {
    Ok(Bytes::from(format!("data: {value}\n\n")))
}

struct Listener(Arc<Inner>);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.listeners.fetch_sub(1, Ordering::SeqCst);
    }
}

fn sse(
    inner: Arc<Inner>,
    first: Value,
    pick: impl Fn(String, Value) -> Option<Value> + Send + 'static,
) -> Response {
    let events = inner.events.subscribe();
    inner.listeners.fetch_add(1, Ordering::SeqCst);
    let listener = Listener(inner);
    let rest = stream::unfold(
        (events, pick, listener),
        |(mut events, pick, listener)| async {
            loop {
                let (directory, event) = events.recv().await.ok()?;
                if let Some(event) = pick(directory, event) {
                    return Some((frame(&event), (events, pick, listener)));
                }
            }
        },
    );
    let body = Body::from_stream(stream::iter([frame(&first)]).chain(rest));
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

async fn events(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let own = directory(&inner, request.headers(), request.uri().query());
    let first = json!({"id": "evt_0", "type": "server.connected", "properties": {}});
    sse(inner, first, move |directory, event| {
        (directory == own).then_some(event)
    })
}

async fn global_events(State(inner): State<Arc<Inner>>) -> Response {
    let first = json!({"payload": {"id": "evt_0", "type": "server.connected", "properties": {}}});
    sse(inner, first, |directory, event| {
        Some(json!({"directory": directory, "payload": event}))
    })
}

async fn create(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let own = directory(&inner, request.headers(), request.uri().query());
    let body = axum::body::to_bytes(request.into_body(), 1 << 20)
        .await
        .unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if body["title"] == 7 {
        return (StatusCode::BAD_REQUEST, Json(json!({"name": "BadRequest"}))).into_response();
    }
    let parent = body["parentID"].as_str();
    let session = match body["id"].as_str() {
        Some(id) => inner.make_named(id, &own, parent),
        None => inner.make(&own, parent),
    };
    inner.slowly().await;
    if inner.breaks.load(Ordering::SeqCst) {
        let broken = stream::iter([Ok(Bytes::from("{")), Err("broken")]);
        return Body::from_stream(broken).into_response();
    }
    if body["title"] == 8 {
        return Json(json!({})).into_response();
    }
    Json(session).into_response()
}

async fn list(State(inner): State<Arc<Inner>>) -> Json<Value> {
    let store = inner.store.lock().unwrap();
    Json(store.values().cloned().collect())
}

/// Those that are worked at in one directory.
async fn status(State(inner): State<Arc<Inner>>, request: Request) -> Json<Value> {
    let own = directory(&inner, request.headers(), request.uri().query());
    let busy = inner.busy.lock().unwrap().clone();
    let store = inner.store.lock().unwrap();
    let here = busy.into_iter().filter(|(id, _)| {
        let of = store.get(id).and_then(|s| s["directory"].as_str());
        of.is_none_or(|of| of == own)
    });
    Json(here.collect::<serde_json::Map<_, _>>().into())
}

fn known(inner: &Inner, id: &str) -> Result<Value, Response> {
    let found = inner.store.lock().unwrap().get(id).cloned();
    found.ok_or_else(|| {
        let why = json!({"name": "NotFoundError", "data": {"message": format!("Session not found: {id}")}});
        (StatusCode::NOT_FOUND, Json(why)).into_response()
    })
}

async fn session(State(inner): State<Arc<Inner>>, Path(id): Path<String>) -> Response {
    known(&inner, &id).map_or_else(|e| e, |s| Json(s).into_response())
}

async fn delete(State(inner): State<Arc<Inner>>, Path(id): Path<String>) -> Response {
    match known(&inner, &id) {
        Err(e) => e,
        Ok(_) => {
            inner.store.lock().unwrap().remove(&id);
            inner.slowly().await;
            Json(true).into_response()
        }
    }
}

/// As opencode does it: the head at once, the body when the turn is over.
async fn message(State(inner): State<Arc<Inner>>, Path(id): Path<String>, body: Bytes) -> Response {
    if let Err(e) = known(&inner, &id) {
        return e;
    }
    let body: Value = serde_json::from_slice(&body).unwrap();
    let text = body["parts"][0]["text"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let answer = format!(
        r#""parts":[{{"type":"text","text":"{}: {text}"}}]}}"#,
        inner.id
    );
    let waits = text.starts_with("wait");
    let rest = stream::once(async move {
        if waits {
            inner.turn.notified().await;
        }
        Ok(Bytes::from(answer))
    });
    let first = Ok::<_, Infallible>(Bytes::from(r#"{"info":{},"#));
    let body = Body::from_stream(stream::iter([first]).chain(rest));
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn prompt(State(inner): State<Arc<Inner>>, Path(id): Path<String>) -> Response {
    let session = match known(&inner, &id) {
        Err(e) => return e,
        Ok(session) => session,
    };
    let delta = json!({"sessionID": id, "field": "text", "delta": inner.id});
    inner.emit(
        session["directory"].as_str().unwrap(),
        "message.part.delta",
        delta,
    );
    StatusCode::NO_CONTENT.into_response()
}

async fn fork(State(inner): State<Arc<Inner>>, Path(id): Path<String>) -> Response {
    match known(&inner, &id) {
        Err(e) => e,
        Ok(session) => {
            let fork = inner.make(session["directory"].as_str().unwrap(), None);
            inner.slowly().await;
            Json(fork).into_response()
        }
    }
}

async fn verb(
    State(inner): State<Arc<Inner>>,
    Path((id, verb)): Path<(String, String)>,
    body: Body,
) -> Response {
    // All of it, as a server does that looks into it.
    axum::body::to_bytes(body, 1 << 26).await.unwrap();
    match known(&inner, &id) {
        Err(e) => e,
        // About the key of a provider.
        Ok(_) if verb == "keyless" => {
            let why = json!({"name": "ProviderAuthError"});
            (StatusCode::UNAUTHORIZED, Json(why)).into_response()
        }
        Ok(_) => Json(json!({"node": inner.id, "verb": verb})).into_response(),
    }
}

async fn permissions(State(inner): State<Arc<Inner>>) -> Json<Value> {
    Json(inner.open.lock().unwrap().values().cloned().collect())
}

async fn reply(State(inner): State<Arc<Inner>>, Path(id): Path<String>) -> Response {
    match inner.open.lock().unwrap().remove(&id) {
        Some(_) => Json(true).into_response(),
        None => (
            StatusCode::NOT_FOUND,
            Json(json!({"_tag": "PermissionNotFoundError"})),
        )
            .into_response(),
    }
}

async fn ptys(State(inner): State<Arc<Inner>>) -> Json<Value> {
    let all = inner.terminals.lock().unwrap();
    Json(all.iter().map(|id| json!({"id": id})).collect())
}

async fn pty(State(inner): State<Arc<Inner>>) -> Json<Value> {
    let id = format!("pty_{}", uuid::Uuid::new_v4().simple());
    inner.terminals.lock().unwrap().push(id.clone());
    Json(json!({"id": id}))
}

/// Says back what it hears.
async fn connect(request: Request) -> Response {
    tokio::spawn(async move {
        let both = hyper::upgrade::on(request).await.unwrap();
        let (mut from, mut to) = tokio::io::split(hyper_util::rt::TokioIo::new(both));
        let _ = tokio::io::copy(&mut from, &mut to).await;
    });
    let headers = [("connection", "upgrade"), ("upgrade", "websocket")];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

async fn other(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let slow = request.uri().path() == "/agent" && inner.id == "slow";
    if slow {
        tokio::time::sleep(Duration::from_secs(4)).await;
    }
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if body["bad"] == true {
        return (StatusCode::BAD_REQUEST, Json(json!({"name": "BadRequest"}))).into_response();
    }
    if head.method == axum::http::Method::PATCH {
        if inner.changing.fetch_add(1, Ordering::SeqCst) > 0 {
            inner.mixed.store(true, Ordering::SeqCst);
        }
        inner.slowly().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        inner.changing.fetch_sub(1, Ordering::SeqCst);
        inner.changed.fetch_add(1, Ordering::SeqCst);
    }
    let line = format!("{} {}", head.method, head.uri);
    Json(json!({"node": inner.id, "directory": inner.directory, "asked": line, "body": body}))
        .into_response()
}
