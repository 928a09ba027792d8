//! Runtimes: what is known of them is shown and checked, and a new one is learnt well enough to be
//! delivered to.

use serde_json::{Value, json};

use crate::support::{Agent, Roster, Sandbox, eventually};

#[test]
fn runtimes_are_listed_with_what_is_installed() {
    let Some(s) = Sandbox::plain() else { return };
    s.write_program(
        &s.path("bin/claude"),
        "#!/bin/sh\necho '2.1.329 (Claude Code)'\n",
    );
    s.write_program(&s.path("bin/pi"), "#!/bin/sh\necho 0.1.0\n");
    Roster::new([Agent::demo("a")])
        .key(
            "runtimes",
            json!({
                "claude": {"args": ["--verbose"]},
                "mine": {"command": "nothing-of-this-name"},
            }),
        )
        .write(&s);
    let list = s.mosaic(&["runtime", "list", "--json"]).ok().json();
    let of = |name: &str| -> Value {
        let all = list["runtimes"].as_array().unwrap();
        all.iter().find(|r| r["name"] == name).unwrap().clone()
    };
    let claude = of("claude");
    assert_eq!(claude["installed"]["version"], "2.1.329");
    assert_eq!(claude["installed"]["tested"], "ok");
    assert_eq!(claude["installed"]["receipt"], "accepted");
    assert_eq!(claude["origin"], "built-in, changed by the roster");
    assert_eq!(of("pi")["installed"]["tested"], "older");
    assert_eq!(of("mine")["installed"]["path"], Value::Null);
    assert_eq!(of("demo")["installed"]["channels"], json!(["paste"]));
    s.mosaic(&["runtime", "list"]).ok().says("claude");

    let shown = s.mosaic(&["runtime", "show", "claude"]).ok().stdout;
    assert!(
        shown.contains("  args: ['--verbose']  # roster\n"),
        "{shown}"
    );
    assert!(shown.contains("  command: claude  # built-in\n"), "{shown}");
    s.mosaic(&["runtime", "show", "claud"])
        .code(2)
        .warns("did you mean `claude`?");
}

#[test]
fn a_runtime_is_checked_and_what_is_wrong_is_said() {
    let Some(s) = Sandbox::plain() else { return };
    s.write_program(
        &s.path("bin/claude"),
        "#!/bin/sh\necho broken >&2; exit 3\n",
    );
    let level = |args: &[&str], code: i32| -> Vec<String> {
        let out = s
            .mosaic(&[&["runtime", "check", "--json"], args].concat())
            .code(code);
        let all = out.json();
        all.as_array()
            .unwrap()
            .iter()
            .flat_map(|r| r["findings"].as_array().unwrap().clone())
            .filter(|f| f["level"] == "problem")
            .map(|f| f["seen"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(level(&["demo"], 0), Vec::<String>::new());
    let wrong = level(&["claude"], 1);
    assert!(wrong[0].contains("named no version: `broken`"), "{wrong:?}");
    let wrong = level(&["gemini"], 1);
    assert_eq!(wrong, ["`gemini` is not on PATH"]);
}

#[test]
fn a_program_is_learnt_and_then_delivered_to() {
    let Some(s) = Sandbox::booted() else { return };
    let mosaic = s.path("bin/mosaic").to_string_lossy().into_owned();
    let mut command = s.command(s.path("bin/mosaic"));
    command.env("MOSAIC_DEMO_THINK_MS", "1500").args([
        "runtime",
        "learn",
        "--auto",
        "--name",
        "mine",
        "--say",
        "hello there",
        "--ask",
        "PLEASE ASK now",
        "--json",
        "--",
        &mosaic,
        "internal",
        "demo-agent",
    ]);
    let out = crate::support::Running::start(command, None).wait().ok();
    let proofs = out.json()["proofs"].clone();
    let names: Vec<&str> = proofs
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|p| p["screen"].as_str())
        .collect();
    for name in [
        "idle",
        "draft",
        "draft-lines",
        "draft-long",
        "working",
        "dialog",
    ] {
        assert!(names.contains(&name), "{names:?}");
        assert!(
            s.path("work/mine.screens")
                .join(format!("{name}.ansi"))
                .exists()
        );
    }
    let learnt = std::fs::read_to_string(s.path("work/mine.yaml")).unwrap();
    let indented: String = learnt
        .lines()
        .filter(|l| !l.starts_with('#'))
        .map(|l| format!("  {l}\n"))
        .collect();
    let roster = format!(
        "version: 1\nruntimes:\n{indented}agents:\n  - name: a\n    runtime: mine\n    working_directory: {}\n    env: {{MOSAIC_DEMO_THINK_MS: \"300\"}}\n",
        s.path("work").display()
    );
    s.write(&s.roster(), &roster);
    s.mosaic(&["fleet", "up", "--no-verify"]).ok();
    let wait = |state: &str| {
        eventually(&format!("it is {state}"), || {
            s.status("a")["state"] == *state
        });
    };
    wait("idle");
    let long = "a line that is long enough to be cut into pieces ".repeat(30);
    for text in ["hello", "two\nlines", long.trim_end()] {
        let out = s
            .mosaic_with(
                &[
                    "agent",
                    "send",
                    "a",
                    "--no-preamble",
                    "--until",
                    "submitted",
                    "--json",
                ],
                text.as_bytes(),
            )
            .ok();
        assert_eq!(out.json()["receipt"], "submitted", "{}", out.stdout);
        assert_eq!(out.json()["channel"], "paste");
        wait("idle");
    }
    // It has no account of itself, so nothing more can be proved.
    eventually("the answers stand on its screen", || {
        s.screen("a").contains("lines")
    });
    // The box goes away with Enter and does not come back: nothing proves what the dialog is about.
    let out = s.mosaic(&[
        "agent",
        "send",
        "a",
        "--no-preamble",
        "--until",
        "submitted",
        "-m",
        "PLEASE ASK now",
        "--json",
    ]);
    assert_ne!(out.json()["receipt"], "accepted", "{}", out.stdout);
    wait("waiting");
    let asked = s.status("a")["question"].clone();
    assert_eq!(asked["options"][0]["label"], "Yes", "{asked}");
    // Nothing is typed into its dialog.
    let out = s.mosaic(&[
        "agent",
        "send",
        "a",
        "--no-preamble",
        "--wait",
        "1",
        "-m",
        "more",
        "--json",
    ]);
    assert_ne!(out.json()["receipt"], "submitted", "{}", out.stdout);
    let out = s.mosaic(&["agent", "deny", "a", "--json"]).ok();
    assert_eq!(out.json()["chosen"], "No");
    assert!(s.screen("a").contains("denied"));
    s.mosaic(&["runtime", "check", "mine"]).ok();
}
