//! The one error type that reaches the edge of the program, and the table of exit codes.
//!
//! Domain modules may have error enums of their own; what a verb returns is this type. It carries
//! what was being done and to which thing (`message`), why it failed (`causes`), where (`location`,
//! with a snippet), and what to type (`hints`). Printing is left to [`crate::ui`].

use std::fmt;

/// What sort of failure this is: the only thing an exit code depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The answer is no: drift, a failed check, an agent that failed, a message not delivered.
    No,
    /// The command line makes no sense.
    Usage,
    /// tmux or the service manager cannot be reached or is too old.
    Unavailable,
    /// mosaic itself is wrong.
    Bug,
    /// Somebody else holds it, or time ran out; trying again may help.
    Busy,
    /// Roster, profile, or launch file is invalid, or names something that does not exist.
    Config,
}

/// Exit status of success: done, healthy, in sync.
pub const EXIT_OK: u8 = 0;

impl Kind {
    /// Every kind, in the order of the documented table.
    pub const ALL: [Kind; 6] = [
        Kind::No,
        Kind::Usage,
        Kind::Unavailable,
        Kind::Bug,
        Kind::Busy,
        Kind::Config,
    ];

    /// The process exit status. From 69 on they are the values of `sysexits.h`.
    pub const fn exit_code(self) -> u8 {
        match self {
            Kind::No => 1,
            Kind::Usage => 2,
            Kind::Unavailable => 69,
            Kind::Bug => 70,
            Kind::Busy => 75,
            Kind::Config => 78,
        }
    }

    /// What the code means, as printed in the documentation.
    pub const fn meaning(self) -> &'static str {
        match self {
            Kind::No => {
                "the answer is no: drift, a failed check, an agent that failed, a message not delivered"
            }
            Kind::Usage => "the command line was wrong",
            Kind::Unavailable => "tmux or the service manager is unavailable or too old",
            Kind::Bug => "mosaic itself is wrong; please report it",
            Kind::Busy => "busy or timed out; try again",
            Kind::Config => {
                "roster, profile or launch file invalid, or something it names does not exist"
            }
        }
    }
}

/// An error as shown to the user. Build it with one of the constructors, then add to it.
#[derive(Debug, Clone)]
pub struct Error {
    /// Decides the exit status.
    pub kind: Kind,
    /// What failed, to which thing: a lower-case fragment without a full stop.
    pub message: String,
    /// Why, from the nearest cause to the farthest.
    pub causes: Vec<String>,
    /// `file:line:column` and a snippet, one entry a place, each ready to print below the message.
    pub location: Vec<String>,
    /// What to type next.
    pub hints: Vec<String>,
    /// Further errors found in the same run (all problems of a roster are reported at once).
    pub others: Vec<Error>,
}

/// Result with the edge error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Makes an error of a kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            causes: Vec::new(),
            location: Vec::new(),
            hints: Vec::new(),
            others: Vec::new(),
        }
    }
    /// The answer is no (exit 1).
    pub fn no(message: impl Into<String>) -> Self {
        Self::new(Kind::No, message)
    }
    /// Wrong command line (exit 2).
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }
    /// tmux or manager unavailable (exit 69).
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message)
    }
    /// Our bug (exit 70).
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(Kind::Bug, message).hint("this is a bug in mosaic: please report it with the output of the same command and `-vv`")
    }
    /// Busy or timed out (exit 75).
    pub fn busy(message: impl Into<String>) -> Self {
        Self::new(Kind::Busy, message)
    }
    /// Invalid configuration (exit 78).
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(Kind::Config, message)
    }
    /// A failed operation of the operating system on a file or process: exit 1, cause included.
    pub fn io(doing: impl Into<String>, error: impl fmt::Display) -> Self {
        Self::new(Kind::No, doing).because(error)
    }

    /// Adds a hint: what to type.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
    /// Adds a cause, farther away than those there are.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.causes.push(cause.to_string());
        self
    }
    /// Adds an error and all its sources as causes.
    #[must_use]
    pub fn source(mut self, error: &dyn std::error::Error) -> Self {
        let mut next = Some(error);
        while let Some(e) = next {
            let text = e.to_string();
            if self.causes.last() != Some(&text) {
                self.causes.push(text);
            }
            next = e.source();
        }
        self
    }
    /// Adds a place with its snippet.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.location.push(place.into());
        self
    }
    /// Puts another frame around: `message` becomes the first cause.
    #[must_use]
    pub fn context(mut self, doing: impl Into<String>) -> Self {
        let inner = std::mem::replace(&mut self.message, doing.into());
        self.causes.insert(0, inner);
        self
    }
    /// Joins errors found in one run into one: the first leads, the rest follow. None for none.
    pub fn all(errors: impl IntoIterator<Item = Error>) -> Option<Error> {
        let mut errors = errors.into_iter();
        let mut first = errors.next()?;
        first.others.extend(errors);
        Some(first)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for cause in &self.causes {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_documented_table() {
        let table: Vec<(Kind, u8)> = Kind::ALL.iter().map(|k| (*k, k.exit_code())).collect();
        assert_eq!(
            table,
            vec![
                (Kind::No, 1),
                (Kind::Usage, 2),
                (Kind::Unavailable, 69),
                (Kind::Bug, 70),
                (Kind::Busy, 75),
                (Kind::Config, 78),
            ]
        );
    }

    #[test]
    fn display_is_one_line_with_causes() {
        let e = Error::io("cannot write `/x`", "no space left on device").context("cannot apply");
        assert_eq!(
            e.to_string(),
            "cannot apply: cannot write `/x`: no space left on device"
        );
    }
}
