//! What must not leak, in or out: secrets, settings of the user's own tmux, other fleets, the
//! environment of whoever ran mosaic.

use serde_json::json;

use crate::support::{Agent, HOLDER, Roster, Sandbox, proc, unit_name};

#[test]
fn a_secret_is_in_the_agents_environment_and_nowhere_else() {
    const SECRET: &str = "s3cret-Kx81$`\"quoted";
    let Some(s) = Sandbox::booted() else { return };
    let file = s.home(".config/mosaic/fleet/agents/a.env");
    s.write(&file, "API_KEY=\"s3cret-Kx81\\$\\`\\\"quoted\"\n");
    Roster::demo(&["a", "b"]).up(&s);
    let a = s.up("a");
    assert_eq!(proc::environ(a.pid)["API_KEY"], SECRET);
    assert!(!proc::environ(s.up("b").pid).contains_key("API_KEY"));

    let hidden = |what: &str, text: &str| {
        assert!(!text.contains("s3cret-Kx81"), "the secret is in {what}");
    };
    hidden(
        "tmux's environment",
        &s.tmux(&["show-environment", "-g"]).ok().stdout,
    );
    hidden(
        "the session's",
        &s.tmux(&["show-environment", "-t", "=a"]).ok().stdout,
    );
    for unit in [HOLDER, &unit_name("a"), &unit_name("b")] {
        hidden("systemctl show", &s.systemctl(&["show", unit]).ok().stdout);
        hidden("systemctl cat", &s.systemctl(&["cat", unit]).ok().stdout);
    }
    hidden(
        "the manager's environment",
        &s.systemctl(&["show-environment"]).ok().stdout,
    );
    for pid in s.processes() {
        hidden("an argument list", &proc::cmdline(pid).join(" "));
        if pid != a.pid {
            hidden("another process", &format!("{:?}", proc::environ(pid)));
        }
    }
    for args in [
        &["fleet", "status", "--json"][..],
        &["fleet", "events"],
        &["fleet", "plan", "--json"],
        &["agent", "roster", "--json"],
        &["-vv", "fleet", "status"],
    ] {
        let out = s.mosaic(args);
        hidden("mosaic's output", &(out.stdout + &out.stderr));
    }
    let launch = std::fs::read_to_string(s.state("launch/a.json")).unwrap();
    hidden("the launch file", &launch);
    // A changed secret is a reason for a restart.
    s.write(&file, "API_KEY=other\n");
    assert_eq!(s.plan(&[]), ["write a.json", "restart a"]);
    s.mosaic(&["fleet", "apply"]).ok();
    assert_eq!(proc::environ(s.back("a", &a).pid)["API_KEY"], "other");
}

