//! Asks a node and waits, as long as there is something to wait for: a node that does not answer its
//! probe either is given up within seconds, one that is merely at work is not.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::table::Wait;
use crate::gateway::doubt::{self, Patience};
use crate::gateway::nodes::Live;
use crate::gateway::reply::Reply;
use crate::gateway::upstream::{Failure, PROBE};
use crate::gateway::{Gateway, place};
use crate::routing::node::Health;

/// How long a node is waited for.
const PATIENCE: Patience = Patience {
    first: Duration::from_secs(2),
    between: Duration::from_millis(500),
    probe: PROBE,
    missed: 2,
};

/// For how long nothing may come of a body that is read whole.
const QUIET: Duration = Duration::from_secs(10);

/// Most of a request, as goosed has it.
pub const REQUEST_MOST: usize = 50 * 1024 * 1024;

/// Most of an answer that is read whole, for the names of chats in it: a history with its pictures.
pub const ANSWER_MOST: usize = 256 * 1024 * 1024;

/// Sends a request to a node and waits for the head of its answer. What is found out about the node is
/// noted.
///
/// # Errors
/// As of [`crate::gateway::upstream::Upstream::send`].
pub async fn ask(
    gateway: &Gateway,
    live: &Live,
    mut request: Request<Body>,
    wait: Wait,
) -> Result<Response<Incoming>, Failure> {
    let Some(endpoint) = &live.endpoint else {
        return Err(Failure::NotSent("it has never started".to_owned()));
    };
    // Names are looked for in what comes back.
    request.headers_mut().remove(header::ACCEPT_ENCODING);
    let result = tokio::select! {
        biased;
        answer = gateway.upstream.send(endpoint, request, wait.time()) => answer,
        why = doubt::given_up(gateway, live, PATIENCE) => Err(Failure::NoAnswer(why)),
    };
    match result {
        Ok(answer) => doubt::its_own(gateway, live, answer).await,
        Err(Failure::NotSent(why)) => {
            live.found(Health::Refused(why.clone()));
            Err(Failure::NotSent(why))
        }
        other => other,
    }
}

/// Makes sure that a node that was not well is well again, before anything is sent to it.
///
/// # Errors
/// 503 or 504: it is not.
pub async fn ready(gateway: &Gateway, live: &Arc<Live>, chat: &str) -> Result<(), Reply> {
    let sick = live.advert().is_some_and(|advert| {
        matches!(
            advert.health,
            Health::Refused(_) | Health::Timeout(_) | Health::Unauthorized(_)
        )
    });
    match live.endpoint {
        Some(_) if !sick => Ok(()),
        _ => place::probe(gateway, live)
            .await
            .map_err(|health| not_ready(live, chat, &health)),
    }
}

/// What a client is told of a node that did not take its probe: nothing was sent.
pub fn not_ready(live: &Live, chat: &str, health: &Health) -> Reply {
    let reply = Reply::down(&live.node.id, chat, health.why());
    match health {
        Health::Timeout(_) => Reply::new(StatusCode::GATEWAY_TIMEOUT, reply.message),
        _ => reply,
    }
}

/// Why a body was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// It is longer than it may be.
    TooLong,
    /// It stopped.
    Broken(String),
}

/// Reads a body to its end.
///
/// # Errors
/// It is too long, broke off, or nothing came for [`QUIET`].
pub async fn whole<B>(mut body: B, most: usize) -> Result<Bytes, Unread>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let promised = body.size_hint().exact();
    if promised.is_some_and(|n| n > most as u64) {
        return Err(Unread::TooLong);
    }
    let (mut chunks, mut length) = (Vec::new(), 0);
    loop {
        let frame = match tokio::time::timeout(QUIET, body.frame()).await {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(e))) => return Err(Unread::Broken(e.to_string())),
            Err(_) => {
                return Err(Unread::Broken(format!(
                    "nothing more for {} s",
                    QUIET.as_secs()
                )));
            }
        };
        if let Ok(data) = frame.into_data() {
            length += data.len();
            if length > most {
                return Err(Unread::TooLong);
            }
            chunks.push(data);
        }
    }
    if chunks.len() == 1 {
        return Ok(chunks.pop().unwrap_or_default());
    }
    Ok(chunks.concat().into())
}

/// The body of a client's request.
///
/// # Errors
/// 413, or 400 where it broke off.
pub async fn body(body: Body) -> Result<Bytes, Reply> {
    whole(body, REQUEST_MOST).await.map_err(|e| match e {
        Unread::TooLong => Reply::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is longer than {} MiB", REQUEST_MOST >> 20),
        ),
        Unread::Broken(why) => Reply::bad(format!("the body broke off: {why}")),
    })
}

/// The body of a node's answer.
///
/// # Errors
/// 504 or 502: it did not come whole.
pub async fn answer(live: &Live, chat: &str, body: Incoming) -> Result<Bytes, Reply> {
    whole(body, ANSWER_MOST).await.map_err(|e| match e {
        Unread::TooLong => Reply::new(
            StatusCode::BAD_GATEWAY,
            format!(
                "the answer of the node `{}` is longer than {} MiB",
                live.node.id,
                ANSWER_MOST >> 20
            ),
        ),
        Unread::Broken(why) => Reply::failed(
            &live.node.id,
            chat,
            &Failure::NoAnswer(format!("its answer broke off: {why}")),
        ),
    })
}
