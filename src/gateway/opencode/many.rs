//! What concerns several nodes: lists of what all have, and settings that change all or none.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use futures_util::future::join_all;

use super::ask::{self, Answer};
use super::merge::{self, Part, Wanted};
use super::pass::{self, Asked};
use super::routes::List;
use super::scope;
use crate::gateway::Gateway;
use crate::gateway::aside::aside;
use crate::gateway::failure::Failure;
use crate::gateway::nodes::Live;
use crate::gateway::pieces;
use crate::gateway::reply::{Reply, lacks};
use crate::gateway::whole::{self, Room, Unread};

/// Where more of a list begins, in opencode's answers.
const CURSOR: HeaderName = HeaderName::from_static("x-next-cursor");

/// How long a change waits for the one before it.
const TURN: Duration = Duration::from_secs(30);

/// One list of what the nodes have. Nodes that do not answer are left out, and named in a header.
///
/// # Errors
/// 503: none answers.
pub async fn list(asked: Asked, list: List) -> Result<Response, Reply> {
    let (state, named, path) = (
        asked.state,
        asked.named,
        asked.request.uri().path().to_owned(),
    );
    let nodes = scope::of(&state.gateway, &named)?;
    let whole = named.whole(&path);
    let answers = nodes
        .iter()
        .map(|live| answer(&state.gateway, live, &whole));
    let answers = join_all(answers).await;
    let (mut parts, mut missing, mut refusal) = (Vec::new(), Vec::new(), None);
    let mut why = String::new();
    let (mut length, mut room) = (0, Room::default());
    for (live, answer) in nodes.iter().zip(answers) {
        // A list without a node that is well would be a wrong one.
        if let Ok(Err(Unread::NoRoom)) = answer {
            return Err(whole::unread(live, "", Unread::NoRoom));
        }
        match answer.and_then(|read| read.map_err(Failure::from)) {
            Ok(answer) if answer.head.status.is_success() => {
                let value = answer.json().await;
                let remembered = match &path {
                    path if path.contains("/pty") => Some(&state.terminals),
                    path if path.contains("/permission") || path.contains("/question") => {
                        Some(&state.asked)
                    }
                    _ => None,
                };
                if let Some(remembered) = remembered {
                    for id in merge::ids(&value) {
                        remembered.note(id, &live.node.id);
                    }
                }
                let more = answer.head.headers.contains_key(CURSOR);
                length += answer.body.bytes.len();
                room = room.and(answer.body.room);
                parts.push(Part { value, more });
            }
            Ok(answer) => {
                missing.push(live.node.id.as_str());
                refusal.get_or_insert_with(|| (Arc::clone(live), answer));
            }
            Err(e) => {
                missing.push(live.node.id.as_str());
                why = format!("{why}; `{}`: {e}", live.node.id);
            }
        }
    }
    if parts.is_empty() {
        // What every node that answers refuses is the client's mistake.
        return match refusal {
            Some((live, answer)) => Ok(pass::read_back(&state.gateway, &live, answer).await),
            None => Err(Reply::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("no node answers{why}"),
            )),
        };
    }
    let number = |key: &str| named.value(key).and_then(|v| v.parse().ok());
    let wanted = Wanted {
        limit: number("limit"),
        order: named.value("order"),
        cursor: named.value("cursor"),
    };
    let (bytes, cursor) = aside(length, move || {
        // Until they are one.
        let _room = room;
        let merged = merge::merge(list, parts, &wanted);
        (merged.value.to_string().into(), merged.cursor)
    })
    .await;
    let mut response = pieces::json(&state.gateway, bytes, "the list").await?;
    let headers = response.headers_mut();
    if let Some(cursor) = cursor {
        headers.insert(CURSOR, HeaderValue::from(cursor));
    }
    lacks(headers, &missing);
    Ok(response)
}

/// A node's part of a list. One that was found ill is not waited for, if it still is.
async fn answer(
    gateway: &Gateway,
    live: &Arc<Live>,
    path: &str,
) -> Result<Result<Answer, Unread>, Failure> {
    if let Err(e) = ask::there(gateway, live, "", &Method::GET).await {
        return Err(Failure::NotSent(e.message));
    }
    ask::read(gateway, live, ask::get(path)?).await
}

/// Changes every node or none: all have to be there before anything is sent.
///
/// # Errors
/// 503: one is not there, and nothing was changed. 502: some were changed and some were not, and which.
pub async fn every(asked: Asked) -> Result<Response, Reply> {
    let read = asked.read().await?;
    let gateway = &read.state.gateway;
    let writing = tokio::time::timeout(TURN, read.state.writing.lock());
    let _writing = writing.await.map_err(|_| {
        Reply::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "another change has been going to the nodes for {} s; nothing was changed",
                TURN.as_secs()
            ),
        )
    })?;
    let nodes = scope::to_read_from(scope::of(gateway, &read.named)?);
    scope::all_there(gateway, &nodes).await?;
    let mut requests = Vec::new();
    for live in &nodes {
        requests.push((live, read.request()?));
    }
    let sent = requests
        .into_iter()
        .map(|(live, request)| ask::whole(gateway, live, request));
    let mut first = None;
    let (mut done, mut failed, mut perhaps) = (Vec::new(), Vec::new(), Vec::new());
    for (live, answer) in nodes.iter().zip(join_all(sent).await) {
        let name = format!("`{}`", live.node.id);
        match answer {
            Ok(answer) if answer.head.status.is_success() => {
                done.push(name);
                first.get_or_insert((Arc::clone(live), answer));
            }
            Ok(answer) => {
                failed.push(format!("{name} answers {}", answer.head.status));
                first.get_or_insert((Arc::clone(live), answer));
            }
            Err(Failure::NotSent(e)) => failed.push(format!("{name}: {e}")),
            Err(Failure::NoAnswer(e)) => perhaps.push(format!("{name}: {e}")),
        }
    }
    match first {
        Some((live, answer)) if failed.is_empty() && perhaps.is_empty() => {
            Ok(pass::read_back(gateway, &live, answer).await)
        }
        // All say no: the client's mistake.
        Some((live, answer)) if failed.len() == nodes.len() => {
            Ok(pass::read_back(gateway, &live, answer).await)
        }
        _ => {
            let said = |names: Vec<String>| match names.is_empty() {
                true => "none".to_owned(),
                false => names.join(", "),
            };
            let (changed, not) = (said(done), said(failed));
            let perhaps = match perhaps.is_empty() {
                true => String::new(),
                false => format!("; perhaps changed {}", perhaps.join(", ")),
            };
            let what = match changed.as_str() {
                "none" => "no node is known to have taken it",
                _ => "the nodes differ now",
            };
            Err(Reply::new(
                StatusCode::BAD_GATEWAY,
                format!("{what}: changed {changed}; not changed {not}{perhaps}"),
            ))
        }
    }
}
