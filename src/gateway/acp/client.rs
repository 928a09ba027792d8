//! One client's connection, whatever its transport: the ways to the nodes it uses, the questions it has to
//! answer, and its end, which ends all of that.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::asked::{Question, Questions};
use super::fault::Fault;
use super::frame::{Id, Message, Params, Raw, raw};
use super::gathered::Kept;
use super::hello;
use super::link::{Command, Link};
use super::out::{Gone, Out, Route};
use super::rooms::Rooms;
use crate::gateway::{Gateway, lock};

/// Unit in which what waits to be taken by nodes is counted; a message costs at least one, and whatever it
/// makes the gateway do is bounded by that as well.
const UNIT: usize = 64 * 1024;

/// What may be under way from one client to the nodes, in units: one message of the largest size and some
/// more.
const BUDGET: usize = 1024;

/// Longest introduction of a client's: it is kept, and remembered for others that introduce themselves alike.
const HELLO: usize = 256 * 1024;

/// The place a message takes up until a node has it.
#[derive(Debug)]
pub struct Room {
    _permit: OwnedSemaphorePermit,
}

/// One client.
#[derive(Debug)]
pub struct Client {
    /// The gateway.
    pub gateway: Gateway,
    /// What all clients of the dialect share.
    pub rooms: Arc<Rooms>,
    /// The way to it.
    pub out: Out,
    /// Its requests on the way to nodes.
    budget: Arc<Semaphore>,
    /// Answers to its batches that wait for others.
    pub kept: Arc<Kept>,
    /// What it said of itself, which every node is told.
    hello: Mutex<Params>,
    /// How many of its introductions are under way.
    introducing: watch::Sender<usize>,
    /// What it was told of what its agent can do.
    told: Mutex<Option<Raw>>,
    links: Mutex<BTreeMap<String, Link>>,
    questions: Mutex<Questions>,
    wires: AtomicU64,
    /// Its place among the clients, until it ends; each link has its share for as long as it takes.
    place: Mutex<Option<Arc<OwnedSemaphorePermit>>>,
}

impl Client {
    /// Nobody is connected to yet.
    pub fn new(
        gateway: &Gateway,
        rooms: &Arc<Rooms>,
        split: bool,
        patience: Duration,
        place: OwnedSemaphorePermit,
    ) -> Arc<Self> {
        Arc::new(Self::of(
            gateway,
            rooms,
            split,
            patience,
            Some(Arc::new(place)),
        ))
    }

    fn of(
        gateway: &Gateway,
        rooms: &Arc<Rooms>,
        split: bool,
        patience: Duration,
        place: Option<Arc<OwnedSemaphorePermit>>,
    ) -> Self {
        Self {
            gateway: Arc::clone(gateway),
            rooms: Arc::clone(rooms),
            out: Out::new(split, patience),
            budget: Arc::new(Semaphore::new(BUDGET)),
            kept: Arc::default(),
            // Of one that says nothing: it offers neither files nor terminals.
            hello: Mutex::new(Params::of(&json!({
                "protocolVersion": 1,
                "clientCapabilities": {},
            }))),
            introducing: watch::Sender::new(0),
            told: Mutex::new(None),
            links: Mutex::new(BTreeMap::new()),
            questions: Mutex::new(Questions::default()),
            wires: AtomicU64::new(0),
            place: Mutex::new(place),
        }
    }

    /// One that says of itself what this one does, and does something for it that does not end with it.
    /// Nobody reads what is said to it.
    pub fn errand(&self) -> Errand {
        let patience = self.rooms.limits.stalled;
        let errand = Self::of(&self.gateway, &self.rooms, false, patience, self.place());
        *lock(&errand.hello) = self.hello();
        Errand(Arc::new(errand))
    }

