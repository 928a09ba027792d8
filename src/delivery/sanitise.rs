//! Makes a message safe and predictable for a terminal: what could end a bracketed paste, move the
//! cursor or hide in the text is dropped, and said. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

/// What was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// ESC, so that no control sequence is left: `ESC [201~` would end the paste.
    Escape,
    /// Other control characters (C0 but TAB and LF, DEL, C1).
    Control,
    /// Characters that no one sees and that agent CLIs drop or stop at: zero-width spaces, byte
    /// order marks, direction marks.
    Invisible,
    /// Bytes that are no UTF-8, replaced by U+FFFD.
    Utf8,
    /// Characters put together into their composed form, as agent CLIs do it on input.
    Composed,
}

/// One kind of change and how often it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// What.
    pub kind: Kind,
    /// How often.
    pub count: usize,
}

/// A message as it can be pasted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clean {
    /// The text: LF line ends, no control character but TAB and LF.
    pub text: String,
    /// What was changed, by kind; line ends are not counted.
    pub dropped: Vec<Dropped>,
}

/// Cleans a message.
pub fn sanitise(bytes: &[u8]) -> Clean {
    let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
    let mut count = |kind, by: usize| {
        if by > 0 {
            *counts.entry(kind).or_default() += by;
        }
    };
    let mut decoded = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        decoded.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            decoded.push(char::REPLACEMENT_CHARACTER);
            count(Kind::Utf8, 1);
        }
    }
    let mut text = String::with_capacity(decoded.len());
    for c in decoded.replace("\r\n", "\n").chars() {
        match c {
            '\r' => text.push('\n'),
            '\n' | '\t' => text.push(c),
            '\u{1b}' => count(Kind::Escape, 1),
            c if c.is_control() => count(Kind::Control, 1),
            // ZERO WIDTH JOINER and NON-JOINER shape emoji and letters, and arrive; they stay.
            '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}' => {
                count(Kind::Invisible, 1);
            }
            c => text.push(c),
        }
    }
    if !unicode_normalization::is_nfc(&text) {
        let composed: String = text.nfc().collect();
        count(
            Kind::Composed,
            text.chars()
                .count()
                .abs_diff(composed.chars().count())
                .max(1),
        );
        text = composed;
    }
    Clean {
        text,
        dropped: counts
            .into_iter()
            .map(|(kind, count)| Dropped { kind, count })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dropped(bytes: &[u8]) -> (String, Vec<(Kind, usize)>) {
        let clean = sanitise(bytes);
        (
            clean.text,
            clean
                .dropped
                .into_iter()
                .map(|d| (d.kind, d.count))
                .collect(),
        )
    }

    #[test]
    fn what_is_kept_and_what_is_dropped() {
        use Kind::{Composed, Control, Escape, Invisible, Utf8};
        type Row = (&'static [u8], &'static str, Vec<(Kind, usize)>);
        let table: Vec<Row> = vec![
            (
                b"plain; text $(x) `y` \"z\" \\",
                "plain; text $(x) `y` \"z\" \\",
                vec![],
            ),
            (b"a\r\nb\rc\nd", "a\nb\nc\nd", vec![]),
            (b"a\tb", "a\tb", vec![]),
            (
                b"a\x1b[201~\rrm -rf /",
                "a[201~\nrm -rf /",
                vec![(Escape, 1)],
            ),
            ("a\u{9b}201~b".as_bytes(), "a201~b", vec![(Control, 1)]),
            (b"\x00\x07\x08\x7f", "", vec![(Control, 4)]),
            (b"a\xffb\xc3", "a\u{fffd}b\u{fffd}", vec![(Utf8, 2)]),
            (
                "\u{feff}x\u{200b}y\u{202e}z\u{202c}".as_bytes(),
                "xyz",
                vec![(Invisible, 4)],
            ),
            ("e\u{301}".as_bytes(), "\u{e9}", vec![(Composed, 1)]),
            (
                "👩\u{200d}👩\u{200d}👧 漢字".as_bytes(),
                "👩\u{200d}👩\u{200d}👧 漢字",
                vec![],
            ),
        ];
        for (bytes, text, kinds) in table {
            assert_eq!(dropped(bytes), (text.to_owned(), kinds), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_controls_a_terminal_survives(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let clean = sanitise(&bytes);
            prop_assert!(clean.text.chars().all(|c| matches!(c, '\n' | '\t') || !c.is_control()));
        }

        #[test]
        fn cleaning_twice_changes_nothing_more(text in "\\PC{0,60}[\r\n\t\u{1b}\u{7f}\u{9b}]{0,5}\\PC{0,60}") {
            let once = sanitise(text.as_bytes());
            let twice = sanitise(once.text.as_bytes());
            prop_assert_eq!(&twice.text, &once.text);
            prop_assert!(twice.dropped.is_empty());
        }

        #[test]
        fn ordinary_text_is_untouched(text in "[ -~\n\t]{0,300}") {
            let clean = sanitise(text.as_bytes());
            prop_assert_eq!(clean.text, text);
            prop_assert!(clean.dropped.is_empty());
        }
    }
}
