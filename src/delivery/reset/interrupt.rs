//! Breaks a turn off by the agent CLI's own key, where that was asked for.

use std::time::{Duration, Instant};

use super::ResetOptions;
use super::idle::{LOOK, wait_idle};
use crate::delivery::stop::Stop;
use crate::install::Install;
use crate::launch::Launch;
use crate::state::observe::Observation;
use crate::state::{State, observe};

/// How long a turn may take to end after the key. Some agent CLIs report nothing then, and their
/// screens are believed against their last report only after a moment.
const ENDING: Duration = Duration::from_secs(4);

/// Waits until the agent is idle, having broken its turn off where `options` ask for that. What was
/// done comes along.
///
/// # Errors
/// It is not idle in time, asks something, or its runtime names no key.
pub(super) fn at_rest(
    install: &Install,
    launch: &Launch,
    options: &ResetOptions,
) -> Result<(Observation, Option<String>), Stop> {
    let done = match options.interrupt {
        true => interrupt(install, launch)?,
        false => None,
    };
    Ok((wait_idle(install, launch, options.wait)?, done))
}

/// Presses the key while the agent is seen to work, and never otherwise: on an empty box it would
/// open a list, or end the program. A dialog is left to a person. The caller holds the pane. `None`: the
/// agent did not work, and nothing was done.
///
/// # Errors
/// It works on all the same, is not on its pane, or its runtime names no key.
pub fn interrupt(install: &Install, launch: &Launch) -> Result<Option<String>, Stop> {
    let agent = launch.agent.name.as_str();
    let tmux = install.tmux();
    let mut pressed = 0;
    loop {
        let panes = tmux.panes()?;
        let seen = observe(install, launch, &panes, true);
        let dialog = seen.screen.as_ref().is_some_and(|s| s.dialog.is_some());
        if seen.state != State::Working || dialog {
            // Anything else is judged by who waits for rest.
            break;
        }
        let Some(rule) = &launch.agent.spec.interrupt else {
            return Err(Stop::refused(format!(
                "runtime `{}` names no key that breaks a turn off",
                launch.agent.runtime
            ))
            .hint(format!(
                "wait for its end, or `mosaic agent reset {agent} --restart --force`"
            )));
        };
        if pressed >= rule.presses {
            return Err(Stop::busy(format!(
                "`{agent}` works on after {}: {}",
                times(&rule.key, pressed),
                seen.evidence.what
            ))
            .hint(format!(
                "`mosaic agent reset {agent} --restart --force` starts it anew"
            )));
        }
        let Some(pane) = seen.pane.filter(|p| seen.on_pane && !p.dead) else {
            return Err(Stop::refused(format!(
                "`{agent}` works, but does not sit on its pane"
            )));
        };
        if pane.in_mode {
            tmux.leave_mode(&pane.id)?;
        }
        tmux.key(&pane.id, &rule.key)?;
        pressed += 1;
        let since = Instant::now();
        while since.elapsed() < ENDING {
            std::thread::sleep(LOOK);
            let panes = tmux.panes()?;
            if observe(install, launch, &panes, true).state != State::Working {
                break;
            }
        }
    }
    let key = launch.agent.spec.interrupt.as_ref().map(|r| r.key.as_str());
    Ok((pressed > 0).then(|| {
        format!(
            "its turn was broken off by {}",
            times(key.unwrap_or_default(), pressed)
        )
    }))
}

fn times(key: &str, n: u32) -> String {
    match n {
        1 => format!("`{key}`"),
        n => format!("`{key}`, pressed {n} times"),
    }
}
