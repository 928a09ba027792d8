//! What is said in HTTP itself: the headers that name a connection and a session, and refusals.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use crate::gateway::reply::Reply;

/// Names the connection.
pub const CONNECTION: HeaderName = HeaderName::from_static("acp-connection-id");

/// Names the session a request or a stream is about.
pub const SESSION: HeaderName = HeaderName::from_static("acp-session-id");

/// The real server's words, in the gateway's form of errors.
pub fn plain(status: StatusCode, why: &str) -> Response {
    Reply::new(status, why).into_response()
}

/// There is no connection of that name.
pub fn unknown(connection: &str) -> Response {
    plain(
        StatusCode::NOT_FOUND,
        &format!("no connection `{connection}`: `initialize` begins one"),
    )
}

/// The connection ended while something was done on it.
pub fn gone() -> Response {
    plain(StatusCode::NOT_FOUND, "the connection has ended")
}

/// The value of a header.
pub fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// A value that is none is left out.
pub fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
