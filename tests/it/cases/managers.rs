//! The service manager over either door, and what is said when there is none.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Agent, Roster, Sandbox, eventually, proc};

#[test]
fn both_doors_give_the_same_answers() {
    let Some(mut s) = Sandbox::booted() else {
        return;
    };
    let mut seen = Vec::new();
    for door in ["dbus", "systemctl"] {
        s.set("MOSAIC_MANAGER", door);
        let roster = Roster::new([
            Agent::demo("a"),
            Agent::demo("b"),
            Agent::demo("crash")
                .persona("crash-at-start")
                .key("restart", serde_json::json!("never")),
        ]);
        roster.write(&s);
        let up = s.mosaic(&["fleet", "up", "--no-verify"]).code(1);
        let verdicts: Vec<String> = up
            .stdout
            .lines()
            .filter(|l| l.starts_with("start"))
            .map(|l| l.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
            .collect();
        let stable = |mut status: serde_json::Value| {
            for agent in status["agents"].as_array_mut().unwrap() {
                for key in ["pid", "since", "memory", "pane", "evidence"] {
                    let known = !agent[key].is_null();
                    agent[key] = known.into();
                }
            }
            status
        };
        let mut status = stable(s.mosaic(&["fleet", "status", "--json"]).ok().json());
        status["courier"] = (!status["courier"].is_null()).into();
        let plan = s.plan(&[]);
        Roster::demo(&["a", "b"]).write(&s);
        s.mosaic(&["fleet", "apply"]).ok();
        let in_sync = s.plan(&[]);
        let a = s.up("a");
        s.mosaic(&["fleet", "restart", "a"]).ok();
        let now = s.back("a", &a);
        assert_eq!(now.pane, a.pane);
        s.mosaic(&["fleet", "stop", "b"]).ok();
        let down = s.agent("b").active;
        s.mosaic(&["fleet", "start", "b"]).ok();
        s.up("b");
        let doctor = s.mosaic(&["fleet", "doctor"]).ok().stdout;
        assert!(
            doctor.contains(if door == "dbus" {
                "over D-Bus"
            } else {
                "over systemctl"
            }),
            "{doctor}"
        );
        s.mosaic(&["fleet", "uninstall", "--yes", "--purge"]).ok();
        assert_eq!(s.server(), None);
        seen.push((verdicts, status, plan, in_sync, down));
    }
    assert_eq!(
        seen[0].0,
        [
            "start tmux server",
            "start a running",
            "start b running",
            "start crash FAILED:"
        ]
    );
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn without_a_bus_systemctl_is_used() {
    let Some(mut s) = Sandbox::booted() else {
        return;
    };
    // A machine without a session bus: no address, no socket.
    s.systemctl(&["stop", "dbus.socket", "dbus.service"]);
    let _ = std::fs::remove_file(s.path("r/bus"));
    s.set(
        "DBUS_SESSION_BUS_ADDRESS",
        format!("unix:path={}", s.path("r/bus").display()),
    );
    Roster::demo(&["a"]).up(&s);
    let a = s.up("a");
    s.mosaic(&["fleet", "doctor"]).ok().says("over systemctl");
    s.in_sync();
    s.kill_agent(&a, Signal::KILL);
    s.back("a", &a);
}

#[test]
fn no_manager_is_69_with_what_to_do() {
    let Some(s) = Sandbox::plain() else { return };
    Roster::demo(&["a"]).write(&s);
    s.mosaic(&["fleet", "install-systemd"])
        .code(69)
        .warns("cannot reach the systemd user manager")
        .warns("--no-systemd");
    assert!(!s.units("mosaic-fleet.target").exists());
    s.mosaic(&["fleet", "doctor"])
        .code(1)
        .says("cannot reach the systemd user manager");
}

#[test]
fn no_runtime_directory_is_69_with_what_to_do() {
    let Some(mut s) = Sandbox::plain() else {
        return;
    };
    Roster::demo(&["a"]).write(&s);
    s.set("XDG_RUNTIME_DIR", s.path("nowhere").display().to_string());
    s.mosaic(&["fleet", "install-systemd"])
        .code(69)
        .warns("no socket at");
}

#[test]
fn a_stale_socket_is_69() {
    let Some(mut s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    s.end_manager();
    for name in ["r/systemd/private", "r/bus"] {
        let path = s.path(name);
        if !path.exists() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            // Bound and closed: nobody listens.
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        }
        s.account().own(&path);
    }
    for verb in ["status", "start", "plan", "stop"] {
        let out = s
            .mosaic(&["fleet", verb])
            .code(69)
            .warns("cannot reach the systemd user manager");
        assert!(out.stderr.contains("hint:"), "{out:?}");
        assert!(out.took < Duration::from_secs(15), "{:?}", out.took);
    }
}

#[test]
fn a_hung_manager_is_said_within_seconds() {
    let Some(mut s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let a = s.up("a");
    proc::kill(s.manager_pid(), Signal::STOP);
    for door in ["", "systemctl"] {
        s.set("MOSAIC_MANAGER", door);
        let out = s.mosaic(&["fleet", "status"]);
        assert_eq!(out.status.code(), Some(69), "{out:?}");
        assert!(out.took < Duration::from_secs(15), "{door}: {:?}", out.took);
        assert!(out.stderr.contains("does not answer"), "{out:?}");
    }
    proc::kill(s.manager_pid(), Signal::CONT);
    s.mosaic(&["fleet", "status"]).ok();
    assert_eq!(s.up("a"), a);
}

#[test]
fn a_manager_that_executes_itself_anew_keeps_the_fleet() {
    let Some(s) = Roster::demo(&["a", "b"]).boot() else {
        return;
    };
    let before = (s.up("a"), s.up("b"), s.server());
    s.systemctl(&["daemon-reexec"]).ok();
    assert_eq!((s.up("a"), s.up("b"), s.server()), before);
    s.in_sync();
    s.mosaic(&["fleet", "restart", "a"]).ok();
    s.back("a", &before.0);
}

#[test]
fn the_whole_fleet_comes_up_with_the_manager() {
    let Some(s) = Roster::demo(&["a", "b"]).boot() else {
        return;
    };
    s.up("a");
    // What a boot does with linger on: stop everything, start the default target.
    s.systemctl(&[
        "stop",
        "mosaic-fleet.target",
        "mosaic-tmux-holder.service",
        "mosaic-agent@a.service",
        "mosaic-agent@b.service",
    ])
    .ok();
    assert_eq!(s.server(), None);
    s.systemctl(&["start", "mosaic-fleet.target"]).ok();
    s.up("a");
    s.up("b");
    assert_eq!(
        s.systemctl(&["list-dependencies", "--plain", "default.target"])
            .ok()
            .stdout
            .matches("mosaic-fleet.target")
            .count(),
        1
    );
    s.in_sync();
    // And a stop of the target stops all.
    s.systemctl(&["stop", "mosaic-fleet.target"]).ok();
    for agent in ["a", "b"] {
        eventually("it is stopped", || s.agent(agent).active == "inactive");
    }
    eventually("the server is stopped", || s.server().is_none());
}

#[test]
fn a_fleet_that_ends_with_the_login_is_said_with_what_to_type() {
    let Some(s) = Sandbox::booted() else { return };
    let name = &s.account().name;
    let mark = std::path::Path::new("/var/lib/systemd/linger").join(name);
    Roster::demo(&["a"]).write(&s);
    let out = s.mosaic(&["fleet", "install-systemd"]).ok();
    let told = out
        .stderr
        .contains(&format!("loginctl enable-linger {name}"));
    assert_eq!(told, !mark.exists(), "{out:?}");
}
