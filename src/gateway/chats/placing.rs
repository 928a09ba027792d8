//! `POST /chats`: a chat gets its node, and keeps it. How a place is found and a session made is told by
//! [`place`]; here is which nodes come into question, and what becomes of a chat that was placed before.

use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::Api;
use super::body::Given;
use super::sessions::{native_in_turn, session, unspoken};
use super::wire::{Begin, Chat, Problem};
use crate::gateway::metrics::Placement;
use crate::gateway::nodes::Live;
use crate::gateway::place::{self, Made, Name, Wanted};
use crate::gateway::reply::Reply;
use crate::gateway::{Gateway, detached, directory};
use crate::routing::node::{Dialect, Node};
use crate::routing::pins::{self, Pin, Placing};
use crate::routing::placement::Wish;
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
    let begun = detached::to_the_end(&Arc::clone(&api.gateway), async move {
        match begun(&api, &chat, named, &asked).await {
            Ok((pin, status)) => {
                let live = api.gateway.nodes.get(&pin.node);
                (status, Json(Chat::of(pin, live.as_deref()))).into_response()
            }
            Err(response) => response,
        }
    });
    Ok(begun.await)
}

/// The chat as it is there then; 201 where it was placed now.
async fn begun(
    api: &Api,
    chat: &str,
    named: bool,
    asked: &Asked,
) -> Result<(Pin, StatusCode), Response> {
    let _turn = api.turns.take(chat).await;
    let refused = |e: Reply| e.into_response();
    let was = api.gateway.pin(chat).await;
    let (pin, status) = match was.map_err(|e| refused(e.into()))? {
        Some(pin) => {
            let pin = complete(api, pin, asked).await.map_err(refused)?;
            (pin, StatusCode::OK)
        }
        None => place(api, chat, named, asked).await?,
    };
    get_ready(api, &pin).await;
    Ok((pin, status))
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
    wanted: Wanted,
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
        let room = match &begin.working_dir {
            Some(directory) => directory::usable(Path::new(directory)).await?,
            None => None,
        };
        let wish = Wish {
            selector,
            strategy: begin.strategy,
            host: begin.host.clone(),
        };
        Ok(Self {
            wanted: Wanted { wish, room },
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

async fn place(
    api: &Api,
    chat: &str,
    known: bool,
    asked: &Asked,
) -> Result<(Pin, StatusCode), Response> {
    let nodes = fitting(&api.gateway, asked).map_err(|e| {
        api.gateway.metrics.placed(Placement::no_node);
        e.into_response()
    })?;
    let name = Name::Given {
        chat: chat.to_owned(),
        known,
    };
    let make = async |live: Arc<Live>| match live.node.dialect {
        Dialect::Tui => Ok(Made::Nothing(())),
        _ => session(api, &live, asked).await,
    };
    let placed = place::create_among(&api.gateway, nodes, asked.wanted.clone(), name, make).await?;
    match placed.pin {
        Some(Placing::New(pin)) => Ok((pin, StatusCode::CREATED)),
        Some(Placing::Was(pin)) => Ok((pin, StatusCode::OK)),
        // Only a chat of goosed's or ACP's own naming is found without.
        None => Err(Reply::missing(format!("no chat `{chat}`")).into_response()),
    }
}

/// The nodes that this API can speak with, and that can work where the chat is to.
fn fitting(gateway: &Gateway, asked: &Asked) -> Result<Vec<Arc<Live>>, Reply> {
    let mut nodes: Vec<Arc<Live>> = gateway.nodes.all().values().cloned().collect();
    let meant = |live: &&Arc<Live>| asked.wanted.wish.selector.matches(&live.node);
    let spoken = |live: &Arc<Live>| live.node.dialect != Dialect::Acp;
    if let Some(acp) = nodes.iter().find(meant)
        && !nodes.iter().filter(meant).any(spoken)
    {
        return Err(unspoken(&acp.node.id));
    }
    nodes.retain(|live| spoken(live) && asked.fits(&live.node));
    match &asked.directory {
        Some(directory) if nodes.is_empty() => {
            Err(place::unavailable(&format!("none works in `{directory}`")))
        }
        _ => Ok(nodes),
    }
}
