//! The JSON schema of a roster, for editors and for `docs/roster.md`.

use regex::Regex;
use serde_json::Value;

use super::document::Roster;

/// The name under which `init` writes the schema beside a roster, and which the first line of every
/// profile names.
pub const FILE_NAME: &str = "roster.schema.json";

/// The schema as JSON text, ending in a newline.
pub fn schema() -> String {
    // A map of strings always serialises.
    let mut text = serde_json::to_string_pretty(&value()).unwrap_or_default();
    text.push('\n');
    text
}

/// The schema as a value.
pub(super) fn value() -> Value {
    let mut value = schemars::schema_for!(Roster).to_value();
    if let Ok(link) = Regex::new(r"\[`([^`]*)`\]") {
        tidy(&mut value, &link);
    }
    value
}

/// Comments are written for rustdoc; makes their line breaks and links fit for anybody.
fn tidy(value: &mut Value, link: &Regex) {
    match value {
        Value::Object(map) => {
            // "Nothing" is what a key without a default has; saying so helps nobody.
            map.retain(|key, value| key != "default" || !value.is_null());
            for (key, value) in map {
                match value {
                    Value::String(text) if key == "description" => {
                        let paragraphs: Vec<String> = text
                            .split("\n\n")
                            .map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "))
                            .collect();
                        *text = link
                            .replace_all(&paragraphs.join("\n\n"), "`$1`")
                            .into_owned();
                    }
                    other => tidy(other, link),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|v| tidy(v, link)),
        _ => {}
    }
}
