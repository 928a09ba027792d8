//! A node's answer on its way to the client: streams pass as they come; where an answer holds names of
//! chats, the node's own are replaced by the gateway's.

use std::convert::Infallible;
use std::iter::Peekable;
use std::vec::IntoIter;

use crate::gateway::upstream::NodeBody;
use axum::body::{Body, Bytes};
use axum::http::response::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response as HttpResponse, header};
use axum::response::Response;

use super::json::{self, Edit};
use super::table::{Ids, Route};
use super::whole::{self, Room};
use crate::gateway::nodes::Live;
use crate::gateway::reply::Reply;
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
    let edits = renamed(&body.bytes, &live.node.id, route.ids);
    Ok(of_pieces(
        parts,
        json::spliced(&body.bytes, edits),
        body.room,
    ))
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
    Response::from_parts(parts, body_in(pieces, room))
}

/// Short pieces go together up to so much: each is written by itself else.
const TOGETHER: usize = 16 * 1024;

/// A body out of pieces, and the room that they take.
pub fn body_in(pieces: Vec<Bytes>, room: Room) -> Body {
    let left = (pieces.into_iter().peekable(), room);
    Body::from_stream(futures_util::stream::unfold(left, |mut left| async {
        let piece = together(&mut left.0)?;
        Some((Ok::<_, Infallible>(piece), left))
    }))
}

/// The next pieces as one, of which a long one is not copied.
fn together(pieces: &mut Peekable<IntoIter<Bytes>>) -> Option<Bytes> {
    let first = pieces.next()?;
    let fits = |length: usize, next: &Bytes| length + next.len() <= TOGETHER;
    if pieces.peek().is_none_or(|next| !fits(first.len(), next)) {
        return Some(first);
    }
    let mut all = first.to_vec();
    while let Some(next) = pieces.next_if(|next| fits(all.len(), next)) {
        all.extend_from_slice(&next);
    }
    Some(all.into())
}

/// A body out of pieces.
pub fn body_of(mut pieces: Vec<Bytes>) -> Body {
    match pieces.len() {
        0 | 1 => Body::from(pieces.pop().unwrap_or_default()),
        _ => Body::from_stream(futures_util::stream::iter(
            pieces.into_iter().map(Ok::<_, Infallible>),
        )),
    }
}
