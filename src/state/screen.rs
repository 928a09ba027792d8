//! Reads a captured screen: where the input box is and what stands in it, whether work goes on,
//! whether a dialog is open. Pure; what was seen is kept as evidence.
//!
//! Old output may hold anything, the very words of a dialog or a prompt among them. So nothing is
//! believed for its words alone: the box is looked for at the foot of the screen, by marks that
//! output hardly draws there ([`find`]); work is looked for right above it; a dialog only where no box
//! is.

mod find;

mod menu;

use std::sync::{Arc, Mutex};

use regex::Regex;

use crate::error::{Error, Result};
use crate::runtime::{BoxShape, ScreenRules};

use menu::MenuRules;
pub use menu::{Choice, Dialog};

/// Rows of a dialog or of an unreadable screen that are shown to a person.
const SHOWN_ROWS: usize = 12;

/// Rows below a dialog's marked choice that are shown: the other choices, and the keys.
const CHOICES: usize = 5;

/// Screen rules with their patterns compiled.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The rules as data.
    pub data: ScreenRules,
    top: Regex,
    bottom: Regex,
    tall: Option<Regex>,
    above: Option<Regex>,
    placeholder: Option<Regex>,
    working: Vec<Regex>,
    limited: Vec<Regex>,
    dialog: Vec<Regex>,
    menus: Vec<MenuRules>,
    collapsed: Vec<Regex>,
    /// [`crate::runtime::Typing::split`].
    pub split: Vec<Regex>,
    title_idle: Vec<Regex>,
    title_working: Vec<Regex>,
    title_waiting: Vec<Regex>,
}

impl Rules {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// Kind `Config`, naming the pattern that is no regular expression or the key that is missing.
    pub fn compile(data: &ScreenRules) -> Result<Self> {
        let one = pattern;
        let all = |patterns: &Vec<String>| patterns.iter().map(one).collect::<Result<Vec<_>>>();
        let missing = match data.input.shape {
            BoxShape::Ruled if data.input.top.is_empty() => Some("top"),
            BoxShape::Ruled | BoxShape::Bar if data.input.bottom.is_empty() => Some("bottom"),
            BoxShape::Prompt | BoxShape::Bar if data.input.glyph.is_empty() => Some("glyph"),
            _ => None,
        };
        if let Some(key) = missing {
            return Err(Error::config(format!(
                "the screen rules lack `input.{key}`, which a box of this shape is found by"
            )));
        }
        all(&data.typing.blank_after)?;
        Ok(Self {
            top: one(&data.input.top)?,
            bottom: one(&data.input.bottom)?,
            tall: data.input.tall.as_ref().map(one).transpose()?,
            above: data.input.above.as_ref().map(one).transpose()?,
            placeholder: data.input.placeholder.as_ref().map(one).transpose()?,
            working: all(&data.working)?,
            limited: all(&data.limited)?,
            dialog: all(&data.dialog)?,
            menus: data
                .menus
                .iter()
                .map(MenuRules::compile)
                .collect::<Result<_>>()?,
            collapsed: all(&data.collapsed)?,
            split: all(&data.typing.split)?,
            title_idle: all(&data.title.idle)?,
            title_working: all(&data.title.working)?,
            title_waiting: all(&data.title.waiting)?,
            data: data.clone(),
        })
    }

    /// The same, compiled once per process: all agents of a runtime have the same rules, and
    /// compiling them for each of two hundred agents takes longer than all else a status does.
    ///
    /// # Errors
    /// As [`Rules::compile`].
    pub fn shared(data: &ScreenRules) -> Result<Arc<Self>> {
        static COMPILED: Mutex<Vec<Arc<Rules>>> = Mutex::new(Vec::new());
        let mut compiled = COMPILED
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(rules) = compiled.iter().find(|r| r.data == *data) {
            return Ok(Arc::clone(rules));
        }
        let rules = Arc::new(Self::compile(data)?);
        compiled.push(Arc::clone(&rules));
        Ok(rules)
    }

    /// Whether a title says that the agent asks something.
    pub fn title_waits(&self, title: &str) -> bool {
        self.title_waiting.iter().any(|r| r.is_match(title))
    }

    /// What a title tells: `Some(true)` working, `Some(false)` not working, `None` nothing.
    pub fn title(&self, title: &str) -> Option<bool> {
        if self.title_working.iter().any(|r| r.is_match(title)) {
            Some(true)
        } else if self.title_idle.iter().any(|r| r.is_match(title)) || self.title_waits(title) {
            Some(false)
        } else {
            None
        }
    }
}

/// Compiles one pattern.
///
/// # Errors
/// Kind `Config`, naming it.
fn pattern(pattern: &String) -> Result<Regex> {
    Regex::new(pattern).map_err(|e| {
        Error::config(format!(
            "the screen rule `{pattern}` is not a regular expression"
        ))
        .because(e)
    })
}

