//! A stand-in for goosed 1.37: its REST interface with all that a gateway must cope with. Session names
//! that every node counts from 1 by itself, a model that is only there after a resume, events with
//! `id:` and pings, errors in four forms, and faults on demand. It answers with its own name in front of
//! what it was asked, so that a reply shows where it came from.
//!
//! In a test it is a value ([`StandIn`]); as a program of its own ([`process::run`]) it obeys goosed's
//! environment and keeps its sessions over a SIGKILL. It holds no model and runs no tools.

#![allow(
    dead_code,
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::exit,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "shared by several suites, each of which uses a part; a test may panic and speak"
)]

pub mod agents;
pub mod bus;
pub mod process;
pub mod routes;
pub mod store;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// What a node is.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name, said in every reply.
    pub name: String,
    /// What `X-Secret-Key` must hold.
    pub secret: String,
    /// Where sessions are kept; `None`: in memory.
    pub directory: Option<PathBuf>,
    /// What a resumed session reports, as if set in its environment; empty: what is configured.
    pub provider: String,
    pub model: String,
}

/// By what it is found out whether it is there, and takes its secret.
pub const PROBES: [&str; 2] = ["/status", "/system_info"];

/// What it does wrong, at the moment.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// It accepts connections and answers nothing, and its streams are silent.
    pub hang: bool,
    /// The same, but for [`PROBES`].
    pub hang_but_probes: bool,
    /// How long every answer takes.
    pub slow: Duration,
    /// It does not take its secret.
    pub deaf: bool,
    /// How long `/agent/start` takes.
    pub slow_start: Duration,
    /// Paths that are answered with an error: exact path, status.
    pub fail: BTreeMap<String, u16>,
    /// Between two words of a reply.
    pub word_delay: Duration,
    /// The connection is broken after so many words of a reply.
    pub die_after: Option<usize>,
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    /// With the query.
    pub target: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Seen {
    /// `POST /agent/start`
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// The state of one node.
pub struct Node {
    pub options: Options,
    faults: Mutex<Faults>,
    seen: Mutex<Vec<Seen>>,
    store: store::Store,
    /// Gone with the process.
    agents: Mutex<agents::Agents>,
    buses: Mutex<BTreeMap<String, Arc<bus::Bus>>>,
    /// Streams that somebody reads.
    streams: AtomicUsize,
}

impl Node {
    pub fn new(options: Options) -> Arc<Self> {
        Arc::new(Self {
            store: store::Store::new(options.directory.clone()),
            options,
            faults: Mutex::default(),
            seen: Mutex::default(),
            agents: Mutex::default(),
            buses: Mutex::default(),
            streams: AtomicUsize::new(0),
        })
    }

    pub fn faults(&self) -> Faults {
        lock(&self.faults).clone()
    }

    pub fn fault(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut lock(&self.faults));
    }

    /// A path that is answered with an error from now on.
    pub fn fail(&self, path: &str, status: u16) {
        self.fault(|f| {
            f.fail.insert(path.to_owned(), status);
        });
    }

    /// What came since the last call, in order; health probes are left out.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *lock(&self.seen))
            .into_iter()
            .filter(|seen| !PROBES.contains(&seen.target.as_str()))
            .collect()
    }

    /// How often such a request came, without forgetting it.
    pub fn count(&self, line: &str) -> usize {
        lock(&self.seen).iter().filter(|s| s.line() == line).count()
    }

    /// How many messages a session has.
    pub fn messages(&self, id: &str) -> usize {
        self.store
            .with(|kept| kept.sessions.get(id).map_or(0, |s| s.message_count))
    }

    /// How many event streams somebody reads.
    pub fn streams(&self) -> usize {
        self.streams.load(Ordering::SeqCst)
    }
}

/// A node on a port of its own.
pub struct StandIn {
    pub node: Arc<Node>,
    pub port: u16,
    served: Mutex<Option<JoinHandle<()>>>,
}

impl StandIn {
    /// One with everything in memory. Must be called on a runtime.
    pub async fn new(name: &str, secret: &str) -> Self {
        Self::with(Options {
            name: name.to_owned(),
            secret: secret.to_owned(),
            directory: None,
            provider: "stand-in".to_owned(),
            model: "stand-in-1".to_owned(),
        })
        .await
    }

    pub async fn with(options: Options) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let stand_in = Self {
            port: listener.local_addr().unwrap().port(),
            node: Node::new(options),
            served: Mutex::new(None),
        };
        stand_in.accept(listener);
        stand_in
    }

    fn accept(&self, listener: TcpListener) {
        let served = tokio::spawn(serve(Arc::clone(&self.node), listener));
        *lock(&self.served) = Some(served);
    }

    /// Ends as if it were killed: every connection is broken, new ones are refused, what was in memory
    /// only is gone.
    pub async fn kill(&self) {
        let served = lock(&self.served).take();
        if let Some(served) = served {
            served.abort();
            let _ = served.await;
        }
        lock(&self.node.agents).clear();
        lock(&self.node.buses).clear();
    }

    /// Begins again on its port.
    pub async fn restart(&self) {
        self.kill().await;
        let listener = loop {
            match TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        self.accept(listener);
    }
}

/// Serves until it is dropped; then every connection is closed.
pub async fn serve(node: Arc<Node>, listener: TcpListener) {
    let router = routes::router(&node);
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => continue,
            },
        };
        let _ = stream.set_nodelay(true);
        let router = router.clone();
        connections.spawn(async move {
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
                .await;
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
