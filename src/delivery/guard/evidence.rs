//! What the agent itself says of a message: its account, else its transcript.

use super::{ASKING, Target};
use crate::delivery::channel::{Found, Mark, find_in, same};
use crate::report::{self, Report, What};
use crate::state::account::{self, Account};
use crate::state::observe;

impl Target<'_> {
    /// Whether the agent keeps a record that can be read.
    pub fn records(&self) -> bool {
        self.reports.is_some() || self.launch.agent.spec.transcript.is_some()
    }

    /// Looks for a text in the agent's account, else in its transcript.
    pub fn find(&self, text: &str, mark: &Mark) -> Found {
        match find_in(&self.reported(mark), text) {
            Found::Nothing => self.found_in_transcript(text, mark),
            found => found,
        }
    }

    /// What is on record so far.
    pub fn mark(&self) -> Mark {
        Mark {
            account: self.reports.as_ref().map_or(0, Account::mark),
            session: None,
            process: None,
            transcript: observe::transcript(self.install, self.launch).map(|path| {
                let length = report::length(&path);
                (path, length)
            }),
        }
    }

    /// Whether the agent reported a text since the mark was set.
    pub fn prompted(&self, text: &str, mark: &Mark) -> bool {
        self.reported(mark)
            .iter()
            .any(|r| matches!(&r.what, What::Prompt { text: got } if same(got, text)))
    }

    /// Whether the agent said just now that it asks for approval, and nothing since.
    pub(super) fn about_to_ask(&self) -> bool {
        let reports = account::last(self.install, self.launch, None).unwrap_or_default();
        reports.last().is_some_and(|r| {
            // A time to come is a clock that was set back.
            matches!(r.what, What::Waiting { .. })
                && jiff::Timestamp::now().duration_since(r.time).abs() < ASKING
        })
    }

    /// What the agent reported since then; nothing where the file cannot be read.
    pub fn reported(&self, mark: &Mark) -> Vec<Report> {
        self.reports
            .as_ref()
            .and_then(|f| f.since(mark.account).ok())
            .unwrap_or_default()
    }

    /// Whether the transcript holds a text since the mark was set.
    pub fn in_transcript(&self, text: &str, mark: &Mark) -> bool {
        self.found_in_transcript(text, mark) != Found::Nothing
    }

    /// For agents whose reports are switched off. A conversation that began since the mark is read from
    /// its start.
    fn found_in_transcript(&self, text: &str, mark: &Mark) -> Found {
        let (Some(rule), Some(path)) = (
            &self.launch.agent.spec.transcript,
            observe::transcript(self.install, self.launch),
        ) else {
            return Found::Nothing;
        };
        let offset = match &mark.transcript {
            Some((old, length)) if *old == path => *length,
            _ => 0,
        };
        let lines = report::lines_since(&path, offset).unwrap_or_default();
        match observe::told(rule.format, &lines)
            .into_iter()
            .find(|got| same(got, text))
        {
            Some(got) => Found::Accepted {
                evidence: "the agent's transcript holds it".to_owned(),
                recorded: Some(got),
            },
            None => Found::Nothing,
        }
    }
}
