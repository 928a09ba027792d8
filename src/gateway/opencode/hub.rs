//! The nodes' events in one stream. Each node is listened to once, however many clients listen, and only
//! while one does; a node that goes and comes back is joined again, and its clients keep their stream.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::State;
use super::frames::{self, Event};
use super::named::Named;
use super::routes::Stream;
use super::scope;
use crate::gateway::lock;
use crate::gateway::nodes::Live;
use crate::gateway::reply::Reply;
use window::{Lost, Reader, Window};

mod listen;
mod window;

/// So many streams are merged at a time: each is a connection to every node that it means.
const TOPICS: usize = 64;

/// What tells one stream from another; nodes look at nothing else of a query.
const KEYS: [&str; 4] = [
    "directory",
    "workspace",
    "location[directory]",
    "location[workspace]",
];

/// How often a client hears that its stream lives, as opencode has it.
const BEAT: Duration = Duration::from_secs(10);

/// How long a new stream waits for the nodes to be joined, so that it misses nothing of what its client
/// does next.
const JOINING: Duration = Duration::from_secs(3);

/// How often it is looked whether the nodes are still the same ones.
const RECONCILE: Duration = Duration::from_secs(1);

/// What is listened to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topic {
    /// Which stream.
    pub stream: Stream,
    /// Its path at a node, with what counts of the query.
    pub path: String,
    /// The directory that is named.
    pub directory: Option<String>,
    /// The node that is named.
    pub node: Option<String>,
}

impl Topic {
    fn named(&self) -> Named {
        Named {
            directory: self.directory.clone(),
            node: self.node.clone(),
            query: String::new(),
        }
    }
}

/// All streams that somebody listens to.
#[derive(Debug, Default)]
pub struct Hub {
    merged: Mutex<HashMap<Topic, Weak<Merged>>>,
}

/// One stream of several nodes. Ends when nobody holds it.
#[derive(Debug)]
struct Merged {
    window: Arc<Window>,
    joined: watch::Receiver<bool>,
    work: AbortHandle,
}

impl Drop for Merged {
    fn drop(&mut self) {
        self.work.abort();
    }
}

/// A client's end of it.
struct Client {
    stream: Stream,
    events: Reader,
    beat: tokio::time::Interval,
    stopping: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Its greeting, which is due.
    greeting: Option<Bytes>,
    /// Kept for as long as it listens.
    _merged: Arc<Merged>,
}

/// Answers a client that wants to listen.
///
/// # Errors
/// There is no node to listen to, or so much is listened to that no other stream is begun.
pub async fn subscribe(
    state: &Arc<State>,
    stream: Stream,
    named: Named,
) -> Result<Response, Reply> {
    scope::of(&state.gateway, &named)?;
    let topic = Topic {
        stream,
        path: named.only(&KEYS).whole(stream.path()),
        directory: named.directory,
        node: named.node,
    };
    let merged = state.hub.merged(state, topic)?;
    let events = merged.window.reader();
    let mut joined = merged.joined.clone();
    let _ = tokio::time::timeout(JOINING, joined.wait_for(|all| *all)).await;
    let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + BEAT, BEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let client = Client {
        stream,
        events,
        beat,
        stopping: Box::pin(state.gateway.stopping.wait()),
        greeting: Some(frames::connected(stream)),
        _merged: merged,
    };
    let body = Body::from_stream(futures_util::stream::unfold(client, |mut client| async {
        let next = client.next().await?;
        Some((next, client))
    }));
    let mut response = body.into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache, no-transform"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

impl Client {
    async fn next(&mut self) -> Option<Result<Bytes, axum::BoxError>> {
        if let Some(greeting) = self.greeting.take() {
            return Some(Ok(greeting));
        }
        tokio::select! {
            biased;
            () = &mut self.stopping => None,
            event = self.events.next() => Some(event.map_err(|Lost(n)| {
                // An error, and no proper end. It comes again, and asks for everything anew.
                tracing::info!("a client of the events has lost {n} of them and is cut off");
                "too far behind".into()
            })),
            _ = self.beat.tick() => Some(Ok(frames::beat(self.stream))),
        }
    }
}

impl Hub {
    /// The stream, begun if nobody listens to it yet.
    fn merged(&self, state: &Arc<State>, topic: Topic) -> Result<Arc<Merged>, Reply> {
        let mut all = lock(&self.merged);
        if let Some(merged) = all.get(&topic).and_then(Weak::upgrade) {
            return Ok(merged);
        }
        all.retain(|_, merged| merged.strong_count() > 0);
        if all.len() >= TOPICS {
            return Err(Reply::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{TOPICS} directories are listened to already, and no more are at a time"),
            ));
        }
        let window = Arc::new(Window::default());
        let (tell, joined) = watch::channel(false);
        // Must not hold what it works for: that ends it.
        let work = tokio::spawn(keep(
            Arc::downgrade(state),
            topic.clone(),
            Arc::clone(&window),
            tell,
        ));
        let merged = Arc::new(Merged {
            window,
            joined,
            work: work.abort_handle(),
        });
        all.insert(topic, Arc::downgrade(&merged));
        Ok(merged)
    }
}

/// Listens to every node of a topic, whichever these are at the moment, until it is aborted.
async fn keep(state: Weak<State>, topic: Topic, window: Arc<Window>, joined: watch::Sender<bool>) {
    let mut listeners = JoinSet::new();
    let mut nodes: BTreeMap<String, (Arc<Live>, AbortHandle)> = BTreeMap::new();
    let mut settled: Vec<watch::Receiver<bool>> = Vec::new();
    loop {
        let Some(state) = state.upgrade() else { return };
        let now = scope::of(&state.gateway, &topic.named()).unwrap_or_default();
        nodes.retain(|_, (live, listener)| {
            let stays = now.iter().any(|other| Arc::ptr_eq(other, live));
            if !stays {
                listener.abort();
            }
            stays
        });
        for live in now {
            if nodes.contains_key(&live.node.id) {
                continue;
            }
            let (tell, told) = watch::channel(false);
            settled.push(told);
            let listener = listeners.spawn(listen::to(
                Arc::downgrade(&state),
                Arc::clone(&live),
                topic.clone(),
                Arc::clone(&window),
                tell,
            ));
            nodes.insert(live.node.id.clone(), (live, listener));
        }
        drop(state);
        if !*joined.borrow() {
            for mut told in settled.drain(..) {
                let _ = told.wait_for(|tried| *tried).await;
            }
            joined.send_replace(true);
        }
        tokio::time::sleep(RECONCILE).await;
        while listeners.try_join_next().is_some() {}
    }
}

/// What the gateway itself makes of a node's event. `None`: it is not for clients.
async fn heard(state: &Arc<State>, live: &Arc<Live>, frame: Bytes, again: bool) -> Option<Bytes> {
    match Event::of(&frame) {
        // Each client was greeted already. After a node was away its greeting is passed on, as a client of
        // that node would get it, who then looks at everything anew.
        Event::Connected => return again.then_some(frame),
        Event::Beat => return None,
        Event::Made(session) => state.sessions.own(&state.gateway, &session, live).await,
        Event::Child(session, parent) => state.sessions.child(&session, &parent),
        Event::Gone(session) => state.sessions.gone(&state.gateway, &session).await,
        Event::Asks(_, id) => state.asked.note(&id, &live.node.id),
        Event::Other => {}
    }
    Some(frame)
}
