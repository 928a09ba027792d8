//! From nothing to a fleet and back: init, install, start, plan, apply, stop, uninstall.

use serde_json::json;

use crate::support::{Agent, HOLDER, Roster, Sandbox, eventually, proc, unit_name};

/// Every file below a directory, relative, sorted.
fn tree(root: &std::path::Path) -> Vec<String> {
    fn walk(root: &std::path::Path, dir: &std::path::Path, into: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                walk(root, &path, into);
            } else {
                into.push(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    let mut all = Vec::new();
    walk(root, root, &mut all);
    all.sort();
    all
}

#[test]
fn init_install_start_plan_stop_uninstall() {
    let Some(s) = Sandbox::booted() else { return };
    s.mosaic(&["fleet", "init", "--profile", "demo"]).ok();
    s.mosaic(&["fleet", "install-systemd"]).ok();
    assert_eq!(
        s.agent("coder0").active,
        "inactive",
        "install starts nothing"
    );
    assert_eq!(s.server(), None);
    s.mosaic(&["fleet", "start"]).ok();
    for agent in ["orchestrator", "coder0", "coder1"] {
        s.up(agent);
        let status = s.status(agent);
        assert_eq!(status["active"], "active");
        assert_eq!(status["sub"], "running");
        assert_eq!(status["state"], "idle");
        assert_eq!(status["restarts"], 0);
        assert_eq!(status["pid"], s.agent(agent).pid);
        assert_eq!(status["pane"], s.pane(agent).unwrap().id.as_str());
        assert_eq!(status["problems"], json!([]));
    }
    assert_eq!(s.unit(HOLDER).pid, s.server().unwrap());
    s.in_sync();

    s.mosaic(&["fleet", "stop"]).ok();
    for agent in ["orchestrator", "coder0", "coder1"] {
        assert_eq!(s.agent(agent).active, "inactive");
    }
    assert_eq!(s.unit(HOLDER).active, "inactive");
    assert_eq!(s.server(), None);

    s.mosaic(&["fleet", "uninstall", "--yes"]).ok();
    assert_eq!(tree(&s.units("")), Vec::<String>::new());
    let home: Vec<String> = tree(&s.path("home"))
        .into_iter()
        .filter(|p| !p.starts_with(".local/state/mosaic/fleet/agents/"))
        // The mailbox's journal, where its last user was killed.
        .filter(|p| !p.ends_with(".db-shm") && !p.ends_with(".db-wal"))
        .collect();
    assert_eq!(
        home,
        [
            ".config/mosaic/fleet/roster.schema.json",
            ".config/mosaic/fleet/roster.yaml",
            ".local/state/mosaic/fleet/apply.lock",
            ".local/state/mosaic/fleet/conversations/coder0.json",
            ".local/state/mosaic/fleet/conversations/coder1.json",
            ".local/state/mosaic/fleet/conversations/orchestrator.json",
            ".local/state/mosaic/fleet/exits/coder0.json",
            ".local/state/mosaic/fleet/exits/coder1.json",
            ".local/state/mosaic/fleet/exits/orchestrator.json",
            ".local/state/mosaic/fleet/log/events.jsonl",
            ".local/state/mosaic/fleet/mailbox.db",
        ]
    );
    assert_eq!(s.unit(&unit_name("coder0")).load, "not-found");
    let left: Vec<i32> = s
        .processes()
        .into_iter()
        .filter(|p| {
            proc::cmdline(*p)
                .iter()
                .any(|w| w.contains("mosaic") || w.contains("tmux"))
        })
        .collect();
    assert_eq!(left, Vec::<i32>::new());
}

#[test]
fn uninstall_with_purge_leaves_only_the_roster() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    s.mosaic(&["fleet", "uninstall", "--yes", "--purge"]).ok();
    assert_eq!(tree(&s.path("home")), [".config/mosaic/fleet/roster.yaml"]);
    assert!(!s.path("r/mosaic/fleet/run").exists());
}

#[test]
fn uninstall_asks_and_without_a_terminal_needs_yes() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let before = s.up("a");
    s.mosaic(&["fleet", "uninstall"]).code(2).warns("--yes");
    assert_eq!(s.up("a"), before);
}

