//! What the model says, before an interface gives it a form.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::asked::{Asked, Tool};

/// How much of the text an answer repeats: enough to tell answers apart, too little to be taken for
/// the message.
const ECHO: usize = 60;
/// Between the pieces of a slow answer: often enough to look alive.
pub const BEAT: Duration = Duration::from_millis(200);
/// Seconds an agent is told to wait, where the text names none: shorter than any gives up at.
const RETRY_AFTER: u64 = 20;
/// What the shell is asked to do: nothing that an agent lets pass unasked, and easily seen.
const COMMAND: &str = "touch approved-marker";
/// What the agents call their shell.
const SHELLS: [&str; 7] = [
    "Bash",
    "bash",
    "run_shell_command",
    "developer__shell",
    "exec_command",
    "shell_command",
    "shell",
];

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Text(String),
    /// A text, then a dot with every beat, so many times.
    Slow(String, u32),
    /// A tool and its arguments, a JSON object.
    Call(String, String),
    /// A refusal; seconds after which to ask again.
    Limit(u64),
}

impl Answer {
    /// The pieces of its text, in the order they are sent.
    pub fn pieces(&self) -> Vec<String> {
        match self {
            Self::Text(text) => vec![text.clone()],
            Self::Slow(text, beats) => {
                let dots = (0..*beats).map(|_| ".".to_owned());
                std::iter::once(text.clone()).chain(dots).collect()
            }
            Self::Call(..) | Self::Limit(_) => Vec::new(),
        }
    }

    /// What a request gets.
    pub fn to(asked: &Asked, side: bool) -> Self {
        if side {
            let text = asked
                .schema
                .as_ref()
                .map(|schema| sample(schema).to_string());
            return Self::Text(text.unwrap_or_else(|| "stand-in".to_owned()));
        }
        let last = asked.messages().pop().unwrap_or_default().join("\n");
        let text = format!("ok: {}", last.chars().take(ECHO).collect::<String>());
        if asked.after_tool() {
            return Self::Text(text);
        }
        if last.contains("LIMIT") {
            return Self::Limit(number(&last, "LIMIT").unwrap_or(RETRY_AFTER));
        }
        if last.contains("TOOL")
            && let Some(tool) = shell(&asked.tools)
        {
            return Self::Call(
                tool.name.clone(),
                arguments(asked, &tool.arguments).to_string(),
            );
        }
        match number(&last, "SLEEP").and_then(|n| u32::try_from(n).ok()) {
            Some(seconds) => Self::Slow(text, seconds * (1000 / BEAT.as_millis() as u32)),
            None => Self::Text(text),
        }
    }
}

/// The number after a word and a blank.
fn number(text: &str, word: &str) -> Option<u64> {
    let rest = text.split_once(word)?.1.strip_prefix(' ')?;
    let end = rest.find(|c: char| !c.is_ascii_digit());
    rest[..end.unwrap_or(rest.len())].parse().ok()
}

fn shell(tools: &[Tool]) -> Option<&Tool> {
    let named = |name: &str| tools.iter().find(|tool| tool.name == name);
    SHELLS.iter().find_map(|name| named(name))
}

/// Arguments that make a shell run the command; each agent's shell wants them otherwise.
fn arguments(asked: &Asked, schema: &Value) -> Value {
    let mut arguments = object(schema);
    for key in ["command", "cmd"] {
        let wanted = &schema["properties"][key];
        if wanted["type"] == "array" {
            arguments.insert(key.to_owned(), json!(["bash", "-c", COMMAND]));
        } else if wanted.is_object() {
            arguments.insert(key.to_owned(), json!(COMMAND));
        }
    }
    // codex asks only about what is to leave its sandbox, and refuses that where there is none.
    let free = |text: &String| text.contains(r#"<file_system type="unrestricted""#);
    let caged = !asked.raw().iter().any(free);
    if caged && schema["properties"]["sandbox_permissions"].is_object() {
        arguments.insert("sandbox_permissions".to_owned(), json!("require_escalated"));
    }
    Value::Object(arguments)
}

/// The smallest value that fits a JSON schema, first choices taken.
fn sample(schema: &Value) -> Value {
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    // Gemini writes its types in capitals.
    let kind = schema["type"].as_str().unwrap_or("object").to_lowercase();
    match kind.as_str() {
        "string" => json!("stand-in"),
        "number" | "integer" => json!(1),
        "boolean" => json!(false),
        "array" => json!([]),
        _ => Value::Object(object(schema)),
    }
}

fn object(schema: &Value) -> Map<String, Value> {
    let required = super::asked::list(&schema["required"]).filter_map(Value::as_str);
    required
        .map(|key| (key.to_owned(), sample(&schema["properties"][key])))
        .collect()
}
