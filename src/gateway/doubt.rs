//! A node that is doubted while a request is with it: whether it is still there, whether it refuses mosaic's
//! secret or only what the request is about. The same for every dialect; how long a node is waited for is the
//! dialect's.

use std::time::Duration;

use axum::http::{Response, StatusCode};

use super::failure::Failure;
use super::nodes::Live;
use super::{Gateway, place};
use crate::routing::node::Health;

/// How long a node is given.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Without an answer, until it is probed.
    pub first: Duration,
    /// Between two probes.
    pub between: Duration,
    /// For a probe.
    pub probe: Duration,
    /// Probes in a row that must fail: a machine at work may miss one.
    pub missed: u32,
}

/// Ends when an answer is waited for in vain; why. What is found out about the node is noted.
pub async fn given_up(gateway: &Gateway, live: &Live, patience: Patience) -> String {
    tokio::time::sleep(patience.first).await;
    // Every request has this future, and next to none needs the rest of it.
    Box::pin(probed_in_vain(gateway, live, patience)).await
}

async fn probed_in_vain(gateway: &Gateway, live: &Live, patience: Patience) -> String {
    let mut missed = 0;
    loop {
        match place::probe_within(gateway, live, patience.probe).await {
            Err(health @ (Health::Timeout(_) | Health::Refused(_))) => {
                missed += 1;
                if missed == patience.missed {
                    let why = format!("it does not answer its probe either: {}", health.why());
                    live.found(health);
                    return why;
                }
            }
            _ => missed = 0,
        }
        tokio::time::sleep(patience.between).await;
    }
}

/// A 401 is the client's where the node says it of something else, such as a provider's key. Otherwise it
/// does not take mosaic's secret: the client, whose own was right, is not told that it was wrong, and the
/// request was certainly not taken.
///
/// # Errors
/// The node does not take its secret, or does not say.
pub async fn its_own<B>(
    gateway: &Gateway,
    live: &Live,
    answer: Response<B>,
) -> Result<Response<B>, Failure> {
    if answer.status() != StatusCode::UNAUTHORIZED {
        return Ok(answer);
    }
    let Err(health) = Box::pin(place::probe(gateway, live)).await else {
        return Ok(answer);
    };
    let why = health.why().to_owned();
    let failure = match health {
        Health::Unauthorized(_) => Failure::NotSent(why),
        _ => Failure::NoAnswer(format!("it answers 401, and then {why}")),
    };
    live.found(health);
    Err(failure)
}
