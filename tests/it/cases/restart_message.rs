//! What a restarted agent is told, when, and that it is told once.

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Agent, Roster, Sandbox, eventually};

const GO_ON: &str = "You were restarted, {agent}. Go on.";

fn agent() -> Agent {
    Agent::demo("a").key("on_restart_message", json!(GO_ON))
}

fn say(s: &Sandbox, text: &str) {
    s.mosaic(&["agent", "send", "a", "-m", text, "--no-preamble"])
        .ok();
}

fn told(s: &Sandbox) -> usize {
    let all = s.messages("a");
    all.iter()
        .filter(|m| *m == "You were restarted, a. Go on.")
        .count()
}

#[test]
fn an_agent_cut_off_in_a_turn_is_told_once() {
    let Some(s) = Roster::new([agent().env("MOSAIC_DEMO_THINK_MS", "60000")]).boot() else {
        return;
    };
    let a = s.up("a");
    say(&s, "work for a minute");
    eventually("it works", || s.status("a")["state"] == "working");
    assert_eq!(told(&s), 0, "not at the first start");
    s.kill_agent(&a, Signal::KILL);
    s.back("a", &a);
    eventually("it is told", || told(&s) == 1);
    eventually("it is recorded", || {
        s.events("a")
            .iter()
            .any(|e| e["event"] == "restart-message" && e["receipt"] == "accepted")
    });
    // The same step again, as a person or a service manager might run it.
    let state = s.state("");
    s.mosaic(&[
        "internal",
        "started",
        "--state",
        state.to_str().unwrap(),
        "a",
    ])
    .ok();
    assert_eq!(told(&s), 1);
}

#[test]
fn an_agent_that_was_idle_is_not_told_unless_always() {
    let both = [
        agent(),
        Agent::demo("b")
            .key("on_restart_message", json!("again"))
            .key("on_restart", json!("always")),
    ];
    let Some(s) = Roster::new(both).boot() else {
        return;
    };
    for name in ["a", "b"] {
        s.mosaic(&["agent", "send", name, "-m", "hello", "--no-preamble"])
            .ok();
        eventually("its turn has ended", || s.status(name)["state"] == "idle");
        let before = s.up(name);
        s.kill_agent(&before, Signal::KILL);
        s.back(name, &before);
    }
    eventually("b is told", || s.messages("b") == ["hello", "again"]);
    eventually("a is ready", || {
        let ready = s
            .events("a")
            .iter()
            .filter(|e| e["event"] == "ready")
            .count();
        ready == 2
    });
    say(&s, "more");
    assert_eq!(s.messages("a"), ["hello", "more"]);
    // A reset begins a conversation: there is nothing to go on with.
    s.mosaic(&["agent", "reset", "b", "--restart"]).ok();
    s.mosaic(&["agent", "send", "b", "-m", "last", "--no-preamble"])
        .ok();
    let all = s.messages("b");
    assert_eq!(all.iter().filter(|m| *m == "again").count(), 1, "{all:?}");
}

#[test]
fn a_supervisor_has_it_said_as_a_unit_does() {
    let Some(s) = Sandbox::plain() else { return };
    Roster::new([agent().env("MOSAIC_DEMO_THINK_MS", "60000")]).write(&s);
    s.mosaic(&["fleet", "up", "--no-systemd", "--no-verify"])
        .ok();
    say(&s, "work for a minute");
    eventually("it works", || s.status("a")["state"] == "working");
    s.mosaic(&["fleet", "restart", "a", "--force"]).ok();
    eventually("it is told", || told(&s) == 1);
    s.mosaic(&["fleet", "stop"]).ok();
}

#[test]
fn a_variable_nobody_knows_is_found_before_anything_starts() {
    let Some(s) = Sandbox::plain() else { return };
    s.write(&s.roster().with_file_name("go.md"), "Hi {agnet}\n");
    Roster::new([
        Agent::demo("a").key("kickstart", json!({"text": "You are {agnet}."})),
        Agent::demo("b").key("kickstart", json!({"file": "go.md"})),
        Agent::demo("c").key("on_restart_message", json!("go on {nmae}")),
        Agent::demo("d").key("kickstart", json!({"text": "{{agnet}} {agent} {x y}"})),
    ])
    .write(&s);
    let out = s.mosaic(&["fleet", "validate"]).code(78);
    for part in [
        "`kickstart.text` for agent `a` names an unknown variable `{agnet}`",
        "go.md` for agent `b` names an unknown variable `{agnet}`",
        "`on_restart_message` for agent `c` names an unknown variable `{nmae}`",
    ] {
        assert!(out.stderr.contains(part), "{part}\n{}", out.stderr);
    }
    assert!(!out.stderr.contains("agent `d`"), "{}", out.stderr);
}
