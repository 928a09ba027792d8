//! A request for an answer, freed of its interface: what users wrote, what was offered.

use serde_json::Value;

use super::api::Api;

/// Beginnings of texts that agents write into a user's place by themselves; nobody typed those.
const NOT_TYPED: [&str; 8] = [
    // claude
    "<system-reminder>",
    "<local-command-",
    "<command-name>",
    "[Request interrupted by user",
    // codex
    "<environment_context>",
    "# AGENTS.md instructions",
    "<turn_aborted>",
    // gemini
    "<session_context>",
];

/// But what claude begins like this holds a message that a user wrote in the middle of a turn.
const TYPED_MEANWHILE: &str =
    "<system-reminder>\nThe user sent a new message while you were working:";

/// The blocks of a message that a user wrote.
pub type Message = Vec<String>;

/// One thing in a conversation, as far as it matters here.
#[derive(Debug)]
pub enum Item {
    /// Texts in a user's place, block by block.
    User(Vec<String>),
    /// A tool's result.
    Result,
    /// What the model said.
    Model,
}

/// A tool that the model may call.
#[derive(Debug)]
pub struct Tool {
    pub name: String,
    /// JSON schema of its arguments.
    pub arguments: Value,
}

/// What was asked of the model.
#[derive(Debug)]
pub struct Asked {
    pub items: Vec<Item>,
    pub tools: Vec<Tool>,
    /// JSON schema that the answer is to fit.
    pub schema: Option<Value>,
    /// The answer is wanted piece by piece.
    pub stream: bool,
}

impl Asked {
    /// Every message a user wrote, oldest first.
    pub fn messages(&self) -> Vec<Message> {
        let typed = self.items.iter().filter_map(|item| match item {
            Item::User(blocks) => Some(typed(blocks)),
            Item::Result | Item::Model => None,
        });
        typed.filter(|blocks| !blocks.is_empty()).collect()
    }

    /// Every text in a user's place, as it came.
    pub fn raw(&self) -> Vec<String> {
        let blocks = self.items.iter().filter_map(|item| match item {
            Item::User(blocks) => Some(blocks),
            Item::Result | Item::Model => None,
        });
        blocks.flatten().cloned().collect()
    }

    /// Whether a tool's result is what the model is to answer, and no message came after it.
    pub fn after_tool(&self) -> bool {
        let newest = self.items.iter().rev().find(|item| match item {
            Item::User(blocks) => !typed(blocks).is_empty(),
            Item::Result | Item::Model => true,
        });
        matches!(newest, Some(Item::Result))
    }
}

fn typed(blocks: &[String]) -> Message {
    let typed = |text: &&str| {
        let text = text.trim_start();
        let added = NOT_TYPED.iter().any(|n| text.starts_with(n));
        !text.is_empty() && (!added || text.starts_with(TYPED_MEANWHILE))
    };
    let last = blocks.len().saturating_sub(1);
    let blocks = blocks.iter().enumerate().map(|(n, text)| {
        // claude ends a text with a newline when it puts another after it.
        let joined = text.strip_suffix('\n').filter(|_| n < last);
        without_context(joined.unwrap_or(text))
    });
    blocks.filter(typed).map(str::to_owned).collect()
}

/// goose puts time and place at the end of a message.
fn without_context(text: &str) -> &str {
    match text.rsplit_once("\n<turn-context>\n") {
        Some((typed, context)) if context.ends_with("</turn-context>") => typed,
        _ => text,
    }
}

/// The texts of a content that is one string, or a list of blocks some of which have a text.
pub fn texts(content: &Value) -> Vec<String> {
    let blocks = list(content).map(|block| &block["text"]);
    let all = std::iter::once(content).chain(blocks);
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The elements of a list; none when it is something else.
pub fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A schema, unless there is none.
pub fn schema(value: &Value) -> Option<Value> {
    value.is_object().then(|| value.clone())
}

/// Reads a request.
pub fn read(api: Api, path: &str, request: &Value) -> Asked {
    match api {
        Api::Messages => super::anthropic::read(request),
        Api::Chat => super::chat::read(request),
        Api::Responses => super::responses::read(request),
        Api::Gemini => super::gemini::read(path, request),
    }
}

#[test]
fn what_agents_add_is_not_what_a_user_wrote() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["plain"], &["plain"]),
        (&["ends\n"], &["ends\n"]),
        (&["one\n", "two\n"], &["one", "two\n"]),
        (&["<system-reminder>\nx\n</system-reminder>"], &[]),
        (&["[Request interrupted by user]\n", "next"], &["next"]),
        (&["<environment_context>x", "hello"], &["hello"]),
        (&["hi\n<turn-context>\nx\n</turn-context>"], &["hi"]),
        (&["see <turn-context>"], &["see <turn-context>"]),
    ];
    for (blocks, want) in cases {
        let blocks: Vec<String> = blocks.iter().map(|s| (*s).to_owned()).collect();
        assert_eq!(typed(&blocks), *want, "{blocks:?}");
    }
}
