//! Bodies that the gateway makes: of pieces of what nodes have said, none of them copied, with the room that
//! they take until their client has them.

use std::convert::Infallible;
use std::iter::Peekable;
use std::vec::IntoIter;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use super::Gateway;
use super::reply::Reply;
use super::whole::{Room, Whole};

/// Makes what was read the body of an answer.
pub fn answer_with(response: &mut Response, body: Whole) {
    let length = body.bytes.len().into();
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length);
    *response.body_mut() = body_in(vec![body.bytes], body.room);
}

/// An answer of the gateway's own in JSON, which takes room until its client has it.
///
/// # Errors
/// 503: there is none.
pub async fn json(gateway: &Gateway, text: Bytes, what: &str) -> Result<Response, Reply> {
    let body = Whole::short(text).for_client(&gateway.answers).await;
    let body = body.map_err(|_| {
        let why =
            format!("there is no room for {what}, since others are slow to take theirs; try again");
        Reply::new(StatusCode::SERVICE_UNAVAILABLE, why)
    })?;
    let mut response = Response::default();
    answer_with(&mut response, body);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
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
