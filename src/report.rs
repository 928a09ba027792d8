//! What agents say of themselves: a file of JSON lines per agent, written by Claude Code hooks, by a
//! pi extension, or by the demo agent, all in one format. It tells which conversation the agent is
//! in, what was submitted to it, and what it is doing, without looking at its screen.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::host::{files, process};
use crate::paths::Paths;

/// Reports are cut back to their newest half at this size, at the agent's next start.
const LIMIT: u64 = 2 * 1024 * 1024;

/// Environment variable that tells a reporter where to write.
pub const VARIABLE: &str = "MOSAIC_REPORTS";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// When.
    pub time: jiff::Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What an agent reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum What {
    /// The agent is in this conversation from now on.
    Session {
        /// The agent's own id of it.
        #[serde(default)]
        id: Option<String>,
        /// Its file; it may not exist yet.
        #[serde(default)]
        file: Option<PathBuf>,
        /// `startup`, `resume`, `clear`, `new` …, as the agent calls it.
        #[serde(default)]
        reason: String,
    },
    /// A message was submitted.
    Prompt {
        /// Its text as the agent took it.
        text: String,
    },
    /// The agent began to work.
    Working,
    /// The agent's turn ended.
    Idle,
    /// The agent asks for approval.
    Waiting {
        /// For what.
        #[serde(default)]
        question: String,
    },
    /// The agent said something to the user. The last one before [`What::Idle`] is its answer.
    Answer {
        /// The text, without thoughts and tool calls.
        text: String,
    },
    /// The agent cannot go on for now: its provider refuses more requests. It is parked, not broken.
    Limited {
        /// What it was told.
        #[serde(default)]
        what: String,
        /// Until when, where that was said.
        #[serde(default)]
        until: Option<jiff::Timestamp>,
    },
    /// The agent says it ends.
    Ended {
        /// Why.
        #[serde(default)]
        reason: String,
    },
}

/// An agent's report file.
pub fn path(paths: &Paths, agent: &str) -> PathBuf {
    paths.agent_dir(agent).join("reports.jsonl")
}

/// All reports, oldest first. Lines that are no reports are left out.
///
/// # Errors
/// The file exists and cannot be read.
pub fn read(path: &Path) -> Result<Vec<Report>> {
    Ok(files::read_optional(path)?
        .map(|text| parse(&text))
        .unwrap_or_default())
}

/// Parses report lines.
pub fn parse(text: &str) -> Vec<Report> {
    text.lines()
        .filter_map(|l| serde_json::from_str(l).ok())
        .collect()
}

/// The reports at the end of the file: enough for the present state, whatever its size.
///
/// # Errors
/// The file exists and cannot be read.
pub fn tail(path: &Path) -> Result<Vec<Report>> {
    // Holds the last several events even when prompts are long.
    const TAIL: u64 = 64 * 1024;
    Ok(parse(&last_lines(path, TAIL)?.0))
}

/// The whole lines in the last `bytes` of a file, and whether they are all of it. A missing file is
/// an empty one.
///
/// # Errors
/// The file exists and cannot be read.
pub fn last_lines(path: &Path, bytes: u64) -> Result<(String, bool)> {
    let length = length(path);
    if length <= bytes {
        return Ok((files::read_optional(path)?.unwrap_or_default(), true));
    }
    let text = read_from(path, length - bytes, bytes)?;
    Ok((
        text.split_once('\n')
            .map_or(String::new(), |(_, rest)| rest.to_owned()),
        false,
    ))
}

/// What was added to a file since it was `offset` bytes long, up to a bound. A file that is shorter
/// than that by now was replaced, and is read from its start.
///
/// # Errors
/// The file exists and cannot be read.
pub fn lines_since(path: &Path, offset: u64) -> Result<String> {
    // Many times the longest message that is sent, and never a whole old conversation.
    const MOST: u64 = 8 * 1024 * 1024;
    let length = length(path);
    if length == 0 {
        return Ok(String::new());
    }
    read_from(path, if length < offset { 0 } else { offset }, MOST)
}

/// Length of a file; 0 for a missing one.
pub fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |m| m.len())
}

