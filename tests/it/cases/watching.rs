//! Waiting for agents and following what they do.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Agent, Roster, Running, Sandbox, eventually, eventually_some};

fn alone(persona: &str) -> Option<Sandbox> {
    Roster::new([Agent::demo("a")
        .persona(persona)
        .env("MOSAIC_DEMO_THINK_MS", "1000")])
    .boot()
}

fn tell(s: &Sandbox, text: &str) {
    s.mosaic(&["agent", "send", "a", "--no-preamble", "-m", text])
        .ok();
}

/// The states of an agent in a stream of events.
fn states(stream: &Running, agent: &str) -> Vec<String> {
    stream
        .printed()
        .lines()
        .filter_map(|l| serde_json::from_str::<Value>(l).ok())
        .filter(|e| e["event"] == "state" && e["agent"] == agent)
        .filter_map(|e| Some(e["to"].as_str()?.to_owned()))
        .collect()
}

#[test]
fn wait_ends_with_the_turn_and_not_before() {
    let Some(s) = alone("") else { return };
    s.mosaic(&["agent", "wait", "a", "--timeout", "20"]).ok();
    tell(&s, "work");
    let out = s
        .mosaic(&["agent", "wait", "a", "--timeout", "0.2", "--json"])
        .code(75);
    let json = out.json();
    assert_eq!(json["reached"], false);
    assert_eq!(json["agents"][0]["state"], "working");
    let out = s
        .mosaic(&["agent", "wait", "a", "--for", "idle", "--timeout", "20"])
        .ok()
        .says("a: idle");
    // A second of thinking; the slow look alone could take five more.
    assert!(out.took < Duration::from_secs(4), "{:?}", out.took);
    let ended = |s: &Sandbox| {
        s.records("a")
            .iter()
            .any(|r| r["type"] == "assistant" && r["time"].is_string())
    };
    assert!(ended(&s), "it waited for the answer");
}

#[test]
fn a_wait_in_vain_says_what_is_true() {
    let Some(s) = alone("dialog-open") else {
        return;
    };
    s.mosaic(&["agent", "wait", "a", "--for", "waiting", "--timeout", "20"])
        .ok()
        .says("a: waiting");
    s.mosaic(&["agent", "wait", "a", "--timeout", "0.3"])
        .code(75)
        .says("a: not idle, but waiting");
    s.mosaic(&["agent", "wait", "--timeout", "1"]).code(2);
    s.mosaic(&["agent", "wait", "nobody", "--timeout", "1"])
        .code(78);
    s.mosaic(&["agent", "wait", "a", "--timeout", "-1"]).code(2);
}

#[test]
fn a_death_ends_a_wait_for_it() {
    let Some(s) = Roster::new([
        Agent::demo("a").key("restart", json!("never")),
        Agent::demo("b"),
    ])
    .boot() else {
        return;
    };
    s.mosaic(&["agent", "wait", "a", "b", "--timeout", "20"])
        .ok();
    let waits = s.start(&["agent", "wait", "a", "--for", "exited", "--timeout", "20"]);
    let any = s.start(&[
        "agent",
        "wait",
        "a",
        "b",
        "--any",
        "--for",
        "exited",
        "--timeout",
        "20",
        "--json",
    ]);
    let both = s.start(&[
        "agent",
        "wait",
        "a",
        "b",
        "--for",
        "exited",
        "--timeout",
        "2",
    ]);
    let a = s.up("a");
    s.kill_agent(&a, Signal::KILL);
    waits.wait().ok().says("a: exited");
    let json = any.wait().ok().json();
    assert_eq!(json["reached"], true);
    both.wait().code(75).says("b: not exited, but idle");
}

#[test]
fn events_show_every_state_in_order() {
    let Some(s) = alone("") else { return };
    s.mosaic(&["agent", "wait", "a", "--timeout", "20"]).ok();
    let mut stream = s.start(&["agent", "events", "-f", "--json"]);
    eventually("the present state is shown", || {
        states(&stream, "a") == ["idle"]
    });
    tell(&s, "work");
    eventually("it worked", || {
        states(&stream, "a") == ["idle", "working", "idle"]
    });
    tell(&s, "PLEASE ASK me");
    eventually("it asks", || {
        states(&stream, "a").last().is_some_and(|l| l == "waiting")
    });
    let seen = states(&stream, "a");
    assert_eq!(seen[..3], ["idle", "working", "idle"], "{seen:?}");
    // It may ask so soon that its work is not seen.
    assert!(
        seen[3..] == ["waiting"] || seen[3..] == ["working", "waiting"],
        "{seen:?}"
    );
    let question = stream
        .printed()
        .lines()
        .filter_map(|l| serde_json::from_str::<Value>(l).ok())
        .find(|e| e["to"] == "waiting")
        .unwrap();
    assert_eq!(question["evidence"]["source"], "transcript");
    assert!(question["from"].is_string() && question["time"].is_string());
    // What the log says comes in the same stream.
    assert!(
        stream.printed().lines().any(|l| l.contains("\"command\"")),
        "{}",
        stream.printed()
    );
    s.mosaic(&["agent", "wait", "a", "--for", "waiting", "--timeout", "5"])
        .ok();
    stream.signal(Signal::INT);
    stream.wait().ok().quiet();
}

