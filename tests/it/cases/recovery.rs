//! What dies comes back, alone, in its place; what must not come back stays down and says why.

use std::path::Path;

use rustix::process::Signal;
use serde_json::json;

use crate::support::{
    Agent, HOLDER, Place, Roster, Sandbox, eventually, eventually_some, proc, unit_name,
};

fn all_up(s: &Sandbox, agents: &[&str]) -> Vec<Place> {
    agents.iter().map(|a| s.up(a)).collect()
}

#[test]
fn a_killed_agent_comes_back_on_its_pane_and_its_siblings_do_not_notice() {
    let Some(s) = Roster::demo(&["a", "b", "c"]).boot() else {
        return;
    };
    let before = all_up(&s, &["a", "b", "c"]);
    let server = s.server();
    s.kill_agent(&before[0], Signal::KILL);
    let after = s.back("a", &before[0]);
    assert_eq!(after.pane, before[0].pane);
    assert_eq!(after.restarts, before[0].restarts + 1);
    assert_eq!(all_up(&s, &["b", "c"]), before[1..]);
    assert_eq!(s.server(), server);
    assert_eq!(s.status("a")["last_exit"], "killed by SIGKILL");
    assert!(s.screen("a").contains("❯"), "{}", s.screen("a"));
    s.in_sync();
}

#[test]
fn a_restart_keeps_pane_server_and_siblings() {
    let Some(s) = Roster::demo(&["a", "ab"]).boot() else {
        return;
    };
    let before = all_up(&s, &["a", "ab"]);
    let server = s.server();
    s.mosaic(&["fleet", "restart", "a"]).ok();
    let after = s.back("a", &before[0]);
    assert_eq!(after.pane, before[0].pane);
    assert_eq!(s.up("ab"), before[1]);
    assert_eq!(s.server(), server);
}

#[test]
fn a_killed_server_comes_back_with_every_agent() {
    let Some(s) = Roster::demo(&["a", "b"]).boot() else {
        return;
    };
    let before = all_up(&s, &["a", "b"]);
    let server = s.server().unwrap();
    proc::kill(server, Signal::KILL);
    s.back("a", &before[0]);
    s.back("b", &before[1]);
    let now = s.server().unwrap();
    assert_ne!(now, server);
    assert_eq!(
        s.unit(HOLDER).pid,
        now,
        "the holder unit owns the new server"
    );
    assert!(s.pane("_holder").is_some());
    assert_eq!(s.unit(HOLDER).restarts, 1);
    s.in_sync();
}

#[test]
fn kill_server_with_agents_that_exit_0_on_a_hangup() {
    let roster = Roster::new([
        Agent::demo("a").persona("exit-0-on-hangup"),
        Agent::demo("b"),
    ]);
    let Some(s) = roster.boot() else { return };
    let before = all_up(&s, &["a", "b"]);
    s.tmux(&["kill-server"]);
    s.back("a", &before[0]);
    s.back("b", &before[1]);
    let ended = s
        .events("a")
        .into_iter()
        .rfind(|e| e["event"] == "exited")
        .unwrap();
    assert_eq!(
        (ended["how"].as_str(), ended["status"].as_str()),
        (Some("exited"), Some("0"))
    );
    s.in_sync();
}

#[test]
fn an_agent_that_ignores_sigterm_restarts_without_the_stop_timeout() {
    let roster = Roster::new([Agent::demo("a").persona("ignore-term")]);
    let Some(s) = roster.boot() else { return };
    let a = s.up("a");
    s.kill_agent(&a, Signal::TERM);
    assert_eq!(s.up("a"), a, "it does ignore it");
    // It ignores the hangup of a stop, too: systemd's last word gets it after TimeoutStopSec.
    s.mosaic(&["fleet", "restart", "a"]).ok();
    let now = s.back("a", &a);
    assert_eq!(now.pane, a.pane);
    assert!(!proc::alive(a.pid));
    // An interactive shell ignores SIGTERM only: the hangup ends it at once.
    Roster::new([Agent::program("sh", &["/bin/bash", "--norc", "-i"])]).up(&s);
    let sh = s.up("sh");
    let out = s.mosaic(&["fleet", "restart", "sh", "--force"]).ok();
    assert!(out.took.as_secs() < 4, "{:?}", out.took);
    s.back("sh", &sh);
}

