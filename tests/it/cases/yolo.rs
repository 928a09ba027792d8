//! `mosaic yolo`: what is executed, where, and with which skills.

use std::os::unix::fs::symlink;

use serde_json::json;

use crate::support::{Output, Roster, Sandbox};

/// Stands for an agent CLI: prints what it was given.
const TELLS: &str = "#!/bin/sh\nprintf '%s\\n' \"cwd=$PWD\" \"mode=$TRIAL_MODE\"\nprintf 'arg=%s\\n' \"$@\"\nexit 5\n";

fn sandbox() -> Option<Sandbox> {
    let s = Sandbox::plain()?;
    for name in ["claude", "pi", "trial"] {
        s.write_program(&s.path("bin").join(name), TELLS);
    }
    Some(s)
}

fn args(out: &Output) -> Vec<&str> {
    out.stdout
        .lines()
        .filter_map(|l| l.strip_prefix("arg="))
        .collect()
}

#[test]
fn the_agent_cli_takes_the_place_of_mosaic() {
    let Some(s) = sandbox() else { return };
    let out = s.mosaic(&[
        "yolo",
        "claude",
        "fix",
        "it's \"tests\"",
        "--",
        "--model",
        "a b",
    ]);
    let out = out
        .code(5)
        .says(&format!("cwd={}", s.path("work").display()));
    assert_eq!(
        args(&out),
        [
            "--dangerously-skip-permissions",
            "--model",
            "a b",
            "fix it's \"tests\""
        ]
    );
    let out = s.mosaic(&["yolo", "claude", "--print", "x y"]).ok();
    assert_eq!(out.stdout, "claude --dangerously-skip-permissions 'x y'\n");
    s.mosaic(&["yolo", "claud"])
        .code(78)
        .warns("did you mean `claude`");
    s.mosaic(&["yolo", "codex"]).code(78).warns("npm install");
    s.mosaic(&["yolo", "demo", "words"])
        .code(2)
        .warns("takes no prompt");
}

#[test]
fn a_roster_has_the_last_word_even_where_its_directories_are_gone() {
    let Some(s) = sandbox() else { return };
    Roster::demo(&["a"])
        .default("working_directory", json!("/nonexistent"))
        .key(
            "runtimes",
            json!({
                "claude": {"permission_args": ["--own"]},
                "trial": {"command": "trial", "permission_env": {"TRIAL_MODE": "auto"}},
            }),
        )
        .write(&s);
    let out = s.mosaic(&["yolo", "claude"]).code(5);
    assert_eq!(args(&out), ["--own"]);
    s.mosaic(&["yolo", "trial"]).code(5).says("mode=auto");
    s.write(&s.roster(), "version: 1\nagents: [\n");
    s.mosaic(&["yolo", "claude"]).code(78);
}

#[test]
fn pi_gets_the_skills_of_its_mode() {
    let Some(mut s) = sandbox() else { return };
    let skill = |path: std::path::PathBuf| s.write(&path.join("SKILL.md"), "---\n");
    let config = s.home(".config/mosaic");
    skill(config.join("fleet/skills/forced"));
    skill(config.join("skills/one"));
    skill(config.join("skills-local/two"));
    skill(s.home(".pi/agent/skills/three"));
    skill(s.path("work/.pi/skills/four"));
    symlink(
        config.join("skills/one"),
        s.path("work/.pi/skills/one-again"),
    )
    .unwrap();
    symlink("loop", s.path("work/.pi/skills/loop")).unwrap();
    let given = |s: &Sandbox| -> (bool, Vec<String>) {
        let out = s.mosaic(&["yolo", "pi", "hello"]).code(5);
        let args = args(&out);
        assert_eq!(args.last(), Some(&"hello"));
        let names = args.windows(2).filter(|w| w[0] == "--skill").map(|w| {
            let name = std::path::Path::new(w[1]).file_name().unwrap();
            name.to_string_lossy().into_owned()
        });
        (args.contains(&"--no-skills"), names.collect())
    };
    let names = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let all = names(&["forced", "one", "two", "three", "four"]);
    assert_eq!(given(&s), (true, all));
    s.set("MOSAIC_PI_SKILL_MODE", "none");
    assert_eq!(given(&s), (true, names(&["forced"])));
    s.set("MOSAIC_PI_SKILL_MODE", "discover");
    assert_eq!(given(&s), (false, names(&["forced"])));
    symlink(
        config.join("fleet/skills/forced"),
        s.home(".pi/agent/skills/f"),
    )
    .unwrap();
    assert_eq!(given(&s), (false, names(&[])));
    s.set("MOSAIC_PI_SKILL_MODE", "everything");
    s.mosaic(&["yolo", "pi"])
        .code(2)
        .warns("MOSAIC_PI_SKILL_MODE");
}
