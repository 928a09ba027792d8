//! The four verbs of coder/agentapi below each terminal node, in its own shapes, so that its clients work
//! with `http://…/nodes/NAME` in place of the URL of an agentapi server. They know no chats: what they say
//! belongs to none, and what they read is the node's whole conversation.
//!
//! Keystrokes (`raw`) are not typed: what they would do to the screen that stands by then is not known.
//! The two keys by which its clients break a turn off do just that, by the agent CLI's own rule.

mod conversation;
mod problem;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use tokio::sync::broadcast::error::RecvError;

use super::Api;
use super::body::bytes;
use super::events::hub::{Happened, Listener};
use super::events::sse::{self, Client};
use super::events::{listen, state_now};
use super::terminal::{Outcome, break_off, send};
use super::wire::StateChange;
use crate::delivery::mailbox::{Options, Style};
use crate::delivery::{self, Post, Rung};
use crate::gateway::nodes::Live;
use crate::routing::node::Dialect;
use conversation::Said;
use problem::Refused;
use wire::{
    AgentMessage, AgentMessages, AgentSays, AgentStatus, AgentStatusReply, AgentTold, ErrorModel,
    MessageType,
};
pub use wire::{MessageUpdate, StatusChange};

/// How long a message may take until the agent is seen to begin with it. agentapi's own bound is of this
/// size.
const BEGIN: Duration = Duration::from_secs(30);

/// Between two looks at what an agent has said, while somebody listens.
const LOOK: Duration = Duration::from_secs(1);

/// Escape and Control-C: what agentapi's clients send to break a turn off.
const BREAKS: [&str; 2] = ["\u{1b}", "\u{3}"];

/// What the node does, as agentapi says it.
#[utoipa::path(get, path = "/nodes/{id}/status", operation_id = "agentapi_status", tag = "agentapi",
    params(("id" = String, Path, description = "Name of the node")),
    responses((status = 200, body = AgentStatusReply),
        (status = "default", body = ErrorModel, content_type = "application/problem+json")))]
pub async fn status(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<AgentStatusReply>, Refused> {
    let live = node(&api, &id)?;
    let state = state(&api, &id).await?;
    Ok(Json(AgentStatusReply {
        status: status_of(&id, &state)?,
        agent_type: wire::agent_type(&live.node.runtime).to_owned(),
        transport: "pty".to_owned(),
    }))
}

/// The node's conversation, as agentapi says it, from the agent's own record.
#[utoipa::path(get, path = "/nodes/{id}/messages", operation_id = "agentapi_messages", tag = "agentapi",
    params(("id" = String, Path, description = "Name of the node")),
    responses((status = 200, body = AgentMessages),
        (status = "default", body = ErrorModel, content_type = "application/problem+json")))]
pub async fn messages(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<AgentMessages>, Refused> {
    node(&api, &id)?;
    let said = said(&api, &id, None).await?;
    Ok(Json(AgentMessages {
        messages: said.map_or_else(Vec::new, |s| s.messages),
    }))
}

/// Says something to the node while it is at rest, as agentapi does. `raw` is refused, but for the keys
/// that break a turn off.
#[utoipa::path(post, path = "/nodes/{id}/message", operation_id = "agentapi_message", tag = "agentapi", request_body = AgentSays,
    params(("id" = String, Path, description = "Name of the node")),
    responses((status = 200, body = AgentTold),
        (status = "default", body = ErrorModel, content_type = "application/problem+json")))]
pub async fn message(
    State(api): State<Api>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<AgentTold>, Refused> {
    node(&api, &id)?;
    let bytes = bytes(request, &()).await.map_err(|e| Refused::of(&e))?;
    let says: AgentSays =
        serde_json::from_slice(&bytes).map_err(|e| Refused::invalid(&e.to_string()))?;
    match says.kind {
        MessageType::Raw if BREAKS.contains(&says.content.as_str()) => {
            break_off(&api, &id).await.map_err(|e| Refused::of(&e))?;
        }
        MessageType::Raw => {
            return Err(Refused::new(
                StatusCode::NOT_IMPLEMENTED,
                format!(
                    "no keystrokes are typed into `{id}`: what they would do is not known by then; Escape and Control-C break its turn off, and `mosaic agent approve {id}` answers what it asks"
                ),
            ));
        }
        MessageType::User => user(&api, &id, says.content).await?,
    }
    Ok(Json(AgentTold { ok: true }))
}

async fn user(api: &Api, node: &str, content: String) -> Result<(), Refused> {
    if content.trim().is_empty() {
        return Err(Refused::failed("message must not be empty"));
    }
    // Seen now: what the watcher saw last may be from before the message before this one.
    let now = state_now(api, node, "")
        .await
        .map_err(|e| Refused::of(&e))?;
    if status_of(node, &now)? == AgentStatus::Running {
        return Err(Refused::failed(
            "message can only be sent when the agent is waiting for user input",
        ));
    }
    let post = Post {
        text: content.into_bytes(),
        id: None,
        sender: delivery::sender(None, None),
        host: delivery::host_name(),
        chat: None,
        options: Options {
            style: Style::Bare,
            ..Options::default()
        },
        until: Rung::Submitted,
        timeout: BEGIN,
        // agentapi keeps nothing for later.
        no_queue: true,
        expires: None,
    };
    match send(api, node, post).await.map_err(|e| Refused::of(&e))? {
        Outcome::Receipt(receipt) if receipt.succeeded() => Ok(()),
        Outcome::Receipt(receipt) => Err(Refused::failed(&receipt.line())),
        Outcome::Down(why) => Err(Refused::down(node, &why)),
    }
}

/// What is said on the node and what it does, as agentapi says it: first all there is.
#[utoipa::path(get, path = "/nodes/{id}/events", operation_id = "agentapi_events", tag = "agentapi",
    params(("id" = String, Path, description = "Name of the node")),
    responses((status = 200, description = "`event: message_update` with a MessageUpdate, `event: status_change` with a StatusChange", content_type = "text/event-stream", body = String),
        (status = "default", body = ErrorModel, content_type = "application/problem+json")))]
