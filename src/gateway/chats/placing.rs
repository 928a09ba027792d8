//! `POST /chats`: a chat gets its node, and keeps it. A place is reserved; on a server a session is made
//! then, and only a session that is there is pinned. What may have been made is never made again.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::Api;
use super::body::Given;
use super::sessions::{NotMade, made, native_in_turn, to_the_end, unspoken};
use super::wire::{Begin, Chat, Problem};
use crate::gateway::metrics::Placement;
use crate::gateway::nodes::{Live, Snapshot};
use crate::gateway::place;
use crate::gateway::reply::Reply;
use crate::gateway::{Gateway, directory};
use crate::routing::node::{Dialect, Node};
use crate::routing::pins::{self, Ledger, Pin, Reservation};
use crate::routing::placement::{self, Rules, Wish};
use crate::routing::select::Selector;

/// Places a chat, or finds where it was placed.
#[utoipa::path(post, path = "/chats", operation_id = "begin_chat", tag = "chats", request_body = Begin,
    responses((status = 201, description = "Placed now", body = Chat),
        (status = 200, description = "Placed before", body = Chat),
        (status = 400, body = Problem),
        (status = 501, description = "Only nodes of a dialect that this API does not speak are meant", body = Problem),
        (status = 503, description = "No node can take it", body = Problem),
        (status = 504, description = "A node may have made it", body = Problem)))]
pub async fn begin(State(api): State<Api>, Given(begin): Given<Begin>) -> Result<Response, Reply> {
    let chat = match &begin.chat {
        Some(chat) => pins::checked(chat)?.to_owned(),
        None => format!("chat-{}", uuid::Uuid::new_v4()),
    };
    let asked = Asked::of(&begin).await?;
    let named = begin.chat.is_some();
    // A node that makes a session goes on with that when the client has gone, and its place is taken.
    to_the_end(async move {
        let _turn = api.turns.take(&chat).await;
        let (pin, status) = match pinned(&api, &chat).await? {
            Some(pin) => (complete(&api, pin, &asked).await?, StatusCode::OK),
            None => place(&api, &chat, named, &asked).await?,
        };
        get_ready(&api, &pin).await;
        let live = api.gateway.nodes.get(&pin.node);
        Ok((status, Json(Chat::of(pin, live.as_deref()))).into_response())
    })
    .await
}

/// A chat that has its node gets the session that it may lack there: it was placed from the command line, or
/// nobody knows what became of the session that was asked for.
async fn complete(api: &Api, pin: Pin, asked: &Asked) -> Result<Pin, Reply> {
    if pin.native.is_some() || !matches!(pin.dialect, Dialect::Opencode | Dialect::Goosed) {
        return Ok(pin);
    }
    native_in_turn(api, &pin, asked).await?;
    super::pinned::pin(api, &pin.chat).await
}

/// Has a new session loaded before the first message needs that. One that cannot be is there all the same,
/// and the first message tries again.
async fn get_ready(api: &Api, pin: &Pin) {
    if let (Dialect::Goosed, Some(native), Some(live)) =
        (pin.dialect, &pin.native, api.gateway.nodes.get(&pin.node))
        && let Err(e) = super::goosed::resume(api, &live, native, &pin.chat).await
    {
        tracing::warn!(node = pin.node, chat = pin.chat, "{}", e.message);
    }
}

/// What a chat is to be like.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    wish: Wish,
    /// Where it works.
    pub directory: Option<String>,
    /// Its title.
    pub title: Option<String>,
}

impl Asked {
    async fn of(begin: &Begin) -> Result<Self, Reply> {
        let selector = match begin.selector.as_deref().map(str::trim) {
            None | Some("") => Selector::default(),
            Some(text) => text.parse::<Selector>().map_err(Reply::bad)?,
        };
        if let Some(directory) = &begin.working_dir {
            directory::usable(Path::new(directory)).await?;
        }
        Ok(Self {
            wish: Wish {
                selector,
                strategy: begin.strategy,
                host: begin.host.clone(),
            },
            directory: begin.working_dir.clone(),
            title: begin.title.clone(),
        })
    }

    /// Whether a node can work where the chat is to.
    fn fits(&self, node: &Node) -> bool {
        let there = |directory: &String| node.working_directory == Path::new(directory);
        node.dialect != Dialect::Tui || self.directory.as_ref().is_none_or(there)
    }
}

/// A chat's pin, if it has one.
///
/// # Errors
/// They cannot be read.
pub async fn pinned(api: &Api, chat: &str) -> Result<Option<Pin>, Reply> {
    let chat = chat.to_owned();
    api.gateway
        .pins(move |pins| pins.pin(&chat).map_err(Reply::from))
        .await
}

