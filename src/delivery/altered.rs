//! What an agent CLI made another of in a message on its way, told from its own record. Pure.

use super::held::bare;

/// Tabs, as most agent CLIs expand them.
pub const TABS: &str = "tabs";
/// Other blanks: line ends, indents, a final blank.
pub const BLANKS: &str = "blanks";
/// More was put around it.
pub const WRAPPED: &str = "wrapped";
/// Something that no rule names.
pub const TEXT: &str = "text";

/// What differs between a text as it was sent and as it was recorded; empty where they are the same.
pub fn altered(sent: &str, recorded: &str) -> Vec<String> {
    if sent == recorded {
        return Vec::new();
    }
    let spaced = |text: &str, width: usize| text.replace('\t', &" ".repeat(width));
    let mut found = Vec::new();
    let tabs = sent.matches('\t').count();
    let mut expected = sent.to_owned();
    if tabs > recorded.matches('\t').count() {
        found.push(TABS);
        // Four blanks in the measured ones; others fill up to a column.
        expected = spaced(sent, 4);
        if bare(sent) == bare(recorded) && squeezed(&spaced(sent, 1)) == squeezed(recorded) {
            return vec![TABS.to_owned()];
        }
    }
    if expected != recorded {
        let (want, got) = (bare(&expected), bare(recorded));
        found.push(if want == got {
            BLANKS
        } else if got.contains(&want) {
            WRAPPED
        } else {
            TEXT
        });
    }
    found.into_iter().map(str::to_owned).collect()
}

/// A text with each run of blanks as one, line ends kept.
fn squeezed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c != ' ' || !out.ends_with(' ') {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named() {
        let none: [&str; 0] = [];
        assert_eq!(altered("a\tb", "a\tb"), none);
        assert_eq!(altered("a\tb", "a    b"), [TABS]);
        assert_eq!(altered("a\tb  c", "a       b  c"), [TABS]);
        assert_eq!(altered("a b", "a b "), [BLANKS]);
        assert_eq!(altered("a\nb", "a b"), [BLANKS]);
        assert_eq!(altered("ab", "<p>\nab\n</p>"), [WRAPPED]);
        assert_eq!(altered("a\tb", "<p>\na    b\n</p>"), [TABS, WRAPPED]);
        assert_eq!(altered("ab", "ac"), [TEXT]);
    }
}
