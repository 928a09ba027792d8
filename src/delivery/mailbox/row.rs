//! One message in the mailbox: what was given, how far it has come, and what proves that.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::delivery::channel::{ChannelKind, Mark};
use crate::delivery::receipt::{Receipt, Rung};
use crate::delivery::sanitise::Dropped;
use crate::host::owner::Owner;

/// Version of [`Options`] and [`Outcome`] as stored.
pub const VERSION: u32 = 1;

/// How far a message has come.
///
/// `Queued` → `Typing` → (`Typed`) → `Submitted` → `Accepted` → `Answered`; or one of the four ends
/// without delivery. `Typing` is written before the first byte and is the claim of its owner as well,
/// so that no instant exists in which a message is neither free nor known to be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Stored; nothing of it has left.
    Queued,
    /// Somebody hands it over, or died at it: any part of it may have arrived.
    Typing,
    /// It stands before the agent and could not be submitted; why is on record.
    Typed,
    /// The agent was seen to take it.
    Submitted,
    /// The agent's own record has it.
    Accepted,
    /// The turn that it began has ended.
    Answered,
    /// It certainly did not arrive, and is not tried again.
    Refused,
    /// It may have arrived; it is not tried again.
    Uncertain,
    /// Taken back before it left.
    Cancelled,
    /// Not delivered before its time was over.
    Expired,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Stage; 10] = [
        Stage::Queued,
        Stage::Typing,
        Stage::Typed,
        Stage::Submitted,
        Stage::Accepted,
        Stage::Answered,
        Stage::Refused,
        Stage::Uncertain,
        Stage::Cancelled,
        Stage::Expired,
    ];

    /// As stored and printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::Queued => "queued",
            Stage::Typing => "typing",
            Stage::Typed => "typed",
            Stage::Submitted => "submitted",
            Stage::Accepted => "accepted",
            Stage::Answered => "answered",
            Stage::Refused => "refused",
            Stage::Uncertain => "uncertain",
            Stage::Cancelled => "cancelled",
            Stage::Expired => "expired",
        }
    }

    /// Reads what [`Stage::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// Something is still to be done for it.
    pub const fn pending(self) -> bool {
        matches!(self, Stage::Queued | Stage::Typing | Stage::Typed)
    }

    /// It ended without proof of delivery.
    pub const fn dead(self) -> bool {
        matches!(self, Stage::Refused | Stage::Uncertain | Stage::Expired)
    }

    /// The receipt for it.
    pub const fn rung(self) -> Rung {
        match self {
            Stage::Queued => Rung::Queued,
            Stage::Typing | Stage::Typed => Rung::Typed,
            Stage::Submitted => Rung::Submitted,
            Stage::Accepted => Rung::Accepted,
            Stage::Answered => Rung::Answered,
            Stage::Refused | Stage::Cancelled | Stage::Expired => Rung::Refused,
            Stage::Uncertain => Rung::Uncertain,
        }
    }
}

/// What is put around a text before it is delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// Sender and receiver are named before it.
    #[default]
    Message,
    /// Nothing; a beginning that would make a command of it is made text or refused.
    Bare,
    /// Nothing at all.
    Raw,
    /// It is a command of the agent CLI.
    Command,
}

/// What is done about a draft that stands in the agent's box.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Draft {
    /// The message waits until it is gone.
    #[default]
    Wait,
    /// The agent CLI puts it aside and gives it back, where it can.
    Stash,
    /// The message is refused.
    Refuse,
}

/// How a message is to be delivered. Stored with it, so that whoever delivers it does as the sender
/// asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Format version.
    pub version: u32,
    /// What is put around it.
    #[serde(default)]
    pub style: Style,
    /// What is done about a draft.
    #[serde(default)]
    pub draft: Draft,
    /// It goes as a file, to which a line points.
    #[serde(default)]
    pub as_file: bool,
    /// Before all that wait: a conversation's first words.
    #[serde(default)]
    pub first: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            version: VERSION,
            style: Style::default(),
            draft: Draft::default(),
            as_file: false,
            first: false,
        }
    }
}

/// What is known of a message beyond its stage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Outcome {
    /// What proves the stage.
    pub evidence: Vec<String>,
    /// Why it got no farther.
    pub reason: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Rows of the screen that led to it.
    pub screen: Vec<String>,
    /// What the agent CLI made another of on the way.
    pub altered: Vec<String>,
    /// The file that it went as.
    pub as_file: Option<std::path::PathBuf>,
    /// What was changed in the text before it was stored.
    pub dropped: Vec<Dropped>,
    /// What the agent said last in the turn.
    pub answer: Option<String>,
    /// What is known of an attempt that stopped.
    #[serde(skip_serializing_if = "Standing::is_unknown")]
    pub standing: Standing,
    /// How often it was taken back out of the agent's box.
    #[serde(skip_serializing_if = "is_zero")]
    pub taken_back: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// What is known of a message in [`Stage::Typed`] beyond that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Nothing: it may have been submitted.
    #[default]
    Unknown,
    /// mosaic certainly did not press Enter on it.
    Unentered,
    /// The same, and the box is empty again. What is left to rule out is a person's Enter.
    Emptied,
}

