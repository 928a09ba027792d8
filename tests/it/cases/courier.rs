//! The courier: what waits is delivered when the agent is idle, in order, once, whatever dies.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Agent, Roster, Running, Sandbox, eventually, eventually_some, proc};

const UNIT: &str = "mosaic-courier.service";

/// A fleet of one demo agent with a turn of this length, idle.
fn alone(think_ms: &str) -> Option<Sandbox> {
    let s = Roster::new([Agent::demo("a").env("MOSAIC_DEMO_THINK_MS", think_ms)]).boot()?;
    idle(&s, "a");
    Some(s)
}

#[track_caller]
fn idle(s: &Sandbox, agent: &str) {
    s.mosaic(&["agent", "wait", agent, "--timeout", "30"]).ok();
}

#[track_caller]
fn queue(s: &Sandbox, agent: &str, text: &str) {
    s.mosaic(&[
        "agent",
        "send",
        agent,
        "--no-preamble",
        "--queue",
        "-m",
        text,
    ])
    .ok();
}

/// The courier's process, as `fleet status` has it.
#[track_caller]
fn courier(s: &Sandbox) -> i32 {
    eventually_some("a courier runs", || courier_now(s))
}

fn courier_now(s: &Sandbox) -> Option<i32> {
    let status = s.mosaic(&["fleet", "status", "--json"]).ok().json();
    i32::try_from(status["courier"]["pid"].as_i64()?).ok()
}

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("message {n}")).collect()
}

/// Milliseconds from the agent's word that it is idle to the next message on its record, for each
/// message after the first.
fn delays(s: &Sandbox, agent: &str) -> Vec<i64> {
    let mut records = s.records(agent);
    let time = |r: &Value| -> jiff::Timestamp { r["time"].as_str().unwrap().parse().unwrap() };
    records.sort_by_key(|r| time(r));
    let mut idle = None;
    let mut delays = Vec::new();
    for record in &records {
        match (record["type"].as_str(), record["state"].as_str()) {
            (Some("state"), Some("idle")) => idle = Some(time(record)),
            (Some("user"), _) => {
                delays.extend(idle.take().map(|t| {
                    let took = time(record).duration_since(t);
                    i64::try_from(took.as_millis()).unwrap()
                }));
            }
            _ => {}
        }
    }
    delays
}

#[test]
fn ten_messages_go_in_order_each_after_the_turn_before() {
    let Some(s) = alone("150") else { return };
    courier(&s);
    let want = texts(10);
    for text in &want {
        queue(&s, "a", text);
    }
    eventually("all are delivered", || s.messages("a").len() >= 10);
    idle(&s, "a");
    assert_eq!(s.messages("a"), want);
    // None was typed while the agent was at work: none was queued by the agent itself.
    assert!(!s.records("a").iter().any(|r| r["type"] == "queued"));
    let mut delays = delays(&s, "a").split_off(1);
    delays.sort_unstable();
    println!("idle to accepted, ms: {delays:?}");
    // A tenth of a second is the aim on an idle machine; this one may be loaded.
    assert!(delays[delays.len() / 2] < 1500, "{delays:?}");
}

#[test]
fn a_message_waits_for_the_end_of_the_turn_and_for_an_answer() {
    let Some(s) = alone("1500") else { return };
    courier(&s);
    queue(&s, "a", "one");
    queue(&s, "a", "PLEASE ASK me");
    queue(&s, "a", "three");
    s.mosaic(&["agent", "wait", "a", "--for", "waiting", "--timeout", "30"])
        .ok();
    assert_eq!(s.messages("a"), ["one", "PLEASE ASK me"]);
    // It stays so: a dialog is no place for a message.
    s.mosaic(&["agent", "wait", "a", "--timeout", "1.5"])
        .code(75);
    assert_eq!(s.messages("a").len(), 2);
    let answered = |s: &Sandbox| s.records("a").iter().any(|r| r["type"] == "approved");
    assert!(!answered(&s));
    s.press("a", "Enter");
    eventually("the third is delivered", || s.messages("a").len() == 3);
}

#[test]
fn what_waits_for_an_agent_that_is_down_is_delivered_when_it_is_up() {
    let Some(s) = alone("50") else { return };
    courier(&s);
    s.mosaic(&["fleet", "stop", "a"]).ok();
    queue(&s, "a", "for later");
    s.mosaic(&["agent", "wait", "a", "--timeout", "1"]).code(75);
    assert_eq!(s.messages("a"), Vec::<String>::new());
    s.mosaic(&["fleet", "start", "a"]).ok();
    eventually("it is delivered", || s.messages("a") == ["for later"]);
}

