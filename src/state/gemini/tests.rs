#![allow(clippy::unwrap_used)]
use super::*;

const CONTEXT_SET: &str = r#"{"$set":{"messages":[{"id":"0","timestamp":"2026-11-21T11:56:50.800Z","type":"user","content":[{"text":"<session_context>\nold"}]}],"lastUpdated":"2026-11-21T11:56:50.800Z"}}"#;

fn head(id: &str, start: &str) -> String {
    format!(r#"{{"sessionId":"{id}","projectHash":"x","startTime":"{start}","kind":"main"}}"#)
}

fn whats(text: &str) -> Vec<What> {
    parse(text).into_iter().map(|r| r.what).collect()
}

#[test]
fn a_conversation_is_read_and_a_history_written_again_is_not() {
    let text = [
        &head("a", "2026-11-21T11:56:50.800Z"),
        CONTEXT_SET,
        r#"{"id":"1","timestamp":"2026-11-21T12:19:52.046Z","type":"user","content":[{"text":"one\n\ttwo"}]}"#,
        r#"{"$set":{"lastUpdated":"2026-11-21T12:19:52.046Z"}}"#,
        r#"{"id":"2","timestamp":"2026-11-21T12:19:52.069Z","type":"gemini","content":"I shall look.","thoughts":[],"tokens":{"input":10},"model":"m"}"#,
        r#"{"id":"2","timestamp":"2026-11-21T12:19:52.069Z","type":"gemini","content":"I shall look.","toolCalls":[{"name":"x","status":"cancelled"}]}"#,
        r#"{"id":"3","timestamp":"2026-11-21T12:19:53.000Z","type":"user","content":[{"functionResponse":{"name":"x"}}]}"#,
        r#"{"id":"4","timestamp":"2026-11-21T12:19:54.600Z","type":"info","content":"Request cancelled."}"#,
        // From here on it is the history once more, with new times.
        r#"{"id":"5","timestamp":"2026-11-21T12:19:54.601Z","type":"user","content":[{"text":"<session_context>\nold"},{"text":"one\n\ttwo"}]}"#,
        r#"{"id":"6","timestamp":"2026-11-21T12:19:54.601Z","type":"gemini","content":[{"text":"I shall look."}],"tokens":null}"#,
        r#"{"id":"7","timestamp":"2026-11-21T12:19:54.601Z","type":"user","content":[{"text":"three"}]}"#,
        r#"{"$set":{"lastUpdated":"2026-11-21T12:19:54.601Z"}}"#,
        CONTEXT_SET,
        r#"{"id":"8","timestamp":"2026-11-21T12:20:00.000Z","type":"user","content":[{"text":"four"}]}"#,
        r#"{"id":"9","timestamp":"2026-11-21T12:20:01.000Z","type":"gemini","content":"ok","tokens":{}}"#,
        r#"{"id":"10","timest"#,
    ]
    .join("\n");
    let prompt = |text: &str| What::Prompt { text: text.into() };
    let answer = |text: &str| What::Answer { text: text.into() };
    assert_eq!(
        whats(&text),
        [
            prompt("one\n\ttwo"),
            answer("I shall look."),
            What::Working,
            What::Idle,
            prompt("four"),
            answer("ok"),
        ]
    );
}

/// A project's directory of conversations with one of id `11111111-a` in it.
fn project(log: &str) -> (tempfile::TempDir, Gemini) {
    let dir = tempfile::tempdir().unwrap();
    let chats = dir.path().join("chats");
    std::fs::create_dir(&chats).unwrap();
    let first = [
        &head("11111111-a", "2026-11-21T12:00:00.000Z"),
        CONTEXT_SET,
        r#"{"id":"1","timestamp":"2026-11-21T12:00:05.000Z","type":"user","content":[{"text":"one"}]}"#,
    ];
    std::fs::write(
        chats.join("session-2026-11-21T12-00-11111111.jsonl"),
        first.join("\n"),
    )
    .unwrap();
    std::fs::write(dir.path().join("logs.json"), log).unwrap();
    let gemini = Gemini {
        pattern: format!("{}/session-*-11111111.jsonl", chats.display()),
        id: "11111111-a".into(),
        started: Some("2026-11-21T12:00:00Z".parse().unwrap()),
        notes: dir.path().join("reports.jsonl"),
    };
    (dir, gemini)
}

#[test]
fn a_new_conversation_of_the_same_process_is_followed_and_noted() {
    let log = r#"[{"sessionId":"11111111-a","messageId":0,"type":"user","message":"one","timestamp":"2026-11-21T12:00:05.000Z"},
        {"sessionId":"22222222-b","messageId":0,"type":"user","message":"/clear","timestamp":"2026-11-21T12:00:08.000Z"},
        {"sessionId":"11111111-a","messageId":1,"type":"user","message":"/clear","timestamp":"2026-11-21T12:00:18.006Z"}]"#;
    let (dir, gemini) = project(log);
    let began = |name: &str, id: &str, start: &str| {
        let path = dir.path().join("chats").join(name);
        let text = format!(
            "{}\n{CONTEXT_SET}\n{}\n",
            head(id, start),
            r#"{"id":"1","timestamp":"2026-11-21T12:00:30.000Z","type":"user","content":[{"text":"two"}]}"#
        );
        std::fs::write(path, text).unwrap();
    };
    // The neighbour's, which began after its own command; this process's; one that came much later.
    began(
        "session-2026-11-21T12-00-33333333.jsonl",
        "3-n",
        "2026-11-21T12:00:08.040Z",
    );
    began(
        "session-2026-11-21T12-00-44444444.jsonl",
        "4-own",
        "2026-11-21T12:00:18.041Z",
    );
    began(
        "session-2026-11-21T12-09-55555555.jsonl",
        "5-late",
        "2026-11-21T12:09:00.000Z",
    );
    let since = |from: &str| -> Vec<What> {
        let from: Timestamp = from.parse().unwrap();
        let mark = u64::try_from(from.as_millisecond()).unwrap();
        let reports = gemini.since(mark).unwrap();
        reports.into_iter().map(|r| r.what).collect()
    };
    let session = What::Session {
        id: Some("4-own".into()),
        file: None,
        reason: "clear".into(),
    };
    let two = What::Prompt { text: "two".into() };
    assert_eq!(since("2026-11-21T12:00:10Z"), [session, two.clone()]);
    assert_eq!(since("2026-11-21T12:00:20Z"), [two]);
    assert_eq!(gemini.last(gemini.started).unwrap().len(), 2);
    // Once, however often it is looked at.
    let noted = report::read(&gemini.notes).unwrap();
    assert_eq!(noted.len(), 1, "{noted:?}");
    assert_eq!(
        report::last_session(&noted).unwrap().0.as_deref(),
        Some("4-own")
    );
}

#[test]
fn a_command_before_the_start_and_a_half_written_log_change_nothing() {
    let old = r#"[{"sessionId":"11111111-a","messageId":1,"type":"user","message":"/clear","timestamp":"2026-11-21T11:00:00.000Z"}]"#;
    for log in [old, "[{\"sessionId\":", ""] {
        let (_dir, gemini) = project(log);
        let last = gemini.last(None).unwrap();
        assert_eq!(last.len(), 1, "{log}: {last:?}");
        assert!(!gemini.notes.exists());
    }
}
