//! What opencode says, in the words of the node API. Pure. What is not known is passed over.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::gateway::chats::events::Told;
use crate::gateway::chats::wire::{Delta, Message, Role, StateChange};

/// Most messages of which the text is kept while they are written.
const KEPT: usize = 64;

/// The text of a message, without thoughts, tools and what opencode adds by itself.
pub fn text_of(message: &Value) -> String {
    let parts = message["parts"].as_array().map(Vec::as_slice);
    let texts: Vec<&str> = parts
        .unwrap_or_default()
        .iter()
        .filter(|p| p["type"] == "text" && p["synthetic"] != true)
        .filter_map(|p| p["text"].as_str())
        .collect();
    texts.join("\n")
}

fn time(value: &Value) -> Option<Timestamp> {
    Timestamp::from_millisecond(value.as_i64()?).ok()
}

/// mosaic's id of a message that came by it; else opencode's.
fn id_of(message: &Value) -> String {
    let given = message["parts"]
        .as_array()
        .and_then(|parts| parts.iter().find_map(|p| p["metadata"]["mosaic"].as_str()));
    given
        .or(message["info"]["id"].as_str())
        .unwrap_or_default()
        .to_owned()
}

fn role(info: &Value) -> Role {
    match info["role"].as_str() {
        Some("user") => Role::User,
        _ => Role::Agent,
    }
}

/// A session as a conversation. Steps of a turn that say nothing are left out.
pub fn conversation(messages: &[Value]) -> Vec<Message> {
    let named: BTreeMap<&str, String> = messages
        .iter()
        .filter_map(|m| Some((m["info"]["id"].as_str()?, id_of(m))))
        .collect();
    messages
        .iter()
        .map(|m| {
            let parent = m["info"]["parentID"].as_str();
            Message {
                id: id_of(m),
                role: role(&m["info"]),
                text: text_of(m),
                time: time(&m["info"]["time"]["created"]),
                receipt: None,
                reason: m["info"]["error"]["data"]["message"]
                    .as_str()
                    .map(str::to_owned),
                sender: None,
                reply_to: parent.map(|p| named.get(p).cloned().unwrap_or_else(|| p.to_owned())),
            }
        })
        .filter(|m| !m.text.is_empty() || m.reason.is_some())
        .collect()
}

/// What was said last in the turn that a message began; `None` where no step of it has ended.
pub fn answer(messages: &[Value], id: &str) -> Option<String> {
    let turn: Vec<&Value> = messages
        .iter()
        .filter(|m| m["info"]["parentID"] == id)
        .collect();
    turn.last()?["info"]["time"]["completed"].as_i64()?;
    let said = turn
        .iter()
        .rev()
        .map(|m| text_of(m))
        .find(|t| !t.is_empty());
    Some(said.unwrap_or_default())
}

/// Follows one session in a node's stream of events.
#[derive(Debug)]
pub struct Reader {
    node: String,
    session: String,
    /// Messages that are being written, by their ids there.
    writing: BTreeMap<String, Value>,
}

impl Reader {
    /// For the session of a chat.
    pub fn new(node: &str, session: &str) -> Self {
        Self {
            node: node.to_owned(),
            session: session.to_owned(),
            writing: BTreeMap::new(),
        }
    }

    fn state(&self, state: &str, why: &str) -> Told {
        Told::State(StateChange {
            node: self.node.clone(),
            state: state.to_owned(),
            why: why.to_owned(),
            time: Timestamp::now(),
        })
    }

    /// Takes one event.
    pub fn take(&mut self, event: &Value) -> Vec<Told> {
        let about = &event["properties"];
        let session = about["sessionID"]
            .as_str()
            .or(about["info"]["sessionID"].as_str())
            .or(about["part"]["sessionID"].as_str());
        if session != Some(&self.session) {
            return Vec::new();
        }
        match event["type"].as_str().unwrap_or_default() {
            "session.status" => match about["status"]["type"].as_str() {
                Some("idle") => vec![self.state("idle", "opencode is at rest")],
                Some("retry") => {
                    let why = about["status"]["message"].as_str().unwrap_or_default();
                    vec![self.state("rate-limited", why)]
                }
                Some(_) => vec![self.state("working", "opencode is in a turn")],
                None => Vec::new(),
            },
            "permission.asked" | "question.asked" => {
                vec![self.state("waiting", "opencode asks something")]
            }
            "session.error" => {
                let why = about["error"]["data"]["message"].as_str();
                vec![self.state("unknown", why.unwrap_or("opencode met an error"))]
            }
            "message.updated" => self.message(&about["info"]),
            "message.part.updated" => self.part(&about["part"]),
            "message.part.delta" => self.delta(about),
            _ => Vec::new(),
        }
    }

    fn entry(&mut self, id: &str) -> Option<&mut Value> {
        if !self.writing.contains_key(id) {
            if self.writing.len() >= KEPT {
                self.writing.pop_first();
            }
            let empty = serde_json::json!({"info": {"id": id}, "parts": []});
            self.writing.insert(id.to_owned(), empty);
        }
        self.writing.get_mut(id)
    }

    fn message(&mut self, info: &Value) -> Vec<Told> {
        let Some(id) = info["id"].as_str() else {
            return Vec::new();
        };
        let Some(entry) = self.entry(id) else {
            return Vec::new();
        };
        entry["info"] = info.clone();
        let done = info["time"]["completed"].is_i64() || info["role"] == "user";
        let said = conversation(std::slice::from_ref(entry));
        match done {
            true => said.into_iter().map(Told::Message).collect(),
            false => Vec::new(),
        }
    }

    fn part(&mut self, part: &Value) -> Vec<Told> {
        let (Some(id), Some(message)) = (part["id"].as_str(), part["messageID"].as_str()) else {
            return Vec::new();
        };
        if part["type"] != "text" {
            return Vec::new();
        }
        let Some(entry) = self.entry(message) else {
            return Vec::new();
        };
        if let Some(parts) = entry["parts"].as_array_mut() {
            match parts.iter_mut().find(|p| p["id"] == id) {
                Some(known) => *known = part.clone(),
                None => parts.push(part.clone()),
            }
        }
        // Whose it is comes with the message itself, which is told of first.
        if entry["info"]["role"].is_null() {
            return Vec::new();
        }
        conversation(std::slice::from_ref(entry))
            .into_iter()
            .map(Told::Message)
            .collect()
    }

    fn delta(&mut self, about: &Value) -> Vec<Told> {
        let (Some(message), Some(part), Some(text)) = (
            about["messageID"].as_str(),
            about["partID"].as_str(),
            about["delta"].as_str(),
        ) else {
            return Vec::new();
        };
        // Thoughts are written by deltas too: only a part that is known to be text counts.
        let known = self.writing.get_mut(message).and_then(|entry| {
            entry["parts"]
                .as_array_mut()?
                .iter_mut()
                .find(|p| p["id"] == part)
        });
        let Some(known) = known.filter(|_| about["field"] == "text") else {
            return Vec::new();
        };
        let whole = format!("{}{text}", known["text"].as_str().unwrap_or_default());
        known["text"] = Value::String(whole);
        vec![Told::Delta(Delta {
            id: message.to_owned(),
            text: text.to_owned(),
        })]
    }
}