#[test]
fn files_that_may_hold_secrets_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(s) = Roster::new([Agent::demo("a").env("TOKEN", "in the roster")]).boot() else {
        return;
    };
    for file in [
        "install.json",
        "launch/a.json",
        "log/events.jsonl",
        "conversations/a.json",
    ] {
        let mode = std::fs::metadata(s.state(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{file}: {mode:o}");
    }
    for dir in [
        s.state(""),
        s.path("r/mosaic/fleet"),
        s.socket().parent().unwrap().to_owned(),
    ] {
        let mode = std::fs::metadata(&dir).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", dir.display());
    }
    assert!(
        !s.systemctl(&["show", &unit_name("a")])
            .ok()
            .stdout
            .contains("in the roster")
    );
    assert!(
        !s.tmux(&["show-environment", "-g"])
            .ok()
            .stdout
            .contains("in the roster")
    );
}

#[test]
fn the_users_own_tmux_conf_has_no_effect() {
    let Some(s) = Sandbox::booted() else { return };
    let conf = "set -g base-index 1\nsetw -g pane-base-index 1\nset -g remain-on-exit on\nset -g destroy-unattached on\nset -g default-shell /bin/false\nset -g prefix C-a\n";
    s.write(&s.home(".tmux.conf"), conf);
    s.write(&s.home(".config/tmux/tmux.conf"), conf);
    Roster::demo(&["a", "b"]).up(&s);
    let a = s.up("a");
    let option = |name: &str| {
        s.tmux(&["show-options", "-gv", name])
            .ok()
            .stdout
            .trim()
            .to_owned()
    };
    assert_eq!(option("base-index"), "0");
    assert_eq!(option("destroy-unattached"), "off");
    assert_eq!(option("prefix"), "C-b");
    assert_eq!(
        s.tmux(&["show-options", "-gwv", "remain-on-exit"])
            .ok()
            .stdout
            .trim(),
        "off"
    );
    s.kill_agent(&a, rustix::process::Signal::KILL);
    assert_eq!(s.back("a", &a).pane, a.pane);
    s.mosaic(&["agent", "tail", "a"]).ok().says("❯");
    s.in_sync();
}

#[test]
fn a_name_that_begins_another_is_never_taken_for_it() {
    let Some(s) = Roster::demo(&["a", "ab", "a-b"]).boot() else {
        return;
    };
    let before = ["ab", "a-b"].map(|n| s.up(n));
    s.mosaic(&["fleet", "stop", "a"]).ok();
    s.tmux(&["kill-session", "-t", "=a"]).ok();
    s.mosaic(&["agent", "tail", "a"])
        .code(1)
        .warns("`a` has no pane");
    s.mosaic(&["fleet", "start", "a"]).ok();
    s.mosaic(&["fleet", "restart", "a"]).ok();
    assert_eq!(["ab", "a-b"].map(|n| s.up(n)), before);
    Roster::demo(&["ab", "a-b"]).write(&s);
    s.mosaic(&["fleet", "apply"]).ok();
    assert_eq!(["ab", "a-b"].map(|n| s.up(n)), before);
    s.mosaic(&["agent", "status", "a"])
        .code(78)
        .warns("did you mean `ab`?");
    // Only the first letters, or a pattern, is nobody.
    s.mosaic(&["agent", "tail", "a*"]).code(2);
}

#[test]
fn two_fleets_in_two_managers_do_not_meet() {
    let Some(one) = Sandbox::booted() else { return };
    let two = std::thread::scope(|scope| scope.spawn(Sandbox::booted).join().unwrap()).unwrap();
    for s in [&one, &two] {
        Roster::demo(&["a", "b"]).up(s);
    }
    let before = (one.up("a"), one.server());
    let theirs = two.up("a");
    two.kill_agent(&theirs, rustix::process::Signal::KILL);
    two.back("a", &theirs);
    two.mosaic(&["fleet", "stop"]).ok();
    two.mosaic(&["fleet", "uninstall", "--yes", "--purge"]).ok();
    assert_eq!((one.up("a"), one.server()), before);
    one.in_sync();
    one.mosaic(&["fleet", "verify", "--live-only"]).ok();
}

#[test]
fn the_default_tmux_server_is_not_touched() {
    let Some(s) = Sandbox::booted() else { return };
    s.run(
        "tmux",
        &[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-s",
            "a",
            "sleep",
            "1000",
        ],
    )
    .ok();
    s.run("tmux", &["set-environment", "-g", "MINE", "1"]).ok();
    let facts = || {
        let panes = s
            .run(
                "tmux",
                &[
                    "list-panes",
                    "-a",
                    "-F",
                    "#{pid} #{pane_id} #{pane_pid} #{session_name}",
                ],
            )
            .ok();
        let rest = ["show-options", "show-hooks", "list-buffers", "list-keys"].map(|v| {
            let flags: &[&str] = if v.starts_with("show") {
                &[v, "-g"]
            } else {
                &[v]
            };
            s.run("tmux", flags).stdout
        });
        (panes.stdout, rest)
    };
    let before = facts();
    Roster::demo(&["a", "b"]).up(&s);
    s.mosaic(&["fleet", "restart"]).ok();
    s.mosaic(&["fleet", "verify", "--live-only"])
        .ok()
        .says("default tmux server untouched");
    s.mosaic(&["fleet", "uninstall", "--yes"]).ok();
    assert_eq!(facts(), before);
}

#[test]
fn variables_of_tmux_and_systemd_do_not_reach_an_agent() {
    let Some(mut s) = Sandbox::booted() else {
        return;
    };
    // Somebody imported a whole environment into the manager.
    let server = format!("TMUX={},1,0", s.path("t/other").display());
    s.systemctl(&[
        "set-environment",
        &server,
        "TMUX_PANE=%9",
        "NOTIFY_SOCKET=/nowhere",
    ])
    .ok();
    s.set("TMUX", s.path("t/other").display().to_string() + ",1,0");
    s.set("TMUX_PANE", "%7");
    Roster::demo(&["a"]).up(&s);
    let pid = s.up("a").pid;
    let env = proc::environ(pid);
    for name in [
        "TMUX",
        "TMUX_PANE",
        "NOTIFY_SOCKET",
        "INVOCATION_ID",
        "MANAGERPID",
        "SYSTEMD_EXEC_PID",
        "JOURNAL_STREAM",
        "LISTEN_FDS",
    ] {
        assert_eq!(env.get(name), None, "{name}");
    }
    assert_eq!(env["TERM"], "tmux-256color");
    assert_eq!(env["MOSAIC_AGENT"], "a");
    assert_eq!(
        env["PATH"],
        s.environment()["PATH"],
        "PATH of the install, not of the manager"
    );
    assert_eq!(env["HOME"], s.environment()["HOME"]);
    // Nothing is open in the agent but its terminal.
    let open: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .flatten()
        .filter_map(|e| std::fs::read_link(e.path()).ok())
        .map(|p| p.display().to_string())
        .filter(|p| p.contains("tmux") || p.contains("notify") || p.ends_with(".lock"))
        .collect();
    assert_eq!(open, Vec::<String>::new());
}

#[test]
fn agents_do_not_share_ignored_or_blocked_signals_with_their_launcher() {
    let Some(s) = Roster::new([Agent::script("a", "exec sleep 1000")]).boot() else {
        return;
    };
    let pid = s.up("a").pid;
    for (field, what) in [("SigBlk", "blocked"), ("SigIgn", "ignored")] {
        let mask = u64::from_str_radix(&proc::status(pid, field).unwrap(), 16).unwrap();
        // 32 and 33 are the C library's own.
        assert_eq!(mask & !(0b11 << 31), 0, "{what}: {mask:x}");
    }
}

#[test]
fn a_replaced_program_restarts_no_agent() {
    let Some(s) = Roster::demo(&["a", "b"]).boot() else {
        return;
    };
    let before = (s.up("a"), s.up("b"), s.server());
    // A new file under the old name, as package managers and cargo do it.
    let program = s.path("bin/mosaic");
    let new = s.path("bin/.mosaic.new");
    std::fs::copy(&program, &new).unwrap();
    std::fs::rename(&new, &program).unwrap();
    s.in_sync();
    s.mosaic(&["fleet", "apply"]).ok().says("in sync");
    s.mosaic(&["fleet", "install-systemd"]).ok();
    s.mosaic(&["fleet", "up", "--no-verify"]).ok();
    assert_eq!((s.up("a"), s.up("b"), s.server()), before);
    s.mosaic(&["fleet", "verify", "--live-only"]).ok();
    s.mosaic(&["fleet", "restart", "a"]).ok();
    assert_eq!(s.back("a", &before.0).pane, before.0.pane);
}

#[test]
fn an_old_tmux_is_refused() {
    let Some(s) = Sandbox::booted() else { return };
    Roster::demo(&["a"]).write(&s);
    std::fs::remove_file(s.path("bin/tmux")).unwrap();
    s.write_program(&s.path("bin/tmux"), "#!/bin/sh\n[ \"$1\" = -V ] && echo 'tmux 3.1c' && exit 0\necho called >>\"$HOME/called\"\nexit 1\n");
    for verb in ["up", "install-systemd"] {
        s.mosaic(&["fleet", verb])
            .code(69)
            .warns("3.1c")
            .warns("3.2");
    }
    s.mosaic(&["fleet", "doctor"]).code(1).says("3.2");
    assert!(
        !s.units("mosaic-fleet.target").exists(),
        "nothing was written"
    );
    assert!(!s.home("called").exists(), "nothing else was asked of it");
}

#[test]
fn no_tmux_at_all_is_said() {
    let Some(mut s) = Sandbox::booted() else {
        return;
    };
    Roster::demo(&["a"]).write(&s);
    std::fs::remove_file(s.path("bin/tmux")).unwrap();
    s.set("PATH", s.path("bin").display().to_string());
    s.mosaic(&["fleet", "up"])
        .code(69)
        .warns("tmux is not installed");
}

#[test]
fn the_socket_is_the_one_resolved_at_installation() {
    let Some(mut s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let a = s.up("a");
    let elsewhere = s.path("work/tmux");
    s.mkdir(&elsewhere);
    let own = s.environment()["TMUX_TMPDIR"].clone();
    s.set("TMUX_TMPDIR", elsewhere.display().to_string());
    assert_eq!(s.status("a")["pane"], json!(a.pane));
    s.in_sync();
    s.mosaic(&["fleet", "restart", "a"]).ok();
    assert_eq!(s.back("a", &a).pane, a.pane);
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
    s.set("TMUX_TMPDIR", own);
    // What a person types finds it.
    s.run(
        "tmux",
        &["-L", "mosaic-factory", "has-session", "-t", "=_holder"],
    )
    .ok();
    s.run("tmux", &["-L", "mosaic-factory", "has-session", "-t", "=a"])
        .ok();
}

#[test]
fn a_lost_roster_is_not_replaced_while_agents_run() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let a = s.up("a");
    std::fs::rename(s.roster(), s.path("work/roster.yaml")).unwrap();
    s.mosaic(&["fleet", "up"])
        .code(78)
        .warns("a fleet is installed: a");
    assert!(!s.roster().exists());
    std::fs::rename(s.path("work/roster.yaml"), s.roster()).unwrap();
    assert_eq!(s.agent("a").pid, a.pid);
    s.in_sync();
}

#[test]
fn another_roster_is_refused_by_every_verb_that_converges() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let a = s.up("a");
    Roster::demo(&["b"]).write(&s);
    let other = s.path("work/other.yaml");
    std::fs::rename(s.roster(), &other).unwrap();
    Roster::demo(&["a"]).write(&s);
    for verb in ["up", "plan", "apply", "install-systemd"] {
        s.mosaic(&["--config", other.to_str().unwrap(), "fleet", verb])
            .code(78)
            .warns("was installed from");
    }
    assert_eq!(s.agent("a").pid, a.pid);
    s.in_sync();
}

