//! Other hosts: a real ssh to a real sshd, with mosaic there and without, and a client that fails in
//! every way it can.

use serde_json::{Value, json};

use crate::support::{Output, Roster, Sandbox, eventually};

/// A fleet, and the other host on which it is.
fn there() -> Option<(Sandbox, String)> {
    let s = Sandbox::plain()?;
    Roster::demo(&["a", "ab"]).write(&s);
    let host = s.far_host(true)?;
    s.mosaic(&["fleet", "up", "--no-systemd", "--no-verify"])
        .ok();
    Some((s, host))
}

#[test]
fn verbs_run_there_and_what_they_print_comes_back() {
    let Some((mut s, host)) = there() else { return };
    s.set("MOSAIC_AGENT", "boss");
    let text = "it's $(id) `id` \\ \"q\" !x\nsecond line é漢😀";
    let out = s
        .mosaic(&["agent", "send", "-H", &host, "a", "-m", text, "--json"])
        .ok();
    let receipt = out.json();
    assert_eq!(receipt["host"], host, "{receipt}");
    assert_eq!(receipt["agent"], "a");
    assert_eq!(receipt["receipt"], "accepted");
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let name = name.split('.').next().unwrap();
    eventually("it stands there", || {
        s.messages("a") == [format!("[{name}:boss -> {name}:a] {text}")]
    });
    assert_eq!(s.messages("ab"), Vec::<String>::new());
    // A label for this host, a message on standard input, a receipt in words.
    s.mosaic_with(
        &[
            "agent", "send", "-H", &host, "-n", "laptop", "-S", "me", "a",
        ],
        b"again",
    )
    .ok()
    .says("a: accepted");
    eventually("it stands there", || {
        s.messages("a")
            .last()
            .is_some_and(|m| m.starts_with("[laptop:me -> "))
    });
    let status = s
        .mosaic(&["agent", "status", "--host", &host, "--json", "a"])
        .ok()
        .json();
    assert_eq!(status["host"], host);
    assert_eq!(status["agents"].as_array().unwrap().len(), 1);
    s.mosaic(&["agent", "tail", "-H", &host, "a", "-n", "30"])
        .ok()
        .says("2 messages");
    let reset = s
        .mosaic(&["agent", "reset", "-H", &host, "a", "--clear", "--json"])
        .ok();
    assert_eq!(reset.json()["host"], host);
    // Exit status and complaint are those of the other side.
    s.mosaic(&["agent", "send", "-H", &host, "aa", "-m", "x"])
        .code(78)
        .warns("no agent `aa`");
    s.mosaic(&["agent", "send", "-H", &host, "a", "-S", "a\nb", "-m", "x"])
        .code(2)
        .warns("control character");
    // One connection served all.
    let sockets = std::fs::read_dir(s.path("r/mosaic/fleet/ssh"))
        .unwrap()
        .count();
    assert_eq!(sockets, 1);
}

#[test]
fn a_host_is_never_an_option_and_a_missing_mosaic_is_said() {
    let Some(s) = Sandbox::plain() else { return };
    let Some(host) = s.far_host(false) else {
        return;
    };
    for bad in ["-oProxyCommand=touch made", "a b", ""] {
        let flag = format!("--host={bad}");
        s.mosaic(&["agent", "status", &flag]).code(2);
    }
    assert!(!s.path("work/made").exists());
    s.mosaic(&["agent", "status", "-H", &host])
        .code(69)
        .warns("mosaic is not installed");
}

/// A pane on a server of its own with a demo agent in it that keeps a record.
struct Far {
    s: Sandbox,
    host: String,
}

impl Far {
    fn new(persona: &str) -> Option<Self> {
        let s = Sandbox::plain()?;
        let host = s.far_host(false)?;
        let far = Self { s, host };
        far.session("a", persona);
        Some(far)
    }

    fn socket(&self) -> std::path::PathBuf {
        self.s.socket().with_file_name("far")
    }

    fn session(&self, name: &str, persona: &str) {
        let record = self.s.path(format!("work/{name}.jsonl"));
        let demo = format!(
            "MOSAIC_DEMO_THINK_MS=50 MOSAIC_DEMO_PERSONA='{persona}' exec '{}' internal demo-agent --session '{}'",
            self.s.path("bin/mosaic").display(),
            record.display()
        );
        self.pane(name, &demo);
        eventually("its box is there", || self.screen(name).contains('❯'));
    }

