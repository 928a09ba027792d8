//! Units: every rendered file is accepted by systemd, hostile values stay values, limits and sandbox
//! are in force.

use serde_json::json;

use crate::support::{
    Agent, HOLDER, Output, Roster, Sandbox, eventually_some, proc, skip, unit_name,
};

fn hostile() -> Roster {
    Roster::new([
        Agent::demo("plain"),
        Agent::demo("limited").key(
            "limits",
            json!({"memory_max": "256M", "cpu_quota": "150%", "tasks_max": 64}),
        ),
        Agent::demo("basic").key("sandbox", json!("basic")),
        Agent::demo("strict").key("sandbox", json!("strict")),
        Agent::demo("never").key("restart", json!("never")),
    ])
}

fn verify(s: &Sandbox) -> Output {
    let mut files: Vec<String> = std::fs::read_dir(s.units(""))
        .unwrap()
        .flatten()
        .map(|e| e.path().display().to_string())
        .filter(|p| p.ends_with(".service") || p.ends_with(".target"))
        .filter(|p| !p.ends_with("@.service"))
        .collect();
    files.sort();
    assert_eq!(files.len(), 3, "{files:?}");
    for agent in ["plain", "limited", "basic", "strict", "never"] {
        // An instance is verified with its drop-in under its own name.
        files.push(unit_name(agent));
    }
    let mut args = vec!["--user", "--man=no", "--recursive-errors=no", "verify"];
    args.extend(files.iter().map(String::as_str));
    s.run("systemd-analyze", &args)
}

#[test]
fn systemd_finds_nothing_to_say_about_any_rendered_unit() {
    let Some(s) = Sandbox::booted() else { return };
    hostile().write(&s);
    s.mosaic(&["fleet", "install-systemd"]).ok();
    verify(&s).ok().quiet();
    // The check can fail: an unknown key is reported.
    s.write(
        &s.units("mosaic-agent@plain.service.d/60-bad.conf"),
        "[Service]\nNoSuchKey=1\n",
    );
    assert!(verify(&s).stderr.contains("NoSuchKey"));
}

#[test]
fn every_agent_is_the_main_process_of_its_own_unit() {
    let Some(s) = hostile().boot() else { return };
    for agent in ["plain", "limited", "basic", "strict", "never"] {
        let place = s.up(agent);
        assert_eq!(proc::unit_of(place.pid).unwrap(), unit_name(agent));
        let pane = s.pane(agent).unwrap();
        assert_eq!(
            proc::unit_of(pane.pid).unwrap(),
            HOLDER,
            "the placeholder is tmux's"
        );
        // Session leader with the pane as controlling terminal.
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", place.pid)).unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        assert_eq!(fields[3], place.pid.to_string(), "session");
        assert_ne!(fields[4], "0", "terminal");
    }
    assert_eq!(proc::unit_of(s.server().unwrap()).unwrap(), HOLDER);
}

#[test]
fn limits_are_in_force() {
    let Some(s) = hostile().boot() else { return };
    let limited = unit_name("limited");
    let pid = s.up("limited").pid;
    assert_eq!(
        s.property(&limited, "MemoryMax"),
        (256_u64 << 20).to_string()
    );
    let quota = s.property(&limited, "CPUQuotaPerSecUSec");
    assert!(matches!(quota.as_str(), "1.5s" | "1.500000s"), "{quota}");
    assert_eq!(s.property(&limited, "TasksMax"), "64");
    assert_eq!(s.property(&limited, "OOMPolicy"), "continue");
    let adjust = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    assert_eq!(adjust.trim(), "500");
    assert_eq!(s.property(&unit_name("plain"), "MemoryMax"), "infinity");
    let memory = proc::limit(pid, "memory", "memory.max", "memory.limit_in_bytes");
    if memory
        .as_deref()
        .and_then(|m| m.parse::<u64>().ok())
        .is_none_or(|m| m > 1 << 40)
    {
        return skip("the memory controller is not passed on to user managers here");
    }
    assert_eq!(memory.unwrap(), (256_u64 << 20).to_string());
    let tasks = proc::limit(pid, "pids", "pids.max", "pids.max");
    assert_eq!(tasks.as_deref(), Some("64"));
    s.mosaic(&["fleet", "verify", "--live-only"])
        .ok()
        .says("memory limits of agents: 1");
}

