//! How text stands on a terminal: column widths, harmless display of control characters, wrapping.

/// Columns a TAB is shown as; the real agents expand it to four blanks as well.
const TAB: &str = "    ";

/// Columns a character takes: 0, 1 or 2. A short table of the common ranges, not all of Unicode:
/// the painter turns automatic wrapping off, so that a wrong guess cuts a row and never breaks it.
pub fn width(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036f
        | 0x0483..=0x0489
        | 0x0591..=0x05bd
        | 0x0610..=0x061a
        | 0x064b..=0x065f
        | 0x1ab0..=0x1aff
        | 0x1dc0..=0x1dff
        | 0x200b..=0x200f
        | 0x2028..=0x202e
        | 0x2060..=0x2064
        | 0x20d0..=0x20ff
        | 0xfe00..=0xfe0f
        | 0xfe20..=0xfe2f
        | 0xfeff
        | 0xe0000..=0xe01ef => 0,
        0x1100..=0x115f
        | 0x231a..=0x231b
        | 0x23e9..=0x23ec
        | 0x26a1
        | 0x2705
        | 0x274c
        | 0x2728
        | 0x2b50
        | 0x2e80..=0x303e
        | 0x3041..=0x33ff
        | 0x3400..=0x4dbf
        | 0x4e00..=0xa4cf
        | 0xa960..=0xa97f
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f1e6..=0x1f202
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f7e0..=0x1f7eb
        | 0x1f900..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// Appends a character as it may be shown: no control character reaches the terminal.
pub fn push_shown(row: &mut String, c: char) {
    match c {
        '\t' => row.push_str(TAB),
        '\u{7f}' => row.push('\u{2421}'),
        // The control pictures stand in the order of the control characters.
        '\0'..='\u{1f}' => row.extend(char::from_u32(0x2400 + u32::from(c))),
        '\u{80}'..='\u{9f}' => row.push(char::REPLACEMENT_CHARACTER),
        // Direction marks would turn the whole row around.
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
        c => row.push(c),
    }
}

/// Columns [`push_shown`] takes for a character.
pub fn shown_width(c: char) -> usize {
    match c {
        '\t' => TAB.len(),
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => 0,
        c if c.is_control() => 1,
        c => width(c),
    }
}

/// Breaks text into rows of at most `columns`, at LF and wherever a row is full. The first row
/// starts with `first`, all others with as many blanks.
pub fn wrap(first: &str, text: &str, columns: usize) -> Vec<String> {
    let indent: usize = first.chars().map(width).sum();
    // A terminal too narrow for anything still gets one character a row.
    let room = columns.saturating_sub(indent).max(2);
    let mut rows = Vec::new();
    let mut row = first.to_owned();
    let mut used = 0;
    for c in text.chars() {
        let wide = if c == '\n' { 0 } else { shown_width(c) };
        if c == '\n' || used + wide > room {
            rows.push(std::mem::replace(&mut row, " ".repeat(indent)));
            used = 0;
        }
        if c != '\n' {
            push_shown(&mut row, c);
            used += wide;
        }
    }
    rows.push(row);
    rows
}

/// Shortens text to `columns`, with `…` in place of what is missing.
pub fn fit(text: &str, columns: usize) -> String {
    let mut row = String::new();
    let mut used = 0;
    // Where the mark would go: one column is free behind it.
    let mut cut = 0;
    for c in text.chars() {
        used += shown_width(c);
        if used > columns {
            row.truncate(cut);
            row.push('…');
            break;
        }
        push_shown(&mut row, c);
        if used < columns {
            cut = row.len();
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_by_columns_and_indents() {
        let table: [(&str, &str, usize, &[&str]); 7] = [
            ("> ", "", 10, &["> "]),
            ("> ", "abcdefgh", 10, &["> abcdefgh"]),
            ("> ", "abcdefghi", 10, &["> abcdefgh", "  i"]),
            ("> ", "a\n\nb\n", 10, &["> a", "  ", "  b", "  "]),
            ("", "漢漢漢", 5, &["漢漢", "漢"]),
            ("> ", "a\tb\u{1b}[0m", 20, &["> a    b␛[0m"]),
            ("> ", "abc", 1, &["> ab", "  c"]),
        ];
        for (first, text, columns, rows) in table {
            assert_eq!(wrap(first, text, columns), rows, "{text:?}");
        }
    }

    #[test]
    fn no_control_or_direction_character_is_shown() {
        for c in ('\0'..='\u{9f}').chain('\u{2000}'..='\u{206f}') {
            let mut row = String::new();
            push_shown(&mut row, c);
            assert!(
                !row.chars()
                    .any(|c| c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c)),
                "{c:?}"
            );
            assert_eq!(
                row.chars().map(width).sum::<usize>(),
                shown_width(c),
                "{c:?}"
            );
        }
    }

    #[test]
    fn fit_keeps_to_the_columns() {
        assert_eq!(fit("abc", 3), "abc");
        assert_eq!(fit("abcd", 3), "ab…");
        assert_eq!(fit("a\nb", 5), "a␊b");
        assert_eq!(fit("漢漢", 3), "漢…");
        assert_eq!(fit("ab\u{301}cd", 3), "ab\u{301}…");
        assert_eq!(fit("abc\u{301}d", 3), "ab…");
    }
}