    fn pane(&self, name: &str, command: &str) {
        self.s
            .run(
                "tmux",
                &[
                    "-u",
                    "-L",
                    "far",
                    "-f",
                    "/dev/null",
                    "new-session",
                    "-d",
                    "-x",
                    "100",
                    "-y",
                    "40",
                    "-s",
                    name,
                    command,
                ],
            )
            .ok();
    }

    fn tmux(&self, args: &[&str]) -> Output {
        self.s.tmux_on(&self.socket(), args)
    }

    fn screen(&self, name: &str) -> String {
        self.tmux(&["capture-pane", "-p", "-t", &format!("={name}:")])
            .stdout
    }

    fn records(&self, name: &str, kind: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.s.path(format!("work/{name}.jsonl")));
        let all = text.unwrap_or_default();
        let lines = all
            .lines()
            .filter_map(|l| serde_json::from_str::<Value>(l).ok());
        lines.filter(|v| v["type"] == kind).collect()
    }

    fn messages(&self, name: &str) -> Vec<String> {
        let all = self.records(name, "user");
        all.iter()
            .map(|v| v["text"].as_str().unwrap().to_owned())
            .collect()
    }

    fn send(&self, target: &[&str], text: &str) -> Output {
        let mut args = vec![
            "agent", "send", "-H", &self.host, "-L", "far", "--json", "--wait", "1",
        ];
        args.extend(target);
        self.s.mosaic_with(&args, text.as_bytes())
    }
}

#[test]
fn without_mosaic_there_a_small_sender_goes_along() {
    let Some(far) = Far::new("") else { return };
    far.session("ab", "");
    let text = "it's $(id) `id` \\ \"q\" %1 #{pane_id}; !x\n\nthird line é漢😀";
    let out = far.send(&["a", "--no-preamble"], text).ok();
    let receipt = out.json();
    assert_eq!(receipt["receipt"], "submitted", "{receipt}");
    assert_eq!(receipt["host"], far.host);
    assert_eq!(receipt["agent"], "a");
    eventually("it stands there", || far.messages("a") == [text]);
    // In words, with the preamble, and by the pane.
    let out = far.s.mosaic(&[
        "agent", "send", "-H", &far.host, "-L", "far", "--pane", "a:0.0", "-n", "laptop", "-S",
        "me", "-m", "two",
    ]);
    out.ok().says(&format!("{} a:0.0: submitted in ", far.host));
    eventually("it stands there", || far.messages("a").len() == 2);
    assert_eq!(far.messages("a")[1], "[laptop:me -> far:a:0.0] two");
    let long = "0123456789 ".repeat(400);
    far.send(&["a", "--no-preamble"], long.trim_end()).ok();
    eventually("it stands there", || {
        far.messages("a")
            .last()
            .is_some_and(|m| m == long.trim_end())
    });
    far.send(&["a"], &"x".repeat(70_000)).code(1);
    assert_eq!(far.messages("ab"), Vec::<String>::new());
    assert_eq!(far.messages("a").len(), 3);
}

#[test]
fn the_small_sender_presses_enter_again_only_where_the_message_still_stands() {
    let Some(far) = Far::new("swallow-first-enter") else {
        return;
    };
    let out = far.send(&["a", "--no-preamble"], "one\ntwo").ok();
    assert!(out.stdout.contains("after Enter (2)"), "{}", out.stdout);
    eventually("it stands there", || far.messages("a") == ["one\ntwo"]);
    let out = far
        .send(&["a", "--no-preamble", "-r", "1"], "three")
        .code(1);
    assert_eq!(out.json()["receipt"], "typed");
    assert_eq!(far.messages("a"), ["one\ntwo"]);
}

