//! Files in systemd's `EnvironmentFile=` grammar, read exactly as systemd 252 reads them
//! (`parse_env_file` of `src/basic/env-file.c`, then `strv_env_clean`), because the same file is
//! given to the unit: mosaic and the agent must see the same values.

use std::collections::BTreeMap;

use super::check::env_key;

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Variables in the order of their first appearance; a later value replaces an earlier one.
    pub vars: Vec<(String, String)>,
    /// What systemd leaves out, or what its versions read differently. Values are never repeated:
    /// they may be secrets.
    pub warnings: Vec<LineWarning>,
    lines: BTreeMap<String, usize>,
}

/// A remark on a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineWarning {
    /// From 1; the line on which the entry begins.
    pub line: usize,
    /// What is remarkable.
    pub message: String,
}

impl Parsed {
    /// The value of a variable.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.vars
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, v)| v.as_str())
    }
    /// The line of its last assignment.
    pub fn line_of(&self, key: &str) -> Option<usize> {
        self.lines.get(key).copied()
    }

    fn warn(&mut self, line: usize, message: impl Into<String>) {
        self.warnings.push(LineWarning {
            line,
            message: message.into(),
        });
    }

    fn push(&mut self, line: usize, key: &str, value: String) {
        let key = key.trim_end_matches(BLANK);
        if !env_key(key) {
            let shown = super::suggest::clip(key);
            return self.warn(
                line,
                format!("`{shown}` is no variable name: the line has no effect"),
            );
        }
        // systemd drops values with control characters other than these two.
        if value
            .chars()
            .any(|c| c.is_ascii_control() && c != '\t' && c != '\n')
        {
            return self.warn(
                line,
                format!("`{key}` holds a control character: systemd leaves it out"),
            );
        }
        self.lines.insert(key.to_owned(), line);
        match self.vars.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => *old = value,
            None => self.vars.push((key.to_owned(), value)),
        }
    }
}

const NEWLINE: [char; 2] = ['\n', '\r'];
const BLANK: [char; 4] = [' ', '\t', '\n', '\r'];

enum State {
    BeforeKey,
    Key,
    BeforeValue,
    Value,
    Escape,
    Single,
    Double,
    DoubleEscape,
    Comment,
    CommentEscape,
}

/// Reads a file. Nothing is expanded; `#` and `;` begin a comment only at the start of a line; quotes
/// count only at the start of a value or right after a closing quote.
pub fn parse(text: &str) -> Parsed {
    let mut out = Parsed::default();
    if text.contains('\0') {
        out.warn(1, "the file holds a NUL byte: systemd refuses it whole");
        return out;
    }
    let (mut key, mut value) = (String::new(), String::new());
    // Where trailing blanks of an unquoted value begin.
    let mut blanks: Option<usize> = None;
    let (mut line, mut begun) = (1, 1);
    let mut state = State::BeforeKey;
    for c in text.chars() {
        match state {
            State::BeforeKey => {
                if c == '#' || c == ';' {
                    state = State::Comment;
                } else if !BLANK.contains(&c) {
                    state = State::Key;
                    begun = line;
                    key.push(c);
                }
            }
            State::Key => {
                if NEWLINE.contains(&c) {
                    state = State::BeforeKey;
                    out.warn(begun, "a line without `=` has no effect");
                    key.clear();
                } else if c == '=' {
                    state = State::BeforeValue;
                    blanks = None;
                } else {
                    key.push(c);
                }
            }
            State::BeforeValue | State::Value if NEWLINE.contains(&c) => {
                if let (State::Value, Some(at)) = (&state, blanks) {
                    value.truncate(at);
                }
                state = State::BeforeKey;
                out.push(begun, &key, std::mem::take(&mut value));
                key.clear();
            }
            State::BeforeValue => match c {
                '\'' => state = State::Single,
                '"' => state = State::Double,
                '\\' => state = State::Escape,
                c if BLANK.contains(&c) => {}
                c => {
                    state = State::Value;
                    value.push(c);
                }
            },
            State::Value => {
                if c == '\\' {
                    state = State::Escape;
                    blanks = None;
                } else {
                    if !BLANK.contains(&c) {
                        blanks = None;
                    } else if blanks.is_none() {
                        blanks = Some(value.len());
                    }
                    value.push(c);
                }
            }
            State::Escape => {
                state = State::Value;
                if !NEWLINE.contains(&c) {
                    value.push(c);
                }
            }
            State::Single => match c {
                '\'' => state = State::BeforeValue,
                c => value.push(c),
            },
            State::Double => match c {
                '"' => state = State::BeforeValue,
                '\\' => state = State::DoubleEscape,
                c => value.push(c),
            },
            State::DoubleEscape => {
                state = State::Double;
                match c {
                    '"' | '\\' | '`' | '$' => value.push(c),
                    '\n' => {}
                    c => value.extend(['\\', c]),
                }
            }
            State::Comment => {
                if c == '\\' {
                    state = State::CommentEscape;
                } else if NEWLINE.contains(&c) {
                    state = State::BeforeKey;
                }
            }
            State::CommentEscape => {
                if NEWLINE.contains(&c) {
                    out.warn(line, "a comment that ends in a backslash: before systemd 254 it takes in the next line, since then it does not");
                }
                state = State::Comment;
            }
        }
        line += usize::from(c == '\n');
    }
    match state {
        State::BeforeKey | State::Comment | State::CommentEscape => {}
        State::Key => out.warn(begun, "a line without `=` has no effect"),
        State::Single | State::Double | State::DoubleEscape => {
            out.warn(
                begun,
                "a quote that is not closed: the rest of the file is its value",
            );
            out.push(begun, &key, value);
        }
        State::BeforeValue | State::Value | State::Escape => {
            if let (State::Value, Some(at)) = (&state, blanks) {
                value.truncate(at);
            }
            out.push(begun, &key, value);
        }
    }
    out
}

