//! Turns a cleaned message into the text of the input box and into the pieces it is pasted in.
//! Pure: sender and host are data.

use std::collections::BTreeSet;

use regex::Regex;
use unicode_normalization::char::is_combining_mark;

use crate::runtime::{Leading, Typing};

/// Longest message: beyond it, filling a box row by row takes longer than anybody waits, and a file
/// serves the agent better.
pub const MAX_BYTES: usize = 64 * 1024;

/// Most lines of a message, for the same reason: each may be a paste of its own.
pub const MAX_LINES: usize = 2_000;

/// Who sends to whom.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// Short name of this host.
    pub host: &'a str,
    /// The sender: a session or agent of this host, or `host:session`.
    pub sender: &'a str,
    /// The agent.
    pub agent: &'a str,
}

/// Why a message cannot be sent as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing but blanks.
    #[error("the message is empty")]
    Empty,
    /// More than [`MAX_BYTES`].
    #[error("the message has {0} bytes, more than the {MAX_BYTES} that are typed into an agent")]
    TooLong(usize),
    /// More than [`MAX_LINES`].
    #[error("the message has {0} lines, more than the {MAX_LINES} that are typed into an agent")]
    TooManyLines(usize),
    /// It would be taken as a command.
    #[error("a message that starts with `{0}` is a {1} to this agent, not text")]
    Command(char, &'static str),
}

impl Refusal {
    /// What to type instead.
    pub const fn hint(&self) -> &'static str {
        match self {
            Refusal::Empty => "give the text with `-m`, `-f` or on standard input",
            Refusal::TooLong(_) | Refusal::TooManyLines(_) => "send it with `--as-file`",
            Refusal::Command(..) => {
                "leave `--no-preamble` out, or say that it is meant with `--command` or `--raw`"
            }
        }
    }
}

/// Puts the text of the box together: the preamble on the first line, nothing at the end that the
/// agent would cut or take as more than text.
///
/// # Errors
/// The message is empty, too long, or would be a command.
pub fn compose(
    text: &str,
    envelope: Option<&Envelope<'_>>,
    typing: &Typing,
) -> Result<String, Refusal> {
    // Agent CLIs cut blanks at the end; a final newline is every file's.
    let text = text.trim_end();
    if text.trim_start().is_empty() {
        return Err(Refusal::Empty);
    }
    let mut out = match envelope {
        Some(envelope) => preamble(envelope) + text,
        None => as_text(text, typing)?,
    };
    let listed = |pattern: &String| Regex::new(pattern).is_ok_and(|r| r.is_match(&out));
    // A backslash before Enter means a new line to agent CLIs.
    if out.ends_with('\\') || typing.blank_after.iter().any(listed) {
        out.push(' ');
    }
    if out.len() > MAX_BYTES {
        return Err(Refusal::TooLong(out.len()));
    }
    let lines = out.split('\n').count();
    if lines > MAX_LINES {
        return Err(Refusal::TooManyLines(lines));
    }
    Ok(out)
}

/// `[host:session -> host:agent] `, in characters that cannot end it early.
pub fn preamble(envelope: &Envelope<'_>) -> String {
    let clean = |text: &str| -> String {
        let one_word = |c: char| if c.is_whitespace() { '_' } else { c };
        text.chars()
            .filter(|c| !c.is_control() && !matches!(c, '[' | ']'))
            .map(one_word)
            .collect()
    };
    let sender = clean(envelope.sender);
    let host = clean(envelope.host);
    let from = if sender.contains(':') {
        sender
    } else {
        format!("{host}:{sender}")
    };
    format!("[{from} -> {host}:{}] ", clean(envelope.agent))
}

/// A message without preamble, made safe where its first character would make a command of it.
fn as_text(text: &str, typing: &Typing) -> Result<String, Refusal> {
    let bare = text.trim_start();
    let first_word = bare.split_whitespace().next().unwrap_or_default();
    let (leading, c, what) = if bare.starts_with('!') {
        (typing.bang, '!', "shell command")
    } else if bare.starts_with('/') && !first_word[1..].contains('/') {
        (typing.slash, '/', "command")
    } else {
        return Ok(text.to_owned());
    };
    match leading {
        Leading::Text => Ok(text.to_owned()),
        // Blanks that are there already serve.
        Leading::Space if bare.len() < text.len() => Ok(text.to_owned()),
        Leading::Space => Ok(format!(" {text}")),
        Leading::Refuse => Err(Refusal::Command(c, what)),
    }
}

