//! Messages and resets: what is said to be delivered was, what is typed is what was meant, and nothing
//! is typed where nobody asked for it.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Agent, Output, Roster, Sandbox, eventually};

fn send(s: &Sandbox, agent: &str, text: &[u8]) -> Output {
    s.mosaic_with(&["agent", "send", agent, "--no-preamble", "--json"], text)
}

fn receipt(out: &Output) -> String {
    out.json()["receipt"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn alone(persona: &str) -> Option<Sandbox> {
    Roster::new([Agent::demo("a").persona(persona)]).boot()
}

/// Sends and asserts that exactly this stands in the transcript.
#[track_caller]
fn stands(s: &Sandbox, agent: &str, text: &str) {
    let out = send(s, agent, text.as_bytes()).ok();
    assert!(
        ["submitted", "accepted", "answered"].contains(&receipt(&out).as_str()),
        "{out:?}"
    );
    eventually("it stands in the transcript", || {
        s.messages(agent).iter().any(|m| m == text)
    });
}

#[test]
fn a_message_stands_in_the_transcript_as_it_was_sent() {
    let Some(s) = alone("") else { return };
    let long = "0123456789 ".repeat(200);
    for text in [
        "hello",
        "trailing semicolon;",
        ";",
        "-x --flags",
        "two\nlines\n\nand a gap",
        "$HOME `id` \"q\" 'p' \\ #{pane_id} %1 !x",
        "tab\there é漢😀",
        "Enter",
        "C-c",
        long.trim_end(),
    ] {
        stands(&s, "a", text);
    }
    assert_eq!(s.messages("a").len(), 10, "each once");
}

#[test]
fn what_could_end_the_paste_is_dropped_and_said() {
    let Some(s) = alone("") else { return };
    let out = send(
        &s,
        "a",
        b"before\x1b[201~\rafter\x03\x04\x7f\xc2\x9b end\xff",
    )
    .ok();
    let dropped = out.json()["dropped"].clone();
    let kinds: Vec<&str> = dropped
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|d| d["kind"].as_str())
        .collect();
    assert!(
        kinds.contains(&"escape") && kinds.contains(&"control") && kinds.contains(&"utf8"),
        "{kinds:?}"
    );
    eventually("it stands in the transcript", || s.messages("a").len() == 1);
    let got = s.messages("a").remove(0);
    assert!(got.starts_with("before[201~\nafter"), "{got:?}");
    assert!(!got.chars().any(|c| c.is_control() && c != '\n'), "{got:?}");
    assert_eq!(s.agent("a").restarts, 0);
}

#[test]
fn a_message_that_is_too_long_to_be_typed_goes_as_a_file() {
    let Some(s) = alone("") else { return };
    let line = "The quick brown fox jumps over the lazy dog. 0123456789\n";
    let large = line.repeat((1 << 20) / line.len());
    let out = send(&s, "a", large.as_bytes()).ok().warns("goes as a file");
    let file = out.json()["as_file"].as_str().unwrap().to_owned();
    assert!(
        std::fs::read_to_string(&file).unwrap() == large,
        "other text than was sent"
    );
    eventually("it stands in the transcript", || s.messages("a").len() == 1);
    assert!(s.messages("a")[0].contains(&file));
    stands(&s, "a", "and a small one");
}

#[test]
fn copy_mode_does_not_swallow_a_message() {
    let Some(s) = alone("") else { return };
    s.tmux(&["copy-mode", "-t", "=a:"]).ok();
    stands(&s, "a", "through copy mode");
}

#[test]
fn a_first_enter_that_is_swallowed_is_pressed_again() {
    let Some(s) = alone("swallow-first-enter") else {
        return;
    };
    stands(&s, "a", "one");
    stands(&s, "a", "two\nlines");
    assert_eq!(s.messages("a"), ["one", "two\nlines"]);
}

#[test]
fn a_message_that_a_completion_changed_is_not_said_to_be_submitted() {
    let Some(s) = alone("complete-first-enter") else {
        return;
    };
    let out = send(&s, "a", b"read @src/ma");
    assert_eq!(receipt(&out), "typed", "{out:?}");
    let json = out.json();
    let reason = json["reason"].as_str().unwrap_or_default();
    assert!(
        reason.starts_with("Enter was pressed, and the box shows `read @src/main.rs`"),
        "{reason}"
    );
    out.code(1);
    assert_eq!(s.messages("a"), Vec::<String>::new());
}

#[test]
fn a_late_echo_is_waited_for() {
    let Some(s) = alone("late-echo=700") else {
        return;
    };
    stands(&s, "a", "one");
    stands(&s, "a", "two");
    assert_eq!(s.messages("a"), ["one", "two"]);
}

#[test]
fn a_slow_start_is_waited_for() {
    let Some(s) = alone("slow-start=1500") else {
        return;
    };
    let a = s.up("a");
    s.kill_agent(&a, Signal::KILL);
    eventually("it is down", || s.place("a").as_ref() != Some(&a));
    stands(&s, "a", "while it starts");
    assert_eq!(s.messages("a"), ["while it starts"]);
}

#[test]
fn floods_of_output_do_not_keep_a_message_away() {
    let Some(s) = alone("flood") else { return };
    stands(&s, "a", "through the flood");
    assert_eq!(s.messages("a"), ["through the flood"]);
}

#[test]
fn nothing_is_typed_into_a_dialog() {
    let Some(s) = alone("dialog-open") else {
        return;
    };
    let say = |more: &str| {
        s.mosaic(&[
            "agent",
            "send",
            "a",
            "-m",
            "yes",
            "--timeout",
            "1",
            "--json",
            more,
        ])
        .code(75)
    };
    assert_eq!(receipt(&say("--no-queue")), "refused");
    let out = say("--no-preamble");
    assert_eq!(receipt(&out), "queued");
    let reason = out.json()["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("a dialog is open"), "{reason}");
    let types: Vec<Value> = s.records("a").iter().map(|r| r["type"].clone()).collect();
    assert!(
        !types
            .iter()
            .any(|t| t == "approved" || t == "denied" || t == "user"),
        "{types:?}"
    );
    assert_eq!(s.status("a")["state"], "waiting");
    // Once it is answered, what waits is delivered, and only that.
    s.press("a", "1");
    s.mosaic(&["agent", "inbox", "flush", "--timeout", "20"])
        .ok();
    eventually("it was told", || {
        s.messages("a").last().is_some_and(|m| m == "yes")
    });
    assert!(!s.messages("a").iter().any(|m| m.ends_with("] yes")));
}

#[test]
fn nothing_is_added_to_somebodys_draft() {
    let Some(s) = alone("draft=half a thought") else {
        return;
    };
    let out = s.mosaic(&[
        "agent",
        "send",
        "a",
        "-m",
        "early",
        "--no-preamble",
        "--wait",
        "1",
        "--json",
    ]);
    let out = out.code(75);
    assert_eq!(receipt(&out), "queued");
    assert!(s.screen("a").contains("half a thought"));
    assert_eq!(s.messages("a"), Vec::<String>::new());
    // The person sends it off; then it works.
    s.press("a", "Enter");
    eventually("the draft was sent", || !s.messages("a").is_empty());
    stands(&s, "a", "message");
    assert_eq!(s.messages("a"), ["half a thought", "early", "message"]);
}

#[test]
fn nothing_is_typed_into_a_shell_or_a_program_nobody_can_read() {
    let Some(s) = Sandbox::booted() else { return };
    let made = s.path("work/made");
    Roster::new([
        Agent::program("sh", &["/bin/bash", "--norc", "-i"]),
        Agent::script("cat", "exec cat >typed"),
        Agent::program("dead", &["/bin/sh", "-c", "exit 78"]).key("restart", json!("never")),
    ])
    .write(&s);
    s.mosaic(&["fleet", "up", "--no-verify"]);
    for agent in ["sh", "cat", "dead"] {
        let text = format!("touch {}", made.display());
        let out = s.mosaic(&[
            "agent",
            "send",
            agent,
            "-m",
            &text,
            "--no-preamble",
            "--wait",
            "0",
            "--json",
        ]);
        assert_eq!(receipt(&out), "refused", "{out:?}");
        out.code(1);
    }
    let left = s.mosaic(&["agent", "inbox", "list", "--json"]).ok();
    assert_eq!(left.json()["messages"], json!([]), "nothing is left behind");
    // What was typed would have been echoed by now: this is.
    s.type_into("sh", "echo mark-$((6*7))\n");
    eventually("the shell answers", || s.screen("sh").contains("mark-42"));
    assert!(!made.exists());
    assert!(!s.screen("sh").contains("touch"), "{}", s.screen("sh"));
    assert_eq!(std::fs::read_to_string(s.path("work/typed")).unwrap(), "");
}

#[test]
fn a_message_for_an_agent_that_is_down_reaches_nobody() {
    let Some(s) = Roster::demo(&["a", "ab"]).boot() else {
        return;
    };
    s.mosaic(&["fleet", "stop", "a"]).ok();
    let out = s.mosaic(&["agent", "send", "a", "-m", "for a", "--wait", "0", "--json"]);
    let out = out.code(75);
    assert_eq!(receipt(&out), "queued");
    let id = out.json()["id"].as_str().unwrap().to_owned();
    s.mosaic(&["agent", "inbox", "cancel", &id]).ok();
    s.tmux(&["kill-session", "-t", "=a"]).ok();
    let out = s.mosaic(&[
        "agent",
        "send",
        "a",
        "-m",
        "for a",
        "--wait",
        "0",
        "--no-queue",
        "--json",
    ]);
    assert_eq!(receipt(&out), "refused", "{out:?}");
    out.code(75);
    s.mosaic(&["agent", "send", "aa", "-m", "x"])
        .code(78)
        .warns("no agent `aa`");
    assert_eq!(s.messages("ab"), Vec::<String>::new());
    assert!(!s.screen("ab").contains("for a"));
}

#[test]
fn many_at_once_do_not_mix() {
    let names: Vec<String> = (0..6).map(|n| format!("agent{n}")).collect();
    let Some(s) = Roster::new(names.iter().map(|n| Agent::demo(n))).boot() else {
        return;
    };
    let text = |n: &str, i: usize| format!("message {i} for {n}\nwith a second line of {n}");
    let running: Vec<_> = (0..4)
        .flat_map(|i| names.iter().map(move |n| (n, i)))
        .map(|(n, i)| {
            s.start(&[
                "agent",
                "send",
                n,
                "--no-preamble",
                "--wait",
                "40",
                "-m",
                &text(n, i),
            ])
        })
        .collect();
    for one in running {
        one.wait().ok();
    }
    for n in &names {
        let mut got = s.messages(n);
        got.sort();
        assert_eq!(got, (0..4).map(|i| text(n, i)).collect::<Vec<_>>());
    }
}

#[test]
fn the_preamble_names_sender_and_agent() {
    let Some(mut s) = Roster::new([
        Agent::demo("a").key("class", json!("x")),
        Agent::demo("b").key("class", json!("x")),
    ])
    .boot() else {
        return;
    };
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let last = |s: &Sandbox, agent: &str| s.messages(agent).last().cloned().unwrap_or_default();
    s.mosaic(&["agent", "send", "a", "-m", "hello"]).ok();
    eventually("it stands there", || {
        last(&s, "a").starts_with(&format!("[{host}:"))
    });
    assert!(
        last(&s, "a").contains(&format!("-> {host}:a]")),
        "{}",
        last(&s, "a")
    );
    s.mosaic(&["agent", "send", "a", "-S", "boss", "-m", "hello"])
        .ok();
    eventually("it stands there", || {
        last(&s, "a").starts_with(&format!("[{host}:boss -> {host}:a]"))
    });
    // An agent that sends is named.
    s.set("MOSAIC_AGENT", "b");
    s.mosaic(&["agent", "send", "a", "-m", "hello"]).ok();
    eventually("it stands there", || {
        last(&s, "a").starts_with(&format!("[{host}:b -> {host}:a]"))
    });
    // Several, by class, from a file.
    s.write(&s.path("work/text"), "from a file\n");
    s.mosaic(&[
        "agent",
        "send",
        "--class",
        "x",
        "-f",
        "text",
        "--no-preamble",
    ])
    .ok();
    for agent in ["a", "b"] {
        eventually("it stands there", || last(&s, agent) == "from a file");
    }
    s.mosaic_with(&["agent", "send", "a", "b"], b"  \n")
        .code(2)
        .warns("empty");
}

#[test]
fn reset_empties_the_context_in_every_way() {
    let Some(s) = alone("") else { return };
    let ids = |s: &Sandbox| -> Vec<(String, String)> {
        s.records("a")
            .iter()
            .filter(|r| r["type"] == "session")
            .map(|r| {
                (
                    r["reason"].as_str().unwrap().to_owned(),
                    r["id"].as_str().unwrap().to_owned(),
                )
            })
            .collect()
    };
    let pid = s.up("a").pid;
    for mode in ["clear", "new"] {
        stands(&s, "a", mode);
        s.mosaic(&["agent", "reset", "a", &format!("--{mode}")])
            .ok();
        let last = ids(&s).pop().unwrap();
        assert_eq!(last.0, mode);
        assert!(
            ids(&s).iter().filter(|i| i.1 == last.1).count() == 1,
            "a new id"
        );
        assert_eq!(s.status("a")["state"], "idle");
    }
    assert_eq!(s.up("a").pid, pid);
    stands(&s, "a", "before the restart");
    let before = ids(&s);
    s.mosaic(&["agent", "reset", "a", "--restart"]).ok();
    assert_ne!(s.up("a").pid, pid);
    let fresh: Vec<_> = ids(&s)
        .into_iter()
        .filter(|i| !before.contains(i))
        .collect();
    assert_eq!(fresh.len(), 1);
    assert_eq!(fresh[0].0, "start", "nothing is resumed");
    stands(&s, "a", "after");
}

#[test]
fn reset_asks_for_what_a_persona_needs() {
    let Some(s) = Roster::new([
        Agent::demo("fixed").key("persistent_persona", json!(true)),
        Agent::demo("semi").key("persistent_persona", json!("semi")),
        Agent::demo("free"),
    ])
    .boot() else {
        return;
    };
    s.mosaic(&["agent", "reset", "fixed"])
        .code(1)
        .warns("--force");
    s.mosaic(&["agent", "reset", "fixed", "--yes"]).code(1);
    s.mosaic(&["agent", "reset", "semi"]).code(1).warns("--yes");
    s.mosaic(&["agent", "reset", "fixed", "--force"]).ok();
    s.mosaic(&["agent", "reset", "semi", "--yes"]).ok();
    s.mosaic(&["agent", "reset", "free"]).ok();
}

#[test]
fn reset_does_not_break_into_work() {
    let Some(s) = Roster::new([Agent::demo("a").env("MOSAIC_DEMO_THINK_MS", "60000")]).boot()
    else {
        return;
    };
    let a = s.up("a");
    send(&s, "a", b"work for a minute").ok();
    eventually("it works", || s.status("a")["state"] == "working");
    for mode in ["--clear", "--new", "--restart"] {
        let out = s.mosaic(&["agent", "reset", "a", mode, "--wait", "1"]);
        assert_ne!(out.status.code(), Some(0), "{out:?}");
    }
    assert_eq!(s.up("a"), a);
    assert!(!s.records("a").iter().any(|r| r["type"] == "interrupted"));
    s.mosaic(&["agent", "reset", "a", "--restart", "--force"])
        .ok();
    s.back("a", &a);
}

#[test]
fn the_kickstart_follows_a_reset() {
    let kickstart = json!({"text": "You are {agent}, a {class}, in {working_directory}."});
    let Some(s) = Roster::new([Agent::demo("a")
        .key("class", json!("coder"))
        .key("kickstart", kickstart)])
    .boot() else {
        return;
    };
    assert_eq!(s.messages("a"), Vec::<String>::new(), "not at a start");
    s.mosaic(&["agent", "reset", "a", "--clear"]).ok();
    let wanted = format!("You are a, a coder, in {}.", s.path("work").display());
    eventually("it was told", || {
        s.messages("a").last().is_some_and(|m| m.contains(&wanted))
    });
}

#[test]
fn the_kickstart_is_sent_at_a_fresh_start_and_not_at_a_resumed_one() {
    let agent = Agent::demo("a")
        .key("kickstart", json!({"text": "begin"}))
        .key("kickstart_on", json!("start"));
    let Some(s) = Roster::new([agent]).boot() else {
        return;
    };
    eventually("it was told", || s.messages("a").len() == 1);
    let a = s.up("a");
    s.kill_agent(&a, Signal::KILL);
    s.back("a", &a);
    eventually("it is idle", || s.status("a")["state"] == "idle");
    stands(&s, "a", "more");
    assert_eq!(s.messages("a").len(), 2, "{:?}", s.messages("a"));
}

#[test]
fn a_pane_that_died_under_remain_on_exit_does_not_take_the_server_along() {
    let Some(s) = Roster::demo(&["a", "b"]).boot() else {
        return;
    };
    let before = (s.server(), s.up("b"));
    let a = s.up("a");
    s.tmux(&["set-option", "-p", "-t", "=a:", "remain-on-exit", "on"])
        .ok();
    crate::support::proc::kill(s.pane("a").unwrap().pid, Signal::KILL);
    let out = s.mosaic(&["agent", "send", "a", "-m", "x", "--wait", "0", "--json"]);
    assert!(
        out.status.code() == Some(0) || receipt(&out) == "queued",
        "{out:?}"
    );
    assert_eq!((s.server(), s.up("b")), before);
    s.kill_agent(&a, Signal::KILL);
    s.back("a", &a);
    stands(&s, "a", "hello again");
}