pub async fn events(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Refused> {
    let live = node(&api, &id)?;
    let listener = listen(&api, &id, "", None).map_err(|e| Refused::of(&e))?;
    let state = match listener.state.clone() {
        Some(state) => state,
        None => state(&api, &id).await?,
    };
    let said = said(&api, &id, None).await?;
    let (client, response) = sse::stream();
    let stopped = api.gateway.stopping.wait();
    tokio::spawn(async move {
        let mut teller = Teller {
            agent_type: wire::agent_type(&live.node.runtime),
            client: &client,
            said: Vec::new(),
            print: None,
            status: None,
        };
        let telling = async {
            if teller.messages(said).await && teller.status(&state.state).await {
                pass_on(&api, &id, listener, &mut teller).await;
            }
        };
        tokio::select! {
            () = stopped => {}
            () = client.gone() => {}
            () = telling => {}
        }
    });
    Ok(response)
}

/// What a client has been told.
struct Teller<'a> {
    agent_type: &'static str,
    client: &'a Client,
    said: Vec<AgentMessage>,
    print: Option<u64>,
    status: Option<AgentStatus>,
}

impl Teller<'_> {
    /// Tells of messages that are new or have grown. `false`: the client is to be left.
    async fn messages(&mut self, now: Option<Said>) -> bool {
        let Some(now) = now else { return true };
        for message in conversation::changed(&self.said, &now.messages) {
            let update = MessageUpdate::of(message);
            if !self.client.tell(None, "message_update", &update).await {
                return false;
            }
        }
        self.said = now.messages;
        self.print = Some(now.print);
        true
    }

    async fn status(&mut self, state: &str) -> bool {
        // An agent that is gone runs again, or it does not; agentapi has no word for it.
        let status = wire::status_of(state).unwrap_or(AgentStatus::Running);
        if self.status.replace(status) == Some(status) {
            return true;
        }
        let change = StatusChange {
            status,
            agent_type: self.agent_type.to_owned(),
        };
        self.client.tell(None, "status_change", &change).await
    }
}

async fn pass_on(api: &Api, node: &str, mut listener: Listener, teller: &mut Teller<'_>) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let news = tokio::select! {
            news = listener.news.recv() => Some(news),
            _ = look.tick() => None,
        };
        let status = match news {
            None => None,
            Some(Err(RecvError::Lagged(_) | RecvError::Closed)) => return,
            Some(Ok(event)) => match &event.what {
                Happened::State(change) if change.node == node => Some(change.state.clone()),
                Happened::Row(row) if row.agent == node => None,
                Happened::State(_) | Happened::Row(_) => continue,
            },
        };
        // What was said before its end is told before the end, as agentapi does.
        match said(api, node, teller.print).await {
            Ok(said) => {
                if !teller.messages(said).await {
                    return;
                }
            }
            Err(e) => tracing::debug!("{}", e.detail()),
        }
        if let Some(state) = status
            && !teller.status(&state).await
        {
            return;
        }
    }
}

/// A node that these verbs can be used with.
fn node(api: &Api, id: &str) -> Result<Arc<Live>, Refused> {
    let live = api.gateway.nodes.get(id).ok_or_else(|| {
        Refused::new(
            StatusCode::NOT_FOUND,
            format!("no node `{}`", id.chars().take(80).collect::<String>()),
        )
    })?;
    match live.node.dialect {
        Dialect::Tui => Ok(live),
        other => Err(Refused::new(
            StatusCode::NOT_IMPLEMENTED,
            format!(
                "the node `{id}` has many sessions: use the gateway's `/chats`, or its dialect `{}`",
                other.as_str()
            ),
        )),
    }
}

async fn state(api: &Api, node: &str) -> Result<StateChange, Refused> {
    if let Some(state) = api.hub.state(node) {
        return Ok(state);
    }
    state_now(api, node, "").await.map_err(|e| Refused::of(&e))
}

fn status_of(node: &str, state: &StateChange) -> Result<AgentStatus, Refused> {
    wire::status_of(&state.state)
        .ok_or_else(|| Refused::down(node, &format!("it is {}: {}", state.state, state.why)))
}

async fn said(api: &Api, node: &str, before: Option<u64>) -> Result<Option<Said>, Refused> {
    conversation::said(api, node, before)
        .await
        .map_err(|e| Refused::of(&e))
}
