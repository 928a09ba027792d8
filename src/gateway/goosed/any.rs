//! Requests about no chat: to the first healthy node, or, where something is kept on one node only, to
//! always the same one.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;

use super::answer::back;
use super::ask::{ask, ready};
use super::pinned::request;
use super::table::Route;
use crate::gateway::Gateway;
use crate::gateway::failure::Failure;
use crate::gateway::nodes::Live;
use crate::gateway::reply::Reply;
use crate::routing::node::Dialect;

/// Serves what any node can answer: the one with the lowest name of those that are well, so that a client
/// that asks twice is told the same. Another is asked only when one certainly did not take it.
///
/// # Errors
/// The client's answer.
pub async fn any(
    gateway: &Gateway,
    route: &Route,
    parts: Parts,
    body: Bytes,
) -> Result<Response, Reply> {
    let mut nodes = gateway.nodes.speaking(Dialect::Goosed);
    // A stable sort: by name among those that are well, and among the others.
    nodes.sort_by_key(|live| !is_well(live));
    let target = target(&parts);
    let mut refused = Vec::new();
    for live in nodes {
        let tried = async {
            if !is_well(&live) {
                ready(gateway, &live, "").await?;
            }
            let request = request(&parts, target, vec![body.clone()])?;
            Ok::<_, Reply>(ask(gateway, &live, request, route.wait).await)
        };
        match tried.await {
            Ok(Ok(answer)) => return back(gateway, &live, "", answer, route).await,
            Ok(Err(Failure::NotSent(why))) => refused.push(format!("`{}`: {why}", live.node.id)),
            Ok(Err(failure)) => return Err(Reply::failed(&live.node.id, "", &failure)),
            Err(reply) => refused.push(reply.message),
        }
    }
    Err(Reply::new(
        StatusCode::SERVICE_UNAVAILABLE,
        match refused.is_empty() {
            true => "there is no goosed node".to_owned(),
            false => format!("no goosed node answers: {}", refused.join("; ")),
        },
    ))
}

/// Whether a node is there and was well when it was seen last.
pub fn is_well(live: &Arc<Live>) -> bool {
    live.endpoint.is_some()
        && live
            .advert()
            .is_some_and(|advert| advert.health.is_healthy())
}

/// Path and query of a request.
pub fn target(parts: &Parts) -> &str {
    parts.uri.path_and_query().map_or("/", |p| p.as_str())
}

/// The node where what has one place is kept: the lowest name, whatever its health, for another one
/// would answer as if nothing had ever been kept.
///
/// # Errors
/// 503: there is no goosed node.
pub fn fixed(gateway: &Gateway) -> Result<Arc<Live>, Reply> {
    gateway
        .nodes
        .speaking(Dialect::Goosed)
        .into_iter()
        .next()
        .ok_or_else(|| Reply::new(StatusCode::SERVICE_UNAVAILABLE, "there is no goosed node"))
}

/// Serves what is kept there.
///
/// # Errors
/// The client's answer.
pub async fn on_fixed(
    gateway: &Gateway,
    route: &Route,
    parts: Parts,
    body: Bytes,
) -> Result<Response, Reply> {
    let live = fixed(gateway)?;
    ready(gateway, &live, "").await?;
    let request = request(&parts, target(&parts), vec![body])?;
    let answer = ask(gateway, &live, request, route.wait)
        .await
        .map_err(|failure| Reply::failed(&live.node.id, "", &failure))?;
    back(gateway, &live, "", answer, route).await
}
