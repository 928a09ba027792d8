//! Whether a node is there, before anything is sent to it that must not be done twice.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};

use crate::gateway::Gateway;
use crate::gateway::failure::Failure;
use crate::gateway::nodes::Live;
use crate::gateway::upstream::PROBE;
use crate::routing::node::{Dialect, Health};

/// Whether a node is there and takes its secret, within [`PROBE`].
///
/// # Errors
/// How it is instead.
pub async fn probe(gateway: &Gateway, live: &Live) -> Result<(), Health> {
    probe_within(gateway, live, PROBE).await
}

/// The same within another time.
///
/// # Errors
/// As there.
pub async fn probe_within(gateway: &Gateway, live: &Live, wait: Duration) -> Result<(), Health> {
    let Some(endpoint) = &live.endpoint else {
        return Err(Health::Refused("it has never started".to_owned()));
    };
    let path = match endpoint.dialect {
        Dialect::Opencode => "/global/health",
        // goosed answers `/status` to anybody.
        Dialect::Goosed => "/system_info",
        _ => "/status",
    };
    let request = Request::get(path)
        .body(Body::empty())
        .map_err(|e| Health::Unfit(e.to_string()))?;
    match gateway.upstream.send(endpoint, request, wait).await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED => Err(Health::Unauthorized(
            "it does not take its secret".to_owned(),
        )),
        Ok(answer) => Err(Health::Unfit(format!("it answers {}", answer.status()))),
        Err(Failure::NotSent(why)) => Err(Health::Refused(why)),
        Err(Failure::NoAnswer(why)) => Err(Health::Timeout(why)),
    }
}
