//! Texts of the roster with variables in them: kickstarts, and what a restarted agent is told.

use crate::error::{Error, Result};

/// What `{name}` may be in such a text.
pub const VARIABLES: [&str; 4] = ["agent", "class", "host", "working_directory"];

/// Checks a text before there is anything to fill in. `what` is what errors call it.
///
/// # Errors
/// As [`fill`].
pub fn check(what: &str, template: &str) -> Result<()> {
    fill(what, template, &VARIABLES.map(|name| (name, ""))).map(drop)
}

/// Fills `{name}` in a text. Braces around anything but a lower-case word are text, and `{{name}}` is
/// the text `{name}`.
///
/// # Errors
/// Kind `Config`, naming the first variable that is not known.
pub fn fill(what: &str, template: &str, variables: &[(&str, &str)]) -> Result<String> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let name = |text: &'_ str| -> Option<usize> {
            let end = text.find(|c: char| !(c.is_ascii_lowercase() || c == '_'))?;
            (end > 0 && text[end..].starts_with('}')).then_some(end)
        };
        if let Some(end) = rest.strip_prefix("{{").and_then(name)
            && rest[2 + end..].starts_with("}}")
        {
            out.push_str(&rest[1..end + 3]);
            rest = &rest[end + 4..];
        } else if let Some(end) = name(&rest[1..]) {
            let wanted = &rest[1..=end];
            let (_, value) = variables
                .iter()
                .find(|(n, _)| *n == wanted)
                .ok_or_else(|| {
                    let known: Vec<&str> = variables.iter().map(|(n, _)| *n).collect();
                    Error::config(format!("{what} names an unknown variable `{{{wanted}}}`")).hint(
                        format!(
                            "known are {}; `{{{{{wanted}}}}}` is the text itself",
                            known.join(", ")
                        ),
                    )
                })?;
            out.push_str(value);
            rest = &rest[end + 2..];
        } else {
            out.push('{');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn variables_are_filled() {
        let vars = [("agent", "coder0"), ("class", "implementer")];
        let ok = |t| fill("x", t, &vars).unwrap();
        assert_eq!(
            ok("You are {agent}, a {class}."),
            "You are coder0, a implementer."
        );
        assert_eq!(ok("{agent}{agent}"), "coder0coder0");
        assert_eq!(
            ok("{{agent}} {\"a\": 1} {} {A} { agent } {agent"),
            "{agent} {\"a\": 1} {} {A} { agent } {agent"
        );
        assert_eq!(ok("é{agent}é"), "écoder0é");
        let e = fill("the kickstart", "hi {agnet}", &vars).unwrap_err();
        assert!(e.message.contains("`{agnet}`"), "{e}");
        assert!(e.hints[0].contains("agent, class"), "{:?}", e.hints);
    }
}
