//! Environment files: mosaic reads them as systemd does. Systemd itself is the judge.

use serde_json::json;

use crate::support::{Agent, Roster, Sandbox, eventually_some, proc};

/// Everything the grammar has, and what people get wrong.
const NASTY: &str = r#"# a comment
; another
PLAIN=value
SPACES =  leading and trailing   
EMPTY=
QUOTED="double $HOME `cmd` \$ \` \" \\ \n"
SINGLE='single $HOME "x" \n'
MIXED=abc"def"'ghi'
JOINED="a"'b'c
NOT_A_COMMENT=a # b
SEMI=a;b
HASH=#x
EQUALS=a=b=c
CONTINUED=one \
two
MULTI="line one
line two"
MULTI_SINGLE='x
y'
BACKSLASH=a\b\\c\
d
  INDENTED=yes
export EXPORTED=no
1BAD=x
BAD-NAME=x
=novalue
no equals sign
TWICE=first
TWICE=second
UNICODE=é漢😀
TAB=a	b
QUOTE_MIDDLE=a'b
TRAILING_QUOTE=ab"
PERCENT=%h %%
TILDE=~/x
CRLF=dos
LAST=no newline at the end"#;

/// The variables of a file written by `env -0`, by name, but for those that the two ways of starting
/// a process set by themselves.
fn read(text: &[u8]) -> std::collections::BTreeMap<String, String> {
    const OWN: [&str; 14] = [
        "PATH",
        "TERM",
        "COLORTERM",
        "PWD",
        "SHLVL",
        "_",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "SYSTEMD_EXEC_PID",
        "MANAGERPID",
        "LISTEN_FDS",
        "NOTIFY_SOCKET",
        "MEMORY_PRESSURE_WATCH",
        "MEMORY_PRESSURE_WRITE",
    ];
    text.split(|b| *b == 0)
        .filter_map(|w| {
            let w = String::from_utf8_lossy(w).into_owned();
            let (k, v) = w.split_once('=')?;
            Some((k.to_owned(), v.to_owned()))
        })
        .filter(|(k, _)| !OWN.contains(&k.as_str()) && !k.starts_with("MOSAIC_"))
        .collect()
}

fn both(s: &Sandbox, text: &str) -> [std::collections::BTreeMap<String, String>; 2] {
    let file = s.path("work/nasty.env");
    s.write(&file, text);
    let out = |n: &str| s.path("work").join(n);
    let dump = |to: &str| {
        format!(
            "env -0 >{0}.tmp; mv {0}.tmp {0}; exec sleep 1000",
            out(to).display()
        )
    };
    for n in ["theirs", "ours"] {
        let _ = std::fs::remove_file(out(n));
    }
    // A unit of its own: systemd reads the file.
    let unit = format!(
        "[Service]\nEnvironmentFile={}\nExecStart=/bin/sh -c \"{}\"\n",
        file.display(),
        dump("theirs")
    );
    s.write(&s.units("judge.service"), unit);
    s.systemctl(&["daemon-reload"]).ok();
    s.systemctl(&["restart", "judge.service"]).ok();
    Roster::new([Agent::script("a", &dump("ours")).key("env_file", json!(file))]).write(s);
    s.mosaic(&["fleet", "up", "--no-verify", "--force"]).ok();
    let got = ["theirs", "ours"].map(|n| {
        read(&eventually_some(&format!("{n} was written"), || {
            std::fs::read(out(n)).ok()
        }))
    });
    s.systemctl(&["stop", "judge.service"]).ok();
    s.mosaic(&["fleet", "stop"]).ok();
    got
}

#[test]
fn an_agent_gets_what_systemd_would_give_it() {
    let Some(s) = Sandbox::booted() else { return };
    let [theirs, ours] = both(&s, NASTY);
    assert_eq!(ours, theirs);
    // The test is worth something: these came through.
    assert_eq!(theirs["MULTI"], "line one\nline two");
    assert_eq!(theirs["TWICE"], "second");
    assert_eq!(theirs["NOT_A_COMMENT"], "a # b");
    assert!(!theirs.contains_key("1BAD"));
    // Line ends of other systems.
    let [theirs, ours] = both(&s, "A=1\r\nB=\"2\"\r\nC='3'\r\n\r\nD=4 \r\n");
    assert_eq!(ours, theirs);
    assert_eq!(theirs["A"], "1");
}

#[test]
fn layers_win_in_the_documented_order() {
    let Some(s) = Sandbox::booted() else { return };
    s.write(
        &s.path("work/one.env"),
        "C=file one\nD=file one\nE=file one\n",
    );
    s.write(&s.path("work/two.env"), "D=file two\nE=file two\n");
    s.write(&s.home(".config/mosaic/fleet/agents/a.env"), "E=own file\n");
    let files = ["one", "two"].map(|n| s.path("work").join(format!("{n}.env")));
    let agent = Agent::demo("a")
        .key(
            "env",
            json!({"B": "agent", "C": "agent", "D": "agent", "E": "agent"}),
        )
        .key("env_file", json!(files));
    Roster::new([agent])
        .default("env", json!({"A": "defaults", "B": "defaults"}))
        .up(&s);
    let env = proc::environ(s.up("a").pid);
    let got = ["A", "B", "C", "D", "E"].map(|k| env[k].clone());
    assert_eq!(
        got,
        ["defaults", "agent", "file one", "file two", "own file"]
    );
}

#[test]
fn an_agents_own_file_overrides_the_roster() {
    let Some(s) = Sandbox::booted() else { return };
    let directory = s.path("work/other");
    s.mkdir(&directory);
    let text = format!(
        "MOSAIC_AGENT_RUNTIME=shell\nMOSAIC_AGENT_COMMAND=\"sleep 1234\"\nMOSAIC_AGENT_WORKDIR={}\n",
        directory.display()
    );
    s.write(&s.home(".config/mosaic/fleet/agents/a.env"), text);
    Roster::demo(&["a"]).up(&s);
    let pid = s.up("a").pid;
    assert_eq!(proc::cmdline(pid)[1..], ["1234"]);
    assert!(proc::cmdline(pid)[0].ends_with("/sleep"));
    assert_eq!(
        std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap(),
        directory
    );
    assert_eq!(s.status("a")["runtime"], "shell");
}
