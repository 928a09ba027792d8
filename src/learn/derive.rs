//! Makes rules of what was seen. Pure.

use std::collections::{BTreeMap, BTreeSet};

use regex::{Regex, escape};

use super::Shot;
use crate::runtime::{BoxShape, InputBox, TitleRules};
use crate::state::screen::{Rules, read};

/// Rows below a box that may come on top of what was seen: a hint, a second line of a status.
const SLACK: u16 = 2;

/// Describes the box by a screen with it empty, and one with a draft in it.
///
/// # Errors
/// Why it cannot be described.
pub(super) fn input_box(idle: &Shot, draft: &Shot, token: &str) -> Result<InputBox, String> {
    let rows = draft.rows();
    let at = rows
        .iter()
        .rposition(|r| r.contains(token))
        .ok_or("what was typed does not show")?;
    let glyph = before(draft, token).unwrap_or_default();
    let indent = " ".repeat(glyph.chars().count());
    let rule_at = |row: Option<usize>| {
        row.and_then(|row| rows.get(row))
            .and_then(|t| full_rule(t, draft.width))
    };
    let base = InputBox {
        shape: BoxShape::Ruled,
        top: String::new(),
        bottom: String::new(),
        above: None,
        raw: false,
        skip_first: 0,
        skip_last: 0,
        most_rows: None,
        tall: None,
        tail_only: false,
        overflows: false,
        glyph: glyph.clone(),
        placeholder: None,
        other_glyphs: Vec::new(),
        shell: None,
        indent,
        below_least: 0,
        below_most: 8,
    };
    if let (Some(top), Some(bottom)) = (rule_at(at.checked_sub(1)), rule_at(Some(at + 1))) {
        let below = u16::try_from(rows.len() - at - 2).unwrap_or(u16::MAX);
        let idle_rows = idle.rows();
        let idle_below = idle_rows
            .iter()
            .rposition(|t| full_rule(t, idle.width).is_some())
            .map_or(below, |row| {
                u16::try_from(idle_rows.len() - row - 1).unwrap_or(u16::MAX)
            });
        return Ok(InputBox {
            top: rule_pattern(top),
            bottom: rule_pattern(bottom),
            // A box of which only the end is shown begins with a further row.
            tail_only: true,
            below_least: below.min(idle_below).min(1),
            below_most: below.max(idle_below).saturating_add(SLACK),
            ..base
        });
    }
    if glyph.trim().is_empty() {
        return Err("no rules stand around it, and no mark before it".to_owned());
    }
    // What closes it: the next row that is not blank, where it is the same without the draft.
    let idle_rows = idle.rows();
    let closing = rows[at + 1..]
        .iter()
        .find(|r| !r.trim().is_empty())
        .filter(|r| idle_rows.contains(r));
    let bottom = closing.map_or_else(String::new, |row| match one_character(row.trim()) {
        Some(c) => format!("^ *{}{{10,}} *$", escape(&c.to_string())),
        None => {
            let start: String = row.chars().take(12).collect();
            format!("^{}", escape(start.trim_end()))
        }
    });
    Ok(InputBox {
        shape: BoxShape::Prompt,
        bottom,
        ..base
    })
}

/// What stands before a text in its row.
pub(super) fn before(shot: &Shot, token: &str) -> Option<String> {
    let rows = shot.rows();
    let row = rows.iter().rev().find(|r| r.contains(token))?;
    Some(row[..row.find(token)?].to_owned())
}

/// The character of a row that is one rule over the whole width.
fn full_rule(row: &str, width: u16) -> Option<char> {
    one_character(row).filter(|_| row.chars().count() == usize::from(width))
}

/// The character that a row is made of, and nothing else; no letter and no digit.
fn one_character(row: &str) -> Option<char> {
    let first = row.chars().next().filter(|c| !c.is_alphanumeric())?;
    (row.chars().count() >= 10 && row.chars().all(|c| c == first)).then_some(first)
}

fn rule_pattern(c: char) -> String {
    format!("^{}{{10,}}$", escape(&c.to_string()))
}

/// The pattern of a collapsed paste of so many lines and characters.
pub(super) fn collapsed(shown: &str, lines: usize, chars: usize) -> Option<String> {
    let mark = shown.trim();
    if mark.contains('\n') || mark.is_empty() {
        return None;
    }
    let mut pattern = String::new();
    let mut named = false;
    let mut rest = mark;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        pattern.push_str(&escape(&rest[..at]));
        let tail = &rest[at..];
        let end = tail
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(tail.len());
        let number: usize = tail[..end].parse().ok()?;
        let group = match number {
            n if named => (n == usize::MAX).then_some(""),
            n if n == lines => Some("lines"),
            n if n + 1 == lines => Some("more"),
            n if n == chars => Some("chars"),
            _ => None,
        };
        match group {
            Some(group) => {
                named = true;
                pattern.push_str(&format!(r"(?<{group}>\d+)"));
            }
            None => pattern.push_str(r"\d+"),
        }
        rest = &tail[end..];
    }
    pattern.push_str(&escape(rest));
    // Without a size the mark would prove nothing of what was pasted.
    named.then_some(pattern)
}

