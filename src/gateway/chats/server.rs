//! Questions to a server that has a session for a chat: one request, one JSON answer, both bounded. How a
//! node that hangs is found out, and what is noted of one that is down, is its dialect's.

use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use serde_json::Value;

use super::Api;
use super::events::sse::Frames;
use crate::gateway::aside::aside;
use crate::gateway::failure::Failure;
pub use crate::gateway::goosed::Wait;
use crate::gateway::nodes::Live;
use crate::gateway::reply::Reply;
use crate::gateway::upstream::NodeBody;
use crate::gateway::whole::{self, Room, SHORT, Unread, Whole};
use crate::gateway::{goosed, opencode};
use crate::routing::node::Dialect;

/// Longest answer: a long conversation with the output of its tools.
const MOST: usize = 64 * 1024 * 1024;

/// How much of a refusal is passed on.
const WORDS: usize = 500;

/// What a node has answered, and the room that it takes.
#[derive(Debug)]
pub struct Kept {
    value: Value,
    length: usize,
    _room: Room,
}

impl Kept {
    /// What is made of it, which may be long work.
    pub async fn into<T: Send + 'static>(
        self,
        make: impl FnOnce(&Value) -> T + Send + 'static,
    ) -> T {
        aside(self.length, move || make(&self.value)).await
    }
}

impl std::ops::Deref for Kept {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    body: Whole,
}

impl Answer {
    /// An answer that is passed on elsewhere. One that breaks off says as much as has come: nothing.
    pub async fn of(answer: axum::response::Response) -> Self {
        let (head, body) = answer.into_parts();
        Self::short(head.status, whole::beginning(body).await)
    }

    /// One that takes no room.
    pub fn short(status: StatusCode, bytes: Bytes) -> Self {
        let body = Whole::short(bytes);
        Self { status, body }
    }

    /// As JSON; `null` where it is none.
    pub async fn json(self) -> Kept {
        Kept {
            value: self.body.json().await,
            length: self.body.bytes.len(),
            _room: self.body.room,
        }
    }

    /// What a node said that refused.
    pub fn words(&self) -> String {
        let body = &self.body.bytes;
        let said: Value = match body.len() {
            ..=SHORT => serde_json::from_slice(body).unwrap_or_default(),
            _ => Value::Null,
        };
        let said = said["message"]
            .as_str()
            .or(said["data"]["message"].as_str())
            .map_or_else(
                || String::from_utf8_lossy(&body[..body.len().min(SHORT)]).into_owned(),
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
    wait: Wait,
) -> Result<Answer, Failure> {
    let answer = asked(api, live, method, path, body, wait).await?;
    answer.map_err(Failure::from)
}

/// The same, where it matters whether there was an answer that could not be read.
async fn asked(
    api: &Api,
    live: &Live,
    method: Method,
    path: &str,
    body: Option<Value>,
    wait: Wait,
) -> Result<Result<Answer, Unread>, Failure> {
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
    let answered = async {
        let answer = head(api, live, request, wait).await?;
        let status = answer.status();
        let body = whole::whole(answer.into_body(), MOST, &api.gateway.looks).await;
        Ok(body.map(|body| Answer { status, body }))
    };
    let hangs = live.streams.wait();
    tokio::select! {
        biased;
        answer = answered => answer,
        () = hangs => Err(Failure::NoAnswer("it hangs, or is gone".to_owned())),
        () = tokio::time::sleep(wait.time()) => {
            Err(Failure::NoAnswer(too_late(wait)))
        }
    }
}

fn too_late(wait: Wait) -> String {
    format!("nothing within {} s", wait.time().as_secs())
}

/// The head of an answer.
async fn head(
    api: &Api,
    live: &Live,
    request: Request<Body>,
    wait: Wait,
) -> Result<Response<NodeBody>, Failure> {
    if live.node.dialect != Dialect::Opencode {
        return goosed::ask(&api.gateway, live, request, wait).await;
    }
    let asked = opencode::ask(&api.gateway, live, request);
    tokio::time::timeout(wait.time(), asked)
        .await
        .unwrap_or_else(|_| Err(Failure::NoAnswer(too_late(wait))))
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
) -> Result<Kept, Reply> {
    match asked(api, live, method.clone(), path, body, Wait::Answer).await {
        Ok(Ok(answer)) if answer.status.is_success() => Ok(answer.json().await),
        Ok(Ok(answer)) => Err(answer.refusal(&live.node.id, chat)),
        Ok(Err(why)) if method.is_safe() => Err(whole::unread(live, chat, why)),
        Ok(Err(why)) => Err(whole::lost(live, chat, why)),
        Err(failure) => Err(opencode::failed(&api.gateway, live, chat, &method, &failure).await),
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
    let mut request = Request::get(path).header(header::ACCEPT, "text/event-stream");
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let request = request
        .body(Body::empty())
        .map_err(|e| Reply::bad(format!("a bad header: {e}")))?;
    let answer = match head(api, live, request, Wait::Answer).await {
        Ok(answer) => answer,
        Err(failure) => {
            let gateway = &api.gateway;
            return Err(opencode::failed(gateway, live, chat, &Method::GET, &failure).await);
        }
    };
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
