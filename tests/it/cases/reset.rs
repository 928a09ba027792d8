//! Resets: what they may break off, what they leave alone, and what proves them.

use serde_json::{Value, json};

use crate::support::{Agent, Output, Roster, Sandbox, eventually};

fn working() -> Agent {
    Agent::demo("a").env("MOSAIC_DEMO_THINK_MS", "60000")
}

fn reset(s: &Sandbox, flags: &[&str]) -> Output {
    let mut args = vec!["agent", "reset", "a", "--json", "--wait", "1"];
    args.extend(flags);
    s.mosaic(&args)
}

fn set_to_work(s: &Sandbox) {
    s.mosaic(&[
        "agent",
        "send",
        "a",
        "-m",
        "work for a minute",
        "--no-preamble",
    ])
    .ok();
    eventually("it works", || s.status("a")["state"] == "working");
}

fn kinds(s: &Sandbox) -> Vec<String> {
    let all = s.records("a");
    let kind = |r: &Value| r["type"].as_str().unwrap_or_default().to_owned();
    all.iter().map(kind).collect()
}

#[test]
fn a_turn_is_broken_off_only_where_that_is_asked_for() {
    let Some(s) = Roster::new([working()]).boot() else {
        return;
    };
    let a = s.up("a");
    set_to_work(&s);
    let out = reset(&s, &["--clear"]).code(75);
    assert!(
        out.json()["hint"].as_str().unwrap().contains("--interrupt"),
        "{out:?}"
    );
    assert!(!kinds(&s).contains(&"interrupted".to_owned()));
    let json = reset(&s, &["--clear", "--interrupt"]).ok().json();
    assert_eq!(json["reset"], true, "{json}");
    assert!(
        json["evidence"]
            .to_string()
            .contains("broken off by `Escape`"),
        "{json}"
    );
    assert!(kinds(&s).contains(&"interrupted".to_owned()));
    assert_eq!(s.up("a"), a, "the same process");
    // An agent at rest gets no key.
    let json = reset(&s, &["--new", "--interrupt"]).ok().json();
    assert!(!json["evidence"].to_string().contains("Escape"), "{json}");
    let broken = kinds(&s).iter().filter(|k| *k == "interrupted").count();
    assert_eq!(broken, 1);
    set_to_work(&s);
    let json = reset(&s, &["--restart", "--interrupt"]).ok().json();
    assert!(
        json["evidence"]
            .to_string()
            .contains("broken off by `Escape`"),
        "{json}"
    );
    assert_ne!(s.up("a"), a);
}

#[test]
fn a_dialog_is_not_answered_by_an_interrupt() {
    let Some(s) = Roster::new([Agent::demo("a").persona("dialog-open")]).boot() else {
        return;
    };
    reset(&s, &["--clear", "--interrupt"]).code(1);
    let kinds = kinds(&s);
    assert!(
        !kinds.contains(&"denied".to_owned()) && !kinds.contains(&"approved".to_owned()),
        "{kinds:?}"
    );
    assert_eq!(s.status("a")["state"], "waiting");
}

#[test]
fn a_draft_is_given_up_only_with_force() {
    let Some(s) = Roster::new([Agent::demo("a").persona("draft=half a thought")]).boot() else {
        return;
    };
    let a = s.up("a");
    for way in ["--clear", "--restart"] {
        let json = reset(&s, &[way]).code(75).json();
        assert!(
            json["reason"].as_str().unwrap().contains("half a thought"),
            "{json}"
        );
        assert!(json["hint"].as_str().unwrap().contains("--force"), "{json}");
    }
    assert!(s.screen("a").contains("half a thought"));
    assert_eq!(s.up("a"), a);
    let json = reset(&s, &["--clear", "--force"]).ok().json();
    assert_eq!(
        (&json["mode"], &json["fell_back"]),
        (&json!("restart"), &json!("a draft was given up"))
    );
    assert_ne!(s.up("a"), a);
}

