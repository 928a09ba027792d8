//! Conversations survive the process.

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Agent, Roster, Sandbox, eventually};

/// Session ids of a demo agent's transcripts, one per `session` line, with its reason.
fn sessions(s: &Sandbox, agent: &str) -> Vec<(String, String)> {
    let text = |v: &serde_json::Value| v.as_str().unwrap_or_default().to_owned();
    s.records(agent)
        .iter()
        .filter(|r| r["type"] == "session")
        .map(|r| (text(&r["id"]), text(&r["reason"])))
        .collect()
}

fn say(s: &Sandbox, agent: &str, message: &str) {
    s.type_into(agent, message);
    s.press(agent, "Enter");
    eventually("the message is taken up", || {
        s.messages(agent).iter().any(|m| m == message)
    });
}

#[test]
fn a_restarted_agent_resumes_its_own_conversation() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let a = s.up("a");
    say(&s, "a", "remember me");
    s.kill_agent(&a, Signal::KILL);
    let a = s.back("a", &a);
    eventually("the conversation goes on", || sessions(&s, "a").len() == 2);
    let two = sessions(&s, "a");
    assert_eq!(two[0].0, two[1].0, "the same conversation");
    assert_eq!((two[0].1.as_str(), two[1].1.as_str()), ("start", "resume"));
    // Also over a crash of the server and a stop.
    s.tmux(&["kill-server"]);
    s.back("a", &a);
    s.mosaic(&["fleet", "stop"]).ok();
    s.mosaic(&["fleet", "start"]).ok();
    eventually("the conversation goes on", || sessions(&s, "a").len() >= 4);
    assert!(sessions(&s, "a").iter().all(|(id, _)| *id == two[0].0));
    let started = s
        .events("a")
        .into_iter()
        .rfind(|e| e["event"] == "started")
        .unwrap();
    assert_eq!(started["resumed"], true);
}

#[test]
fn a_first_start_and_an_empty_conversation_resume_nothing() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let a = s.up("a");
    s.kill_agent(&a, Signal::KILL);
    s.back("a", &a);
    eventually("it began again", || sessions(&s, "a").len() == 2);
    assert!(
        sessions(&s, "a")
            .iter()
            .all(|(_, reason)| reason == "start")
    );
    assert_eq!(s.agent("a").restarts, 1);
}

#[test]
fn two_agents_in_one_directory_do_not_share_a_conversation() {
    let Some(s) = Roster::demo(&["a", "b"]).boot() else {
        return;
    };
    let a = s.up("a");
    say(&s, "a", "for a only");
    assert_ne!(sessions(&s, "a")[0].0, sessions(&s, "b")[0].0);
    assert_eq!(s.messages("b"), Vec::<String>::new());
    s.kill_agent(&a, Signal::KILL);
    s.back("a", &a);
    let b = s.up("b");
    s.kill_agent(&b, Signal::KILL);
    s.back("b", &b);
    assert_eq!(s.messages("a"), ["for a only"]);
    assert_eq!(s.messages("b"), Vec::<String>::new());
}

#[test]
fn resume_none_begins_anew_at_every_start() {
    let roster = Roster::new([Agent::demo("a").key("resume", json!("none"))]);
    let Some(s) = roster.boot() else { return };
    let a = s.up("a");
    say(&s, "a", "forget me");
    s.kill_agent(&a, Signal::KILL);
    s.back("a", &a);
    eventually("it began again", || sessions(&s, "a").len() == 2);
    let two = sessions(&s, "a");
    assert_ne!(two[0].0, two[1].0);
    assert!(two.iter().all(|(_, reason)| reason == "start"));
}

#[test]
fn a_lost_transcript_is_no_crash_loop() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let a = s.up("a");
    say(&s, "a", "gone soon");
    std::fs::remove_dir_all(s.state("agents/a/conversation")).unwrap();
    s.kill_agent(&a, Signal::KILL);
    let now = s.back("a", &a);
    assert_eq!(now.restarts, 1);
    // A damaged record, too, is said, and no loop.
    s.write(&s.state("conversations/a.json"), "{\"version\": 1, \"run");
    s.kill_agent(&now, Signal::KILL);
    eventually("it is refused", || s.agent("a").active == "failed");
    assert_eq!(s.agent("a").status, 78);
    let why = s.status("a")["last_exit"].as_str().unwrap().to_owned();
    assert!(why.contains("damaged"), "{why}");
}
