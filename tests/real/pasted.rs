//! gemini and goose, whose only way in is their terminal: messages are accepted by their own records,
//! conversations outlive a kill, a reset empties the context, and neither a draft nor an open dialog is
//! ever typed into.

use crate::cli::Real;
use crate::model::Turn;
use crate::support::{Agent, eventually, eventually_some};

/// Sends; it is accepted, and reaches the model with so many messages before it.
#[track_caller]
fn tell(real: &Real, agent: &str, text: &str, history: usize) {
    real.state(agent, "idle");
    let args = ["agent", "send", agent, "-m", text, "--json"];
    let out = real.s.mosaic(&args).ok();
    let receipt = out.json();
    assert!(
        receipt["receipt"] == "accepted" || receipt["receipt"] == "answered",
        "{receipt}"
    );
    assert_eq!(receipt["channel"], "paste", "{receipt}");
    let turn: Turn = eventually_some(&format!("`{text}` reaches the model"), || {
        real.model.turns(&format!(":{agent}] {text}")).pop()
    });
    assert_eq!(turn.history.len(), history + 1, "{:?}", turn.history);
    assert_eq!(real.model.arrivals(text), 1);
}

fn lives(real: &Real, agent: Agent, name: &str) {
    let s = &real.s;
    real.roster([agent]).write(s);
    s.mosaic(&["fleet", "up", "--no-systemd", "--no-verify"])
        .ok();
    tell(real, name, "first words", 0);
    tell(real, name, "tabs\there\n\n  and żółć 👩‍👩‍👧", 1);
    let long = "a line of a long message, ".repeat(150);
    tell(real, name, long.trim_end(), 2);

    real.state(name, "idle");
    real.kill(name);
    tell(real, name, "after a kill", 3);

    // What a person began to type stays, and nothing joins it.
    s.type_into(name, "half a thought");
    eventually("the draft is there", || {
        s.screen(name).contains("half a thought")
    });
    let send = |text: &str| {
        let args = [
            "agent",
            "send",
            name,
            "-m",
            text,
            "--no-queue",
            "--wait",
            "1",
            "--json",
        ];
        s.mosaic(&args).json()["receipt"].clone()
    };
    assert_ne!(send("beside a draft"), "accepted");
    assert!(s.screen(name).contains("half a thought"));
    s.press(name, "Enter");
    eventually("the draft goes alone", || {
        real.model.arrived_whole("half a thought") == 1
    });
    real.state(name, "idle");

    // An open dialog gets neither text nor Enter.
    let args = ["agent", "send", name, "-m", "TOOL please"];
    s.mosaic(&args).ok();
    real.state(name, "waiting");
    assert_ne!(send("into a dialog"), "accepted");
    real.state(name, "waiting");
    assert!(!s.path("work/approved-marker").exists());
    s.mosaic(&["agent", "deny", name]).ok();
    real.state(name, "idle");
    assert!(!s.path("work/approved-marker").exists());
    assert_eq!(real.model.arrivals("into a dialog"), 0);

    s.mosaic(&["agent", "reset", name, "--clear"]).ok();
    tell(real, name, "after a reset", 0);
    // An answer that it had not written down yet would be missing in its history.
    real.state(name, "idle");
    real.kill(name);
    tell(real, name, "after a reset and a kill", 1);

    let answer = s.mosaic(&["agent", "ask", name, "-m", "a question"]).ok();
    assert!(answer.stdout.starts_with("ok: "), "{}", answer.stdout);
    s.mosaic(&["fleet", "stop"]).ok();
}

#[test]
fn gemini_lives() {
    let Some(real) = Real::new(false) else { return };
    lives(&real, real.gemini("gm0"), "gm0");
}

#[test]
fn goose_lives() {
    let Some(real) = Real::new(false) else { return };
    lives(&real, real.goose("go0"), "go0");
}