#[test]
fn an_agent_that_outlives_its_session_is_found_and_restarted() {
    let roster = Roster::new([
        Agent::demo("a").persona("never-exit-on-hangup"),
        Agent::demo("b"),
    ]);
    let Some(s) = roster.boot() else { return };
    let before = all_up(&s, &["a", "b"]);
    s.tmux(&["kill-session", "-t", "=a"]).ok();
    assert!(proc::alive(before[0].pid));
    assert_eq!(s.status("a")["problems"], json!(["active, no pane"]));
    let now = s.back("a", &before[0]);
    assert_ne!(now.pane, before[0].pane);
    assert!(!proc::alive(before[0].pid));
    assert_eq!(s.up("b"), before[1]);
}

#[test]
fn an_agent_that_outlives_the_server_is_found_and_restarted() {
    let roster = Roster::new([Agent::demo("a").persona("never-exit-on-hangup")]);
    let Some(s) = roster.boot() else { return };
    let a = s.up("a");
    proc::kill(s.server().unwrap(), Signal::KILL);
    s.back("a", &a);
}

#[test]
fn a_killed_placeholder_takes_the_pane_and_the_agent_gets_a_new_one() {
    let roster = Roster::new([
        Agent::demo("a"),
        Agent::demo("b").persona("never-exit-on-hangup"),
    ]);
    let Some(s) = roster.boot() else { return };
    let before = all_up(&s, &["a", "b"]);
    for agent in ["a", "b"] {
        proc::kill(s.pane(agent).unwrap().pid, Signal::KILL);
    }
    s.back("a", &before[0]);
    s.back("b", &before[1]);
    s.in_sync();
}

#[test]
fn twenty_agents_at_once_five_rounds() {
    let names: Vec<String> = (0..20).map(|n| format!("agent{n}")).collect();
    let agents = names.iter().map(|n| Agent::demo(n));
    let Some(s) = Roster::new(agents).boot() else {
        return;
    };
    let mut before: Vec<Place> = names.iter().map(|n| s.up(n)).collect();
    for round in 1..=5 {
        for place in &before {
            s.kill_agent(place, Signal::KILL);
        }
        let after: Vec<Place> = names
            .iter()
            .zip(&before)
            .map(|(n, b)| s.back(n, b))
            .collect();
        for (b, a) in before.iter().zip(&after) {
            assert_eq!((&a.pane, a.restarts), (&b.pane, round));
        }
        before = after;
    }
    assert_eq!(s.panes().len(), 21, "one pane each, and the holder's");
}

#[test]
fn stop_reaps_what_an_agent_left_in_a_session_of_its_own() {
    let roster = Roster::new([Agent::demo("a").persona("daemon")]);
    let Some(s) = roster.boot() else { return };
    s.up("a");
    let daemon = || {
        let records = s.records("a");
        let last = records.iter().rfind(|r| r["type"] == "daemon").unwrap();
        i32::try_from(last["pid"].as_i64().unwrap()).unwrap()
    };
    let first = daemon();
    assert!(proc::alive(first));
    assert_eq!(proc::unit_of(first).unwrap(), unit_name("a"));
    s.mosaic(&["fleet", "restart", "a"]).ok();
    s.gone(first);
    let second = daemon();
    assert_ne!(second, first);
    assert!(proc::alive(second));
    s.mosaic(&["fleet", "stop", "a"]).ok();
    s.gone(second);
}

#[test]
fn a_crash_loop_ends_in_failed_and_start_works_again() {
    let crashing = |persona: &str| {
        let limit = json!({"burst": 3, "interval": "60s"});
        Roster::new([
            Agent::demo("a").persona(persona).key("start_limit", limit),
            Agent::demo("b"),
        ])
    };
    let Some(s) = Sandbox::booted() else { return };
    crashing("crash-at-start").write(&s);
    s.mosaic(&["fleet", "up", "--no-verify"])
        .code(1)
        .says("exit code 3");
    s.up("b");
    eventually("`a` has failed", || s.agent("a").active == "failed");
    let starts = |s: &Sandbox| {
        s.events("a")
            .iter()
            .filter(|e| e["event"] == "started")
            .count()
    };
    assert_eq!(starts(&s), 3);
    let status = s.status("a");
    assert_eq!(status["state"], "failed");
    assert_eq!(status["last_exit"], "exit code 3");
    assert_eq!(s.plan(&[]), ["start a"]);
    let out = s.mosaic(&["fleet", "status"]).ok();
    assert!(out.stderr.contains("a: failed"), "{out:?}");
    s.mosaic(&["fleet", "events", "a"]).ok().says("exit code 3");

    crashing("").write(&s);
    s.mosaic(&["fleet", "apply"]).ok();
    s.up("a");
    s.in_sync();
}

