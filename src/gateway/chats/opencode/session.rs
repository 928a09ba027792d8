//! A chat's session on a server of opencode, and what is asked of it. A server works in any number of
//! directories, and each of them has its own turns and its own events: whatever concerns a session is asked
//! in its own directory. What the answers mean is left to others.

use std::sync::Arc;

use axum::http::Method;
use serde_json::{Value, json};

use crate::gateway::chats::Api;
use crate::gateway::chats::events::sse::Frames;
use crate::gateway::chats::server::{Kept, ask_for, escaped, open};
use crate::gateway::nodes::Live;
use crate::gateway::reply::Reply;
use crate::routing::pins::Pin;

/// How many messages at the end of a session are looked at. Each step of a turn is one.
const LAST: u32 = 200;

/// A session.
#[derive(Clone)]
pub struct Session {
    api: Api,
    live: Arc<Live>,
    /// The chat.
    pub pin: Pin,
    /// Its name there.
    pub native: String,
    /// Where it is, as a query names it; nothing where opencode does not say.
    place: Option<String>,
}

impl Session {
    /// The session of a chat, and where it is: that may be elsewhere than its server.
    ///
    /// # Errors
    /// The client's answer.
    pub async fn of(api: &Api, live: &Arc<Live>, native: &str, pin: &Pin) -> Result<Self, Reply> {
        let mut session = Self {
            api: Arc::clone(api),
            live: Arc::clone(live),
            pin: pin.clone(),
            native: native.to_owned(),
            place: None,
        };
        let known = session
            .ask(Method::GET, &format!("/session/{native}"), None)
            .await?;
        session.place = known["directory"]
            .as_str()
            .map(|place| format!("directory={}", escaped(place)));
        Ok(session)
    }

    fn here(&self, path: &str) -> String {
        match &self.place {
            Some(place) if path.contains('?') => format!("{path}&{place}"),
            Some(place) => format!("{path}?{place}"),
            None => path.to_owned(),
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Kept, Reply> {
        let path = self.here(path);
        ask_for(&self.api, &self.live, &self.pin.chat, method, &path, body).await
    }

    /// Hands a message over; it is taken before it stands in the session.
    ///
    /// # Errors
    /// The client's answer.
    pub async fn prompt(&self, body: Value) -> Result<(), Reply> {
        let path = format!("/session/{}/prompt_async", self.native);
        self.ask(Method::POST, &path, Some(body)).await.map(drop)
    }

    /// Breaks its turn off.
    ///
    /// # Errors
    /// The client's answer.
    pub async fn abort(&self) -> Result<(), Reply> {
        let path = format!("/session/{}/abort", self.native);
        self.ask(Method::POST, &path, Some(json!({})))
            .await
            .map(drop)
    }

    /// Whether it is in no turn.
    ///
    /// # Errors
    /// The client's answer.
    pub async fn at_rest(&self) -> Result<bool, Reply> {
        let busy = self.ask(Method::GET, "/session/status", None).await?;
        Ok(busy.get(&self.native).is_none_or(|s| s["type"] == "idle"))
    }

    /// What was said last in it: a list.
    ///
    /// # Errors
    /// The client's answer.
    pub async fn messages(&self) -> Result<Kept, Reply> {
        let path = format!("/session/{}/message?limit={LAST}", self.native);
        self.ask(Method::GET, &path, None).await
    }

    /// What happens where it is.
    ///
    /// # Errors
    /// The client's answer.
    pub async fn events(&self) -> Result<Frames, Reply> {
        let path = self.here("/event");
        open(&self.api, &self.live, &path, None, &self.pin.chat).await
    }
}
