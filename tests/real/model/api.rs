//! The interfaces that the stand-in speaks, and which of them a request is for.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::answer::Answer;
use super::{anthropic, chat, gemini, responses};

/// An interface of a model provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// Anthropic Messages: claude.
    Messages,
    /// OpenAI Chat Completions: pi, opencode, goose.
    Chat,
    /// OpenAI Responses: codex.
    Responses,
    /// Gemini generateContent: gemini.
    Gemini,
}

/// An answer in the form of an interface: events to be sent one after the other.
pub struct Frames {
    pub open: String,
    /// One for each piece of the answer.
    pub pieces: Vec<String>,
    pub close: String,
}

impl Api {
    /// The interface that a path asks for an answer; `None` for all else.
    pub fn of(path: &str) -> Option<Self> {
        [
            ("/messages", Self::Messages),
            ("/chat/completions", Self::Chat),
            ("/responses", Self::Responses),
            (":generateContent", Self::Gemini),
            (":streamGenerateContent", Self::Gemini),
        ]
        .into_iter()
        .find_map(|(end, api)| path.ends_with(end).then_some(api))
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Chat => "chat",
            Self::Responses => "responses",
            Self::Gemini => "gemini",
        }
    }

    pub fn frames(self, answer: &Answer) -> Frames {
        match self {
            Self::Messages => anthropic::frames(answer),
            Self::Chat => chat::frames(answer),
            Self::Responses => responses::frames(answer),
            Self::Gemini => gemini::frames(answer),
        }
    }

    pub fn whole(self, answer: &Answer) -> Value {
        match self {
            Self::Messages => anthropic::whole(answer),
            Self::Chat => chat::whole(answer),
            Self::Responses => responses::whole(answer),
            Self::Gemini => gemini::whole(answer),
        }
    }

    /// The body of a refusal because of too many requests.
    pub fn limit(self, seconds: u64) -> Value {
        match self {
            Self::Messages => anthropic::limit(),
            Self::Chat | Self::Responses => chat::limit(seconds),
            Self::Gemini => gemini::limit(seconds),
        }
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// An id: agents take two answers with one id as parts of the same, and conversations remember ids.
pub fn unique(kind: &str) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    format!("{kind}_{}", since.as_nanos())
}

/// An event as the two interfaces that name their events in the head as well want it.
pub fn named(event: &Value) -> String {
    let kind = event["type"].as_str().unwrap_or_default();
    format!("event: {kind}\ndata: {event}\n\n")
}
