//! Questions to a server that has a session for a chat: one request, one JSON answer, both bounded.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use serde_json::Value;

use super::Api;
use super::events::sse::Frames;
use crate::gateway::nodes::Live;
use crate::gateway::reply::Reply;
use crate::gateway::upstream::{ANSWER, Failure};

/// Longest answer: a long conversation with the output of its tools.
const MOST: usize = 64 * 1024 * 1024;

/// How much of a refusal is passed on.
const WORDS: usize = 500;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    body: Bytes,
}

impl Answer {
    /// As JSON; `null` where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// What a node said that refused.
    pub fn words(&self) -> String {
        let said = self.json();
        let said = said["message"]
            .as_str()
            .or(said["data"]["message"].as_str())
            .map_or_else(
                || String::from_utf8_lossy(&self.body).into_owned(),
                str::to_owned,
            );
        let said: String = said.chars().take(WORDS).collect();
        match said.trim() {
            "" => format!("it answers {}", self.status),
            said => format!("it answers {}: {said}", self.status),
        }
    }

    /// The client's answer where a node refused: 4xx stay what they are but for those that concern the
    /// gateway's own way to the node.
    pub fn refusal(&self, node: &str, chat: &str) -> Reply {
        let status = match self.status {
            StatusCode::BAD_REQUEST
            | StatusCode::CONFLICT
            | StatusCode::UNPROCESSABLE_ENTITY
            | StatusCode::TOO_MANY_REQUESTS => self.status,
            _ => StatusCode::BAD_GATEWAY,
        };
        let of = match chat {
            "" => String::new(),
            chat => format!(" for the chat `{chat}`"),
        };
        Reply::new(
            status,
            format!("the node `{node}` refuses{of}: {}", self.words()),
        )
    }
}

/// Asks once.
///
/// # Errors
/// No answer in time; whether the node may have taken it.
pub async fn ask(
    api: &Api,
    live: &Live,
    method: Method,
    path: &str,
    body: Option<Value>,
    wait: Duration,
) -> Result<Answer, Failure> {
    let Some(endpoint) = &live.endpoint else {
        return Err(Failure::NotSent("it has never started".to_owned()));
    };
    let mut request = Request::builder().method(method).uri(path);
    let body = match body {
        Some(body) => {
            request = request.header(header::CONTENT_TYPE, "application/json");
            Body::from(body.to_string())
        }
        None => Body::empty(),
    };
    let request = request
        .body(body)
        .map_err(|e| Failure::NotSent(format!("a bad request line: {e}")))?;
    let whole = async {
        let answer = api.gateway.upstream.send(endpoint, request, wait).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MOST)
            .collect()
            .await
            .map_err(|e| Failure::NoAnswer(format!("its answer broke off: {e}")))?
            .to_bytes();
        Ok(Answer { status, body })
    };
    let hangs = live.streams.wait();
    tokio::select! {
        biased;
        answer = whole => answer,
        () = hangs => Err(Failure::NoAnswer("it hangs, or is gone".to_owned())),
        () = tokio::time::sleep(wait) => {
            Err(Failure::NoAnswer(format!("nothing within {} s", wait.as_secs())))
        }
    }
}

/// Waits until nothing more is to be waited for: the node hangs, or the gateway stops. Which.
pub fn left(api: &Api, live: &Live) -> impl Future<Output = String> + Send + 'static {
    let (stopped, hangs) = (api.gateway.stopping.wait(), live.streams.wait());
    let node = live.node.id.clone();
    async move {
        tokio::select! {
            () = stopped => "the gateway stops".to_owned(),
            () = hangs => format!("the node `{node}` hangs, or is gone"),
        }
    }
}

/// The same where an answer of success is wanted, for a chat.
///
/// # Errors
/// The client's answer.
pub async fn ask_for(
    api: &Api,
    live: &Live,
    chat: &str,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<Value, Reply> {
    let node = live.node.id.as_str();
    match ask(api, live, method, path, body, ANSWER).await {
        Ok(answer) if answer.status.is_success() => Ok(answer.json()),
        Ok(answer) => Err(answer.refusal(node, chat)),
        Err(failure) => Err(Reply::failed(node, chat, &failure)),
    }
}

/// Opens a stream of a node's events, for a chat.
///
/// # Errors
/// The client's answer.
pub async fn open(
    api: &Api,
    live: &Live,
    path: &str,
    last: Option<&str>,
    chat: &str,
) -> Result<Frames, Reply> {
    let node = live.node.id.as_str();
    let Some(endpoint) = &live.endpoint else {
        return Err(Reply::down(node, chat, "it has never started"));
    };
    let mut request = Request::get(path).header(header::ACCEPT, "text/event-stream");
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let request = request
        .body(Body::empty())
        .map_err(|e| Reply::bad(format!("a bad header: {e}")))?;
    let answer = api.gateway.upstream.send(endpoint, request, ANSWER).await;
    let answer = answer.map_err(|failure| Reply::failed(node, chat, &failure))?;
    if !answer.status().is_success() {
        return Err(Reply::new(
            StatusCode::BAD_GATEWAY,
            format!(
                "the node `{node}` gives no events for the chat `{chat}`: it answers {}",
                answer.status()
            ),
        ));
    }
    Ok(Frames::of(answer.into_body()))
}

/// A value as it stands in a query.
pub fn escaped(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                char::from(b).to_string()
            }
            b => format!("%{b:02X}"),
        })
        .collect()
}
