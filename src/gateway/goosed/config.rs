//! Writes of the configuration: all nodes have the new one or, as far as it can be put back, all have the
//! old one. A chat is placed on any of them, and must find the same provider everywhere.
//!
//! Before anything is written, every node is asked whether it is there: one that is down would come back
//! with the old configuration. The nodes are then written to in the order of their names. What the first
//! one refuses is refused, and nobody else is asked. When a later one fails, the earlier ones get their
//! old value again where it can be read; whatever comes of that is said node by node.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{Method, Request, Response as HttpResponse, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::future::join_all;
use serde_json::{Map, Value, json};

use super::answer::back;
use super::any::target;
use super::ask::{ask, not_ready};
use super::pinned::request;
use super::table::{Route, Undo, Wait};
use crate::gateway::failure::Failure;
use crate::gateway::nodes::Live;
use crate::gateway::reply::Reply;
use crate::gateway::upstream::NodeBody;
use crate::gateway::whole::done;
use crate::gateway::{Gateway, place};
use crate::routing::node::Dialect;

/// Serves it. Two at a time would leave some nodes with one's value and some with the other's: the caller
/// holds a lock.
///
/// # Errors
/// The client's answer.
pub async fn serve(
    gateway: &Gateway,
    route: &Route,
    undo: Undo,
    parts: Parts,
    body: Bytes,
) -> Result<Response, Reply> {
    let nodes = gateway.nodes.speaking(Dialect::Goosed);
    if nodes.is_empty() {
        return Err(Reply::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "there is no goosed node",
        ));
    }
    all_there(gateway, &nodes).await?;
    let keys = keys(undo, &body);
    let mut before = Vec::new();
    for live in &nodes {
        before.push(values(gateway, live, &keys).await.map_err(|why| {
            let why = format!("{why}; nothing was changed on any node");
            Reply::new(StatusCode::BAD_GATEWAY, why)
        })?);
    }
    let (mut first, mut absent) = (None, None);
    for (n, live) in nodes.iter().enumerate() {
        let request = request(&parts, target(&parts), vec![body.clone()])?;
        let wrong = match ask(gateway, live, request, route.wait).await {
            Ok(answer) if answer.status().is_success() => {
                if first.is_none() {
                    first = Some(back(gateway, live, "", answer, route).await?);
                }
                continue;
            }
            // What is not there is removed: so a removal that got half-way can be asked for again.
            Ok(answer) if removes(&parts) && answer.status() == StatusCode::NOT_FOUND => {
                if absent.is_none() {
                    absent = Some(back(gateway, live, "", answer, route).await?);
                }
                continue;
            }
            // It was never another one's turn: the refusal is about the request.
            Ok(answer) if n == 0 => return back(gateway, live, "", answer, route).await,
            Ok(answer) => Wrong::refused(gateway, live, answer).await,
            Err(failure) => Wrong::failed(live, &failure),
        };
        let mut told = Told::default();
        for (m, live) in nodes.iter().enumerate() {
            match () {
                () if m < n || (m == n && wrong.perhaps) => {
                    let put = put_back(gateway, live, before.get(m), keys.is_empty()).await;
                    told.changed(&live.node.id, m == n, put);
                }
                () if m > n => told.untouched.push(live.node.id.clone()),
                () => {}
            }
        }
        return Err(Reply::new(
            wrong.status,
            format!("{}{}", wrong.why, told.words()),
        ));
    }
    let answer = first.or(absent);
    Ok(answer.unwrap_or_else(|| StatusCode::OK.into_response()))
}

/// Whether a write takes something away.
fn removes(parts: &Parts) -> bool {
    parts.method == Method::DELETE || parts.uri.path() == "/config/remove"
}

/// Asks all nodes whether they are there.
async fn all_there(gateway: &Gateway, nodes: &[Arc<Live>]) -> Result<(), Reply> {
    let probes = nodes.iter().map(|live| place::probe(gateway, live));
    for (live, probed) in nodes.iter().zip(join_all(probes).await) {
        if let Err(health) = probed {
            let why = not_ready(live, "", &health).message;
            return Err(Reply::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!(
                    "{why}; a setting is written to all nodes or to none, and nothing was changed"
                ),
            ));
        }
    }
    Ok(())
}

/// The settings that are a provider, in the order in which they are written: the model is kept with its
/// provider.
pub const PROVIDER: [&str; 2] = ["GOOSE_PROVIDER", "GOOSE_MODEL"];

/// What went wrong on a node.
struct Wrong {
    status: StatusCode,
    why: String,
    /// It may have taken it all the same.
    perhaps: bool,
}

impl Wrong {
    async fn refused(gateway: &Gateway, live: &Live, answer: HttpResponse<NodeBody>) -> Self {
        let status = answer.status();
        let body = done(gateway, live, "", answer.into_body()).await;
        let body = body.map(|body| body.bytes).unwrap_or_default();
        let said = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        let said = said["message"].as_str().map(|m| format!(": {m}"));
        Self {
            status: StatusCode::BAD_GATEWAY,
            why: format!(
                "the node `{}` answered {status}{}",
                live.node.id,
                said.unwrap_or_default()
            ),
            perhaps: false,
        }
    }

