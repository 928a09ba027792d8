//! A request to one node, whose answer may take as long as a model thinks: it is not bounded in time, but
//! a node that hangs is found out within seconds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use crate::gateway::doubt::{self, Patience};
use crate::gateway::nodes::Live;
use crate::gateway::reply::Reply;
use crate::gateway::upstream::{Failure, PROBE};
use crate::gateway::{Gateway, place};
use crate::routing::node::Health;

/// How long a node is waited for. An answer that needs no model comes within milliseconds, except for the
/// first one of a directory: a server then loads what it needs, and was away for five seconds on a machine
/// that was busy.
const PATIENCE: Patience = Patience {
    first: Duration::from_secs(2),
    between: Duration::from_secs(2),
    probe: Duration::from_secs(8),
    missed: 1,
    loses: true,
};

/// How long a node that was found ill may take to say that it is well again, before it gets something.
const AGAIN: Duration = Duration::from_secs(2);

/// Longest wait for the head of an answer to a POST: some of them (a summary, a command, a terminal's turn)
/// are done before it.
const WORK: Duration = Duration::from_secs(3600);

/// The same for what is only looked up or written down.
const ANSWER: Duration = Duration::from_secs(60);

/// A node that was killed leaves connections that look whole. Each probe finds out about one of them; so many
/// are tried, and so long after one another.
const STALE: usize = 10;
/// The same.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until somebody uses the terminal.
const WAITS: &str = "/tui/control/next";

/// Largest answer that is read rather than passed on: lists, a session. A list of a hundred sessions has
/// 100 KB.
pub const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// How long the body of such an answer may take once its head is there.
const READ: Duration = Duration::from_secs(20);

/// Sends a request and waits for the head of the answer.
///
/// # Errors
/// The node did not take it, or does not answer.
pub async fn ask(
    gateway: &Gateway,
    live: &Live,
    request: Request<Body>,
) -> Result<Response<Incoming>, Failure> {
    let Some(endpoint) = &live.endpoint else {
        return Err(Failure::NotSent("it has never started".to_owned()));
    };
    let works = request.method() == Method::POST || request.uri().path() == WAITS;
    let longest = if works { WORK } else { ANSWER };
    let answer = tokio::select! {
        answer = gateway.upstream.send(endpoint, request, longest) => answer,
        why = doubt::given_up(gateway, live, PATIENCE) => return Err(Failure::NoAnswer(why)),
    };
    match answer {
        Ok(answer) => doubt::its_own(gateway, live, answer).await,
        Err(failure) => {
            if let Failure::NotSent(why) = &failure {
                live.found(Health::Refused(why.clone()));
            }
            Err(failure)
        }
    }
}

/// Asks whether a node that was found ill is well again, before something is sent to it. One that was
/// found well is not asked.
///
/// # Errors
/// It is not; nothing was sent.
pub async fn there(gateway: &Gateway, live: &Live, session: &str) -> Result<(), Reply> {
    if live.advert().is_none_or(|a| a.health.is_healthy()) {
        return Ok(());
    }
    let Err(health) = place::probe_within(gateway, live, AGAIN).await else {
        return Ok(());
    };
    live.found(health.clone());
    let node = &live.node.id;
    Err(match health {
        Health::Timeout(why) => Reply::new(
            StatusCode::GATEWAY_TIMEOUT,
            format!(
                "the node `{node}` hangs: {why}{}; nothing was sent",
                stays(session)
            ),
        ),
        health => Reply::down(node, session, health.why()),
    })
}

/// What a client is told of a failure. What only looks something up has changed nothing, so that it is
/// asked whether the node is there at all.
pub async fn failed(
    gateway: &Gateway,
    live: &Live,
    session: &str,
    method: &Method,
    failure: &Failure,
) -> Reply {
    if method.is_safe() && matches!(failure, Failure::NoAnswer(_)) {
        for _ in 0..STALE {
            let begun = Instant::now();
            match place::probe(gateway, live).await {
                Err(Health::Refused(why)) => {
                    live.found(Health::Refused(why.clone()));
                    return Reply::down(&live.node.id, session, &why);
                }
                Err(Health::Timeout(_)) if begun.elapsed() < PROBE => {
                    tokio::time::sleep(PAUSE).await;
                }
                _ => break,
            }
        }
    }
    Reply::failed(&live.node.id, session, failure)
}

fn stays(session: &str) -> String {
    match session {
        "" => String::new(),
        session => format!("; the chat `{session}` stays there"),
    }
}

/// What is asked of a node by the gateway itself.
///
/// # Errors
/// The path is none.
pub fn get(path_and_query: &str) -> Result<Request<Body>, Failure> {
    Request::get(path_and_query)
        .body(Body::empty())
        .map_err(|e| Failure::NotSent(e.to_string()))
}

/// An answer that is read whole.
#[derive(Debug)]
pub struct Answer {
    /// Its head.
    pub head: axum::http::response::Parts,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Sends a request and reads the whole answer.
///
/// # Errors
/// As of [`ask`], and the answer is too large, broken or too slow.
pub async fn whole(
    gateway: &Gateway,
    live: &Arc<Live>,
    request: Request<Body>,
) -> Result<Answer, Failure> {
    let (head, body) = ask(gateway, live, request).await?.into_parts();
    let failed = |why: String| Failure::NoAnswer(format!("its answer broke off: {why}"));
    let read = Limited::new(body, ANSWER_BYTES).collect();
    let body = tokio::time::timeout(READ, read)
        .await
        .map_err(|_| failed(format!("not whole within {} s", READ.as_secs())))?
        .map_err(|e| failed(e.to_string()))?
        .to_bytes();
    Ok(Answer { head, body })
}
