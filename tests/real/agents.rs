//! claude and pi come up, take messages, keep their conversations through everything that kills them,
//! and leave nothing behind.

use rustix::process::Signal;
use serde_json::json;

use crate::cli::Real;
use crate::support::{Agent, eventually, proc};

const MEMORY: u64 = 1_500_000_000;

/// Two agents of a runtime in one directory: their life from the first start to the last stop.
fn life(real: &Real, names: [&str; 2], agents: [Agent; 2]) {
    let [a, b] = names;
    let limits = json!({"memory_max": MEMORY.to_string(), "tasks_max": 400});
    let agents = agents.map(|agent| agent.key("limits", limits.clone()));
    let s = &real.s;
    // A first start has nothing to resume.
    real.roster(agents).up(s);
    for name in names {
        let place = s.up(name);
        real.state(name, "idle");
        assert_eq!(s.unit(&crate::support::unit_name(name)).restarts, 0);
        let limit = proc::limit(place.pid, "memory", "memory.max", "memory.limit_in_bytes");
        if let Some(limit) = limit {
            // The kernel counts in pages.
            assert_eq!(limit, (MEMORY / 4096 * 4096).to_string());
        }
    }

    real.tell(a, "first words", 0, None);
    real.tell(b, "other words", 0, None);
    let id = real.conversation(a)["id"].clone();
    assert_ne!(id, real.conversation(b)["id"]);

    // Killed at the same time: each finds its own conversation, although they share a directory.
    let before = names.map(|name| real.pid(name));
    for pid in before {
        proc::kill(pid, Signal::KILL);
    }
    for (name, pid) in names.into_iter().zip(before) {
        real.returns(name, pid);
    }
    real.tell(a, "second words", 1, Some("first words"));
    real.tell(b, "more of the other", 1, Some("other words"));
    assert_eq!(real.conversation(a)["id"], id);

    let before = names.map(|name| real.pid(name));
    proc::kill(s.server().unwrap(), Signal::KILL);
    for (name, pid) in names.into_iter().zip(before) {
        real.returns(name, pid);
    }
    real.tell(a, "third words", 2, Some("second words"));

    // A person's draft stays as it is.
    s.type_into(a, "half a thought");
    eventually("the draft is there", || {
        s.screen(a).contains("half a thought")
    });
    // What goes by the terminal waits for it; what goes past the terminal does not touch it.
    if a.starts_with("pi") {
        real.tell(a, "past a draft", 3, Some("third words"));
        real.state(a, "idle");
    } else {
        real.refused(a, "not over a draft", "a draft stands in the box");
    }
    s.mosaic(&["agent", "reset", a, "--clear"]).code(75);
    assert!(s.screen(a).contains("half a thought"));
    s.press(a, "C-u");
    eventually("the draft is gone", || {
        !s.screen(a).contains("half a thought")
    });

    // A reset empties the context, and survives a kill before and after the next message.
    for again in ["after a reset", "after a second reset"] {
        s.mosaic(&["agent", "reset", a, "--clear"]).ok();
        real.kill(a);
        real.tell(a, again, 0, None);
        real.kill(a);
        real.tell(a, &format!("and more {again}"), 1, Some(again));
    }
    s.mosaic(&["agent", "reset", a, "--restart"]).ok();
    real.tell(a, "after a restart", 0, None);
    assert_ne!(real.conversation(a)["id"], id);

    stop(real);
    s.mosaic(&["fleet", "start"]).ok();
    real.tell(a, "after a stop", 1, Some("after a restart"));
    real.tell(b, "the other after a stop", 2, Some("more of the other"));
    stop(real);
}

/// Stops the fleet and sees that nothing is left.
fn stop(real: &Real) {
    real.s.mosaic(&["fleet", "stop"]).ok();
    eventually("nothing is left", || real.processes().is_empty());
    assert_eq!(real.s.server(), None);
}

#[test]
fn claude_lives() {
    let Some(real) = Real::new(true) else { return };
    let agents = ["cl0", "cl1"];
    life(&real, agents, agents.map(|name| real.claude(name)));
}

#[test]
fn pi_lives() {
    let Some(real) = Real::new(true) else { return };
    let agents = ["pi0", "pi1"];
    life(&real, agents, agents.map(|name| real.pi(name)));
}

#[test]
fn a_dialog_of_claude_is_answered_by_a_person_alone() {
    let Some(real) = Real::new(true) else { return };
    let s = &real.s;
    real.roster([real.claude("cl0")]).up(s);
    real.tell("cl0", "please use the TOOL", 0, None);
    let status = real.state("cl0", "waiting");
    assert_eq!(status["evidence"]["what"], "Bash touch approved-marker");
    for _ in 0..2 {
        real.refused("cl0", "yes", "a dialog is open");
        s.mosaic(&["agent", "reset", "cl0", "--clear"]).code(1);
    }
    real.state("cl0", "waiting");
    assert!(!s.path("work/approved-marker").exists());
    // Denied: nothing reports that, and it is seen all the same.
    s.press("cl0", "Escape");
    real.state("cl0", "idle");
    assert!(!s.path("work/approved-marker").exists());
}

#[test]
fn a_claude_with_questions_at_its_start_is_up_and_waits() {
    let Some(real) = Real::new(true) else { return };
    let s = &real.s;
    let fresh = s.path("fresh");
    let strange = s.path("strange");
    s.mkdir(&fresh);
    s.mkdir(&strange);
    let new = real
        .claude("new")
        .env("CLAUDE_CONFIG_DIR", &fresh.to_string_lossy());
    let foreign = real
        .claude("foreign")
        .key("working_directory", json!(strange));
    // A dialog is no reason to wait for as long as a start may take.
    let roster = real
        .roster([new, foreign])
        .default("ready_timeout", json!("60s"));
    roster.write(s);
    let up = s.mosaic(&["fleet", "up", "--no-verify"]).ok();
    assert!(up.took.as_secs() < 30, "{:?}", up.took);
    let up = up.warns("answer it: `mosaic agent approve foreign`");
    up.warns("answer it: `mosaic agent approve new`");
    let asks = real.state("foreign", "waiting");
    let asks = asks["evidence"]["what"].as_str().unwrap_or_default();
    assert!(asks.contains("one you trust?"), "{asks}");
    real.state("new", "waiting");
    real.refused("new", "hello there", "a dialog is open");
    real.refused("foreign", "hello there", "a dialog is open");
    assert_eq!(s.unit(&crate::support::unit_name("foreign")).restarts, 0);
}

#[test]
fn without_a_service_manager() {
    let Some(real) = Real::new(false) else { return };
    let s = &real.s;
    let names = ["cl0", "pi0"];
    real.roster([real.claude("cl0"), real.pi("pi0")]).write(s);
    s.mosaic(&["fleet", "up", "--no-systemd", "--no-verify"])
        .ok();
    for name in names {
        real.tell(name, "first words", 0, None);
        real.kill(name);
        real.tell(name, "second words", 1, Some("first words"));
        s.mosaic(&["agent", "reset", name, "--clear"]).ok();
        real.kill(name);
        real.tell(name, "after a reset", 0, None);
    }
    // Nobody is left to notice that the server is gone; the next command is.
    proc::kill(s.server().unwrap(), Signal::KILL);
    s.mosaic(&["fleet", "start"]).ok();
    for name in names {
        real.tell(name, "after a crash", 1, Some("after a reset"));
    }
    stop(&real);
}
