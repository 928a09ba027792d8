//! Waits until an agent that was just started can be used: it stands at its prompt, or its server
//! answers. What the unit's post-start step and `reset` wait for.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::channel::ChannelKind;
use crate::error::{Error, Result};
use crate::install::Install;
use crate::launch::Launch;
use crate::record::Run;
use crate::report::What;
use crate::state::account;
use crate::state::look::look;
use crate::state::observe::answers;
use crate::state::screen::{Rules, Seen};
use crate::state::{Evidence, Source, State, question};
use crate::terminal::pane;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(25);

/// The prompt, or a dialog, must stay this long: some agent CLIs draw a first box and clear it again.
const STEADY: Duration = Duration::from_millis(100);

/// A dialog at the start (trust this folder?) waits for a person; there is no use in waiting with it.
const DIALOG_STEADY: Duration = Duration::from_secs(1);

/// For one health probe.
const PROBE: Duration = Duration::from_secs(1);

/// How an agent stands at the end of the wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ready {
    /// `idle` when it is ready; `waiting` with a dialog open; `starting` when time ran out; `unknown`
    /// where nothing can tell, which is as ready as it gets.
    pub state: State,
    /// Why.
    pub evidence: Evidence,
    /// Milliseconds since the call.
    pub after_ms: u64,
}

impl Ready {
    /// Whether the agent can be used, as far as anything can tell.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Idle | State::Unknown)
    }

    /// What it does and why that is believed, for a person.
    pub fn describe(&self) -> String {
        format!("{}: {}", self.state, self.evidence.what)
    }
}

/// Waits at most `timeout`.
///
/// # Errors
/// The agent's process is gone, or it never recorded a start.
pub fn wait_ready(install: &Install, launch: &Launch, timeout: Duration) -> Result<Ready> {
    let begun = Instant::now();
    let agent = launch.agent.name.as_str();
    let done = |state, source, what: String| Ready {
        state,
        evidence: Evidence {
            source,
            what,
            since: None,
        },
        after_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    let spec = &launch.agent.spec;
    let rules = spec.screen.as_ref().map(Rules::compile).transpose()?;
    // What takes messages past the screen says itself when it does.
    let speaks = spec.reports.is_some()
        && spec
            .channels
            .as_ref()
            .and_then(|c| c.first())
            .is_some_and(|c| *c != ChannelKind::Paste);
    let mut box_since: Option<Instant> = None;
    let mut dialog_since: Option<Instant> = None;
    loop {
        let run = Run::load(&install.paths, agent)?
            .ok_or_else(|| Error::no(format!("`{agent}` did not start: it recorded nothing")))?;
        if !run.alive() {
            return Err(Error::no(format!(
                "`{agent}` ended before it was ready: process {} is gone",
                run.pid
            ))
            .hint(format!("run `mosaic agent tail {agent}`")));
        }
        let late = begun.elapsed() >= timeout;
        if let Some(path) = spec.health_path() {
            match answers(install, agent, path, PROBE) {
                Ok(what) => return Ok(done(State::Idle, Source::Report, what)),
                Err(why) if late => return Ok(done(State::Starting, Source::Report, why)),
                Err(_) => {}
            }
        } else if speaks {
            match reported(install, launch, &run) {
                Some((state, what)) => return Ok(done(state, Source::Report, what)),
                None if late => {
                    let what = "it has reported nothing".to_owned();
                    return Ok(done(State::Starting, Source::Report, what));
                }
                None => {}
            }
        } else if let Some(rules) = &rules {
            let seen = seen(install, agent, rules);
            let since =
                |flag: bool, old: Option<Instant>| flag.then(|| old.unwrap_or_else(Instant::now));
            box_since = since(seen.as_ref().is_some_and(|s| s.input.is_some()), box_since);
            dialog_since = since(
                seen.as_ref().is_some_and(|s| s.dialog.is_some()),
                dialog_since,
            );
            let steady = STEADY.max(Duration::from_millis(rules.data.settle_ms));
            if box_since.is_some_and(|t| t.elapsed() >= steady) {
                return Ok(done(
                    State::Idle,
                    Source::Screen,
                    "the input box is there".into(),
                ));
            }
            if let Some(seen) = &seen
                && dialog_since.is_some_and(|t| late || t.elapsed() >= DIALOG_STEADY)
            {
                return Ok(done(State::Waiting, Source::Screen, question(seen)));
            }
            if late {
                let what = seen.and_then(|s| s.foot.last().cloned()).map_or_else(
                    || "no input box: the screen is blank".to_owned(),
                    |row| format!("no input box: the screen ends in `{}`", row.trim()),
                );
                return Ok(done(State::Starting, Source::Screen, what));
            }
        } else {
            return Ok(done(
                State::Unknown,
                Source::Unit,
                "its process runs; its runtime has no way to tell more".into(),
            ));
        }
        std::thread::sleep(LOOK);
    }
}

/// What an agent reported of itself since this start.
fn reported(install: &Install, launch: &Launch, run: &Run) -> Option<(State, String)> {
    let reports = account::last(install, launch, Some(run.started)).ok()?;
    match &reports.last()?.what {
        What::Waiting { question } => Some((State::Waiting, question.clone())),
        _ => Some((State::Idle, "it reports that it is there".to_owned())),
    }
}

fn seen(install: &Install, agent: &str, rules: &Rules) -> Option<Seen> {
    let tmux = install.tmux();
    let panes = tmux.panes().ok()?;
    let pane::Found::Ours(pane) = pane::find(&panes, agent) else {
        return None;
    };
    look(&tmux, pane, rules).ok()
}
