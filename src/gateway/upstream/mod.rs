//! The way to the nodes: pools of connections, and what is said on each. A connection to another user's
//! process is none.

pub mod owners;
mod pool;
mod wire;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, Request, Response, Uri, Version, header};
use tokio::net::TcpStream;
use tokio::time::error::Elapsed;

use super::access;
use super::credentials::SECRET_HEADER;
use super::failure::Failure;
use super::metrics::Metrics;
use super::nodes::Endpoint;
use super::workers;
use owners::Owners;
use pool::Pool;
pub use wire::NodeBody;
use wire::{Home, Unanswered, Wire};

/// For a connection on loopback; a listener that is alive takes microseconds.
pub const CONNECT: Duration = Duration::from_secs(1);

/// How long a probe may take.
pub const PROBE: Duration = Duration::from_secs(1);

/// How long the head of an answer is waited for, where the node has only to look something up.
pub const ANSWER: Duration = Duration::from_secs(10);

/// The same for a new chat: extensions are loaded, which goosed does before it answers.
pub const CREATE: Duration = Duration::from_secs(60);

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
    pools: [Arc<Pool>; workers::MOST + 1],
    owners: Owners,
    metrics: Metrics,
}

/// Why there is no connection. Nothing was sent.
#[derive(Debug)]
pub enum Unconnected {
    /// Not within [`CONNECT`].
    Late(Elapsed),
    /// Nobody takes it, or not for long.
    Refused(std::io::Error),
    /// Whoever took it is none of this user's own, and why.
    Stranger(String),
}

impl From<Unconnected> for Failure {
    fn from(why: Unconnected) -> Self {
        Failure::NotSent(match why {
            Unconnected::Late(e) => words(&e),
            Unconnected::Refused(e) => words(&e),
            Unconnected::Stranger(why) => why,
        })
    }
}

impl Upstream {
    /// Connects to nothing yet.
    pub fn new(metrics: Metrics) -> Self {
        Self::connecting(metrics, Owners::default())
    }

    /// The same with owners as somebody sees them.
    pub fn connecting(metrics: Metrics, owners: Owners) -> Self {
        Self {
            pools: std::array::from_fn(|_| Arc::default()),
            owners,
            metrics,
        }
    }

    /// A connection to one of this user's own processes, on which nothing was written yet.
    ///
    /// # Errors
    /// There is none.
    pub async fn connect(&self, port: u16) -> Result<TcpStream, Unconnected> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        let stream = tokio::time::timeout(CONNECT, stream)
            .await
            .map_err(Unconnected::Late)?
            .map_err(Unconnected::Refused)?;
        stream.set_nodelay(true).map_err(Unconnected::Refused)?;
        let own = self.owners.check(port).await;
        own.map_err(Unconnected::Stranger)?;
        Ok(stream)
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
    ) -> Result<Response<NodeBody>, Failure> {
        line(&mut request);
        headers(to, request.headers_mut());
        access::node(&to.node);
        let begun = Instant::now();
        match tokio::time::timeout(wait, self.exchange(to.port, request)).await {
            Ok(answer) => {
                let answer = answer?;
                self.metrics.took(&to.node, begun.elapsed());
                Ok(answer)
            }
            Err(_) => Err(Failure::NoAnswer(format!(
                "nothing within {} s",
                wait.as_secs()
            ))),
        }
    }

    async fn exchange(
        &self,
        port: u16,
        mut request: Request<Body>,
    ) -> Result<Response<NodeBody>, Failure> {
        let pool = &self.pools[workers::seat()];
        let home = || Home {
            pool: Arc::downgrade(pool),
            port,
        };
        // The node may have closed any of these, without a word so far.
        while let Some(wire) = pool.take(port) {
            match wire.ask(request, home()).await {
                Ok(answer) => return Ok(answer),
                Err(Unanswered::Unsent(_, back)) => request = *back,
                Err(Unanswered::Lost(e)) => return Err(Failure::NoAnswer(words(&e))),
            }
        }
        let wire = Wire::over(self.connect(port).await?).await;
        let wire = wire.map_err(|e| Failure::NotSent(words(&e)))?;
        wire.ask(request, home()).await.map_err(|e| match e {
            Unanswered::Unsent(e, _) => Failure::NotSent(words(&e)),
            Unanswered::Lost(e) => Failure::NoAnswer(words(&e)),
        })
    }
}

/// The request line as a server gets it: without the host, and in HTTP/1.1.
fn line(request: &mut Request<Body>) {
    let uri = request.uri();
    if uri.authority().is_some() || uri.path_and_query().is_none() {
        let path = uri.path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(path);
    }
    *request.version_mut() = Version::HTTP_11;
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

/// What the node hears of the gateway in place of what the client said of itself.
pub fn headers(to: &Endpoint, headers: &mut HeaderMap) {
    clean(headers);
    headers.insert(header::HOST, to.host.clone());
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

#[cfg(test)]
mod tests;
