//! What goosed says, in the words of the node API. Pure. What is not known is passed over.

use jiff::Timestamp;
use serde_json::Value;

use crate::gateway::chats::events::Told;
use crate::gateway::chats::events::server::Reads;
use crate::gateway::chats::wire::{Delta, Message, Role};

/// Before the id of a message that came by mosaic.
const OURS: &str = "mosaic:";

/// The id of a message in goosed's record.
pub fn named(id: &str) -> String {
    format!("{OURS}{id}")
}

fn id_of(message: &Value, at: usize) -> String {
    match message["id"].as_str() {
        Some(id) => id.strip_prefix(OURS).unwrap_or(id).to_owned(),
        None => at.to_string(),
    }
}

fn text_of(message: &Value) -> String {
    let content = message["content"].as_array().map(Vec::as_slice);
    let texts: Vec<&str> = content
        .unwrap_or_default()
        .iter()
        .filter(|c| c["type"] == "text")
        .filter_map(|c| c["text"].as_str())
        .collect();
    texts.join("\n")
}

fn is_user(message: &Value) -> bool {
    message["role"] == "user"
}

fn role(message: &Value) -> Role {
    match is_user(message) {
        true => Role::User,
        false => Role::Agent,
    }
}

fn time(message: &Value) -> Option<Timestamp> {
    Timestamp::from_second(message["created"].as_i64()?).ok()
}

fn messages(session: &Value) -> &[Value] {
    session["conversation"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// The text of a message of this id, where the session has it.
pub fn said(session: &Value, id: &str) -> Option<String> {
    let name = named(id);
    messages(session)
        .iter()
        .find(|m| m["id"] == name.as_str())
        .map(text_of)
}

/// What was said last in the turn that a message began: of the last one, where goosed keeps no id of it.
pub fn answer(session: &Value, id: &str) -> Option<String> {
    let (all, name) = (messages(session), named(id));
    let said = |m: &Value| is_user(m) && !text_of(m).is_empty();
    let at = all
        .iter()
        .position(|m| m["id"] == name.as_str())
        .or_else(|| all.iter().rposition(said))?;
    all[at + 1..]
        .iter()
        .take_while(|m| !said(m))
        .map(text_of)
        .filter(|text| !text.is_empty())
        .last()
}

/// A session as a conversation. What only tools said is left out.
pub fn conversation(session: &Value) -> Vec<Message> {
    let mut asked: Option<String> = None;
    let mut said = Vec::new();
    for (at, message) in messages(session).iter().enumerate() {
        let text = text_of(message);
        if text.is_empty() || message["metadata"]["userVisible"] == false {
            continue;
        }
        let user = is_user(message);
        let id = id_of(message, at);
        if user {
            asked = Some(id.clone());
        }
        said.push(Message {
            time: time(message),
            reply_to: asked.clone().filter(|_| !user),
            ..Message::said(id, role(message), text)
        });
    }
    said
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Its turn is over.
    Finished,
    /// It failed; why.
    Failed(String),
}

/// Whether an event ends a request.
pub fn end_of(event: &Value, request: &str) -> Option<End> {
    if event["chat_request_id"] != request {
        return None;
    }
    match event["type"].as_str()? {
        "Finish" => Some(End::Finished),
        "Error" => Some(End::Failed(
            event["error"].as_str().unwrap_or("it failed").to_owned(),
        )),
        _ => None,
    }
}

/// The requests that are under way, where an event tells them.
pub fn active(event: &Value) -> Option<Vec<String>> {
    if event["type"] != "ActiveRequests" {
        return None;
    }
    let all = event["request_ids"].as_array()?;
    Some(
        all.iter()
            .filter_map(|id| id.as_str().map(str::to_owned))
            .collect(),
    )
}

/// Follows a session's stream of events.
#[derive(Debug)]
pub struct Reader {
    node: String,
    /// The message that is being written; its pieces have one id.
    writing: Option<Message>,
}

impl Reads for Reader {
    fn take(&mut self, event: &Value) -> Vec<Told> {
        match event["type"].as_str().unwrap_or_default() {
            "ActiveRequests" => match active(event) {
                Some(all) if all.is_empty() => vec![self.state("idle", "goosed is at rest")],
                Some(_) => vec![self.state("working", "goosed is in a turn")],
                None => Vec::new(),
            },
            "Message" => self.message(&event["message"]),
            "Finish" => {
                let mut told: Vec<Told> = self.done().into_iter().collect();
                told.push(self.state("idle", "goosed ended its turn"));
                told
            }
            "Error" => {
                let mut told: Vec<Told> = self.done().into_iter().collect();
                let why = event["error"].as_str().unwrap_or("goosed met an error");
                told.push(self.state("idle", why));
                told
            }
            "UpdateConversation" => {
                self.writing = None;
                conversation(event).into_iter().map(Told::Message).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl Reader {
    /// For a node's session.
    pub fn new(node: &str) -> Self {
        Self {
            node: node.to_owned(),
            writing: None,
        }
    }

    fn state(&self, state: &str, why: &str) -> Told {
        Told::state(&self.node, state, why)
    }

    fn done(&mut self) -> Option<Told> {
        self.writing.take().map(Told::Message)
    }

    fn message(&mut self, message: &Value) -> Vec<Told> {
        let mut told = Vec::new();
        let Some(id) = message["id"].as_str() else {
            return told;
        };
        let id = id.strip_prefix(OURS).unwrap_or(id);
        if self.writing.as_ref().is_some_and(|w| w.id != id) {
            told.extend(self.done());
        }
        let asks = message["content"].as_array().is_some_and(|all| {
            all.iter()
                .any(|c| c["type"] == "toolConfirmationRequest" || c["type"] == "actionRequired")
        });
        if asks {
            told.push(self.state("waiting", "goosed asks something"));
        }
        let text = text_of(message);
        if text.is_empty() {
            return told;
        }
        let writing = self.writing.get_or_insert_with(|| Message {
            time: time(message),
            ..Message::said(id.to_owned(), role(message), String::new())
        });
        writing.text.push_str(&text);
        told.push(Told::Delta(Delta {
            id: writing.id.clone(),
            text,
        }));
        told
    }
}
