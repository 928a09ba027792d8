//! A node that is doubted while a request is with it: whether it is still there, whether it has lost the
//! request, whether it refuses mosaic's secret or only what the request is about. The same for every dialect;
//! how long a node is waited for is the dialect's.

use std::time::Duration;

use axum::http::{Response, StatusCode};
use hyper::body::Incoming;

use super::nodes::Live;
use super::upstream::Failure;
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
    /// Whether such a server, as it starts, takes requests that it never answers.
    pub loses: bool,
}

/// How soon after a request its witness is sent. opencode loses what comes in the first 0.4 to 1.3 s after its
/// port is open, on an idle machine, and answers all that comes later; what it loses, it does not close.
const WITNESS: Duration = Duration::from_millis(25);

/// How much later than a later probe the witness may be answered: a server that stood still goes on with all
/// that it has.
const LATER: Duration = Duration::from_secs(1);

/// A witness waits for as long as anybody may.
const EVER: Duration = Duration::from_secs(24 * 3600);

/// A node that was killed leaves connections that look whole. Each try finds out about one of them; so many
/// tries, and so long after one another.
const STALE: usize = 10;
/// The same.
const PAUSE: Duration = Duration::from_millis(20);

/// Ends when an answer is waited for in vain; why. What is found out about the node is noted.
pub async fn given_up(gateway: &Gateway, live: &Live, patience: Patience) -> String {
    let witness = witness(gateway, live);
    tokio::pin!(witness);
    let mut heard = !patience.loses;
    let (mut missed, mut pause) = (0, patience.first);
    loop {
        let probed = async move {
            tokio::time::sleep(pause).await;
            place::probe_within(gateway, live, patience.probe).await
        };
        tokio::pin!(probed);
        let health = loop {
            tokio::select! {
                () = &mut witness, if !heard => heard = true,
                health = &mut probed => break health,
            }
        };
        pause = patience.between;
        if let Err(health @ (Health::Timeout(_) | Health::Refused(_))) = health {
            missed += 1;
            if missed == patience.missed {
                let why = format!("it does not answer its probe either: {}", health.why());
                live.found(health);
                return why;
            }
            continue;
        }
        missed = 0;
        if !heard && tokio::time::timeout(LATER, &mut witness).await.is_err() {
            // It is well by now.
            return "it has lost the request, as a server does that starts".to_owned();
        }
        heard = true;
    }
}

/// Ends when a probe is answered that was sent about when the request was.
async fn witness(gateway: &Gateway, live: &Live) {
    tokio::time::sleep(WITNESS).await;
    for _ in 0..STALE {
        match place::probe_within(gateway, live, EVER).await {
            Err(Health::Timeout(_)) => tokio::time::sleep(PAUSE).await,
            _ => return,
        }
    }
}

/// A 401 is the client's where the node says it of something else, such as a provider's key. Otherwise it
/// does not take mosaic's secret: the client, whose own was right, is not told that it was wrong, and the
/// request was certainly not taken.
///
/// # Errors
/// The node does not take its secret, or does not say.
pub async fn its_own(
    gateway: &Gateway,
    live: &Live,
    answer: Response<Incoming>,
) -> Result<Response<Incoming>, Failure> {
    if answer.status() != StatusCode::UNAUTHORIZED {
        return Ok(answer);
    }
    let Err(health) = place::probe(gateway, live).await else {
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