#[test]
fn a_message_that_is_too_old_is_a_dead_letter() {
    let Some(s) = alone("50") else { return };
    courier(&s);
    s.mosaic(&["fleet", "stop", "a"]).ok();
    s.mosaic(&[
        "agent",
        "send",
        "a",
        "--queue",
        "--expires",
        "1s",
        "--id",
        "old",
        "-m",
        "too late",
    ])
    .ok();
    let told = |s: &Sandbox| {
        s.events("a").iter().any(|e| {
            e["verb"] == "send"
                && e["detail"]
                    .as_str()
                    .is_some_and(|d| d.starts_with("expired"))
        })
    };
    eventually("its end is an event", || told(&s));
    s.mosaic(&["fleet", "start", "a"]).ok();
    idle(&s, "a");
    queue(&s, "a", "in time");
    eventually("the next is delivered", || s.messages("a") == ["in time"]);
}

#[test]
fn what_its_sender_left_unproved_is_found_out_about() {
    let Some(s) = alone("50") else { return };
    courier(&s);
    s.systemctl(&["stop", UNIT]).ok();
    let args = ["agent", "send", "a", "--until", "submitted", "--id", "x"];
    s.mosaic(&[&args[..], &["-m", "one"]].concat()).ok();
    let stage = || {
        let row = s.mosaic(&["agent", "inbox", "show", "x", "--json"]).ok();
        row.json()["stage"].clone()
    };
    assert_eq!(stage(), "submitted");
    s.systemctl(&["start", UNIT]).ok();
    eventually("its record is found", || {
        stage() == "accepted" || stage() == "answered"
    });
    // The next message goes as always.
    queue(&s, "a", "two");
    eventually("the next is delivered", || s.messages("a").len() == 2);
}

#[test]
fn a_courier_killed_at_any_instant_loses_nothing_and_doubles_nothing() {
    let Some(s) = alone("30") else { return };
    courier(&s);
    let want = texts(50);
    for text in &want {
        queue(&s, "a", text);
    }
    // Another pause each time; the same ones in every run.
    let mut seed: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut kills = 0;
    let deadline = Instant::now() + Duration::from_secs(100);
    while s.messages("a").len() < want.len() && Instant::now() < deadline {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_millis(20 + (seed >> 33) % 250));
        let pid = s.unit(UNIT).pid;
        if pid > 1 && kills < 40 {
            proc::kill(pid, Signal::KILL);
            kills += 1;
            s.systemctl(&["reset-failed", UNIT]);
            s.systemctl(&["start", UNIT]);
        }
    }
    println!("killed {kills} times");
    let dead = || -> Vec<String> {
        let mailbox = mosaic::delivery::mailbox::Mailbox::at(
            &s.state("mailbox.db"),
            &s.state("mailbox.poke"),
        )
        .unwrap();
        mailbox
            .list(None, mosaic::delivery::mailbox::Which::PendingAndDead)
            .unwrap()
            .iter()
            .map(|r| format!("{} {}: {:?}", r.stage.as_str(), r.text, r.outcome.reason))
            .collect()
    };
    eventually("nothing waits", || {
        !dead()
            .iter()
            .any(|d| d.starts_with("queued") || d.starts_with("typ"))
    });
    let got = s.messages("a");
    let uncertain = dead();
    println!("not proved: {uncertain:?}");
    for text in &want {
        let times = got.iter().filter(|g| *g == text).count();
        let said = uncertain.iter().any(|d| d.contains(&format!(" {text}:")));
        assert!(
            times == 1 || (times == 0 && said),
            "`{text}` {times} times; {uncertain:?}"
        );
    }
    assert!(kills >= 10, "{kills}");
    assert!(uncertain.len() <= 2, "{uncertain:?}");
    let mut sorted = got.clone();
    sorted.sort_by_key(|t| want.iter().position(|w| w == t));
    assert_eq!(got, sorted, "in order");
}

#[test]
fn the_courier_outlives_the_tmux_server() {
    let Some(s) = alone("50") else { return };
    let before = courier(&s);
    queue(&s, "a", "one");
    eventually("it is delivered", || s.messages("a") == ["one"]);
    let (server, a) = (s.server().unwrap(), s.up("a"));
    proc::kill(server, Signal::KILL);
    s.back("a", &a);
    queue(&s, "a", "two");
    eventually("it is delivered", || s.messages("a").len() == 2);
    assert_eq!(courier(&s), before);
    // And it holds up neither the fleet's stop nor the server's end.
    let out = s.mosaic(&["fleet", "stop"]).ok();
    assert!(out.took < Duration::from_secs(20), "{:?}", out.took);
    s.gone(before);
    s.mosaic(&["fleet", "doctor"]);
    s.mosaic(&["fleet", "start"]).ok();
    assert_ne!(courier(&s), before);
}

