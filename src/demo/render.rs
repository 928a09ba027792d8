//! Draws the demo agent: a view and a size in, bytes for the terminal out. Pure.
//!
//! The live rows (queue, working row, box or dialog) stand at the bottom of the screen; output goes
//! above them and scrolls into the terminal's history. All rows are placed absolutely and automatic
//! wrapping is off while drawing, so no row can break another. Only box edges begin with a rule:
//! whatever text is shown stands behind a mark or indented.

use std::collections::VecDeque;
use std::fmt::Write as _;

use super::model::{Bottom, Line, QUESTION, View};
use super::persona::Personas;
use super::text;

/// Before the text in the box and the highlighted choice.
const GLYPH: &str = "❯ ";

const SPINNER: [char; 10] = ['✶', '✻', '✽', '✻', '✶', '✳', '✢', '·', '✢', '✳'];

/// Queued messages shown at most.
const QUEUE_ROWS: usize = 5;

/// A message is repeated in the output up to this many lines and characters: a megabyte pasted
/// need not scroll by.
const SHOWN_LINES: usize = 40;
const SHOWN_CHARS: usize = 4_000;

/// Pieces of output kept for drawing anew after a resize: more than any screen has rows.
const LOG: usize = 300;

/// Rows and columns of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub rows: usize,
    pub columns: usize,
}

/// What stands on the screen now.
pub struct Painter {
    size: Size,
    alt_screen: bool,
    /// The row (from 1) the next output goes to, if there is room.
    next: usize,
    live: Vec<String>,
    title: Option<&'static str>,
    log: VecDeque<Line>,
    /// Nothing on the screen can be trusted.
    stale: bool,
}

impl Painter {
    pub fn new(size: Size, personas: &Personas) -> Self {
        Self {
            size,
            alt_screen: personas.alt_screen,
            next: 1,
            live: Vec::new(),
            title: None,
            log: VecDeque::new(),
            stale: false,
        }
    }

    /// Takes the screen over: empty, cursor hidden, pastes bracketed.
    pub fn enter(&self) -> Vec<u8> {
        let alt = if self.alt_screen {
            "\x1b[?1049h\x1b[?1000h\x1b[?1006h"
        } else {
            ""
        };
        format!("{alt}\x1b[H\x1b[2J\x1b[?25l\x1b[?2004h").into_bytes()
    }

    /// Gives the screen back, with the output left on it. `killed` leaves the alternate screen on.
    pub fn leave(&mut self, killed: bool) -> Vec<u8> {
        let mut out = String::new();
        self.erase_live(&mut out);
        if self.alt_screen && !killed {
            out.push_str("\x1b[?1006l\x1b[?1000l\x1b[?1049l");
        }
        if !self.alt_screen {
            let _ = write!(out, "\x1b[{};1H", self.next.min(self.size.rows));
        }
        if self.title.take().is_some() {
            out.push_str("\x1b]2;\x07");
        }
        if !(self.alt_screen && killed) {
            out.push_str("\x1b[?2004l\x1b[?25h");
        }
        out.push_str("\x1b[0m\x1b[?7h");
        out.into_bytes()
    }

    /// The terminal has a new size: the next frame draws everything anew.
    pub fn resize(&mut self, size: Size) {
        self.size = size;
        self.stale = true;
    }

    /// The next frame draws everything anew.
    pub fn redraw(&mut self) {
        self.stale = true;
    }

    /// Prints new output and brings the live rows up to date.
    pub fn frame(&mut self, view: &View, lines: Vec<Line>) -> Vec<u8> {
        let live = live_rows(view, self.size);
        // Rows for output; with none, output is drawn over but still reaches the history.
        let room = (self.size.rows - live.len()).max(1);
        let mut out = String::new();
        if std::mem::take(&mut self.stale) {
            self.repaint_output(&mut out, room);
        }
        let mut new = Vec::new();
        for line in lines {
            let line = shortened(line);
            new.extend(output_rows(&line, self.size.columns));
            self.log.push_back(line);
            if self.log.len() > LOG {
                self.log.pop_front();
            }
        }
        let over = (self.next - 1 + new.len()).saturating_sub(room);
        if over > 0 || live.len() != self.live.len() {
            self.erase_live(&mut out);
        }
        for row in new {
            self.scroll(&mut out, (self.next).saturating_sub(room));
            put(&mut out, self.next, &row);
            self.next += 1;
        }
        self.scroll(&mut out, (self.next - 1).saturating_sub(room));
        let top = self.size.rows - live.len() + 1;
        for (at, row) in live.iter().enumerate() {
            if self.live.get(at) != Some(row) {
                put(&mut out, top + at, row);
            }
        }
        self.live = live;
        if view.title != self.title
            && let Some(title) = view.title
        {
            let _ = write!(out, "\x1b]2;{title}\x07");
            self.title = Some(title);
        }
        if out.is_empty() {
            return Vec::new();
        }
        format!("\x1b[?7l{out}\x1b[?7h").into_bytes()
    }

    /// Clears row by row (clearing at once would push rows cut by the resize, rules among them,
    /// into the history of tmux) and shows the latest output again.
    fn repaint_output(&mut self, out: &mut String, room: usize) {
        for row in 1..=self.size.rows {
            put(out, row, "");
        }
        self.live.clear();
        let columns = self.size.columns;
        let rows: Vec<String> = self
            .log
            .iter()
            .flat_map(|line| output_rows(line, columns))
            .collect();
        let kept = &rows[rows.len().saturating_sub(room)..];
        for (at, row) in kept.iter().enumerate() {
            put(out, at + 1, row);
        }
        self.next = kept.len() + 1;
    }

