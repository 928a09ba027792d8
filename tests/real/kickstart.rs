//! The first message of a conversation: sent by the start that begins one, by no other.

use serde_json::json;

use crate::support::{Agent, Roster, Sandbox, eventually, proc};

fn kickstarts(s: &Sandbox, agent: &str) -> Vec<String> {
    let events = s.events(agent);
    let kick = events.iter().filter(|e| e["event"] == "kickstart");
    kick.map(|e| e["receipt"].as_str().unwrap().to_owned())
        .collect()
}

fn agent(name: &str, on: &str) -> Agent {
    Agent::demo(name)
        .key("class", json!("tester"))
        .key("kickstart", json!({"text": "You are {agent}, a {class}."}))
        .key("kickstart_on", json!(on))
}

#[test]
fn a_start_that_begins_a_conversation_sends_it() {
    let roster = Roster::new([
        agent("at-start", "start"),
        agent("at-both", "both"),
        agent("at-reset", "reset"),
    ]);
    let Some(s) = roster.boot() else { return };
    let told = |name: &str, times: usize| {
        let text = format!("You are {name}, a tester.");
        assert_eq!(s.messages(name), vec![text; times], "{name}");
        assert_eq!(kickstarts(&s, name), vec!["accepted"; times], "{name}");
    };
    // The start returns after it.
    told("at-start", 1);
    told("at-both", 1);
    told("at-reset", 0);

    // A conversation that is taken up again has had it.
    for name in ["at-start", "at-both", "at-reset"] {
        let before = s.up(name);
        s.kill_agent(&before, rustix::process::Signal::KILL);
        s.back(name, &before);
    }
    s.mosaic(&["fleet", "restart", "--force"]).ok();
    told("at-start", 1);
    told("at-both", 1);
    told("at-reset", 0);

    // A reset by a restart is both; it is sent once all the same.
    for (name, restarted, cleared) in [("at-start", 2, 2), ("at-both", 2, 3), ("at-reset", 1, 2)] {
        s.mosaic(&["agent", "reset", name, "--restart"]).ok();
        told(name, restarted);
        s.mosaic(&["agent", "reset", name, "--clear"]).ok();
        told(name, cleared);
    }
}

#[test]
fn a_kickstart_that_cannot_be_sent_is_an_event_and_no_failure() {
    let Some(s) = Roster::new([agent("asks", "start").persona("dialog-open")]).boot() else {
        return;
    };
    let place = s.up("asks");
    let events = s.events("asks");
    let event = events.iter().find(|e| e["event"] == "kickstart").unwrap();
    assert_eq!(event["receipt"], "refused", "{event}");
    assert!(
        event["why"].as_str().unwrap().contains("waiting"),
        "{event}"
    );
    assert_eq!(s.messages("asks"), Vec::<String>::new());
    assert_eq!((place.restarts, proc::alive(place.pid)), (0, true));
}

#[test]
fn without_a_service_manager_too() {
    let Some(s) = Sandbox::plain() else { return };
    Roster::new([agent("coder0", "start")]).write(&s);
    s.mosaic(&["fleet", "up", "--no-systemd", "--no-verify"])
        .ok();
    eventually("it was told", || s.messages("coder0").len() == 1);
    s.mosaic(&["fleet", "restart", "--force", "coder0"]).ok();
    assert_eq!(s.messages("coder0"), ["You are coder0, a tester."]);
    s.mosaic(&["fleet", "stop"]).ok();
}
