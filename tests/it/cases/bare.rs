//! Without a service manager: the same life under a supervisor in each pane.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Agent, Roster, Sandbox, eventually, eventually_some, proc};

fn up(roster: &Roster) -> Option<Sandbox> {
    let s = Sandbox::plain()?;
    roster.write(&s);
    s.mosaic(&["fleet", "up", "--no-systemd", "--no-verify"])
        .ok();
    Some(s)
}

fn pid(s: &Sandbox, agent: &str) -> Option<i32> {
    let status = s.status(agent);
    (status["active"] == "active")
        .then(|| i32::try_from(status["pid"].as_i64().unwrap_or(0)).unwrap())
}

#[track_caller]
fn running(s: &Sandbox, agent: &str) -> i32 {
    eventually_some("it runs", || pid(s, agent).filter(|p| *p > 0))
}

#[track_caller]
fn back(s: &Sandbox, agent: &str, before: i32) -> i32 {
    eventually_some("it is back", || {
        pid(s, agent).filter(|p| *p > 0 && *p != before)
    })
}

#[test]
fn up_plan_stop_start_uninstall() {
    let Some(s) = up(&Roster::demo(&["a", "b"])) else {
        return;
    };
    let (a, b) = (running(&s, "a"), running(&s, "b"));
    assert!(!s.units("mosaic-fleet.target").exists(), "no units");
    assert_eq!(
        s.mosaic(&["fleet", "status", "--json"]).ok().json()["mode"],
        "supervisor"
    );
    assert_eq!(s.status("a")["state"], "idle");
    s.in_sync();
    s.mosaic(&["fleet", "apply"]).ok().says("in sync");
    let pane = s.pane("a").unwrap();
    assert_eq!(proc::fd(a, 0).unwrap().display().to_string(), pane.tty);

    s.mosaic(&["fleet", "restart", "a"]).ok();
    let now = back(&s, "a", a);
    assert_eq!(s.pane("a").unwrap().id, pane.id);
    assert_eq!(running(&s, "b"), b);
    s.mosaic(&["fleet", "stop", "a"]).ok();
    s.gone(now);
    s.in_sync();
    s.mosaic(&["fleet", "start", "a"]).ok();
    running(&s, "a");
    s.mosaic(&["agent", "send", "a", "--no-preamble", "-m", "hello"])
        .ok();
    eventually("it stands in the transcript", || {
        s.messages("a") == ["hello"]
    });
    s.mosaic(&["agent", "reset", "a", "--clear"]).ok();

    Roster::demo(&["a"]).write(&s);
    s.mosaic(&["fleet", "apply"]).ok();
    s.gone(b);
    s.in_sync();
    s.mosaic(&["fleet", "stop"]).ok();
    assert_eq!(s.server(), None);
    eventually("all processes are gone", || s.processes().is_empty());
    s.mosaic(&["fleet", "start"]).ok();
    running(&s, "a");
    s.mosaic(&["fleet", "uninstall", "--yes"]).ok();
    eventually("all processes are gone", || s.processes().is_empty());
}

#[test]
fn the_fleet_is_known_after_the_runtime_directory_went_with_the_last_session() {
    let Some(mut s) = up(&Roster::demo(&["a", "b"])) else {
        return;
    };
    let a = running(&s, "a");
    s.mosaic(&["fleet", "stop", "b"]).ok();
    std::fs::remove_dir_all(s.path("r")).unwrap();
    s.set("XDG_RUNTIME_DIR", "");
    assert_eq!(running(&s, "a"), a);
    s.in_sync();
    s.mosaic(&["fleet", "apply"]).ok().says("in sync");
    s.mosaic(&["agent", "send", "a", "--no-preamble", "-m", "hello"])
        .ok();
    eventually("it stands in the transcript", || {
        s.messages("a") == ["hello"]
    });
    s.mosaic(&["fleet", "restart", "a", "--force"]).ok();
    back(&s, "a", a);
    assert_eq!(s.status("b")["active"], "inactive");
    s.mosaic(&["fleet", "stop"]).ok();
    eventually("all processes are gone", || s.processes().is_empty());
}

#[test]
fn up_says_aloud_that_there_is_no_manager() {
    let Some(s) = Sandbox::plain() else { return };
    s.mosaic(&["fleet", "up", "--profile", "demo", "--no-verify"])
        .ok()
        .warns("no systemd user manager")
        .warns("lost without it");
    running(&s, "coder0");
    s.mosaic(&["fleet", "uninstall", "--yes"]).ok();
}

#[test]
fn verify_is_green_and_cleans_up() {
    let Some(s) = up(&Roster::demo(&["a"])) else {
        return;
    };
    let a = running(&s, "a");
    let report = s.mosaic(&["fleet", "verify", "--json"]).ok().json();
    let skipped: Vec<&Value> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["outcome"] == "skip")
        .collect();
    assert!(
        skipped
            .iter()
            .all(|c| !c["seen"].as_str().unwrap().is_empty()),
        "{skipped:?}"
    );
    assert_eq!(running(&s, "a"), a);
    let strays: Vec<String> = s
        .processes()
        .iter()
        .map(|p| proc::cmdline(*p).join(" "))
        .filter(|l| l.contains("mosaic-verify"))
        .collect();
    assert_eq!(strays, Vec::<String>::new());
}

