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
            let work = match (seen.limited, seen.working) {
                (true, _) => " limited",
                (false, true) => " working",
                (false, false) => "",
            };
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
        (None, Some(_)) => match &seen.menu {
            Some(menu) => {
                let one = |at: Option<usize>| {
                    at.map_or("-".to_owned(), |at| menu.choices[at].label.clone())
                };
                format!(
                    "dialog {:?} of {}, marked {}, approve {}, deny {}",
                    menu.question,
                    menu.choices.len(),
                    one(menu.choices.iter().position(|c| c.selected)),
                    one(menu.approve),
                    one(menu.deny)
                )
            }
            None => "dialog".into(),
        },
        (None, None) => "nothing".into(),
    }
}

#[test]
fn captured_screens_are_read_as_a_person_would() {
    let mut got = Vec::new();
    for runtime in [
        "claude", "codex", "demo", "gemini", "goose", "opencode", "pi",
    ] {
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

#[test]
fn a_box_may_be_taller_than_the_screen() {
    let rules = samples::rules("claude");
    let rule = "─".repeat(40);
    let seen = |text: String| {
        let input = read(&text, 40, &rules).input;
        input.map(|i| (i.text, i.part, i.empty))
    };
    let boxed = |rows: &str| seen(format!("{rows}\n{rule}\n  footer"));
    assert_eq!(
        boxed("  two\n\n  three\n"),
        Some(("two\n\nthree\n".into(), Part::Tail, false))
    );
    assert_eq!(
        boxed("❯\u{a0}one\n  two"),
        Some(("one\ntwo".into(), Part::Whole, false))
    );
    for other in [
        // Something else stands above the rule.
        "● two\n  three",
        "  two\n❯\u{a0}three\n  four",
        "  two\nthree",
        "",
        "\n\n",
    ] {
        assert_eq!(boxed(other), None, "{other}");
    }
    let below = format!("  two\n{rule}\n  may I?\n ❯ 1. Yes\n   2. No");
    assert_eq!(seen(below), None);
    let below = format!("  two\n{rule}\n1\n2\n3\n4\n5");
    assert_eq!(seen(below), None);
    // Where a box keeps within the screen, it has its upper rule.
    let pi = samples::rules("pi");
    let text = format!("  two\n{rule}\nfooter");
    assert_eq!(read(&text, 40, &pi).input, None);
}

/// `claude`'s rules with another box.
fn with_box(input: &str) -> Rules {
    let mut data = samples::screen("claude");
    data.input = serde_saphyr::from_str(input).unwrap();
    Rules::compile(&data).unwrap()
}

#[test]
fn a_box_can_be_marked_by_its_prompt() {
    let rules =
        with_box(r"{shape: prompt, glyph: '> ', above: '^ +\d+%$', indent: '', tail_only: true}");
    let seen = |text: &str| read(text, 40, &rules).input;
    let text = |screen: &str| seen(screen).map(|i| (i.text, i.part));
    assert!(seen("  5%\n> old\nanswer\n  7%\n>").unwrap().empty);
    assert!(
        seen("  7%\n> \u{1b}[2mtype here\u{1b}[0m\n\n")
            .unwrap()
            .empty
    );
    assert_eq!(
        text("  5%\n> old\n  7%\n> one\n\n> two"),
        Some(("one\n\n> two".into(), Part::Whole))
    );
    // Nothing else can be told from a draft whose first row has left the screen; the caller compares.
    assert_eq!(
        text("> row 8\nrow 9"),
        Some(("> row 8\nrow 9".into(), Part::Tail))
    );
    // A dialog's choice is no box, not even a part of one.
    let dialog = read("Allow?\n ❯ 1. Yes\n   2. No", 40, &rules);
    assert_eq!((dialog.input, dialog.dialog.is_some()), (None, true));

    let closed = with_box(
        r"{shape: prompt, glyph: '› ', indent: '  ', bottom: '^  model · ', below_most: 1}",
    );
    let text = |screen: &str| read(screen, 40, &closed).input.map(|i| i.text);
    assert_eq!(
        text("› old\n\n• answer\n\n› one\n  two\n\n  three\n\n  model · /dir\n  ? for help"),
        Some("one\ntwo\n\nthree".into())
    );
    for none in [
        "› old\n\n• answer\n\n  model · /dir",
        "› one\n  two",
        "› one\n\n  model · /dir\n  more\n  and more",
    ] {
        assert_eq!(text(none), None, "{none}");
    }
}

#[test]
fn a_box_can_be_marked_by_its_bar() {
    let rules = with_box(
        r"{shape: bar, glyph: '┃', indent: '┃  ', bottom: '^ *╹▀+', skip_first: 1, skip_last: 2, most_rows: 3, below_most: 2}",
    );
    let screen = |draft: &str| {
        format!(
            "  ┃\n  ┃  old\n  ┃\n\n  answer\n\n  ┃\n{draft}  ┃\n  ┃  model\n  ╹▀▀▀▀▀▀▀▀\n  /dir"
        )
    };
    let seen = |draft: &str| read(&screen(draft), 40, &rules).input;
    assert!(seen("  ┃\n").unwrap().empty);
    let two = seen("  ┃  one\n  ┃  two\n").unwrap();
    assert_eq!((two.text.as_str(), two.part), ("one\ntwo", Part::Whole));
    let three = seen("  ┃  b\n  ┃  c\n  ┃  d\n").unwrap();
    assert_eq!((three.text.as_str(), three.part), ("b\nc\nd", Part::Tail));
    assert_eq!(seen(""), None);
    assert_eq!(read("  ┃  old\n\n  answer", 40, &rules).input, None);
    // What stands beside it is not in it.
    let beside = seen("  ┃  one     Context\n").unwrap();
    assert_eq!(beside.text, "one");
    // A dialog in its place, and an answer that draws a box.
    let dialog = screen("  ┃  one\n").replace("  /dir", "  ┃  Allow?\n  ┃");
    assert_eq!(read(&dialog, 40, &rules).input, None);
}

#[test]
fn rules_that_cannot_find_a_box_are_refused() {
    for input in [
        "{bottom: x}",
        "{top: x}",
        "{shape: prompt}",
        "{shape: bar, bottom: x}",
        "{shape: bar, glyph: x}",
    ] {
        let mut data = samples::screen("claude");
        data.input = serde_saphyr::from_str(input).unwrap();
        let error = Rules::compile(&data).unwrap_err();
        assert!(error.message.contains("lack `input."), "{}", error.message);
    }
}

#[test]
fn a_menu_counts_only_whole_and_at_the_foot() {
    let rules = samples::rules("demo");
    let menu = |text: &str| read(text, 40, &rules).menu.map(|m| m.choices.len());
    let dialog = "Do you want to proceed?\n❯ 1. Yes\n  2. No\n\nEsc to cancel";
    assert_eq!(menu(dialog), Some(2));
    for (what, text) in [
        ("one option", "Proceed?\n❯ 1. Yes\n\nEsc".to_owned()),
        ("none is marked", dialog.replace('❯', " ")),
        ("both are", dialog.replace("  2", "❯ 2")),
        (
            "it begins at two",
            dialog.replace("2.", "3.").replace("1.", "2."),
        ),
        ("a number is missing", dialog.replace("2.", "3.")),
        (
            "output stands below it",
            format!("{dialog}\nmore\nand more"),
        ),
        (
            "a box stands below it",
            format!("{dialog}\n{0}\n❯ \n{0}\nfoot", "─".repeat(40)),
        ),
    ] {
        assert_eq!(menu(&text), None, "{what}");
    }
    // The options of an older list right above it are not its own.
    assert_eq!(menu(&format!("  1. a\n  2. b\n{dialog}")), Some(2));
}

#[test]
fn an_approval_is_never_for_ever() {
    let rules = |yaml: &str| {
        let spec = crate::roster::parse_runtime("x", yaml).unwrap();
        Rules::compile(&spec.screen.unwrap()).unwrap()
    };
    let any = rules(
        "command: x\nscreen:\n  input: {top: '^=+$', bottom: '^=+$'}\n  menus:\n    - option: '^(?<selected>>)? *(?<number>\\d+)\\. (?<label>.*)$'\n",
    );
    let approves = |first: &str| {
        let text = format!("May I?\n> 1. {first}\n  2. No");
        read(&text, 40, &any).menu.unwrap().approve
    };
    assert_eq!(approves("Yes"), Some(0));
    for label in [
        "Yes, always",
        "Yes, and don't ask again for `touch`",
        "Yes, and don’t ask again",
        "Allow for this session",
        "Yes, and switch to auto mode",
    ] {
        assert_eq!(approves(label), None, "{label}");
    }
}
