//! Answers a dialog by keys. What it needs of a pane is a trait, so that every way in which a dialog
//! can change under the hand is tested without one.
//!
//! The dialog is seen twice the same, compared with what the person was shown, and looked at again
//! right before every key; a key is pressed only while it is the very same dialog.

use std::time::Duration;

use super::{Decision, Question};
use crate::delivery::stop::{Reached, Stop};
use crate::runtime::Choose;
use crate::state::screen::{Dialog, Seen};

/// Between two looks. In the midst of drawing, a screen may show anything.
const TWICE: Duration = Duration::from_millis(120);

/// Between two looks after a key. Agent CLIs draw within 30 ms.
const LOOK: Duration = Duration::from_millis(20);

/// How long a key may take to show: to close the dialog, or to move its mark.
const EFFECT_WAIT: Duration = Duration::from_secs(2);

/// What is needed of a pane. Looks check that it is the agent's own, and in the foreground.
pub(super) trait Pane {
    /// Looks at the screen, out of copy mode.
    fn look(&mut self) -> Result<Seen, Stop>;
    /// Presses one key, by tmux's name.
    fn press(&mut self, key: &str) -> Result<(), Stop>;
    /// Lets time pass.
    fn sleep(&mut self, time: Duration);
}

/// A dialog that was answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Done {
    /// Label or key.
    pub chosen: String,
    /// What proves it.
    pub evidence: String,
}

/// What to do with a dialog.
enum Way {
    /// Take the option at this position.
    Option(usize),
    /// Press this key.
    Key(String),
}

/// Answers the open dialog. What it asked is stored in `asked` as soon as it is known.
pub(super) fn answer(
    pane: &mut impl Pane,
    decision: Decision,
    expected: Option<&str>,
    asked: &mut Option<Question>,
) -> Result<Done, Stop> {
    let question = steady(pane)?;
    let question = asked.insert(question);
    if let Some(expected) = expected
        && question.id != expected
    {
        return Err(Stop::refused(format!(
            "another question is asked by now: {} (`{}`, not `{expected}`)",
            question.question, question.id
        ))
        .hint("look at it and decide anew"));
    }
    let dialog = same(pane, question)?;
    let way = way(decision, question, &dialog)?;
    match way {
        Way::Key(key) => {
            same(pane, question)?;
            pane.press(&key)?;
            gone(pane, question, &format!("`{key}`"))?;
            Ok(Done {
                evidence: format!("the dialog is gone after `{key}`"),
                chosen: key,
            })
        }
        Way::Option(at) => {
            let label = dialog.choices[at].label.clone();
            let evidence = match dialog.choose {
                Choose::Number => by_number(pane, question, at)?,
                Choose::Arrows => by_arrows(pane, question, at)?,
            };
            Ok(Done {
                chosen: label,
                evidence,
            })
        }
    }
}

/// Waits until the dialog is seen twice the same.
fn steady(pane: &mut impl Pane) -> Result<Question, Stop> {
    // What changes at every look is not answered.
    const LOOKS: u32 = 10;
    let mut before: Option<Question> = None;
    for _ in 0..LOOKS {
        let seen = pane.look()?;
        let now = Question::on(&seen);
        match (now, before) {
            (Some(now), Some(before)) if now.id == before.id => return Ok(now),
            // Twice nothing, too: a dialog that is being drawn is none yet.
            (None, None) => {
                pane.sleep(TWICE);
                if Question::on(&pane.look()?).is_none() {
                    return Err(Stop::refused("no dialog is open: nothing was answered")
                        .hint("`mosaic agent explain AGENT` says what is on its screen"));
                }
                before = None;
            }
            (now, _) => before = now,
        }
        pane.sleep(TWICE);
    }
    Err(Stop::busy(
        "the dialog does not stand still: nothing was answered",
    ))
}

/// Looks again: the dialog, if it is still this one.
fn same(pane: &mut impl Pane, question: &Question) -> Result<Dialog, Stop> {
    let seen = pane.look()?;
    match Question::on(&seen) {
        None => Err(Stop::refused(
            "the dialog was closed meanwhile: no key was pressed",
        )),
        Some(now) if now.id != question.id => Err(Stop::refused(format!(
            "the dialog changed meanwhile, it asks now: {}",
            now.question
        ))
        .hint("look at it and decide anew")),
        Some(_) => seen.menu.ok_or_else(|| {
            Stop::refused("the form of this dialog is not known: its options cannot be told apart")
                .hint("answer it yourself: `mosaic agent attach AGENT`")
        }),
    }
}