/// What a screen shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The input box; `None` where there is none.
    pub input: Option<Input>,
    /// Work going on.
    pub working: bool,
    /// The box fills the screen up to its top, so that work could not be seen.
    pub covered: bool,
    /// The agent waits until its provider takes requests again.
    pub limited: bool,
    /// Rows of an open dialog, around its marked choice.
    pub dialog: Option<Vec<String>>,
    /// The dialog with its options, where its form is known.
    pub menu: Option<Dialog>,
    /// The rows that were matched, and by which rule.
    pub matched: Vec<Match>,
    /// The last rows of the screen that are not blank, for a person who must judge.
    pub foot: Vec<String>,
}

impl Seen {
    /// The same screen where something tells that neither a box nor a dialog can be on it.
    #[must_use]
    pub fn without_box(self) -> Self {
        Self {
            foot: self.foot,
            ..Self::default()
        }
    }
}

/// A row that a rule matched.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Match {
    /// `top` (also the row above a prompt), `bottom`, `prompt`, `working`, `limited`, `dialog` or
    /// `option`.
    pub rule: &'static str,
    /// The row, counted from 1.
    pub row: usize,
    /// Its text.
    pub text: String,
}

/// An input box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// What stands in it: rows joined by LF, without prompt mark, indent, and dim text.
    pub text: String,
    /// Rows shown.
    pub rows: usize,
    /// Nothing stands in it; a placeholder is nothing.
    pub empty: bool,
    /// How much of the box is shown.
    pub part: Part,
    /// It takes shell commands at the moment.
    pub shell: bool,
    /// What each collapsed paste in it says of its size.
    pub collapsed: Vec<Size>,
}

/// The size that the mark of a collapsed paste names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Lines after the first.
    More(usize),
    /// Lines.
    Lines(usize),
    /// Characters, as JavaScript counts them (UTF-16 units).
    Chars(usize),
    /// None.
    Unnamed,
}

/// How much of a box is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Its end.
    Tail,
}

/// One character with the styles that matter.
#[derive(Debug, Clone, Copy)]
struct Cell {
    c: char,
    dim: bool,
    reverse: bool,
}

/// One row.
#[derive(Debug, Default)]
struct Row {
    cells: Vec<Cell>,
}

impl Row {
    fn text(&self) -> String {
        let mut text: String = self.cells.iter().map(|cell| cell.c).collect();
        // A no-break space is part of a prompt mark, so only ordinary blanks are cut.
        text.truncate(text.trim_end_matches([' ', '\t']).len());
        text
    }

    /// Text without what is dim, from the given column on. The cursor cell on a placeholder's first
    /// letter is reverse, not dim: it belongs to the dim text behind it.
    fn bright(&self, from: usize) -> String {
        let cells = self.cells.get(from..).unwrap_or_default();
        let mut out = String::new();
        for (at, cell) in cells.iter().enumerate() {
            let cursor_on_dim = cell.reverse
                && cells
                    .get(at + 1)
                    .is_some_and(|next| next.dim && !next.reverse);
            if !(cell.dim || cursor_on_dim) {
                out.push(cell.c);
            }
        }
        out.truncate(out.trim_end().len());
        out
    }

    /// What stands in some columns of it.
    fn cut(&self, columns: &std::ops::Range<usize>) -> Row {
        let end = columns.end.min(self.cells.len());
        let cells = self.cells.get(columns.start.min(end)..end);
        Row {
            cells: cells.unwrap_or_default().to_vec(),
        }
    }

    fn starts_with(&self, prefix: &str) -> bool {
        let text: String = self.cells.iter().map(|cell| cell.c).collect();
        // The capture cuts ordinary blanks at the end of a row, those of a bare mark among them.
        text.starts_with(prefix) || (!text.is_empty() && text == prefix.trim_end_matches(' '))
    }
}

/// Splits a capture into rows, following the styles through it.
fn rows(screen: &str) -> Vec<Row> {
    let mut rows = vec![Row::default()];
    let (mut dim, mut reverse) = (false, false);
    let mut chars = screen.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' => rows.push(Row::default()),
            '\u{1b}' => match chars.next() {
                Some('[') => {
                    let mut body = String::new();
                    for c in chars.by_ref() {
                        if ('\u{40}'..='\u{7e}').contains(&c) {
                            if c == 'm' {
                                style(&body, &mut dim, &mut reverse);
                            }
                            break;
                        }
                        body.push(c);
                    }
                }
                // A hyperlink or another string: up to BEL or ESC \.
                Some(']') => {
                    while let Some(c) = chars.next() {
                        if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                            break;
                        }
                    }
                }
                _ => {}
            },
            c if c.is_control() => {}
            c => {
                if let Some(row) = rows.last_mut() {
                    row.cells.push(Cell { c, dim, reverse });
                }
            }
        }
    }
    while rows.last().is_some_and(|row| row.text().trim().is_empty()) {
        rows.pop();
    }
    rows
}

/// The rows of a capture without styles, up to the last one that is not blank.
pub fn texts(screen: &str) -> Vec<String> {
    rows(screen).iter().map(Row::text).collect()
}

