//! Profiles are filled in to rosters that resolve, whatever is installed and wherever the user works.

use super::*;
use crate::roster::profile::{PREFERENCE, fill, find, names};

const EVERYTHING: &[&str] = &[
    "claude",
    "codex",
    "gemini",
    "goose",
    "goose-serve",
    "goosed",
    "opencode",
    "pi",
];

#[test]
fn every_profile_resolves_on_every_machine() {
    let machine = Machine {
        any_directory: true,
        ..Machine::default()
    };
    for name in names() {
        let profile = find(name).unwrap();
        assert!(
            profile
                .text
                .starts_with("# yaml-language-server: $schema=roster.schema.json\n"),
            "{name}"
        );
        for installed in [&[][..], &["claude"], &["pi"], EVERYTHING] {
            for directory in [
                "/home/me/work",
                "/with space/ünï 漢字 🦀",
                "/quo\"tes'and`$HOME %h \\x",
                "/a: b #c/- {x}/[y]/*z/&q/!t/|/>",
                "/@RUNTIME@/\"@WORKING_DIRECTORY@\"",
                "/~/null",
            ] {
                let filled = fill(&profile, installed, Path::new(directory));
                let (fleet, _) = machine.resolve(&filled.text).unwrap_or_else(|e| {
                    panic!(
                        "{name} {installed:?} {directory}\n{}\n{}",
                        shown(&e),
                        filled.text
                    )
                });
                for agent in &fleet.agents {
                    assert_eq!(agent.working_directory, Path::new(directory), "{name}");
                    let there = installed.contains(&agent.runtime.as_str())
                        || ["demo", "goosed", "goose-serve"].contains(&agent.runtime.as_str());
                    assert!(there, "{name} {installed:?} {}", agent.runtime);
                }
                let mut used: Vec<_> = fleet.agents.iter().map(|a| a.runtime.clone()).collect();
                used.sort();
                used.dedup();
                assert_eq!(filled.runtimes, used, "{name} {installed:?}");
                let comments = |t: &str| {
                    t.lines()
                        .filter(|l| l.trim_start().starts_with('#'))
                        .count()
                };
                assert_eq!(comments(&filled.text), comments(&profile.text), "{name}");
            }
        }
    }
}

#[test]
fn control_characters_in_the_directory_are_refused_by_the_roster_not_hidden() {
    let machine = Machine {
        any_directory: true,
        ..Machine::default()
    };
    let filled = fill(
        &find("demo").unwrap(),
        &[],
        Path::new("/a\nagents: []\u{2028}\u{85}"),
    );
    let error = machine.resolve(&filled.text).unwrap_err();
    assert_eq!(
        error.message,
        "control character '\\n' in `working_directory` in `defaults`"
    );
}

#[test]
fn the_first_installed_of_the_preference_wins() {
    let profile = find("minimal").unwrap();
    for first in 0..PREFERENCE.len() {
        let filled = fill(&profile, &PREFERENCE[first..], Path::new("/w"));
        assert_eq!(filled.runtimes, [PREFERENCE[first]]);
        assert_eq!(
            filled.notes,
            [format!(
                "runtime `{}`, the first installed of claude, codex, pi, opencode, goose, gemini",
                PREFERENCE[first]
            )]
        );
    }
}

#[test]
fn notes_say_what_was_done() {
    let notes = |profile: &str, installed: &[&str]| {
        fill(&find(profile).unwrap(), installed, Path::new("/w"))
            .notes
            .join("\n")
    };
    insta::assert_snapshot!(
        "profile_notes",
        format!(
            "minimal, nothing installed:\n{}\n\nusc, pi only:\n{}\n\nusc, nothing:\n{}\n\nusc, all:\n{}\n\ngoosed, nothing:\n{}\n\ngoose-pool, nothing:\n{}\n\ndemo:\n{}",
            notes("minimal", &[]),
            notes("usc", &["pi"]),
            notes("usc", &[]),
            notes("usc", EVERYTHING),
            notes("goosed", &[]),
            notes("goose-pool", &[]),
            notes("demo", &[]),
        )
    );
}

#[test]
fn the_pool_takes_the_server_that_is_there() {
    let machine = Machine {
        any_directory: true,
        ..Machine::default()
    };
    for (installed, want) in [
        (EVERYTHING, "goosed"),
        (&["goose", "goose-serve"], "goose-serve"),
        (&["goosed"], "goosed"),
        (&["claude"], "goose-serve"),
        (&[], "goose-serve"),
    ] {
        let filled = fill(&find("goose-pool").unwrap(), installed, Path::new("/w"));
        let (fleet, _) = machine.resolve(&filled.text).unwrap();
        let runtimes: Vec<_> = fleet.agents.iter().map(|a| a.runtime.as_str()).collect();
        assert_eq!(runtimes, [want; 3], "{installed:?}");
        assert!(fleet.routing.gateway);
        let missing = !installed.contains(&want);
        assert_eq!(
            filled.notes.len(),
            usize::from(missing),
            "{:?}",
            filled.notes
        );
    }
}

#[test]
fn the_factory_has_its_thirteen_slots() {
    let machine = Machine {
        any_directory: true,
        ..Machine::default()
    };
    let filled = fill(&find("usc").unwrap(), EVERYTHING, Path::new("/w"));
    let (fleet, _) = machine.resolve(&filled.text).unwrap();
    let got: Vec<String> = fleet
        .agents
        .iter()
        .map(|a| {
            format!(
                "{} {} {} {:?} {}",
                a.name, a.runtime, a.class, a.persistent_persona, a.reset_between_tasks
            )
        })
        .collect();
    assert_eq!(
        got,
        [
            "mos-claude claude orchestrator Persistent false",
            "coder0 claude implementer Free true",
            "coder1 claude implementer Free true",
            "coder2 pi implementer Free true",
            "coder3 pi implementer Free true",
            "coder4 claude implementer Free true",
            "coder5 claude implementer Free true",
            "enhance claude enhancer Semi false",
            "rev0 pi reviewer Free true",
            "rev1 pi reviewer Free true",
            "secrev0 pi security_reviewer Free true",
            "secrev1 pi security_reviewer Free true",
            "ultron pi final_reviewer Semi false",
        ]
    );
}

#[test]
fn names_aliases_and_files() {
    assert!(names().is_sorted());
    assert_eq!(find("usc").unwrap().name, "usc-software-factory");
    let error = find("minmal").unwrap_err();
    assert_eq!(error.message, "unknown profile `minmal`");
    assert_eq!(
        error.hints[0],
        "did you mean `minimal`? known profiles: demo, goose-pool, goosed, minimal, usc, usc-software-factory"
    );
    assert_eq!(
        find("./none.yaml").unwrap_err().message,
        "cannot read the profile `./none.yaml`"
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.yaml");
    let text = "version: 1\nruntimes: {pi: {command: my-pi}}\nagents:\n- runtime: pi # own\n  name: a\n  working_directory: /x\n- {name: b, runtime: codex}\n";
    std::fs::write(&path, text).unwrap();
    let filled = fill(
        &find(path.to_str().unwrap()).unwrap(),
        &["claude"],
        Path::new("/w"),
    );
    assert_eq!(
        filled.text, text,
        "a runtime that the profile defines stays, and so does what the marks do not name"
    );
}
