//! What is known of a message after an attempt to send it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::sanitise::Dropped;
use super::stop::Stop;
use crate::error::{EXIT_OK, Kind};

/// Version of the JSON form.
pub const VERSION: u32 = 1;

/// How far it got, as far as is proved.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Rung {
    /// Nothing was typed, and nothing will be.
    Refused,
    /// It is stored, and is delivered when the agent can take it.
    Queued,
    /// It was typed, in full or in part; that it was submitted is not proved.
    Typed,
    /// It may have been submitted; nothing proves it.
    Uncertain,
    /// The box held it and let it go.
    Submitted,
    /// The agent's own record shows it.
    Accepted,
    /// The turn that it began has ended.
    Answered,
}

impl Rung {
    /// As printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Rung::Refused => "refused",
            Rung::Queued => "queued",
            Rung::Typed => "typed",
            Rung::Uncertain => "uncertain",
            Rung::Submitted => "submitted",
            Rung::Accepted => "accepted",
            Rung::Answered => "answered",
        }
    }
}

/// The receipt. Its JSON form is what `--json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// Format version.
    pub version: u32,
    /// Of the message: the same at every attempt.
    pub id: String,
    /// To whom.
    pub agent: String,
    /// The chat that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat: Option<String>,
    /// How far it got.
    pub receipt: Rung,
    /// How far it was to get.
    pub asked: Rung,
    /// What proves it.
    pub evidence: Vec<String>,
    /// Why it got no farther.
    pub reason: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Time was up, and it may yet get farther by itself; or, if refused, at another try: nothing of it
    /// was delivered.
    pub retry: bool,
    /// Rows of the screen that led to a failure.
    pub screen: Vec<String>,
    /// What was changed in the text before it was sent.
    pub dropped: Vec<Dropped>,
    /// What the agent CLI itself changed: `tabs`, `blanks`, `wrapped`, `text`.
    pub altered: Vec<String>,
    /// The file that it went as.
    pub as_file: Option<PathBuf>,
    /// What the agent said last in the turn that it began, once answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// From call to receipt.
    pub elapsed_ms: u64,
    /// The way it went, or goes.
    pub channel: Option<&'static str>,
}

impl Receipt {
    /// Nothing was tried.
    pub fn refused(agent: &str, reason: String) -> Self {
        Self {
            version: VERSION,
            id: uuid::Uuid::new_v4().to_string(),
            agent: agent.to_owned(),
            chat: None,
            receipt: Rung::Refused,
            asked: Rung::Submitted,
            evidence: Vec::new(),
            reason: Some(reason),
            hint: None,
            retry: false,
            screen: Vec::new(),
            dropped: Vec::new(),
            altered: Vec::new(),
            as_file: None,
            answer: None,
            elapsed_ms: 0,
            channel: None,
        }
    }

    /// Refused for this reason.
    pub fn stopped(agent: &str, stop: Stop) -> Self {
        Self {
            hint: stop.hint,
            retry: stop.retry,
            screen: stop.seen,
            ..Self::refused(agent, stop.reason)
        }
    }

    /// It got as far as was asked for.
    pub fn succeeded(&self) -> bool {
        self.receipt >= self.asked
            && !matches!(self.receipt, Rung::Refused | Rung::Uncertain)
            && (self.receipt != Rung::Typed || self.asked < Rung::Typed)
    }

    /// Exit status: 0 for the receipt asked for or a better one, 75 where time was up, else 1.
    pub fn exit_code(&self) -> u8 {
        if self.succeeded() {
            EXIT_OK
        } else if self.retry {
            Kind::Busy.exit_code()
        } else {
            Kind::No.exit_code()
        }
    }

