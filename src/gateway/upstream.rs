//! The way to the nodes: pools of connections, and what is said on each. A connection to another user's
//! process is none.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::uri::Scheme;
use axum::http::{HeaderMap, HeaderName, Request, Response, Uri, header};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::access;
use super::connector::{Connector, Owners};
use super::credentials::SECRET_HEADER;
use super::failure::Failure;
use super::metrics::Metrics;
use super::nodes::Endpoint;
use super::workers;

/// For a connection on loopback; a listener that is alive takes microseconds.
const CONNECT: Duration = Duration::from_secs(1);

/// How long a probe may take.
pub const PROBE: Duration = Duration::from_secs(1);

/// How long the head of an answer is waited for, where the node has only to look something up.
pub const ANSWER: Duration = Duration::from_secs(10);

/// The same for a new chat: extensions are loaded, which goosed does before it answers.
pub const CREATE: Duration = Duration::from_secs(60);

/// Idle connections are kept for less than servers keep them.
const IDLE: Duration = Duration::from_secs(15);

/// Headers that are never passed on: those between two neighbours (RFC 9110, section 7.6.1), and what a
/// client says of itself.
static DROPPED: [HeaderName; 13] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    header::AUTHORIZATION,
    header::HOST,
    header::ORIGIN,
    header::COOKIE,
    SECRET_HEADER,
];

/// The pools: one for each thread that serves, so that nobody waits for a connection of another thread.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// By [`workers::seat`].
    pools: [Client<Connector, Body>; workers::MOST + 1],
    owners: Owners,
    metrics: Metrics,
}

impl Upstream {
    /// Connects to nothing yet.
    pub fn new(metrics: Metrics) -> Self {
        Self::connecting(metrics, Owners::default())
    }

    /// The same with owners as somebody sees them.
    pub fn connecting(metrics: Metrics, owners: Owners) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        let pool = |_| {
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .build(Connector::new(connector.clone(), owners.clone()))
        };
        Self {
            pools: std::array::from_fn(pool),
            owners,
            metrics,
        }
    }

    /// For who connects by itself: whether whoever took its connection is this user's own. To be asked
    /// before anything is written.
    ///
    /// # Errors
    /// [`Failure::NotSent`]: it is not.
    pub async fn is_own(&self, port: u16) -> Result<(), Failure> {
        self.owners.check(port).await.map_err(Failure::NotSent)
    }

    /// Sends a request to a node, with the node's own credentials, and waits for the head of the answer.
    /// The path and the headers are those of `request`; what a client said about itself (its secret, Host,
    /// Origin) is taken out. The body of the answer is not waited for, and not bounded in time.
    ///
    /// # Errors
    /// No answer in time; whether the node may have taken the request.
    pub async fn send(
        &self,
        to: &Endpoint,
        mut request: Request<Body>,
        wait: Duration,
    ) -> Result<Response<Incoming>, Failure> {
        address(to, &mut request)?;
        clean(request.headers_mut());
        credentials(to, request.headers_mut());
        access::node(&to.node);
        let begun = Instant::now();
        let pool = &self.pools[workers::seat()];
        match tokio::time::timeout(wait, pool.request(request)).await {
            Ok(Ok(answer)) => {
                self.metrics.took(&to.node, begun.elapsed());
                Ok(answer)
            }
            Ok(Err(e)) if e.is_connect() => Err(Failure::NotSent(words(&e))),
            Ok(Err(e)) => Err(Failure::NoAnswer(words(&e))),
            Err(_) => Err(Failure::NoAnswer(format!(
                "nothing within {} s",
                wait.as_secs()
            ))),
        }
    }
}

/// Puts the node's address before the path.
fn address(to: &Endpoint, request: &mut Request<Body>) -> Result<(), Failure> {
    let bad = |e: &dyn std::fmt::Display| Failure::NotSent(format!("a bad request line: {e}"));
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(to.authority.clone());
    if parts.path_and_query.is_none() {
        parts.path_and_query = Some(axum::http::uri::PathAndQuery::from_static("/"));
    }
    *request.uri_mut() = Uri::from_parts(parts).map_err(|e| bad(&e))?;
    *request.version_mut() = axum::http::Version::HTTP_11;
    Ok(())
}

/// Takes out what is between two neighbours, and what a client says of itself.
pub fn clean(headers: &mut HeaderMap) {
    let named = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .filter_map(|name| name.trim().parse().ok());
    // Looked for before they are taken out: a request has a few headers, and few of them are among these.
    let there = headers.keys().filter(|name| DROPPED.contains(name));
    let dropped: Vec<HeaderName> = named.chain(there.cloned()).collect();
    for name in &dropped {
        headers.remove(name);
    }
}

fn credentials(to: &Endpoint, headers: &mut HeaderMap) {
    if let Some((name, value)) = to.credentials.clone() {
        headers.insert(name, value);
    }
}

/// The last cause says most: `connection refused`.
fn words(e: &dyn std::error::Error) -> String {
    let mut last = e;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}