impl Standing {
    #[allow(clippy::trivially_copy_pass_by_ref)]
    const fn is_unknown(&self) -> bool {
        matches!(self, Standing::Unknown)
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its id: the sender's, or made for it. Never delivered twice.
    pub id: String,
    /// To whom.
    pub agent: String,
    /// Order of acceptance.
    pub seq: i64,
    /// Counts changes, so that a change based on an old reading is refused.
    #[serde(skip)]
    pub revision: i64,
    /// Who sends.
    pub sender: String,
    /// The sender's host, short.
    pub host: String,
    /// The chat that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat: Option<String>,
    /// The text as given, cleaned.
    pub text: String,
    /// How it is to be delivered.
    pub options: Options,
    /// How far it has come.
    pub stage: Stage,
    /// Exactly what is put before the agent; set with `Typing`.
    pub composed: Option<String>,
    /// Where its record begins to be looked for; set with `Typing`.
    #[serde(skip)]
    pub mark: Option<Mark>,
    /// The way it went; set with `Typing`.
    pub channel: Option<ChannelKind>,
    /// What else is known.
    pub outcome: Outcome,
    /// When it was stored.
    pub created: Timestamp,
    /// Last change of its stage.
    pub changed: Timestamp,
    /// Not delivered after this.
    pub expires: Option<Timestamp>,
    /// How often it was tried.
    pub attempts: u32,
    /// Who handed it over last; set with `Typing`.
    #[serde(skip)]
    pub owner: Option<Owner>,
}

/// A message to be stored.
#[derive(Debug, Clone, Default)]
pub struct NewMessage {
    /// Its id; a random one when `None`.
    pub id: Option<String>,
    /// To whom.
    pub agent: String,
    /// Who sends.
    pub sender: String,
    /// The sender's host.
    pub host: String,
    /// The chat that it belongs to.
    pub chat: Option<String>,
    /// The cleaned text.
    pub text: String,
    /// What cleaning changed.
    pub dropped: Vec<Dropped>,
    /// How it is to be delivered.
    pub options: Options,
    /// Not delivered after this.
    pub expires: Option<Timestamp>,
}

impl Row {
    /// What a sender is told, who asked for `asked`.
    pub fn receipt(&self, asked: Rung, elapsed: std::time::Duration) -> Receipt {
        let out = &self.outcome;
        let reason = match self.stage {
            Stage::Cancelled => Some("it was cancelled before it was delivered".to_owned()),
            Stage::Expired => Some("its time was over before it could be delivered".to_owned()),
            _ => out.reason.clone(),
        };
        Receipt {
            version: crate::delivery::receipt::VERSION,
            id: self.id.clone(),
            agent: self.agent.clone(),
            chat: self.chat.clone(),
            receipt: self.stage.rung(),
            asked,
            evidence: out.evidence.clone(),
            reason,
            hint: out.hint.clone(),
            retry: false,
            screen: out.screen.clone(),
            dropped: out.dropped.clone(),
            altered: out.altered.clone(),
            as_file: out.as_file.clone(),
            answer: out.answer.clone(),
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            channel: self.channel.map(ChannelKind::as_str),
        }
    }

    /// Whether it is a command of the agent CLI.
    pub fn command(&self) -> bool {
        self.options.style == Style::Command
    }

    /// What is delivered, where an attempt has begun.
    pub fn outgoing(&self) -> Option<crate::delivery::channel::Outgoing<'_>> {
        Some(crate::delivery::channel::Outgoing {
            id: &self.id,
            text: self.composed.as_deref()?,
            command: self.command(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn stages_are_read_as_they_are_written() {
        for stage in Stage::ALL {
            assert_eq!(Stage::parse(stage.as_str()), Some(stage));
            assert!(!(stage.pending() && stage.dead()));
        }
        assert_eq!(Stage::parse("claimed"), None);
    }

    #[test]
    fn options_of_the_first_version_are_read() {
        let old = r#"{"version":1,"style":"bare","draft":"stash","as_file":true,"first":true}"#;
        let options: Options = serde_json::from_str(old).unwrap();
        assert_eq!(options.style, Style::Bare);
        assert_eq!(options.draft, Draft::Stash);
        assert!(options.as_file && options.first);
        let least: Options = serde_json::from_str(r#"{"version":1}"#).unwrap();
        assert_eq!(least, Options::default());
        let outcome: Outcome = serde_json::from_str("{}").unwrap();
        assert_eq!(outcome, Outcome::default());
    }
}
