//! The gateway: one local URL for every node of the fleet. A chat that a client begins is placed on a
//! node and stays there; everything else of the chat goes where it was placed.
//!
//! ```text
//! client ─> server (accept, TLS, limits) ─> door (guard: secret, Host, Origin) ─> a dialect ─> upstream ─> node
//!                                                          place, pins <───────┤
//!             observer (a thread) ─> nodes (what they are, how they are) <─────┘
//! ```
//!
//! Each dialect is a room of its own: goosed at the root, ACP at `/acp`, opencode below `/opencode`, any
//! node (plain terminals included) at `/nodes` and `/chats`. They share what
//! decides: who may ask, where a chat goes, what a failure means.

pub mod access;
pub mod acp;
pub mod aside;
pub mod ask;
pub mod chats;
pub mod credentials;
pub mod detached;
pub mod directory;
pub mod door;
pub mod doubt;
pub mod failure;
pub mod goose_desktop;
pub mod goosed;
pub mod guard;
pub mod ids;
pub mod limits;
pub mod listen;
pub mod metrics;
pub mod nodes;
pub mod observe;
pub mod opencode;
pub mod pieces;
mod pins;
pub mod place;
pub mod reply;
pub mod run;
pub mod secret;
pub mod server;
pub mod source;
pub mod stream;
pub mod taking;
pub mod tls;
pub mod upstream;
pub mod using;
pub mod whole;
pub mod workers;

#[cfg(test)]
pub mod stand_in;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::install::Install;
use crate::routing::pins::{Pins, Reader};
use crate::routing::policy::Policy;
use guard::Secret;
use limits::Limits;
use metrics::Metrics;
use nodes::Nodes;
use upstream::Upstream;

/// What every request needs. Cheap to clone.
pub type Gateway = Arc<Shared>;

/// The one state of a gateway. Nothing in it must survive: what must is in [`Pins`].
pub struct Shared {
    /// The fleet; `None` in tests that have stand-ins for nodes and no agents.
    pub install: Option<Install>,
    /// How chats are placed.
    policy: Mutex<Arc<Policy>>,
    /// The nodes, as observed last.
    pub nodes: Nodes,
    /// The way to them.
    pub upstream: Upstream,
    /// What is counted.
    pub metrics: Metrics,
    /// The gateway's own secret.
    pub secret: Secret,
    /// Names under which it may be asked, beside addresses.
    pub names: tls::Names,
    /// What clients may take.
    pub limits: Limits,
    /// What is left of the limit of all bodies of requests.
    pub bodies: limits::Budget,
    /// The same of the answers that are read whole.
    pub answers: limits::Budget,
    /// The same of what the gateway itself reads.
    pub looks: limits::Budget,
    /// Ends every stream when the gateway stops.
    pub stopping: stream::Switch,
    /// What is not ended with its client.
    pub under_way: detached::UnderWay,
    /// What goosed's dialect keeps.
    pub goosed: goosed::Kept,
    pins: Arc<tokio::sync::Mutex<Pins>>,
    /// Opened by who reads first.
    reader: Arc<tokio::sync::Mutex<Option<Reader>>>,
    /// Where the pins are.
    file: Arc<Path>,
    /// Chats that were used, and that are in use.
    used: Arc<using::Used>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// A gateway that knows no nodes yet.
    pub fn new(install: Option<Install>, policy: Policy, pins: Pins, secret: Secret) -> Gateway {
        Arc::new(Self::of(install, policy, pins, secret))
    }

    fn of(install: Option<Install>, policy: Policy, pins: Pins, secret: Secret) -> Self {
        let metrics = Metrics::new();
        let limits = Limits::default();
        if let Err(e) = pins.wait_at_most(pins::WAIT) {
            tracing::warn!("{e}");
        }
        Self {
            install,
            policy: Mutex::new(Arc::new(policy)),
            nodes: Nodes::default(),
            upstream: Upstream::new(metrics.clone()),
            metrics,
            secret,
            names: tls::Names::default(),
            bodies: limits::Budget::of(limits.bodies),
            answers: limits::Budget::of(limits.answers),
            looks: limits::Budget::of(limits.looks),
            limits,
            stopping: stream::Switch::latch(),
            under_way: detached::UnderWay::default(),
            goosed: goosed::Kept::default(),
            file: pins.path().into(),
            pins: Arc::new(tokio::sync::Mutex::new(pins)),
            reader: Arc::default(),
            used: Arc::default(),
        }
    }

    /// The same with names of its own.
    pub fn named(self, names: tls::Names) -> Self {
        Self { names, ..self }
    }

    /// The same with limits of its own.
    pub fn within(self, limits: Limits) -> Self {
        Self {
            bodies: limits::Budget::of(limits.bodies),
            answers: limits::Budget::of(limits.answers),
            looks: limits::Budget::of(limits.looks),
            limits,
            ..self
        }
    }

    /// How chats are placed at the moment.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&lock(&self.policy))
    }

    /// Replaces that.
    pub fn set_policy(&self, policy: Policy) {
        *lock(&self.policy) = Arc::new(policy);
    }
}

/// What a panic of another holder has left is as good as before: every change is made whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
