//! What the stand-in answers. Routes that only the gateway's table is interested in answer with what
//! they were asked.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::bus::{self, Bus};
use super::store::{Kept, Session};
use super::{Node, Seen, lock};

/// Every route of goosed 1.28 to 1.37: method and path, one a line.
pub const ALL: &str = include_str!("routes.txt");

type Stand = State<Arc<Node>>;

/// Without a secret, as the real one.
const OPEN: [&str; 5] = [
    "/status",
    "/features",
    "/mcp-ui-proxy",
    "/mcp-app-proxy",
    "/mcp-app-guest",
];

pub fn router(node: &Arc<Node>) -> Router {
    let limit = axum::extract::DefaultBodyLimit::max(50 * 1024 * 1024);
    Router::new()
        .route("/status", get(|| async { "ok" }))
        .route(
            "/features",
            get(|| async { Json(json!({"features": {"code-mode": true}})) }),
        )
        .route("/agent/start", post(start))
        .route("/agent/resume", post(resume))
        .route("/agent/restart", post(restart))
        .route("/agent/stop", post(stop))
        .route("/agent/tools", get(tools))
        .route("/sessions", get(list))
        .route("/sessions/insights", get(insights))
        .route("/sessions/search", get(search))
        .route("/sessions/import", post(import))
        .route("/sessions/{id}", get(session).delete(delete))
        .route("/sessions/{id}/export", get(export))
        .route("/sessions/{id}/name", put(rename))
        .route("/sessions/{id}/fork", post(fork))
        .route("/sessions/{id}/events", get(events))
        .route("/sessions/{id}/reply", post(reply))
        .route("/sessions/{id}/cancel", post(cancel))
        .route("/reply", post(legacy_reply))
        .route("/config", get(config))
        .route("/config/read", post(read))
        .route("/config/upsert", post(upsert))
        .route("/config/remove", post(remove))
        .route("/config/set_provider", post(set_provider))
        .route("/schedule/list", get(jobs))
        .route("/schedule/{id}/run_now", post(run_now))
        .route("/schedule/{id}/sessions", get(job_sessions))
        .route("/schedule/{id}/inspect", get(inspect))
        .fallback(echo)
        .layer(limit)
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(node),
            at_the_door,
        ))
        .with_state(Arc::clone(node))
}

