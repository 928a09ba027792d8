//! A new chat: a place is reserved, the node is asked whether it is there, and only then the chat is made.
//! What certainly was not made is tried on another node; what may have been made never is. Every dialect
//! places by this, each with its own way to make a chat.
//!
//! ```text
//! choose (which node) ─> probe (is it there) ─> the dialect makes it ─> pinned
//! ```

mod choose;
mod directory;
mod probe;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::failure::Failure;
use super::metrics::Placement;
use super::nodes::Live;
use super::reply::Reply;
use super::{Gateway, access, ids};
use crate::error::{Kind, Result as Done};
use crate::routing::node::{Dialect, Health};
use crate::routing::pins::{Pin, Pins, Placing, Reservation};
use choose::reserve;
pub use choose::{Wanted, choose, concerning, unavailable};
pub use directory::default_directory;
pub use probe::{probe, probe_within};

/// How long the pin of a chat that was made is tried to be written: others may be at it, or the disk is full
/// for a moment. Each try waits for others by itself.
const WRITE: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 8 });

/// And how long after one try the next.
const AGAIN: Duration = Duration::from_millis(200);

/// What came of asking a node to make a chat.
#[derive(Debug)]
pub enum Made<T, R = Response> {
    /// It made it, under this name of its own.
    Chat {
        /// The node's name of the chat.
        native: String,
        /// What the caller goes on with.
        value: T,
    },
    /// It has nothing to make: a terminal.
    Nothing(T),
    /// It answered that it did not: the answer is the client's.
    Refused(R),
    /// It was not asked, since it can make none as it is, and why. Another may; this one is not down.
    Unable(String),
}

/// What a chat is called towards clients.
#[derive(Debug, Clone)]
pub enum Name {
    /// As a function makes it from the node's id and the node's own name of the chat.
    Made(fn(&str, &str) -> Option<String>),
    /// As it was given before the chat was made.
    Given {
        /// The name.
        chat: String,
        /// Whoever gave it may ask for it again, however the first try ended.
        known: bool,
    },
}

impl Name {
    /// The name that is known before.
    fn given(&self) -> &str {
        match self {
            Name::Given { chat, .. } => chat,
            Name::Made(_) => "",
        }
    }
}

/// A chat and its node.
#[derive(Debug)]
pub struct Placed<T> {
    /// The node that has made it.
    pub live: Arc<Live>,
    /// The chat's name towards clients.
    pub chat: String,
    /// Its pin, of another node where somebody placed a chat of that name meanwhile. `None` where it could
    /// not be written, and the chat is found by its name.
    pub pin: Option<Placing>,
    /// What the maker returned.
    pub value: T,
}

/// Makes a chat on the best node of a dialect. `make` is called with one node at a time, with another one
/// only after [`Failure::NotSent`] or [`Made::Unable`]. `named` makes the client's name from the node's id and the node's own
/// name.
///
/// # Errors
/// The client's answer: 503 where no node is eligible, 504 where a node may have made it, or the node's own
/// refusal.
pub async fn create<T, R: IntoResponse, F>(
    gateway: &Gateway,
    dialect: Dialect,
    wanted: impl Into<Wanted>,
    named: fn(&str, &str) -> Option<String>,
    make: impl FnMut(Arc<Live>) -> F,
) -> Result<Placed<T>, Response>
where
    F: Future<Output = Result<Made<T, R>, Failure>>,
{
    let nodes = gateway.nodes.speaking(dialect);
    create_among(gateway, nodes, wanted, Name::Made(named), make).await
}

/// The same on the best one of some nodes, and under a name that may be there before.
///
/// # Errors
/// As there.
pub async fn create_among<T, R: IntoResponse, F>(
    gateway: &Gateway,
    nodes: Vec<Arc<Live>>,
    wanted: impl Into<Wanted>,
    name: Name,
    mut make: impl FnMut(Arc<Live>) -> F,
) -> Result<Placed<T>, Response>
where
    F: Future<Output = Result<Made<T, R>, Failure>>,
{
    let (wanted, mut tried) = (wanted.into(), BTreeMap::new());
    loop {
        let reservation = reserve(gateway, &nodes, &wanted, &tried)
            .await
            .map_err(|e| {
                gateway.metrics.placed(Placement::no_node);
                e.into_response()
            })?;
        tried.insert(reservation.node.clone(), "it does not answer".to_owned());
        let Some(live) = gateway.nodes.get(&reservation.node) else {
            abandon(gateway, reservation).await;
            continue;
        };
        if let Err(health) = there(gateway, &live).await {
            tracing::info!(
                node = live.node.id,
                health = health.as_str(),
                "{}",
                health.why()
            );
            live.found(health);
            gateway.metrics.placed(Placement::elsewhere);
            abandon(gateway, reservation).await;
            continue;
        }
        let made = match make(Arc::clone(&live)).await {
            Ok(Made::Chat { native, value }) => Ok((Some(native), value)),
            Ok(Made::Nothing(value)) => Ok((None, value)),
            Ok(Made::Refused(answer)) => {
                gateway.metrics.placed(Placement::refused);
                abandon(gateway, reservation).await;
                return Err(answer.into_response());
            }
            Ok(Made::Unable(why)) => {
                tracing::warn!(node = live.node.id, "it can make no chat: {why}");
                gateway.metrics.placed(Placement::elsewhere);
                abandon(gateway, reservation).await;
                tried.insert(live.node.id.clone(), why);
                continue;
            }
            Err(failure) => Err(failure),
        };
        match made {
            Ok((native, value)) => {
                let (chat, pin) = confirm(gateway, &live, reservation, native, &name)
                    .await
                    .map_err(|e| e.into_response())?;
                gateway.metrics.placed(Placement::placed);
                access::chat(&chat);
                return Ok(Placed {
                    live,
                    chat,
                    pin,
                    value,
                });
            }
            Err(failure @ Failure::NotSent(_)) => {
                gateway.metrics.placed(Placement::elsewhere);
                // Whoever asked it may know more.
                let known = live
                    .advert()
                    .is_some_and(|advert| matches!(advert.health, Health::Unauthorized(_)));
                if !known {
                    live.found(Health::Refused(failure.to_string()));
                }
                abandon(gateway, reservation).await;
            }
            // It may have been made: the place stays taken, and nobody else is asked. A chat that will be
            // asked for again is asked for on the same node then; any other is as good as forgotten.
            Err(failure) => {
                gateway.metrics.placed(Placement::unknown);
                let chat = name.given();
                let left = match name {
                    Name::Given { known: true, .. } => {
                        pinned(gateway, reservation, chat, None).await.map(drop)
                    }
                    _ => gateway.pins(move |pins| pins.leave(&reservation)).await,
                };
                if let Err(e) = left {
                    tracing::warn!(node = live.node.id, chat, "{e}");
                }
                return Err(Reply::failed(&live.node.id, chat, &failure).into_response());
            }
        }
    }
}

