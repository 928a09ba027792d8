//! Errors of the gateway's own, as JSON-RPC has them: a code that tells what happened, a message that names
//! node and chat, and the same as data.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::frame::{Bad, Id, Message, Outcome, code, raw};
use super::link::Lost;
use crate::gateway::failure::Failure;
use crate::gateway::reply::Reply;

/// The session's node is down; the session stays there, and the request was not executed.
pub const NODE_DOWN: i64 = -32050;

/// The node took the request, or may have, and does not answer.
pub const NO_ANSWER: i64 = -32051;

/// No node can take a new session, or answer at all.
pub const NO_NODE: i64 = -32052;

/// What all nodes have to do was refused, since not all can.
pub const NOT_ALL: i64 = -32053;

/// The client itself has too much under way to the node, which was not asked and may be well.
pub const TOO_MUCH: i64 = -32054;

/// One error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// One of this file's codes, or of [`code`].
    pub code: i64,
    /// In words.
    pub message: String,
    /// The node it is about; empty when it is about none.
    pub node: String,
    /// The chat; empty as well.
    pub chat: String,
}

impl Fault {
    /// About no node.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            node: String::new(),
            chat: String::new(),
        }
    }

    /// The client's parameters make no sense.
    pub fn params(message: impl Into<String>) -> Self {
        Self::new(code::INVALID_PARAMS, message)
    }

    /// A request to a node failed.
    pub fn failed(node: &str, chat: &str, failure: &Failure) -> Self {
        Self {
            code: match failure {
                Failure::NotSent(_) => NODE_DOWN,
                Failure::NoAnswer(_) => NO_ANSWER,
            },
            message: Reply::failed(node, chat, failure).message,
            node: node.to_owned(),
            chat: chat.to_owned(),
        }
    }

    /// There is no answer, by the node's doing or by the client's.
    pub fn lost(node: &str, chat: &str, lost: &Lost) -> Self {
        match lost {
            Lost::Node(failure) => Self::failed(node, chat, failure),
            Lost::Client(why) => Self {
                code: TOO_MUCH,
                message: format!("the node `{node}` was not asked: {why}"),
                node: node.to_owned(),
                chat: chat.to_owned(),
            },
        }
    }

    /// What placement said, which speaks HTTP.
    pub async fn of(response: Response) -> Self {
        let code = match response.status() {
            StatusCode::GATEWAY_TIMEOUT => NO_ANSWER,
            StatusCode::SERVICE_UNAVAILABLE => NO_NODE,
            _ => code::INTERNAL,
        };
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 64 * 1024)
            .await
            .unwrap_or_default();
        let said: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let message = said.as_ref().and_then(|v| v["message"].as_str());
        Self::new(code, message.unwrap_or(&status.to_string()))
    }

    /// As the answer to a request.
    pub fn answer(&self, id: Id) -> Message {
        let mut error = json!({"code": self.code, "message": self.message});
        for (key, value) in [("node", &self.node), ("chat", &self.chat)] {
            if !value.is_empty() {
                error["data"][key] = json!(value);
            }
        }
        let error = raw(&error).unwrap_or_default();
        Message::Response {
            id,
            outcome: Outcome::Error(error),
        }
    }
}

impl From<Bad> for Fault {
    fn from(bad: Bad) -> Self {
        Self::new(bad.code, bad.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_code_node_and_chat() {
        let down = Fault::failed("n0", "n0.1", &Failure::NotSent("refused".into()));
        assert_eq!(
            down.answer(Id::Number("1".into())).text(),
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32050,"data":{"chat":"n0.1","node":"n0"},"message":"the node `n0` is not available: refused; the chat `n0.1` stays there"}}"#
        );
        // The node of one that asks too much is not said to be down.
        let much = Fault::lost("n0", "n0.1", &Lost::Client("too much".into()));
        assert_eq!(
            (much.code, much.message.as_str()),
            (TOO_MUCH, "the node `n0` was not asked: too much")
        );
        assert_eq!(
            Fault::lost("n0", "", &Failure::NotSent("x".into()).into()).code,
            NODE_DOWN
        );
        assert_eq!(
            Fault::params("x").answer(Id::Null).text(),
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"x"}}"#
        );
    }
}
