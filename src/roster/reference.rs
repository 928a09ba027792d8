//! `docs/roster.md`, made from the schema: every key with its type, default and meaning.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::overrides::{COMMAND_VAR, RUNTIME_VAR, WORKDIR_VAR};
use super::schema;

/// Sections in the order of reading: heading, and the definition in the schema.
const SECTIONS: &[(&str, &str)] = &[
    ("The file", ""),
    ("tmux", "Tmux"),
    ("agents, and defaults", "Agent"),
    ("limits", "Limits"),
    ("on", "On"),
    ("routing", "Routing"),
    ("runtimes", "Runtime"),
    ("runtimes: conversation", "Conversation"),
    ("runtimes: reset", "ResetCommands"),
    ("runtimes: screen", "ScreenRules"),
    ("runtimes: screen.input", "InputBox"),
    ("runtimes: transcript", "Transcript"),
    ("runtimes: home", "OwnHome"),
    ("runtimes: server", "Beside"),
    ("runtimes: node", "NodeSpec"),
];

/// The reference of the roster, in Markdown.
pub fn reference_markdown() -> String {
    let schema = schema::value();
    let mut out = String::from(
        "# Roster reference\n\n\
         Generated from the schema (`schema/roster.schema.json`); do not edit.\n\n\
         The roster is `$XDG_CONFIG_HOME/mosaic/fleet/roster.yaml`, YAML of at most 1 MiB. \
         `mosaic fleet validate` reports all of its problems at once.\n\n\
         A key of an agent wins over the same key of `defaults`; `env`, `limits` and `on` are merged key by key, and \
         files of `env_file` add up. Environment, later ones winning: the runtime's `env`, the `env` of `defaults`, \
         the agent's `env`, `env_file`, and `agents/NAME.env` beside the roster. ",
    );
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "In that last file, `{RUNTIME_VAR}`, `{WORKDIR_VAR}` and `{COMMAND_VAR}` override the roster.\n"
    );
    for (heading, definition) in SECTIONS {
        let part = if definition.is_empty() {
            Some(&schema)
        } else {
            schema["$defs"].get(definition)
        };
        if let Some(part) = part {
            section(&mut out, heading, part, &schema);
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn section(out: &mut String, heading: &str, part: &Value, schema: &Value) {
    let _ = write!(out, "## {heading}\n\n");
    if let Some(text) = part["description"].as_str() {
        let _ = write!(out, "{text}\n\n");
    }
    let empty = Map::new();
    let keys = part["properties"].as_object().unwrap_or(&empty);
    let required: Vec<&str> = part["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    out.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
    for (key, about) in keys {
        let default = match &about["default"] {
            Value::Null if required.contains(&key.as_str()) => "required".to_owned(),
            Value::Null => String::new(),
            Value::String(text) if text.is_empty() => String::new(),
            Value::String(text) => format!("`{text}`"),
            other => format!("`{other}`"),
        };
        let meaning = about["description"]
            .as_str()
            .unwrap_or_default()
            .replace("\n\n", " ");
        let _ = writeln!(
            out,
            "| `{key}` | {} | {default} | {} |",
            kind(about, schema),
            cell(&meaning)
        );
    }
    out.push('\n');
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// What a value looks like, in words.
fn kind(about: &Value, schema: &Value) -> String {
    if let Some(reference) = about["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return match SECTIONS.iter().find(|(_, definition)| *definition == name) {
            Some((heading, _)) => {
                let anchor: String = heading
                    .to_lowercase()
                    .replace(' ', "-")
                    .replace([',', ':', '.'], "");
                format!("[mapping](#{anchor})")
            }
            None if name == "Defaults" => {
                "[keys of an agent but `name`](#agents-and-defaults)".to_owned()
            }
            None => kind(&schema["$defs"][name], schema),
        };
    }
    if let Some(fixed) = about.get("const") {
        return literal(fixed);
    }
    if let Some(values) = about["enum"].as_array() {
        let known = values.iter().filter(|v| !v.is_null()).map(literal);
        return join(known.collect());
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(choices) = about[key].as_array() {
            let words = choices
                .iter()
                .filter(|c| c["type"] != "null")
                .map(|c| kind(c, schema));
            return join(words.collect());
        }
    }
    let sort = match &about["type"] {
        Value::Array(sorts) => sorts.iter().find(|s| *s != "null").and_then(Value::as_str),
        other => other.as_str(),
    };
    match sort {
        Some("string") => "text".to_owned(),
        Some("integer") => "whole number".to_owned(),
        Some("number") => "number".to_owned(),
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("array") => format!("list of {}", kind(&about["items"], schema)),
        Some("object") => match (
            &about["additionalProperties"],
            about["properties"].as_object(),
        ) {
            (Value::Object(_), _) => format!(
                "names, each with: {}",
                kind(&about["additionalProperties"], schema)
            ),
            (_, Some(keys)) => join(
                keys.iter()
                    .map(|(k, v)| format!("`{k}:` {}", kind(v, schema)))
                    .collect(),
            ),
            _ => "mapping".to_owned(),
        },
        _ => String::new(),
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

fn join(mut words: Vec<String>) -> String {
    words.dedup();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}
