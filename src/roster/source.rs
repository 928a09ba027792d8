//! A text the user wrote, and how a place in it is shown: `file:line:column` and the line itself with
//! a caret. Knows nothing of YAML.

use std::fmt::Write as _;

/// Widest part of a line that a snippet shows, in characters: fits a terminal beside the gutter.
const WIDTH: usize = 100;

/// A place in a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// From 1; 0 where the place is unknown.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// Characters to underline; at least one is.
    pub width: usize,
}

/// A named text.
#[derive(Debug, Clone)]
pub struct Source {
    name: String,
    text: String,
    /// Where each line begins, so that a place is found at once in a text of many errors.
    lines: Vec<usize>,
}

impl Source {
    /// A text under the name shown to the user.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let lines = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self {
            name: name.into(),
            text,
            lines,
        }
    }
    /// The name shown to the user.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A line, from 1, without its end.
    pub fn line(&self, number: usize) -> Option<&str> {
        let start = *self.lines.get(number.checked_sub(1)?)?;
        let rest = self.text.get(start..)?;
        if rest.is_empty() {
            return None;
        }
        rest.lines().next()
    }

    /// The place, then the line it is in with a caret below, ready for [`crate::error::Error::at`].
    pub fn place(&self, span: Span) -> String {
        if span.line == 0 {
            return self.name.clone();
        }
        let mut out = format!("{}:{}:{}", self.name, span.line, span.column.max(1));
        let Some(line) = self.line(span.line) else {
            return out;
        };
        // Control characters would move the cursor of the reader's terminal.
        let shown: Vec<char> = line
            .chars()
            .map(|c| match c {
                '\t' => ' ',
                c if c.is_control() => '\u{fffd}',
                c => c,
            })
            .collect();
        let column = (span.column.max(1) - 1).min(shown.len());
        let start = if column + 20 > WIDTH { column - 20 } else { 0 };
        let end = shown.len().min(start + WIDTH);
        let before = if start > 0 { "…" } else { "" };
        let after = if end < shown.len() { "…" } else { "" };
        let carets = span.width.max(1).min((end.max(column + 1)) - column);
        let number = span.line.to_string();
        let gutter = " ".repeat(number.len());
        let visible: String = shown[start..end].iter().collect();
        let pad = " ".repeat(column - start + before.chars().count());
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "\n{gutter} |\n{number} | {}\n{gutter} | {pad}{}",
            format!("{before}{visible}{after}").trim_end(),
            "^".repeat(carets)
        );
        out
    }

    /// The place without the line, for texts whose lines may hold secrets.
    pub fn bare_place(&self, line: usize) -> String {
        format!("{}:{line}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(line: usize, column: usize, width: usize) -> Span {
        Span {
            line,
            column,
            width,
        }
    }

    #[test]
    fn shows_the_line_and_a_caret() {
        let s = Source::new("r.yaml", "a: 1\nb: wörld\n");
        assert_eq!(
            s.place(span(2, 4, 5)),
            "r.yaml:2:4\n  |\n2 | b: wörld\n  |    ^^^^^"
        );
        assert_eq!(s.place(span(1, 1, 0)), "r.yaml:1:1\n  |\n1 | a: 1\n  | ^");
    }

    #[test]
    fn survives_places_that_are_not_there() {
        let s = Source::new("r.yaml", "ab");
        assert_eq!(s.place(Span::default()), "r.yaml");
        assert_eq!(s.place(span(9, 1, 1)), "r.yaml:9:1");
        assert_eq!(s.place(span(1, 70, 9)), "r.yaml:1:70\n  |\n1 | ab\n  |   ^");
        assert_eq!(Source::new("r", "").place(span(1, 1, 1)), "r:1:1");
    }

    #[test]
    fn long_lines_are_cut_and_controls_shown_harmless() {
        let s = Source::new(
            "r",
            format!("{}\u{1b}[31mX{}", "a".repeat(200), "b".repeat(200)),
        );
        let shown = s.place(span(1, 201, 1));
        let lines: Vec<&str> = shown.lines().collect();
        assert!(
            lines[2].starts_with("1 | …aaa") && lines[2].ends_with("bbb…"),
            "{shown}"
        );
        assert!(!shown.contains('\u{1b}'));
        let caret = lines[3].chars().position(|c| c == '^');
        assert_eq!(caret, lines[2].chars().position(|c| c == '\u{fffd}'));
    }
}
