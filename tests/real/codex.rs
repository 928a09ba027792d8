//! codex by its app-server: messages arrive byte for byte whatever the terminal shows, a person's draft
//! and an open dialog are left alone, and neither the agent nor its app-server outlives the other.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::cli::Real;
use crate::support::{eventually, eventually_some, proc};

/// Sends by the app-server, as it is; the receipt.
#[track_caller]
fn send(real: &Real, agent: &str, text: &str) -> Value {
    let args = ["agent", "send", agent, "--no-preamble", "-f", "-", "--json"];
    let out = real.s.mosaic_with(&args, text.as_bytes()).ok();
    let receipt = out.json();
    assert_eq!(receipt["receipt"], "accepted", "{receipt}");
    assert_eq!(receipt["channel"], "codex-server", "{receipt}");
    receipt
}

/// The processes of an agent's app-server, without mosaic's own beside it.
fn servers(real: &Real, agent: &str) -> Vec<i32> {
    let socket = format!("/{agent}.codex");
    let mut found = real.s.processes();
    found.retain(|pid| {
        let words = proc::cmdline(*pid);
        let listens = words.last().is_some_and(|w| w.ends_with(&socket));
        listens && !words[0].ends_with("/mosaic")
    });
    assert!(!found.is_empty());
    found
}

/// Stops the fleet and sees that nothing is left.
fn stop(real: &Real) {
    real.s.mosaic(&["fleet", "stop"]).ok();
    eventually("nothing is left", || real.processes().is_empty());
}

#[test]
fn codex_lives() {
    let Some(real) = Real::new(true) else { return };
    let s = &real.s;
    let names = ["cx0", "cx1"];
    real.roster(names.map(|name| real.codex(name))).up(s);
    for name in names {
        real.state(name, "idle");
    }
    real.tell("cx0", "first words", 0, None);
    real.tell("cx1", "other words", 0, None);

    // Killed at the same time: each finds its own conversation, although they share a directory.
    let before = names.map(|name| real.pid(name));
    for pid in before {
        proc::kill(pid, Signal::KILL);
    }
    for (name, pid) in names.into_iter().zip(before) {
        real.returns(name, pid);
    }
    real.tell("cx0", "second words", 1, Some("first words"));
    real.tell("cx1", "more of the other", 1, Some("other words"));
    let id = real.conversation("cx0")["id"].clone();
    assert_ne!(id, real.conversation("cx1")["id"]);

    // A terminal interface whose app-server is gone does not recover: both begin anew.
    let pid = real.pid("cx0");
    for server in servers(&real, "cx0") {
        proc::kill(server, Signal::KILL);
    }
    real.returns("cx0", pid);
    real.tell("cx0", "third words", 2, Some("second words"));

    let before = names.map(|name| real.pid(name));
    proc::kill(s.server().unwrap(), Signal::KILL);
    for (name, pid) in names.into_iter().zip(before) {
        real.returns(name, pid);
    }
    real.tell("cx0", "fourth words", 3, Some("third words"));

    // A reset empties the context, and survives a kill before and after the next message.
    for again in ["after a reset", "after a second reset"] {
        s.mosaic(&["agent", "reset", "cx0", "--clear"]).ok();
        real.kill("cx0");
        real.tell("cx0", again, 0, None);
        real.kill("cx0");
        real.tell("cx0", &format!("and more {again}"), 1, Some(again));
    }
    s.mosaic(&["agent", "reset", "cx0", "--restart"]).ok();
    real.tell("cx0", "after a restart", 0, None);

    stop(&real);
    s.mosaic(&["fleet", "start"]).ok();
    real.tell("cx0", "after a stop", 1, Some("after a restart"));
    real.tell(
        "cx1",
        "the other after a stop",
        2,
        Some("more of the other"),
    );
    stop(&real);
}

