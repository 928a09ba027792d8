//! codex's record of a conversation, a file of JSON lines that it calls a rollout. It is written
//! while a turn goes on and names every message by the id its sender gave it, which makes it the best
//! receipt there is. The file is made with a conversation's first message.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::delivery::channel::Found;
use crate::report::{Report, What};

/// A line, as far as it is read here.
#[derive(Debug, Deserialize)]
struct Line {
    timestamp: Timestamp,
    #[serde(rename = "type")]
    kind: String,
    payload: Value,
}

/// What a line says.
#[derive(Debug, PartialEq)]
enum Said {
    /// A turn began.
    Began,
    /// A person's message.
    Prompt { id: Option<String>, text: String },
    /// The agent said something.
    Answer(String),
    /// The turn ended by itself.
    Ended {
        answer: Option<String>,
        error: Option<Refusal>,
    },
    /// Somebody interrupted it.
    Aborted(String),
}

/// Why a turn ended without an answer.
#[derive(Debug, PartialEq)]
struct Refusal {
    message: String,
    /// The provider refuses more requests for now.
    limit: bool,
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key)?.as_str().map(str::to_owned)
}

/// The texts in a message's content, put together.
fn content(item: &Value) -> String {
    let parts = item.get("content").and_then(Value::as_array);
    parts
        .into_iter()
        .flatten()
        .filter_map(|part| part.get("text")?.as_str())
        .collect()
}

fn refusal(error: &Value) -> Refusal {
    let info = error.get("codex_error_info");
    let named = info.and_then(Value::as_str);
    // {"response_too_many_failed_attempts": {"http_status_code": 429}} and its like.
    let status = info
        .and_then(Value::as_object)
        .and_then(|o| o.values().find_map(|v| v.get("http_status_code")?.as_u64()));
    Refusal {
        message: text(error, "message").unwrap_or_else(|| error.to_string()),
        limit: matches!(named, Some("usage_limit_exceeded" | "rate_limit_exceeded"))
            || status == Some(429),
    }
}

/// Reads a line: when, in which turn, what. `None` for what does not matter here.
fn read(line: &str) -> Option<(Timestamp, String, Said)> {
    // Most lines are long and of no interest.
    if !line.contains("\"event_msg\"") {
        return None;
    }
    let line: Line = serde_json::from_str(line).ok()?;
    if line.kind != "event_msg" {
        return None;
    }
    let p = &line.payload;
    let said = match p.get("type")?.as_str()? {
        "task_started" => Said::Began,
        "task_complete" => Said::Ended {
            answer: text(p, "last_agent_message"),
            error: p.get("error").filter(|e| !e.is_null()).map(refusal),
        },
        "turn_aborted" => Said::Aborted(text(p, "reason").unwrap_or_default()),
        "item_completed" => {
            let item = p.get("item")?;
            match item.get("type")?.as_str()? {
                "UserMessage" => Said::Prompt {
                    id: text(item, "client_id"),
                    text: content(item),
                },
                "AgentMessage" => Said::Answer(content(item)),
                _ => return None,
            }
        }
        _ => return None,
    };
    Some((line.timestamp, text(p, "turn_id").unwrap_or_default(), said))
}

/// What a line reports; `None` for most of them.
pub fn report(line: &str) -> Option<Report> {
    let (time, _, said) = read(line)?;
    let what = match said {
        Said::Began => What::Working,
        Said::Prompt { text, .. } => What::Prompt { text },
        Said::Answer(text) => What::Answer { text },
        Said::Ended {
            error: Some(error), ..
        } if error.limit => What::Limited {
            what: error.message,
            until: None,
        },
        Said::Ended { .. } | Said::Aborted(_) => What::Idle,
    };
    Some(Report { time, what })
}

/// What the agent is about to do by a line, in words: a call of a tool. It is what an approval asks.
pub fn call(line: &str) -> Option<String> {
    if !line.contains("_call\"") {
        return None;
    }
    let line: Line = serde_json::from_str(line).ok()?;
    let p = &line.payload;
    let kind = text(p, "type")?;
    if line.kind != "response_item" || !matches!(&*kind, "function_call" | "custom_tool_call") {
        return None;
    }
    let name = text(p, "name")?;
    let arguments: Value = text(p, "arguments")
        .and_then(|a| serde_json::from_str(&a).ok())
        .unwrap_or_default();
    let command = text(&arguments, "cmd").or_else(|| {
        let words = arguments.get("command")?.as_array()?;
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        Some(words.join(" "))
    });
    Some(match command {
        Some(command) => format!("run `{}`?", command.lines().next().unwrap_or_default()),
        None => format!("use `{name}`?"),
    })
}

