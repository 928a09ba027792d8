//! Waits until an agent is idle, for what must not fall into a turn.

use std::time::{Duration, Instant};

use crate::delivery::stop::{Reached, Stop};
use crate::install::Install;
use crate::launch::Launch;
use crate::state::observe::Observation;
use crate::state::{State, observe};

/// Between two looks at a state.
pub(super) const LOOK: Duration = Duration::from_millis(40);

/// Waits until the agent is idle, and tells how it was seen then.
pub(super) fn wait_idle(
    install: &Install,
    launch: &Launch,
    wait: Duration,
) -> Result<Observation, Stop> {
    let agent = launch.agent.name.as_str();
    let begun = Instant::now();
    let mut before = None;
    loop {
        let panes = install.tmux().panes()?;
        let seen = observe(install, launch, &panes, true);
        if seen.state == State::Idle {
            return Ok(seen);
        }
        let settled = before == Some(seen.state);
        let stop = |reason: String, hint: String, retry| Stop {
            reached: Reached::Nothing,
            reason,
            hint: Some(hint),
            retry,
            seen: seen
                .screen
                .as_ref()
                .map(|s| s.foot.clone())
                .unwrap_or_default(),
        };
        let attach = format!("look at it: `mosaic agent attach {agent}`");
        match seen.state {
            State::Waiting if settled => {
                return Err(stop(
                    format!("`{agent}` asks: {}", seen.evidence.what),
                    format!("answer it: `mosaic agent attach {agent}`"),
                    false,
                ));
            }
            State::Exited | State::Failed if settled => {
                return Err(stop(
                    format!("`{agent}` is not running: {}", seen.evidence.what),
                    format!("`mosaic fleet start {agent}`, or reset it with `--restart`"),
                    false,
                ));
            }
            State::Working if begun.elapsed() >= wait => {
                let hint = "wait for it to end its turn, give it longer with `--wait SECONDS`, or break it off with `--interrupt`"
                    .to_owned();
                return Err(stop(
                    format!("`{agent}` is working: {}", seen.evidence.what),
                    hint,
                    true,
                ));
            }
            state if begun.elapsed() >= wait && settled => {
                return Err(stop(
                    format!("`{agent}` is {state}, not idle: {}", seen.evidence.what),
                    attach,
                    true,
                ));
            }
            state => before = Some(state),
        }
        std::thread::sleep(LOOK);
    }
}

/// Refuses where somebody's text stands in the agent's box: a reset would destroy it.
pub(super) fn no_draft(agent: &str, seen: &Observation) -> Result<(), Stop> {
    match seen.draft() {
        None => Ok(()),
        Some(text) => Err(
            Stop::busy(format!("a draft stands in the box of `{agent}`: `{text}`"))
                .hint("send or clear it there; `--force` gives it up, by starting the agent anew"),
        ),
    }
}
