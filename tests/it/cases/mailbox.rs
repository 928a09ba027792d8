//! The mailbox: what cannot be delivered now is delivered later, once, and in order; whoever dies in
//! between leaves nothing lost and nothing doubled.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Agent, Output, Roster, Sandbox, eventually};

fn thinking(ms: &str) -> Option<Sandbox> {
    Roster::new([Agent::demo("a").env("MOSAIC_DEMO_THINK_MS", ms)]).boot()
}

/// Sends without preamble, with these arguments.
fn send(s: &Sandbox, text: &str, more: &[&str]) -> Output {
    let mut args = vec!["agent", "send", "a", "--no-preamble", "--json", "-m", text];
    args.extend(more);
    s.mosaic(&args)
}

fn receipt(out: &Output) -> Value {
    out.json()["receipt"].clone()
}

fn inbox(s: &Sandbox, args: &[&str]) -> Output {
    let mut all = vec!["agent", "inbox"];
    all.extend(args);
    s.mosaic(&all)
}

fn listed(s: &Sandbox, more: &[&str]) -> Vec<Value> {
    let mut args = vec!["list", "--json"];
    args.extend(more);
    let out = inbox(s, &args).ok();
    out.json()["messages"].as_array().unwrap().clone()
}

/// Works until Escape is pressed, however long what a test does meanwhile takes on a busy machine.
const LONG: &str = "PLEASE WORK 600000";

#[test]
fn what_comes_while_it_works_is_delivered_later_and_in_order() {
    let Some(s) = thinking("20") else { return };
    send(&s, LONG, &[]).ok();
    for text in ["two", "three"] {
        // Who waits for such an agent is told 75.
        let out = send(&s, text, &["--queue"]).ok();
        assert_eq!(receipt(&out), "queued");
    }
    assert_eq!(s.messages("a"), [LONG]);
    let waiting = listed(&s, &[]);
    assert_eq!(waiting.len(), 2);
    assert!(waiting.iter().all(|m| m["stage"] == "queued"));
    s.press("a", "Escape");
    // The next sender takes along what waits before its own.
    let out = send(&s, "four", &[]).ok();
    assert!(receipt(&out) == "accepted" || receipt(&out) == "answered");
    assert_eq!(s.messages("a"), [LONG, "two", "three", "four"]);
    assert_eq!(listed(&s, &[]), Vec::<Value>::new());
    assert_eq!(listed(&s, &["--all"]).len(), 4);
}