#[test]
fn restart_never_stays_down() {
    let roster = Roster::new([Agent::demo("a").key("restart", json!("never"))]);
    let Some(s) = roster.boot() else { return };
    let a = s.up("a");
    s.kill_agent(&a, Signal::KILL);
    eventually("`a` is down", || s.agent("a").active == "failed");
    assert_eq!(s.agent("a").restarts, 0);
    s.mosaic(&["fleet", "start", "a"]).ok();
    s.up("a");
}

#[test]
fn a_missing_runtime_fails_with_78_and_does_not_loop() {
    let Some(s) = Sandbox::booted() else { return };
    Roster::new([
        Agent::demo("a").key("runtime", json!("claude")),
        Agent::demo("b"),
    ])
    .write(&s);
    s.mosaic(&["fleet", "up", "--no-verify"])
        .code(1)
        .says("`claude`");
    let unit = s.agent("a");
    assert_eq!(
        (unit.active.as_str(), unit.status, unit.restarts),
        ("failed", 78, 0)
    );
    s.up("b");
    s.mosaic(&["fleet", "doctor"])
        .code(1)
        .says("`claude` is not installed");
    // Once it is installed, apply starts it.
    s.write_program(&s.path("bin/claude"), "#!/bin/sh\nexec sleep 1000\n");
    s.mosaic(&["fleet", "apply"]).ok();
    eventually("`a` is active", || s.agent("a").active == "active");
}

#[test]
fn a_vanished_working_directory_fails_with_78_and_does_not_loop() {
    let Some(s) = Sandbox::booted() else { return };
    let directory = s.path("work/project");
    s.mkdir(&directory);
    let agent = Agent::demo("a").key("working_directory", json!(directory));
    Roster::new([agent, Agent::demo("b")]).up(&s);
    let a = s.up("a");
    std::fs::remove_dir(&directory).unwrap();
    s.kill_agent(&a, Signal::KILL);
    eventually("`a` has failed", || s.agent("a").active == "failed");
    let unit = s.agent("a");
    assert_eq!((unit.status, unit.restarts), (78, 1));
    let last = s.status("a")["last_exit"].as_str().unwrap().to_owned();
    assert!(last.contains("working directory"), "{last}");
    s.mosaic(&["fleet", "start", "a"])
        .code(1)
        .says("does not exist");
    s.mkdir(&directory);
    s.mosaic(&["fleet", "start", "a"]).ok();
    assert_eq!(s.up("a").pane, a.pane);
}

#[test]
fn a_broken_roster_does_not_reach_running_agents() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let a = s.up("a");
    s.write(&s.roster(), "version: [1\nagents: {");
    s.mosaic(&["fleet", "plan"]).code(78);
    s.kill_agent(&a, Signal::KILL);
    let a = s.back("a", &a);
    s.mosaic(&["fleet", "restart", "a"]).ok();
    let a = s.back("a", &a);
    std::fs::remove_file(s.roster()).unwrap();
    s.kill_agent(&a, Signal::KILL);
    s.back("a", &a);
    s.mosaic(&["fleet", "status"]).ok();
    s.mosaic(&["fleet", "stop"]).ok();
}

#[test]
fn a_deleted_socket_comes_back_by_what_doctor_says() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let a = s.up("a");
    let server = s.server().unwrap();
    std::fs::remove_file(s.socket()).unwrap();
    s.mosaic(&["fleet", "status"]).ok();
    let doctor = s.mosaic(&["fleet", "doctor", "--json"]).code(1).json();
    let finding = doctor
        .as_array()
        .unwrap()
        .iter()
        .find(|f| f["level"] == "fail")
        .unwrap();
    assert_eq!(finding["subject"], "tmux server");
    let fix = finding["fix"].as_str().unwrap();
    s.run("/bin/sh", &["-c", fix]).ok();
    eventually("the server answers again", || s.server() == Some(server));
    assert_eq!(s.up("a"), a, "nothing was restarted");
    s.mosaic(&["fleet", "doctor"]).ok();
    s.in_sync();
}

