//! Writes a definition as YAML that a roster takes: block style, lists of scalars in one line, a
//! comment behind a key where the caller has one.

use serde_json::Value;

/// Longest list in one line.
const LINE: usize = 100;

/// A mapping's lines, `indent` blanks deep. `comment` is asked for each key of this level.
pub fn mapping(value: &Value, indent: usize, comment: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let Value::Object(map) = value else {
        return out;
    };
    for (key, value) in map {
        let note = comment(key).map_or_else(String::new, |c| format!("  # {c}"));
        entry(
            &mut out,
            &" ".repeat(indent),
            &scalar_text(key),
            value,
            &note,
        );
    }
    out
}

fn entry(out: &mut String, pad: &str, key: &str, value: &Value, note: &str) {
    match value {
        Value::Object(map) if map.is_empty() => {
            out.push_str(&format!("{pad}{key}: {{}}{note}\n"));
        }
        Value::Object(_) => {
            out.push_str(&format!("{pad}{key}:{note}\n"));
            out.push_str(&mapping(value, pad.len() + 2, &|_| None));
        }
        Value::Array(items) => match in_one_line(items) {
            Some(line) => out.push_str(&format!("{pad}{key}: {line}{note}\n")),
            None => {
                out.push_str(&format!("{pad}{key}:{note}\n"));
                for item in items {
                    list_item(out, &format!("{pad}  "), item);
                }
            }
        },
        scalar => out.push_str(&format!("{pad}{key}: {}{note}\n", text(scalar))),
    }
}

fn list_item(out: &mut String, pad: &str, item: &Value) {
    if let Value::Object(_) = item {
        let body = mapping(item, pad.len() + 2, &|_| None);
        out.push_str(&format!("{pad}- {}", body.trim_start()));
    } else {
        out.push_str(&format!("{pad}- {}\n", text(item)));
    }
}

fn in_one_line(items: &[Value]) -> Option<String> {
    if items.iter().any(|i| i.is_object() || i.is_array()) {
        return None;
    }
    let line = format!(
        "[{}]",
        items.iter().map(text).collect::<Vec<_>>().join(", ")
    );
    (line.chars().count() <= LINE).then_some(line)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => scalar_text(text),
        other => other.to_string(),
    }
}

/// A text as a scalar: plain where nothing in it can mean anything else, in single quotes where it can be
/// printed, else as JSON writes it, which YAML reads alike.
fn scalar_text(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n"
        );
    let printable = |c: char| !c.is_control() && c != '\u{a0}' && c != '\u{feff}';
    if plain {
        text.to_owned()
    } else if text.chars().all(printable) {
        format!("'{}'", text.replace('\'', "''"))
    } else {
        // No-break spaces are seen by nobody unless they are written out.
        let json = serde_json::to_string(text).unwrap_or_default();
        json.replace('\u{a0}', "\\u00a0")
            .replace('\u{feff}', "\\ufeff")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::roster::parse_runtime;
    use crate::runtime::builtin;

    #[test]
    fn every_definition_reads_back_as_it_was() {
        for name in builtin::names() {
            let spec = builtin::get(name).unwrap();
            let value = serde_json::to_value(spec).unwrap();
            let text = mapping(&value, 0, &|_| Some("from a test".into()));
            let read = parse_runtime(name, &text).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
            assert_eq!(read, *spec, "{text}");
        }
    }

    #[test]
    fn what_could_mean_something_else_is_quoted() {
        for (plain, want) in [
            ("claude", "claude"),
            ("/new", "/new"),
            ("true", "'true'"),
            ("no", "'no'"),
            ("1", "'1'"),
            ("", "''"),
            ("it's", "'it''s'"),
            ("a: b # c", "'a: b # c'"),
            ("❯\u{a0}", "\"❯\\u00a0\""),
            ("a\tb", "\"a\\tb\""),
        ] {
            assert_eq!(scalar_text(plain), want);
        }
    }
}