#[test]
fn codex_takes_messages_whatever_its_terminal_shows() {
    let Some(real) = Real::new(false) else { return };
    let s = &real.s;
    real.roster([real.codex("cx0")]).write(s);
    s.mosaic(&["fleet", "up", "--no-systemd", "--no-verify"])
        .ok();
    real.state("cx0", "idle");

    let long = format!("{}\n", "a long line with żółć and 日本, ".repeat(10)).repeat(150);
    assert!((50_000..64_000).contains(&long.len()), "{}", long.len());
    let kinds = [
        "quotes ' \" `whoami` $(whoami)",
        "tabs\tand\t\tmore",
        "👩‍👩‍👧 and é",
        "# not a comment\n- not an option\n\n  indented\n```rs\nfn x() {}\n```",
        "--help",
        "see @work",
        "/etc/hosts is a file",
        long.trim_end(),
    ];
    s.type_into("cx0", "half a thought");
    eventually("the draft is there", || {
        s.screen("cx0").contains("half a thought")
    });
    for text in kinds {
        send(&real, "cx0", text);
        eventually("it reaches the model", || {
            real.model.arrived_whole(text) == 1
        });
    }
    assert!(s.screen("cx0").contains("half a thought"));

    // In a turn: it waits for the end, and neither interrupts nor joins what goes on.
    send(&real, "cx0", "SLEEP 3 first");
    real.state("cx0", "working");
    let begun = Instant::now();
    send(&real, "cx0", "after the turn");
    assert!(begun.elapsed() > Duration::from_secs(1), "it steered");
    let turn = eventually_some("its own turn", || real.model.turns("after the turn").pop());
    let first = turn.history.len().checked_sub(2).unwrap();
    assert_eq!(turn.history[first], "SLEEP 3 first");
    assert!(!real.model.turns("SLEEP 3 first")[0].hung_up);

    // A question is for a person: nothing answers it, and a message waits.
    send(&real, "cx0", "use the TOOL");
    let status = real.state("cx0", "waiting");
    let asked = status["evidence"]["what"].as_str().unwrap();
    assert_eq!(asked, "run `touch approved-marker`?");
    s.mosaic(&["agent", "send", "cx0", "-m", "for later", "--timeout", "1"])
        .code(75);
    real.state("cx0", "waiting");
    assert_eq!(real.model.arrivals("for later"), 0);
    let marker = s.path("work/approved-marker");
    s.press("cx0", "Escape");
    real.state("cx0", "idle");
    assert!(!marker.exists());

    // A person's answer goes to codex itself, to the question that was meant.
    for (verb, made) in [("deny", false), ("approve", true)] {
        send(&real, "cx0", &format!("use the TOOL, to {verb}"));
        real.state("cx0", "waiting");
        s.mosaic(&["agent", verb, "cx0"])
            .ok()
            .says("run `touch approved-marker`?");
        real.state("cx0", "idle");
        assert_eq!(marker.exists(), made);
    }
    assert_eq!(real.model.arrivals("for later"), 1);
    assert!(s.screen("cx0").contains("half a thought"));
    stop(&real);
}

#[test]
fn a_burst_to_codex_is_one_turn_each() {
    let Some(real) = Real::new(false) else { return };
    let s = &real.s;
    real.roster([real.codex("a"), real.codex("ab")]).write(s);
    s.mosaic(&["fleet", "up", "--no-systemd", "--no-verify"])
        .ok();
    for name in ["a", "ab"] {
        real.state(name, "idle");
    }
    std::thread::scope(|scope| {
        for i in 0..10 {
            let real = &real;
            let agent = if i % 2 == 0 { "a" } else { "ab" };
            scope.spawn(move || {
                let text = format!("sender {i} to {agent}.");
                real.s
                    .mosaic(&["agent", "send", agent, "-m", &text, "--timeout", "60"])
                    .ok();
            });
        }
    });
    for i in 0..10 {
        let (agent, other) = if i % 2 == 0 { ("a", "ab") } else { ("ab", "a") };
        let text = format!("sender {i} to {agent}.");
        eventually("it reaches the model", || real.model.arrivals(&text) == 1);
        let turns = real.model.turns(&text);
        assert_eq!(turns.len(), 1, "{text}");
        let newest = turns[0].history.last().unwrap();
        assert!(
            newest.ends_with(&text) && !newest.contains('\n'),
            "{newest}"
        );
        let strange = format!(":{other}]");
        assert!(turns[0].history.iter().all(|m| !m.contains(&strange)));
    }
}

#[test]
fn a_sender_of_codex_that_is_killed_loses_nothing_and_doubles_nothing() {
    let Some(real) = Real::new(false) else { return };
    let s = &real.s;
    real.roster([real.codex("cx0")]).write(s);
    s.mosaic(&["fleet", "up", "--no-systemd", "--no-verify"])
        .ok();
    real.state("cx0", "idle");
    // From before the first look at the agent to behind the last one, on a machine of any speed.
    for step in 0..16 {
        let text = format!("message {step}.");
        let id = format!("killed-{step}");
        let args = ["agent", "send", "cx0", "-m", &text, "--id", &id];
        let mut sender = s.start(&args);
        std::thread::sleep(Duration::from_millis(step * 8));
        sender.signal(Signal::KILL);
        drop(sender);
        // The same id again: what is there already is told, what is not is delivered now.
        let out = s.mosaic(&[&args[..], &["--timeout", "30", "--json"]].concat());
        let receipt = out.ok().json()["receipt"].clone();
        // Its turn may be over by now.
        assert!(receipt == "accepted" || receipt == "answered", "{receipt}");
        eventually("it reaches the model", || real.model.arrivals(&text) > 0);
    }
    real.state("cx0", "idle");
    for step in 0..16 {
        assert_eq!(real.model.arrivals(&format!("message {step}.")), 1);
    }
}
