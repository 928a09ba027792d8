//! Every request from outside: it is counted, and in the log it is one line, with the node that answered
//! and the chat it was about. Never a query, never a header: secrets stand there.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::extract::Request;
use axum::response::Response;

use super::door::Rooms;
use super::{Gateway, guard, lock};

tokio::task_local! {
    /// What the request that is being answered turned out to be about.
    static ABOUT: Arc<Mutex<About>>;
}

#[derive(Debug, Default)]
struct About {
    node: String,
    chat: String,
}

/// Notes which node is asked.
pub fn node(id: &str) {
    let _ = ABOUT.try_with(|about| id.clone_into(&mut lock(about).node));
}

/// Notes which chat a request is about.
pub fn chat(id: &str) {
    let _ = ABOUT.try_with(|about| id.clone_into(&mut lock(about).chat));
}

/// The same for a task of its own: what it notes is of the request that began it.
pub fn along<F: Future>(run: F) -> impl Future<Output = F::Output> + use<F> {
    let about = ABOUT.try_with(Arc::clone).unwrap_or_default();
    ABOUT.scope(about, run)
}

/// Counts and tells of a request, and lets it in if it may. One step for both: each costs every request the
/// same again. The answer's head is what is told: a stream may last for days.
pub async fn tell(gateway: &Gateway, rooms: Rooms, request: Request) -> Response {
    let uri = request.uri().clone();
    if !tracing::enabled!(tracing::Level::INFO) {
        let response = guard::check(gateway, rooms, request).await;
        gateway.metrics.answered(uri.path(), response.status());
        return response;
    }
    let (method, begun) = (request.method().clone(), Instant::now());
    let about = Arc::new(Mutex::new(About::default()));
    let response = ABOUT
        .scope(Arc::clone(&about), guard::check(gateway, rooms, request))
        .await;
    gateway.metrics.answered(uri.path(), response.status());
    let about = lock(&about);
    tracing::info!(
        status = response.status().as_u16(),
        node = about.node,
        chat = about.chat,
        ms = begun.elapsed().as_secs_f64() * 1000.0,
        "{method} {}",
        uri.path()
    );
    response
}

/// Whose room a path is in.
pub fn dialect(path: &str) -> &'static str {
    let first = path.split('/').nth(1).unwrap_or_default();
    match first {
        "acp" => "acp",
        "opencode" => "opencode",
        "nodes" | "chats" | "openapi.json" => "node",
        "metrics" | "status" | "health" => "own",
        _ => "goosed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_in_somebodys_room() {
        for (path, want) in [
            ("/acp", "acp"),
            ("/opencode/session/ses_1", "opencode"),
            ("/nodes/a/status", "node"),
            ("/chats", "node"),
            ("/metrics", "own"),
            ("/sessions/a.1/reply", "goosed"),
            ("/", "goosed"),
            ("", "goosed"),
            ("*", "goosed"),
        ] {
            assert_eq!(dialect(path), want, "{path}");
        }
    }
}