/// Whether a node is there. A terminal is asked nothing.
async fn there(gateway: &Gateway, live: &Live) -> Result<(), Health> {
    match live.node.dialect {
        Dialect::Tui => Ok(()),
        _ => probe(gateway, live).await,
    }
}

async fn abandon(gateway: &Gateway, reservation: Reservation) {
    let done: Done<()> = gateway.pins(move |pins| pins.abandon(&reservation)).await;
    if let Err(e) = done {
        tracing::warn!("{e}");
    }
}

/// Pins a chat that is there.
async fn confirm(
    gateway: &Gateway,
    live: &Arc<Live>,
    reservation: Reservation,
    native: Option<String>,
    name: &Name,
) -> Result<(String, Option<Placing>), Reply> {
    let node = &live.node.id;
    let own = native.as_deref().unwrap_or_default();
    let chat = match name {
        Name::Given { chat, .. } => Some(chat.clone()),
        Name::Made(named) => named(node, own),
    };
    let Some(chat) = chat else {
        return Err(Reply::new(
            StatusCode::BAD_GATEWAY,
            format!("the node `{node}` gave a chat a name that no URL can hold"),
        ));
    };
    let given = matches!(name, Name::Given { .. });
    let why = match pinned(gateway, reservation, &chat, native.clone()).await {
        Ok(pin) if given || pin.pin().node == *node => return Ok((chat, Some(pin))),
        Ok(pin) => format!("it is pinned to `{}`", pin.pin().node),
        Err(e) => e.to_string(),
    };
    // Its node is in the name that it got there: it is found without a pin, and a client told that there is
    // none would make another.
    if !given && ids::split(&chat).is_some_and(|(named, _)| named == node) {
        tracing::warn!(node, "the chat `{chat}` was made and is not pinned: {why}");
        return Ok((chat, None));
    }
    let made = native.as_deref().unwrap_or(&chat);
    Err(Reply::new(
        StatusCode::GATEWAY_TIMEOUT,
        format!("the node `{node}` has made the chat `{made}`, which could not be pinned: {why}"),
    ))
}

/// Pins a chat. Whoever else placed one of this name meanwhile was first, and its pin holds. What cannot be
/// written is tried again for [`WRITE`]: the chat is there, or may be, and unpinned it would be made again.
async fn pinned(
    gateway: &Gateway,
    reservation: Reservation,
    chat: &str,
    native: Option<String>,
) -> Done<Placing> {
    let begun = Instant::now();
    loop {
        let (name, native, kept) = (chat.to_owned(), native.clone(), reservation.clone());
        let written = gateway.pins(move |pins| write(pins, &kept, &name, native.as_deref()));
        match written.await {
            Ok(placing) => return Ok(placing),
            Err(e) if e.kind != Kind::Usage && begun.elapsed() < WRITE => {
                tracing::warn!(node = reservation.node, chat, "not pinned yet: {e}");
            }
            Err(e) => {
                tracing::warn!(node = reservation.node, chat, "not pinned: {e}");
                // The chat may be there: the target that it took must not come back with its place.
                let left: Done<()> = gateway.pins(move |pins| pins.leave(&reservation)).await;
                if let Err(e) = left {
                    tracing::warn!(chat, "{e}");
                }
                return Err(e);
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn write(
    pins: &mut Pins,
    reservation: &Reservation,
    chat: &str,
    native: Option<&str>,
) -> Done<Placing> {
    let was: Option<Pin> = pins.pin(chat)?;
    match (pins.confirm(reservation, chat, native), was) {
        (Ok(pin), None) => Ok(Placing::New(pin)),
        (Ok(pin), Some(_)) => Ok(Placing::Was(pin)),
        // That of another node holds.
        (Err(e), _) => match pins.pin(chat)? {
            Some(pin) if pin.node != reservation.node => Ok(Placing::Was(pin)),
            _ => Err(e),
        },
    }
}

/// The name of a session that its node numbers by itself.
pub fn of_node(node: &str, native: &str) -> Option<String> {
    ids::join(node, native)
}

/// The name of a session whose node gives names that are unique everywhere.
pub fn as_it_is(_node: &str, native: &str) -> Option<String> {
    ids::join("x", native).map(|_| native.to_owned())
}
