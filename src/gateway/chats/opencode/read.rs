//! What opencode says, in the words of the node API. Pure. What is not known is passed over.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::gateway::chats::events::Told;
use crate::gateway::chats::events::server::Reads;
use crate::gateway::chats::wire::{Delta, Message, Role};

/// Most messages of which the text is kept while they are written.
const KEPT: usize = 64;

/// Most messages of mosaic's that are known by name while a session is followed: answers refer to the latest.
const NAMES: usize = 256;

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

/// mosaic's ids of messages, by opencode's.
type Names = BTreeMap<String, String>;

/// Keeps the name of a message that came by mosaic.
fn note(names: &mut Names, message: &Value) {
    let Some(id) = message["info"]["id"].as_str() else {
        return;
    };
    let name = id_of(message);
    if name != id {
        names.insert(id.to_owned(), name);
    }
}

fn names(messages: &[Value]) -> Names {
    let mut names = Names::new();
    for message in messages {
        note(&mut names, message);
    }
    names
}

/// One message; `None` for a step of a turn that says nothing.
fn said(message: &Value, names: &Names) -> Option<Message> {
    let parent = message["info"]["parentID"].as_str();
    let said = Message {
        time: time(&message["info"]["time"]["created"]),
        reason: message["info"]["error"]["data"]["message"]
            .as_str()
            .map(str::to_owned),
        reply_to: parent.map(|p| names.get(p).map_or(p, String::as_str).to_owned()),
        ..Message::said(id_of(message), role(&message["info"]), text_of(message))
    };
    (!said.text.is_empty() || said.reason.is_some()).then_some(said)
}

/// The messages of a session, as opencode lists them.
pub fn list(answer: &Value) -> &[Value] {
    answer.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A session as a conversation.
pub fn conversation(messages: &[Value]) -> Vec<Message> {
    let names = names(messages);
    messages.iter().filter_map(|m| said(m, &names)).collect()
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
    /// What answers refer to. opencode's ids grow, so that the first one is the oldest.
    names: Names,
}

impl Reads for Reader {
    fn take(&mut self, event: &Value) -> Vec<Told> {
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
}

impl Reader {
    /// For the session of a chat, with what was said in it before.
    pub fn new(node: &str, session: &str, before: &[Value]) -> Self {
        Self {
            node: node.to_owned(),
            session: session.to_owned(),
            writing: BTreeMap::new(),
            names: names(before),
        }
    }

    fn state(&self, state: &str, why: &str) -> Told {
        Told::state(&self.node, state, why)
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
        match info["time"]["completed"].is_i64() || info["role"] == "user" {
            true => self.told(id),
            false => Vec::new(),
        }
    }

    /// A message as far as it is written.
    fn told(&mut self, id: &str) -> Vec<Told> {
        let Some(entry) = self.writing.get(id) else {
            return Vec::new();
        };
        note(&mut self.names, entry);
        if self.names.len() > NAMES {
            self.names.pop_first();
        }
        let said = said(entry, &self.names);
        said.into_iter().map(Told::Message).collect()
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
        self.told(message)
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
