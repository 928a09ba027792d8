//! Connections to nodes, to this user's processes only. Every connection is looked at before a byte is
//! written on it; what was seen of a port holds for a moment, so that many connections cost one look.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::BoxError;
use axum::http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

use super::lock;
use crate::routing::listener::stranger;

/// So long holds what was seen of a port.
const SEEN: Duration = Duration::from_secs(1);

/// Tells what is wrong with whoever listens on a port.
type Look = fn(u16) -> Option<String>;

/// Who listens on the ports of nodes.
#[derive(Debug, Clone)]
pub struct Owners {
    look: Look,
    /// When a port was last found to be this user's own.
    own: Arc<Mutex<BTreeMap<u16, Instant>>>,
    /// Who looks: of many connections at once one, for all.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Default for Owners {
    fn default() -> Self {
        Self::seen_by(stranger)
    }
}

impl Owners {
    /// As somebody sees them.
    pub fn seen_by(look: Look) -> Self {
        Self {
            look,
            own: Arc::default(),
            turn: Arc::default(),
        }
    }

    fn seen(&self, port: u16) -> bool {
        let seen = lock(&self.own).get(&port).copied();
        seen.is_some_and(|seen| seen.elapsed() < SEEN)
    }

    /// Whether a port's listener is this user's own. To be asked on a connection that stands: before that
    /// there may be nobody yet.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn check(&self, port: u16) -> Result<(), String> {
        if self.seen(port) {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        if self.seen(port) {
            return Ok(());
        }
        let now = Instant::now();
        let look = self.look;
        // Files of the kernel are read.
        let found = tokio::task::spawn_blocking(move || look(port)).await;
        match found {
            Ok(None) => {
                let mut own = lock(&self.own);
                own.retain(|_, seen| now.duration_since(*seen) < SEEN);
                own.insert(port, now);
                Ok(())
            }
            Ok(Some(why)) => Err(why),
            Err(e) => Err(format!("cannot tell whose its port {port} is: {e}")),
        }
    }
}

/// Connects.
#[derive(Debug, Clone)]
pub struct Connector {
    inner: HttpConnector,
    owners: Owners,
}

impl Connector {
    /// With a connector's own settings.
    pub fn new(inner: HttpConnector, owners: Owners) -> Self {
        Self { inner, owners }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Service::poll_ready(&mut self.inner, cx).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let port = to.port_u16().unwrap_or(80);
        let connected = self.inner.call(to);
        let owners = self.owners.clone();
        Box::pin(async move {
            let stream = connected.await?;
            owners.check(port).await?;
            Ok(stream)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::Body;
    use axum::http::Request;
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::gateway::metrics::Metrics;
    use crate::gateway::nodes::Endpoint;
    use crate::gateway::upstream::{ANSWER, Failure, Upstream};
    use crate::routing::node::Dialect;

    #[tokio::test]
    async fn a_strangers_server_is_told_nothing() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all).await;
            all
        });
        let owners = Owners::seen_by(|_| Some("another user's process listens".to_owned()));
        let upstream = Upstream::connecting(Metrics::new(), owners);
        for dialect in [Dialect::Goosed, Dialect::Opencode] {
            let to = Endpoint::new("a", dialect, port, "s3cret");
            let request = Request::get("/status").body(Body::empty()).unwrap();
            let failure = upstream.send(&to, request, ANSWER).await.unwrap_err();
            let said = "another user's process listens".to_owned();
            assert_eq!(failure, Failure::NotSent(said));
            if heard.is_finished() {
                break;
            }
        }
        assert_eq!(heard.await.unwrap(), b"");
    }

    #[tokio::test]
    async fn many_connections_at_once_cost_one_look() {
        static LOOKS: AtomicUsize = AtomicUsize::new(0);
        let owners = Owners::seen_by(|_| {
            LOOKS.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(20));
            None
        });
        let all = (0..50).map(|_| owners.check(1));
        for seen in futures_util::future::join_all(all).await {
            seen.unwrap();
        }
        assert_eq!(LOOKS.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn what_was_seen_holds_for_a_moment_and_a_stranger_never() {
        static LOOKS: AtomicUsize = AtomicUsize::new(0);
        let owners = Owners::seen_by(|port| {
            LOOKS.fetch_add(1, Ordering::Relaxed);
            (port == 2).then(|| "no".to_owned())
        });
        for _ in 0..3 {
            owners.check(1).await.unwrap();
        }
        assert_eq!(LOOKS.load(Ordering::Relaxed), 1);
        for _ in 0..3 {
            owners.check(2).await.unwrap_err();
        }
        assert_eq!(LOOKS.load(Ordering::Relaxed), 4);
    }
}