#[test]
fn the_small_sender_types_into_nothing_that_is_no_agent() {
    let Some(far) = Far::new("dialog-open") else {
        return;
    };
    far.pane("shell", "exec bash --norc -i");
    far.pane("cat", "exec cat");
    far.pane("gone", "exec sleep 60");
    far.tmux(&["set-option", "-p", "-t", "=gone:", "remain-on-exit", "on"])
        .ok();
    let refused = |target: &str, code: i32| {
        let out = far.send(&["--pane", target], "touch made").code(code);
        let json = out.json();
        assert_eq!(json["receipt"], "refused", "{json}");
        json["reason"].as_str().unwrap().to_owned()
    };
    // A dialog takes the paste; it must not get the Enter.
    let out = far.send(&["a"], "yes").code(1);
    assert_eq!(out.json()["receipt"], "typed", "{}", out.stdout);
    assert!(far.records("a", "approved").is_empty() && far.records("a", "denied").is_empty());
    assert!(refused("shell:0.0", 1).contains("never typed into a shell"));
    // The beginning of a name is no name.
    assert!(refused("she", 78).contains("no pane is she"));
    assert!(refused("shell:0.1", 78).contains("no pane"));
    assert!(refused("shell:bas.0", 78).contains("no pane"));
    assert!(refused("%99", 78).contains("no pane"));
    far.tmux(&["copy-mode", "-t", "=cat:"]).ok();
    assert!(refused("cat:0.0", 75).contains("mode"));
    let pid = far
        .tmux(&["display-message", "-p", "-t", "=gone:", "#{pane_pid}"])
        .stdout;
    crate::support::proc::kill(pid.trim().parse().unwrap(), rustix::process::Signal::KILL);
    eventually("it is dead", || {
        far.tmux(&["display-message", "-p", "-t", "=gone:", "#{pane_dead}"])
            .stdout
            .trim()
            == "1"
    });
    assert!(refused("gone:0.0", 1).contains("ended"));
    assert!(!far.s.path("work/made").exists());
    assert!(!far.screen("shell").contains("touch"));
    let out = far
        .send(
            &["--pane", "shell:0.0", "--force", "--no-preamble"],
            "touch made",
        )
        .ok();
    assert_eq!(out.json()["receipt"], "submitted");
    eventually("the shell did it", || {
        far.s.path("work/made").exists()
            || far.s.home("made").exists()
            || std::fs::read_dir(far.s.path(""))
                .unwrap()
                .flatten()
                .any(|e| e.file_name() == "made")
    });
}

#[test]
fn a_pane_of_this_host_is_sent_to_by_the_same_rules() {
    let Some(far) = Far::new("") else { return };
    let s = &far.s;
    let send = |args: &[&str], text: &str| {
        let mut all = vec!["agent", "send", "--json", "--no-preamble"];
        all.extend(args);
        s.mosaic_with(&all, text.as_bytes())
    };
    let out = send(&["--pane", "a:0.0", "-L", "far"], "good morning").ok();
    assert_eq!(out.json()["receipt"], "submitted");
    eventually("it stands there", || far.messages("a") == ["good morning"]);
    for _ in 0..2 {
        let named = ["--pane", "a:0.0", "-L", "far", "--id", "job"];
        let out = send(&named, "once").ok();
        assert_eq!(out.json()["id"], "job");
    }
    eventually("it stands there once", || {
        far.messages("a") == ["good morning", "once"]
    });
    // Without a fleet there is no server to look on.
    send(&["--pane", "a:0.0"], "x").code(78).warns("-L");
    Roster::demo(&["b"]).write(s);
    s.mosaic(&["fleet", "up", "--no-systemd", "--no-verify"])
        .ok();
    let out = send(&["--pane", "b:0.0"], "x").code(1);
    assert!(
        out.json()["reason"]
            .as_str()
            .unwrap()
            .contains("is the agent b"),
        "{}",
        out.stdout
    );
    assert_eq!(s.messages("b"), Vec::<String>::new());
    s.mosaic(&["agent", "send", "b", "--pane", "b:0.0", "-m", "x"])
        .code(2);
}