#[test]
fn there_is_one_courier() {
    let Some(s) = alone("50") else { return };
    let pid = courier(&s);
    s.mosaic(&["courier", "run"])
        .code(75)
        .warns(&format!("the fleet has a courier already (pid {pid})"));
    let findings = s.mosaic(&["fleet", "doctor", "--json"]).json();
    let found = findings
        .as_array()
        .unwrap()
        .iter()
        .find(|f| f["subject"] == "courier")
        .unwrap()
        .clone();
    assert_eq!(found["level"], "ok", "{found}");
    assert_eq!(s.unit(UNIT).active, "active");
    s.in_sync();
    // Ended by hand, in the foreground, by a signal.
    s.systemctl(&["stop", UNIT]).ok();
    let mut own = s.start(&["courier", "run"]);
    eventually("it runs", || courier_now(&s) == Some(own.pid()));
    queue(&s, "a", "by hand");
    eventually("it is delivered", || s.messages("a") == ["by hand"]);
    own.signal(Signal::TERM);
    own.wait().ok().quiet();
    assert_eq!(courier_now(&s), None);
    s.mosaic(&["fleet", "status"]).ok().warns("no courier");
}

#[test]
fn notices_are_given_once_for_each_change() {
    let agent = Agent::demo("a")
        .key("notify", json!("desktop"))
        .key(
            "on",
            json!({
                "waiting": "echo \"$MOSAIC_AGENT $MOSAIC_STATE_FROM $MOSAIC_STATE_TO $MOSAIC_EVIDENCE\" >>waiting",
                "idle": "echo idle >>idle; exit 3",
            }),
        );
    let b = Agent::demo("b").key("start_limit", json!({"burst": 2, "interval": "60s"}));
    let roster =
        Roster::new([agent, b]).default("on", json!({"failed": "echo $MOSAIC_AGENT >>failed"}));
    let Some(s) = Sandbox::booted() else { return };
    s.write_program(
        &s.path("bin/notify-send"),
        "#!/bin/sh\nfor w in \"$@\"; do printf '[%s]' \"$w\"; done >>$HOME/../work/desktop\necho >>$HOME/../work/desktop\n",
    );
    roster.up(&s);
    idle(&s, "a");
    courier(&s);
    let lines = |name: &str| -> Vec<String> {
        let text = std::fs::read_to_string(s.path("work").join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    let mut stream: Running = s.start(&["agent", "events", "-f", "a"]);
    queue(&s, "a", "PLEASE ASK me");
    eventually("a command and a person were told", || {
        lines("waiting").len() == 1 && lines("desktop").len() == 1
    });
    assert!(
        lines("waiting")[0].starts_with("a working waiting transcript: ")
            || lines("waiting")[0].starts_with("a idle waiting transcript: "),
        "{:?}",
        lines("waiting")
    );
    assert!(
        lines("desktop")[0].starts_with("[--app-name=mosaic][--][a asks for you]["),
        "{:?}",
        lines("desktop")
    );
    assert_eq!(lines("idle"), Vec::<String>::new(), "a start is no change");
    s.press("a", "Enter");
    eventually("the end of the turn is told", || lines("idle") == ["idle"]);
    eventually("a command that fails is an event", || {
        s.events("a")
            .iter()
            .any(|e| e["event"] == "notice-failed" && e["notice"] == "on.idle")
    });
    eventually("and shown", || {
        stream.printed().contains("on.idle failed: exit status: 3")
    });
    assert_eq!((lines("waiting").len(), lines("desktop").len()), (1, 1));
    // `defaults` hold where the agent says nothing.
    let first = s.up("b");
    s.kill_agent(&first, Signal::KILL);
    let second = s.back("b", &first);
    s.kill_agent(&second, Signal::KILL);
    eventually("a failure is told", || lines("failed") == ["b"]);
    stream.signal(Signal::INT);
    stream.wait().ok();
}

#[test]
fn without_systemd_a_courier_stands_beside_the_supervisors() {
    let Some(s) = Sandbox::plain() else { return };
    Roster::demo(&["a"]).write(&s);
    s.mosaic(&["fleet", "up", "--no-systemd", "--no-verify"])
        .ok();
    idle(&s, "a");
    let pid = courier(&s);
    queue(&s, "a", "one");
    eventually("it is delivered", || s.messages("a") == ["one"]);
    proc::kill(pid, Signal::KILL);
    let next = eventually_some("it comes back", || courier_now(&s).filter(|p| *p != pid));
    queue(&s, "a", "two");
    eventually("it is delivered", || s.messages("a").len() == 2);
    s.mosaic(&["fleet", "stop"]).ok();
    s.gone(next);
    assert_eq!(courier_now(&s), None);
    s.mosaic(&["fleet", "start"]).ok();
    courier(&s);
    s.mosaic(&["fleet", "uninstall", "--yes"]).ok();
}
