//! opencode by its HTTP interface: messages are accepted and reach the model once, whatever stands on the
//! screen; conversations survive what kills opencode; what it asks and when it works is known.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cli::{Real, installed};
use crate::support::{Agent, Output, eventually, proc};

/// Needs more memory and more time than the others; two of them at once take what two cores have.
fn up(real: &Real, agents: impl IntoIterator<Item = Agent>) {
    real.roster(agents)
        .default("ready_timeout", json!("90s"))
        .up(&real.s);
}

fn send(real: &Real, agent: &str, text: &str, wait: &str) -> Output {
    real.s
        .mosaic(&["agent", "send", agent, "-m", text, "--wait", wait, "--json"])
}

/// Kills an agent and waits until it is back. A start takes 5 s on an idle machine, and has taken 30 on
/// a busy one.
#[track_caller]
fn kill(real: &Real, agents: &[&str]) {
    let before: Vec<i32> = agents.iter().map(|name| real.pid(name)).collect();
    for pid in &before {
        proc::kill(*pid, Signal::KILL);
    }
    for (name, pid) in agents.iter().zip(before) {
        eventually(&format!("`{name}` is started again"), || {
            real.s.status(name)["pid"]
                .as_i64()
                .is_some_and(|p| p != i64::from(pid))
        });
        let wait = ["agent", "wait", name, "--for", "idle", "--timeout", "60"];
        real.s.mosaic(&wait).ok();
    }
}

/// The session that an agent reported last; null where it shows none.
fn shown(real: &Real, agent: &str) -> Value {
    let reports = real.s.state("agents").join(agent).join("reports.jsonl");
    let reports = std::fs::read_to_string(reports).unwrap();
    let mut all = reports
        .lines()
        .filter_map(|l| serde_json::from_str::<Value>(l).ok());
    let last = all.rfind(|r| r["event"] == "session");
    last.unwrap()["id"].clone()
}

/// How often a message arrived at the model, as it was sent and not as part of another.
fn arrived(real: &Real, text: &str) -> usize {
    assert_eq!(real.model.arrivals(text), real.model.arrived_whole(text));
    real.model.arrived_whole(text)
}

#[test]
fn opencode_lives() {
    let Some(real) = Real::new(true) else { return };
    let s = &real.s;
    let (a, b) = ("oc0", "oc1");
    // The role is of the launch, and opencode's interface knows nothing of it.
    let planner = json!([installed("opencode").unwrap(), "--agent", "plan"]);
    let planner = real.opencode(b).key("command", planner);
    real.opencode_database();
    up(&real, [real.opencode(a), planner]);
    for name in [a, b] {
        let wait = ["agent", "wait", name, "--for", "idle", "--timeout", "90"];
        s.mosaic(&wait).ok();
        let pid = real.pid(name);
        // The secret is in no argument, and opencode has it.
        let secret = proc::environ(pid)["OPENCODE_SERVER_PASSWORD"].clone();
        assert!(secret.len() >= 32);
        assert!(proc::cmdline(pid).iter().all(|arg| !arg.contains(&secret)));
    }

    // Each begins a session of its own, although they share a directory and a database.
    let out = send(&real, a, "first words", "10").ok().json();
    assert_eq!(
        (&out["receipt"], &out["channel"]),
        (&json!("accepted"), &json!("opencode-http"))
    );
    let evidence = out["evidence"].to_string();
    assert!(evidence.contains("opencode has it as msg_"), "{evidence}");
    eventually("it reaches the model", || {
        real.model.turns("first words").len() == 1
    });
    real.tell(b, "other words", 0, None);
    let first = shown(&real, a);
    assert_ne!(first, shown(&real, b));
    assert!(
        real.model.turns("other words")[0]
            .raw
            .iter()
            .any(|t| t.contains("Plan Mode"))
    );

    // Killed at the same time: each finds its own conversation.
    kill(&real, &[a, b]);
    real.tell(a, "second words", 1, Some("first words"));
    real.tell(b, "more of the other", 1, Some("other words"));
    assert_eq!(real.conversation(a)["id"], first);

    s.mosaic(&["fleet", "stop"]).ok();
    assert_eq!(real.processes(), Vec::<String>::new());
}

