//! The kinds of messages, and what of each is to arrive: written out here, not asked of mosaic.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A message's own first and last word, by which it is known, whole or in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// At the beginning of the text.
    pub first: String,
    /// At its end.
    pub last: String,
}

impl Mark {
    /// One that was never there before.
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            first: format!("mk{n:05}a"),
            last: format!("mk{n:05}z"),
        }
    }
}

/// A kind of message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Plain,
    Quotes,
    Unicode,
    Lines,
    Kb4,
    Kb60,
    Bang,
    Slash,
    Hash,
    Dash,
    Tabs,
    Newline,
    Fences,
    At,
    Escape,
}

impl Kind {
    /// In the order of the table.
    pub const ALL: [Kind; 15] = [
        Kind::Plain,
        Kind::Quotes,
        Kind::Unicode,
        Kind::Lines,
        Kind::Kb4,
        Kind::Kb60,
        Kind::Bang,
        Kind::Slash,
        Kind::Hash,
        Kind::Dash,
        Kind::Tabs,
        Kind::Newline,
        Kind::Fences,
        Kind::At,
        Kind::Escape,
    ];

    /// The three that stand for all where time is short: nothing special, several lines, and one that
    /// agents would run.
    pub const FEW: [Kind; 3] = [Kind::Plain, Kind::Lines, Kind::Bang];

    /// As in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Plain => "one line",
            Kind::Quotes => "quotes, `$()`",
            Kind::Unicode => "unicode, emoji",
            Kind::Lines => "lines",
            Kind::Kb4 => "4 KB",
            Kind::Kb60 => "60 KB",
            Kind::Bang => "leading `!`",
            Kind::Slash => "leading `/`",
            Kind::Hash => "leading `#`",
            Kind::Dash => "leading `-`",
            Kind::Tabs => "tabs",
            Kind::Newline => "final newline",
            Kind::Fences => "fences",
            Kind::At => "final `@word`",
            Kind::Escape => "`ESC[201~`",
        }
    }

    /// Whether it is sent with the line's beginning that names sender and agent, as is the default. The
    /// others go without, so that what they start with comes first.
    pub const fn preamble(self) -> bool {
        matches!(self, Kind::Plain)
    }

    /// The message as it is sent.
    pub fn text(self, mark: &Mark) -> String {
        let Mark { first: a, last: z } = mark;
        match self {
            Kind::Plain => format!("{a} a plain line {z}"),
            Kind::Quotes => {
                format!(
                    "{a} it's \"quoted\" `touch approved-marker` $(touch approved-marker) $HOME \\ %1 #{{x}} {z};"
                )
            }
            Kind::Unicode => format!("{a} é ñ Ω 漢字 かな 😀 👩\u{200d}👧 👍🏽 {z}"),
            Kind::Lines => format!("{a}\nsecond\n\n    indented\n- a list\nlast {z}"),
            Kind::Kb4 => filled(a, z, 4 * 1024),
            Kind::Kb60 => filled(a, z, 60 * 1024),
            Kind::Bang => format!("!{a} touch approved-marker {z}"),
            Kind::Slash => format!("/{a} is no command {z}"),
            Kind::Hash => format!("#{a} a heading {z}"),
            Kind::Dash => format!("-{a} --flag -x {z}"),
            Kind::Tabs => format!("{a}\tone\t\ttwo\n\tthree {z}"),
            Kind::Newline => format!("{a} ends with a newline {z}\n"),
            Kind::Fences => {
                format!("{a}\n```rust\nfn main() {{\n    println!(\"hi\");\n}}\n```\n{z}")
            }
            // There is a file whose name begins like this, for a completion to offer.
            Kind::At => format!("{a} {z} look at @notes"),
            Kind::Escape => format!("{a} before\x1b[201~ after {z}"),
        }
    }

    /// What may stand in front of it.
    fn beginnings(self) -> &'static [&'static str] {
        match self {
            // A blank keeps it from being a command.
            Kind::Bang | Kind::Slash => &["", " "],
            _ => &[""],
        }
    }

    /// Whether a text is this message, byte for byte up to what is documented: characters that could
    /// end the paste are dropped and blanks at the end cut, and a blank may stand before what would be
    /// a command.
    pub fn is(self, mark: &Mark, got: &str) -> bool {
        let wanted = self.clean(mark);
        let got = match self.preamble() {
            true => match without_preamble(got) {
                Some(rest) => rest,
                None => return false,
            },
            false => got,
        };
        let mut beginnings = self.beginnings().iter();
        beginnings.any(|begin| got.strip_prefix(begin) == Some(&wanted))
    }

    /// What is to be in a file that an agent is pointed to.
    pub fn clean(self, mark: &Mark) -> String {
        let text = self.text(mark).replace('\x1b', "");
        text.trim_end().to_owned()
    }
}

/// What stands behind `[host:sender -> host:agent] `.
fn without_preamble(text: &str) -> Option<&str> {
    let (inside, rest) = text.strip_prefix('[')?.split_once("] ")?;
    let (from, to) = inside.split_once(" -> ")?;
    (from.contains(':') && to.contains(':')).then_some(rest)
}

/// Lines of prose between two words, so many bytes in all.
fn filled(a: &str, z: &str, bytes: usize) -> String {
    let mut text = format!("{a}\n");
    let mut n = 0;
    while text.len() < bytes {
        n += 1;
        let _ = writeln!(
            text,
            "line {n}: the quick brown fox jumps over the lazy dog, and goes on to the next"
        );
    }
    text.truncate(bytes - z.len() - 1);
    text.push(' ');
    text + z
}

#[test]
fn every_kind_is_itself_and_no_other() {
    for kind in Kind::ALL {
        let mark = Mark::new();
        let text = kind.text(&mark);
        assert_eq!(text.matches(&mark.first).count(), 1, "{kind:?}");
        assert_eq!(text.matches(&mark.last).count(), 1, "{kind:?}");
        for word in ["TOOL", "SLEEP", "LIMIT", "PLEASE"] {
            assert!(!text.contains(word), "{kind:?} would steer the model");
        }
        let begin = if kind.preamble() {
            "[h:user -> h:a] "
        } else {
            ""
        };
        let arrived = format!("{begin}{}", kind.clean(&mark));
        assert!(kind.is(&mark, &arrived), "{kind:?}");
        assert!(!kind.is(&mark, &format!("{arrived}x")), "{kind:?}");
        assert!(!kind.is(&mark, &arrived[..arrived.len() - 1]), "{kind:?}");
        assert!(!kind.is(&Mark::new(), &arrived), "{kind:?}");
    }
    assert_eq!(Kind::Kb60.text(&Mark::new()).len(), 60 * 1024);
    let mark = Mark::new();
    assert!(Kind::Slash.is(&mark, &format!(" {}", Kind::Slash.text(&mark))));
    assert!(!Kind::Hash.is(&mark, &format!(" {}", Kind::Hash.text(&mark))));
    assert!(
        !Kind::Plain.is(&mark, &Kind::Plain.text(&mark)),
        "no preamble"
    );
}
