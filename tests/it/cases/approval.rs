//! Approvals: what is asked is answered, deliberately, and nothing else is. What an agent does is said
//! with its reasons.

use serde_json::Value;

use crate::support::{Agent, Output, Roster, Sandbox, eventually, eventually_some};

/// Makes the agent ask about something, and returns the question.
#[track_caller]
fn asked(s: &Sandbox, about: &str) -> Value {
    let text = format!("PLEASE ASK about {about}");
    s.mosaic(&["agent", "send", "a", "--no-preamble", "-m", &text])
        .ok();
    question(s, about)
}

/// The question that status shows, once it is about this.
#[track_caller]
fn question(s: &Sandbox, about: &str) -> Value {
    eventually_some(&format!("it asks about {about}"), || {
        let status = s.mosaic(&["agent", "status", "a", "--json"]).ok().json();
        let agent = status["agents"][0].clone();
        let rows = agent["question"]["screen"].to_string();
        (agent["state"] == "waiting" && rows.contains(about)).then(|| agent["question"].clone())
    })
}

fn records(s: &Sandbox, kind: &str) -> usize {
    s.records("a").iter().filter(|r| r["type"] == kind).count()
}

fn answer(s: &Sandbox, verb: &str, more: &[&str]) -> Output {
    s.mosaic(&[&["agent", verb, "a", "--json"], more].concat())
}

#[test]
fn a_dialog_is_approved_and_another_denied() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let question = asked(&s, "one");
    assert_eq!(question["question"], "Do you want to proceed?");
    assert_eq!(question["options"][1]["label"], "No");
    assert_eq!(
        (&question["approve"], &question["deny"]),
        (&1.into(), &2.into())
    );
    let out = answer(
        &s,
        "approve",
        &["--question-id", question["id"].as_str().unwrap()],
    )
    .ok();
    assert_eq!(out.json()["chosen"], "Yes");
    eventually("the approved turn ran", || records(&s, "assistant") == 1);
    asked(&s, "two");
    let out = answer(&s, "deny", &[]).ok();
    assert_eq!(out.json()["chosen"], "No");
    assert_eq!(out.json()["state"], "idle", "{out:?}");
    assert_eq!((records(&s, "approved"), records(&s, "denied")), (1, 1));
    asked(&s, "three");
    answer(&s, "approve", &["--option", "2"]).ok();
    assert_eq!((records(&s, "approved"), records(&s, "denied")), (1, 2));
    let events = s.mosaic(&["fleet", "events", "--json"]).ok().stdout;
    assert!(
        events.contains("answered `Do you want to proceed?` with `Yes`"),
        "{events}"
    );
}

#[test]
fn only_the_question_that_was_shown_is_answered() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let out = answer(&s, "approve", &[]).code(1);
    assert_eq!(
        out.json()["reason"],
        "no dialog is open: nothing was answered"
    );
    let first = asked(&s, "one");
    answer(&s, "deny", &[]).ok();
    // The first one is closed by now, and another one asks in the very same words.
    asked(&s, "two");
    let id = first["id"].as_str().unwrap();
    let out = answer(&s, "approve", &["--question-id", id]).code(1);
    let reason = out.json()["reason"].as_str().unwrap().to_owned();
    assert!(
        reason.starts_with("another question is asked by now"),
        "{reason}"
    );
    assert_eq!(out.json()["touched"], false);
    let out = answer(&s, "approve", &["--option", "7"]).code(1);
    assert_eq!(out.json()["reason"], "the dialog has no option 7");
    question(&s, "two");
    assert_eq!((records(&s, "approved"), records(&s, "denied")), (0, 1));
}

#[test]
fn copy_mode_does_not_keep_an_answer_away() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    asked(&s, "one");
    s.tmux(&["copy-mode", "-t", "=a:"]).ok();
    let shown = s.mosaic(&["agent", "explain", "a", "--json"]).ok().json();
    assert_eq!(shown["pane"]["in_mode"], true);
    answer(&s, "approve", &[]).ok();
    assert_eq!(records(&s, "approved"), 1);
}

#[test]
fn what_an_agent_does_is_explained() {
    let roster = Roster::new([
        Agent::demo("a").persona("draft=half a thought"),
        Agent::script("sh", "exec sleep 1000"),
    ]);
    let Some(s) = roster.boot() else { return };
    eventually("it is idle", || s.status("a")["state"] == "idle");
    let explain = |agent: &str| s.mosaic(&["agent", "explain", agent, "--json"]).ok().json();
    let a = explain("a");
    assert_eq!(a["state"], "idle");
    assert_eq!(a["authority"]["name"], "demo-transcript");
    assert_eq!(
        a["authority"]["last"].as_array().unwrap().last().unwrap()["what"],
        "idle"
    );
    assert_eq!(a["input"]["holds"], "draft");
    assert_eq!(a["input"]["text"], "half a thought");
    assert_eq!(a["pane"]["agent_in_foreground"], true);
    assert_eq!(a["channels"][0]["taken"], true);
    let rules: Vec<&str> = a["matched"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|m| m["rule"].as_str())
        .collect();
    assert_eq!(rules, ["top", "prompt", "bottom"]);
    let sh = explain("sh");
    assert_eq!(sh["state"], "unknown");
    assert_eq!(sh["authority"]["name"], "none");
    assert_eq!(sh["missing"][0], "it reports nothing of itself");
    s.mosaic(&["fleet", "stop", "a"]).ok();
    let a = explain("a");
    assert_eq!(a["state"], "exited");
    assert_eq!(a["evidence"]["source"], "unit");
    assert_eq!(a["process"]["alive"], false);
    s.mosaic(&["agent", "explain", "a"]).ok().says("process");
}

#[test]
fn a_limit_parks_an_agent_and_ends() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    s.mosaic(&[
        "agent",
        "send",
        "a",
        "--no-preamble",
        "-m",
        "PLEASE LIMIT 4000",
    ])
    .ok();
    eventually("it is parked", || s.status("a")["state"] == "rate-limited");
    assert_eq!(s.status("a")["evidence"]["source"], "transcript");
    eventually("it goes on", || s.status("a")["state"] == "idle");
    assert_eq!(s.agent("a").restarts, 0);
}

#[test]
fn a_draft_is_not_lost_by_a_restart_that_nobody_forced() {
    let roster = Roster::new([Agent::demo("a").persona("draft=mine")]);
    let Some(s) = roster.boot() else { return };
    eventually("it is idle", || s.status("a")["state"] == "idle");
    let before = s.agent("a").pid;
    let out = s.mosaic(&["agent", "reset", "a", "--restart", "--wait", "1"]);
    assert!(
        out.stdout
            .contains("a draft stands in the box of `a`: `mine`"),
        "{out:?}"
    );
    assert_eq!(s.agent("a").pid, before);
    // Settings that need a restart wait as well.
    Roster::new([Agent::demo("a").persona("draft=mine").env("MORE", "1")]).write(&s);
    let out = s.mosaic(&["fleet", "apply"]);
    assert!(
        format!("{}{}", out.stdout, out.stderr).contains("a draft stands in its box"),
        "{out:?}"
    );
    assert_eq!(s.agent("a").pid, before);
    s.mosaic(&["agent", "reset", "a", "--restart", "--force"])
        .ok();
    assert_ne!(s.agent("a").pid, before);
}