#[test]
fn apply_twice_changes_nothing() {
    let Some(s) = Roster::demo(&["a", "b"]).boot() else {
        return;
    };
    let before = (s.up("a"), s.up("b"), s.server());
    let files = tree(&s.path("home/.config"));
    s.mosaic(&["fleet", "apply"]).ok().says("in sync");
    s.mosaic(&["fleet", "up", "--no-verify"])
        .ok()
        .says("in sync");
    s.mosaic(&["fleet", "install-systemd"]).ok().says("in sync");
    assert_eq!((s.up("a"), s.up("b"), s.server()), before);
    assert_eq!(tree(&s.path("home/.config")), files);
}

#[test]
fn an_agent_gone_from_the_roster_is_stopped_and_its_files_removed() {
    let Some(s) = Roster::demo(&["a", "b"]).boot() else {
        return;
    };
    let a = s.up("a");
    let b = s.up("b");
    Roster::demo(&["a"]).write(&s);
    assert_eq!(
        s.plan(&[]),
        [
            "stop b",
            "close b",
            "remove 50-roster.conf",
            "remove b.json",
            "unlink mosaic-agent@b.service",
            "reload",
        ]
    );
    s.mosaic(&["fleet", "apply"]).ok();
    s.gone(b.pid);
    assert_eq!(s.pane("b"), None);
    assert!(!s.units("mosaic-agent@b.service.d").exists());
    assert!(!s.state("launch/b.json").exists());
    assert_eq!(s.up("a"), a);
    s.in_sync();
}

#[test]
fn a_file_mosaic_did_not_write_is_never_touched() {
    let Some(s) = Sandbox::booted() else { return };
    let foreign = "[Unit]\nDescription=mine\n";
    s.write(&s.units("mosaic-fleet.target"), foreign);
    s.write(
        &s.units("mosaic-agent@a.service.d/90-mine.conf"),
        "[Service]\nNice=5\n",
    );
    Roster::demo(&["a"]).write(&s);
    s.mosaic(&["fleet", "up", "--no-verify"])
        .code(1)
        .says("a file that mosaic did not write is in the way");
    assert_eq!(
        std::fs::read_to_string(s.units("mosaic-fleet.target")).unwrap(),
        foreign
    );
    std::fs::remove_file(s.units("mosaic-fleet.target")).unwrap();
    s.mosaic(&["fleet", "up", "--no-verify"]).ok();
    assert_eq!(s.property(&unit_name("a"), "Nice"), "5");
    s.mosaic(&["fleet", "uninstall", "--yes"]).ok();
    assert_eq!(
        tree(&s.units("")),
        ["mosaic-agent@a.service.d/90-mine.conf"]
    );
}

#[test]
fn a_disabled_agent_is_known_but_not_started() {
    let disabled =
        |on: bool| Roster::new([Agent::demo("a"), Agent::demo("b").key("enabled", json!(on))]);
    let Some(s) = disabled(false).boot() else {
        return;
    };
    s.up("a");
    assert_eq!(s.agent("b").active, "inactive");
    assert_eq!(s.status("b")["enabled"], false);
    s.in_sync();
    s.mosaic(&["fleet", "start"]).ok();
    assert_eq!(s.agent("b").active, "inactive");
    disabled(true).write(&s);
    s.mosaic(&["fleet", "apply"]).ok();
    let b = s.up("b");
    disabled(false).write(&s);
    s.mosaic(&["fleet", "apply"]).ok();
    s.gone(b.pid);
    s.in_sync();
}