    fn erase_live(&mut self, out: &mut String) {
        let top = self.size.rows.saturating_sub(self.live.len()) + 1;
        for row in top..=self.size.rows {
            put(out, row, "");
        }
        self.live.clear();
    }

    fn scroll(&mut self, out: &mut String, by: usize) {
        if by > 0 {
            let _ = write!(out, "\x1b[{};1H{}", self.size.rows, "\n".repeat(by));
            self.next -= by;
        }
    }
}

/// Replaces a row. The row is erased first: after a full row the cursor stands on its last cell.
fn put(out: &mut String, row: usize, text: &str) {
    let _ = write!(out, "\x1b[{row};1H\x1b[2K{text}");
}

fn output_rows(line: &Line, columns: usize) -> Vec<String> {
    match line {
        Line::User(text) => text::wrap("> ", text, columns),
        Line::Answer(text) => text::wrap("● ", text, columns),
        Line::Note(text) => text::wrap("  ", text, columns),
    }
}

fn shortened(line: Line) -> Line {
    let Line::User(text) = line else {
        return line;
    };
    let lines = text.split('\n').count();
    let short: String = text.chars().take(SHOWN_CHARS).collect();
    let kept: Vec<&str> = short.split('\n').take(SHOWN_LINES).collect();
    let kept = kept.join("\n");
    if kept.len() == text.len() {
        return Line::User(text);
    }
    Line::User(format!("{kept}…\n… ({lines} lines, {} bytes)", text.len()))
}

/// The rows at the bottom, never more than the screen has; the lowest ones matter most.
fn live_rows(view: &View, size: Size) -> Vec<String> {
    let mut rows = Vec::new();
    for text in view.queued.iter().take(QUEUE_ROWS) {
        rows.push(text::fit(&format!("queued: {text}"), size.columns));
    }
    if view.queued.len() > QUEUE_ROWS {
        let more = format!("queued: {} more", view.queued.len() - QUEUE_ROWS);
        rows.push(text::fit(&more, size.columns));
    }
    match &view.bottom {
        Bottom::Dialog { highlighted, about } => {
            let choice = |at: usize, text: &str| {
                let mark = if at == *highlighted { GLYPH } else { "  " };
                format!("{mark}{}. {text}", at + 1)
            };
            rows.push(String::new());
            rows.extend(
                about
                    .iter()
                    .map(|a| text::fit(&format!("  {a}"), size.columns)),
            );
            let dialog = [
                QUESTION.into(),
                choice(0, "Yes"),
                choice(1, "No"),
                String::new(),
                "Esc to cancel".into(),
            ];
            rows.extend(dialog.iter().map(|row| text::fit(row, size.columns)));
        }
        Bottom::Box {
            text,
            cursor,
            placeholder,
            working,
            limited,
            status,
        } => {
            if let Some((elapsed, step)) = working {
                let picture = SPINNER[*step as usize % SPINNER.len()];
                let seconds = elapsed.as_secs();
                let what = if *limited {
                    "Limit reached · trying again…"
                } else {
                    "Working…"
                };
                let row = format!("{picture} {what} ({seconds}s · esc to interrupt)");
                rows.push(text::fit(&row, size.columns));
            }
            let rule = "─".repeat(size.columns);
            rows.push(rule.clone());
            match placeholder {
                Some(hint) if text.is_empty() => rows.push(hint_row(hint, size)),
                _ => rows.extend(box_rows(text, *cursor, size)),
            }
            rows.push(rule);
            rows.push(text::fit(status, size.columns));
        }
    }
    rows.split_off(rows.len().saturating_sub(size.rows))
}

/// An empty box with a hint in it; the cursor stands on the first character.
fn hint_row(hint: &str, size: Size) -> String {
    let hint = text::fit(hint, size.columns.saturating_sub(2).max(1));
    let mut chars = hint.chars();
    let first: String = chars.next().into_iter().collect();
    format!("{GLYPH}\x1b[2;7m{first}\x1b[0;2m{}\x1b[0m", chars.as_str())
}

/// The rows of the draft, at most half a screen of them: those at the end, unless the cursor is
/// farther up. The terminal's own cursor is hidden; this one is drawn.
fn box_rows(text: &str, cursor: usize, size: Size) -> Vec<String> {
    let indent = 2;
    // One column is left for the cursor behind a full row.
    let room = size.columns.saturating_sub(indent + 1).max(2);
    let mut rows = vec![GLYPH.to_owned()];
    let mut used = 0;
    let mut cursor_row = 0;
    for (at, c) in text.chars().chain(['\n']).enumerate() {
        let wide = if c == '\n' { 0 } else { text::shown_width(c) };
        if used + wide > room {
            rows.push(" ".repeat(indent));
            used = 0;
        }
        let last = rows.len() - 1;
        let row = &mut rows[last];
        if at == cursor {
            cursor_row = last;
            row.push_str("\x1b[7m");
            if wide == 0 {
                row.push(' ');
            }
        }
        if c != '\n' {
            text::push_shown(row, c);
            used += wide;
        }
        if at == cursor {
            row.push_str("\x1b[0m");
        }
        if c == '\n' {
            rows.push(" ".repeat(indent));
            used = 0;
        }
    }
    // The LF added above marks the end and is not part of the draft.
    rows.pop();
    let most = (size.rows / 2).max(1);
    let start = rows.len().saturating_sub(most).min(cursor_row);
    rows.into_iter().skip(start).take(most).collect()
}

#[cfg(test)]
mod tests;
