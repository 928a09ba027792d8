//! A new chat on a server: a place is reserved, the node is asked whether it is there, and only then the
//! chat is made. What certainly was not made is tried on another node; what may have been made never is.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;

use super::metrics::Placement;
use super::nodes::{Live, Snapshot};
use super::reply::Reply;
use super::upstream::{Failure, PROBE};
use super::{Gateway, access, ids};
use crate::routing::node::{Dialect, Health, Node};
use crate::routing::pins::{Ledger, Reservation};
use crate::routing::placement::{self, Rules, Wish};

/// What came of asking a node to make a chat.
#[derive(Debug)]
pub enum Made<T> {
    /// It made it, under this name of its own.
    Chat {
        /// The node's name of the chat.
        native: String,
        /// What the caller goes on with.
        value: T,
    },
    /// It answered that it did not: the answer is the client's.
    Refused(Response),
}

/// A chat and its node.
#[derive(Debug)]
pub struct Placed<T> {
    /// The node.
    pub live: Arc<Live>,
    /// The chat's name towards clients.
    pub chat: String,
    /// What the maker returned.
    pub value: T,
}

/// Makes a chat on the best node of a dialect. `make` is called with one node at a time, with another one
/// only after [`Failure::NotSent`]. `named` makes the client's name from the node's id and the node's own
/// name.
///
/// # Errors
/// The client's answer: 503 where no node is eligible, 504 where a node may have made it, or the node's own
/// refusal.
pub async fn create<T, F>(
    gateway: &Gateway,
    dialect: Dialect,
    wish: Wish,
    named: fn(&str, &str) -> Option<String>,
    make: impl FnMut(Arc<Live>) -> F,
) -> Result<Placed<T>, Response>
where
    F: Future<Output = Result<Made<T>, Failure>>,
{
    let nodes = gateway.nodes.speaking(dialect);
    create_among(gateway, nodes, wish, named, make).await
}

/// The same on the best one of some nodes.
///
/// # Errors
/// As there.
pub async fn create_among<T, F>(
    gateway: &Gateway,
    nodes: Vec<Arc<Live>>,
    wish: Wish,
    named: fn(&str, &str) -> Option<String>,
    mut make: impl FnMut(Arc<Live>) -> F,
) -> Result<Placed<T>, Response>
where
    F: Future<Output = Result<Made<T>, Failure>>,
{
    use axum::response::IntoResponse as _;
    let mut tried = BTreeSet::new();
    loop {
        let reservation = reserve(gateway, &nodes, &wish, &tried).await.map_err(|e| {
            gateway.metrics.placed(Placement::no_node);
            e.into_response()
        })?;
        tried.insert(reservation.node.clone());
        let Some(live) = gateway.nodes.get(&reservation.node) else {
            abandon(gateway, reservation).await;
            continue;
        };
        if let Err(health) = probe(gateway, &live).await {
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
        match make(Arc::clone(&live)).await {
            Ok(Made::Chat { native, value }) => {
                let chat = confirm(gateway, &live, reservation, native, named)
                    .await
                    .map_err(|e| e.into_response())?;
                gateway.metrics.placed(Placement::placed);
                access::chat(&chat);
                return Ok(Placed { live, chat, value });
            }
            Ok(Made::Refused(answer)) => {
                gateway.metrics.placed(Placement::refused);
                abandon(gateway, reservation).await;
                return Err(answer);
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
            // It may have been made: the place stays taken, and nobody else is asked.
            Err(failure) => {
                gateway.metrics.placed(Placement::unknown);
                return Err(Reply::failed(&live.node.id, "", &failure).into_response());
            }
        }
    }
}

/// Chooses among live nodes.
///
/// # Errors
/// 503: no node is eligible; which filter took the last one.
pub fn choose(
    gateway: &Gateway,
    nodes: impl IntoIterator<Item = Arc<Live>>,
    wish: &Wish,
    ledger: &Ledger,
) -> Result<Node, Reply> {
    let snapshot = Snapshot::of(nodes);
    let policy = gateway.policy();
    let rules = Rules {
        policy: &policy,
        wish,
        history: &ledger.history,
        now: jiff::Timestamp::now(),
    };
    match placement::place(&snapshot.candidates(ledger), &rules) {
        Ok(placed) => Ok(placed.node.clone()),
        Err(empty) => Err(Reply::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("no node can take a chat: {empty}"),
        )),
    }
}

async fn reserve(
    gateway: &Gateway,
    nodes: &[Arc<Live>],
    wish: &Wish,
    tried: &BTreeSet<String>,
) -> Result<Reservation, Reply> {
    let all = nodes.to_vec();
    let nodes: Vec<Arc<Live>> = nodes
        .iter()
        .filter(|live| !tried.contains(&live.node.id))
        .cloned()
        .collect();
    if nodes.is_empty() && !tried.is_empty() {
        let tried: Vec<String> = tried.iter().map(|id| format!("`{id}`")).collect();
        return Err(Reply::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "no node can take a chat: none of {} answers",
                tried.join(", ")
            ),
        ));
    }
    let (shared, wish) = (Arc::clone(gateway), wish.clone());
    gateway
        .pins(move |pins| {
            pins.reserve(|ledger| choose(&shared, nodes, &wish, &concerning(ledger, &all)))
        })
        .await
}

