//! What every node has a part of: all are asked at once, and one answer is made of theirs. A node that
//! does not answer is left out, and named in a header: a list that fails as a whole would take the chats
//! of the nodes that are well away too.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::{Map, Number, Value};

use super::answer::{is_json, renamed};
use super::any::target;
use super::ask::{ask, ready};
use super::json::{self, Step};
use super::key::unescaped;
use super::pinned::request;
use super::table::{Merge, Route, SESSION};
use crate::gateway::Gateway;
use crate::gateway::aside::aside;
use crate::gateway::nodes::Live;
use crate::gateway::pieces::body_in;
use crate::gateway::reply::{Reply, lacks};
use crate::gateway::whole::{Room, Whole, read};
use crate::routing::node::Dialect;

/// What goosed gives at most of a search, and where no limit is named.
const FOUND_MOST: usize = 50;
const FOUND_USUALLY: usize = 10;

/// What one node said.
enum Said {
    /// JSON, and 2xx.
    Part(Whole),
    /// An error of its own.
    Refused(StatusCode, Option<HeaderValue>, Bytes),
    /// Nothing.
    Nothing(Reply),
    /// Too much for the moment.
    NoRoom(Reply),
}

/// Serves it.
///
/// # Errors
/// 503: no node answered.
pub async fn serve(
    gateway: &Gateway,
    route: &Route,
    merge: Merge,
    parts: Parts,
) -> Result<Response, Reply> {
    let nodes = gateway.nodes.speaking(Dialect::Goosed);
    let asked = nodes.iter().map(|live| one(gateway, live, route, &parts));
    let said = join_all(asked).await;
    let (mut got, mut missing, mut refusal) = (Vec::new(), Vec::new(), None);
    let (mut whys, mut room) = (Vec::new(), Room::default());
    for (live, said) in nodes.iter().zip(said) {
        match said {
            Said::Part(body) => {
                got.push((live.node.id.clone(), body.bytes));
                room = room.and(body.room);
                continue;
            }
            // A list without a node that is well would be a wrong one.
            Said::NoRoom(reply) => return Err(reply),
            Said::Refused(status, kind, body) => refusal = refusal.or(Some((status, kind, body))),
            Said::Nothing(reply) => whys.push(reply.message),
        }
        missing.push(live.node.id.as_str());
    }
    if got.is_empty() {
        return match refusal {
            // What one says of the request itself, the others say too.
            Some((status, kind, body)) => {
                let mut response = (status, body).into_response();
                response.headers_mut().remove(header::CONTENT_TYPE);
                if let Some(kind) = kind {
                    response.headers_mut().insert(header::CONTENT_TYPE, kind);
                }
                Ok(response)
            }
            None if whys.is_empty() => Err(Reply::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "there is no goosed node",
            )),
            None => Err(Reply::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("no goosed node answers: {}", whys.join("; ")),
            )),
        };
    }
    let length = got.iter().map(|(_, body)| body.len()).sum();
    let most = limit(parts.uri.query());
    let (merged, room) = aside(length, move || (merged(merge, &got, most), room)).await;
    let length: usize = merged.iter().map(Bytes::len).sum();
    let mut response = body_in(merged, room).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    lacks(headers, &missing);
    Ok(response)
}

async fn one(gateway: &Gateway, live: &Arc<Live>, route: &Route, parts: &Parts) -> Said {
    let asked = async {
        ready(gateway, live, "").await?;
        let request = request(parts, target(parts), Vec::new())?;
        let answer = ask(gateway, live, request, route.wait)
            .await
            .map_err(|failure| Reply::failed(&live.node.id, "", &failure))?;
        let (parts, body) = answer.into_parts();
        let body = read(gateway, live, "", body).await;
        Ok::<_, Reply>((parts, body))
    };
    match asked.await {
        Ok((parts, Ok(body))) if parts.status.is_success() && is_json(&parts.headers) => {
            Said::Part(body)
        }
        Ok((parts, Ok(body))) => Said::Refused(
            parts.status,
            parts.headers.get(header::CONTENT_TYPE).cloned(),
            body.bytes,
        ),
        Ok((_, Err(reply))) if reply.status == StatusCode::SERVICE_UNAVAILABLE => {
            Said::NoRoom(reply)
        }
        Ok((_, Err(reply))) | Err(reply) => Said::Nothing(reply),
    }
}

