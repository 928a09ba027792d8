//! What the gateway says itself: `{"message": …}` with a status, as goosed's clients expect errors.

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::failure::Failure;
use crate::error::{Error, Kind};

/// Names the nodes that are not in an answer.
pub const MISSING: HeaderName = HeaderName::from_static("x-mosaic-missing");

/// A refusal, or a failure on the way.
#[derive(Debug)]
pub struct Reply {
    /// Status.
    pub status: StatusCode,
    /// In words.
    pub message: String,
}

impl Reply {
    /// With a status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// 400: the request makes no sense.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404.
    pub fn missing(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 503: the chat's node is down, and the chat stays pinned to it.
    pub fn down(node: &str, chat: &str, why: &str) -> Self {
        let chat = match chat {
            "" => String::new(),
            chat => format!("; the chat `{chat}` stays there"),
        };
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the node `{node}` is not available: {why}{chat}"),
        )
    }

    /// 503 or 504 after a request to a node: nobody took it, or it may have been taken.
    pub fn failed(node: &str, chat: &str, failure: &Failure) -> Self {
        match failure {
            Failure::NotSent(why) => Self::down(node, chat, why),
            Failure::NoAnswer(why) => {
                let chat = match chat {
                    "" => String::new(),
                    chat => format!(" for the chat `{chat}`"),
                };
                Self::new(
                    StatusCode::GATEWAY_TIMEOUT,
                    format!(
                        "the node `{node}` did not answer{chat}: {why}; it may have taken the request"
                    ),
                )
            }
        }
    }
}

impl From<Error> for Reply {
    fn from(e: Error) -> Self {
        let status = match e.kind {
            Kind::Usage => StatusCode::BAD_REQUEST,
            Kind::Busy | Kind::Unavailable | Kind::No => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Bug | Kind::Config => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, e.to_string())
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let body = serde_json::json!({"message": self.message});
        (self.status, Json(body)).into_response()
    }
}

/// Says which nodes are not in an answer that all of them have a part in.
pub fn lacks(headers: &mut HeaderMap, nodes: &[&str]) {
    if let Ok(names) = HeaderValue::from_str(&nodes.join(","))
        && !nodes.is_empty()
    {
        headers.insert(MISSING, names);
    }
}

/// For what is there, and not by this method.
pub async fn wrong_method(method: Method, uri: Uri) -> Reply {
    let why = format!("the gateway has no {method} of `{}`", uri.path());
    Reply::new(StatusCode::METHOD_NOT_ALLOWED, why)
}

/// For everything that no dialect knows. That the gateway is up is told by it whatever dialects there are.
pub async fn otherwise(uri: Uri) -> Response {
    match uri.path() {
        "/status" | "/health" => "ok".into_response(),
        path => Reply::missing(format!("the gateway has no `{path}`")).into_response(),
    }
}