/// Applies one SGR sequence. The arguments of colours are skipped: `38;5;2` dims nothing.
fn style(body: &str, dim: &mut bool, reverse: &mut bool) {
    let mut params = body.split(';');
    while let Some(param) = params.next() {
        match param {
            "" | "0" => (*dim, *reverse) = (false, false),
            "2" => *dim = true,
            "22" => *dim = false,
            "7" => *reverse = true,
            "27" => *reverse = false,
            "38" | "48" | "58" => match params.next() {
                Some("5") => {
                    params.next();
                }
                Some("2") => {
                    params.nth(2);
                }
                _ => {}
            },
            _ => {}
        }
    }
}

/// Reads a screen as captured with styles, of a pane that is `width` columns wide.
pub fn read(screen: &str, width: u16, rules: &Rules) -> Seen {
    let rows = rows(screen);
    let texts: Vec<String> = rows.iter().map(Row::text).collect();
    let mut seen = Seen {
        foot: foot(&texts, 6),
        ..Seen::default()
    };
    if let Some(found) = find::find(&rows, &texts, usize::from(width), rules) {
        let matched = |rule, row: usize| Match {
            rule,
            row: row + 1,
            text: texts[row].clone(),
        };
        seen.matched
            .extend(found.top.map(|row| matched("top", row)));
        seen.matched.push(matched("prompt", found.first));
        seen.matched
            .extend(found.bottom.map(|row| matched("bottom", row)));
        seen.covered = rules.data.input.overflows && found.top.is_none();
        let within = usize::from(rules.data.working_within);
        let (first, last) = match (rules.data.input.shape, found.bottom) {
            (BoxShape::Bar, Some(bottom)) => (bottom + 1, rows.len().min(bottom + 1 + within)),
            _ => {
                let last = found.top.unwrap_or(found.first);
                (last.saturating_sub(within), last)
            }
        };
        let working = (first..last)
            .rev()
            .find(|row| rules.working.iter().any(|r| r.is_match(&texts[*row])));
        seen.working = working.is_some();
        seen.matched
            .extend(working.map(|row| matched("working", row)));
        let limited = (first..last)
            .rev()
            .find(|row| rules.limited.iter().any(|r| r.is_match(&texts[*row])));
        seen.limited = limited.is_some();
        seen.matched
            .extend(limited.map(|row| matched("limited", row)));
        seen.input = Some(contents(&rows[found.first..found.end], &found, rules));
    } else if let Some(dialog) = rules.menus.iter().find_map(|m| m.find(&texts)) {
        seen.matched
            .extend(dialog.choices.iter().map(|choice| Match {
                rule: if choice.selected { "dialog" } else { "option" },
                row: choice.row,
                text: texts[choice.row - 1].clone(),
            }));
        seen.dialog = Some(dialog.rows.clone());
        seen.menu = Some(dialog);
    } else if let Some(row) = texts
        .iter()
        .rposition(|t| rules.dialog.iter().any(|r| r.is_match(t)))
    {
        seen.matched.push(Match {
            rule: "dialog",
            row: row + 1,
            text: texts[row].clone(),
        });
        // What it asks stands above its choices; below them some dialogs draw a page more.
        let end = texts.len().min(row + 1 + CHOICES);
        seen.dialog = Some(foot(&texts[..end], SHOWN_ROWS + CHOICES));
    }
    seen
}

fn contents(rows: &[Row], found: &find::Found, rules: &Rules) -> Input {
    let data = &rules.data.input;
    let mut lines = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let row = row.cut(&found.columns);
        let prefix = if at == 0 { &found.mark } else { &data.indent };
        let from = if row.starts_with(prefix) {
            prefix.chars().count()
        } else {
            0
        };
        lines.push(row.bright(from));
    }
    if lines.len() == 1
        && rules
            .placeholder
            .as_ref()
            .is_some_and(|r| r.is_match(&lines[0]))
    {
        lines[0].clear();
    }
    let text = lines.join("\n");
    let collapsed = rules
        .collapsed
        .iter()
        .flat_map(|r| r.captures_iter(&text))
        .map(|c| {
            let number = |name| c.name(name).and_then(|n| n.as_str().parse().ok());
            let more = number("more").map(Size::More);
            more.or(number("lines").map(Size::Lines))
                .or(number("chars").map(Size::Chars))
                .unwrap_or(Size::Unnamed)
        })
        .collect();
    Input {
        rows: rows.len(),
        empty: rows.len() == 1 && text.trim().is_empty() && found.part == Part::Whole,
        part: found.part,
        shell: found.shell,
        collapsed,
        text,
    }
}

/// The last rows that are not blank.
fn foot(texts: &[String], count: usize) -> Vec<String> {
    let mut last: Vec<String> = texts
        .iter()
        .rev()
        .filter(|t| !t.trim().is_empty())
        .take(count)
        .cloned()
        .collect();
    last.reverse();
    last
}

#[cfg(test)]
mod tests;
