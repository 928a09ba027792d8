//! Agents without a service manager, for real: the built binary, a private tmux server, a home of
//! their own. Every fleet is ended when its test ends, however that is, and nothing may be left.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mosaic::fleet::{Agent, Restart, StartLimit};
use mosaic::host::manager::Unit;
use mosaic::host::tmux::Pane;
use mosaic::host::{files, process, procfs};
use mosaic::install::{Install, Mode};
use mosaic::launch::Launch;
use mosaic::names::AgentName;
use mosaic::paths::Paths;
use mosaic::terminal::supervise::status::Status;
use mosaic::terminal::{holder, supervised};
use rustix::process::Signal;

const WAIT: Duration = Duration::from_secs(20);

struct Fleet {
    install: Install,
    dir: tempfile::TempDir,
}

impl Fleet {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("mosaic").tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let paths = Paths {
            home: at("home"),
            roster: at("config/roster.yaml"),
            state: at("state"),
            runtime: at("run"),
            units: at("units"),
        };
        std::fs::create_dir(&paths.home).unwrap();
        let path = std::env::var("PATH").unwrap();
        let install = Install {
            version: 1,
            mode: Mode::Supervisor,
            unit_prefix: "mosaic".into(),
            socket_name: "fleet".into(),
            socket: at("tmux/fleet"),
            holder_session: "_holder".into(),
            tmux: process::find_program("tmux", &path, Path::new("/"))
                .expect("these tests need tmux"),
            mosaic: PathBuf::from(env!("CARGO_BIN_EXE_mosaic")),
            path,
            paths,
        };
        let p = &install.paths;
        files::write_atomic(&p.install(), files::to_json(&install).as_bytes(), 0o600).unwrap();
        files::write_atomic(
            &p.tmux_conf(),
            holder::conf(&install, 2000).as_bytes(),
            0o600,
        )
        .unwrap();
        Self { install, dir }
    }

    fn agent(&self, name: &str, command: &[&str], change: impl FnOnce(&mut Agent)) {
        let home = self.install.paths.home.to_string_lossy().into_owned();
        let words = command.iter().map(|c| (*c).to_owned()).collect();
        let mut agent = Agent {
            env: BTreeMap::from([("HOME".into(), home)]),
            restart_delay_ms: 100,
            ..Agent::usual(
                AgentName::new(name).unwrap(),
                "shell",
                words,
                self.dir.path().to_owned(),
            )
        };
        change(&mut agent);
        let launch = Launch {
            version: 1,
            agent,
            program: None,
            path: self.install.path.clone(),
            env_files_digest: String::new(),
        };
        files::write_atomic(
            &self.install.paths.launch(name),
            files::to_json(&launch).as_bytes(),
            0o600,
        )
        .unwrap();
    }

    /// An agent that runs a shell script.
    fn script(&self, name: &str, script: &str) {
        self.agent(name, &["bash", "--norc", "-c", script], |_| {});
    }

    fn start(&self, agents: &[&str]) -> Vec<String> {
        results(supervised::start(&self.install, agents, WAIT).unwrap())
    }

    fn unit(&self, agent: &str) -> Unit {
        let name = self.install.agent_unit(agent);
        supervised::list(&self.install)
            .into_iter()
            .find(|u| u.name == name)
            .unwrap_or_default()
    }

    /// `si_code` and status of the agent's last end, from its supervisor's record.
    fn last_exit(&self, agent: &str) -> (i32, i32) {
        let status = Status::load(&self.install.paths, agent).unwrap().unwrap();
        status.last.map(|e| (e.code, e.status)).unwrap()
    }

    fn until(&self, agent: &str, what: &str, met: impl Fn(&Unit) -> bool) -> Unit {
        let deadline = Instant::now() + WAIT;
        loop {
            let unit = self.unit(agent);
            if met(&unit) {
                return unit;
            }
            assert!(
                Instant::now() < deadline,
                "`{agent}` never {what}: {unit:?}\n{}",
                self.screen(agent)
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn pane(&self, agent: &str) -> Pane {
        self.install
            .tmux()
            .panes()
            .unwrap()
            .into_iter()
            .find(|p| p.agent == agent)
            .expect("a pane")
    }

    fn screen(&self, agent: &str) -> String {
        let panes = self.install.tmux().panes().unwrap_or_default();
        let Some(pane) = panes.into_iter().find(|p| p.agent == agent) else {
            return String::new();
        };
        self.install
            .tmux()
            .history(&pane.id, 100, false)
            .unwrap_or_default()
    }

    fn shows(&self, agent: &str, text: &str) {
        let deadline = Instant::now() + WAIT;
        while !self.screen(agent).contains(text) {
            assert!(
                Instant::now() < deadline,
                "no `{text}` on the screen of `{agent}`:\n{}",
                self.screen(agent)
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Processes that are this fleet's by their environment or their arguments.
    fn processes(&self) -> Vec<(i32, String)> {
        let mark = self.dir.path().to_string_lossy().into_owned();
        let holds = |bytes: &[u8]| bytes.windows(mark.len()).any(|w| w == mark.as_bytes());
        procfs::all()
            .into_iter()
            .filter(|(pid, s)| s.state != 'Z' && *pid != i32::try_from(std::process::id()).unwrap())
            .filter_map(|(pid, _)| {
                let read =
                    |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                let line = read("cmdline");
                (holds(&read("environ")) || holds(&line))
                    .then(|| (pid, String::from_utf8_lossy(&line).replace('\0', " ")))
            })
            .collect()
    }

    fn until_processes(&self, what: &str, met: impl Fn(&[(i32, String)]) -> bool) -> Duration {
        let begun = Instant::now();
        loop {
            let left = self.processes();
            if met(&left) {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < WAIT, "not {what}: {left:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn kill(&self, pid: i32) {
        let start = procfs::stat(pid).unwrap().start;
        assert!(process::signal(pid, start, Signal::KILL).unwrap());
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let ended = supervised::stop_all(&self.install);
        // A look for leftovers that a closing pane has started may still be under way.
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.processes().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let left = self.processes();
        for (pid, _) in &left {
            if let Some(stat) = procfs::stat(*pid) {
                let _ = process::signal(*pid, stat.start, Signal::KILL);
            }
        }
        if !std::thread::panicking() {
            ended.unwrap();
            assert!(left.is_empty(), "left behind: {left:?}");
        }
    }
}

fn results(done: Vec<supervised::Done>) -> Vec<String> {
    done.into_iter()
        .map(|d| d.error.map_or(d.job.result, |e| e.to_string()))
        .collect()
}

fn running(u: &Unit) -> bool {
    u.active == "active"
}

#[test]
fn a_killed_agent_comes_back_on_its_pane_and_its_sibling_notices_nothing() {
    let f = Fleet::new();
    f.agent("a", &["bash", "--norc", "-i"], |_| {});
    f.agent("ab", &["bash", "--norc", "-i"], |_| {});
    assert_eq!(f.start(&["a", "ab"]), ["done", "done"]);
    assert_eq!(
        f.start(&["a", "ab"]),
        ["done", "done"],
        "again: nothing to do"
    );
    let (pane, sibling, before) = (f.pane("a"), f.unit("ab"), f.unit("a"));
    // The agent leads the session of its pane's terminal, in the foreground.
    let stat = procfs::stat(before.main_pid).unwrap();
    assert_eq!(
        (stat.session, Some(stat.tty)),
        (before.main_pid, procfs::tty_number(&pane.tty))
    );
    assert!(before.memory.unwrap() > 100_000);
    f.kill(before.main_pid);
    let after = f.until("a", "came back", |u| {
        running(u) && u.main_pid != before.main_pid
    });
    assert_eq!(
        (after.restarts, after.result.as_str(), f.last_exit("a")),
        (1, "signal", (2, 9))
    );
    assert_eq!((f.pane("a").id, f.pane("a").pid), (pane.id, pane.pid));
    assert_eq!(
        f.unit("ab"),
        Unit {
            memory: f.unit("ab").memory,
            ..sibling
        }
    );
    let events = mosaic::record::events(&f.install.paths, Some("a"));
    let text = serde_json::to_string(&events).unwrap();
    assert!(
        text.contains(r#""event":"exited","how":"killed","status":"KILL","result":"signal""#),
        "{text}"
    );
}

#[test]
fn stop_keeps_the_pane_and_start_uses_it_again() {
    let f = Fleet::new();
    f.agent("a", &["bash", "--norc", "-i"], |_| {});
    f.start(&["a"]);
    let (pane, first) = (f.pane("a"), f.unit("a").main_pid);
    let begun = Instant::now();
    assert_eq!(
        results(supervised::stop(&f.install, &["a", "never"], WAIT).unwrap()),
        ["done", "done"]
    );
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "a shell ends by a hangup: {:?}",
        begun.elapsed()
    );
    let unit = f.unit("a");
    assert_eq!(
        (unit.active.as_str(), unit.sub.as_str(), unit.main_pid),
        ("inactive", "dead", 0)
    );
    f.shows("a", "a ended at");
    assert_eq!(f.start(&["a"]), ["done"]);
    assert_eq!(f.pane("a").id, pane.id);
    let second = f.unit("a").main_pid;
    assert_eq!(
        results(supervised::restart(&f.install, &["a"], WAIT).unwrap()),
        ["done"]
    );
    let unit = f.unit("a");
    assert_eq!((f.pane("a").id, unit.restarts), (pane.id, 0));
    assert!(unit.main_pid != second && second != first);
    supervised::remove(&f.install, "a").unwrap();
    supervised::remove(&f.install, "a").unwrap();
    assert_eq!(f.unit("a"), Unit::default());
    assert!(
        f.install
            .tmux()
            .panes()
            .unwrap()
            .iter()
            .all(|p| p.agent.is_empty())
    );
}

#[test]
fn an_agent_that_will_not_end_is_killed_with_all_it_started() {
    let f = Fleet::new();
    let stubborn = "trap '' HUP TERM INT; setsid bash -c \"trap '' HUP TERM; while :; do sleep 0.3; done\" & \
                    (setsid nohup sleep 1001 &) ; while :; do sleep 0.2; done";
    f.script("a", stubborn);
    f.start(&["a"]);
    f.until_processes("up", |p| {
        p.iter().any(|(_, line)| line.contains("sleep 1001"))
    });
    let begun = Instant::now();
    assert_eq!(
        results(supervised::stop(&f.install, &["a"], WAIT).unwrap()),
        ["done"]
    );
    let took = begun.elapsed();
    assert!((4..8).contains(&took.as_secs()), "{took:?}");
    assert_eq!(f.unit("a").result, "timeout");
    // What is left is the server, the holder and the supervisor.
    let left = f.processes();
    assert!(
        !left
            .iter()
            .any(|(_, line)| line.contains("bash") || line.contains("sleep")),
        "{left:?}"
    );
}

#[test]
fn a_restart_leaves_nothing_of_the_predecessor() {
    let f = Fleet::new();
    f.script("a", "setsid bash -c \"trap '' HUP TERM; while :; do sleep 0.3; done\" & setsid sleep 1002 & exec sleep 1003");
    f.start(&["a"]);
    f.until_processes("up", |p| {
        p.iter().any(|(_, l)| l.contains("sleep 1002"))
            && p.iter().any(|(_, l)| l.contains("sleep 1003"))
    });
    let first = f.unit("a").main_pid;
    f.kill(first);
    f.until("a", "came back", |u| running(u) && u.main_pid != first);
    let exactly_one = |p: &[(i32, String)]| {
        ["sleep 1002", "sleep 1003", "bash -c trap"]
            .iter()
            .all(|what| p.iter().filter(|(_, line)| line.starts_with(what)).count() == 1)
    };
    f.until_processes("one of each", exactly_one);
}

#[test]
fn what_cannot_start_is_not_tried_again() {
    let f = Fleet::new();
    f.script("a", "exit 78");
    f.agent("b", &["no-such-program-anywhere"], |_| {});
    f.agent("c", &["bash", "-c", "exit 0"], |a| {
        a.restart = Restart::Never
    });
    f.agent("d", &["bash", "-c", "exit 4"], |a| {
        a.restart = Restart::Never
    });
    f.start(&["a", "b", "c", "d"]);
    f.until("a", "failed", |u| u.active == "failed");
    assert_eq!(f.last_exit("a"), (1, 78));
    let b = f.until("b", "failed", |u| u.active == "failed");
    assert_eq!((f.last_exit("b"), b.restarts), ((1, 78), 0));
    assert_eq!(
        f.until("c", "ended", |u| u.active == "inactive").result,
        "success"
    );
    f.until("d", "failed", |u| u.active == "failed");
    assert_eq!(f.last_exit("d"), (1, 4));
    f.shows(
        "b",
        "b failed: it cannot start as it is configured; last: exit code 78 · mosaic fleet start b",
    );
    f.shows("b", "no-such-program-anywhere");
}

#[test]
fn a_crash_loop_ends_and_a_start_by_hand_tries_again() {
    let f = Fleet::new();
    let flag = f.dir.path().join("mended");
    let script = format!("test -e '{}' && exec sleep 1004; exit 3", flag.display());
    f.agent("a", &["bash", "-c", &script], |a| {
        a.restart_delay_ms = 10;
        a.start_limit = StartLimit {
            burst: 4,
            interval_ms: 60_000,
        };
    });
    f.start(&["a"]);
    let unit = f.until("a", "failed", |u| u.active == "failed");
    assert_eq!(
        (unit.result.as_str(), f.last_exit("a"), unit.restarts),
        ("start-limit-hit", (1, 3), 3)
    );
    f.shows(
        "a",
        "a failed: 4 starts in 60 s; last: exit code 3 · mosaic fleet start a",
    );
    let pane = f.pane("a").id;
    std::fs::write(&flag, "").unwrap();
    assert_eq!(f.start(&["a"]), ["done"]);
    assert_eq!(
        (
            f.unit("a").active.as_str(),
            f.unit("a").restarts,
            f.pane("a").id
        ),
        ("active", 0, pane)
    );
}

/// An agent that has left helpers in sessions of their own, one of them deaf.
const LITTER: &str = "trap '' HUP; setsid bash -c \"trap '' HUP TERM; while :; do sleep 0.3; done\" & setsid sleep 1005 & while :; do sleep 0.2; done";

#[test]
fn a_killed_supervisor_takes_everything_along() {
    let f = Fleet::new();
    f.script("a", LITTER);
    f.agent("b", &["bash", "--norc", "-i"], |_| {});
    f.start(&["a", "b"]);
    f.until_processes("up", |p| {
        p.iter().any(|(_, line)| line.contains("sleep 1005"))
    });
    let (agent, sibling) = (f.unit("a").main_pid, f.unit("b").main_pid);
    f.kill(f.pane("a").pid);
    f.until("a", "was missed", |u| {
        u.active == "failed" && u.result == "supervisor-gone"
    });
    f.until_processes("dead at once", |p| !p.iter().any(|(pid, _)| *pid == agent));
    f.until_processes("clean", |p| {
        !p.iter()
            .any(|(_, line)| line.starts_with("bash -c trap") || line.starts_with("sleep 1005"))
    });
    assert_eq!(f.unit("b").main_pid, sibling);
    assert_eq!(f.start(&["a"]), ["done"]);
    assert!(running(&f.unit("a")));
}

#[test]
fn a_supervisor_whose_record_is_lost_is_told_all_the_same() {
    let fleet = Fleet::new();
    fleet.script("a", "exec sleep 1000");
    fleet.start(&["a"]);
    let first = fleet.until("a", "runs", running).main_pid;
    let lose = || std::fs::remove_file(fleet.install.paths.supervisor("a")).unwrap();
    lose();
    assert_eq!(fleet.start(&["a"]), ["done"]);
    assert_eq!(fleet.unit("a").main_pid, first, "left alone");
    lose();
    let done = supervised::restart(&fleet.install, &["a"], WAIT).unwrap();
    assert_eq!(results(done), ["done"]);
    let second = fleet.until("a", "runs", running).main_pid;
    assert_ne!(second, first);
    lose();
    let done = supervised::stop(&fleet.install, &["a"], WAIT).unwrap();
    assert_eq!(results(done), ["done"]);
    assert!(procfs::stat(second).is_none_or(|s| s.state == 'Z'));
    lose();
    assert_eq!(fleet.start(&["a"]), ["done"]);
    fleet.until("a", "runs", running);
}

#[test]
fn a_closed_pane_ends_its_agent() {
    let f = Fleet::new();
    f.script("a", LITTER);
    f.agent("b", &["bash", "--norc", "-i"], |_| {});
    f.start(&["a", "b"]);
    f.until_processes("up", |p| {
        p.iter().any(|(_, line)| line.contains("sleep 1005"))
    });
    f.install.tmux().kill_session("a").unwrap();
    f.until("a", "was missed", |u| {
        u.result == "pane-closed" && u.active == "failed"
    });
    f.until_processes("clean", |p| {
        !p.iter().any(|(_, line)| {
            line.contains("sleep") || line.contains("supervise --state") && line.ends_with(" a ")
        })
    });
    assert!(running(&f.unit("b")));
}

#[test]
fn a_successor_waits_until_its_predecessor_has_ended() {
    let f = Fleet::new();
    f.script("a", LITTER);
    f.start(&["a"]);
    f.until_processes("up", |p| {
        p.iter().any(|(_, line)| line.contains("sleep 1005"))
    });
    let old: Vec<i32> = std::iter::once(f.unit("a").main_pid)
        .chain(procfs::descendants(f.pane("a").pid))
        .collect();
    f.install.tmux().kill_session("a").unwrap();
    assert_eq!(f.start(&["a"]), ["done"]);
    let left: Vec<&i32> = old
        .iter()
        .filter(|pid| procfs::stat(**pid).is_some())
        .collect();
    assert!(left.is_empty(), "still there: {left:?}");
}

#[test]
fn an_agent_never_outlives_its_supervisor_and_its_helpers_not_the_next_start() {
    let f = Fleet::new();
    // No hook tells of the closed pane.
    files::write_atomic(
        &f.install.paths.tmux_conf(),
        mosaic::host::tmux::conf(2000).as_bytes(),
        0o600,
    )
    .unwrap();
    f.script("a", LITTER);
    f.start(&["a"]);
    f.until_processes("up", |p| {
        p.iter().any(|(_, line)| line.contains("sleep 1005"))
    });
    let agent = f.unit("a").main_pid;
    f.kill(f.pane("a").pid);
    f.until_processes("dead", |p| !p.iter().any(|(pid, _)| *pid == agent));
    let helpers = |p: &[(i32, String)]| {
        p.iter()
            .filter(|(_, line)| line.starts_with("sleep 1005"))
            .map(|(pid, _)| *pid)
            .collect::<Vec<_>>()
    };
    let old = helpers(&f.processes());
    assert_eq!(
        old.len(),
        1,
        "the kernel knows nothing of helpers in sessions of their own"
    );
    assert_eq!(f.start(&["a"]), ["done"]);
    f.until_processes("up", |p| helpers(p).len() == 1 && helpers(p) != old);
}

#[test]
fn nothing_outlives_the_server() {
    for kill in [false, true] {
        let f = Fleet::new();
        // Once with an agent that hears the hangup: the helpers are deaf either way.
        f.script(
            "a",
            if kill {
                LITTER
            } else {
                LITTER.split_once(';').unwrap().1
            },
        );
        f.agent("b", &["bash", "--norc", "-i"], |_| {});
        f.start(&["a", "b"]);
        f.until_processes("up", |p| {
            p.iter().any(|(_, line)| line.contains("sleep 1005"))
        });
        if kill {
            f.kill(f.install.tmux().server_pid().unwrap());
        } else {
            // As a person would, with the hooks that a closing session runs.
            let mut client = process::command(&f.install.tmux);
            client.args(["-S", &f.install.socket.to_string_lossy(), "kill-server"]);
            assert!(process::run(client, None, WAIT).unwrap().status.success());
        }
        f.until_processes("gone", <[_]>::is_empty);
        assert_eq!(f.unit("a").result, "pane-closed");
        assert_eq!(f.start(&["a", "b"]), ["done", "done"]);
    }
}

#[test]
fn what_is_not_ours_is_refused() {
    let f = Fleet::new();
    f.agent("a", &["sleep", "1006"], |_| {});
    let tmux = f.install.tmux();
    holder::prepare_socket_dir(&f.install.socket).unwrap();
    let other = f.dir.path().join("other.conf");
    std::fs::write(&other, "").unwrap();
    tmux.start_server(&other, "theirs", &["sleep".into(), "1007".into()])
        .unwrap();
    let e = supervised::start(&f.install, &["a"], WAIT).unwrap_err();
    assert!(e.message.contains("another tmux server"), "{e}");
    supervised::stop_all(&f.install).unwrap();
    assert!(tmux.server_pid().is_ok(), "a foreign server is left alone");
    tmux.kill_server().unwrap();
    f.until_processes("gone", <[_]>::is_empty);

    supervised::start_server(&f.install).unwrap();
    let foreign = mosaic::host::tmux::NewSession {
        name: "a",
        agent: "",
        directory: Path::new("/"),
        command: &["sleep".into(), "1008".into()],
    };
    tmux.new_session(&foreign).unwrap();
    let result = f.start(&["a"]);
    assert!(result[0].contains("was not made by mosaic"), "{result:?}");
    supervised::remove(&f.install, "a").unwrap();
    assert!(tmux.panes().unwrap().iter().any(|p| p.session == "a"));
}

#[test]
fn twenty_at_once() {
    let f = Fleet::new();
    let names: Vec<String> = (0..20).map(|n| format!("a{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for name in &names {
        f.agent(name, &["bash", "--norc", "-i"], |_| {});
    }
    for _ in 0..3 {
        assert!(f.start(&names).iter().all(|r| r == "done"));
        assert!(
            results(supervised::restart(&f.install, &names, WAIT).unwrap())
                .iter()
                .all(|r| r == "done")
        );
        assert!(
            results(supervised::stop(&f.install, &names, WAIT).unwrap())
                .iter()
                .all(|r| r == "done")
        );
    }
    assert_eq!(
        supervised::list(&f.install)
            .iter()
            .filter(|u| u.sub == "dead")
            .count(),
        20
    );
}

#[test]
fn a_supervisor_that_cannot_begin_is_missed_soon() {
    let f = Fleet::new();
    f.agent("a", &["sleep", "1009"], |_| {});
    supervised::start_server(&f.install).unwrap();
    let install = Install {
        mosaic: "/bin/false".into(),
        ..f.install.clone()
    };
    let begun = Instant::now();
    let result = results(supervised::start(&install, &["a"], WAIT).unwrap());
    assert!(
        result[0].contains("the pane of `a` closed at once"),
        "{result:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(5));
}