#[test]
fn a_unit_that_failed_is_forgotten_with_its_agent() {
    let Some(s) = Sandbox::booted() else {
        return;
    };
    let gone = Agent::demo("b").key("command", json!("mosaic-no-such-program"));
    Roster::new([Agent::demo("a"), gone]).write(&s);
    s.mosaic(&["fleet", "up", "--no-verify"]).code(1);
    // Its stop step may still run when the job has ended.
    crate::support::eventually("it has failed", || {
        s.systemctl(&["--failed"]).stdout.contains("mosaic-agent@b")
    });
    Roster::demo(&["a"]).write(&s);
    s.mosaic(&["fleet", "apply"]).ok();
    let listed = s.systemctl(&["list-units", "--all", "mosaic-*"]);
    assert!(!listed.stdout.contains("mosaic-agent@b"));
    s.systemctl(&["start", "mosaic-fleet.target"]).ok();
    s.mosaic(&["fleet", "uninstall", "--yes"]).ok();
    let listed = s.systemctl(&["list-units", "--all", "mosaic-*"]);
    assert!(!listed.stdout.contains("mosaic-"), "{}", listed.stdout);
}

#[test]
fn a_changed_socket_name_is_not_mixed_with_the_running_one() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let a = s.up("a");
    let renamed = Roster::demo(&["a"]).key("tmux", json!({"socket_name": "other"}));
    renamed.write(&s);
    let record = std::fs::read(s.state("install.json")).unwrap();
    s.mosaic(&["fleet", "apply"]).code(1).says("still runs on");
    let now = s.agent("a").pid;
    assert_eq!(now, a.pid);
    assert_eq!(std::fs::read(s.state("install.json")).unwrap(), record);
    // What the hint says works.
    s.mosaic(&["fleet", "stop"]).ok();
    s.mosaic(&["fleet", "up", "--no-verify"]).ok();
    s.tmux_on(
        &s.socket().with_file_name("other"),
        &["has-session", "-t", "=a"],
    )
    .ok();
}