#[test]
fn a_deleted_socket_comes_back_by_apply() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let a = s.up("a");
    let server = s.server();
    std::fs::remove_file(s.socket()).unwrap();
    s.mosaic(&["fleet", "apply"]).ok();
    eventually("the server answers again", || s.server() == server);
    assert_eq!(s.up("a"), a, "nothing was restarted");
    s.in_sync();
}

#[test]
fn the_look_for_orphans_leaves_agents_alone_when_the_socket_is_deleted() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let a = s.up("a");
    std::fs::remove_file(s.socket()).unwrap();
    // One that began with the server may still be waiting: the second then leaves it to the first.
    let state = s.state("");
    let look = ["internal", "orphans", "--state", state.to_str().unwrap()];
    eventually("it looks, and finds nobody who answers", || {
        s.mosaic(&look).status.code() == Some(69)
    });
    let unit = s.agent("a");
    assert_eq!((unit.pid, unit.active.as_str()), (a.pid, "active"));
}

#[test]
fn an_agent_whose_pane_a_person_closed_comes_back_beside_theirs() {
    let roster = Roster::new([
        Agent::demo("a"),
        Agent::demo("b").persona("never-exit-on-hangup"),
    ]);
    let Some(s) = roster.boot() else { return };
    for agent in ["a", "b"] {
        let before = s.up(agent);
        let target = format!("={agent}:");
        let split = ["split-window", "-d", "-P", "-F", "#{pane_id}", "-t"];
        let theirs = s.tmux(&[&split[..], &[&target, "sleep", "1000"]].concat());
        let theirs = theirs.ok().stdout.trim_end().to_owned();
        s.tmux(&["kill-pane", "-t", &before.pane]).ok();
        let ours = eventually_some("the agent is back", || {
            let unit = s.agent(agent);
            let tty = proc::fd(unit.pid, 0)?;
            let back = unit.active == "active" && unit.pid != before.pid;
            s.panes()
                .into_iter()
                .find(|p| back && p.session == agent && tty == Path::new(&p.tty))
        });
        let mut panes: Vec<String> = s
            .panes()
            .into_iter()
            .filter(|p| p.session == agent)
            .map(|p| p.id)
            .collect();
        panes.sort();
        assert_eq!(panes, [theirs, ours.id], "the person's pane stays");
        s.mosaic(&["fleet", "restart", agent]).ok();
        assert_eq!(s.status(agent)["problems"], json!([]));
    }
    s.in_sync();
}

#[test]
fn an_end_is_written_on_the_pane_in_every_sandbox() {
    let levels = ["off", "basic", "strict"];
    let agents = levels.map(|level| Agent::demo(level).key("sandbox", json!(level)));
    let Some(s) = Roster::new(agents).boot() else {
        return;
    };
    for level in levels {
        let before = s.up(level);
        s.mosaic(&["fleet", "stop", level]).ok();
        let said = format!("{level} ended at");
        eventually("the line is there", || s.screen(level).contains(&said));
        s.mosaic(&["fleet", "start", level]).ok();
        assert_eq!(s.up(level).pane, before.pane);
    }
}

#[test]
fn a_foreign_server_on_the_socket_is_refused() {
    let Some(s) = Sandbox::booted() else { return };
    Roster::demo(&["a"]).write(&s);
    s.mosaic(&["fleet", "install-systemd"]).ok();
    let socket = s.socket();
    s.mkdir(socket.parent().unwrap());
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(
        socket.parent().unwrap(),
        std::fs::Permissions::from_mode(0o700),
    )
    .unwrap();
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
    let foreign = s.server().unwrap();
    s.mosaic(&["fleet", "start"])
        .code(78)
        .warns("another tmux server")
        .warns("kill-server");
    s.mosaic(&["fleet", "apply"])
        .code(1)
        .says("not started by mosaic");
    // Past mosaic's own checks, as a login or a timer would start it.
    s.systemctl(&["start", "mosaic-fleet.target"]);
    eventually("both units give up", || {
        s.unit(HOLDER).active == "failed"
            && s.agent("a").status == 78
            && s.agent("a").active == "failed"
    });
    let sessions: Vec<String> = s.panes().into_iter().map(|p| p.session).collect();
    assert_eq!(sessions, ["mine"], "nothing was made in it");
    assert_eq!(s.server(), Some(foreign), "it is left alone");
    assert!(s.pane("mine").is_some());
    s.tmux(&["kill-server"]).ok();
    s.mosaic(&["fleet", "start"]).ok();
    s.up("a");
}