#[test]
fn events_end_quietly_when_nobody_reads_them() {
    let Some(s) = alone("") else { return };
    s.mosaic(&["agent", "wait", "a", "--timeout", "20"]).ok();
    // Nothing happens after the first line: the end must not wait for a next one.
    let line = format!(
        "timeout 20 {} agent events -f | head -n 1",
        s.path("bin/mosaic").display()
    );
    let out = s.run("sh", &["-c", &line]).ok().says("idle").quiet();
    assert!(out.took < Duration::from_secs(10), "{:?}", out.took);
    s.mosaic(&["agent", "events", "-n", "5"])
        .ok()
        .says("started, pid");
}

#[test]
fn an_agent_that_comes_later_is_followed_and_its_failure_shown() {
    let agent = Agent::demo("a").key("start_limit", json!({"burst": 2, "interval": "60s"}));
    let Some(s) = Roster::new([agent]).boot() else {
        return;
    };
    s.mosaic(&["agent", "wait", "a", "--timeout", "20"]).ok();
    let mut stream = s.start(&["agent", "events", "-f", "--json"]);
    eventually("the present state is shown", || {
        states(&stream, "a") == ["idle"]
    });
    let first = s.up("a");
    s.kill_agent(&first, Signal::KILL);
    let second = s.back("a", &first);
    s.kill_agent(&second, Signal::KILL);
    let seen = eventually_some("its failure is shown", || {
        let seen = states(&stream, "a");
        (seen.last().is_some_and(|l| l == "failed")).then_some(seen)
    });
    assert!(seen.contains(&"exited".to_owned()), "{seen:?}");
    stream.signal(Signal::TERM);
    stream.wait().ok();
}

#[test]
fn ask_prints_the_answer_of_its_own_turn() {
    let Some(s) = alone("") else { return };
    s.mosaic(&["agent", "wait", "a", "--timeout", "20"]).ok();
    let out = s
        .mosaic(&["agent", "ask", "a", "--no-preamble", "-m", "how are you?"])
        .ok();
    let said = |s: &Sandbox| -> Vec<String> {
        let records = s.records("a");
        let texts = records.iter().filter(|r| r["type"] == "assistant");
        texts
            .filter_map(|r| Some(r["text"].as_str()?.to_owned()))
            .collect()
    };
    assert_eq!(out.stdout.trim_end(), said(&s).last().unwrap().trim_end());
    assert!(!out.stdout.trim().is_empty());
    let out = s
        .mosaic(&["agent", "ask", "a", "-m", "and now?", "--json"])
        .ok();
    let json = out.json();
    assert_eq!(json["receipt"], "answered");
    assert_eq!(json["answer"].as_str(), said(&s).last().map(String::as_str));
    // What it asks is no answer.
    s.mosaic(&["agent", "ask", "a", "-m", "PLEASE ASK me", "--timeout", "2"])
        .code(75)
        .warns("accepted");
    s.mosaic(&["agent", "ask", "a", "-m", "x", "--queue"])
        .code(2);
}

/// tmux before 3.7 ends where it has something to tell its control clients while one of them begins.
#[test]
fn no_server_ends_of_watchers_that_begin_while_sessions_come_and_go() {
    use mosaic::host::control::Control;
    use mosaic::host::tmux::{NewSession, Tmux};
    use std::sync::atomic::{AtomicBool, Ordering};

    let Some(s) = alone("") else { return };
    let tmux = Tmux {
        program: crate::support::tmux().unwrap(),
        socket: s.socket(),
    };
    let server = || {
        let out = s.tmux(&["display-message", "-p", "#{pid}"]).ok();
        out.stdout.trim().to_owned()
    };
    let (before, enough) = (server(), AtomicBool::new(false));
    let begun = std::thread::scope(|threads| {
        for n in 0..2 {
            let (tmux, enough) = (&tmux, &enough);
            threads.spawn(move || {
                let command = ["sleep", "100"].map(str::to_owned);
                for i in 0.. {
                    if enough.load(Ordering::Relaxed) {
                        return;
                    }
                    let name = format!("x{n}-{i}");
                    let made = tmux.new_session(&NewSession {
                        name: &name,
                        agent: "",
                        directory: "/".as_ref(),
                        command: &command,
                    });
                    let closed = made.map(|_| tmux.kill_session(&name));
                    assert!(matches!(closed, Ok(Ok(()))), "{closed:?}");
                }
            });
        }
        // One that must not begin yet comes later.
        let begun = (0..150)
            .filter(|_| Control::attach(&tmux, "a").is_ok())
            .count();
        enough.store(true, Ordering::Relaxed);
        begun
    });
    assert!(begun > 30, "{begun}");
    assert_eq!(server(), before, "another server");
}
