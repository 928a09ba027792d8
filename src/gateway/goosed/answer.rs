//! A node's answer on its way to the client: streams pass as they come; where an answer holds names of
//! chats, the node's own are replaced by the gateway's.

use axum::body::Bytes;
use axum::http::response::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response as HttpResponse, header};
use axum::response::Response;

use super::json::{self, Edit};
use super::table::{Ids, Route};
use crate::gateway::aside::aside;
use crate::gateway::nodes::Live;
use crate::gateway::pieces;
use crate::gateway::reply::Reply;
use crate::gateway::upstream::NodeBody;
use crate::gateway::whole::{self, Room, Whole};
use crate::gateway::{Gateway, ids, stream, upstream};

/// What `/schedule/{id}/run_now` says in place of a name.
const NO_NAME: &str = "CANCELLED";

/// Passes an answer on, with the gateway's names of chats in it.
///
/// # Errors
/// One that must be read whole did not come whole.
pub async fn back(
    gateway: &Gateway,
    live: &Live,
    chat: &str,
    answer: HttpResponse<NodeBody>,
    route: &Route,
) -> Result<Response, Reply> {
    let named = !route.ids.is_empty() && answer.status().is_success();
    if !named || !is_json(answer.headers()) {
        return Ok(as_it_is(gateway, live, answer));
    }
    let (mut parts, body) = answer.into_parts();
    clean(&mut parts.headers);
    // What may be asked again whatever came of it, and what may not.
    let body = match (route.method, route.path) {
        ("GET", _) | (_, "/agent/resume") => whole::read(gateway, live, chat, body).await?,
        _ => whole::done(gateway, live, chat, body).await?,
    };
    let (pieces, room) = named_anew(body, &live.node.id, route.ids).await;
    Ok(of_pieces(parts, pieces, room))
}

/// Passes an answer on in which no chat is named.
pub fn as_it_is(gateway: &Gateway, live: &Live, answer: HttpResponse<NodeBody>) -> Response {
    let (mut parts, body) = answer.into_parts();
    clean(&mut parts.headers);
    let body = stream::passed_on(body, &[&gateway.stopping, &live.streams]);
    Response::from_parts(parts, body)
}

/// What an answer's headers say to the gateway only, and what only the gateway may say.
pub fn clean(headers: &mut HeaderMap) {
    upstream::clean(headers);
    let own = |name: &&HeaderName| {
        **name == header::SET_COOKIE
            || **name == header::VARY
            || name.as_str().starts_with("access-control-")
    };
    let own: Vec<_> = headers.keys().filter(own).cloned().collect();
    for name in &own {
        headers.remove(name);
    }
}

/// Whether a body is JSON, by its type.
pub fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|v| v.as_bytes().starts_with(b"application/json"))
}

/// A node's answer with the gateway's names in it, in pieces.
pub async fn named_anew(body: Whole, node: &str, paths: Ids) -> (Vec<Bytes>, Room) {
    let length = body.bytes.len();
    let node = node.to_owned();
    let edited = move || {
        (
            json::spliced(&body.bytes, renamed(&body.bytes, &node, paths)),
            body.room,
        )
    };
    aside(length, edited).await
}

/// The replacements that make a node's names the gateway's; none where it is no JSON after all.
pub fn renamed(body: &[u8], node: &str, paths: Ids) -> Vec<Edit> {
    let Ok(text) = json::text(body) else {
        return Vec::new();
    };
    let mut edits = Vec::new();
    for path in paths {
        for found in json::find(text, path).unwrap_or_default() {
            let name = found.string().filter(|name| name != NO_NAME);
            if let Some(chat) = name.and_then(|name| ids::join(node, &name)) {
                edits.push((found.span(), json::quoted(&chat)));
            }
        }
    }
    edits
}

/// An answer out of pieces, none of them copied, and the room that they take until the client has them.
pub fn of_pieces(mut parts: Parts, pieces: Vec<Bytes>, room: Room) -> Response {
    let length: usize = pieces.iter().map(Bytes::len).sum();
    parts
        .headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    Response::from_parts(parts, pieces::body_in(pieces, room))
}