/// A row that shows work.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Working {
    pub pattern: String,
    pub within: u16,
    /// A frame that shows it.
    pub frame: usize,
}

/// Finds the row right above the box that came with the turn and went with it. `quiet` are screens at
/// rest, `said` is what began the turn.
pub(super) fn working(
    frames: &[Shot],
    quiet: &[Shot],
    rules: &Rules,
    said: &str,
) -> Option<Working> {
    // Form of a row, then: the marks that it was seen with, how often, how far above the box, where.
    struct Kind {
        marks: BTreeSet<char>,
        frames: Vec<usize>,
        within: usize,
    }
    let above = |shot: &Shot| -> Vec<(usize, String)> {
        let seen = read(&shot.text, shot.width, rules);
        let Some(top) = seen.matched.iter().map(|m| m.row - 1).min() else {
            return Vec::new();
        };
        let rows = shot.rows();
        let first = top.saturating_sub(usize::from(rules.data.working_within));
        (first..top)
            .map(|row| (top - row, rows[row].clone()))
            .filter(|(_, t)| !t.trim().is_empty())
            .collect()
    };
    let rest: BTreeSet<String> = quiet
        .iter()
        .flat_map(|s| above(s).into_iter().map(|(_, t)| form(&t).1))
        .collect();
    let mut kinds: BTreeMap<(String, String), Kind> = BTreeMap::new();
    for (at, frame) in frames.iter().enumerate() {
        for (distance, text) in above(frame) {
            let (mark, form, blanks) = {
                let (mark, form) = form(&text);
                let blanks = text.len() - text.trim_start().len();
                (mark, form, text[..blanks].to_owned())
            };
            if rest.contains(&form) || said.contains(&form) || text.trim_end().ends_with(said) {
                continue;
            }
            let kind = kinds.entry((blanks, form)).or_insert(Kind {
                marks: BTreeSet::new(),
                frames: Vec::new(),
                within: 0,
            });
            kind.marks.extend(mark);
            kind.frames.push(at);
            kind.within = kind.within.max(distance);
        }
    }
    // Output comes and stays; work is seen again and again, right above the box.
    let ((blanks, form), kind) = kinds
        .into_iter()
        .filter(|((_, form), kind)| kind.frames.len() > 1 && form.chars().any(char::is_alphabetic))
        .max_by_key(|(_, kind)| (kind.frames.len(), usize::MAX - kind.within))?;
    let marks: String = kind.marks.iter().map(|c| escape(&c.to_string())).collect();
    let mark = match kind.marks.len() {
        0 => String::new(),
        // Not every picture of it was caught.
        _ if kind
            .marks
            .iter()
            .all(|c| ('\u{2800}'..='\u{28ff}').contains(c)) =>
        {
            r"[\x{2800}-\x{28FF}] ?".to_owned()
        }
        1 => format!("{marks} ?"),
        _ => r"[^\w\s] ?".to_owned(),
    };
    let pattern = format!("^{blanks}{mark}{}", escape(form.trim()));
    let compiled = Regex::new(&pattern).ok()?;
    let fits = |shot: &Shot| above(shot).iter().any(|(_, t)| compiled.is_match(t));
    if quiet.iter().any(fits) {
        return None;
    }
    Some(Working {
        within: u16::try_from(kind.within).unwrap_or(8),
        frame: kind.frames[kind.frames.len() / 2],
        pattern,
    })
}

/// The mark that a row begins with, and its words up to the first number or bracket.
fn form(row: &str) -> (Option<char>, String) {
    let text = row.trim_start();
    let mark = text
        .chars()
        .next()
        .filter(|c| !c.is_alphanumeric() && !matches!(c, '(' | '[' | '"' | '\''));
    let words = mark.map_or(text, |c| &text[c.len_utf8()..]);
    let end = words
        .find(|c: char| c.is_ascii_digit() || c == '(' || c == '[')
        .unwrap_or(words.len());
    (mark, words[..end].trim().to_owned())
}

/// What the title tells, where it differs between work and rest.
pub(super) fn titles(frames: &[Shot], quiet: &[Shot]) -> TitleRules {
    let rest: BTreeSet<&str> = quiet.iter().map(|s| s.title.as_str()).collect();
    let worked: BTreeSet<&str> = frames
        .iter()
        .map(|s| s.title.as_str())
        .filter(|t| !rest.contains(t) && !t.is_empty())
        .collect();
    // A title that is another one at each rest says nothing.
    if rest.len() != 1 || worked.is_empty() {
        return TitleRules::default();
    }
    let exact = |titles: &BTreeSet<&str>| {
        titles
            .iter()
            .filter(|t| !t.is_empty())
            .map(|t| format!("^{}$", escape(t)))
            .collect()
    };
    TitleRules {
        idle: exact(&rest),
        working: exact(&worked),
        ..TitleRules::default()
    }
}

#[cfg(test)]
mod tests;
