//! Chats that are pinned: listing, showing, releasing them, and what stands between a chat and its node.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::Api;
use super::wire::{Chat, Chats, Problem};
use crate::gateway::access;
use crate::gateway::nodes::Live;
use crate::gateway::reply::Reply;
use crate::routing::pins::Pin;

/// Every chat that is pinned, those of the other dialects included.
#[utoipa::path(get, path = "/chats", operation_id = "list_chats", tag = "chats",
    responses((status = 200, body = Chats)))]
pub async fn list(State(api): State<Api>) -> Result<Json<Chats>, Reply> {
    let pins = api
        .gateway
        .look(|pins| pins.list().map_err(Reply::from))
        .await?;
    let nodes = api.gateway.nodes.all();
    let chats = pins
        .into_iter()
        .map(|pin| {
            let live = nodes.get(&pin.node).cloned();
            Chat::of(pin, live.as_deref())
        })
        .collect();
    Ok(Json(Chats { chats }))
}

/// A chat and its node.
#[utoipa::path(get, path = "/chats/{id}", operation_id = "show_chat", tag = "chats",
    params(("id" = String, Path, description = "Name of the chat")),
    responses((status = 200, body = Chat), (status = 404, body = Problem)))]
pub async fn show(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Chat>, Reply> {
    let pin = pin(&api, &id).await?;
    let live = api.gateway.nodes.get(&pin.node);
    Ok(Json(Chat::of(pin, live.as_deref())))
}

/// Releases a chat: the gateway forgets its node. What the node has of it stays there.
#[utoipa::path(delete, path = "/chats/{id}", operation_id = "release_chat", tag = "chats",
    params(("id" = String, Path, description = "Name of the chat")),
    responses((status = 204, description = "Released"), (status = 404, body = Problem)))]
pub async fn release(State(api): State<Api>, Path(id): Path<String>) -> Result<StatusCode, Reply> {
    let chat = id.clone();
    let was = api
        .gateway
        .pins(move |pins| pins.release(&chat).map_err(Reply::from))
        .await?;
    match was {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(missing(&id)),
    }
}

/// A chat's pin.
///
/// # Errors
/// 404: there is none.
pub async fn pin(api: &Api, chat: &str) -> Result<Pin, Reply> {
    let pin = api.gateway.pin(chat).await?.ok_or_else(|| missing(chat))?;
    access::chat(&pin.chat);
    access::node(&pin.node);
    Ok(pin)
}

/// A chat's node.
///
/// # Errors
/// 503, naming both: it is not in the fleet any more, or has become another one.
pub fn node_of(api: &Api, pin: &Pin) -> Result<Arc<Live>, Reply> {
    let live = api
        .gateway
        .nodes
        .get(&pin.node)
        .ok_or_else(|| Reply::down(&pin.node, &pin.chat, "it is no longer in the fleet"))?;
    if live.node.dialect != pin.dialect {
        let why = format!(
            "it speaks `{}` now, and spoke `{}` when the chat was placed",
            live.node.dialect.as_str(),
            pin.dialect.as_str()
        );
        return Err(Reply::down(&pin.node, &pin.chat, &why));
    }
    Ok(live)
}

fn missing(chat: &str) -> Reply {
    Reply::missing(format!(
        "no chat `{}`",
        chat.chars().take(80).collect::<String>()
    ))
}
