//! `/chats/{id}/messages` and `/chats/{id}/cancel`: each goes to the chat's node by what that understands.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::body::{Given, id_of};
use super::pinned::{node_of, pin};
use super::sessions::{native_of, unspoken};
use super::terminal::status_of;
use super::wire::{Cancelled, Messages, Problem, Say, Sent};
use super::{Api, goosed, opencode, terminal};
use crate::delivery::mailbox;
use crate::error::Error;
use crate::gateway::aside::aside;
use crate::gateway::pieces;
use crate::gateway::reply::Reply;
use crate::routing::node::Dialect;

/// Says something in a chat, and waits for the receipt asked for.
#[utoipa::path(post, path = "/chats/{id}/messages", operation_id = "say", tag = "chats", request_body = Say,
    params(("id" = String, Path, description = "Name of the chat"),
        ("Idempotency-Key" = Option<String>, Header, description = "The message's id, as in the body")),
    responses((status = 200, description = "It has come as far as was asked", body = Sent),
        (status = 202, description = "It is stored, as was asked", body = Sent),
        (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, description = "It certainly was not delivered, and is not tried again: a Sent; or its id belongs to another message: a Problem", body = Sent),
        (status = 503, description = "Its node is down", body = Problem),
        (status = 504, description = "Time was up, or what became of it is not known: how it stands", body = Sent)))]
pub async fn say(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Given(mut say): Given<Say>,
) -> Result<Response, Reply> {
    let pin = pin(&api, &id).await?;
    say.id = id_of(&headers, say.id.take())?;
    if let Some(id) = &say.id {
        mailbox::checked(id)?;
    }
    if say.text.trim().is_empty() {
        return Err(Reply::bad("the message is empty"));
    }
    let _using = api.gateway.using(&pin.chat);
    let wait = terminal::timeout(&say);
    let sent = match pin.dialect {
        Dialect::Tui => {
            node_of(&api, &pin)?;
            let receipt = terminal::say(&api, &pin.node, &pin.chat, say).await?;
            Sent::of(receipt, &pin.chat)
        }
        Dialect::Opencode => {
            let (live, native) = native_of(&api, &pin).await?;
            opencode::say(&api, &live, &native, &pin, say, wait).await?
        }
        Dialect::Goosed => {
            let (live, native) = native_of(&api, &pin).await?;
            goosed::say(&api, &live, &native, &pin, say, wait).await?
        }
        Dialect::Acp => return Err(unspoken(&pin.node)),
    };
    Ok((status(&sent), Json(sent)).into_response())
}

fn status(sent: &Sent) -> StatusCode {
    let succeeded = sent.receipt >= sent.asked
        && !matches!(
            sent.receipt,
            crate::delivery::Rung::Refused | crate::delivery::Rung::Uncertain
        );
    status_of(sent.receipt, sent.asked, succeeded)
}

/// 409: the id belongs to another message.
pub fn another(id: &str) -> Reply {
    Reply::new(
        StatusCode::CONFLICT,
        format!("the id `{id}` belongs to another message"),
    )
}

/// What was said in a chat: what was sent to it, and what the agent's own record says it answered.
#[utoipa::path(get, path = "/chats/{id}/messages", operation_id = "list_messages", tag = "chats",
    params(("id" = String, Path, description = "Name of the chat")),
    responses((status = 200, body = Messages), (status = 404, body = Problem),
        (status = 503, body = Problem)))]
pub async fn list(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Reply> {
    let pin = pin(&api, &id).await?;
    let messages = match pin.dialect {
        Dialect::Tui => terminal::conversation(&api, &pin).await?,
        Dialect::Opencode => {
            let (live, native) = native_of(&api, &pin).await?;
            opencode::conversation(&api, &live, &native, &pin).await?
        }
        Dialect::Goosed => {
            let (live, native) = native_of(&api, &pin).await?;
            goosed::conversation(&api, &live, &native, &pin).await?
        }
        Dialect::Acp => return Err(unspoken(&pin.node)),
    };
    let length = messages.iter().map(|message| message.text.len()).sum();
    let text = aside(length, move || serde_json::to_vec(&Messages { messages })).await;
    let text = text.map_err(|e| Error::bug(format!("a conversation cannot be written: {e}")))?;
    pieces::json(&api.gateway, text.into(), "the conversation").await
}

/// Breaks off what a chat has under way: its turn, if its node is in a turn of this chat, and what waits to
/// be delivered. A question that the agent asks is left to a person.
#[utoipa::path(post, path = "/chats/{id}/cancel", operation_id = "cancel", tag = "chats",
    params(("id" = String, Path, description = "Name of the chat")),
    responses((status = 200, description = "Done, or nothing was under way", body = Cancelled),
        (status = 404, body = Problem),
        (status = 409, description = "The agent asks something", body = Problem),
        (status = 503, body = Problem), (status = 504, body = Problem)))]
pub async fn cancel(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<Cancelled>, Reply> {
    let pin = pin(&api, &id).await?;
    let _using = api.gateway.using(&pin.chat);
    let cancelled = match pin.dialect {
        Dialect::Tui => {
            node_of(&api, &pin)?;
            terminal::cancel(&api, &pin).await?
        }
        Dialect::Opencode => {
            let (live, native) = native_of(&api, &pin).await?;
            opencode::cancel(&api, &live, &native, &pin).await?
        }
        Dialect::Goosed => {
            let (live, native) = native_of(&api, &pin).await?;
            goosed::cancel(&api, &live, &native, &pin).await?
        }
        Dialect::Acp => return Err(unspoken(&pin.node)),
    };
    Ok(Json(cancelled))
}