#[test]
fn time_is_up_and_the_true_state_is_said() {
    let Some(s) = thinking("20") else { return };
    send(&s, LONG, &[]).ok();
    let out = send(&s, "two", &["--timeout", "1"]).code(75);
    assert_eq!(receipt(&out), "queued");
    let reason = out.json()["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("is working"), "{reason}");
    // Taken back in time, it is never delivered.
    let out = send(&s, "never", &["--timeout", "1", "--no-queue"]).code(75);
    assert_eq!(receipt(&out), "refused");
    send(&s, "gone by then", &["--queue", "--expires", "1s"]).ok();
    let out = send(&s, "taken back", &["--queue"]).ok();
    let id = out.json()["id"].as_str().unwrap().to_owned();
    inbox(&s, &["cancel", &id]).ok();
    inbox(&s, &["cancel", &id]).ok().says("cancelled");
    // Whoever breaks off leaves it there, and is told so.
    let mut running = s.start(&["agent", "send", "a", "--no-preamble", "-m", "broken off"]);
    eventually("it is stored", || listed(&s, &["a"]).len() == 3);
    running.signal(Signal::INT);
    running.wait().code(75).says("interrupted");
    let stages = || -> Vec<String> {
        let all = listed(&s, &["--all"]);
        all.iter().map(|m| m["stage"].to_string()).collect()
    };
    eventually("what was too late is a dead letter", || {
        stages().iter().any(|stage| stage == "\"expired\"")
    });
    s.press("a", "Escape");
    // The courier may be faster than the flush.
    inbox(&s, &["flush", "--timeout", "30"]);
    let out = send(&s, "last", &["--until", "answered"]).ok();
    assert_eq!(receipt(&out), "answered");
    assert!(out.json()["answer"].as_str().is_some_and(|a| !a.is_empty()));
    assert_eq!(s.messages("a"), [LONG, "two", "broken off", "last"]);
    inbox(&s, &["cancel", out.json()["id"].as_str().unwrap()]).code(1);
}

#[test]
fn ten_senders_at_once_arrive_once_and_in_order_of_acceptance() {
    let Some(s) = thinking("50") else { return };
    let running: Vec<_> = (0..10)
        .map(|n| {
            let text = format!("message {n}\nof ten");
            s.start(&[
                "agent",
                "send",
                "a",
                "--no-preamble",
                "--timeout",
                "60",
                "-m",
                &text,
            ])
        })
        .collect();
    for one in running {
        one.wait().ok();
    }
    let order: Vec<String> = listed(&s, &["--all"])
        .iter()
        .map(|m| m["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(order.len(), 10);
    assert_eq!(s.messages("a"), order);
}

#[test]
fn the_same_id_is_never_typed_twice() {
    let Some(s) = thinking("50") else { return };
    let first = send(&s, "once", &["--id", "job-1"]).ok();
    let again = send(&s, "once", &["--id", "job-1"]).ok();
    assert_eq!(first.json()["id"], again.json()["id"]);
    assert_eq!(receipt(&again), receipt(&first));
    send(&s, "another", &["--id", "job-1"])
        .code(2)
        .warns("job-1");
    send(&s, "x", &["--id", "two words"]).code(2);
    let running: Vec<_> = (0..4)
        .map(|_| {
            s.start(&[
                "agent",
                "send",
                "a",
                "--id",
                "job-2",
                "--no-preamble",
                "-m",
                "all",
            ])
        })
        .collect();
    for one in running {
        one.wait().ok();
    }
    assert_eq!(s.messages("a"), ["once", "all"]);
}

#[test]
fn what_has_left_is_found_out_about_though_nobody_waits_for_it() {
    let Some(s) = thinking("20") else { return };
    let stage = || inbox(&s, &["show", "x", "--json"]).ok().json()["stage"].clone();
    let courier = "mosaic-courier.service";
    s.systemctl(&["stop", courier]).ok();
    let out = send(&s, "one", &["--id", "x", "--until", "submitted"]).ok();
    assert_eq!(
        (receipt(&out), stage()),
        (json!("submitted"), json!("submitted"))
    );
    // A second word to the agent is not needed for it.
    inbox(&s, &["flush"]).ok().says("x");
    assert!(stage() == "accepted" || stage() == "answered");
    inbox(&s, &["flush"]).ok().warns("nothing waits");
}

#[test]
fn who_only_waits_for_an_answer_does_not_hold_the_agent() {
    let Some(s) = thinking("4000") else { return };
    send(&s, "long", &["--id", "job"]).ok();
    let again = s.start(&[
        "agent",
        "send",
        "a",
        "--no-preamble",
        "-m",
        "long",
        "--id",
        "job",
        "--until",
        "answered",
    ]);
    let open = |name: &str| {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", again.pid()));
        let mut links = fds.into_iter().flatten().flatten();
        links.any(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.ends_with(name)))
    };
    let free = std::cell::Cell::new(0);
    eventually("it waits, with the pane free, for a while", || {
        // It may take the pane for a moment.
        let waits = open("mailbox.db") && !open("locks/a.lock");
        free.set(if waits { free.get() + 1 } else { 0 });
        free.get() > 20
    });
    again.wait().ok();
    assert_eq!(s.messages("a"), ["long"]);
}

#[test]
fn senders_killed_at_any_point_lose_and_double_nothing() {
    let Some(s) = thinking("20") else { return };
    let mut dice = 88_172_645_463_325_252_u64;
    let mut random = |below: u64| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice % below
    };
    let text = |n: usize| format!("message {n}\nwith a second line\n\nand a last one of {n}");
    // A send takes longer on a busy machine, and is to be hit at every point of it.
    let left_alone = ["zero", "once", "more"];
    let times = left_alone.map(|text| send(&s, text, &[]).ok().took);
    let whole = times.into_iter().min().unwrap().as_millis();
    let whole = u64::try_from(whole).unwrap();
    for n in 0..40 {
        let (text, id) = (text(n), format!("id-{n}"));
        let mut running = s.start(&[
            "agent",
            "send",
            "a",
            "--no-preamble",
            "--id",
            &id,
            "-m",
            &text,
        ]);
        std::thread::sleep(Duration::from_millis(random(whole)));
        running.signal(Signal::KILL);
        drop(running.wait());
    }
    inbox(&s, &["flush", "--timeout", "40"]);
    if !listed(&s, &[]).iter().all(|m| m["stage"] == "uncertain") {
        // What stands in the box for ever is a draft by now, and a person clears it.
        s.press("a", "C-u");
        inbox(&s, &["flush", "--timeout", "40"]);
    }
    let rows = listed(&s, &["--all"]);
    let got = s.messages("a");
    let stored = rows.len() - left_alone.len();
    assert!(stored >= 20, "{stored} of 40 were stored");
    let mut uncertain = 0;
    for row in &rows {
        let times = got
            .iter()
            .filter(|m| **m == row["text"].as_str().unwrap())
            .count();
        match row["stage"].as_str().unwrap() {
            "accepted" | "answered" | "submitted" => assert_eq!(times, 1, "{row}"),
            "uncertain" => {
                uncertain += 1;
                assert!(times <= 1, "{row}");
            }
            _ => panic!("{row}"),
        }
    }
    assert!(uncertain <= 4, "{uncertain} uncertain: {rows:?}");
    let known = |m: &String| left_alone.contains(&&**m) || (0..40).any(|n| text(n) == *m);
    assert!(got.iter().all(known), "{got:?}");
}

#[test]
fn an_uncertain_one_is_sent_again_only_by_a_persons_word() {
    let Some(s) = thinking("20") else { return };
    let a = s.up("a");
    // Its process is stopped in the midst, so that nobody can tell; then it dies.
    let mut running = s.start(&[
        "agent",
        "send",
        "a",
        "--no-preamble",
        "--id",
        "x",
        "-m",
        "hello",
    ]);
    eventually("it is under way", || {
        listed(&s, &[]).iter().any(|m| m["stage"] != "queued") || !listed(&s, &["--all"]).is_empty()
    });
    running.signal(Signal::KILL);
    drop(running.wait());
    s.kill_agent(&a, Signal::KILL);
    s.back("a", &a);
    inbox(&s, &["flush", "--timeout", "30"]);
    let row = inbox(&s, &["show", "x", "--json"]).ok().json();
    if row["stage"] == "uncertain" {
        inbox(&s, &["retry", "x"]).code(1).warns("--yes");
        inbox(&s, &["retry", "x", "--yes"]).ok();
        inbox(&s, &["flush", "--timeout", "30"]).ok();
    }
    eventually("it was told", || !s.messages("a").is_empty());
    assert_eq!(inbox(&s, &["show", "nothing"]).status.code(), Some(1));
}

#[test]
fn drafts_are_waited_for_or_put_aside_or_a_reason_to_refuse() {
    let Some(s) = Roster::new([Agent::demo("a").persona("draft=half a thought")]).boot() else {
        return;
    };
    let out = send(&s, "no", &["--draft", "refuse"]).code(1);
    assert_eq!(receipt(&out), "refused");
    assert!(
        out.json()["reason"]
            .as_str()
            .unwrap()
            .contains("half a thought")
    );
    send(&s, "aside", &["--draft", "stash"]).ok();
    assert_eq!(s.messages("a"), ["aside"]);
    eventually("the draft is back", || {
        s.screen("a").contains("❯ half a thought")
    });
    let waiting = s.start(&["agent", "send", "a", "--no-preamble", "-m", "after"]);
    eventually("it is stored", || listed(&s, &[]).len() == 2);
    s.press("a", "Enter");
    waiting.wait().ok();
    assert_eq!(s.messages("a"), ["aside", "half a thought", "after"]);
}

#[test]
fn commands_and_raw_text_mean_what_they_mean_to_the_agent() {
    let Some(s) = Roster::new([Agent::demo("a").persona("expand-tabs")]).boot() else {
        return;
    };
    let types = |s: &Sandbox, wanted: &str| {
        s.records("a")
            .iter()
            .filter(|r| r["type"] == wanted)
            .count()
    };
    let sessions = types(&s, "session");
    let out = send(&s, "/clear", &["--command"]).ok();
    assert_eq!(receipt(&out), "submitted");
    eventually("it was cleared", || types(&s, "session") == sessions + 1);
    for wrong in ["clear", "/clear\nand more"] {
        send(&s, wrong, &["--command"]).code(1).says("one line");
    }
    s.mosaic(&[
        "agent",
        "send",
        "a",
        "--raw",
        "--until",
        "submitted",
        "-m",
        "!ls",
    ])
    .ok();
    eventually("it was a command", || types(&s, "shell") == 1);
    // Without a word for it, neither is one.
    send(&s, "!ls", &[]).ok();
    assert_eq!((types(&s, "shell"), s.messages("a").len()), (1, 1));
    let out = send(&s, "a\ttab", &[]).ok();
    assert_eq!(out.json()["altered"], json!(["tabs"]));
    let out = send(&s, "short", &["--as-file"]).ok();
    let file = out.json()["as_file"].as_str().unwrap().to_owned();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "short");
    assert!(s.messages("a").last().unwrap().contains(&file));
}

#[test]
fn a_stopped_process_is_waited_for() {
    let Some(s) = thinking("20") else { return };
    let a = s.up("a");
    s.kill_agent(&a, Signal::STOP);
    let out = send(&s, "hello", &["--timeout", "1"]).code(75);
    assert_eq!(receipt(&out), "queued");
    let reason = out.json()["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("is stopped"), "{reason}");
    s.kill_agent(&a, Signal::CONT);
    inbox(&s, &["flush", "--timeout", "20"]).ok();
    eventually("it was told", || s.messages("a") == ["hello"]);
}