#[test]
fn a_stopped_agent_stays_stopped_until_it_is_started() {
    let Some(s) = Roster::demo(&["a", "b"]).boot() else {
        return;
    };
    s.up("a");
    s.mosaic(&["fleet", "stop", "a"]).ok();
    s.in_sync();
    s.mosaic(&["fleet", "apply"]).ok();
    assert_eq!(s.agent("a").active, "inactive");
    s.mosaic(&["fleet", "start", "a"]).ok();
    s.up("a");
    s.in_sync();
}

#[test]
fn a_working_agent_is_deferred_and_forced() {
    let Some(s) = Roster::demo(&["a", "b"]).boot() else {
        return;
    };
    let (a, b) = (s.up("a"), s.up("b"));
    let slow = |n: &str| Agent::demo(n).env("MOSAIC_DEMO_THINK_MS", "60000");
    let edited = |n: &str| slow(n).env("EDITED", "1");
    Roster::new([slow("a"), Agent::demo("b")]).write(&s);
    s.mosaic(&["fleet", "apply"]).ok();
    let a = s.back("a", &a);
    s.type_into("a", "work for a minute");
    s.press("a", "Enter");
    eventually("`a` works", || s.status("a")["state"] == "working");

    Roster::new([edited("a"), edited("b")]).write(&s);
    s.mosaic(&["fleet", "apply"]).ok().says("deferred: working");
    assert_eq!(s.up("a"), a, "a working agent is left alone");
    s.back("b", &b);
    assert_eq!(
        s.plan(&[]),
        ["deferred a"],
        "exit 1 while something is deferred"
    );
    s.mosaic(&["fleet", "restart", "a"])
        .code(1)
        .warns("was not restarted");
    assert_eq!(s.up("a"), a);

    s.mosaic(&["fleet", "apply", "--force"]).ok();
    let now = s.back("a", &a);
    assert_eq!(proc::environ(now.pid)["EDITED"], "1");
    s.in_sync();
}

#[test]
fn a_stale_stored_plan_is_refused() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let a = s.up("a");
    let file = s.path("work/plan.json");
    let file = file.to_str().unwrap();
    Roster::new([Agent::demo("a").env("X", "1")]).write(&s);
    s.mosaic(&["fleet", "plan", "--out", file]).code(1);
    Roster::new([Agent::demo("a").env("X", "2")]).write(&s);
    s.mosaic(&["fleet", "apply", file]).code(75).warns("stale");
    assert_eq!(s.up("a"), a, "nothing was done");
    s.mosaic(&["fleet", "plan", "--out", file]).code(1);
    s.mosaic(&["fleet", "apply", file]).ok();
    assert_eq!(proc::environ(s.back("a", &a).pid)["X"], "2");
    s.mosaic(&["fleet", "apply", file]).code(75).warns("stale");
}

#[test]
fn two_at_once_converge() {
    let Some(s) = Sandbox::booted() else { return };
    Roster::demo(&["a", "b", "c"]).write(&s);
    let both = [0, 1].map(|_| s.start(&["fleet", "up", "--no-verify"]));
    for one in both {
        one.wait().ok();
    }
    for agent in ["a", "b", "c"] {
        assert_eq!(s.up(agent).restarts, 0);
    }
    s.in_sync();
    // Each saw one start of its own or an empty plan; nobody was started twice.
    let started = |a: &str| {
        s.events(a)
            .iter()
            .filter(|e| e["event"] == "started")
            .count()
    };
    assert_eq!(["a", "b", "c"].map(started), [1, 1, 1]);
}

