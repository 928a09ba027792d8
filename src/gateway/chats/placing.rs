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
use super::pinned::node_of;
use super::wire::{Begin, Chat, Problem};
use crate::gateway::Gateway;
use crate::gateway::metrics::Placement;
use crate::gateway::nodes::{Live, Snapshot};
use crate::gateway::reply::Reply;
use crate::gateway::upstream::Failure;
use crate::gateway::{ids, place};
use crate::routing::node::{Dialect, Health, Node};
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
    let asked = Asked::of(&begin)?;
    let _turn = api.turns.take(&chat).await;
    if let Some(pin) = pinned(&api, &chat).await? {
        let live = api.gateway.nodes.get(&pin.node);
        return Ok(Json(Chat::of(pin, live.as_deref())).into_response());
    }
    let (pin, status) = place(&api, &chat, &asked).await?;
    let live = api.gateway.nodes.get(&pin.node);
    Ok((status, Json(Chat::of(pin, live.as_deref()))).into_response())
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
    fn of(begin: &Begin) -> Result<Self, Reply> {
        let selector = match begin.selector.as_deref().map(str::trim) {
            None | Some("") => Selector::default(),
            Some(text) => text.parse::<Selector>().map_err(Reply::bad)?,
        };
        if let Some(directory) = &begin.working_dir {
            // A server takes one that is not there without a word, and its tools fail later.
            let path = Path::new(directory);
            if !path.is_absolute() || !path.is_dir() {
                return Err(Reply::bad(format!(
                    "`{directory}` is no directory of this host; name it from the root"
                )));
            }
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

async fn pinned(api: &Api, chat: &str) -> Result<Option<Pin>, Reply> {
    let chat = chat.to_owned();
    api.gateway
        .pins(move |pins| pins.pin(&chat).map_err(Reply::from))
        .await
}

async fn place(api: &Api, chat: &str, asked: &Asked) -> Result<(Pin, StatusCode), Reply> {
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
            // The place stays taken: the session may be there.
            Err(NotMade::Unknown(reply)) => {
                gateway.metrics.placed(Placement::unknown);
                return Err(reply);
            }
        }
    }
}

/// Why a node has no session for a chat.
#[derive(Debug)]
pub enum NotMade {
    /// It certainly made none, being as it is: another node may.
    Elsewhere(Health),
    /// It said no.
    Refused(Reply),
    /// It may have made one.
    Unknown(Reply),
}

impl NotMade {
    /// After a request to a node that has no answer.
    pub fn failed(node: &str, chat: &str, failure: &Failure) -> Self {
        match failure {
            Failure::NotSent(why) => Self::Elsewhere(Health::Refused(why.clone())),
            Failure::NoAnswer(_) => Self::Unknown(Reply::failed(node, chat, failure)),
        }
    }

    /// As the client's answer, where the chat has its node already.
    pub fn reply(self, node: &str, chat: &str) -> Reply {
        match self {
            Self::Elsewhere(health) => Reply::down(node, chat, health.why()),
            Self::Refused(reply) | Self::Unknown(reply) => reply,
        }
    }
}

/// Makes what a chat needs on a node: nothing on a terminal, a session on a server.
async fn made(api: &Api, live: &Arc<Live>, asked: &Asked) -> Result<Option<String>, NotMade> {
    if live.node.dialect == Dialect::Tui {
        return Ok(None);
    }
    place::probe(&api.gateway, live)
        .await
        .map_err(NotMade::Elsewhere)?;
    session(api, live, asked).await.map(Some)
}

/// Makes a session on a server.
///
/// # Errors
/// It made none, or may have.
pub async fn session(api: &Api, live: &Live, asked: &Asked) -> Result<String, NotMade> {
    let directory = match (&asked.directory, &api.gateway.policy().working_dir) {
        (Some(directory), _) => directory.clone(),
        (None, Some(directory)) => directory.display().to_string(),
        (None, None) => live.node.working_directory.display().to_string(),
    };
    let title = asked.title.as_deref();
    let native = match live.node.dialect {
        Dialect::Opencode => super::opencode::create(api, live, &directory, title).await?,
        Dialect::Goosed => super::goosed::create(api, live, &directory, title).await?,
        Dialect::Tui | Dialect::Acp => {
            return Err(NotMade::Refused(unspoken(&live.node.id)));
        }
    };
    match ids::join("x", &native) {
        Some(_) => Ok(native),
        None => Err(NotMade::Unknown(Reply::new(
            StatusCode::BAD_GATEWAY,
            format!(
                "the node `{}` gave a session a name that no URL can hold",
                live.node.id
            ),
        ))),
    }
}

/// 501: nodes that this API does not speak with.
pub fn unspoken(node: &str) -> Reply {
    Reply::new(
        StatusCode::NOT_IMPLEMENTED,
        format!("the node `{node}` speaks ACP: use the gateway's `/acp` dialect for it"),
    )
}

/// The chat's session on its server, made if it has none yet: a chat that was placed from the command line
/// has none.
///
/// # Errors
/// The client's answer.
pub async fn native_of(api: &Api, pin: &Pin) -> Result<(Arc<Live>, String), Reply> {
    let live = node_of(api, pin)?;
    if let Some(native) = &pin.native {
        return Ok((live, native.clone()));
    }
    let _turn = api.turns.take(&pin.chat).await;
    if let Some(native) = pinned(api, &pin.chat).await?.and_then(|p| p.native) {
        return Ok((live, native));
    }
    let of = |e: NotMade| e.reply(&pin.node, &pin.chat);
    place::probe(&api.gateway, &live)
        .await
        .map_err(|health| of(NotMade::Elsewhere(health)))?;
    let native = session(api, &live, &Asked::default()).await.map_err(of)?;
    let (chat, node, noted) = (pin.chat.clone(), pin.node.clone(), native.clone());
    let first = api
        .gateway
        .pins(move |pins| pins.set_native(&chat, &node, &noted).map_err(Reply::from))
        .await?;
    if first {
        return Ok((live, native));
    }
    // Somebody else was first, or the chat was moved while its session was made.
    match pinned(api, &pin.chat).await? {
        Some(Pin {
            node,
            native: Some(native),
            ..
        }) if node == pin.node => Ok((live, native)),
        _ => Err(Reply::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "the chat `{}` was moved away from `{}` meanwhile; nothing was said, ask again",
                pin.chat, pin.node
            ),
        )),
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
        .pins(move |pins| pins.reserve(|ledger| choose(&shared, all, &asked, &tried, ledger)))
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
