//! What must not stop half-way because its client has gone: a chat that a node is making, a pin that is to
//! be written, settings that go to several nodes. A request's own future is dropped with its connection.

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use tokio::sync::watch;

use super::reply::Reply;
use super::{Shared, access};

/// Runs to the end in a task of its own, from now on, and answers with what came of it. A gateway that
/// stops waits for it a moment.
pub fn to_the_end<F>(gateway: &Shared, run: F) -> impl Future<Output = Response> + use<F>
where
    F: Future<Output = Response> + Send + 'static,
{
    let counts = gateway.under_way.count();
    // Not in what is returned: it would make the future of every request as large as the largest of these.
    let task = tokio::spawn(access::along(async move {
        let _counts = counts;
        run.await
    }));
    async move {
        task.await.unwrap_or_else(|e| {
            let why = format!("the request broke off: {e}");
            Reply::new(StatusCode::INTERNAL_SERVER_ERROR, why).into_response()
        })
    }
}

/// How much of it is under way.
#[derive(Debug, Default)]
pub struct UnderWay(watch::Sender<()>);

impl UnderWay {
    /// Something is, as long as what is returned is there.
    pub fn count(&self) -> impl Send + use<> {
        self.0.subscribe()
    }

    /// Waits until nothing is.
    pub async fn done(&self) {
        self.0.closed().await;
    }
}
