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
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::install::Install;
use crate::routing::pins::{Pin, Pins, Reader};
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
        if let Err(e) = pins.wait_at_most(PINS) {
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

    /// Reads or writes pins, on a thread that may wait for the disk. Who only reads takes
    /// [`Shared::look`], which waits for nobody who writes.
    ///
    /// # Errors
    /// Those of `run`; kind `Busy`: others were at it for too long, and nothing was done.
    pub async fn pins<T: Send + 'static, E: From<Error> + Send + 'static>(
        &self,
        run: impl FnOnce(&mut Pins) -> std::result::Result<T, E> + Send + 'static,
    ) -> std::result::Result<T, E> {
        let turn = tokio::time::timeout(PINS, Arc::clone(&self.pins).lock_owned());
        let mut pins = turn.await.map_err(|_| E::from(crowded()))?;
        tokio::task::spawn_blocking(move || run(&mut pins))
            .await
            .unwrap_or_else(|e| Err(E::from(broken_off(&e))))
    }

    /// Reads pins, while others write them.
    ///
    /// # Errors
    /// Those of `run`; they cannot be opened; kind `Busy` as of [`Shared::pins`].
    pub async fn look<T: Send + 'static, E: From<Error> + Send + 'static>(
        &self,
        run: impl FnOnce(&Reader) -> std::result::Result<T, E> + Send + 'static,
    ) -> std::result::Result<T, E> {
        let turn = tokio::time::timeout(PINS, Arc::clone(&self.reader).lock_owned());
        let mut reader = turn.await.map_err(|_| E::from(crowded()))?;
        let file = Arc::clone(&self.file);
        tokio::task::spawn_blocking(move || {
            let open = match reader.take() {
                Some(open) => open,
                None => Reader::of(&file)?,
            };
            run(reader.insert(open))
        })
        .await
        .unwrap_or_else(|e| Err(E::from(broken_off(&e))))
    }

    /// A chat's pin, if it has one.
    ///
    /// # Errors
    /// As of [`Shared::look`].
    pub async fn pin(&self, chat: &str) -> Result<Option<Pin>> {
        let chat = chat.to_owned();
        self.look(move |pins| pins.pin(&chat)).await
    }

    /// The pins, for a thread that may wait.
    fn turn(&self) -> Result<tokio::sync::OwnedMutexGuard<Pins>> {
        let until = Instant::now() + PINS;
        loop {
            match Arc::clone(&self.pins).try_lock_owned() {
                Ok(pins) => return Ok(pins),
                Err(_) if Instant::now() >= until => return Err(crowded()),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Notes that a chat was used; written down by [`Shared::flush_used`].
    pub fn used(&self, chat: &str) {
        access::chat(chat);
        self.used.note(chat);
    }

    /// The same for as long as what is returned is there: a stream, or a turn, may last.
    pub fn using(&self, chat: &str) -> using::Using {
        access::chat(chat);
        self.used.hold(chat)
    }

    /// Releases pins that were not used for `ttl` and are not in use. How many. Blocks.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn expire(&self, ttl: jiff::SignedDuration, now: jiff::Timestamp) -> Result<usize> {
        let mut pins = self.turn()?;
        pins.used(self.used.open())?;
        pins.expire(ttl, now)
    }

    /// Writes down which chats were used. Blocks.
    ///
    /// # Errors
    /// It cannot be written; it is tried again with the next ones.
    pub fn flush_used(&self) -> Result<()> {
        let used = self.used.take();
        if used.is_empty() {
            return Ok(());
        }
        let written = self.turn().and_then(|mut pins| pins.used(&used));
        if written.is_err() {
            used.iter().for_each(|chat| self.used.note(chat));
        }
        written
    }
}

/// How long a request waits for its turn with the pins, and then for another process that writes them.
const PINS: Duration = Duration::from_secs(5);

fn crowded() -> Error {
    let secs = PINS.as_secs();
    Error::busy(format!(
        "the table of pins was in use by others for {secs} s"
    ))
}

fn broken_off(e: &tokio::task::JoinError) -> Error {
    Error::bug(format!("reading or writing pins broke off: {e}"))
}

/// What a panic of another holder has left is as good as before: every change is made whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
