//! Compares what a box shows with what was put into it. Pure.
//!
//! A TUI wraps lines, pads them and expands tabs, so blanks say nothing; nor do characters that have
//! no picture of their own.

use crate::state::screen::{Input, Part};

/// How well a box is seen to hold a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// All of it stands there, and nothing else.
    Whole,
    /// Its end stands there, this many characters (as in [`bare`]); what is above is not shown.
    Tail(usize),
    /// A mark stands there for a paste of as many lines.
    Collapsed,
    /// Something else.
    No,
}

/// A text reduced to what a box shows of it for certain.
pub fn bare(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace())
        .filter(|c| !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'))
        .collect()
}

/// Compares. `expected` is the whole text put into the box so far.
pub fn held(input: &Input, expected: &str) -> Held {
    let (shown, want) = (bare(&input.text), bare(expected));
    if want.is_empty() || input.shell {
        return Held::No;
    }
    match input.part {
        Part::Whole if shown == want => Held::Whole,
        Part::Tail if !shown.is_empty() && want.ends_with(&shown) => {
            Held::Tail(shown.chars().count())
        }
        Part::Whole if is_mark_alone(input, &shown, expected) => Held::Collapsed,
        _ => Held::No,
    }
}

/// One mark and nothing else, naming the right number of lines. Marks without a number prove nothing.
fn is_mark_alone(input: &Input, shown: &str, expected: &str) -> bool {
    let more = expected.matches('\n').count() as u64;
    matches!(input.collapsed[..], [lines] if lines == more && more > 0)
        && shown.starts_with('[')
        && shown.ends_with(']')
        && shown.matches('[').count() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(text: &str, part: Part, collapsed: &[u64]) -> Input {
        Input {
            text: text.to_owned(),
            rows: text.split('\n').count(),
            empty: false,
            part,
            shell: false,
            collapsed: collapsed.to_vec(),
        }
    }

    #[test]
    fn boxes_are_compared_without_blanks() {
        let whole = |shown: &str, want: &str| held(&input(shown, Part::Whole, &[]), want);
        assert_eq!(
            whole("a long\nline wra\npped", "a long line wrapped"),
            Held::Whole
        );
        assert_eq!(whole("a    b", "a\tb"), Held::Whole);
        assert_eq!(whole("family 👩👧", "family 👩\u{200d}👧"), Held::Whole);
        assert_eq!(whole("my draft and the message", "the message"), Held::No);
        assert_eq!(whole("the messag", "the message"), Held::No);
        assert_eq!(whole("", "x"), Held::No);
        assert_eq!(whole("", " "), Held::No);
        let tail = |shown: &str, want: &str| held(&input(shown, Part::Tail, &[]), want);
        assert_eq!(
            tail("line 3\nline 4", "line 1\nline 2\nline 3\nline 4"),
            Held::Tail(10)
        );
        assert_eq!(tail("line 3\nline 4x", "line 1\nline 3\nline 4"), Held::No);
        assert_eq!(tail("", "line"), Held::No);
        let shell = Input {
            shell: true,
            ..input("echo hi", Part::Whole, &[])
        };
        assert_eq!(held(&shell, "echo hi"), Held::No);
    }

    #[test]
    fn a_collapsed_paste_counts_by_its_lines() {
        let mark = |shown: &str, lines: &[u64]| held(&input(shown, Part::Whole, lines), "a\nb\nc");
        assert_eq!(mark("[Pasted text #1 +2 lines]", &[2]), Held::Collapsed);
        assert_eq!(mark("[Pasted text #1 +3 lines]", &[3]), Held::No);
        assert_eq!(mark("draft [Pasted text #1 +2 lines]", &[2]), Held::No);
        assert_eq!(
            mark(
                "[Pasted text #1 +2 lines][Pasted text #2 +2 lines]",
                &[2, 2]
            ),
            Held::No
        );
        assert_eq!(mark("[Pasted text #1]", &[0]), Held::No);
    }
}