/// Notes what comes, and does what the faults say.
async fn at_the_door(State(node): Stand, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let faults = node.faults();
    let body = match axum::body::to_bytes(body, 64 << 20).await {
        Ok(body) => body,
        Err(_) => return StatusCode::BAD_REQUEST.into_response(),
    };
    lock(&node.seen).push(Seen {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        headers: parts
            .headers
            .iter()
            .map(|(k, v)| {
                (
                    k.to_string(),
                    String::from_utf8_lossy(v.as_bytes()).into_owned(),
                )
            })
            .collect(),
        body: body.to_vec(),
    });
    let probed = super::PROBES.contains(&path.as_str());
    if faults.hang || (faults.hang_but_probes && !probed) {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(faults.slow).await;
    if let Some(status) = faults.fail.get(&path) {
        let status = StatusCode::from_u16(*status).unwrap();
        let message = format!("{} fails on demand", node.options.name);
        return (status, Json(json!({"message": message}))).into_response();
    }
    let secret = parts.headers.get("x-secret-key").map(|v| v.as_bytes());
    let known = secret == Some(node.options.secret.as_bytes()) && !faults.deaf;
    if !known && !OPEN.contains(&path.as_str()) {
        // With an empty body.
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let mut response = next.run(Request::from_parts(parts, Body::from(body))).await;
    // As the real one's does, whoever asks.
    response
        .headers_mut()
        .insert("access-control-allow-origin", "*".parse().unwrap());
    response
}

fn error(status: u16, message: impl Into<String>) -> Response {
    let message: String = message.into();
    let status = StatusCode::from_u16(status).unwrap();
    (status, Json(json!({"message": message}))).into_response()
}

fn no_session(id: &str) -> Response {
    error(404, format!("Session {id} not found"))
}

fn find(node: &Node, id: &str) -> Option<Session> {
    node.store.with(|kept| kept.sessions.get(id).cloned())
}

#[derive(Deserialize)]
struct Start {
    working_dir: String,
    #[serde(default)]
    recipe: Option<Value>,
}

/// A directory that is not there is taken.
async fn start(State(node): Stand, Json(asked): Json<Start>) -> Response {
    tokio::time::sleep(node.faults().slow_start).await;
    let session = node.store.with(|kept| {
        let id = kept.begin(&asked.working_dir).id;
        let session = kept.sessions.get_mut(&id).unwrap();
        session.recipe = asked.recipe;
        session.brief()
    });
    Json(session).into_response()
}

#[derive(Deserialize)]
struct Resume {
    session_id: String,
    load_model_and_extensions: bool,
}

async fn resume(State(node): Stand, Json(asked): Json<Resume>) -> Response {
    let id = asked.session_id;
    if find(&node, &id).is_none() {
        return error(404, "Failed to resume session: not found");
    }
    if !asked.load_model_and_extensions {
        return Json(json!({"session": find(&node, &id)})).into_response();
    }
    if !load(&node, &id) {
        return error(500, "Could not configure agent: missing provider");
    }
    Json(json!({"session": find(&node, &id), "extension_results": []})).into_response()
}

/// Gives a session its model; `false`: there is none.
fn load(node: &Node, id: &str) -> bool {
    let loaded = node.store.with(|kept| {
        let provider = setting(node, kept, "GOOSE_PROVIDER");
        let model = setting(node, kept, "GOOSE_MODEL");
        let session = kept.sessions.get_mut(id);
        let (Some(session), Some(provider)) = (session, provider.as_str()) else {
            return false;
        };
        session.provider_name = Some(provider.to_owned());
        session.model_config = Some(json!({"model_name": model}));
        true
    });
    if loaded {
        *lock(&node.agents).of(id) = true;
    }
    loaded
}

/// A setting: of the environment, else as configured.
fn setting(node: &Node, kept: &Kept, key: &str) -> Value {
    let environment = match key {
        "GOOSE_PROVIDER" => node.options.provider.as_str(),
        "GOOSE_MODEL" => node.options.model.as_str(),
        _ => "",
    };
    match environment {
        "" => kept.config.get(key).cloned().unwrap_or_default(),
        value => json!(value),
    }
}

#[derive(Deserialize)]
struct Named {
    session_id: String,
}

async fn restart(State(node): Stand, Json(asked): Json<Named>) -> Response {
    if find(&node, &asked.session_id).is_none() {
        return error(404, "Failed to get session: not found");
    }
    match load(&node, &asked.session_id) {
        true => Json(json!({"extension_results": []})).into_response(),
        false => error(500, "Could not configure agent: missing provider"),
    }
}

async fn stop(State(node): Stand, Json(asked): Json<Named>) -> Response {
    match lock(&node.agents).stop(&asked.session_id) {
        true => StatusCode::OK.into_response(),
        false => error(404, "Failed to stop agent for session"),
    }
}

async fn tools(State(node): Stand, Query(asked): Query<Named>) -> Response {
    match *lock(&node.agents).of(&asked.session_id) {
        true => Json(json!([{"name": "developer__shell"}])).into_response(),
        false => StatusCode::FAILED_DEPENDENCY.into_response(),
    }
}

/// All, the last changed first.
fn sorted(node: &Node) -> Vec<Session> {
    let mut all: Vec<Session> = node
        .store
        .with(|kept| kept.sessions.values().map(Session::brief).collect());
    let time = |s: &Session| s.updated_at.parse::<jiff::Timestamp>().unwrap_or_default();
    all.sort_by_key(|s| std::cmp::Reverse(time(s)));
    all
}

async fn list(State(node): Stand) -> Json<Value> {
    Json(json!({"sessions": sorted(&node)}))
}

async fn insights(State(node): Stand) -> Json<Value> {
    let all = sorted(&node);
    let tokens: i64 = all.iter().filter_map(|s| s.total_tokens).sum();
    Json(json!({"totalSessions": all.len(), "totalTokens": tokens}))
}

#[derive(Deserialize)]
struct Search {
    query: String,
    limit: Option<usize>,
}

async fn search(State(node): Stand, Query(asked): Query<Search>) -> Response {
    let words = asked.query.trim().to_lowercase();
    if words.is_empty() {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let found: Vec<Session> = node.store.with(|kept| {
        let all = kept.sessions.values();
        all.filter(|s| {
            let text = json!([s.name, s.conversation]).to_string().to_lowercase();
            text.contains(&words)
        })
        .map(Session::brief)
        .collect()
    });
    let mut found = found;
    found.sort_by(|a, b| b.updated_at.cmp(&a.updated_at));
    found.truncate(asked.limit.unwrap_or(10).min(50));
    Json(found).into_response()
}

#[derive(Deserialize)]
struct Import {
    json: String,
}

async fn import(State(node): Stand, Json(asked): Json<Import>) -> Response {
    let Ok(given) = serde_json::from_str::<Session>(&asked.json) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let session = node.store.with(|kept| {
        let id = kept.begin(&given.working_dir).id;
        let session = Session { id, ..given };
        kept.sessions.insert(session.id.clone(), session.clone());
        session
    });
    Json(session).into_response()
}

async fn session(State(node): Stand, Path(id): Path<String>) -> Response {
    match find(&node, &id) {
        Some(session) => Json(session).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn delete(State(node): Stand, Path(id): Path<String>) -> StatusCode {
    match node.store.with(|kept| kept.sessions.remove(&id)) {
        Some(_) => StatusCode::OK,
        None => StatusCode::NOT_FOUND,
    }
}

/// A string with JSON in it.
async fn export(State(node): Stand, Path(id): Path<String>) -> Response {
    match find(&node, &id) {
        Some(session) => Json(serde_json::to_string(&session).unwrap()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn rename(State(node): Stand, Path(id): Path<String>, Json(asked): Json<Value>) -> Response {
    let name = asked["name"].as_str().unwrap_or_default().trim().to_owned();
    if name.is_empty() || name.len() > 200 {
        return StatusCode::BAD_REQUEST.into_response();
    }
    node.store.with(|kept| {
        if let Some(session) = kept.sessions.get_mut(&id) {
            session.name = name;
            session.user_set_name = true;
        }
    });
    StatusCode::OK.into_response()
}

#[derive(Deserialize)]
struct Fork {
    timestamp: Option<i64>,
    truncate: bool,
    copy: bool,
}

async fn fork(State(node): Stand, Path(id): Path<String>, Json(asked): Json<Fork>) -> Response {
    if asked.truncate && asked.timestamp.is_none() {
        return error(400, "truncate=true requires a timestamp");
    }
    let Some(from) = find(&node, &id) else {
        return no_session(&id);
    };
    let id = match asked.copy {
        false => id,
        true => node.store.with(|kept| {
            let id = kept.begin(&from.working_dir).id;
            let copy = Session {
                id: id.clone(),
                ..from
            };
            kept.sessions.insert(id.clone(), copy);
            id
        }),
    };
    Json(json!({"sessionId": id})).into_response()
}

fn bus_of(node: &Node, id: &str) -> Arc<Bus> {
    Arc::clone(lock(&node.buses).entry(id.to_owned()).or_default())
}

async fn events(State(node): Stand, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if find(&node, &id).is_none() {
        return StatusCode::NOT_FOUND.into_response();
    }
    bus::stream(&node, &bus_of(&node, &id), &headers)
}

#[derive(Deserialize)]
struct Reply {
    request_id: String,
    user_message: Value,
}

async fn reply(State(node): Stand, Path(id): Path<String>, Json(asked): Json<Reply>) -> Response {
    if uuid::Uuid::parse_str(&asked.request_id).is_err() {
        return error(400, "request_id must be a valid UUID");
    }
    if find(&node, &id).is_none() {
        return no_session(&id);
    }
    let bus = bus_of(&node, &id);
    let Some(cancelled) = bus.begin(&asked.request_id) else {
        return error(
            400,
            "Session already has an active request. Cancel it first.",
        );
    };
    let request = asked.request_id.clone();
    tokio::spawn(async move {
        let (sender, mut events) = mpsc::channel(16);
        let said = speak(&node, &id, asked.user_message, sender, cancelled);
        tokio::join!(said, async {
            while let Some(event) = events.recv().await {
                match event {
                    Some(event) => bus.publish(&request, event),
                    None => bus.break_off(),
                }
            }
            bus.end(&request);
        });
    });
    Json(json!({"request_id": asked.request_id})).into_response()
}

async fn cancel(State(node): Stand, Path(id): Path<String>, Json(asked): Json<Value>) -> Response {
    let Some(bus) = lock(&node.buses).get(&id).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    bus.cancel(asked["request_id"].as_str().unwrap_or_default());
    StatusCode::OK.into_response()
}

#[derive(Deserialize)]
struct Legacy {
    session_id: String,
    user_message: Value,
}

/// Its own answer is the stream.
async fn legacy_reply(State(node): Stand, Json(asked): Json<Legacy>) -> Response {
    let (sender, mut events) = mpsc::channel(16);
    let (out, frames) = mpsc::channel(256);
    let (stop, cancelled) = tokio::sync::watch::channel(false);
    let speaker = Arc::clone(&node);
    tokio::spawn(async move {
        let said = speak(
            &speaker,
            &asked.session_id,
            asked.user_message,
            sender,
            cancelled,
        );
        tokio::join!(said, async {
            let mut ping = tokio::time::interval(bus::PING);
            loop {
                let event = tokio::select! {
                    _ = ping.tick() => Some(json!({"type": "Ping"})),
                    event = events.recv() => match event {
                        Some(event) => event,
                        None => return,
                    },
                };
                let frame = match event {
                    Some(event) => Ok(Bytes::from(format!("data: {event}\n\n"))),
                    None => Err(std::io::Error::other("broken on demand")),
                };
                if out.send(frame).await.is_err() {
                    let _ = stop.send(true);
                    return;
                }
            }
        });
    });
    bus::sse(&node, Vec::new(), Some(frames))
}

/// Says `NAME: TEXT`, a word at a time; `None` for a broken connection.
async fn speak(
    node: &Node,
    id: &str,
    message: Value,
    out: mpsc::Sender<Option<Value>>,
    mut cancelled: tokio::sync::watch::Receiver<bool>,
) {
    let tokens = json!({"inputTokens": 10, "outputTokens": 0, "totalTokens": 10});
    if !*lock(&node.agents).of(id) {
        let event = json!({"type": "Error", "error": "Provider not set"});
        let _ = out.send(Some(event)).await;
        return;
    }
    let text = message["content"][0]["text"].as_str().unwrap_or_default();
    let words = format!("{}: {text}", node.options.name);
    node.store.with(|kept| kept.add(id, message.clone()));
    let made = |text: &str| {
        json!({
            "id": format!("msg_{}", uuid::Uuid::new_v4()),
            "role": "assistant",
            "created": jiff::Timestamp::now().as_second(),
            "content": [{"type": "text", "text": text}],
            "metadata": {"userVisible": true, "agentVisible": true},
        })
    };
    let mut said = String::new();
    for (n, word) in words.split_inclusive(' ').enumerate() {
        let faults = node.faults();
        if faults.die_after == Some(n) {
            let _ = out.send(None).await;
            return;
        }
        said.push_str(word);
        let event = json!({"type": "Message", "message": made(word), "token_state": tokens});
        if out.send(Some(event)).await.is_err() {
            return;
        }
        let pause = tokio::time::sleep(faults.word_delay);
        tokio::select! {
            () = pause => {}
            _ = cancelled.wait_for(|over| *over) => break,
        }
    }
    node.store.with(|kept| kept.add(id, made(&said)));
    let event = json!({"type": "Finish", "reason": "stop", "token_state": tokens});
    let _ = out.send(Some(event)).await;
}

async fn config(State(node): Stand) -> Json<Value> {
    Json(node.store.with(|kept| json!({"config": kept.config})))
}

#[derive(Deserialize)]
struct Key {
    key: String,
    is_secret: bool,
}

async fn read(State(node): Stand, Json(asked): Json<Key>) -> Json<Value> {
    Json(node.store.with(|kept| match asked.is_secret {
        true => match kept.secrets.get(&asked.key) {
            Some(_) => json!({"maskedValue": "se****"}),
            None => Value::Null,
        },
        false => setting(&node, kept, &asked.key),
    }))
}

#[derive(Deserialize)]
struct Upsert {
    key: String,
    value: Value,
    is_secret: bool,
}

async fn upsert(State(node): Stand, Json(asked): Json<Upsert>) -> Json<String> {
    let said = format!("Upserted key {}", asked.key);
    node.store.with(|kept| {
        let map = match asked.is_secret {
            true => &mut kept.secrets,
            false => &mut kept.config,
        };
        map.insert(asked.key, asked.value);
    });
    Json(said)
}

async fn remove(State(node): Stand, Json(asked): Json<Key>) -> Json<String> {
    node.store.with(|kept| match asked.is_secret {
        true => kept.secrets.remove(&asked.key),
        false => kept.config.remove(&asked.key),
    });
    Json(format!("Removed key {}", asked.key))
}

#[derive(Deserialize)]
struct Provider {
    provider: String,
    model: String,
}

async fn set_provider(State(node): Stand, Json(asked): Json<Provider>) -> Response {
    if asked.provider == "unknown" {
        return error(400, "Failed to set provider to 'unknown'");
    }
    node.store.with(|kept| {
        kept.config
            .insert("GOOSE_PROVIDER".to_owned(), json!(asked.provider));
        kept.config
            .insert("GOOSE_MODEL".to_owned(), json!(asked.model));
    });
    StatusCode::OK.into_response()
}

/// One job, whose own id is no session's.
async fn jobs() -> Json<Value> {
    Json(json!({"jobs": [{
        "id": "nightly", "cron": "0 0 * * *", "current_session_id": "20260101_9",
    }]}))
}

async fn run_now(Path(id): Path<String>) -> Json<Value> {
    let session = match id.as_str() {
        "cancelled" => "CANCELLED",
        _ => "20260101_9",
    };
    Json(json!({"session_id": session}))
}

async fn job_sessions() -> Json<Value> {
    Json(json!([{"id": "20260101_9", "name": "nightly", "scheduleId": "nightly"}]))
}

async fn inspect() -> Json<Value> {
    Json(json!({"sessionId": "20260101_9", "processStartTime": null}))
}

/// Whether a path is of a pattern such as `/sessions/{id}/name`.
fn is_of(pattern: &str, path: &str) -> bool {
    let (mut want, mut got) = (pattern.split('/'), path.split('/'));
    loop {
        match (want.next(), got.next()) {
            (None, None) => return true,
            (Some(want), Some(got)) if want == got || want.starts_with('{') => {}
            _ => return false,
        }
    }
}

/// Whether goosed has such a route.
fn known(method: &str, path: &str) -> Result<(), StatusCode> {
    let mut status = StatusCode::NOT_FOUND;
    for (m, pattern) in ALL.lines().filter_map(|l| l.split_once(' ')) {
        if is_of(pattern, path) {
            if m == method {
                return Ok(());
            }
            status = StatusCode::METHOD_NOT_ALLOWED;
        }
    }
    Err(status)
}

/// A route of goosed that needs nothing here says what it was asked.
async fn echo(State(node): Stand, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if let Err(status) = known(parts.method.as_str(), parts.uri.path()) {
        return status.into_response();
    }
    let body = axum::body::to_bytes(body, 1 << 20)
        .await
        .unwrap_or_default();
    Json(json!({
        "node": node.options.name,
        "asked": format!("{} {}", parts.method, parts.uri),
        "body": serde_json::from_slice::<Value>(&body).unwrap_or_default(),
        // What is no session's in such an answer stays as it is.
        "id": "20260101_1",
        "sessionId": "20260101_1",
    }))
    .into_response()
}

/// How long tests wait for what must come at once.
pub const SOON: Duration = Duration::from_secs(5);