#[test]
fn a_foreign_session_of_an_agents_name_is_refused_until_replaced() {
    let Some(s) = Roster::demo(&["a", "b"]).boot() else {
        return;
    };
    let b = s.up("b");
    s.mosaic(&["fleet", "stop", "a"]).ok();
    s.tmux(&["kill-session", "-t", "=a"]).ok();
    s.tmux(&["new-session", "-d", "-s", "a", "sleep", "1000"])
        .ok();
    let foreign = s.pane("a").unwrap();
    s.mosaic(&["fleet", "start", "a"])
        .code(78)
        .warns("not made by mosaic")
        .warns("--replace");
    assert_eq!(s.pane("a"), Some(foreign.clone()));
    s.mosaic(&["fleet", "start", "a", "--replace"]).ok();
    s.up("a");
    s.gone(foreign.pid);
    assert_eq!(s.up("b"), b);
}

#[test]
fn keys_typed_while_an_agent_is_down_do_not_reach_its_successor() {
    // It takes what it finds, where a well-made program would throw it away itself.
    let taking = Agent::script("cat", "exec cat >>taken").key("restart_delay", json!("2s"));
    let demo = Agent::demo("demo").key("restart_delay", json!("2s"));
    let Some(s) = Roster::new([taking, demo]).boot() else {
        return;
    };
    let before = all_up(&s, &["cat", "demo"]);
    for (agent, place) in ["cat", "demo"].iter().zip(&before) {
        s.kill_agent(place, Signal::KILL);
        eventually("it is down", || s.agent(agent).sub == "auto-restart");
        s.type_into(agent, "rm -rf the-world");
        s.press(agent, "Enter");
    }
    for (agent, place) in ["cat", "demo"].iter().zip(&before) {
        s.back(agent, place);
        eventually("it listens", || s.status(agent)["state"] != "starting");
        // Proof that keys do arrive: these are the first it sees.
        s.type_into(agent, "hello");
        s.press(agent, "Enter");
    }
    let taken = || std::fs::read_to_string(s.path("work/taken")).unwrap_or_default();
    eventually("the keys arrive", || {
        !s.messages("demo").is_empty() && taken().contains("hello")
    });
    assert_eq!(s.messages("demo"), ["hello"]);
    assert_eq!(taken(), "hello\n");
}

#[test]
fn an_agent_killed_in_the_alternate_screen_leaves_it() {
    let roster = Roster::new([Agent::demo("a")
        .persona("alt-screen")
        .key("restart_delay", json!("60s"))]);
    let Some(s) = roster.boot() else { return };
    let a = s.up("a");
    let format = |f: &str| {
        s.tmux(&["display-message", "-p", "-t", &a.pane, f])
            .ok()
            .stdout
    };
    assert_eq!(format("#{alternate_on}").trim(), "1");
    s.kill_agent(&a, Signal::KILL);
    eventually("the screen says how it ended", || {
        s.screen("a").contains("killed by SIGKILL")
    });
    assert_eq!(format("#{alternate_on} #{mouse_any_flag}").trim(), "0 0");
}

#[test]
fn a_viewer_stays_attached_over_a_restart() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let a = s.up("a");
    // A control client needs no terminal.
    let socket = s.socket().display().to_string();
    let mut command = s.command("tmux");
    command.args([
        "-N",
        "-S",
        &socket,
        "-C",
        "attach-session",
        "-t",
        "=a",
        "-f",
        "no-output,ignore-size",
    ]);
    let (reader, writer) = std::io::pipe().unwrap();
    command.stdin(reader).stdout(std::process::Stdio::null());
    let mut viewer = command.spawn().unwrap();
    eventually("the viewer is attached", || s.status("a")["viewers"] == 1);
    s.mosaic(&["fleet", "restart", "a"]).ok();
    s.back("a", &a);
    assert_eq!(s.status("a")["viewers"], 1);
    drop(writer);
    viewer.wait().unwrap();
}
