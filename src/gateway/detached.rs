//! What must not stop half-way because its client has gone: a chat that a node is making, a pin that is to
//! be written, settings that go to several nodes. A request's own future is dropped with its connection.

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::access;
use super::reply::Reply;

/// Runs to the end in a task of its own, from now on, and answers with what came of it.
pub fn to_the_end(
    run: impl Future<Output = Response> + Send + 'static,
) -> impl Future<Output = Response> {
    // Not in what is returned: it would make the future of every request as large as the largest of these.
    let task = tokio::spawn(access::along(run));
    async move {
        task.await.unwrap_or_else(|e| {
            let why = format!("the request broke off: {e}");
            Reply::new(StatusCode::INTERNAL_SERVER_ERROR, why).into_response()
        })
    }
}
