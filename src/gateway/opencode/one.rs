//! What one node answers for all: what is looked up, what is done once, terminals.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;

use super::State;
use super::ask;
use super::named::Named;
use super::pass::{self, Asked};
use super::pinned;
use super::scope;
use crate::gateway::failure::Failure;
use crate::gateway::nodes::Live;
use crate::gateway::reply::Reply;

/// On the node that is read from; on the next one only if that one certainly has not taken it.
///
/// # Errors
/// 503 or 504.
pub async fn any(asked: Asked) -> Result<Response, Reply> {
    let read = asked.read().await?;
    let gateway = &read.state.gateway;
    let (live, answer) = first(&read, |live, request| async move {
        ask::ask(gateway, &live, request).await
    })
    .await?;
    Ok(pass::back(gateway, &live, answer))
}

/// On the one node that is meant.
///
/// # Errors
/// 409: it could be several. 503 or 504.
pub async fn single(asked: Asked) -> Result<Response, Reply> {
    let nodes = scope::of(&asked.state.gateway, &asked.named)?;
    let live = scope::single(nodes, asked.path())?;
    let state = Arc::clone(&asked.state);
    pinned::send(&state, &live, asked).await
}

/// A new terminal, on the node that is read from.
///
/// # Errors
/// 503 or 504.
pub async fn new_terminal(asked: Asked) -> Result<Response, Reply> {
    let read = asked.read().await?;
    let gateway = &read.state.gateway;
    let (live, answer) = first(&read, |live, request| async move {
        ask::whole(gateway, &live, request).await
    })
    .await?;
    if let Some(id) = pinned::made(&answer).await {
        read.state.terminals.note(&id, &live.node.id);
    }
    Ok(pass::read_back(gateway, &live, answer).await)
}

/// A terminal, on its node.
///
/// # Errors
/// 503, 504; 404: nobody has it.
pub async fn terminal(asked: Asked, id: &str) -> Result<Response, Reply> {
    let state = Arc::clone(&asked.state);
    let live = terminal_of(&state, &asked.named, id).await?;
    pinned::send(&state, &live, asked).await
}

/// A terminal's node.
///
/// # Errors
/// 404: nobody has it. 503: nobody has it who answers.
pub async fn terminal_of(state: &Arc<State>, named: &Named, id: &str) -> Result<Arc<Live>, Reply> {
    pinned::listed(state, named, &state.terminals, "/pty", id).await
}

/// Asks the node that is read from, and the next one if the first one has not taken the request.
async fn first<T, F: Future<Output = Result<T, Failure>>>(
    read: &pass::Read,
    send: impl Fn(Arc<Live>, Request) -> F,
) -> Result<(Arc<Live>, T), Reply> {
    let nodes = scope::to_read_from(scope::of(&read.state.gateway, &read.named)?);
    let mut why = Vec::new();
    for live in nodes {
        if let Err(e) = ask::there(&read.state.gateway, &live, "", &read.head.method).await {
            why.push(e.message);
            continue;
        }
        match send(Arc::clone(&live), read.request()?).await {
            Ok(answer) => return Ok((live, answer)),
            Err(Failure::NotSent(e)) => why.push(format!("`{}`: {e}", live.node.id)),
            // Looked up it may be twice.
            Err(e) if read.head.method.is_safe() => why.push(format!("`{}`: {e}", live.node.id)),
            Err(e) => return Err(Reply::failed(&live.node.id, "", &e)),
        }
    }
    Err(Reply::new(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("no node answers: {}", why.join("; ")),
    ))
}