/// A value in double quotes, such that [`parse`] and systemd read it back. Values with control
/// characters other than tab and newline cannot be written at all: systemd drops them.
pub fn quote(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars() {
        if matches!(c, '\\' | '"' | '$' | '`') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_as_systemd_does() {
        for (text, want) in [
            ("", vec![]),
            ("A=1", vec![("A", "1")]),
            ("A=1\nB=2\n", vec![("A", "1"), ("B", "2")]),
            ("A=1\r\nB=2\r\n", vec![("A", "1"), ("B", "2")]),
            ("A=1\rB=2", vec![("A", "1"), ("B", "2")]),
            ("  A = 1  \n", vec![("A", "1")]),
            ("A=", vec![("A", "")]),
            ("A=\nB=x", vec![("A", ""), ("B", "x")]),
            ("# c\n; c\n  # c\nA=1", vec![("A", "1")]),
            ("A=1 # no comment", vec![("A", "1 # no comment")]),
            ("A=a;b", vec![("A", "a;b")]),
            ("# c \\\nA=1\nB=2", vec![("B", "2")]),
            ("A=b c  d \t", vec![("A", "b c  d")]),
            ("A='b c '", vec![("A", "b c ")]),
            ("A='b\\'", vec![("A", "b\\")]),
            ("A='b\nc'\nB=1", vec![("A", "b\nc"), ("B", "1")]),
            (
                r#"A="b \" \\ \$ \` \n c""#,
                vec![("A", "b \" \\ $ ` \\n c")],
            ),
            ("A=\"b\\\nc\"", vec![("A", "bc")]),
            ("A=b\\\nc", vec![("A", "bc")]),
            ("A=b \\\n c ", vec![("A", "b  c")]),
            (r"A=\b\ \\", vec![("A", r"b \")]),
            ("A=b\\ \n", vec![("A", "b ")]),
            ("A=\"b\" 'c' d", vec![("A", "bcd")]),
            ("A=b\"c\"", vec![("A", "b\"c\"")]),
            ("A=b'c", vec![("A", "b'c")]),
            ("A=$B ${C} ~", vec![("A", "$B ${C} ~")]),
            ("A==b=c", vec![("A", "=b=c")]),
            ("A=1\nB=2\nA=3", vec![("A", "3"), ("B", "2")]),
            ("A=\"open\nB=2", vec![("A", "open\nB=2")]),
            ("A=\\", vec![("A", "")]),
            ("A=ünï", vec![("A", "ünï")]),
        ] {
            let got = parse(text).vars;
            let want: Vec<(String, String)> = want
                .into_iter()
                .map(|(k, v)| (k.into(), v.into()))
                .collect();
            assert_eq!(got, want, "{text:?}");
        }
    }

    #[test]
    fn says_what_systemd_leaves_out() {
        for (text, vars, line, message) in [
            (
                "A=1\n1B=2",
                1,
                2,
                "`1B` is no variable name: the line has no effect",
            ),
            (
                "export A=1",
                0,
                1,
                "`export A` is no variable name: the line has no effect",
            ),
            (
                "A-B=1",
                0,
                1,
                "`A-B` is no variable name: the line has no effect",
            ),
            ("=1", 0, 1, "a line without `=` has no effect"),
            ("word\nA=1", 1, 1, "a line without `=` has no effect"),
            (
                "\nA='\u{1b}'",
                0,
                2,
                "`A` holds a control character: systemd leaves it out",
            ),
            (
                "A=1\0",
                0,
                1,
                "the file holds a NUL byte: systemd refuses it whole",
            ),
            (
                "A='x",
                1,
                1,
                "a quote that is not closed: the rest of the file is its value",
            ),
        ] {
            let got = parse(text);
            assert_eq!(got.vars.len(), vars, "{text:?}");
            assert_eq!(
                got.warnings,
                [LineWarning {
                    line,
                    message: message.to_owned()
                }],
                "{text:?}"
            );
        }
    }

    #[test]
    fn knows_the_line_of_the_last_assignment() {
        let parsed = parse("A=1\n\nB='x\ny'\nA=2");
        assert_eq!(
            (
                parsed.line_of("A"),
                parsed.line_of("B"),
                parsed.line_of("C")
            ),
            (Some(5), Some(3), None)
        );
        assert_eq!((parsed.get("A"), parsed.get("C")), (Some("2"), None));
    }

    proptest! {
        #[test]
        fn quoting_round_trips(value in "[^\\x00-\\x08\\x0b-\\x1f\\x7f]{0,60}") {
            let text = format!("A={}\nB=2\n", quote(&value));
            let parsed = parse(&text);
            prop_assert_eq!(parsed.get("A"), Some(value.as_str()));
            prop_assert_eq!(parsed.get("B"), Some("2"));
            prop_assert!(parsed.warnings.is_empty());
        }

        #[test]
        fn never_panics(text in "(?s).{0,200}") {
            let _ = parse(&text);
        }
    }
}
