//! What is printed, where, and with which exit status.

use serde_json::json;

use crate::support::{Agent, Roster, Running, Sandbox};

#[test]
fn a_wrong_command_line_is_2() {
    let Some(s) = Sandbox::plain() else { return };
    for args in [
        &["nonsense"][..],
        &["fleet"],
        &["fleet", "plan", "--nonsense"],
        &["fleet", "start", "NotAName"],
        &["agent", "reset", "a", "--clear", "--new"],
        &["agent", "attach"],
    ] {
        let out = s.mosaic(args).code(2);
        assert!(out.stdout.is_empty() && !out.stderr.is_empty(), "{out:?}");
    }
    s.mosaic(&["--version"]).ok().says("mosaic ").quiet();
    s.mosaic(&["--help"]).ok().says("Usage").quiet();
}

#[test]
fn a_missing_installation_is_78_with_what_to_type() {
    let Some(s) = Sandbox::plain() else { return };
    for args in [
        &["fleet", "status"][..],
        &["fleet", "start"],
        &["fleet", "verify"],
        &["agent", "tail", "a"],
    ] {
        s.mosaic(args)
            .code(78)
            .warns("the fleet is not installed")
            .warns("mosaic fleet up");
    }
    s.mosaic(&["fleet", "validate"])
        .code(78)
        .warns("roster.yaml");
}

#[test]
fn a_bad_roster_is_78_with_every_place_and_snippet() {
    let Some(s) = Sandbox::plain() else { return };
    let text = "version: 1\nagents:\n  - name: a\n    runtime: claud\n    working_directory: /nonexistent\n  - name: a\n    runtime: demo\n    working_directory: /\n    retsart: always\n";
    s.write(&s.roster(), text);
    let out = s.mosaic(&["fleet", "validate"]).code(78);
    assert_eq!(out.stdout, "");
    for part in [
        "unknown runtime `claud`",
        "roster.yaml:4:14",
        "did you mean `claude`?",
        "roster.yaml:5:24",
        "mkdir -p /nonexistent",
        "`retsart`",
        "did you mean `restart`?",
        "roster.yaml:3:11",
        "roster.yaml:6:11",
    ] {
        assert!(out.stderr.contains(part), "{part}\n{}", out.stderr);
    }
    assert_eq!(out.stderr.matches("error:").count(), 4, "{}", out.stderr);
}

#[test]
fn monstrous_rosters_are_refused_in_no_time() {
    let Some(s) = Sandbox::plain() else { return };
    let deep = format!("version: 1\nagents: {}", "[".repeat(100_000));
    let mut bomb = String::from("version: 1\nx0: &x0 [a, a, a, a, a, a, a, a, a, a]\n");
    for n in 1..12 {
        let aliases = vec![format!("*x{}", n - 1); 10].join(", ");
        bomb.push_str(&format!("x{n}: &x{n} [{aliases}]\n"));
    }
    let huge = format!("version: 1\n# {}\n", "x".repeat(10 << 20));
    for text in [
        deep,
        bomb,
        huge,
        "\u{0}\u{1}".to_owned(),
        String::new(),
        "- 1\n- 2\n".to_owned(),
        "version: 99\nagents: []\n".to_owned(),
    ] {
        s.write(&s.roster(), &text);
        let out = s.mosaic(&["fleet", "validate"]).code(78);
        assert!(out.took.as_secs() < 5, "{:?}", out.took);
        assert!(
            out.stderr.len() < 5000 && out.stderr.contains("error:"),
            "{}",
            out.stderr
        );
    }
}

#[test]
fn every_json_output_is_one_document_without_other_text() {
    let Some(s) = Roster::demo(&["a", "b"]).boot() else {
        return;
    };
    for args in [
        &["fleet", "status", "--json"][..],
        &["fleet", "plan", "--json"],
        &["fleet", "apply", "--json"],
        &["fleet", "doctor", "--json"],
        &["fleet", "validate", "--json"],
        &["fleet", "schema"],
        &["fleet", "verify", "--live-only", "--json"],
        &["agent", "status", "a", "--json"],
        &["agent", "roster", "--json"],
    ] {
        let out = s.mosaic(args).ok();
        out.json();
        assert!(!out.stdout.contains('\x1b'), "{}", out.stdout);
    }
    for line in s.mosaic(&["fleet", "events", "--json"]).ok().stdout.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let time = event["time"].as_str().unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    }
    let status = s.mosaic(&["agent", "status", "a", "--json"]).ok().json();
    assert_eq!(status["agents"].as_array().unwrap().len(), 1);
    assert_eq!(status["version"], 1);
}

