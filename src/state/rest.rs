//! Whether an agent is seen at rest after its last answer. For agents whose record of an answer does
//! not tell whether the turn ends with it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::look::look;
use super::screen::{Rules, Seen};
use crate::host::tmux::Tmux;
use crate::install::Install;
use crate::launch::Launch;
use crate::report::{Report, What};
use crate::terminal::pane;

/// The screen shows a tool call within this time after the answer that came with it.
const DRAWN: SignedDuration = SignedDuration::from_millis(150);

/// An agent's pane and the rules that read it.
#[derive(Debug, Clone)]
pub struct Rest {
    tmux: Tmux,
    agent: String,
    rules: Arc<Rules>,
}

impl Rest {
    /// That of an agent whose rules say that the screen tells the end of a turn.
    pub fn of(install: &Install, launch: &Launch) -> Option<Self> {
        let data = launch.agent.spec.screen.as_ref().filter(|d| d.ends_turn)?;
        Some(Self {
            tmux: install.tmux(),
            agent: launch.agent.name.to_string(),
            rules: Rules::shared(data).ok()?,
        })
    }

    /// Adds the end of the turn to reports that end in an answer, where the agent is seen at rest.
    pub fn end_turn(&self, reports: &mut Vec<Report>) {
        let now = Timestamp::now();
        let answered = reports
            .last()
            .is_some_and(|r| matches!(r.what, What::Answer { .. }) && settled(r.time, now));
        if answered && self.seen() {
            reports.push(Report {
                time: now,
                what: What::Idle,
            });
        }
    }

    fn seen(&self) -> bool {
        let Ok(panes) = self.tmux.panes() else {
            return false;
        };
        let pane::Found::Ours(pane) = pane::find(&panes, &self.agent) else {
            return false;
        };
        self.rules.title(&pane.title) != Some(true)
            && look(&self.tmux, pane, &self.rules).is_ok_and(|seen| at_rest(&seen))
    }
}

/// Whether a screen shows an agent that does nothing.
pub fn at_rest(seen: &Seen) -> bool {
    seen.input.is_some() && !seen.working && !seen.limited
}

/// Whether what followed an answer would be on the screen by now.
pub fn settled(answered: Timestamp, now: Timestamp) -> bool {
    now.duration_since(answered) >= DRAWN
}
