//! A request about a chat: to the node in the chat's name, and to no other, whatever that one does.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Request, Response as HttpResponse, StatusCode, Uri, header};
use axum::response::Response;

use super::answer::{self, back};
use super::ask::{ask, ready};
use super::json;
use super::key::{self, Key, Missing, Native};
use super::table::{Route, Where};
use super::{awake, process};
use crate::gateway::aside::{LARGE, aside};
use crate::gateway::nodes::Live;
use crate::gateway::pieces;
use crate::gateway::reply::Reply;
use crate::gateway::upstream::NodeBody;
use crate::gateway::whole::done;
use crate::gateway::{Gateway, access, ids};
use crate::routing::node::Dialect;

/// What takes a chat away. The node gives its name to another one, so it must not stay pinned.
const DELETE: (&str, &str) = ("DELETE", "/sessions/{session}");

/// What makes one out of another.
const FORK: (&str, &str) = ("POST", "/sessions/{session}/fork");

/// Whether something is to be written down once the node has answered, whether or not its client is there
/// still.
pub fn changes_pins(route: &Route) -> bool {
    [DELETE, FORK].contains(&(route.method, route.path))
}

/// Serves it.
///
/// # Errors
/// The client's answer.
pub async fn serve(
    gateway: &Gateway,
    route: &'static Route,
    place: Where,
    mut parts: Parts,
    body: Bytes,
) -> Result<Response, Reply> {
    let native = named(route, place, &parts.uri, &body)
        .await
        .map_err(missing)?;
    let key = native.key;
    let live = node_of(gateway, &key).await?;
    access::chat(&key.chat);
    ready(gateway, &live, &key.chat).await?;
    let process = match route.agent || awake::tells(route) {
        true => process::name(&live).await,
        false => None,
    };
    let (process, awake) = (process.as_deref(), &gateway.goosed.awake);
    if route.agent && process.is_some() {
        // It is long, and seldom has anything to do. What a node says against it, it will say of the request
        // too, and better.
        let woken = awake.wake(gateway, &live, process, &key.native, &key.chat);
        Box::pin(woken).await?;
    }
    let headers = std::mem::take(&mut parts.headers);
    let request = with_headers(&parts.method, headers, &native.target, native.body)?;
    let using = gateway.using(&key.chat);
    let answer = ask(gateway, &live, request, route.wait)
        .await
        .map_err(|failure| Reply::failed(&live.node.id, &key.chat, &failure))?;
    let status = answer.status();
    awake.told(route, &body, &live, process, &key.native, status);
    match (route.method, route.path) {
        DELETE => released(gateway, &key, status).await,
        FORK => {
            return forked(gateway, route, &live, &key, answer).await;
        }
        _ => {}
    }
    let answer = back(gateway, &live, &key.chat, answer, route).await?;
    Ok(using.until_the_end_of(answer))
}

/// Which chat it is about. A body may hold a picture of megabytes.
async fn named(
    route: &'static Route,
    place: Where,
    uri: &Uri,
    body: &Bytes,
) -> Result<Native, Missing> {
    if body.len() <= LARGE {
        return key::native(route, place, uri.path(), uri.query(), body);
    }
    let (length, uri, body) = (body.len(), uri.clone(), body.clone());
    let find = move || key::native(route, place, uri.path(), uri.query(), &body);
    aside(length, find).await
}

/// What a client is told that names no chat, or none of ours.
pub fn missing(why: Missing) -> Reply {
    match why {
        Missing::Nothing(place) => Reply::bad(format!("the request names no chat {place}")),
        Missing::NoJson(why) => Reply::bad(format!("the body is no JSON: {why}")),
        Missing::Unknown(name) => Reply::missing(format!(
            "no chat `{name}`: the gateway's chats are called NODE.SESSION, as it names them itself"
        )),
        Missing::Two(one, other) => Reply::bad(format!(
            "the request names two chats, `{one}` and `{other}`"
        )),
    }
}