#[test]
fn colour_is_for_terminals_and_can_be_forced_and_forbidden() {
    let Some(mut s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let coloured = |s: &Sandbox, args: &[&str]| s.mosaic(args).ok().stdout.contains('\x1b');
    assert!(!coloured(&s, &["fleet", "status"]), "not on a pipe");
    assert!(coloured(&s, &["--color", "always", "fleet", "status"]));
    assert!(!coloured(&s, &["--color", "never", "fleet", "status"]));
    // On a terminal: `script` gives it one.
    let on_terminal = |s: &Sandbox| {
        let line = format!("{} fleet status", s.path("bin/mosaic").display());
        s.run("script", &["-qec", &line, "/dev/null"]).ok().stdout
    };
    if s.run("script", &["--version"]).status.success() {
        s.set("TERM", "xterm-256color");
        assert!(on_terminal(&s).contains("\x1b["));
        s.set("NO_COLOR", "1");
        assert!(!on_terminal(&s).contains("\x1b["));
        s.set("NO_COLOR", "");
        s.set("TERM", "dumb");
        assert!(!on_terminal(&s).contains("\x1b["));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    for args in [
        &["fleet", "status"][..],
        &["fleet", "schema"],
        &["fleet", "events"],
        &["--help"],
    ] {
        let mut command = s.command(s.path("bin/mosaic"));
        command.args(args).stdin(std::process::Stdio::null());
        command
            .stdout(writer.try_clone().unwrap())
            .stderr(std::process::Stdio::piped());
        let out = command.spawn().unwrap().wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert!(
            !stderr.contains("panicked") && !stderr.contains("roken pipe"),
            "{args:?}: {stderr}"
        );
        assert!(out.status.success(), "{args:?}: {:?}", out.status);
    }
}

#[test]
fn quiet_drops_hints_and_progress() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    s.mosaic(&["--quiet", "fleet", "status"]).ok().quiet();
    s.mosaic(&["-q", "fleet", "plan"]).ok().quiet();
}

#[test]
fn init_writes_once_keeps_copies_and_prints() {
    let Some(s) = Sandbox::plain() else { return };
    let dry = s
        .mosaic(&["fleet", "init", "--profile", "demo", "--dry-run"])
        .ok();
    assert!(!s.roster().exists());
    s.mosaic(&["fleet", "init", "--profile", "demo"]).ok();
    let text = std::fs::read_to_string(s.roster()).unwrap();
    assert_eq!(text, dry.stdout);
    s.mosaic(&["fleet", "validate"]).ok();
    s.write(&s.roster(), format!("{text}# mine\n"));
    s.mosaic(&["fleet", "init", "--profile", "minimal"])
        .code(1)
        .warns("--force");
    assert!(
        std::fs::read_to_string(s.roster())
            .unwrap()
            .ends_with("# mine\n")
    );
    s.mosaic(&["fleet", "init", "--profile", "minimal", "--force"])
        .ok();
    s.mosaic(&["fleet", "init", "--profile", "minimal", "--force"])
        .ok();
    let copies: Vec<String> = std::fs::read_dir(s.roster().parent().unwrap())
        .unwrap()
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().ends_with(".bak"))
        .map(|e| std::fs::read_to_string(e.path()).unwrap())
        .collect();
    assert_eq!(copies.len(), 2);
    assert!(copies.iter().any(|c| c.ends_with("# mine\n")));
    s.mosaic(&["fleet", "validate"]).ok();
    s.mosaic(&["fleet", "init", "--profile", "no-such"])
        .code(78);
}

#[test]
fn every_profile_is_valid_where_nothing_is_installed() {
    let Some(s) = Sandbox::plain() else { return };
    for profile in ["minimal", "usc", "demo", "goosed"] {
        s.mosaic(&["fleet", "init", "--profile", profile, "--force"])
            .ok();
        s.mosaic(&["fleet", "validate"]).ok();
    }
}

#[test]
fn links_answer_by_their_name() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    let dir = s.path("bin");
    s.mosaic(&["fleet", "link", "--directory", dir.to_str().unwrap()])
        .ok();
    s.mosaic(&["fleet", "link", "--directory", dir.to_str().unwrap()])
        .ok()
        .warns("is there already");
    s.run("fleet", &["plan"]).ok().says("in sync");
    s.run("agent", &["roster"]).ok().says("a ");
    s.run("agent", &["status", "a"]).ok().says("active/running");
    s.run("fleet", &["no-such-verb"]).code(2);
    // What is there and not ours stays.
    let other = s.path("work/links");
    s.mkdir(&other);
    s.write(&other.join("fleet"), "mine");
    s.mosaic(&["fleet", "link", "--directory", other.to_str().unwrap()])
        .code(1)
        .warns("is not a link");
    assert_eq!(
        std::fs::read_to_string(other.join("fleet")).unwrap(),
        "mine"
    );
}

#[test]
fn tail_prints_the_end_of_the_screen_and_follows() {
    let roster = Roster::new([Agent::script(
        "a",
        "i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo line $i; done; read x; echo and $x; exec sleep 1000",
    )]);
    let Some(s) = roster.boot() else { return };
    crate::support::eventually("it has printed", || s.screen("a").contains("line 300"));
    let out = s.mosaic(&["agent", "tail", "-n", "3", "a"]).ok();
    assert_eq!(out.stdout, "line 298\nline 299\nline 300\n");
    assert_eq!(
        s.mosaic(&["agent", "tail", "a"])
            .ok()
            .stdout
            .lines()
            .count(),
        80
    );
    let mut follow = s.start(&["agent", "tail", "-f", "-n", "1", "a"]);
    let printed = |text: &str| {
        crate::support::eventually(text, || follow.printed().contains(text));
    };
    printed("line 300\n");
    s.type_into("a", "more");
    s.press("a", "Enter");
    printed("and more\n");
    follow.signal(rustix::process::Signal::INT);
    let out = follow.wait().ok();
    assert!(
        out.stdout.starts_with("line 300\n") && out.stdout.contains("and more"),
        "{}",
        out.stdout
    );
}

#[test]
fn attach_needs_a_terminal_and_an_agent() {
    let Some(s) = Roster::demo(&["a"]).boot() else {
        return;
    };
    s.mosaic(&["agent", "attach", "a"])
        .code(2)
        .warns("needs a terminal");
    s.mosaic(&["agent", "attach", "b"])
        .code(78)
        .warns("no agent `b`");
    let mut command = s.command("script");
    let line = format!(
        "{} agent attach --read-only a",
        s.path("bin/mosaic").display()
    );
    command
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "xterm-256color");
    if s.run("script", &["--version"]).status.success() {
        let viewer = Running::start(command, Some(b""));
        crate::support::eventually("it is attached", || s.status("a")["viewers"] == json!(1));
        s.tmux(&["detach-client", "-s", "=a"]).ok();
        viewer.wait().ok();
    }
}
