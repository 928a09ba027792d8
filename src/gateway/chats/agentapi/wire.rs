//! agentapi's documents (version 0.12). What a client sends may have fields that are not known here.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What agentapi says of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentStatus {
    /// It is processing a message.
    Running,
    /// It waits for input.
    Stable,
}

/// Answer of `status`.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentStatusReply {
    /// What it does.
    pub status: AgentStatus,
    /// Type of the agent, in agentapi's words.
    pub agent_type: String,
    /// Always `pty`.
    pub transport: String,
}

/// Who said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConversationRole {
    /// The agent.
    Agent,
    /// Whoever writes to it.
    User,
}

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AgentMessage {
    /// Its place in the conversation.
    pub id: u64,
    /// What.
    pub content: String,
    /// Who said it.
    pub role: ConversationRole,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
}

/// Answer of `messages`.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentMessages {
    /// Oldest first.
    pub messages: Vec<AgentMessage>,
}

/// The kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MessageType {
    /// Keystrokes.
    Raw,
    /// A message.
    User,
}

/// Body of `message`.
#[derive(Debug, Deserialize, ToSchema)]
pub struct AgentSays {
    /// What to say.
    pub content: String,
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: MessageType,
}

/// Answer of `message`.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentTold {
    /// It was sent.
    pub ok: bool,
}

/// Data of `message_update`.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageUpdate {
    /// Its place in the conversation.
    pub id: u64,
    /// What.
    pub message: String,
    /// Who said it.
    pub role: ConversationRole,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
}

impl MessageUpdate {
    /// Of a message.
    pub fn of(message: &AgentMessage) -> Self {
        Self {
            id: message.id,
            message: message.content.clone(),
            role: message.role,
            time: message.time,
        }
    }
}

/// Data of `status_change`.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatusChange {
    /// What it does.
    pub status: AgentStatus,
    /// Type of the agent.
    pub agent_type: String,
}

/// One error in an [`ErrorModel`].
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorDetail {
    /// In words.
    pub message: String,
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

/// An error, as `application/problem+json` (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorModel {
    /// The status in words.
    pub title: String,
    /// The status.
    pub status: u16,
    /// What went wrong.
    pub detail: String,
    /// More of it.
    pub errors: Vec<ErrorDetail>,
}

/// agentapi's word for a runtime; `custom` where it has none.
pub fn agent_type(runtime: &str) -> &'static str {
    const KNOWN: [&str; 13] = [
        "claude",
        "goose",
        "aider",
        "gemini",
        "amp",
        "codex",
        "cursor",
        "cursor-agent",
        "copilot",
        "auggie",
        "amazonq",
        "opencode",
        "custom",
    ];
    KNOWN
        .into_iter()
        .find(|known| *known == runtime)
        .unwrap_or("custom")
}

/// agentapi's word for a state; `None` for an agent that is gone. One that asks something or is refused by
/// its provider stands still, and waits for somebody.
pub fn status_of(state: &str) -> Option<AgentStatus> {
    match state {
        "exited" | "failed" => None,
        "idle" | "waiting" | "rate-limited" => Some(AgentStatus::Stable),
        _ => Some(AgentStatus::Running),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::state::State;

    #[test]
    fn states_and_runtimes_have_agentapis_words() {
        use AgentStatus::{Running, Stable};
        for (state, status) in [
            (State::Starting, Some(Running)),
            (State::Idle, Some(Stable)),
            (State::Working, Some(Running)),
            (State::Waiting, Some(Stable)),
            (State::RateLimited, Some(Stable)),
            (State::Unknown, Some(Running)),
            (State::Exited, None),
            (State::Failed, None),
        ] {
            assert_eq!(status_of(state.as_str()), status, "{state}");
        }
        assert_eq!(agent_type("claude"), "claude");
        assert_eq!(agent_type("demo"), "custom");
    }

    #[test]
    fn bodies_of_its_clients_are_read() {
        let says: AgentSays = serde_json::from_str(
            r#"{"$schema":"https://x/schemas/MessageRequestBody.json","content":"hi","type":"user"}"#,
        )
        .unwrap();
        assert_eq!(
            (says.content.as_str(), says.kind),
            ("hi", MessageType::User)
        );
        for bad in [
            "{}",
            r#"{"content":1,"type":"user"}"#,
            r#"{"content":"","type":"x"}"#,
        ] {
            assert!(serde_json::from_str::<AgentSays>(bad).is_err(), "{bad}");
        }
    }
}
