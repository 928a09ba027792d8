//! What is said in a chat, how far it has come, and what happens meanwhile.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::delivery::{Receipt, Rung};
use crate::routing::pins::Pin;

/// How far a message is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Until {
    /// It is stored, and delivered when the node can take it.
    Queued,
    /// The agent was seen to take it.
    Submitted,
    /// The agent's own record has it.
    Accepted,
    /// The turn that it began has ended.
    Answered,
}

impl From<Until> for Rung {
    fn from(until: Until) -> Self {
        match until {
            Until::Queued => Rung::Queued,
            Until::Submitted => Rung::Submitted,
            Until::Accepted => Rung::Accepted,
            Until::Answered => Rung::Answered,
        }
    }
}

/// A message to a chat.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Say {
    /// Its text.
    pub text: String,
    /// Its id: a message of the same id is never delivered twice. The header `Idempotency-Key` does the
    /// same.
    #[serde(default)]
    pub id: Option<String>,
    /// Who sends; `user` otherwise.
    #[serde(default)]
    pub sender: Option<String>,
    /// What to wait for; `accepted` otherwise.
    #[serde(default)]
    pub until: Option<Until>,
    /// How long to wait for it, in seconds; 30 otherwise, 600 for an answer.
    #[serde(default)]
    pub timeout_secs: Option<u64>,
    /// It is not delivered after so many seconds.
    #[serde(default)]
    pub expires_secs: Option<u64>,
    /// The text goes as it is: nothing before it, and a leading `/` or `!` means what it means to the agent.
    #[serde(default)]
    pub raw: bool,
}

impl Say {
    /// What is waited for.
    pub fn asked(&self) -> Until {
        self.until.unwrap_or(Until::Accepted)
    }
}

/// How far a message has come.
#[derive(Debug, Serialize, ToSchema)]
pub struct Sent {
    /// Its id.
    pub id: String,
    /// Its chat.
    pub chat: String,
    /// Its node.
    pub node: String,
    /// How far it has come, as far as is proved.
    pub receipt: Rung,
    /// How far it was to come.
    pub asked: Rung,
    /// What proves it.
    pub evidence: Vec<String>,
    /// Why it got no farther.
    pub reason: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// It may yet get farther by itself.
    pub retry: bool,
    /// What the agent said last in the turn that it began, once answered.
    pub answer: Option<String>,
    /// From request to receipt.
    pub elapsed_ms: u64,
    /// The way it went.
    pub channel: Option<String>,
}

impl Sent {
    /// A message that a server is about to get, under its id or a new one.
    pub fn to_server(pin: &Pin, say: &Say) -> Self {
        let new = || uuid::Uuid::new_v4().to_string();
        Self {
            id: say.id.clone().unwrap_or_else(new),
            chat: pin.chat.clone(),
            node: pin.node.clone(),
            receipt: Rung::Queued,
            asked: say.asked().into(),
            evidence: Vec::new(),
            reason: None,
            hint: None,
            retry: false,
            answer: None,
            elapsed_ms: 0,
            channel: Some("gateway".to_owned()),
        }
    }

    /// A receipt of the delivery engine's.
    pub fn of(receipt: Receipt, chat: &str) -> Self {
        Self {
            id: receipt.id,
            chat: chat.to_owned(),
            node: receipt.agent,
            receipt: receipt.receipt,
            asked: receipt.asked,
            evidence: receipt.evidence,
            reason: receipt.reason,
            hint: receipt.hint,
            retry: receipt.retry,
            answer: receipt.answer,
            elapsed_ms: receipt.elapsed_ms,
            channel: receipt.channel.map(str::to_owned),
        }
    }
}

/// Who said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Whoever sends to the chat.
    User,
    /// The agent.
    Agent,
}

/// What was said in a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Message {
    /// Its id: a sent message's own, an answer's made of that; or the node's.
    pub id: String,
    /// Who said it.
    pub role: Role,
    /// What.
    pub text: String,
    /// When.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub time: Option<Timestamp>,
    /// How far a sent one has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Rung>,
    /// Why it got no farther.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// To which message it is the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
}

impl Message {
    /// With nothing but what was said.
    pub fn said(id: String, role: Role, text: String) -> Self {
        Self {
            id,
            role,
            text,
            time: None,
            receipt: None,
            reason: None,
            sender: None,
            reply_to: None,
        }
    }
}

/// A conversation.
#[derive(Debug, Serialize, ToSchema)]
pub struct Messages {
    /// Oldest first.
    pub messages: Vec<Message>,
}

/// What came of breaking off.
#[derive(Debug, Serialize, ToSchema)]
pub struct Cancelled {
    /// The chat.
    pub chat: String,
    /// Its node.
    pub node: String,
    /// A turn was broken off.
    pub interrupted: bool,
    /// Messages that were taken back before they were delivered.
    pub taken_back: Vec<String>,
    /// What was done, or why nothing.
    pub what: String,
}

impl Cancelled {
    /// Nothing was under way.
    pub fn nothing(pin: &Pin) -> Self {
        Self {
            interrupted: false,
            ..Self::turn(pin, idle(&pin.node, &pin.chat))
        }
    }

    /// A turn was broken off.
    pub fn turn(pin: &Pin, what: String) -> Self {
        Self {
            chat: pin.chat.clone(),
            node: pin.node.clone(),
            interrupted: true,
            taken_back: Vec::new(),
            what,
        }
    }
}

/// That there is nothing to be broken off.
pub fn idle(node: &str, chat: &str) -> String {
    format!("`{node}` is not at work on the chat `{chat}`")
}

/// What a node does; an event of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct StateChange {
    /// The node.
    pub node: String,
    /// What it does: starting, idle, working, waiting, rate-limited, unknown, exited, failed.
    pub state: String,
    /// Why that is believed.
    pub why: String,
    /// When it was seen.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
}

/// More text of a message that is being written; an event of a chat on a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Delta {
    /// Of which message.
    pub id: String,
    /// What was added.
    pub text: String,
}