    /// One line for a person; the hint is left to the caller.
    pub fn line(&self) -> String {
        let mut line = match &self.chat {
            Some(chat) => format!("{chat} on {}: {}", self.agent, self.receipt.as_str()),
            None => format!("{}: {}", self.agent, self.receipt.as_str()),
        };
        match &self.reason {
            Some(reason) => line.push_str(&format!(": {reason}")),
            None if self.evidence.is_empty() => {
                line.push_str(&format!(" in {} ms", self.elapsed_ms));
            }
            None => line.push_str(&format!(
                " in {} ms ({})",
                self.elapsed_ms,
                self.evidence.join("; ")
            )),
        }
        if let Some(file) = &self.as_file {
            line.push_str(&format!("; as file {}", file.display()));
        }
        if !self.altered.is_empty() {
            line.push_str(&format!("; altered: {}", self.altered.join(", ")));
        }
        if !self.dropped.is_empty() {
            let parts: Vec<String> = self
                .dropped
                .iter()
                .map(|d| {
                    format!(
                        "{} {}",
                        d.count,
                        serde_json::to_string(&d.kind)
                            .unwrap_or_default()
                            .trim_matches('"')
                    )
                })
                .collect();
            line.push_str(&format!("; changed: {}", parts.join(", ")));
        }
        line
    }
}

impl std::fmt::Display for Receipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.line())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::delivery::sanitise::Kind as Changed;

    fn receipt(rung: Rung, retry: bool, reason: Option<&str>) -> Receipt {
        Receipt {
            id: "i".into(),
            receipt: rung,
            asked: Rung::Submitted,
            evidence: vec!["the box let it go".into(), "reported by the agent".into()],
            reason: reason.map(str::to_owned),
            retry,
            dropped: vec![Dropped {
                kind: Changed::Escape,
                count: 2,
            }],
            elapsed_ms: 120,
            ..Receipt::refused("coder0", String::new())
        }
    }

    #[test]
    fn the_exit_code_follows_the_receipt() {
        let code = |rung, retry| receipt(rung, retry, None).exit_code();
        assert_eq!(code(Rung::Accepted, false), 0);
        assert_eq!(code(Rung::Submitted, false), 0);
        assert_eq!(code(Rung::Typed, false), 1);
        assert_eq!(code(Rung::Refused, false), 1);
        assert_eq!(code(Rung::Refused, true), 75);
        let asked = |rung, asked, retry| {
            Receipt {
                asked,
                ..receipt(rung, retry, None)
            }
            .exit_code()
        };
        assert_eq!(asked(Rung::Submitted, Rung::Accepted, true), 75);
        assert_eq!(asked(Rung::Queued, Rung::Queued, false), 0);
        assert_eq!(asked(Rung::Typed, Rung::Queued, false), 0);
        assert_eq!(asked(Rung::Queued, Rung::Accepted, true), 75);
        assert_eq!(asked(Rung::Uncertain, Rung::Queued, false), 1);
        assert_eq!(asked(Rung::Refused, Rung::Queued, false), 1);
    }

    #[test]
    fn forms_for_people_and_programs() {
        assert_eq!(
            receipt(Rung::Accepted, false, None).line(),
            "coder0: accepted in 120 ms (the box let it go; reported by the agent); changed: 2 escape"
        );
        assert_eq!(
            receipt(Rung::Typed, false, Some("not proved")).line(),
            "coder0: typed: not proved; changed: 2 escape"
        );
        let of_a_chat = Receipt {
            chat: Some("ISSUE-12".into()),
            ..receipt(Rung::Typed, false, Some("not proved"))
        };
        assert!(of_a_chat.line().starts_with("ISSUE-12 on coder0: typed"));
        assert_eq!(serde_json::to_value(of_a_chat).unwrap()["chat"], "ISSUE-12");
        let json = serde_json::to_value(receipt(Rung::Refused, true, Some("busy"))).unwrap();
        assert_eq!(json["receipt"], "refused");
        assert_eq!(json["dropped"][0]["kind"], "escape");
        assert_eq!(json["retry"], true);
    }
}