fn way(decision: Decision, question: &Question, dialog: &Dialog) -> Result<Way, Stop> {
    let listed = || {
        let list: Vec<String> = question
            .options
            .iter()
            .map(|c| format!("{} {}", c.number, c.label))
            .collect();
        format!("name one with `--option N`: {}", list.join("; "))
    };
    match decision {
        Decision::Option(number) => question
            .options
            .iter()
            .position(|c| c.number == number)
            .map(Way::Option)
            .ok_or_else(|| {
                Stop::refused(format!("the dialog has no option {number}")).hint(listed())
            }),
        Decision::Approve => dialog.approve.map(Way::Option).ok_or_else(|| {
            Stop::refused(format!(
                "no option of `{}` is known to allow it just this once",
                question.question
            ))
            .hint(listed())
        }),
        Decision::Deny => match (dialog.deny, &dialog.cancel) {
            (Some(at), _) => Ok(Way::Option(at)),
            (None, Some(key)) => Ok(Way::Key(key.clone())),
            (None, None) => Err(Stop::refused(format!(
                "no option of `{}` is known to deny it",
                question.question
            ))
            .hint(listed())),
        },
    }
}

fn by_number(pane: &mut impl Pane, question: &Question, at: usize) -> Result<String, Stop> {
    let dialog = same(pane, question)?;
    let number = dialog.choices[at].number.to_string();
    if number.len() > 1 {
        // The first digit would take another option.
        return by_arrows(pane, question, at);
    }
    pane.press(&number)?;
    gone(pane, question, &format!("key {number}"))
}

fn by_arrows(pane: &mut impl Pane, question: &Question, at: usize) -> Result<String, Stop> {
    let mut touched = false;
    loop {
        let dialog = same(pane, question).map_err(|stop| after_key(stop, touched))?;
        let marked = dialog.choices.iter().position(|c| c.selected);
        let Some(marked) = marked else {
            return Err(Stop::refused("no option of the dialog is marked"));
        };
        if marked == at {
            return confirm(pane, question, at).map_err(|stop| after_key(stop, touched));
        }
        pane.press(if marked < at { "Down" } else { "Up" })?;
        touched = true;
        let mut waited = Duration::ZERO;
        loop {
            pane.sleep(LOOK);
            waited += LOOK;
            let now = same(pane, question).map_err(|stop| after_key(stop, true))?;
            if now.choices.iter().position(|c| c.selected) != Some(marked) {
                break;
            }
            if waited >= EFFECT_WAIT {
                return Err(Stop::typed("the mark of the dialog does not move")
                    .hint("answer it yourself: `mosaic agent attach AGENT`"));
            }
        }
    }
}

/// Presses Enter on the option that is to be taken, once it is seen to be the marked one.
fn confirm(pane: &mut impl Pane, question: &Question, at: usize) -> Result<String, Stop> {
    let dialog = same(pane, question)?;
    let choice = &dialog.choices[at];
    if !choice.selected {
        return Err(Stop::typed(format!(
            "option {} could not be marked: Enter was not pressed",
            choice.number
        ))
        .hint("answer it yourself: `mosaic agent attach AGENT`"));
    }
    pane.press("Enter")?;
    gone(pane, question, "Enter")
}

/// Waits until this dialog is gone.
fn gone(pane: &mut impl Pane, question: &Question, key: &str) -> Result<String, Stop> {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(evidence) = closed(pane, question, key)? {
            return Ok(evidence);
        }
        if waited >= EFFECT_WAIT {
            return Err(Stop::typed(format!(
                "{key} was pressed, and a dialog that asks the same is open"
            ))
            .hint("answer it yourself: `mosaic agent attach AGENT`"));
        }
        pane.sleep(LOOK);
        waited += LOOK;
    }
}

/// What shows that this dialog is gone; a screen that is drawn anew shows none for a moment, so two
/// looks must agree.
fn closed(pane: &mut impl Pane, question: &Question, key: &str) -> Result<Option<String>, Stop> {
    let mut two = [None; 2];
    for seen in &mut two {
        pane.sleep(LOOK);
        let now = pane.look().map_err(|stop| after_key(stop, true))?;
        *seen = match Question::on(&now) {
            Some(now) if now.id == question.id => return Ok(None),
            now => Some(now.is_some()),
        };
    }
    Ok(two[1].map(|another| {
        if another {
            format!("after {key} it asks something else")
        } else {
            format!("the dialog is gone after {key}")
        }
    }))
}

/// What went wrong after a key is not nothing any more.
fn after_key(stop: Stop, touched: bool) -> Stop {
    if touched && !stop.touched() {
        Stop {
            reached: Reached::Typed,
            retry: false,
            ..stop
        }
    } else {
        stop
    }
}

#[cfg(test)]
mod tests;