/// Without a target for the next chat that none of these nodes could ever be: it is of another dialect's
/// next chat, and waits for that.
pub fn concerning<'a>(ledger: &'a Ledger, nodes: &[Arc<Live>]) -> Cow<'a, Ledger> {
    match &ledger.history.next_target {
        Some(target) if !nodes.iter().any(|live| target.matches(&live.node)) => {
            let mut ledger = ledger.clone();
            ledger.history.next_target = None;
            Cow::Owned(ledger)
        }
        _ => Cow::Borrowed(ledger),
    }
}

async fn abandon(gateway: &Gateway, reservation: Reservation) {
    let done: crate::error::Result<()> = gateway.pins(move |pins| pins.abandon(&reservation)).await;
    if let Err(e) = done {
        tracing::warn!("{e}");
    }
}

async fn confirm(
    gateway: &Gateway,
    live: &Arc<Live>,
    reservation: Reservation,
    native: String,
    named: fn(&str, &str) -> Option<String>,
) -> Result<String, Reply> {
    let Some(chat) = named(&live.node.id, &native) else {
        return Err(Reply::new(
            StatusCode::BAD_GATEWAY,
            format!(
                "the node `{}` gave a chat a name that no URL can hold",
                live.node.id
            ),
        ));
    };
    let (pinned, own) = (chat.clone(), native.clone());
    let written: crate::error::Result<_> = gateway
        .pins(move |pins| pins.confirm(&reservation, &pinned, Some(&own)))
        .await;
    let Err(e) = written else {
        return Ok(chat);
    };
    let node = &live.node.id;
    // Its node is in its name: it is found without a pin, and a client told that there is none would make
    // another.
    if ids::split(&chat).is_some_and(|(named, _)| named == node) {
        tracing::warn!(node, "the chat `{chat}` was made and is not pinned: {e}");
        return Ok(chat);
    }
    Err(Reply::new(
        StatusCode::GATEWAY_TIMEOUT,
        format!("the node `{node}` has made the chat `{native}`, which could not be pinned: {e}"),
    ))
}

/// The name of a session that its node numbers by itself.
pub fn of_node(node: &str, native: &str) -> Option<String> {
    ids::join(node, native)
}

/// The name of a session whose node gives names that are unique everywhere.
pub fn as_it_is(_node: &str, native: &str) -> Option<String> {
    ids::join("x", native).map(|_| native.to_owned())
}

/// Whether a node is there and takes its secret, within [`PROBE`].
///
/// # Errors
/// How it is instead.
pub async fn probe(gateway: &Gateway, live: &Live) -> Result<(), Health> {
    probe_within(gateway, live, PROBE).await
}

/// The same within another time.
///
/// # Errors
/// As there.
pub async fn probe_within(gateway: &Gateway, live: &Live, wait: Duration) -> Result<(), Health> {
    let Some(endpoint) = &live.endpoint else {
        return Err(Health::Refused("it has never started".to_owned()));
    };
    let path = match endpoint.dialect {
        Dialect::Opencode => "/global/health",
        // goosed answers `/status` to anybody.
        Dialect::Goosed => "/system_info",
        _ => "/status",
    };
    let request = Request::get(path)
        .body(Body::empty())
        .map_err(|e| Health::Unfit(e.to_string()))?;
    match gateway.upstream.send(endpoint, request, wait).await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED => Err(Health::Unauthorized(
            "it does not take its secret".to_owned(),
        )),
        Ok(answer) => Err(Health::Unfit(format!("it answers {}", answer.status()))),
        Err(Failure::NotSent(why)) => Err(Health::Refused(why)),
        Err(Failure::NoAnswer(why)) => Err(Health::Timeout(why)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gateway::stand_in::{gateway, serve};

    #[tokio::test]
    async fn a_target_of_another_dialect_waits_for_its_own_chat() {
        let ok = || axum::routing::get(|| async { "ok" });
        let node = serve(axum::Router::new().route("/system_info", ok())).await;
        let under = gateway(&[
            ("goose", Dialect::Goosed, node),
            ("open", Dialect::Opencode, 1),
        ])
        .await;
        let target = |to: &'static str| {
            let gateway = under.gateway.clone();
            async move {
                let set: crate::error::Result<()> = gateway
                    .pins(move |pins| pins.set_next_target(Some(&to.parse().unwrap())))
                    .await;
                set.unwrap();
            }
        };
        let made = async || {
            let wish = Wish::default();
            create(&under.gateway, Dialect::Goosed, wish, of_node, |_| async {
                Ok(Made::Chat {
                    native: uuid::Uuid::new_v4().to_string(),
                    value: (),
                })
            })
            .await
            .map(|placed| placed.live.node.id.clone())
            .map_err(|answer| answer.status())
        };
        let left = async || {
            let ledger: crate::error::Result<Ledger> =
                under.gateway.pins(|pins| pins.ledger()).await;
            ledger.unwrap().history.next_target.map(|t| t.to_string())
        };
        target("open").await;
        assert_eq!(made().await, Ok("goose".to_owned()));
        assert_eq!(left().await.as_deref(), Some("open"));
        target("goose").await;
        assert_eq!(made().await, Ok("goose".to_owned()));
        assert_eq!(left().await, None);
    }
}
