//! What stands in the input box: characters and collapsed pastes, with a cursor. Pure.

use std::time::Duration;

/// A paste of more lines than this is shown as one line.
const COLLAPSE_LINES: usize = 8;

/// A paste of more characters than this is shown as one line.
const COLLAPSE_CHARS: usize = 2_000;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Char(char),
    Paste { number: usize, text: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    piece: Piece,
    /// Not shown before this time (the late echo).
    shown_from: Duration,
}

/// The text being written, and where the cursor stands in it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Draft {
    items: Vec<Item>,
    cursor: usize,
}

impl Draft {
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The text as it will be submitted, collapsed pastes in full.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for item in &self.items {
            match &item.piece {
                Piece::Char(c) => text.push(*c),
                Piece::Paste { text: pasted, .. } => text.push_str(pasted),
            }
        }
        text
    }

    /// The text as the box shows it at `now`, and the cursor's place in it, in characters.
    pub fn shown(&self, now: Duration) -> (String, usize) {
        let mut shown = String::new();
        let mut cursor = 0;
        for (at, item) in self.items.iter().enumerate() {
            if item.shown_from > now {
                continue;
            }
            match &item.piece {
                Piece::Char(c) => shown.push(*c),
                Piece::Paste { number, text } => shown.push_str(&label(*number, text)),
            }
            if at < self.cursor {
                cursor = shown.chars().count();
            }
        }
        (shown, cursor)
    }

    /// When the next hidden piece is due to be shown.
    pub fn next_shown(&self, now: Duration) -> Option<Duration> {
        let hidden = self.items.iter().map(|item| item.shown_from);
        hidden.filter(|from| *from > now).min()
    }

    pub fn insert(&mut self, c: char) {
        self.put(Piece::Char(c), Duration::ZERO);
    }

    /// Inserts a paste at the cursor, as one collapsed piece if it is long.
    pub fn paste(&mut self, text: &str, shown_from: Duration) {
        let lines = text.matches('\n').count() + 1;
        if lines > COLLAPSE_LINES || text.chars().count() > COLLAPSE_CHARS {
            let taken = self.items.iter().filter_map(|item| match item.piece {
                Piece::Paste { number, .. } => Some(number),
                Piece::Char(_) => None,
            });
            let piece = Piece::Paste {
                number: taken.max().unwrap_or(0) + 1,
                text: text.to_owned(),
            };
            self.put(piece, shown_from);
        } else {
            for c in text.chars() {
                self.put(Piece::Char(c), shown_from);
            }
        }
    }

    fn put(&mut self, piece: Piece, shown_from: Duration) {
        self.items.insert(self.cursor, Item { piece, shown_from });
        self.cursor += 1;
    }

    pub fn backspace(&mut self) {
        if let Some(before) = self.cursor.checked_sub(1) {
            self.items.remove(before);
            self.cursor = before;
        }
    }

    pub fn delete(&mut self) {
        if self.cursor < self.items.len() {
            self.items.remove(self.cursor);
        }
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    pub fn left(&mut self) {
        self.cursor = self.cursor.saturating_sub(1);
    }

    pub fn right(&mut self) {
        self.cursor = (self.cursor + 1).min(self.items.len());
    }

    /// To the start of the line.
    pub fn home(&mut self) {
        let before = &self.items[..self.cursor];
        self.cursor = before.iter().rposition(is_line_end).map_or(0, |at| at + 1);
    }

    /// To the end of the line.
    pub fn end(&mut self) {
        let after = &self.items[self.cursor..];
        let length = after.iter().position(is_line_end).unwrap_or(after.len());
        self.cursor += length;
    }

    /// Removes a backslash directly before the cursor and says whether there was one.
    pub fn take_backslash(&mut self) -> bool {
        let before = self.cursor.checked_sub(1).map(|at| &self.items[at].piece);
        let found = before == Some(&Piece::Char('\\'));
        if found {
            self.backspace();
        }
        found
    }
}

fn is_line_end(item: &Item) -> bool {
    item.piece == Piece::Char('\n')
}

fn label(number: usize, text: &str) -> String {
    match text.matches('\n').count() {
        0 => format!("[Pasted text #{number}]"),
        more => format!("[Pasted text #{number} +{more} lines]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn shown(draft: &Draft) -> String {
        draft.shown(NOW).0
    }

    #[test]
    fn long_pastes_collapse_and_expand() {
        let lines_32 = "x\n".repeat(31) + "x";
        let table = [
            ("a\nb".to_owned(), "a\nb".to_owned()),
            ("x\n".repeat(7), "x\n".repeat(7)),
            ("x\n".repeat(8), "[Pasted text #1 +8 lines]".into()),
            (lines_32.clone(), "[Pasted text #1 +31 lines]".into()),
            ("é".repeat(2_000), "é".repeat(2_000)),
            ("é".repeat(2_001), "[Pasted text #1]".into()),
        ];
        for (text, expected) in table {
            let mut draft = Draft::default();
            draft.paste(&text, NOW);
            assert_eq!(shown(&draft), expected);
            assert_eq!(draft.text(), text);
        }
        let mut draft = Draft::default();
        draft.paste(&lines_32, NOW);
        draft.insert(' ');
        draft.paste(&lines_32, NOW);
        assert_eq!(
            shown(&draft),
            "[Pasted text #1 +31 lines] [Pasted text #2 +31 lines]"
        );
        draft.backspace();
        draft.insert('!');
        assert_eq!(draft.text(), format!("{lines_32} !"));
    }

    #[test]
    fn editing_keeps_to_the_cursor() {
        let mut draft = Draft::default();
        draft.paste("one\ntwo", NOW);
        draft.home();
        draft.insert('>');
        draft.left();
        draft.left();
        draft.end();
        assert_eq!(draft.shown(NOW), ("one\n>two".into(), 3));
        draft.delete();
        assert_eq!(shown(&draft), "one>two");
        draft.home();
        draft.backspace();
        draft.right();
        draft.backspace();
        assert_eq!(draft.text(), "ne>two");
    }

    #[test]
    fn a_late_echo_is_there_before_it_is_seen() {
        let due = Duration::from_millis(50);
        let mut draft = Draft::default();
        draft.insert('a');
        draft.paste("bc", due);
        assert_eq!(draft.shown(NOW), ("a".into(), 1));
        assert_eq!(draft.text(), "abc");
        assert_eq!(draft.next_shown(NOW), Some(due));
        assert_eq!(draft.shown(due), ("abc".into(), 3));
        assert_eq!(draft.next_shown(due), None);
    }

    #[test]
    fn only_a_typed_backslash_counts() {
        let mut draft = Draft::default();
        assert!(!draft.take_backslash());
        draft.paste(&("\n".repeat(9) + "\\"), NOW);
        assert!(!draft.take_backslash());
        draft.insert('\\');
        assert!(draft.take_backslash());
    }
}