#[test]
fn a_killed_agent_comes_back_on_its_pane_with_its_conversation() {
    let Some(s) = up(&Roster::demo(&["a", "b"])) else {
        return;
    };
    let (a, b) = (running(&s, "a"), running(&s, "b"));
    let pane = s.pane("a");
    s.mosaic(&["agent", "send", "a", "-m", "remember"]).ok();
    proc::kill(a, Signal::KILL);
    back(&s, "a", a);
    assert_eq!(s.pane("a"), pane);
    assert_eq!(s.status("a")["restarts"], 1);
    assert_eq!(s.status("a")["last_exit"], "killed by SIGKILL");
    assert_eq!(running(&s, "b"), b);
    let resumed = |s: &Sandbox| {
        s.events("a")
            .iter()
            .rfind(|e| e["event"] == "started")
            .unwrap()["resumed"]
            == true
    };
    assert!(resumed(&s));
}

#[test]
fn stop_reaps_daemons_and_stubborn_agents() {
    let Some(s) = up(&Roster::new([
        Agent::demo("a").persona("daemon"),
        Agent::demo("b").persona("never-exit-on-hangup,ignore-term"),
    ])) else {
        return;
    };
    let (a, b) = (running(&s, "a"), running(&s, "b"));
    s.mosaic(&["fleet", "stop"]).ok();
    s.gone(a);
    s.gone(b);
    eventually("all processes are gone", || s.processes().is_empty());
}

#[test]
fn a_killed_server_leaves_nobody_and_start_brings_all_back() {
    let Some(s) = up(&Roster::new([
        Agent::demo("a").persona("daemon"),
        Agent::demo("b").persona("never-exit-on-hangup"),
        Agent::demo("c").persona("exit-0-on-hangup"),
    ])) else {
        return;
    };
    let before = ["a", "b", "c"].map(|n| running(&s, n));
    proc::kill(s.server().unwrap(), Signal::KILL);
    for pid in before {
        s.gone(pid);
    }
    eventually("all processes are gone", || s.processes().is_empty());
    s.mosaic(&["fleet", "start"]).ok();
    for agent in ["a", "b", "c"] {
        running(&s, agent);
    }
    s.in_sync();
    s.mosaic(&["fleet", "stop"]).ok();
}

#[test]
fn a_crash_loop_ends_and_start_tries_again() {
    let crashing = |persona: &str| {
        Roster::new([Agent::demo("a")
            .persona(persona)
            .key("start_limit", json!({"burst": 3, "interval": "60s"}))])
    };
    let Some(s) = Sandbox::plain() else { return };
    crashing("crash-at-start").write(&s);
    s.mosaic(&["fleet", "up", "--no-systemd", "--no-verify"])
        .code(1);
    eventually("it has failed", || s.status("a")["state"] == "failed");
    assert_eq!(s.status("a")["last_exit"], "exit code 3");
    assert_eq!(
        s.events("a")
            .iter()
            .filter(|e| e["event"] == "started")
            .count(),
        3
    );
    crashing("").write(&s);
    s.mosaic(&["fleet", "apply"]).ok();
    running(&s, "a");
}

#[test]
fn units_and_supervisors_do_not_run_beside_each_other() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let a = s.up("a");
    s.mosaic(&["fleet", "up", "--no-systemd"])
        .code(78)
        .warns("installed as systemd units");
    assert_eq!(s.up("a"), a);
    s.mosaic(&["fleet", "uninstall", "--yes"]).ok();
    s.mosaic(&["fleet", "up", "--no-systemd", "--no-verify"])
        .ok();
    let bare = running(&s, "a");
    // And back: the supervisors are stopped first.
    s.mosaic(&["fleet", "install-systemd"]).ok();
    s.gone(bare);
    s.mosaic(&["fleet", "start"]).ok();
    s.up("a");
    s.in_sync();
}

#[test]
fn no_secret_shows_without_systemd_either() {
    let Some(s) = Sandbox::plain() else { return };
    s.write(
        &s.home(".config/mosaic/fleet/agents/a.env"),
        "API_KEY=s3cret-Kx81\n",
    );
    Roster::demo(&["a"]).write(&s);
    s.mosaic(&["fleet", "up", "--no-systemd", "--no-verify"])
        .ok();
    let a = running(&s, "a");
    assert_eq!(proc::environ(a)["API_KEY"], "s3cret-Kx81");
    assert!(
        !s.tmux(&["show-environment", "-g"])
            .ok()
            .stdout
            .contains("s3cret")
    );
    for pid in s.processes() {
        assert!(!proc::cmdline(pid).join(" ").contains("s3cret"));
        assert!(
            pid == a || !proc::environ(pid).contains_key("API_KEY"),
            "{:?}",
            proc::cmdline(pid)
        );
    }
    for name in ["TMUX", "TMUX_PANE"] {
        assert_eq!(proc::environ(a).get(name), None);
    }
}
