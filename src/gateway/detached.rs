//! What must not stop half-way because its client has gone: a chat that a node is making, a pin that is to
//! be written, settings that go to several nodes. A request's own future is dropped with its connection.

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::access;
use super::reply::Reply;

/// Runs to the end in a task of its own, and answers with what came of it.
pub async fn to_the_end(run: impl Future<Output = Response> + Send + 'static) -> Response {
    match tokio::spawn(access::along(run)).await {
        Ok(response) => response,
        Err(e) => Reply::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the request broke off: {e}"),
        )
        .into_response(),
    }
}