/// The node in a chat's name.
///
/// # Errors
/// 503: the chat is pinned, and its node is no more in the fleet, or is no goosed any more. 404: nobody made
/// such a chat.
async fn node_of(gateway: &Gateway, key: &Key) -> Result<Arc<Live>, Reply> {
    let (why, none) = match gateway.nodes.get(&key.node) {
        Some(live) if live.node.dialect == Dialect::Goosed => return Ok(live),
        Some(live) => {
            let now = live.node.dialect.as_str();
            let why = format!("it does not speak goosed's REST any more, but {now}");
            let none = format!(
                "the node `{}` does not speak goosed's REST, but {now}",
                key.node
            );
            (why, none)
        }
        None => {
            let why = "it is not in the fleet at the moment".to_owned();
            (why, format!("there is no node `{}`", key.node))
        }
    };
    let pin = gateway.pin(&key.chat).await?;
    Err(match pin.filter(|pin| pin.dialect == Dialect::Goosed) {
        // A client that is told 404 forgets its chat.
        Some(_) => Reply::down(&key.node, &key.chat, &why),
        None => Reply::missing(format!("no chat `{}`: {none}", key.chat)),
    })
}

/// The request as the node gets it. Its length is that of the new body.
///
/// # Errors
/// 400: it cannot be written.
pub fn request(
    parts: &Parts,
    target: &str,
    body: Vec<Bytes>,
) -> Result<Request<axum::body::Body>, Reply> {
    with_headers(&parts.method, parts.headers.clone(), target, body)
}

fn with_headers(
    method: &Method,
    mut headers: HeaderMap,
    target: &str,
    body: Vec<Bytes>,
) -> Result<Request<axum::body::Body>, Reply> {
    let length: usize = body.iter().map(Bytes::len).sum();
    headers.remove(header::EXPECT);
    // A client that said nothing of a length has no body.
    if length > 0 || headers.contains_key(header::CONTENT_LENGTH) {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    let mut request = Request::builder()
        .method(method.clone())
        .uri(target)
        .body(pieces::body_of(body))
        .map_err(|e| Reply::bad(format!("a bad request line: {e}")))?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// A chat that is gone, or was gone already, is pinned no longer: the node may give its name to another.
async fn released(gateway: &Gateway, key: &Key, status: StatusCode) {
    if !status.is_success() && status != StatusCode::NOT_FOUND {
        return;
    }
    let chat = key.chat.clone();
    let done: crate::error::Result<bool> = gateway.pins(move |pins| pins.release(&chat)).await;
    if let Err(e) = done {
        tracing::warn!("{e}");
    }
}

/// The new chat is on the node of the one it comes from.
async fn forked(
    gateway: &Gateway,
    route: &Route,
    live: &Arc<Live>,
    key: &Key,
    answer: HttpResponse<NodeBody>,
) -> Result<Response, Reply> {
    if !answer.status().is_success() || !answer::is_json(answer.headers()) {
        return back(gateway, live, &key.chat, answer, route).await;
    }
    let (mut parts, body) = answer.into_parts();
    answer::clean(&mut parts.headers);
    let body = done(gateway, live, &key.chat, body).await?;
    let names =
        json::text(&body.bytes).and_then(|text| json::fields(text, &["sessionId", "session_id"]));
    for (_, found) in names.unwrap_or_default() {
        let Some(native) = found.string() else {
            continue;
        };
        let Some(chat) = ids::join(&live.node.id, &native) else {
            continue;
        };
        let node = live.node.clone();
        let named = chat.clone();
        let written: crate::error::Result<_> = gateway
            .pins(move |pins| pins.adopt(&chat, &node, Some(&native)))
            .await;
        // Its node is in its name: it is found without a pin.
        if let Err(e) = written {
            tracing::warn!("the chat `{named}` was made and is not pinned: {e}");
        }
    }
    let (pieces, room) = answer::named_anew(body, &live.node.id, route.ids).await;
    Ok(answer::of_pieces(parts, pieces, room))
}
