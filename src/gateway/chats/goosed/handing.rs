//! Handing a message over to goosed, once: under one request, noted before it goes.

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use serde_json::json;

use super::{read, resume, session};
use crate::gateway::chats::Api;
use crate::gateway::chats::messages::another;
use crate::gateway::chats::server::{Wait, ask, escaped};
use crate::gateway::failure::Failure;
use crate::gateway::nodes::Live;
use crate::gateway::reply::Reply;
use crate::routing::pins::Pin;

/// A message on its way to goosed.
pub struct Handing {
    /// The way there.
    pub api: Api,
    /// Its node.
    pub live: Arc<Live>,
    /// Its session.
    pub native: String,
    /// Its chat.
    pub pin: Pin,
    /// The request's name.
    pub request: String,
    /// Its id.
    pub id: String,
    /// What it says.
    pub text: String,
}

impl Handing {
    /// Hands it over unless that was done. Whether it was.
    ///
    /// # Errors
    /// The client's answer.
    pub async fn once(self) -> Result<bool, Reply> {
        let Self { api, live, pin, .. } = &self;
        let _turn = api.turns.take(&pin.chat).await;
        let before = session(api, live, &self.native, pin).await?;
        let id = self.id.clone();
        let there = before.into(move |before| read::said(before, &id)).await;
        match there {
            Some(text) if text != self.text => return Err(another(&self.id)),
            _ if there.is_some() || api.said.knows(&pin.chat, &self.id) => return Ok(true),
            _ => {}
        }
        resume(api, live, &self.native, &pin.chat).await?;
        self.over().await?;
        Ok(false)
    }

    async fn over(&self) -> Result<(), Reply> {
        let (chat, node) = (self.pin.chat.as_str(), self.live.node.id.as_str());
        let body = json!({
            "request_id": self.request,
            "user_message": {
                "id": read::named(&self.id),
                "role": "user",
                "created": jiff::Timestamp::now().as_second(),
                "content": [{"type": "text", "text": self.text}],
                "metadata": {"userVisible": true, "agentVisible": true},
            },
        });
        let path = format!("/sessions/{}/reply", escaped(&self.native));
        let said = &self.api.said;
        // From here on it may be there, whatever the answer: only a node that certainly did not take it
        // may be given it again.
        said.note(chat, &self.id);
        match ask(
            &self.api,
            &self.live,
            Method::POST,
            &path,
            Some(body),
            Wait::Answer,
        )
        .await
        {
            Ok(answer) if answer.status.is_success() => Ok(()),
            Ok(answer) => {
                if answer.status.is_client_error() {
                    said.forget(chat, &self.id);
                }
                if answer.status != StatusCode::BAD_REQUEST {
                    return Err(answer.refusal(node, chat));
                }
                Err(Reply::new(
                    StatusCode::CONFLICT,
                    format!(
                        "the node `{node}` does not take a message for the chat `{chat}` now: {}",
                        answer.words()
                    ),
                ))
            }
            Err(failure) => {
                if matches!(failure, Failure::NotSent(_)) {
                    said.forget(chat, &self.id);
                }
                Err(Reply::failed(node, chat, &failure))
            }
        }
    }
}
