//! A terminal's WebSocket: the handshake is the node's, and after it the bytes go both ways as they come.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

use super::ask;
use super::one;
use super::pass::{self, Asked};
use crate::gateway::Gateway;
use crate::gateway::doubt;
use crate::gateway::failure::Failure;
use crate::gateway::nodes::{Endpoint, Live};
use crate::gateway::reply::Reply;
use crate::gateway::upstream;

/// How long the handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Joins a client with a terminal.
///
/// # Errors
/// 404, 503, 504; 426: the client does not want a WebSocket.
pub async fn terminal(asked: Asked, id: &str) -> Result<axum::response::Response, Reply> {
    let state = Arc::clone(&asked.state);
    let live = one::terminal_of(&state, &asked.named, id).await?;
    ask::there(&state.gateway, &live, "", &Method::POST).await?;
    let headers = asked.request.headers();
    let wants = headers
        .get(header::UPGRADE)
        .is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if !wants {
        return Err(Reply::new(
            StatusCode::UPGRADE_REQUIRED,
            "a terminal is a WebSocket",
        ));
    }
    let mut request = Request::get(asked.named.path_and_query(asked.path()))
        .body(Body::empty())
        .map_err(|e| Reply::bad(e.to_string()))?;
    *request.headers_mut() = headers.clone();
    let client = asked.request;
    let answer = tokio::time::timeout(HANDSHAKE, begin(&state.gateway, &live, request))
        .await
        .unwrap_or_else(|_| Err(Failure::NoAnswer("no handshake in time".to_owned())))
        .map_err(|e| Reply::failed(&live.node.id, "", &e))?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let answer = doubt::its_own(&state.gateway, &live, answer)
            .await
            .map_err(|e| Reply::failed(&live.node.id, "", &e))?;
        return Ok(pass::back(&state.gateway, &live, answer));
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = answer.headers().clone();
    let stops = [state.gateway.stopping.wait(), live.streams.wait()];
    tokio::spawn(async move {
        let both = tokio::try_join!(hyper::upgrade::on(client), hyper::upgrade::on(answer));
        let (client, node) = match both {
            Ok(both) => both,
            Err(e) => return tracing::debug!("a terminal was not joined: {e}"),
        };
        let (mut client, mut node) = (TokioIo::new(client), TokioIo::new(node));
        let [stopping, cut] = stops;
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut client, &mut node) => {}
            () = stopping => {}
            () = cut => {}
        }
    });
    Ok(response)
}

/// Shakes hands with a node, on a connection of its own.
async fn begin(
    gateway: &Gateway,
    live: &Live,
    mut request: Request,
) -> Result<Response<Incoming>, Failure> {
    let not_sent = |e: &dyn std::fmt::Display| Failure::NotSent(e.to_string());
    let no_answer = |e: hyper::Error| Failure::NoAnswer(e.to_string());
    let Some(endpoint) = &live.endpoint else {
        return Err(Failure::NotSent("it has never started".to_owned()));
    };
    headers(endpoint, &mut request);
    let stream = gateway.upstream.connect(endpoint.port).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| not_sent(&e))?;
    tokio::spawn(async move {
        if let Err(e) = connection.with_upgrades().await {
            tracing::debug!("a terminal's connection ended: {e}");
        }
    });
    sender.send_request(request).await.map_err(no_answer)
}

/// The client's, without what it said of itself; the upgrade stays.
fn headers(endpoint: &Endpoint, request: &mut Request) {
    let headers = request.headers_mut();
    upstream::headers(endpoint, headers);
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}