#[test]
fn an_apply_waits_for_another_one() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let a = s.up("a");
    let lock = std::fs::File::open(s.state("apply.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    Roster::new([Agent::demo("a").env("EDITED", "1")]).write(&s);
    let mut apply = s.start(&["fleet", "apply"]);
    let opened =
        || (3..64).any(|fd| proc::fd(apply.pid(), fd).is_some_and(|p| p.ends_with("apply.lock")));
    eventually("it asks for the lock", opened);
    // Longer than the whole apply takes; a look at the time in between is no synchronisation.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(1);
    while std::time::Instant::now() < until {
        assert!(apply.runs(), "it did not wait");
        assert_eq!(s.up("a"), a, "nothing is done meanwhile");
    }
    drop(lock);
    apply.wait().ok();
    s.back("a", &a);
    s.in_sync();
}

#[test]
fn an_interrupted_apply_is_completed_by_the_next() {
    let Some(s) = Roster::demo(&["b"]).boot() else {
        return;
    };
    let b = s.up("b");
    // Starts come before restarts: the signal comes while `a` starts, and `b` has not had its turn.
    let slow = Agent::demo("a").persona("slow-start=2000");
    Roster::new([slow, Agent::demo("b").env("EDITED", "1")]).write(&s);
    let mut apply = s.start(&["fleet", "apply"]);
    eventually("`a` starts", || s.agent("a").active == "activating");
    apply.signal(rustix::process::Signal::INT);
    apply
        .wait()
        .code(75)
        .warns("interrupted")
        .warns("run the same command again");
    assert_eq!(s.up("b"), b, "what follows is not begun");
    s.mosaic(&["fleet", "apply"]).ok();
    s.up("a");
    s.back("b", &b);
    s.in_sync();
}

#[test]
fn a_write_interrupted_before_the_reload_is_noticed() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let a = s.up("a");
    // What a kill between the two steps leaves.
    s.write(&s.state("reload-pending"), "");
    assert_eq!(s.plan(&[]), ["reload"]);
    s.mosaic(&["fleet", "apply"]).ok();
    s.in_sync();
    assert_eq!(s.up("a"), a);
}

#[test]
fn a_full_disk_leaves_old_files_whole() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    if !rustix::process::getuid().is_root() {
        return crate::support::skip("a full disk needs root, to mount a small file system");
    }
    let a = s.up("a");
    let launch = s.state("launch");
    let old = std::fs::read(launch.join("a.json")).unwrap();
    let mount = ["-t", "tmpfs", "-o", "size=16k,mode=0777", "tmpfs"];
    let target = launch.to_str().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(mount)
        .arg(target)
        .status();
    if !mounted.is_ok_and(|s| s.success()) {
        return crate::support::skip("no file system may be mounted here");
    }
    let unmount = scopeguard(target);
    s.write(&launch.join("a.json"), &old);
    let mut filler = vec![b'x'; 65536];
    while !filler.is_empty() && std::fs::write(launch.join("filler"), &filler).is_err() {
        filler.truncate(filler.len() / 2);
    }
    std::fs::write(launch.join("filler2"), [b'x'; 4096]).ok();
    Roster::new([Agent::demo("a").env("X", "1")]).write(&s);
    let out = s.mosaic(&["fleet", "apply"]).code(1);
    assert!(out.stdout.contains("No space left on device"), "{out:?}");
    assert_eq!(std::fs::read(launch.join("a.json")).unwrap(), old);
    let names: Vec<_> = std::fs::read_dir(&launch)
        .unwrap()
        .flatten()
        .map(|e| e.file_name())
        .collect();
    assert!(
        names.iter().all(|n| !n.to_string_lossy().starts_with('.')),
        "{names:?}"
    );
    assert_eq!(
        s.up("a"),
        a,
        "nothing was restarted from half-written files"
    );
    drop(unmount);
    s.mosaic(&["fleet", "apply"]).ok();
    s.back("a", &a);
    s.in_sync();
}

/// Unmounts when dropped.
pub(super) fn scopeguard(target: &str) -> impl Drop {
    struct Unmount(String);
    impl Drop for Unmount {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount")
                .arg("-l")
                .arg(&self.0)
                .status();
        }
    }
    Unmount(target.to_owned())
}