fn read_from(path: &Path, offset: u64, most: u64) -> Result<String> {
    use std::io::{Read as _, Seek as _};
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        file.seek(std::io::SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read()
        .map_err(|e| crate::error::Error::io(format!("cannot read `{}`", path.display()), e))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Adds a line.
///
/// # Errors
/// The line is missing then.
pub fn append(path: &Path, what: What) -> Result<()> {
    let report = Report {
        time: jiff::Timestamp::now(),
        what,
    };
    files::append_line(
        path,
        &serde_json::to_string(&report).unwrap_or_default(),
        u64::MAX,
    )
}

/// Cuts a large report file back; called before the agent starts, when nobody writes.
///
/// # Errors
/// The old file is whole.
pub fn trim(path: &Path) -> Result<()> {
    if std::fs::metadata(path).is_ok_and(|m| m.len() > LIMIT) {
        let text = files::read_optional(path)?.unwrap_or_default();
        let half = text.len() / 2;
        let cut = text
            .char_indices()
            .find(|(i, c)| *i >= half && *c == '\n')
            .map_or(text.len(), |(i, _)| i + 1);
        files::write_atomic(path, &text.as_bytes()[cut..], files::PRIVATE)?;
    }
    Ok(())
}

/// The conversation the agent said last that it is in.
pub fn last_session(reports: &[Report]) -> Option<(Option<String>, Option<PathBuf>)> {
    reports.iter().rev().find_map(|r| match &r.what {
        What::Session { id, file, .. } => Some((id.clone(), file.clone())),
        _ => None,
    })
}

/// Translates what a Claude Code hook is given on standard input. `None` for events that say
/// nothing here. `SessionEnd` is not believed about which session ended: a failed `--resume` fires it
/// with the unknown id.
pub fn from_claude_hook(input: &str) -> Option<What> {
    let v: serde_json::Value = serde_json::from_str(input).ok()?;
    let text = |key: &str| v.get(key).and_then(|x| x.as_str()).map(str::to_owned);
    Some(match text("hook_event_name")?.as_str() {
        "SessionStart" => What::Session {
            id: text("session_id"),
            file: text("transcript_path").map(PathBuf::from),
            reason: text("source").unwrap_or_default(),
        },
        "UserPromptSubmit" => What::Prompt {
            text: text("prompt").unwrap_or_default(),
        },
        "Stop" => What::Idle,
        "PostToolUse" => What::Working,
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
    })
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

/// Translates a line of the demo agent's transcript. `None` for lines that say nothing here.
pub fn from_demo_line(line: &str) -> Option<Report> {
    let v: serde_json::Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| v.get(key).and_then(|x| x.as_str()).map(str::to_owned);
    let what = match text("type")?.as_str() {
        "session" => What::Session {
            id: text("id"),
            file: None,
            reason: text("reason").unwrap_or_default(),
        },
        // A queued message is in the agent's hands; its `user` line follows when its turn begins.
        "user" | "queued" => What::Prompt {
            text: text("text")?,
        },
        "state" => match text("state")?.as_str() {
            "idle" => What::Idle,
            "working" => What::Working,
            "waiting" => What::Waiting {
                question: text("question").unwrap_or_default(),
            },
            _ => return None,
        },
        "exit" => What::Ended {
            reason: v
                .get("code")
                .map(|c| format!("exit code {c}"))
                .unwrap_or_default(),
        },
        _ => return None,
    };
    Some(Report {
        time: text("time")?.parse().ok()?,
        what,
    })
}

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
        "PermissionRequest",
        "PostToolUse",
    ]
    .into_iter()
    .map(|event| (event.to_owned(), hook.clone()))
    .collect();
    files::to_json(&serde_json::json!({ "hooks": hooks }))
}

/// The extension by which pi reports.
pub const PI_EXTENSION: &str = include_str!("runtime/reporters/pi.ts");

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
            Some(What::Session {
                id: Some("u".into()),
                file: Some("/t.jsonl".into()),
                reason: "clear".into()
            })
        );
        assert_eq!(
            from_claude_hook(r#"{"hook_event_name":"UserPromptSubmit","prompt":"hi"}"#),
            Some(What::Prompt { text: "hi".into() })
        );
        assert_eq!(
            from_claude_hook(r#"{"hook_event_name":"SessionEnd","session_id":"unknown"}"#),
            None
        );
        assert_eq!(from_claude_hook("not json"), None);
        assert_eq!(
            from_claude_hook(
                r#"{"hook_event_name":"PermissionRequest","tool_name":"Bash","tool_input":{"command":"rm x"}}"#
            ),
            Some(What::Waiting {
                question: "Bash rm x".into()
            })
        );
        let question = |command: &str| {
            let hook = serde_json::json!({
                "hook_event_name": "PermissionRequest",
                "tool_name": "Bash",
                "tool_input": { "command": command }
            });
            match from_claude_hook(&hook.to_string()) {
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

    #[test]
    fn the_demo_agents_transcript_is_translated() {
        let line = |text: &str| {
            from_demo_line(&format!(r#"{{"time":"2026-01-02T03:04:05.678Z",{text}}}"#))
                .map(|r| r.what)
        };
        assert_eq!(
            line(r#""type":"session","id":"x","reason":"clear","pid":7"#),
            Some(What::Session {
                id: Some("x".into()),
                file: None,
                reason: "clear".into()
            })
        );
        assert_eq!(
            line(r#""type":"user","text":"a\nb","session":"x""#),
            Some(What::Prompt {
                text: "a\nb".into()
            })
        );
        assert_eq!(line(r#""type":"state","state":"idle""#), Some(What::Idle));
        assert_eq!(
            line(r#""type":"state","state":"waiting","question":"why?""#),
            Some(What::Waiting {
                question: "why?".into()
            })
        );
        assert_eq!(line(r#""type":"assistant","text":"x""#), None);
        assert_eq!(
            line(r#""type":"exit","code":129,"signal":1"#),
            Some(What::Ended {
                reason: "exit code 129".into()
            })
        );
        assert_eq!(from_demo_line("{\"type\":\"us"), None);
    }

    #[test]
    fn a_large_file_is_trimmed_at_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.jsonl");
        let text = "x".repeat(2000);
        for _ in 0..1100 {
            append(&path, What::Prompt { text: text.clone() }).unwrap();
        }
        append(&path, What::Idle).unwrap();
        trim(&path).unwrap();
        let left = read(&path).unwrap();
        assert!((500..600).contains(&left.len()), "{}", left.len());
        assert_eq!(left.last().unwrap().what, What::Idle);
        assert_eq!(tail(&path).unwrap().last().unwrap().what, What::Idle);
    }
}