/// Cuts a text into pastes: at line ends, inside long lines, and inside each match of `split`. Their
/// concatenation is the text.
pub fn pieces<'a>(text: &'a str, typing: &Typing, split: &[Regex]) -> Vec<&'a str> {
    if typing.whole_above > 0 && text.chars().count() > typing.whole_above as usize {
        return vec![text];
    }
    let most_chars = match typing.piece_chars {
        0 => usize::MAX,
        n => n as usize,
    };
    let most_lines = match typing.piece_lines {
        0 => usize::MAX,
        n => n as usize,
    };
    let last_char = |m: regex::Match<'_>| {
        m.as_str()
            .char_indices()
            .next_back()
            .map(|(at, _)| m.start() + at)
    };
    let cuts: BTreeSet<usize> = split
        .iter()
        .flat_map(|r| r.find_iter(text))
        .filter_map(last_char)
        .collect();
    let mut pieces = Vec::new();
    let (mut start, mut chars, mut lines) = (0, 0, 0);
    let mut last = ' ';
    for (at, c) in text.char_indices() {
        // A character that joins with the one before must come in the same paste; and one CLI puts a
        // blank before a paste that looks like a path, if it follows a word.
        let path = matches!(c, '/' | '~' | '.') && (last.is_ascii_alphanumeric() || last == '_');
        let joins = path
            || last == '\u{200d}'
            || is_combining_mark(c)
            || matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}');
        let cut = lines >= most_lines || cuts.contains(&at);
        if at > start && (cut || (chars >= most_chars && c != '\n' && !joins)) {
            pieces.push(&text[start..at]);
            (start, chars, lines) = (at, 0, 0);
        }
        last = c;
        chars += 1;
        lines += usize::from(c == '\n');
    }
    if start < text.len() {
        pieces.push(&text[start..]);
    }
    pieces
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const ENVELOPE: Envelope<'static> = Envelope {
        host: "box",
        sender: "user",
        agent: "coder0",
    };

    fn typing(bang: Leading, slash: Leading) -> Typing {
        Typing {
            piece_chars: 10,
            piece_lines: 1,
            bang,
            slash,
            ..Typing::default()
        }
    }

    #[test]
    fn an_end_that_opens_a_list_gets_a_blank() {
        let typing = Typing {
            blank_after: vec![r"(?:^|\s)@\S*$".into()],
            ..Typing::default()
        };
        let composed = |text: &str| compose(text, None, &typing).expect("composed");
        assert_eq!(composed("look at @src"), "look at @src ");
        assert_eq!(composed("look at @src now"), "look at @src now");
        assert_eq!(composed("mail to a@b"), "mail to a@b");
        assert_eq!(composed("ends in \\"), "ends in \\ ");
    }

    #[test]
    fn the_preamble_stands_on_the_first_line() {
        let t = Typing::default();
        let with = |text, sender| compose(text, Some(&Envelope { sender, ..ENVELOPE }), &t);
        assert_eq!(
            with("hi\nthere\n", "user"),
            Ok("[box:user -> box:coder0] hi\nthere".into())
        );
        assert_eq!(
            with("!rm /", "rev0"),
            Ok("[box:rev0 -> box:coder0] !rm /".into())
        );
        assert_eq!(
            with("x", "far:rev0"),
            Ok("[far:rev0 -> box:coder0] x".into())
        );
        assert_eq!(with("x", "a]\n b"), Ok("[box:a_b -> box:coder0] x".into()));
        assert_eq!(
            with("ends \\", "user"),
            Ok("[box:user -> box:coder0] ends \\ ".into())
        );
        assert_eq!(with(" \n\t", "user"), Err(Refusal::Empty));
    }

    #[test]
    fn a_bare_message_is_never_a_command() {
        use Leading::{Refuse, Space, Text};
        type Row = (&'static str, Leading, Result<&'static str, Refusal>);
        let table: Vec<Row> = vec![
            ("!ls", Text, Ok("!ls")),
            ("!ls", Space, Ok(" !ls")),
            ("\n!ls", Space, Ok("\n!ls")),
            ("  !ls", Refuse, Err(Refusal::Command('!', "shell command"))),
            ("/clear", Space, Ok(" /clear")),
            ("/clear now", Refuse, Err(Refusal::Command('/', "command"))),
            ("/", Refuse, Err(Refusal::Command('/', "command"))),
            ("/etc/hosts is a file", Refuse, Ok("/etc/hosts is a file")),
            ("say /clear", Refuse, Ok("say /clear")),
            ("-x --y", Refuse, Ok("-x --y")),
            ("# title", Refuse, Ok("# title")),
        ];
        for (text, leading, want) in table {
            let got = compose(text, None, &typing(leading, leading));
            assert_eq!(got, want.map(str::to_owned), "{text:?} {leading:?}");
        }
    }

    #[test]
    fn limits_say_what_to_do() {
        let t = Typing::default();
        assert_eq!(
            compose(&"x".repeat(MAX_BYTES + 1), None, &t),
            Err(Refusal::TooLong(MAX_BYTES + 1))
        );
        assert_eq!(
            compose(&("x\n".repeat(MAX_LINES) + "y"), None, &t),
            Err(Refusal::TooManyLines(MAX_LINES + 1))
        );
        assert!(compose(&"x".repeat(MAX_BYTES), None, &t).is_ok());
        assert!(Refusal::TooLong(1).hint().contains("file"));
    }

    #[test]
    fn pieces_end_at_lines_and_in_long_ones() {
        fn cut<'a>(text: &'a str, typing: &Typing) -> Vec<&'a str> {
            pieces(text, typing, &[])
        }
        let t = typing(Leading::Text, Leading::Text);
        assert_eq!(cut("one\n\n  two", &t), ["one\n", "\n", "  two"]);
        assert_eq!(cut("0123456789abc\nd", &t), ["0123456789", "abc\n", "d"]);
        assert_eq!(cut("0123456789\nd", &t), ["0123456789\n", "d"]);
        assert_eq!(
            cut("012345678👩\u{200d}👧z", &t),
            ["012345678👩\u{200d}👧", "z"]
        );
        assert_eq!(
            cut(
                "a\nb\nc\nd",
                &Typing {
                    piece_lines: 2,
                    ..t.clone()
                }
            ),
            ["a\nb\n", "c\nd"]
        );
        assert_eq!(cut("0123456789/ab.c", &t), ["0123456789/", "ab.c"]);
        assert_eq!(cut("012345678 /ab", &t), ["012345678 ", "/ab"]);
        assert_eq!(cut("a\nb", &Typing::default()), ["a\nb"]);
        assert_eq!(
            cut(
                "a\nb",
                &Typing {
                    whole_above: 2,
                    ..t.clone()
                }
            ),
            ["a\nb"]
        );
        assert_eq!(
            cut(
                "a\nb",
                &Typing {
                    whole_above: 3,
                    ..t.clone()
                }
            ),
            ["a\n", "b"]
        );
        assert!(cut("", &Typing::default()).is_empty());
        let image = [Regex::new(r"\.(?:png|jpe?g)").expect("a pattern")];
        assert_eq!(
            pieces("/a.png\nb.jpeg", &t, &image),
            ["/a.pn", "g\n", "b.jpe", "g"]
        );
    }

    proptest! {
        #[test]
        fn pieces_put_together_are_the_text(text in "(\\PC|\n){0,400}", chars in 0u32..20, lines in 0u32..4) {
            let t = Typing { piece_chars: chars, piece_lines: lines, ..Typing::default() };
            let pieces = pieces(&text, &t, &[Regex::new(".x").expect("a pattern")]);
            prop_assert_eq!(&pieces.concat(), &text);
            prop_assert!(pieces.iter().all(|p| !p.is_empty()));
            if lines > 0 {
                prop_assert!(pieces.iter().all(|p| p.matches('\n').count() <= lines as usize));
            }
        }
    }
}