#[test]
fn a_proof_that_comes_with_the_next_message_is_waited_for_with_the_kickstart() {
    let roster = |empty: &str| {
        Roster::new([Agent::demo("a").key("kickstart", json!({"text": "begin"}))]).key(
            "runtimes",
            json!({"demo": {"reset": {"clear": "/clear", "proof": "next-message", "empty": empty}}}),
        )
    };
    let Some(s) = roster("^demo · 0 messages").boot() else {
        return;
    };
    let json = reset(&s, &["--clear"]).ok().json();
    let evidence = json["evidence"].to_string();
    assert!(
        evidence.contains("the screen shows an empty context"),
        "{json}"
    );
    assert!(
        evidence.contains("kickstart's record names a new conversation"),
        "{json}"
    );
    let session = s
        .records("a")
        .into_iter()
        .rfind(|r| r["type"] == "session")
        .unwrap();
    assert_eq!(json["conversation"], session["id"]);
    // A command the runtime does not have.
    let json = reset(&s, &["--new"]).ok().json();
    assert_eq!(json["mode"], "restart");
    assert!(
        json["fell_back"]
            .as_str()
            .unwrap()
            .contains("no command for `new`")
    );
    // A screen that never shows it is no proof.
    roster("^nothing has this row$").write(&s);
    s.mosaic(&["fleet", "apply"]).ok();
    let json = reset(&s, &["--clear"]).code(1).json();
    assert_eq!(json["reset"], false, "{json}");
}

#[test]
fn an_agent_nobody_knows_is_refused_at_once() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let out = s.mosaic(&["agent", "reset", "ghost", "--restart"]).code(78);
    let out = out.warns("no agent `ghost`").warns("installed: a");
    assert!(
        out.took < std::time::Duration::from_secs(5),
        "{:?}",
        out.took
    );
}

#[test]
fn a_task_begins_with_an_empty_context_where_the_roster_wants_that() {
    let Some(s) = Roster::new([
        Agent::demo("a")
            .key("reset_between_tasks", json!(true))
            .key("kickstart", json!({"text": "begin"})),
        Agent::demo("b"),
    ])
    .boot() else {
        return;
    };
    let task = |agent: &str, text: &str, more: &[&str]| {
        let mut args = vec![
            "agent",
            "send",
            agent,
            "--task",
            "-m",
            text,
            "--json",
            "--no-preamble",
        ];
        args.extend(more);
        s.mosaic(&args)
    };
    let conversations = || {
        let mut all: Vec<Value> = s
            .records("a")
            .iter()
            .filter(|r| r["type"] == "session")
            .map(|r| r["id"].clone())
            .collect();
        all.dedup();
        all.len()
    };
    // Nothing was said yet: there is nothing to empty.
    let first = task("a", "one", &["--until", "answered"]).ok().json();
    assert_eq!(first.get("reset"), None, "{first}");
    assert_eq!(conversations(), 1);
    let second = task("a", "two", &["--until", "answered", "--id", "t2"])
        .ok()
        .json();
    assert_eq!(second["reset"]["reset"], true, "{second}");
    assert_eq!(
        second["reset"]["kickstart"]["receipt"], "accepted",
        "{second}"
    );
    assert_eq!(second["receipt"], "answered");
    assert_eq!(conversations(), 2);
    assert_eq!(s.messages("a"), ["one", "begin", "two"]);
    // The same message again is no new task.
    let again = task("a", "two", &["--id", "t2"]).ok().json();
    assert_eq!(again.get("reset"), None, "{again}");
    assert_eq!(conversations(), 2);
    // A plain message empties nothing, and counts.
    s.mosaic(&["agent", "reset", "a"]).ok();
    s.mosaic(&["agent", "send", "a", "-m", "plain", "--no-preamble"])
        .ok();
    assert_eq!(conversations(), 3);
    task("a", "three", &[]).ok();
    assert_eq!(conversations(), 4);
    for text in ["one", "two"] {
        let sent = task("b", text, &["--until", "answered"]).ok().json();
        assert_eq!(sent.get("reset"), None);
    }
}

#[test]
fn a_task_is_not_sent_where_the_reset_before_it_fails() {
    let Some(s) = Roster::new([working().key("reset_between_tasks", json!(true))]).boot() else {
        return;
    };
    set_to_work(&s);
    let out = s.mosaic(&[
        "agent",
        "send",
        "a",
        "--task",
        "-m",
        "next",
        "--json",
        "--timeout",
        "1",
    ]);
    let json = out.code(75).json();
    assert_eq!(json["receipt"], "refused", "{json}");
    assert_eq!(json["reset"]["reset"], false);
    assert_eq!(s.messages("a"), ["work for a minute"]);
}
