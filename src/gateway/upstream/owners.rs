//! Connections to nodes, to this user's processes only. Every connection is looked at before a byte is
//! written on it, by a look that began when it stood already: a port that was the node's a moment before may
//! be anybody's. Of many connections at once one looks for all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::gateway::lock;
use crate::routing::listener::stranger_at_the_other_end;

/// How long a look may take, with the wait for those of others.
const LOOK: Duration = Duration::from_secs(2);

/// What was seen is forgotten after this.
const SEEN: Duration = Duration::from_secs(60);

/// Tells what is wrong with whoever listens on a port.
type Look = fn(u16) -> Option<String>;

/// Who listens on the ports of nodes.
#[derive(Debug, Clone)]
pub struct Owners {
    look: Look,
    /// When the last look began that found a port to be this user's own.
    own: Arc<Mutex<BTreeMap<u16, Instant>>>,
    /// Who looks: of many connections at once one, for all.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Default for Owners {
    fn default() -> Self {
        Self::seen_by(stranger_at_the_other_end)
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

    /// Whether a port's listener is this user's own. To be asked on a connection that stands: before that
    /// there may be nobody yet, or somebody else.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn check(&self, port: u16) -> Result<(), String> {
        tokio::time::timeout(LOOK, self.looked(port, Instant::now()))
            .await
            .unwrap_or_else(|_| {
                let secs = LOOK.as_secs();
                Err(format!(
                    "cannot tell whose its port {port} is within {secs} s"
                ))
            })
    }

    async fn looked(&self, port: u16, stood: Instant) -> Result<(), String> {
        let _turn = self.turn.lock().await;
        let seen = lock(&self.own).get(&port).copied();
        if seen.is_some_and(|began| began >= stood) {
            return Ok(());
        }
        let began = Instant::now();
        let look = self.look;
        // Files of the kernel are read.
        let found = tokio::task::spawn_blocking(move || look(port)).await;
        match found {
            Ok(None) => {
                let mut own = lock(&self.own);
                own.retain(|_, seen| seen.elapsed() < SEEN);
                own.insert(port, began);
                Ok(())
            }
            Ok(Some(why)) => Err(why),
            Err(e) => Err(format!("cannot tell whose its port {port} is: {e}")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use axum::body::Body;
    use axum::http::Request;
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::gateway::failure::Failure;
    use crate::gateway::metrics::Metrics;
    use crate::gateway::nodes::Endpoint;
    use crate::gateway::upstream::{ANSWER, Upstream};
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
    async fn many_connections_at_once_cost_a_look_or_two() {
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
        // The first one looks for itself, and the second one for all that came before its look.
        assert_eq!(LOOKS.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_connection_is_looked_at_by_a_later_look() {
        static STRANGER: AtomicBool = AtomicBool::new(false);
        let owners = Owners::seen_by(|_| STRANGER.load(Ordering::Relaxed).then(|| "no".to_owned()));
        owners.check(1).await.unwrap();
        STRANGER.store(true, Ordering::Relaxed);
        owners.check(1).await.unwrap_err();
        STRANGER.store(false, Ordering::Relaxed);
        owners.check(1).await.unwrap();
    }

    #[tokio::test]
    async fn a_look_that_never_ends_is_not_waited_for() {
        let owners = Owners::seen_by(|_| {
            std::thread::sleep(LOOK + Duration::from_secs(1));
            None
        });
        let said = owners.check(1).await.unwrap_err();
        assert!(said.contains("within 2 s"), "{said}");
    }
}
