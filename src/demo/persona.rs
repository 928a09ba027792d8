//! Scripted misbehaviour of the demo agent: what each persona is called and how a list is parsed.
//!
//! What a persona does is decided where it happens: in the model, or in the terminal loop.

use std::time::Duration;

/// Every persona by name, with the kind of value it takes.
const KNOWN: [(&str, Value); 18] = [
    ("alt-screen", Value::None),
    ("complete-first-enter", Value::None),
    ("crash-after", Value::Count),
    ("crash-at-start", Value::None),
    ("cut-first-paste", Value::Count),
    ("daemon", Value::None),
    ("dialog-open", Value::None),
    ("draft", Value::Text),
    ("exit-0-on-hangup", Value::None),
    ("expand-tabs", Value::None),
    ("flood", Value::None),
    ("ignore-term", Value::None),
    ("late-echo", Value::Millis),
    ("never-exit-on-hangup", Value::None),
    ("no-title", Value::None),
    ("no-transcript", Value::None),
    ("slow-start", Value::Millis),
    ("swallow-first-enter", Value::None),
];

/// What stands behind the `=` of a persona.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    None,
    Millis,
    Count,
    Text,
}

/// The personas in force, all off by default; any of them combine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Personas {
    /// Draws in the alternate screen with mouse reporting on, and stays there when killed.
    pub alt_screen: bool,
    /// Takes the first Enter after each paste as the choice of a completion, which is put into the box.
    pub complete_first_enter: bool,
    /// Exits with status 3 once this many messages were accepted by this process.
    pub crash_after: Option<u64>,
    /// Exits with status 3 before it touches terminal or transcript.
    pub crash_at_start: bool,
    /// Keeps only so many characters of the first paste that is longer.
    pub cut_first_paste: Option<u64>,
    /// Leaves a process of its own session behind.
    pub daemon: bool,
    /// Starts with the approval dialog open.
    pub dialog_open: bool,
    /// Starts with this text in the box.
    pub draft: Option<String>,
    /// Exits 0 on SIGHUP and on a hung-up terminal.
    pub exit_0_on_hangup: bool,
    /// Makes four blanks of each TAB in what it is told.
    pub expand_tabs: bool,
    /// Prints a line every few milliseconds, except in a dialog.
    pub flood: bool,
    /// Ignores SIGTERM and SIGHUP; a hung-up terminal still ends it.
    pub ignore_term: bool,
    /// Takes a paste at once but shows it only after this time.
    pub late_echo: Option<Duration>,
    /// Ignores SIGHUP and outlives its terminal.
    pub never_exit_on_hangup: bool,
    /// Sets no terminal title.
    pub no_title: bool,
    /// Neither reads nor writes the transcript.
    pub no_transcript: bool,
    /// Time until prompt, bracketed paste and first `idle`. What is typed in the first half is
    /// lost, what is typed in the second half arrives without paste brackets.
    pub slow_start: Option<Duration>,
    /// Ignores the first Enter after each paste.
    pub swallow_first_enter: bool,
}