    /// What nodes are told of it.
    pub fn hello(&self) -> Params {
        lock(&self.hello).clone()
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// That is too much.
    pub fn set_hello(&self, params: Params) -> Result<(), Fault> {
        if params.text().len() > HELLO {
            return Err(Fault::params(format!(
                "an introduction has at most {HELLO} bytes"
            )));
        }
        *lock(&self.hello) = params;
        Ok(())
    }

    /// It introduces itself for as long as this is kept. To be begun before anything that it says afterwards
    /// is taken.
    pub fn introduction(self: &Arc<Self>) -> Introduction {
        self.introducing.send_modify(|under_way| *under_way += 1);
        Introduction(Arc::clone(self))
    }

    /// Waits until nothing is under way that changes what it is told, and how nodes speak to it: it need not
    /// wait for the answer before it goes on.
    pub async fn introduced(&self) {
        let mut under_way = self.introducing.subscribe();
        // An error: nobody is left who could end it.
        let _ = under_way.wait_for(|under_way| *under_way == 0).await;
    }

    /// What it was told of what its agent can do; `None` before that.
    pub fn told(&self) -> Option<Raw> {
        lock(&self.told).clone()
    }

    /// Notes that, and has nodes speak to it from now on in the version that was agreed on.
    pub fn tell(&self, hello: &Raw) {
        *lock(&self.told) = Some(hello.clone());
        if let (Some(version), Params::Named(own)) =
            (hello::version(hello), &mut *lock(&self.hello))
            && let Some(version) = raw(&version)
        {
            own.insert("protocolVersion".to_owned(), version);
        }
    }

    /// Waits until so many bytes may be under way. `None`: it has ended.
    pub async fn room(&self, bytes: usize) -> Option<Room> {
        let units = u32::try_from((bytes / UNIT + 1).min(BUDGET)).ok()?;
        tokio::select! {
            () = self.out.closing() => None,
            permit = Arc::clone(&self.budget).acquire_many_owned(units) => {
                Some(Room { _permit: permit.ok()? })
            }
        }
    }

    /// A share of its place among the clients.
    pub fn place(&self) -> Option<Arc<OwnedSemaphorePermit>> {
        lock(&self.place).clone()
    }

    /// The way to a node, begun where there is none yet.
    pub fn link(self: &Arc<Self>, node: &str) -> Link {
        let mut links = lock(&self.links);
        if let Some(link) = links.get(node) {
            return link.clone();
        }
        let link = Link::begin(self, node);
        links.insert(node.to_owned(), link.clone());
        link
    }

    /// Says something to all nodes that it is connected to.
    pub fn tell_all(&self, command: impl Fn() -> Command) {
        let links: Vec<Link> = lock(&self.links).values().cloned().collect();
        for link in links {
            link.give(command(), None);
        }
    }

    /// Sends it a message.
    ///
    /// # Errors
    /// It is gone.
    pub async fn say(&self, route: &Route, message: &Message) -> Result<(), Gone> {
        self.out.send(route, message.text()).await
    }

    /// Numbers a connection to a node.
    pub fn next_wire(&self) -> u64 {
        self.wires.fetch_add(1, Ordering::Relaxed)
    }

    /// Keeps a node's question; the id under which the client gets it.
    pub fn ask(&self, question: Question) -> Option<Id> {
        lock(&self.questions).ask(question)
    }

    /// Whose question it answers.
    pub fn answered(&self, id: &Id) -> Option<Question> {
        lock(&self.questions).answered(id)
    }

    /// The id of a question that needs no answer.
    pub fn withdrawn(&self, wire: u64, id: &Id) -> Option<Id> {
        lock(&self.questions).withdrawn(wire, id)
    }

    /// The ids of all questions that came by a connection which is gone.
    pub fn gone(&self, wire: u64) -> Vec<Id> {
        lock(&self.questions).gone(wire)
    }

    /// Ends it: what comes to it now is dropped, and its connections to nodes are closed, as soon as what
    /// they make for it is made.
    pub fn close(&self) {
        self.out.close();
        lock(&self.place).take();
        lock(&self.links).clear();
    }
}

/// An introduction under way.
#[derive(Debug)]
pub struct Introduction(Arc<Client>);

impl Drop for Introduction {
    fn drop(&mut self) {
        self.0.introducing.send_modify(|under_way| *under_way -= 1);
    }
}

/// A client of the gateway's own; it ends when it is dropped.
#[derive(Debug)]
pub struct Errand(Arc<Client>);

impl std::ops::Deref for Errand {
    type Target = Arc<Client>;

    fn deref(&self) -> &Arc<Client> {
        &self.0
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        self.0.close();
    }
}
