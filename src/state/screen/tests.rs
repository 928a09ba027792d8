#![allow(clippy::unwrap_used)]
use super::*;
use crate::state::samples;

/// A capture, and the width of its pane, which the longest of its rules has.
fn capture(runtime: &str, name: &str) -> (String, u16) {
    let path = format!(
        "{}/tests/fixtures/screens/{runtime}/{name}.ansi",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let rules = rows(&text)
        .into_iter()
        .map(|r| r.text())
        .filter(|t| !t.is_empty() && t.chars().all(|c| c == '─'));
    let width = rules.map(|t| t.chars().count()).max().unwrap_or(120);
    let width = u16::try_from(width).unwrap();
    (text, width)
}

/// What a screen is taken for, in one line.
fn summary(seen: &Seen) -> String {
    match (&seen.input, &seen.dialog) {
        (Some(input), _) => {
            let work = if seen.working { " working" } else { "" };
            let what = if input.empty {
                "empty".to_owned()
            } else {
                let first: String = input.text.chars().take(24).collect();
                let shell = if input.shell { "shell " } else { "" };
                let tail = if input.part == Part::Tail {
                    "tail "
                } else {
                    ""
                };
                let collapsed = if input.collapsed.is_empty() {
                    String::new()
                } else {
                    format!(" collapsed {:?}", input.collapsed)
                };
                format!("{shell}{tail}{first:?} rows {}{collapsed}", input.rows)
            };
            format!("{what}{work}")
        }
        (None, Some(_)) => "dialog".into(),
        (None, None) => "nothing".into(),
    }
}

#[test]
fn captured_screens_are_read_as_a_person_would() {
    let mut got = Vec::new();
    for runtime in ["claude", "demo", "pi"] {
        let dir = format!(
            "{}/tests/fixtures/screens/{runtime}",
            env!("CARGO_MANIFEST_DIR")
        );
        let mut names: Vec<String> = std::fs::read_dir(dir)
            .unwrap()
            .map(|e| {
                e.unwrap()
                    .file_name()
                    .to_string_lossy()
                    .trim_end_matches(".ansi")
                    .to_owned()
            })
            .collect();
        names.sort();
        for name in names {
            let (text, width) = capture(runtime, &name);
            let seen = read(&text, width, &samples::rules(runtime));
            got.push(format!("{runtime}/{name}: {}", summary(&seen)));
        }
    }
    insta::assert_snapshot!(got.join("\n"));
}

#[test]
fn only_rules_over_the_whole_width_at_the_foot_are_a_box() {
    let rules = samples::rules("claude");
    let seen = |text: String| read(&text, 40, &rules).input;
    let rule = |width: usize| "─".repeat(width);
    let boxed =
        |width, below: &str| format!("x\n{}\n❯\u{a0}hello\n{}\n{below}", rule(width), rule(width));
    assert_eq!(
        seen(boxed(40, "footer")).map(|i| i.text).as_deref(),
        Some("hello")
    );
    for other in [
        boxed(39, "footer"),
        boxed(41, "footer"),
        boxed(40, "more\nthan\nfour\nrows\nbelow"),
        format!("{}\n❯ hello\n{}\n", rule(40), rule(40)),
        format!("{}\n{}\n", rule(40), rule(40)),
        format!("{}\n❯\u{a0}hello\n", rule(40)),
        String::new(),
    ] {
        assert_eq!(seen(other.clone()), None, "{other}");
    }
}
