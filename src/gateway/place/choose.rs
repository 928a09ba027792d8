//! Which node a new chat gets: chosen, and reserved there so that others count it at once.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::StatusCode;

use crate::gateway::Gateway;
use crate::gateway::nodes::{Live, Snapshot};
use crate::gateway::reply::Reply;
use crate::routing::node::Node;
use crate::routing::pins::{Ledger, Reservation};
use crate::routing::placement::{self, Empty, Rules, Wish};

/// What a new chat wants of its node.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// What placement goes by.
    pub wish: Wish,
    /// Free bytes where the chat is to work, where it says where: that is what fills up, and not the node's
    /// own directory.
    pub room: Option<u64>,
}

impl From<Wish> for Wanted {
    fn from(wish: Wish) -> Self {
        Self { wish, room: None }
    }
}

/// Chooses among live nodes.
///
/// # Errors
/// 503: no node is eligible; which filter took the last one.
pub fn choose(
    gateway: &Gateway,
    nodes: impl IntoIterator<Item = Arc<Live>>,
    wanted: &Wanted,
    ledger: &Ledger,
) -> Result<Node, Reply> {
    best(gateway, nodes, wanted, ledger).map_err(|empty| {
        unavailable(&match empty.filter {
            Some(filter) => format!("the filter `{}` left none: {empty}", filter.as_str()),
            None => empty.to_string(),
        })
    })
}

fn best(
    gateway: &Gateway,
    nodes: impl IntoIterator<Item = Arc<Live>>,
    wanted: &Wanted,
    ledger: &Ledger,
) -> Result<Node, Empty> {
    let snapshot = Snapshot::of(nodes).with_room(wanted.room);
    let policy = gateway.policy();
    let rules = Rules {
        policy: &policy,
        wish: &wanted.wish,
        history: &ledger.history,
        now: jiff::Timestamp::now(),
    };
    placement::place(&snapshot.candidates(ledger), &rules).map(|placed| placed.node.clone())
}

/// 503: no node can take a chat.
pub fn unavailable(why: &str) -> Reply {
    Reply::new(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("no node can take a chat: {why}"),
    )
}

/// Reserves a place on the best of those that were not tried yet.
///
/// # Errors
/// 503: none is left.
pub async fn reserve(
    gateway: &Gateway,
    nodes: &[Arc<Live>],
    wanted: &Wanted,
    tried: &BTreeSet<String>,
) -> Result<Reservation, Reply> {
    let (all, shared) = (nodes.to_vec(), Arc::clone(gateway));
    let (wanted, tried) = (wanted.clone(), tried.clone());
    gateway
        .pins(move |pins| {
            pins.reserve(|ledger| {
                let ledger = concerning(ledger, &all);
                let left = all.iter().filter(|live| !tried.contains(&live.node.id));
                if let Ok(node) = best(&shared, left.cloned(), &wanted, &ledger) {
                    return Ok(node);
                }
                // Those that were tried are known to be down by now, so that the reason is told for them too.
                choose(&shared, all.iter().cloned(), &wanted, &ledger).and_then(|_| {
                    let tried: Vec<String> = tried.iter().map(|id| format!("`{id}`")).collect();
                    Err(unavailable(&format!(
                        "none of {} answers",
                        tried.join(", ")
                    )))
                })
            })
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
