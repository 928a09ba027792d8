//! Reads the options of an open dialog off a screen, and which of them approves or denies. Pure.
//!
//! Old output may hold the very rows of a dialog. So a menu counts only as a whole: its options stand
//! together at the foot of the screen, numbered from 1 where they are numbered, and exactly one of them
//! is marked.

use std::sync::OnceLock;

use regex::Regex;
use serde::Serialize;

use super::{SHOWN_ROWS, foot, pattern};
use crate::error::Result;
use crate::runtime::{Choose, Menu};

/// Words of options that allow more than what is asked just now. An approval never takes one of them,
/// whatever a runtime's patterns say: what is allowed for ever is a person's to say.
const LASTING: &str = r"(?i)\b(?:always|don.?t ask|do not ask|never ask|auto|session|all future|every time|trust all)\b";

/// Whether an option of this text allows more than what is asked just now.
fn lasting(label: &str) -> bool {
    static COMPILED: OnceLock<Option<Regex>> = OnceLock::new();
    let compiled = COMPILED.get_or_init(|| Regex::new(LASTING).ok());
    // Without the pattern nothing is known to be harmless.
    compiled.as_ref().is_none_or(|r| r.is_match(label))
}

/// A form of dialog with its patterns compiled.
#[derive(Debug, Clone)]
pub(super) struct MenuRules {
    data: Menu,
    option: Regex,
    approve: Vec<Regex>,
    deny: Vec<Regex>,
    begins: Option<Regex>,
}

/// An open dialog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialog {
    /// Its rows from the first one to the last option, blank ones left out.
    pub rows: Vec<String>,
    /// The same without its options: none of them changes when the mark is moved.
    pub about: Vec<String>,
    /// What it asks: the last row above the options that ends in a question mark, else the last one
    /// that holds one, else the first row.
    pub question: String,
    /// Its options, from top to bottom.
    pub choices: Vec<Choice>,
    /// How one is chosen.
    pub choose: Choose,
    /// Position of the option that approves this once.
    pub approve: Option<usize>,
    /// Position of the option that denies.
    pub deny: Option<usize>,
    /// Key that denies.
    pub cancel: Option<String>,
}

/// An option of a dialog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// Counted from 1.
    pub number: usize,
    /// Its text.
    pub label: String,
    /// It is the marked one.
    pub selected: bool,
    /// Its row on the screen, counted from 1.
    pub row: usize,
}

impl MenuRules {
    pub(super) fn compile(data: &Menu) -> Result<Self> {
        let all = |patterns: &Vec<String>| patterns.iter().map(pattern).collect::<Result<Vec<_>>>();
        Ok(Self {
            option: pattern(&data.option)?,
            approve: all(&data.approve)?,
            deny: all(&data.deny)?,
            begins: data.begins.as_ref().map(pattern).transpose()?,
            data: data.clone(),
        })
    }

    /// Finds the dialog on a screen without an input box. `texts` are its rows, the last one not blank.
    pub(super) fn find(&self, texts: &[String]) -> Option<Dialog> {
        let choices = self.choices(texts)?;
        let first = choices.first()?.row - 1;
        let last = choices.last()?.row - 1;
        let begin = self
            .begins
            .as_ref()
            .and_then(|begins| texts[..first].iter().rposition(|t| begins.is_match(t)));
        let above = match begin {
            Some(at) => foot(&texts[at..first], first),
            None => foot(&texts[..first], SHOWN_ROWS),
        };
        let label = |patterns: &[Regex]| {
            choices
                .iter()
                .position(|c| patterns.iter().any(|p| p.is_match(&c.label)))
        };
        let approve = if self.data.approve.is_empty() {
            Some(0)
        } else {
            label(&self.approve)
        };
        let shown = |rows: &[String]| -> Vec<String> {
            let shown = rows.iter().filter(|t| !t.trim().is_empty());
            shown.cloned().collect()
        };
        let between: Vec<String> = (first..=last)
            .filter(|row| !choices.iter().any(|c| c.row == row + 1))
            .map(|row| texts[row].clone())
            .collect();
        Some(Dialog {
            question: asked(&above),
            rows: [shown(&above), shown(&texts[first..=last])].concat(),
            about: [shown(&above), shown(&between)].concat(),
            choose: self.data.choose,
            approve: approve.filter(|at| !lasting(&choices[*at].label)),
            deny: label(&self.deny),
            cancel: self.data.cancel.clone(),
            choices,
        })
    }

    /// The options, looked for from the foot upwards.
    fn choices(&self, texts: &[String]) -> Option<Vec<Choice>> {
        let last = texts.iter().rposition(|t| self.option.is_match(t))?;
        if texts.len() - 1 - last > usize::from(self.data.below_most) {
            return None;
        }
        let mut found: Vec<Choice> = Vec::new();
        let mut gap = 0;
        for row in (0..=last).rev() {
            let Some(groups) = self.option.captures(&texts[row]) else {
                gap += 1;
                if gap > usize::from(self.data.gap) {
                    break;
                }
                continue;
            };
            let group = |name| groups.name(name).map(|m| m.as_str().trim());
            let number = group("number").map(str::parse::<usize>);
            let before = found.last().map(|c| c.number);
            let number = match (number, before) {
                // Not of this list: it counts down by one to 1.
                (Some(Ok(n)), Some(before)) if n + 1 != before => break,
                (Some(Ok(n)), _) => n,
                (Some(Err(_)), _) => break,
                (None, _) => 0,
            };
            gap = 0;
            found.push(Choice {
                number,
                label: group("label").unwrap_or_default().to_owned(),
                selected: group("selected").is_some_and(|mark| !mark.is_empty()),
                row: row + 1,
            });
            if number == 1 {
                break;
            }
        }
        found.reverse();
        let numbered = found.iter().all(|c| c.number > 0);
        if numbered && found.first().is_some_and(|c| c.number != 1) {
            return None;
        }
        for (at, choice) in found.iter_mut().enumerate() {
            choice.number = at + 1;
        }
        let marked = found.iter().filter(|c| c.selected).count();
        (found.len() > 1 && marked == 1).then_some(found)
    }
}

/// What the rows above the options ask.
fn asked(above: &[String]) -> String {
    let ends = || above.iter().rev().find(|r| r.trim_end().ends_with('?'));
    let within = || {
        above
            .iter()
            .rev()
            .find_map(|r| r.split_once("? ").map(|(asked, _)| format!("{asked}?")))
    };
    let named = || above.iter().find(|r| r.chars().any(char::is_alphanumeric));
    ends()
        .cloned()
        .or_else(within)
        .or_else(|| named().cloned())
        .unwrap_or_default()
        .trim()
        .trim_matches(['│', '┃', '|'])
        .trim()
        .to_owned()
}