impl Personas {
    /// Parses a comma separated list such as `flood,slow-start=500`; the empty list is none.
    ///
    /// In a value, `\,` is a comma, `\n` a line feed and `\\` a backslash.
    ///
    /// # Errors
    /// An unknown name, a persona named twice, and a missing, needless or malformed value.
    pub fn parse(list: &str) -> Result<Self, String> {
        let mut personas = Self::default();
        let mut seen = Vec::new();
        for item in split(list)? {
            let (name, value) = match item.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value)),
                None => (item.trim(), None),
            };
            if name.is_empty() && value.is_none() {
                continue;
            }
            let Some(&(name, kind)) = KNOWN.iter().find(|(known, _)| *known == name) else {
                return Err(unknown(name));
            };
            if seen.contains(&name) {
                return Err(format!("persona `{name}` is named twice"));
            }
            seen.push(name);
            personas.set(name, kind, value)?;
        }
        Ok(personas)
    }

    fn set(&mut self, name: &str, kind: Value, value: Option<&str>) -> Result<(), String> {
        let text = match (kind, value) {
            (Value::None, None) => "",
            (Value::None, Some(_)) => return Err(format!("persona `{name}` takes no value")),
            (_, Some(value)) => value,
            (kind, None) => {
                let example = if kind == Value::Text { "TEXT" } else { "500" };
                return Err(format!(
                    "persona `{name}` needs a value, as in `{name}={example}`"
                ));
            }
        };
        let number = match kind {
            Value::Millis | Value::Count => text
                .trim()
                .parse::<u64>()
                .map_err(|_| format!("persona `{name}` needs a whole number, not `{text}`"))?,
            Value::None | Value::Text => 0,
        };
        match name {
            "alt-screen" => self.alt_screen = true,
            "complete-first-enter" => self.complete_first_enter = true,
            "crash-after" if number == 0 => {
                return Err(
                    "persona `crash-after` needs at least 1; for none use `crash-at-start`".into(),
                );
            }
            "crash-after" => self.crash_after = Some(number),
            "crash-at-start" => self.crash_at_start = true,
            "cut-first-paste" => self.cut_first_paste = Some(number),
            "daemon" => self.daemon = true,
            "dialog-open" => self.dialog_open = true,
            "draft" => self.draft = Some(text.to_owned()),
            "exit-0-on-hangup" => self.exit_0_on_hangup = true,
            "expand-tabs" => self.expand_tabs = true,
            "flood" => self.flood = true,
            "ignore-term" => self.ignore_term = true,
            "late-echo" => self.late_echo = Some(Duration::from_millis(number)),
            "never-exit-on-hangup" => self.never_exit_on_hangup = true,
            "no-title" => self.no_title = true,
            "no-transcript" => self.no_transcript = true,
            "slow-start" => self.slow_start = Some(Duration::from_millis(number)),
            "swallow-first-enter" => self.swallow_first_enter = true,
            _ => return Err(unknown(name)),
        }
        Ok(())
    }
}

/// Splits at commas that no backslash protects, and resolves the escapes.
fn split(list: &str) -> Result<Vec<String>, String> {
    let mut items = vec![String::new()];
    let mut chars = list.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            ',' => {
                items.push(String::new());
                continue;
            }
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some(c @ (',' | '\\')) => c,
                Some(c) => return Err(format!("unknown escape `\\{c}` in the list of personas")),
                None => return Err("the list of personas ends in a lone backslash".into()),
            },
            c => c,
        };
        if let Some(item) = items.last_mut() {
            item.push(c);
        }
    }
    Ok(items)
}

fn unknown(name: &str) -> String {
    let near = KNOWN
        .iter()
        .map(|(known, _)| (strsim::damerau_levenshtein(known, name), *known))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    let known: Vec<&str> = KNOWN.iter().map(|(known, _)| *known).collect();
    let guess = near.map_or_else(String::new, |(_, known)| {
        format!("did you mean `{known}`? ")
    });
    format!(
        "unknown persona `{name}`; {guess}known personas: {}",
        known.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_parses_and_changes_something() {
        for (name, kind) in KNOWN {
            let item = match kind {
                Value::None => name.to_owned(),
                Value::Text => format!("{name}=text"),
                Value::Millis | Value::Count => format!("{name}=7"),
            };
            let personas = Personas::parse(&item).expect(name);
            assert_ne!(personas, Personas::default(), "{name}");
        }
    }

    #[test]
    fn lists_combine_and_values_may_hold_commas_and_lines() {
        let personas = Personas::parse("flood, slow-start=250,draft=a\\,b\\nc=d\\\\,no-title,")
            .expect("a list");
        assert_eq!(
            personas,
            Personas {
                flood: true,
                slow_start: Some(Duration::from_millis(250)),
                draft: Some("a,b\nc=d\\".into()),
                no_title: true,
                ..Personas::default()
            }
        );
        assert_eq!(Personas::parse(""), Ok(Personas::default()));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let table = [
            (
                "flod",
                "unknown persona `flod`; did you mean `flood`? known",
            ),
            (
                "sorcerer",
                "unknown persona `sorcerer`; known personas: alt-screen,",
            ),
            ("=3", "unknown persona ``; known"),
            ("flood=1", "persona `flood` takes no value"),
            ("draft", "persona `draft` needs a value, as in `draft=TEXT`"),
            (
                "late-echo",
                "persona `late-echo` needs a value, as in `late-echo=500`",
            ),
            (
                "late-echo=soon",
                "persona `late-echo` needs a whole number, not `soon`",
            ),
            ("crash-after=0", "persona `crash-after` needs at least 1"),
            ("flood,flood", "persona `flood` is named twice"),
            ("draft=\\x", "unknown escape `\\x`"),
            ("draft=\\", "the list of personas ends in a lone backslash"),
        ];
        for (list, start) in table {
            let error = Personas::parse(list).expect_err(list);
            assert!(error.starts_with(start), "{list}: {error}");
        }
    }
}
