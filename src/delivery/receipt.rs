//! What is known of a message after an attempt to send it.

use serde::Serialize;

use super::sanitise::Dropped;
use crate::error::{EXIT_OK, Kind};

/// How far it got, as far as is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
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
    /// Of this attempt.
    pub id: String,
    /// To whom.
    pub agent: String,
    /// How far it got.
    pub receipt: Rung,
    /// What proves it.
    pub evidence: Vec<String>,
    /// Why it got no farther, where that is a failure.
    pub reason: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Trying again may help: nothing was typed.
    pub retry: bool,
    /// Rows of the screen that led to a failure.
    pub screen: Vec<String>,
    /// What was changed in the text before it was sent.
    pub dropped: Vec<Dropped>,
    /// From call to receipt.
    pub elapsed_ms: u64,
    /// The way it went.
    pub channel: &'static str,
}

impl Receipt {
    /// Nothing was tried.
    pub fn refused(agent: &str, reason: String) -> Self {
        Self {
            id: uuid::Uuid::new_v4().to_string(),
            agent: agent.to_owned(),
            receipt: Rung::Refused,
            evidence: Vec::new(),
            reason: Some(reason),
            hint: None,
            retry: false,
            screen: Vec::new(),
            dropped: Vec::new(),
            elapsed_ms: 0,
            channel: "paste",
        }
    }

    /// The message was proved to be submitted.
    pub fn succeeded(&self) -> bool {
        self.receipt >= Rung::Submitted
    }

    /// Exit status: 0 submitted or better, 75 where trying again may help, else 1.
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
        let mut line = format!("{}: {}", self.agent, self.receipt.as_str());
        match &self.reason {
            Some(reason) => line.push_str(&format!(": {reason}")),
            None => line.push_str(&format!(
                " in {} ms ({})",
                self.elapsed_ms,
                self.evidence.join("; ")
            )),
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
            agent: "coder0".into(),
            receipt: rung,
            evidence: vec!["the box let it go".into(), "reported by the agent".into()],
            reason: reason.map(str::to_owned),
            hint: None,
            retry,
            screen: vec![],
            dropped: vec![Dropped {
                kind: Changed::Escape,
                count: 2,
            }],
            elapsed_ms: 120,
            channel: "paste",
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
        let json = serde_json::to_value(receipt(Rung::Refused, true, Some("busy"))).unwrap();
        assert_eq!(json["receipt"], "refused");
        assert_eq!(json["dropped"][0]["kind"], "escape");
        assert_eq!(json["retry"], true);
    }
}
