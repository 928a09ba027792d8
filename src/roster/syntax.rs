//! Why a text is no YAML that mosaic reads, in words for the user.

use serde_saphyr::budget::BudgetBreach;

use super::source::Span;
use super::tree::{MAX_BYTES, MAX_DEPTH, MAX_NODES, span_of};

/// Why a text is no YAML that mosaic reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// What is wrong.
    pub message: String,
    /// What to do, where that is known.
    pub hint: Option<String>,
    /// Where.
    pub span: Span,
}

/// The refusal of a text of more than [`MAX_BYTES`].
pub(super) fn too_big(bytes: usize) -> SyntaxError {
    SyntaxError {
        message: format!(
            "the file has {bytes} bytes, more than the {MAX_BYTES} that a roster may have"
        ),
        hint: Some("is this the right file?".to_owned()),
        span: Span::default(),
    }
}

/// The library's error in our words: what to do, and no names of its options.
pub(super) fn syntax_error(error: &serde_saphyr::Error) -> SyntaxError {
    use serde_saphyr::Error as E;
    let error = error.without_snippet();
    // A limit reached while an alias is followed.
    if let E::AliasError { error: inner, .. } = error {
        let mut out = syntax_error(inner);
        if let Some(location) = error.location() {
            out.span = span_of(&location);
        }
        return out;
    }
    let aliases = Some("write the agents out, or use fewer aliases (`*name`)".to_owned());
    let (message, hint) = match error {
        E::Budget {
            breach: BudgetBreach::Depth { .. },
            ..
        } => (deep(), None),
        E::Budget {
            breach: BudgetBreach::Documents { .. },
            ..
        } => second_document(),
        E::Budget { .. } => (
            "more values, anchors or aliases than a roster may have".to_owned(),
            aliases,
        ),
        E::AliasReplayLimitExceeded { .. }
        | E::AliasExpansionLimitExceeded { .. }
        | E::AliasReplayStackDepthExceeded { .. }
        | E::AliasReplayCounterOverflow { .. } => (
            format!("aliases repeat more than {MAX_NODES} values"),
            aliases,
        ),
        E::RecursiveReferencesRequireWeakTypes { .. } => {
            ("an alias that contains itself".to_owned(), None)
        }
        E::UnknownAnchor { .. } => (
            "an alias of an anchor that is not defined".to_owned(),
            Some("text that starts with `*` or `&` needs quotes".to_owned()),
        ),
        E::MultipleDocuments { .. } => second_document(),
        E::Eof { .. } => ("the file is empty".to_owned(), None),
        E::ExternalMessage { msg, .. } if msg.contains("recursion limit") => (deep(), None),
        E::ExternalMessage { msg, .. } => {
            let hint = if msg.contains("tab") {
                "YAML is indented with spaces, not tabs"
            } else {
                "check the indentation, and quotes around text that holds `: ` or ` #`"
            };
            (format!("not valid YAML: {msg}"), Some(hint.to_owned()))
        }
        other => (
            format!("not valid YAML: {}", one_line(&other.render())),
            None,
        ),
    };
    let span = error.location().map(|l| span_of(&l)).unwrap_or_default();
    SyntaxError {
        message,
        hint,
        span,
    }
}

fn deep() -> String {
    format!("nested deeper than {MAX_DEPTH} levels")
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn second_document() -> (String, Option<String>) {
    let hint = "remove the line `---`: a roster is one document";
    (
        "a second document begins here".to_owned(),
        Some(hint.to_owned()),
    )
}

/// The refusal of a text whose aliases repeat too much.
pub(super) fn too_many() -> SyntaxError {
    SyntaxError {
        message: format!(
            "the text holds more than {MAX_NODES} values once its aliases are followed"
        ),
        hint: Some("write the agents out, or use fewer aliases (`*name`)".to_owned()),
        span: Span::default(),
    }
}