    fn failed(live: &Live, failure: &Failure) -> Self {
        let reply = Reply::failed(&live.node.id, "", failure);
        Self {
            status: reply.status,
            why: reply.message,
            perhaps: matches!(failure, Failure::NoAnswer(_)),
        }
    }
}

/// What is told of the other nodes.
#[derive(Debug, Default)]
struct Told {
    back: Vec<String>,
    kept: Vec<String>,
    untouched: Vec<String>,
}

impl Told {
    fn changed(&mut self, id: &str, perhaps: bool, put: Result<(), String>) {
        match put {
            Ok(()) => self.back.push(id.to_owned()),
            // Of the one that gave no answer that was said already.
            Err(_) if perhaps => {}
            Err(why) => self.kept.push(format!("`{id}` ({why})")),
        }
    }

    fn words(&self) -> String {
        let names = |ids: &[String]| {
            let ids: Vec<String> = ids.iter().map(|id| format!("`{id}`")).collect();
            ids.join(", ")
        };
        let mut words = String::new();
        if !self.back.is_empty() {
            words += &format!("; put back to what it was on {}", names(&self.back));
        }
        if !self.kept.is_empty() {
            words += &format!("; changed, and not put back, on {}", self.kept.join(", "));
        }
        if !self.untouched.is_empty() {
            words += &format!("; not changed on {}", names(&self.untouched));
        }
        words
    }
}

/// The settings that a write changes, where they can be read and so put back.
fn keys(undo: Undo, body: &[u8]) -> Vec<String> {
    match undo {
        Undo::None => Vec::new(),
        Undo::Provider => PROVIDER.map(str::to_owned).into(),
        Undo::Key => {
            let asked = serde_json::from_slice::<Value>(body).unwrap_or_default();
            match (asked["key"].as_str(), asked["is_secret"].as_bool()) {
                (Some(key), Some(false)) => vec![key.to_owned()],
                _ => Vec::new(),
            }
        }
    }
}

/// A setting's key, and its value as the node wrote it.
pub type Setting = (String, Value);

/// Reads settings of a node.
///
/// # Errors
/// One cannot be read.
pub async fn values(
    gateway: &Gateway,
    live: &Arc<Live>,
    keys: &[String],
) -> Result<Vec<Setting>, String> {
    let mut values = Vec::new();
    for key in keys {
        let asked = json!({"key": key, "is_secret": false});
        let answer = setting(gateway, live, "/config/read", &asked).await?;
        let value = serde_json::from_slice(&answer)
            .map_err(|e| format!("`{}` answers no JSON: {e}", live.node.id))?;
        values.push((key.clone(), value));
    }
    Ok(values)
}

/// Gives a node its old values again.
///
/// # Errors
/// What they were is not known, or it does not take them.
async fn put_back(
    gateway: &Gateway,
    live: &Arc<Live>,
    before: Option<&Vec<Setting>>,
    unknown: bool,
) -> Result<(), String> {
    match before {
        Some(before) if !unknown => write(gateway, live, before).await,
        _ => Err("what it was cannot be read".to_owned()),
    }
}

/// Gives a node settings. One that is nothing is taken away.
///
/// # Errors
/// It does not take one; those before it are written.
pub async fn write(
    gateway: &Gateway,
    live: &Arc<Live>,
    settings: &[Setting],
) -> Result<(), String> {
    for (key, value) in settings {
        let (path, body) = match value {
            Value::Null => ("/config/remove", json!({"key": key, "is_secret": false})),
            value => (
                "/config/upsert",
                json!({"key": key, "value": value, "is_secret": false}),
            ),
        };
        setting(gateway, live, path, &body).await?;
    }
    Ok(())
}

/// A request of the gateway's own about a setting.
async fn setting(
    gateway: &Gateway,
    live: &Arc<Live>,
    path: &str,
    body: &Value,
) -> Result<Bytes, String> {
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .map_err(|e| e.to_string())?;
    answered(gateway, live, path, request).await
}

/// All settings that a node has written down; secrets are not among them.
///
/// # Errors
/// It does not tell them.
pub async fn all(gateway: &Gateway, live: &Arc<Live>) -> Result<Map<String, Value>, String> {
    let path = "/config";
    let request = Request::get(path)
        .body(Body::empty())
        .map_err(|e| e.to_string())?;
    let answer = answered(gateway, live, path, request).await?;
    let mut told: Value = serde_json::from_slice(&answer)
        .map_err(|e| format!("`{}` answers no JSON to `{path}`: {e}", live.node.id))?;
    match told["config"].take() {
        Value::Object(settings) => Ok(settings),
        _ => Err(format!("`{}` tells no settings", live.node.id)),
    }
}

async fn answered(
    gateway: &Gateway,
    live: &Arc<Live>,
    path: &str,
    request: Request<Body>,
) -> Result<Bytes, String> {
    let answer = ask(gateway, live, request, Wait::Answer)
        .await
        .map_err(|failure| format!("`{}`: {failure}", live.node.id))?;
    let status = answer.status();
    let body = done(gateway, live, "", answer.into_body())
        .await
        .map_err(|reply| reply.message)?;
    match status.is_success() {
        true => Ok(body.bytes),
        false => Err(format!("`{}` answered {status} to `{path}`", live.node.id)),
    }
}