/// What a script in an agent of this sandbox level could do.
fn trial(
    s: &Sandbox,
    level: &str,
    outside: &std::path::Path,
) -> std::collections::BTreeMap<String, String> {
    let out = s.path("work").join(format!("{level}.out"));
    let outside = outside.join("touched");
    let script = format!(
        "t() {{ n=$1; shift; if \"$@\" 2>/dev/null; then echo $n=yes; else echo $n=no; fi; }}; \
         {{ t inside touch {inside}; t outside touch {outside}; \
         t state touch \"$MOSAIC_STATE/agents/$MOSAIC_AGENT/x\"; grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t ' | tr : =; \
         echo umask=$(umask); }} >{out}.tmp; mv {out}.tmp {out}; exec sleep 1000",
        inside = s.path("work").join(format!("inside-{level}")).display(),
        outside = outside.display(),
        out = out.display(),
    );
    // Forced, since nothing tells whether the script of the level before is idle.
    Roster::new([Agent::script("a", &script).key("sandbox", json!(level))]).write(s);
    s.mosaic(&["fleet", "up", "--no-verify", "--force"]).ok();
    let text = eventually_some("the script has tried", || {
        std::fs::read_to_string(&out).ok()
    });
    text.lines()
        .filter_map(|l| l.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
}

#[test]
fn sandbox_levels_take_effect() {
    let Some(s) = Sandbox::booted() else { return };
    let Some(outside) = s.elsewhere() else {
        return skip("the account reaches no place outside /tmp");
    };
    let table = [
        // level, no new privileges, seccomp filter, may write outside
        ("off", "0", "0", "yes"),
        ("basic", "1", "2", "yes"),
        ("strict", "1", "2", "no"),
    ];
    for (level, privileges, seccomp, writes) in table {
        let got = trial(&s, level, outside.path());
        let get = |k: &str| got.get(k).map_or("", String::as_str);
        assert_eq!(get("inside"), "yes", "{level}: the working directory");
        assert_eq!(get("state"), "yes", "{level}: its own state");
        assert_eq!(get("outside"), writes, "{level}: somewhere else");
        assert_eq!(
            (get("NoNewPrivs"), get("Seccomp")),
            (privileges, seccomp),
            "{level}"
        );
        assert_eq!(outside.path().join("touched").exists(), writes == "yes");
        let _ = std::fs::remove_file(outside.path().join("touched"));
    }
}

/// Everything that means something to systemd, the shell, tmux or YAML, but a control character.
const HOSTILE: &str = "a b%h $HOME ${X} \"q\" 'p' \\ #{pid} ;x é~";

#[test]
fn hostile_directories_and_arguments_arrive_as_they_are() {
    let Some(s) = Sandbox::booted() else { return };
    // In a place that strict leaves writable only because the unit says so.
    let Some(base) = s.elsewhere() else {
        return skip("the account reaches no place outside /tmp");
    };
    let directory = base.path().join(HOSTILE);
    s.mkdir(&directory);
    let word = "%i $PWD ${HOME} \"'\\ ;; #{session_name} é\u{1f600};";
    let script = "{ pwd; printf '%s\\n' \"$1\"; } >out.tmp; mv out.tmp out; exec sleep 1000";
    Roster::new([
        Agent::program("a", &["/bin/sh", "-c", script, "sh", word]).key("sandbox", json!("strict")),
        Agent::demo("b"),
    ])
    .default("working_directory", json!(directory))
    .up(&s);
    let text = eventually_some("the script wrote", || {
        std::fs::read_to_string(directory.join("out")).ok()
    });
    assert_eq!(text, format!("{}\n{word}\n", directory.display()));
    let b = s.up("b");
    let cwd = std::fs::read_link(format!("/proc/{}/cwd", b.pid)).unwrap();
    assert_eq!(cwd, directory);

    // tmux takes `-c` for a format, `#(…)` in it for a command, and `;` at a word's end for its own.
    let marker = s.home("pwned");
    let names = [
        "inj#(cd;touch pwned)",
        "end;",
        "a#(cd;touch pwned)b;",
        "##{pid}#",
    ];
    for (index, name) in names.into_iter().enumerate() {
        let directory = base.path().join(name);
        s.mkdir(&directory);
        let agent = format!("d{index}");
        let script = "exec sleep 1000";
        Roster::new([Agent::program(&agent, &["/bin/sh", "-c", script, ";"])])
            .default("working_directory", json!(directory))
            .up(&s);
        let place = s.up(&agent);
        let cwd = std::fs::read_link(format!("/proc/{}/cwd", place.pid)).unwrap();
        assert_eq!(cwd, directory);
        // Where a person's split opens.
        let target = format!("={agent}:");
        let path = s.tmux(&["display-message", "-p", "-t", &target, "#{session_path}"]);
        assert_eq!(path.ok().stdout.trim_end(), directory.to_str().unwrap());
        assert!(!marker.exists(), "{name}: a command ran");
    }
}

#[test]
fn hostile_places_of_state_socket_and_program_work() {
    let Some(mut s) = Sandbox::booted() else {
        return;
    };
    let state = s.path("work").join(HOSTILE);
    let sockets = s.path("work/t %t $t 'q\" #S");
    let programs = s.path("work/p %p $p #S ;é");
    for dir in [&state, &sockets, &programs] {
        s.mkdir(dir);
    }
    std::fs::hard_link(s.path("bin/mosaic"), programs.join("mosaic")).unwrap();
    s.set("XDG_STATE_HOME", state.to_str().unwrap());
    s.set("TMUX_TMPDIR", sockets.to_str().unwrap());
    Roster::demo(&["a"]).write(&s);
    let mosaic = programs.join("mosaic").display().to_string();
    s.run(&mosaic, &["fleet", "up", "--no-verify"]).ok();
    let pid = s.agent("a").pid;
    assert_eq!(
        proc::environ(pid)["MOSAIC_STATE"],
        state.join("mosaic/fleet").display().to_string()
    );
    let units = [HOLDER, "mosaic-agent@a.service"];
    let mut args = vec!["--user", "--man=no", "verify"];
    args.extend(units);
    s.run("systemd-analyze", &args).ok().quiet();
    // The look for orphans is a shell command inside tmux inside a unit.
    let socket = sockets.join(format!("tmux-{}/mosaic-factory", s.account().uid));
    let server = s.unit(HOLDER).pid;
    s.tmux_on(&socket, &["kill-session", "-t", "=a"]).ok();
    eventually_some("the agent is back", || {
        let unit = s.agent("a");
        (unit.active == "active" && unit.pid != pid).then_some(())
    });
    assert_eq!(s.unit(HOLDER).pid, server);
    s.run(&mosaic, &["fleet", "uninstall", "--yes"]).ok();
}

#[test]
fn a_program_that_systemd_cannot_run_is_refused() {
    let Some(s) = Sandbox::booted() else { return };
    Roster::demo(&["a"]).write(&s);
    let programs = s.path("work/it's");
    s.mkdir(&programs);
    std::fs::hard_link(s.path("bin/mosaic"), programs.join("mosaic")).unwrap();
    let mosaic = programs.join("mosaic").display().to_string();
    s.run(&mosaic, &["fleet", "up", "--no-verify"])
        .code(78)
        .warns("systemd cannot run");
    assert!(
        !s.units("mosaic-fleet.target").exists(),
        "nothing was written"
    );
}

#[test]
fn a_directory_written_with_dots_is_still_the_agents_own() {
    let Some(s) = Sandbox::booted() else { return };
    let script = "if touch x; then echo yes; else echo no; fi >\"$MOSAIC_STATE/agents/a/out\"; exec sleep 1000";
    let Some(base) = s.elsewhere() else {
        return skip("the account reaches no place outside /tmp");
    };
    s.mkdir(&base.path().join("sub"));
    Roster::new([Agent::script("a", script).key("sandbox", json!("strict"))])
        .default("working_directory", json!(base.path().join("sub/..")))
        .up(&s);
    let out = s.state("agents/a/out");
    let said = eventually_some("the script wrote", || {
        std::fs::read_to_string(&out)
            .ok()
            .filter(|t| t.ends_with('\n'))
    });
    assert_eq!(said, "yes\n");
}

#[test]
fn control_characters_and_ways_out_are_refused() {
    let Some(s) = Sandbox::plain() else { return };
    let refused = |agent: Agent, why: &str| {
        Roster::new([agent]).write(&s);
        s.mosaic(&["fleet", "validate"]).code(78).warns(why);
    };
    let path = "/tmp\nExecStart=/bin/false";
    refused(
        Agent::demo("a").key("working_directory", json!(path)),
        "control character",
    );
    refused(
        Agent::demo("a").key("env_file", json!(path)),
        "control character",
    );
    refused(Agent::demo("../a"), "invalid");
    refused(Agent::demo("a/b"), "invalid");
    refused(Agent::demo("a\nb"), "invalid");
    refused(Agent::demo("A"), "invalid");
    refused(Agent::demo(""), "name");
}
