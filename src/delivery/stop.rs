//! Why a delivery went no farther, and how far it had come by then.

use crate::error::{Error, Kind};
use crate::host::tmux::TmuxError;
use crate::state::screen::Seen;

/// How far a message had come when its delivery stopped. Decides what may be done next: only after
/// [`Reached::Nothing`] may it be delivered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// It certainly did not reach the agent, not in part.
    Nothing,
    /// It stands in the agent's input box, in part or whole, and was not submitted.
    Typed,
    /// It may have been submitted; nothing proves it.
    Unknown,
}

/// Why nothing was submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// How far it had come.
    pub reached: Reached,
    /// Why.
    pub reason: String,
    /// What to do.
    pub hint: Option<String>,
    /// It may go better later, without anybody changing the message or the roster: the agent is busy,
    /// down, asks something, or has a draft in its box.
    pub retry: bool,
    /// Rows of the screen that led to it.
    pub seen: Vec<String>,
}

impl Stop {
    /// Nothing was done, and doing it again would end the same.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self {
            reached: Reached::Nothing,
            reason: reason.into(),
            hint: None,
            retry: false,
            seen: Vec::new(),
        }
    }

    /// Nothing was done, and it may go better later.
    pub fn busy(reason: impl Into<String>) -> Self {
        Self {
            retry: true,
            ..Self::refused(reason)
        }
    }

    /// The message stands in the box, in part or whole.
    pub fn typed(reason: impl Into<String>) -> Self {
        Self {
            reached: Reached::Typed,
            ..Self::refused(reason)
        }
    }

    /// Whether the agent has the message is not known.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self {
            reached: Reached::Unknown,
            ..Self::refused(reason)
        }
    }

    /// An error before anything was done.
    pub fn of(error: &Error) -> Self {
        Self {
            retry: matches!(error.kind, Kind::Busy | Kind::Unavailable),
            hint: error.hints.first().cloned(),
            ..Self::refused(error.to_string())
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Adds the rows that led to it.
    #[must_use]
    pub fn seen(self, seen: &Seen) -> Self {
        Self {
            seen: seen.dialog.clone().unwrap_or_else(|| seen.foot.clone()),
            ..self
        }
    }

    /// Part of the message or more reached the agent, or may have.
    pub fn touched(&self) -> bool {
        self.reached != Reached::Nothing
    }
}

impl From<TmuxError> for Stop {
    fn from(e: TmuxError) -> Self {
        let retry = matches!(e, TmuxError::NoServer(_) | TmuxError::Run(_));
        let error = Error::from(e);
        Self {
            retry,
            hint: error.hints.first().cloned(),
            ..Self::refused(error.to_string())
        }
    }
}
