#![allow(clippy::unwrap_used)]
use super::*;
use crate::runtime::{ScreenRules, Typing};
use crate::state::screen::Size;

fn shot(text: &str) -> Shot {
    Shot {
        text: text.to_owned(),
        width: 30,
        title: String::new(),
    }
}

fn rules(input: InputBox, collapsed: Vec<String>) -> Rules {
    let data = ScreenRules {
        input,
        working: Vec::new(),
        limited: Vec::new(),
        working_within: 8,
        ends_turn: false,
        dialog: Vec::new(),
        menus: Vec::new(),
        collapsed,
        title: TitleRules::default(),
        typing: Typing::default(),
        enter_delay_ms: 0,
    };
    Rules::compile(&data).unwrap()
}

fn ruled(above: &str, box_row: &str) -> Shot {
    let rule = "─".repeat(30);
    shot(&format!("{above}\n{rule}\n{box_row}\n{rule}\nfoot"))
}

#[test]
fn boxes_are_described_by_what_stands_around_a_draft() {
    let idle = ruled("hello", "❯ ");
    let draft = ruled("hello", "❯ token");
    let input = input_box(&idle, &draft, "token").unwrap();
    assert_eq!((input.shape, input.glyph.as_str()), (BoxShape::Ruled, "❯ "));
    let rules = rules(input, Vec::new());
    let text = |shot: &Shot| read(&shot.text, 30, &rules).input.map(|i| i.text);
    assert_eq!(text(&idle).as_deref(), Some(""));
    assert_eq!(text(&draft).as_deref(), Some("token"));
    let input = input_box(
        &shot("hi\n\n> \nstatus here"),
        &shot("hi\n\n> token\nstatus here"),
        "token",
    );
    let input = input.unwrap();
    assert_eq!(
        (input.shape, input.bottom.as_str()),
        (BoxShape::Prompt, "^status here")
    );
    assert!(input_box(&shot("hi\n\n"), &shot("hi\n\ntoken"), "token").is_err());
    assert!(input_box(&idle, &idle, "token").is_err());
}

#[test]
fn a_collapsed_paste_must_name_its_size() {
    let size = |mark: &str| {
        let pattern = collapsed(mark, 40, 600)?;
        let idle = ruled("", "❯ ");
        let input = input_box(&idle, &ruled("", "❯ token"), "token").unwrap();
        let seen = read(
            &ruled("", &format!("❯ {mark}")).text,
            30,
            &rules(input, vec![pattern]),
        );
        Some(seen.input?.collapsed[0])
    };
    assert_eq!(size("[Pasted #1 +39 lines]"), Some(Size::More(39)));
    assert_eq!(size("[paste 2 40 lines]"), Some(Size::Lines(40)));
    assert_eq!(size("[600 chars]"), Some(Size::Chars(600)));
    assert_eq!(size("[Pasted #1]"), None);
    assert_eq!(size("some text"), None);
}

#[test]
fn work_is_what_comes_and_goes_above_the_box() {
    let quiet = [
        ruled("> hi\n\nhello there", "❯ "),
        ruled("answer\n\n> hi", "❯ "),
    ];
    let input = input_box(&quiet[0], &ruled("", "❯ token"), "token").unwrap();
    let rules = rules(input, Vec::new());
    let frames: Vec<Shot> = ["✶ Thinking… (0s)", "✻ Thinking… (0s)", "✽ Thinking… (1s)"]
        .map(|row| ruled(&format!("> hi\n\n{row}"), "❯ "))
        .to_vec();
    let found = working(&frames, &quiet, &rules, "hi").unwrap();
    assert_eq!(
        (found.pattern.as_str(), found.within),
        (r"^[^\w\s] ?Thinking…", 1)
    );
    // What stays is no sign of work, nor is what was said.
    let stays = ruled("✻ Thinking… (9s)", "❯ ");
    assert_eq!(working(&frames, &[stays], &rules, "hi"), None);
    assert_eq!(working(&quiet, &quiet, &rules, "hi"), None);
}