#[test]
fn a_connection_lost_before_the_message_left_is_no_delivery_and_one_lost_later_is_asked_about() {
    let Some(far) = Far::new("") else { return };
    let s = &far.s;
    let real = std::fs::read_to_string(s.path("bin/ssh")).unwrap();
    let client = |script: &str| s.write_program(&s.path("bin/ssh"), script);
    client("#!/bin/sh\necho 'no route to host' >&2\nexit 255\n");
    far.send(&["a"], "one")
        .code(69)
        .warns("no route to host")
        .warns("nothing was done");
    // The first connection with the message breaks when all is done; the second finds that out.
    s.write(&s.path("work/count"), "");
    let line = real.lines().last().unwrap().replace("exec ", "");
    client(&format!(
        "#!/bin/sh\ncase \"$*\" in *'exec bash '*) echo x >>{0}/work/count ;; esac\n{line}\nstatus=$?\nif [ \"$(cat {0}/work/count)\" = x ]; then echo 'connection reset' >&2; exit 255; fi\nexit $status\n",
        s.path("").display()
    ));
    // The look for mosaic there goes first, and must not count.
    let out = far.send(&["a", "--no-preamble"], "two").ok();
    assert_eq!(out.json()["receipt"], "submitted", "{}", out.stdout);
    assert_eq!(
        std::fs::read_to_string(s.path("work/count")).unwrap(),
        "x\nx\n"
    );
    // Again and again lost: nobody knows, and that is said.
    client(
        "#!/bin/sh\necho mosaic-remote ready\ncat >/dev/null\necho 'connection reset' >&2\nexit 255\n",
    );
    let out = far.send(&["a", "--no-preamble"], "three").code(1);
    assert_eq!(out.json()["receipt"], "uncertain", "{}", out.stdout);
    assert_eq!(out.json()["host"], far.host);
    client(&real);
    eventually("it stands there once", || far.messages("a") == ["two"]);
}

#[test]
fn two_that_send_under_one_id_at_once_type_it_once() {
    let Some(far) = Far::new("") else { return };
    let send = || {
        let place = ["agent", "send", "-H", &far.host, "-L", "far", "a"];
        let how = ["--json", "--no-preamble", "--id", "one", "--timeout", "20"];
        far.s
            .mosaic_with(&[&place[..], &how].concat(), b"only once")
    };
    let ended = std::thread::scope(|scope| {
        let threads = [(); 3].map(|()| scope.spawn(send));
        threads.map(|t| t.join().unwrap())
    });
    for out in ended {
        assert_eq!(out.ok().json()["receipt"], "submitted");
    }
    eventually("it stands there", || far.messages("a") == ["only once"]);
    far.send(&["a", "--no-preamble"], "next").ok();
    eventually("it stands there once", || {
        far.messages("a") == ["only once", "next"]
    });
}

#[test]
fn a_lost_connection_to_a_mosaic_is_asked_about_by_the_messages_id() {
    let Some((s, host)) = there() else { return };
    let real = std::fs::read_to_string(s.path("bin/ssh")).unwrap();
    let line = real.lines().last().unwrap().replace("exec ", "");
    s.write(&s.path("work/count"), "");
    s.write_program(
        &s.path("bin/ssh"),
        &format!(
            "#!/bin/sh\necho x >>{0}/work/count\n{line} | if [ \"$(cat {0}/work/count)\" = x ]; then head -n 1; else cat; fi\n[ \"$(cat {0}/work/count)\" = x ] || exit 0\necho 'connection reset' >&2\nexit 255\n",
            s.path("").display()
        ),
    );
    let out = s.mosaic(&[
        "agent",
        "send",
        "-H",
        &host,
        "a",
        "-m",
        "once",
        "--json",
        "--no-preamble",
    ]);
    let json = out.ok().json();
    assert_eq!(json["receipt"], "accepted", "{json}");
    assert_eq!(
        std::fs::read_to_string(s.path("work/count")).unwrap(),
        "x\nx\n"
    );
    assert_eq!(s.messages("a"), ["once"]);
}

#[test]
fn several_agents_there_each_have_a_receipt() {
    let Some((s, host)) = there() else { return };
    let out = s.mosaic(&[
        "agent",
        "send",
        "-H",
        &host,
        "a",
        "ab",
        "-m",
        "x",
        "--json",
        "--no-preamble",
    ]);
    let all = out.ok().json();
    let hosts: Vec<&Value> = all.as_array().unwrap().iter().map(|r| &r["host"]).collect();
    assert_eq!(hosts, [&json!(host), &json!(host)]);
}
