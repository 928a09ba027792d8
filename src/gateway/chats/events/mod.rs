//! `GET /chats/{id}/events`: what is said in a chat and what its node does, as it changes. It begins with
//! how things stand. On a terminal one watcher serves all who listen ([`hub`]); on a server the node's own
//! stream is put into the same words.

pub mod hub;
pub mod server;
pub mod sse;

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use tokio::sync::broadcast::error::RecvError;

use super::pinned::{node_of, pin};
use super::sessions::{native_of, unspoken};
use super::wire::{Delta, Message, Problem, StateChange};
use super::{Api, goosed, opencode, terminal};
use crate::gateway::reply::Reply;
use crate::routing::node::Dialect;
use crate::routing::pins::Pin;
use hub::{Event, Happened, Id, Listener};
use sse::Client;

/// One thing told to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// What the node does.
    State(StateChange),
    /// A message, as it stands.
    Message(Message),
    /// More text of one.
    Delta(Delta),
}

impl Told {
    /// What a node does since now.
    pub fn state(node: &str, state: &str, why: &str) -> Self {
        Told::State(StateChange {
            node: node.to_owned(),
            state: state.to_owned(),
            why: why.to_owned(),
            time: jiff::Timestamp::now(),
        })
    }

    /// Sends it. `false`: the client is to be left.
    pub async fn to(&self, client: &Client, id: Option<&str>) -> bool {
        match self {
            Told::State(state) => client.tell(id, "state", state).await,
            Told::Message(message) => client.tell(id, "message", message).await,
            Told::Delta(delta) => client.tell(id, "delta", delta).await,
        }
    }
}

/// What happens in a chat: `state`, `message` and, on servers, `delta`, each with its document as data.
#[utoipa::path(get, path = "/chats/{id}/events", operation_id = "chat_events", tag = "chats",
    params(("id" = String, Path, description = "Name of the chat"),
        ("Last-Event-ID" = Option<String>, Header, description = "Go on after this event")),
    responses((status = 200, description = "`event: state` with a StateChange, `event: message` with a Message, `event: delta` with a Delta", content_type = "text/event-stream", body = String),
        (status = 404, body = Problem), (status = 503, body = Problem)))]
pub async fn events(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Reply> {
    let pin = pin(&api, &id).await?;
    let last = last_event(&headers);
    let using = api.gateway.using(&pin.chat);
    let stream = match pin.dialect {
        Dialect::Tui => of_terminal(&api, pin, last).await,
        Dialect::Opencode => {
            let (live, native) = native_of(&api, &pin).await?;
            opencode::events(&api, live, native, pin).await
        }
        Dialect::Goosed => {
            let (live, native) = native_of(&api, &pin).await?;
            goosed::events(&api, live, native, pin, last).await
        }
        Dialect::Acp => Err(unspoken(&pin.node)),
    };
    Ok(using.until_the_end_of(stream?))
}

/// The event that a client has seen last.
pub fn last_event(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("last-event-id")?.to_str().ok()?;
    (!value.is_empty()).then(|| value.to_owned())
}

async fn of_terminal(api: &Api, pin: Pin, last: Option<String>) -> Result<Response, Reply> {
    node_of(api, &pin)?;
    let listener = listen(api, &pin.node, &pin.chat, last)?;
    let mut begin = Vec::new();
    if listener.missed.is_none() {
        let state = match listener.state.clone() {
            Some(state) => state,
            None => state_now(api, &pin.node, &pin.chat).await?,
        };
        begin.push(Told::State(state));
        let said = terminal::conversation(api, &pin).await?;
        begin.extend(said.into_iter().map(Told::Message));
    }
    let (client, response) = sse::stream();
    let stopped = api.gateway.stopping.wait();
    tokio::spawn(async move {
        tokio::select! {
            () = stopped => {}
            () = client.gone() => {}
            () = pass_on(listener, begin, &pin, &client) => {}
        }
    });
    Ok(response)
}

/// Begins to listen to a node.
///
/// # Errors
/// 503: the gateway has no fleet, or cannot watch it.
pub fn listen(api: &Api, node: &str, chat: &str, last: Option<String>) -> Result<Listener, Reply> {
    let install = terminal::install_of(&api.gateway, node)?;
    let after = last.and_then(|id| id.parse::<Id>().ok());
    api.hub
        .follow(&install, node, after)
        .map_err(|e| Reply::down(node, chat, &e.to_string()))
}

/// What a terminal does at the moment.
///
/// # Errors
/// 503.
pub async fn state_now(api: &Api, node: &str, chat: &str) -> Result<StateChange, Reply> {
    let install = terminal::install_of(&api.gateway, node)?;
    let (node, chat) = (node.to_owned(), chat.to_owned());
    api.looking
        .run(&api.gateway.stopping, move |_| {
            let launch = terminal::launch_of(&install, &node, &chat)?;
            let seen = terminal::seen(&install, &launch);
            Ok(StateChange {
                node,
                state: seen.state.as_str().to_owned(),
                why: seen.evidence.what,
                time: jiff::Timestamp::now(),
            })
        })
        .await?
}

/// How things stand, what was missed, and then whatever happens, until the client is too slow.
async fn pass_on(mut listener: Listener, begin: Vec<Told>, pin: &Pin, client: &Client) {
    let last = listener.last.to_string();
    let mut state = None;
    for told in begin {
        if let Told::State(change) = &told {
            state = Some(change.state.clone());
        }
        if !told.to(client, Some(&last)).await {
            return;
        }
    }
    for event in listener.missed.take().unwrap_or_default() {
        if !tell(&event, pin, &mut state, client).await {
            return;
        }
    }
    loop {
        match listener.news.recv().await {
            Ok(event) => {
                if !tell(&event, pin, &mut state, client).await {
                    return;
                }
            }
            Err(RecvError::Lagged(_) | RecvError::Closed) => return,
        }
    }
}

async fn tell(event: &Arc<Event>, pin: &Pin, state: &mut Option<String>, client: &Client) -> bool {
    let id = event.id.to_string();
    for told in of_chat(&event.what, pin) {
        if let Told::State(change) = &told
            && state.replace(change.state.clone()).as_ref() == Some(&change.state)
        {
            continue;
        }
        if !told.to(client, Some(&id)).await {
            return false;
        }
    }
    true
}

/// What an event means for a chat: nothing, where it is about others.
fn of_chat(what: &Happened, pin: &Pin) -> Vec<Told> {
    match what {
        Happened::State(change) if change.node == pin.node => vec![Told::State(change.clone())],
        Happened::Row(row)
            if row.chat.as_deref() == Some(&pin.chat)
                && row.created.as_millisecond() >= pin.created.as_millisecond() =>
        {
            let said = terminal::messages_of(row);
            said.into_iter().map(Told::Message).collect()
        }
        Happened::State(_) | Happened::Row(_) => Vec::new(),
    }
}
