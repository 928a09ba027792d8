//! Compares what a box shows with what was put into it. Pure.
//!
//! A TUI wraps lines, pads them and expands tabs, so blanks say nothing; nor do characters that have
//! no picture of their own, or a colour of skin, which terminals leave out where they do not know it.

use crate::state::screen::{Input, Part, Size};

/// How well a box is seen to hold a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// All of it stands there, and nothing else.
    Whole,
    /// Its end stands there, this many characters (as in [`bare`]); what is above is not shown.
    Tail(usize),
    /// A mark stands there for a paste of the same size.
    Collapsed,
    /// Something else.
    No,
}

/// A text reduced to what a box shows of it for certain.
pub fn bare(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace())
        .filter(|c| !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{1f3fb}'..='\u{1f3ff}'))
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

/// One mark and nothing else, naming the right size. Marks without a size prove nothing.
fn is_mark_alone(input: &Input, shown: &str, expected: &str) -> bool {
    let lines = expected.split('\n').count();
    // Agent CLIs count a TAB as the four blanks they make of it, or as one character.
    let tabs = expected.matches('\t').count();
    let chars = expected.encode_utf16().count();
    let right = match input.collapsed[..] {
        [Size::More(n)] => lines > 1 && n + 1 == lines,
        [Size::Lines(n)] => lines > 1 && n == lines,
        [Size::Chars(n)] => n == chars || n == chars + 3 * tabs,
        _ => false,
    };
    right && shown.starts_with('[') && shown.ends_with(']') && shown.matches('[').count() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(text: &str, part: Part, collapsed: &[Size]) -> Input {
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
        assert_eq!(whole("yes 👍", "yes 👍\u{1f3fd}"), Held::Whole);
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
    fn a_collapsed_paste_counts_by_its_size() {
        use Size::{Chars, Lines, More, Unnamed};
        let mark =
            |shown: &str, sizes: &[Size]| held(&input(shown, Part::Whole, sizes), "a\nb\t\nc");
        assert_eq!(
            mark("[Pasted text #1 +2 lines]", &[More(2)]),
            Held::Collapsed
        );
        assert_eq!(mark("[paste #1 +3 lines]", &[Lines(3)]), Held::Collapsed);
        assert_eq!(mark("[paste #1 6 chars]", &[Chars(6)]), Held::Collapsed);
        assert_eq!(mark("[paste #1 9 chars]", &[Chars(9)]), Held::Collapsed);
        assert_eq!(mark("[paste #1 7 chars]", &[Chars(7)]), Held::No);
        assert_eq!(mark("[Pasted text #1 +3 lines]", &[More(3)]), Held::No);
        assert_eq!(
            mark("draft [Pasted text #1 +2 lines]", &[More(2)]),
            Held::No
        );
        assert_eq!(
            mark(
                "[Pasted text #1 +2 lines][Pasted text #2 +2 lines]",
                &[More(2), More(2)]
            ),
            Held::No
        );
        assert_eq!(mark("[Pasted text #1]", &[Unnamed]), Held::No);
    }
}
