//! The demo agent's transcript as reports.

use super::{Report, What};

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
        "assistant" => What::Answer {
            text: text("text")?,
        },
        "state" => match text("state")?.as_str() {
            "idle" => What::Idle,
            "working" => What::Working,
            "limited" => What::Limited {
                what: "limit reached".to_owned(),
                until: None,
            },
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

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
        assert_eq!(
            line(r#""type":"assistant","text":"x""#),
            Some(What::Answer { text: "x".into() })
        );
        assert_eq!(
            line(r#""type":"exit","code":129,"signal":1"#),
            Some(What::Ended {
                reason: "exit code 129".into()
            })
        );
        assert_eq!(from_demo_line("{\"type\":\"us"), None);
    }
}