#[test]
fn opencode_begins_anew() {
    let Some(real) = Real::new(true) else { return };
    let s = &real.s;
    let a = "oc0";
    up(&real, [real.opencode(a)]);
    real.tell(a, "first words", 0, None);
    let first = shown(&real, a);

    // A reset begins a session, which is shown and empty, and is the one that is taken up again.
    let reset = s
        .mosaic(&["agent", "reset", a, "--clear", "--json"])
        .ok()
        .json();
    let told = reset["evidence"].to_string();
    assert!(told.contains("it holds no message"), "{reset}");
    assert_eq!(reset["conversation"], shown(&real, a));
    assert_ne!(reset["conversation"], first);
    kill(&real, &[a]);
    real.tell(a, "after a reset", 0, None);

    // A person begins anew, and whoever writes next follows.
    real.state(a, "idle");
    s.type_into(a, "/new");
    eventually("the command is offered", || {
        s.screen(a).contains("New session")
    });
    s.press(a, "Enter");
    eventually("the first page is back", || shown(&real, a) == Value::Null);
    real.tell(a, "after a person's reset", 0, None);
    real.state(a, "idle");
    s.mosaic(&["agent", "reset", a, "--restart"]).ok();
    real.tell(a, "after a restart", 0, None);
}

#[test]
fn opencode_gets_messages_whole_and_once() {
    let Some(real) = Real::new(false) else { return };
    let s = &real.s;
    let a = "oc0";
    real.roster([real.opencode(a)])
        .default("ready_timeout", json!("90s"))
        .write(s);
    s.mosaic(&["fleet", "up", "--no-systemd", "--no-verify"])
        .ok();
    real.state(a, "idle");

    // A person's draft stays as it is.
    s.type_into(a, "half a thought");
    eventually("the draft is there", || {
        s.screen(a).contains("half a thought")
    });
    let big = "0123456789 abcdef\t".repeat(60 * 1024 / 18) + "end";
    let texts = [
        "quotes ' \" ` $(touch approved-marker) \\ %s",
        "tabs\tand\t\ttabs",
        "two\nlines\n\nand a third",
        "unicode é 🦀 漢字",
        "```\nfence\n```",
        "ends in @word",
        "!ls",
        "/new",
        "#heading",
        "-dash",
        big.as_str(),
    ];
    for text in texts {
        let file = s.path("message");
        s.write(&file, text);
        let file = file.to_string_lossy().into_owned();
        let args = [
            "agent",
            "send",
            a,
            "--no-preamble",
            "-f",
            &file,
            "--wait",
            "30",
            "--json",
        ];
        let out = s.mosaic(&args).ok().json();
        assert_eq!(out["receipt"], "accepted", "{out}");
        let start: String = text.chars().take(20).collect();
        eventually(&format!("{start:?} reaches the model"), || {
            arrived(&real, text) == 1
        });
    }
    assert!(s.screen(a).contains("half a thought"), "{}", s.screen(a));

    // While it works, and while it asks, nothing is handed over.
    send(&real, a, "please use the TOOL", "30").ok();
    let status = real.state(a, "waiting");
    assert_eq!(status["evidence"]["what"], "bash touch approved-marker");
    let early = send(&real, a, "while it asks", "1");
    assert_ne!(early.json()["receipt"], "accepted", "{}", early.stdout);
    assert!(
        early.stdout.contains("asks: bash touch approved-marker"),
        "{}",
        early.stdout
    );
    real.state(a, "waiting");
    assert_eq!(arrived(&real, "while it asks"), 0);
    assert!(!s.path("work/approved-marker").exists());
    s.press(a, "Escape");
    real.state(a, "idle");
    assert!(!s.path("work/approved-marker").exists());

    send(&real, a, "SLEEP 3 and answer", "30").ok();
    real.state(a, "working");
    let late = send(&real, a, "after its turn", "30").ok().json();
    assert_eq!(late["receipt"], "accepted", "{late}");
    let turns = real.model.turns("after its turn");
    assert!(turns.is_empty() || turns[0].history.iter().any(|m| m.contains("SLEEP 3")));
    eventually("it reaches the model", || {
        !real.model.turns("after its turn").is_empty()
    });

    // One that stands still takes nothing, and is not believed to have taken anything.
    real.state(a, "idle");
    let pid = real.pid(a);
    proc::kill(pid, Signal::STOP);
    let stopped = send(&real, a, "to one that stands still", "1");
    assert_ne!(stopped.json()["receipt"], "accepted", "{}", stopped.stdout);
    proc::kill(pid, Signal::CONT);

    // A limit of the provider is no crash, and no rest either.
    real.state(a, "idle");
    send(&real, a, "LIMIT 30", "30").ok();
    real.state(a, "rate-limited");
    s.press(a, "Escape");
}