async fn place(
    api: &Api,
    chat: &str,
    named: bool,
    asked: &Asked,
) -> Result<(Pin, StatusCode), Reply> {
    let gateway = &api.gateway;
    let mut tried = BTreeSet::new();
    loop {
        let reservation = reserve(gateway, asked, &tried)
            .await
            .inspect_err(|_| gateway.metrics.placed(Placement::no_node))?;
        tried.insert(reservation.node.clone());
        let Some(live) = gateway.nodes.get(&reservation.node) else {
            abandon(gateway, reservation).await;
            continue;
        };
        match made(api, &live, asked).await {
            Ok(native) => {
                gateway.metrics.placed(Placement::placed);
                return confirm(api, reservation, chat, native).await;
            }
            Err(NotMade::Elsewhere(health)) => {
                gateway.metrics.placed(Placement::elsewhere);
                tracing::info!(node = live.node.id, "{}", health.why());
                live.found(health);
                abandon(gateway, reservation).await;
            }
            Err(NotMade::Refused(reply)) => {
                gateway.metrics.placed(Placement::refused);
                abandon(gateway, reservation).await;
                return Err(reply);
            }
            // The place stays taken: the session may be there. A chat that the client has named is asked
            // for again, which must not make it on another node; any other is as good as forgotten.
            Err(NotMade::Unknown(reply)) => {
                gateway.metrics.placed(Placement::unknown);
                if named && let Err(e) = confirm(api, reservation, chat, None).await {
                    tracing::warn!(node = live.node.id, chat, "{}", e.message);
                }
                return Err(reply);
            }
        }
    }
}

async fn reserve(
    gateway: &Gateway,
    asked: &Asked,
    tried: &BTreeSet<String>,
) -> Result<Reservation, Reply> {
    let all: Vec<Arc<Live>> = gateway.nodes.all().values().cloned().collect();
    let (shared, asked, tried) = (Arc::clone(gateway), asked.clone(), tried.clone());
    gateway
        .pins(move |pins| {
            pins.reserve(|ledger| {
                let ledger = place::concerning(ledger, &all);
                choose(&shared, all.clone(), &asked, &tried, &ledger)
            })
        })
        .await
}

/// Chooses among the nodes that this API can speak with.
fn choose(
    gateway: &Gateway,
    all: Vec<Arc<Live>>,
    asked: &Asked,
    tried: &BTreeSet<String>,
    ledger: &Ledger,
) -> Result<Node, Reply> {
    let unavailable = |why: String| {
        Reply::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("no node can take a chat: {why}"),
        )
    };
    let meant = |live: &&Arc<Live>| asked.wish.selector.matches(&live.node);
    let spoken = |live: &Arc<Live>| live.node.dialect != Dialect::Acp;
    if let Some(acp) = all.iter().find(meant)
        && !all.iter().filter(meant).any(spoken)
    {
        return Err(unspoken(&acp.node.id));
    }
    let fitting: Vec<Arc<Live>> = all
        .into_iter()
        .filter(|live| spoken(live) && asked.fits(&live.node))
        .collect();
    if let (true, Some(directory)) = (fitting.is_empty(), &asked.directory) {
        return Err(unavailable(format!("none works in `{directory}`")));
    }
    let policy = gateway.policy();
    let rules = Rules {
        policy: &policy,
        wish: &asked.wish,
        history: &ledger.history,
        now: jiff::Timestamp::now(),
    };
    let chosen = |nodes: Vec<Arc<Live>>| {
        let snapshot = Snapshot::of(nodes);
        let candidates = snapshot.candidates(ledger);
        placement::place(&candidates, &rules).map(|placed| placed.node.clone())
    };
    let left = fitting.iter().filter(|live| !tried.contains(&live.node.id));
    if let Ok(node) = chosen(left.cloned().collect()) {
        return Ok(node);
    }
    // Those that were tried are known to be down by now, so that the reason is told for them too.
    Err(match chosen(fitting) {
        Err(empty) => match empty.filter {
            Some(filter) => {
                let name = serde_json::to_value(filter).unwrap_or_default();
                let name = name.as_str().unwrap_or_default();
                unavailable(format!("the filter `{name}` left none: {empty}"))
            }
            None => unavailable(empty.to_string()),
        },
        Ok(_) => {
            let tried: Vec<String> = tried.iter().map(|id| format!("`{id}`")).collect();
            unavailable(format!("none of {} answers", tried.join(", ")))
        }
    })
}

async fn abandon(gateway: &Gateway, reservation: Reservation) {
    let done: crate::error::Result<()> = gateway.pins(move |pins| pins.abandon(&reservation)).await;
    if let Err(e) = done {
        tracing::warn!("{e}");
    }
}

/// Pins it. Whoever else placed a chat of this name meanwhile was first, and its pin holds.
async fn confirm(
    api: &Api,
    reservation: Reservation,
    chat: &str,
    native: Option<String>,
) -> Result<(Pin, StatusCode), Reply> {
    let name = chat.to_owned();
    api.gateway
        .pins(move |pins| {
            let first = pins.pin(&name)?;
            match (pins.confirm(&reservation, &name, native.as_deref()), first) {
                (Ok(pin), None) => Ok((pin, StatusCode::CREATED)),
                (_, Some(pin)) => Ok((pin, StatusCode::OK)),
                (Err(e), None) => match pins.pin(&name)? {
                    Some(pin) => Ok((pin, StatusCode::OK)),
                    None => Err(Reply::from(e)),
                },
            }
        })
        .await
}
