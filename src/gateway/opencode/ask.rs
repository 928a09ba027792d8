//! A request to one node, whose answer may take as long as a model thinks: it is not bounded in time, but
//! a node that hangs is found out within seconds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody as _};
use axum::http::{Method, Request, Response, StatusCode};
use serde_json::Value;

use crate::gateway::doubt::{self, Patience};
use crate::gateway::failure::Failure;
use crate::gateway::nodes::Live;
use crate::gateway::reply::Reply;
use crate::gateway::upstream::{NodeBody, PROBE};
use crate::gateway::whole::{self, Unread, Whole};
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
};

/// A server that starts takes what comes in the first second after its port is open (0.4 to 1.3 s on an idle
/// machine), never answers it, and does not close the connections; what comes later it answers. Before
/// something is sent that may be done only once, the node is therefore probed, again and again for so long.
const READY: Duration = Duration::from_secs(8);

/// The same of a node that was found ill, before it gets anything.
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
) -> Result<Response<NodeBody>, Failure> {
    let Some(endpoint) = &live.endpoint else {
        return Err(Failure::NotSent("it has never started".to_owned()));
    };
    let works = request.method() == Method::POST || request.uri().path() == WAITS;
    let longest = if works { WORK } else { ANSWER };
    // What only looks something up may be sent twice, and the first time it may have been lost.
    let copy = (!works && request.method().is_safe() && request.body().is_end_stream())
        .then(|| copied(&request));
    let again = async {
        let Some(copy) = copy else {
            return std::future::pending().await;
        };
        tokio::time::sleep(PATIENCE.first).await;
        gateway.upstream.send(endpoint, copy, longest).await
    };
    let answer = tokio::select! {
        answer = gateway.upstream.send(endpoint, request, longest) => answer,
        answer = again => answer,
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

fn copied(request: &Request<Body>) -> Request<Body> {
    let mut copy = Request::new(Body::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// Asks whether a node is there, before something is sent to it: always if that may be done only once, else
/// only if it was found ill.
///
/// # Errors
/// It is not; nothing was sent.
pub async fn there(
    gateway: &Gateway,
    live: &Live,
    session: &str,
    method: &Method,
) -> Result<(), Reply> {
    let well = live.advert().is_none_or(|a| a.health.is_healthy());
    let until = match well {
        true if method.is_safe() => return Ok(()),
        true => Instant::now() + READY,
        false => Instant::now() + AGAIN,
    };
    let health = loop {
        match place::probe(gateway, live).await {
            Ok(()) => return Ok(()),
            Err(Health::Timeout(_)) if Instant::now() < until => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(health) => break health,
        }
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
    pub body: Whole,
}

impl Answer {
    /// The body as JSON; null where it is none.
    pub async fn json(&self) -> Value {
        self.body.json().await
    }
}

/// Sends a request and reads the whole answer, which takes room until it is dropped. What cannot be read was
/// answered all the same.
///
/// # Errors
/// As of [`ask`], and the answer is too slow.
pub async fn read(
    gateway: &Gateway,
    live: &Arc<Live>,
    request: Request<Body>,
) -> Result<Result<Answer, Unread>, Failure> {
    let (head, body) = ask(gateway, live, request).await?.into_parts();
    let read = whole::whole(body, ANSWER_BYTES, &gateway.looks);
    let body = tokio::time::timeout(READ, read).await.map_err(|_| {
        let secs = READ.as_secs();
        Failure::NoAnswer(format!("its answer did not come whole within {secs} s"))
    })?;
    Ok(body.map(|body| Answer { head, body }))
}

/// The same where it does not matter which of the two it is.
///
/// # Errors
/// As of [`read`], and the answer is too large, broken, or there is no room for it.
pub async fn whole(
    gateway: &Gateway,
    live: &Arc<Live>,
    request: Request<Body>,
) -> Result<Answer, Failure> {
    read(gateway, live, request).await?.map_err(Failure::from)
}
