//! What all clients of the dialect share: the connections over HTTP by their ids, how many there may be,
//! and what the nodes can do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::frame::Raw;
use super::out::STALLED;
use super::remote::Remote;
use crate::gateway::lock;
use crate::gateway::upstream::CREATE;

/// Most clients at a time. Each may have a connection to every node.
const CLIENTS: usize = 1024;

/// How long a client over HTTP may be silent with no stream open. A reload of a page takes seconds.
const IDLE: Duration = Duration::from_secs(60);

/// How long a node's answer to `initialize` holds for all: nodes are upgraded rarely, and then restarted.
const FRESH: Duration = Duration::from_secs(60);

/// Most different ways in which clients introduce themselves that are remembered.
const GREETINGS: usize = 64;

/// How long a batch that begins a connection over HTTP may take: nobody can be asked anything until it is
/// answered. As long as a node is given to make a session, and some more.
const BEGINNING: Duration = Duration::from_secs(CREATE.as_secs() + 15);

/// Times and numbers that tests have smaller.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// See [`CLIENTS`].
    pub clients: usize,
    /// See [`IDLE`].
    pub idle: Duration,
    /// See [`STALLED`].
    pub stalled: Duration,
    /// See [`BEGINNING`].
    pub beginning: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: CLIENTS,
            idle: IDLE,
            stalled: STALLED,
            beginning: BEGINNING,
        }
    }
}

/// Nodes' answers, and when they were given.
type Answers = BTreeMap<String, (Instant, Raw)>;

/// The dialect's state; nothing in it must survive.
#[derive(Debug)]
pub struct Rooms {
    /// Times and numbers.
    pub limits: Limits,
    places: Arc<Semaphore>,
    remotes: Mutex<BTreeMap<String, Arc<Remote>>>,
    greetings: Mutex<BTreeMap<String, Answers>>,
    /// Held by who has all nodes do the same: two at a time would leave some nodes with one's setting and
    /// some with the other's.
    pub writing: tokio::sync::Mutex<()>,
}

impl Rooms {
    /// Nobody is here.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            places: Arc::new(Semaphore::new(limits.clients)),
            remotes: Mutex::new(BTreeMap::new()),
            greetings: Mutex::new(BTreeMap::new()),
            writing: tokio::sync::Mutex::default(),
        })
    }

    /// A place for one more client, kept as long as it is connected.
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Keeps a connection over HTTP.
    pub fn add(&self, id: &str, remote: &Arc<Remote>) {
        lock(&self.remotes).insert(id.to_owned(), Arc::clone(remote));
    }

    /// The connection of an id.
    pub fn get(&self, id: &str) -> Option<Arc<Remote>> {
        lock(&self.remotes).get(id).cloned()
    }

    /// Forgets it.
    pub fn remove(&self, id: &str) -> Option<Arc<Remote>> {
        lock(&self.remotes).remove(id)
    }

    /// What a node answered when a client introduced itself like this, and whether that was not long ago.
    pub fn known(&self, greeting: &str, node: &str) -> Option<(Raw, bool)> {
        let known = lock(&self.greetings);
        let (at, answer) = known.get(greeting)?.get(node)?;
        Some((answer.clone(), at.elapsed() < FRESH))
    }

    /// Remembers that.
    pub fn learn(&self, greeting: &str, node: &str, answer: Raw) {
        let mut known = lock(&self.greetings);
        if known.len() >= GREETINGS && !known.contains_key(greeting) {
            let last = |answers: &Answers| answers.values().map(|(at, _)| *at).max();
            let oldest = known.iter().min_by_key(|(_, answers)| last(answers));
            if let Some(oldest) = oldest.map(|(greeting, _)| greeting.clone()) {
                known.remove(&oldest);
            }
        }
        let answers = known.entry(greeting.to_owned()).or_default();
        answers.insert(node.to_owned(), (Instant::now(), answer));
    }
}
