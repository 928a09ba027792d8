//! `fleet verify`: green when all is well, red when it is not, and nothing left behind.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Agent, Roster, Sandbox, eventually, proc, unit_name};

/// Everything a canary could leave.
fn traces(s: &Sandbox) -> Vec<String> {
    let mut found: Vec<String> = ["r", "r/systemd/user"]
        .iter()
        .flat_map(|d| std::fs::read_dir(s.path(d)).into_iter().flatten().flatten())
        .map(|e| e.path().display().to_string())
        .filter(|p| p.contains("mosaic-verify"))
        .collect();
    let units = s.systemctl(&[
        "list-units",
        "--all",
        "--plain",
        "--no-legend",
        "mosaic-verify*",
    ]);
    found.extend(units.stdout.lines().map(str::to_owned));
    for pid in s.processes() {
        let line = proc::cmdline(pid).join(" ");
        if line.contains("mosaic-verify") {
            found.push(format!("{pid}: {line}"));
        }
    }
    found
}

fn failed(report: &Value) -> Vec<String> {
    let checks = report["checks"].as_array().unwrap();
    checks
        .iter()
        .filter(|c| c["outcome"] == "fail")
        .map(|c| c["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn green_on_a_healthy_fleet_which_it_leaves_as_it_was() {
    let roster = Roster::new([
        Agent::demo("a"),
        Agent::demo("b"),
        Agent::demo("off").key("enabled", json!(false)),
    ]);
    let Some(s) = roster.boot() else { return };
    let before = (s.up("a"), s.up("b"), s.server(), s.panes());
    let out = s.mosaic(&["fleet", "verify", "--json"]).ok();
    assert!(out.took.as_secs() < 15, "{:?}", out.took);
    let report = out.json();
    assert_eq!(report["ok"], true);
    assert_eq!(failed(&report), Vec::<String>::new());
    let canary: Vec<&Value> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["group"] == "canary")
        .collect();
    assert!(
        canary.len() >= 7 && canary.iter().all(|c| c["outcome"] == "pass"),
        "{canary:#?}"
    );
    assert_eq!((s.up("a"), s.up("b"), s.server(), s.panes()), before);
    assert_eq!(traces(&s), Vec::<String>::new());
    s.in_sync();
}

#[test]
fn up_on_a_bare_machine_proves_itself() {
    let Some(s) = Sandbox::booted() else { return };
    s.mosaic(&["fleet", "up", "--profile", "minimal"])
        .ok()
        .says("verified:");
    s.up("orchestrator");
    s.up("coder0");
    s.mosaic(&["fleet", "up"])
        .ok()
        .says("in sync")
        .says("verified:");
    assert_eq!(traces(&s), Vec::<String>::new());
}

#[test]
fn an_interrupted_verify_cleans_up() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    for signal in [Signal::INT, Signal::TERM] {
        let mut verify = s.start(&["fleet", "verify", "--canary-only"]);
        eventually("the canary is up", || {
            s.systemctl(&[
                "list-units",
                "--plain",
                "--no-legend",
                "mosaic-verify-*-agent@canary*",
            ])
            .stdout
            .lines()
            .count()
                == 2
        });
        verify.signal(signal);
        let out = verify.wait();
        assert_ne!(out.status.code(), Some(0), "{out:?}");
        assert_eq!(traces(&s), Vec::<String>::new());
    }
    s.in_sync();
}

#[test]
fn what_a_killed_verify_left_the_next_one_removes() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let mut verify = s.start(&["fleet", "verify", "--canary-only"]);
    eventually("the canary is up", || {
        s.systemctl(&[
            "list-units",
            "--plain",
            "--no-legend",
            "mosaic-verify-*-agent@canary*",
        ])
        .stdout
        .lines()
        .count()
            == 2
    });
    verify.signal(Signal::KILL);
    verify.wait();
    assert_ne!(traces(&s), Vec::<String>::new());
    s.mosaic(&["fleet", "verify", "--canary-only"]).ok();
    assert_eq!(traces(&s), Vec::<String>::new());
}

#[test]
fn two_at_once_do_not_disturb_each_other() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let both = [0, 1].map(|_| s.start(&["fleet", "verify"]));
    for one in both {
        one.wait().ok();
    }
    assert_eq!(traces(&s), Vec::<String>::new());
}

#[test]
fn red_when_an_agent_is_down_and_masked() {
    let Some(s) = Roster::demo(&["a", "b"]).boot() else {
        return;
    };
    let a = s.up("a");
    s.systemctl(&["mask", "--runtime", &unit_name("a")]).ok();
    s.systemctl(&["stop", &unit_name("a")]);
    s.gone(a.pid);
    let report = s
        .mosaic(&["fleet", "verify", "--live-only", "--json"])
        .code(1)
        .json();
    assert_eq!(report["ok"], false);
    let red = failed(&report);
    assert!(red.iter().any(|n| n.contains("agent a ")), "{red:?}");
    assert!(!red.iter().any(|n| n.contains("agent b ")), "{red:?}");
    s.systemctl(&["unmask", "--runtime", &unit_name("a")]).ok();
    s.mosaic(&["fleet", "start", "a"]).ok();
    s.mosaic(&["fleet", "verify", "--live-only"]).ok();
}

#[test]
fn red_on_drift() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    Roster::demo(&["a", "b"]).write(&s);
    let report = s
        .mosaic(&["fleet", "verify", "--live-only", "--json"])
        .code(1)
        .json();
    assert_eq!(failed(&report), ["no drift"]);
}

#[test]
fn red_when_an_agent_has_lost_its_pane() {
    let roster = Roster::new([Agent::demo("a").persona("never-exit-on-hangup")]);
    let Some(s) = roster.boot() else { return };
    let a = s.up("a");
    // Without the hook nobody restarts it.
    for hook in ["session-closed", "pane-exited"] {
        s.tmux(&["set-hook", "-gu", hook]);
    }
    s.tmux(&["kill-session", "-t", "=a"]).ok();
    let report = s
        .mosaic(&["fleet", "verify", "--live-only", "--json"])
        .code(1)
        .json();
    let red = failed(&report);
    assert_eq!(red, ["agent a is where it should be", "no drift"]);
    assert_eq!(s.agent("a").pid, a.pid);
    s.mosaic(&["fleet", "restart", "a", "--force"]).ok();
    s.mosaic(&["fleet", "verify", "--live-only"]).ok();
}

#[test]
fn red_when_somebody_elses_server_has_the_socket() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    s.mosaic(&["fleet", "stop"]).ok();
    let socket = s.socket();
    s.run(
        "tmux",
        &[
            "-S",
            socket.to_str().unwrap(),
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-s",
            "mine",
            "sleep",
            "1000",
        ],
    )
    .ok();
    let report = s
        .mosaic(&["fleet", "verify", "--live-only", "--json"])
        .code(1)
        .json();
    assert!(
        failed(&report).contains(&"holder unit owns the tmux server".to_owned()),
        "{report:#}"
    );
    s.tmux(&["kill-server"]).ok();
}

#[test]
fn junit_is_written() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let file = s.path("work/junit.xml");
    s.mosaic(&[
        "fleet",
        "verify",
        "--live-only",
        "--junit",
        file.to_str().unwrap(),
    ])
    .ok();
    let text = std::fs::read_to_string(file).unwrap();
    assert!(
        text.contains("failures=\"0\"") && text.contains("<testcase"),
        "{text}"
    );
}
