//! Claude Code's hooks: the settings that install them for one agent, and what they tell.

use std::path::{Path, PathBuf};

use super::What;
use crate::host::{files, process};

/// The settings file by which Claude Code reports: hooks only, merged by it with the user's own
/// settings, which stay untouched.
pub fn claude_settings(mosaic: &Path) -> String {
    let program = process::shell_quote(&mosaic.to_string_lossy());
    let hook = serde_json::json!([{ "hooks": [{
        "type": "command",
        "command": format!("{program} internal report-claude"),
        "timeout": 10
    }] }]);
    let hooks: serde_json::Map<String, serde_json::Value> = [
        "SessionStart",
        "UserPromptSubmit",
        "Stop",
        "StopFailure",
        "PermissionRequest",
        "PermissionDenied",
        "PostToolUse",
        "PostToolUseFailure",
    ]
    .into_iter()
    .map(|event| (event.to_owned(), hook.clone()))
    .collect();
    files::to_json(&serde_json::json!({ "hooks": hooks }))
}

/// Translates what a Claude Code hook is given on standard input. Nothing for events that say
/// nothing here. `SessionEnd` is not believed about which session ended: a failed `--resume` fires it
/// with the unknown id.
pub fn from_claude_hook(input: &str) -> Vec<What> {
    serde_json::from_str(input)
        .ok()
        .and_then(|v| translate(&v))
        .unwrap_or_default()
}

fn translate(v: &serde_json::Value) -> Option<Vec<What>> {
    let text = |key: &str| v.get(key).and_then(|x| x.as_str()).map(str::to_owned);
    let said = || {
        text("last_assistant_message")
            .filter(|t| !t.is_empty())
            .map(|text| What::Answer { text })
    };
    let one = match text("hook_event_name")?.as_str() {
        "SessionStart" => What::Session {
            id: text("session_id"),
            file: text("transcript_path").map(PathBuf::from),
            reason: text("source").unwrap_or_default(),
        },
        "UserPromptSubmit" => What::Prompt {
            text: text("prompt").unwrap_or_default(),
        },
        "Stop" => return Some(said().into_iter().chain([What::Idle]).collect()),
        // The turn ended without an answer. At a limit of the provider the agent is parked; whatever
        // else went wrong stands on its screen, and it takes the next message.
        "StopFailure" => match text("error").as_deref() {
            Some(error @ ("rate_limit" | "overloaded")) => What::Limited {
                what: first_line(&match text("error_details") {
                    Some(details) => format!("{error}: {details}"),
                    None => error.to_owned(),
                }),
                until: None,
            },
            _ => What::Idle,
        },
        "PostToolUse" | "PostToolUseFailure" | "PermissionDenied" => What::Working,
        "PermissionRequest" => {
            let tool = text("tool_name").unwrap_or_default();
            let detail = v
                .pointer("/tool_input/command")
                .and_then(|x| x.as_str())
                .unwrap_or_default();
            What::Waiting {
                question: first_line(format!("{tool} {detail}").trim()),
            }
        }
        _ => return None,
    };
    Some(vec![one])
}

/// The first line of a question, short enough for a table; the whole of it is on the agent's screen.
fn first_line(text: &str) -> String {
    const MOST: usize = 120;
    let line = text.lines().next().unwrap_or_default().trim_end();
    let mut out: String = line.chars().take(MOST).collect();
    if out.len() < text.len() {
        // The mark counts too.
        if out.chars().count() == MOST {
            out.pop();
        }
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn claude_hooks_become_reports() {
        let start = from_claude_hook(
            r#"{"hook_event_name":"SessionStart","source":"clear","session_id":"u","transcript_path":"/t.jsonl"}"#,
        );
        assert_eq!(
            start,
            [What::Session {
                id: Some("u".into()),
                file: Some("/t.jsonl".into()),
                reason: "clear".into()
            }]
        );
        assert_eq!(
            from_claude_hook(r#"{"hook_event_name":"UserPromptSubmit","prompt":"hi"}"#),
            [What::Prompt { text: "hi".into() }]
        );
        assert_eq!(
            from_claude_hook(r#"{"hook_event_name":"SessionEnd","session_id":"unknown"}"#),
            []
        );
        assert_eq!(from_claude_hook("not json"), []);
        assert_eq!(
            from_claude_hook(r#"{"hook_event_name":"Stop","last_assistant_message":"done"}"#),
            [
                What::Answer {
                    text: "done".into()
                },
                What::Idle
            ]
        );
        assert_eq!(
            from_claude_hook(r#"{"hook_event_name":"Stop"}"#),
            [What::Idle]
        );
        assert_eq!(
            from_claude_hook(r#"{"hook_event_name":"StopFailure","error":"rate_limit"}"#),
            [What::Limited {
                what: "rate_limit".into(),
                until: None
            }]
        );
        assert_eq!(
            from_claude_hook(r#"{"hook_event_name":"StopFailure","error":"server_error"}"#),
            [What::Idle]
        );
        assert_eq!(
            from_claude_hook(
                r#"{"hook_event_name":"PermissionRequest","tool_name":"Bash","tool_input":{"command":"rm x"}}"#
            ),
            [What::Waiting {
                question: "Bash rm x".into()
            }]
        );
        let question = |command: &str| {
            let hook = serde_json::json!({
                "hook_event_name": "PermissionRequest",
                "tool_name": "Bash",
                "tool_input": { "command": command }
            });
            match from_claude_hook(&hook.to_string()).pop() {
                Some(What::Waiting { question }) => question,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(question("cat <<E\nmuch\nE\n"), "Bash cat <<E…");
        let long = question(&"é".repeat(300));
        assert_eq!(long.chars().count(), 120);
        assert!(long.ends_with("é…"), "{long}");
        assert_eq!(question(&"é".repeat(115)).chars().last(), Some('é'));
    }
}