/// Looks for a message by its id in a rollout.
pub fn find(rollout: &str, id: &str) -> Found {
    let mut begun: Option<(String, String)> = None;
    let mut answer = String::new();
    for (_, turn, said) in rollout.lines().filter_map(read) {
        match (&begun, said) {
            (
                None,
                Said::Prompt {
                    id: Some(got),
                    text,
                },
            ) if got == id => begun = Some((turn, text)),
            (None, _) => {}
            (Some(_), Said::Answer(text)) => answer = text,
            (Some((of, recorded)), ended) if *of == turn => {
                let evidence = match &ended {
                    Said::Ended { error: Some(e), .. } => {
                        format!("codex recorded it, and its turn failed: {}", e.message)
                    }
                    Said::Ended { .. } => "codex recorded it and the end of its turn".to_owned(),
                    Said::Aborted(why) => {
                        format!("codex recorded it, and its turn was broken off ({why})")
                    }
                    _ => continue,
                };
                if let Said::Ended {
                    answer: Some(last), ..
                } = ended
                {
                    answer = last;
                }
                return Found::Answered {
                    evidence,
                    recorded: Some(recorded.clone()),
                    answer,
                };
            }
            _ => {}
        }
    }
    match begun {
        Some((turn, recorded)) => Found::Accepted {
            evidence: format!("codex recorded it in turn {turn}"),
            recorded: Some(recorded),
        },
        None => Found::Nothing,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Lines of codex 0.169.0, shortened where nothing is read.
    const TURN: &str = include_str!("samples/rollout.jsonl");

    fn events(text: &str) -> Vec<What> {
        text.lines().filter_map(report).map(|r| r.what).collect()
    }

    #[test]
    fn a_rollout_tells_what_was_said_and_when_a_turn_ends() {
        let got = events(TURN);
        assert_eq!(
            got[..4],
            [
                What::Working,
                What::Prompt {
                    text: "hello\tone\n".into()
                },
                What::Answer {
                    text: "ok: hello one".into()
                },
                What::Idle
            ]
        );
        let limits: Vec<&What> = got
            .iter()
            .filter(|w| matches!(w, What::Limited { .. }))
            .collect();
        assert_eq!(limits.len(), 2, "429 and the usage limit: {got:?}");
        assert_eq!(*got.last().unwrap(), What::Idle, "an interrupted turn");
        let time = report(TURN.lines().nth(1).unwrap()).unwrap().time;
        assert_eq!(time.to_string(), "2026-11-21T11:53:14.471Z");
    }

    #[test]
    fn a_message_is_found_by_its_id_and_by_nothing_else() {
        let Found::Answered {
            recorded, answer, ..
        } = find(TURN, "m-1")
        else {
            panic!("not answered");
        };
        assert_eq!(recorded.as_deref(), Some("hello\tone\n"));
        assert_eq!(answer, "ok: hello one");
        assert_eq!(find(TURN, "m-"), Found::Nothing);
        assert_eq!(find(TURN, "hello one"), Found::Nothing);
        // Its turn goes on: the end of an earlier one is not its own.
        let cut: Vec<&str> = TURN.lines().collect();
        let at = cut.iter().position(|l| l.contains("\"m-2\"")).unwrap();
        let open = cut[..=at].join("\n");
        assert!(matches!(find(&open, "m-2"), Found::Accepted { .. }));
        let Found::Answered { evidence, .. } = find(TURN, "m-2") else {
            panic!("its turn failed, so it is over");
        };
        assert!(evidence.contains("429"), "{evidence}");
        let Found::Answered { evidence, .. } = find(TURN, "m-4") else {
            panic!("its turn was broken off");
        };
        assert!(evidence.contains("interrupted"), "{evidence}");
    }

    #[test]
    fn a_call_says_what_an_approval_asks() {
        let asked: Vec<String> = TURN.lines().filter_map(call).collect();
        assert_eq!(asked, ["run `touch approved-marker`?"]);
    }
}
