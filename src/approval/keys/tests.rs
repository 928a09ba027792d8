#![allow(clippy::unwrap_used)]
use super::*;
use crate::state::samples;
use crate::state::screen::read;

/// A pane that shows one screen after the other, a new one at each look, and the last one for ever.
struct Script {
    screens: Vec<String>,
    at: usize,
    pressed: Vec<String>,
    /// What a key changes the rest of the screens to.
    after: Vec<(&'static str, Vec<String>)>,
}

impl Script {
    fn new(screens: &[&str]) -> Self {
        Self {
            screens: screens.iter().map(|s| (*s).to_owned()).collect(),
            at: 0,
            pressed: Vec::new(),
            after: Vec::new(),
        }
    }

    fn after(mut self, key: &'static str, screens: &[&str]) -> Self {
        self.after
            .push((key, screens.iter().map(|s| (*s).to_owned()).collect()));
        self
    }

    fn decide(&mut self, decision: Decision) -> Result<Done, Stop> {
        answer(self, decision, None, &mut None)
    }
}

impl Pane for Script {
    fn look(&mut self) -> Result<Seen, Stop> {
        let screen = &self.screens[self.at.min(self.screens.len() - 1)];
        self.at += 1;
        Ok(read(screen, 40, &samples::rules("demo")))
    }

    fn press(&mut self, key: &str) -> Result<(), Stop> {
        self.pressed.push(key.to_owned());
        if let Some(at) = self.after.iter().position(|(k, _)| *k == key) {
            (self.screens, self.at) = (self.after.remove(at).1, 0);
        }
        Ok(())
    }

    fn sleep(&mut self, _: Duration) {}
}

const ASKS: &str = "  rm one\nDo you want to proceed?\n❯ 1. Yes\n  2. No\n\nEsc to cancel";
const OTHER: &str = "  rm all\nDo you want to proceed?\n❯ 1. Yes\n  2. No\n\nEsc to cancel";
const WORKS: &str =
    "────────────────────────────────────────\n❯ \n────────────────────────────────────────\nfoot";
const BLANK: &str = "";

#[test]
fn the_key_of_the_option_and_nothing_else() {
    for (decision, key, chosen) in [
        (Decision::Approve, "1", "Yes"),
        (Decision::Deny, "2", "No"),
        (Decision::Option(2), "2", "No"),
    ] {
        let mut pane = Script::new(&[ASKS]).after(key, &[ASKS, BLANK, WORKS]);
        let done = pane.decide(decision).unwrap();
        assert_eq!(
            (done.chosen.as_str(), &pane.pressed[..]),
            (chosen, &[key.to_owned()][..])
        );
    }
}

#[test]
fn nothing_is_pressed_where_the_dialog_is_not_the_same_all_the_time() {
    let table: &[(&str, &[&str])] = &[
        ("no dialog is open: nothing was answered", &[WORKS]),
        ("no dialog is open: nothing was answered", &[BLANK]),
        (
            "the dialog was closed meanwhile: no key was pressed",
            &[ASKS, ASKS, WORKS],
        ),
        (
            "the dialog was closed meanwhile: no key was pressed",
            &[ASKS, ASKS, ASKS, WORKS],
        ),
        (
            "the dialog changed meanwhile, it asks now: Do you want to proceed?",
            &[ASKS, ASKS, ASKS, OTHER],
        ),
        (
            "the dialog does not stand still: nothing was answered",
            &[
                ASKS, OTHER, ASKS, OTHER, ASKS, OTHER, ASKS, OTHER, ASKS, OTHER, ASKS, OTHER,
            ],
        ),
    ];
    for (reason, screens) in table {
        let mut pane = Script::new(screens);
        let stop = pane.decide(Decision::Approve).unwrap_err();
        assert_eq!(stop.reason, *reason);
        assert!(!stop.touched());
        assert_eq!(pane.pressed, Vec::<String>::new(), "{reason}");
    }
}

#[test]
fn only_the_question_that_was_shown_is_answered() {
    let mut asked = None;
    let shown = Question::on(&read(ASKS, 40, &samples::rules("demo"))).unwrap();
    let mut pane = Script::new(&[OTHER]);
    let stop = answer(&mut pane, Decision::Approve, Some(&shown.id), &mut asked).unwrap_err();
    assert!(
        stop.reason.starts_with("another question is asked by now"),
        "{stop:?}"
    );
    assert!(pane.pressed.is_empty());
    assert_ne!(asked.unwrap().id, shown.id);
    // The mark may be moved.
    let moved = ASKS.replace("❯ 1", "  1").replace("  2", "❯ 2");
    assert_eq!(
        Question::on(&read(&moved, 40, &samples::rules("demo")))
            .unwrap()
            .id,
        shown.id
    );
}

#[test]
fn a_key_that_does_nothing_is_not_said_to_have_answered() {
    let mut pane = Script::new(&[ASKS]);
    let stop = pane.decide(Decision::Approve).unwrap_err();
    assert_eq!(
        stop.reason,
        "key 1 was pressed, and a dialog that asks the same is open"
    );
    assert!(stop.touched());
    assert_eq!(pane.pressed, ["1"]);
    let mut pane = Script::new(&[ASKS]).after("1", &[OTHER]);
    let done = pane.decide(Decision::Approve).unwrap();
    assert_eq!(done.evidence, "after key 1 it asks something else");
}

#[test]
fn options_that_are_not_there_are_named() {
    let stop = Script::new(&[ASKS])
        .decide(Decision::Option(3))
        .unwrap_err();
    assert_eq!(stop.reason, "the dialog has no option 3");
    assert_eq!(
        stop.hint.as_deref(),
        Some("name one with `--option N`: 1 Yes; 2 No")
    );
    let lasting = ASKS.replace("Yes", "Yes, always");
    let stop = Script::new(&[&lasting])
        .decide(Decision::Approve)
        .unwrap_err();
    assert!(stop.reason.contains("just this once"), "{stop:?}");
}

/// A menu that is walked.
struct Walk(Script);

impl Pane for Walk {
    fn look(&mut self) -> Result<Seen, Stop> {
        let screen = self.0.screens[self.0.at.min(self.0.screens.len() - 1)].clone();
        Ok(read(&screen, 120, &samples::rules("claude")))
    }

    fn press(&mut self, key: &str) -> Result<(), Stop> {
        self.0.pressed.push(key.to_owned());
        self.0.at += 1;
        Ok(())
    }

    fn sleep(&mut self, _: Duration) {}
}

#[test]
fn a_menu_is_walked_and_enter_falls_on_the_marked_option_only() {
    let first = "Is this a project you trust?\n\n ❯ No, exit\n   Yes, I trust this folder\n\n Enter to confirm";
    let second = "Is this a project you trust?\n\n   No, exit\n ❯ Yes, I trust this folder\n\n Enter to confirm";
    let mut pane = Walk(Script::new(&[first, second, BLANK]));
    let done = answer(&mut pane, Decision::Approve, None, &mut None).unwrap();
    assert_eq!(done.chosen, "Yes, I trust this folder");
    assert_eq!(pane.0.pressed, ["Down", "Enter"]);
    let mut pane = Walk(Script::new(&[first, BLANK]));
    answer(&mut pane, Decision::Deny, None, &mut None).unwrap();
    assert_eq!(pane.0.pressed, ["Enter"]);
    // The key does not move the mark: no Enter.
    let mut pane = Walk(Script::new(&[first]));
    let stop = answer(&mut pane, Decision::Approve, None, &mut None).unwrap_err();
    assert!(stop.touched());
    assert_eq!(pane.0.pressed, ["Down"]);
}