/// One answer out of those of several nodes.
fn merged(merge: Merge, got: &[(String, Bytes)], most: usize) -> Vec<Bytes> {
    match merge {
        Merge::Sessions => {
            let all = list(got, &[Step::Key("sessions")], usize::MAX);
            within("{\"sessions\":[", all, "]}")
        }
        Merge::Found => within("[", list(got, &[], most), "]"),
        Merge::Sum => vec![sum(got).to_string().into()],
    }
}

/// The items of several nodes' lists, the last changed first, with the gateway's names in them: pieces of what
/// the nodes answered, which are not copied, for a list of all is as long as they are together.
pub fn list(got: &[(impl AsRef<str>, Bytes)], path: &[Step], most: usize) -> Vec<Bytes> {
    let mut all = Vec::new();
    for (node, body) in got {
        let Ok(text) = json::text(body) else { continue };
        for list in json::find(text, path).unwrap_or_default() {
            for item in json::items(list.text).unwrap_or_default() {
                all.push((changed(item.text), item.text, (node.as_ref(), body)));
            }
        }
    }
    // A stable sort: of those changed at the same time, the lower node's first.
    all.sort_by_key(|(changed, ..)| std::cmp::Reverse(*changed));
    let mut list = Vec::new();
    for (n, (_, item, (node, body))) in all.into_iter().take(most).enumerate() {
        if n > 0 {
            list.push(Bytes::from_static(b","));
        }
        let edits = renamed(item.as_bytes(), node, SESSION);
        list.extend(json::spliced(&body.slice_ref(item.as_bytes()), edits));
    }
    list
}

fn within(before: &'static str, mut pieces: Vec<Bytes>, after: &'static str) -> Vec<Bytes> {
    pieces.insert(0, Bytes::from_static(before.as_bytes()));
    pieces.push(Bytes::from_static(after.as_bytes()));
    pieces
}

/// When a session was changed last; the beginning of time where it does not say.
fn changed(session: &str) -> Timestamp {
    json::fields(session, &["updated_at"])
        .unwrap_or_default()
        .first()
        .and_then(|(_, found)| found.string()?.parse().ok())
        .unwrap_or(Timestamp::MIN)
}

/// How many are wanted of a search.
pub fn limit(query: Option<&str>) -> usize {
    let pairs = query.unwrap_or_default().split('&');
    pairs
        .filter_map(|pair| pair.split_once('='))
        .filter(|(key, _)| *key == "limit")
        .find_map(|(_, value)| unescaped(value, true)?.parse().ok())
        .map_or(FOUND_USUALLY, |n: usize| n.min(FOUND_MOST))
}

/// Adds numbers up, key by key; of anything else the first one's word counts.
pub fn sum(got: &[(impl AsRef<str>, Bytes)]) -> Value {
    let mut total = Map::new();
    for (_, body) in got {
        let Ok(Value::Object(part)) = serde_json::from_slice(body) else {
            continue;
        };
        for (key, value) in part {
            let before = total.get(&key);
            let now = match (before, &value) {
                (Some(Value::Number(a)), Value::Number(b)) => Value::from(added(a, b)),
                (Some(before), _) => before.clone(),
                (None, _) => value,
            };
            total.insert(key, now);
        }
    }
    Value::Object(total)
}

fn added(a: &Number, b: &Number) -> Number {
    let whole = a.as_i64().zip(b.as_i64());
    match whole.and_then(|(a, b)| a.checked_add(b)) {
        Some(sum) => sum.into(),
        None => {
            let sum = a.as_f64().unwrap_or_default() + b.as_f64().unwrap_or_default();
            Number::from_f64(sum).unwrap_or_else(|| a.clone())
        }
    }
}
