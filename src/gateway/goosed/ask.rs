//! Asks a node and waits, as long as there is something to wait for: a node that does not answer its
//! probe either is given up within seconds, one that is merely at work is not.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};

use super::table::Wait;
use crate::gateway::doubt::{self, Patience};
use crate::gateway::failure::Failure;
use crate::gateway::nodes::Live;
use crate::gateway::reply::Reply;
use crate::gateway::upstream::{NodeBody, PROBE};
use crate::gateway::{Gateway, place};
use crate::routing::node::Health;

/// How long a node is waited for.
const PATIENCE: Patience = Patience {
    first: Duration::from_secs(2),
    between: Duration::from_millis(500),
    probe: PROBE,
    missed: 2,
};

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
) -> Result<Response<NodeBody>, Failure> {
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
        _ => Box::pin(place::probe(gateway, live))
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
