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
struct Walk(Script, &'static str);

impl Pane for Walk {
    fn look(&mut self) -> Result<Seen, Stop> {
        let screen = self.0.screens[self.0.at.min(self.0.screens.len() - 1)].clone();
        Ok(read(&screen, 120, &samples::rules(self.1)))
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
    let mut pane = Walk(Script::new(&[first, second, BLANK]), "claude");
    let done = answer(&mut pane, Decision::Approve, None, &mut None).unwrap();
    assert_eq!(done.chosen, "Yes, I trust this folder");
    assert_eq!(pane.0.pressed, ["Down", "Enter"]);
    let mut pane = Walk(Script::new(&[first, BLANK]), "claude");
    answer(&mut pane, Decision::Deny, None, &mut None).unwrap();
    assert_eq!(pane.0.pressed, ["Enter"]);
    // The key does not move the mark: no Enter.
    let mut pane = Walk(Script::new(&[first]), "claude");
    let stop = answer(&mut pane, Decision::Approve, None, &mut None).unwrap_err();
    assert!(stop.touched());
    assert_eq!(pane.0.pressed, ["Down"]);
}

/// goose's dialog with this command, one of its options marked: only that one shows what it means.
fn goose(command: &str, marked: usize) -> String {
    let options = [
        ("Allow", "Allow the tool call once"),
        ("Always Allow", "Always allow the tool call"),
        ("Deny", "Deny the tool call"),
        ("Cancel", "Cancel the AI response and tool call"),
    ];
    let options: Vec<String> = options
        .iter()
        .enumerate()
        .map(|(at, (label, meaning))| match at == marked {
            true => format!("│  ● {label} ({meaning})"),
            false => format!("│  ○ {label}"),
        })
        .collect();
    format!(
        "  ▸ shell\n    command: {command}\n\n\n  Tool approval request\n    {{\n      \"command\": \"{command}\"\n    }}\n\n◆  Goose would like to call the above tool, do you allow?\n{}\n└",
        options.join("\n")
    )
}

#[test]
fn an_option_that_tells_more_while_it_is_marked_is_the_same_option() {
    let screens: Vec<String> = (0..4).map(|at| goose("touch one", at)).collect();
    let id = |screen: &str| {
        let seen = read(screen, 120, &samples::rules("goose"));
        Question::on(&seen).unwrap().id
    };
    for screen in &screens {
        assert_eq!(id(screen), id(&screens[0]), "{screen}");
    }
    // The words of an option in what is asked are no option.
    assert_ne!(id(&goose("touch Allow", 0)), id(&goose("rm Allow", 0)));

    let shown: Vec<&str> = screens.iter().map(String::as_str).collect();
    let walk = |screens: &[&str]| Walk(Script::new(screens), "goose");
    for (decision, keys, chosen) in [
        (Decision::Approve, &["Enter"][..], "Allow"),
        (Decision::Deny, &["Down", "Down", "Enter"], "Deny"),
        (
            Decision::Option(4),
            &["Down", "Down", "Down", "Enter"],
            "Cancel",
        ),
    ] {
        let mut pane = walk(&[&shown[..keys.len()], &[BLANK]].concat());
        let done = answer(&mut pane, decision, None, &mut None).unwrap();
        assert_eq!(done.chosen, chosen);
        assert_eq!(pane.0.pressed, keys);
    }
    // Another command in its place is another question, wherever the mark is.
    let other = goose("rm one", 1);
    let mut pane = walk(&[shown[0], &other]);
    let stop = answer(&mut pane, Decision::Deny, None, &mut None).unwrap_err();
    assert!(stop.reason.starts_with("the dialog changed"), "{stop:?}");
    assert_eq!(pane.0.pressed, ["Down"]);
}
