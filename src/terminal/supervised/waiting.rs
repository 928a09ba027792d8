//! Waiting until supervisors have done what they were told, by their records.

use std::time::{Duration, Instant};

use super::{Done, LOOK};
use crate::error::{Error, Result};
use crate::host::manager::Job;
use crate::host::procfs;
use crate::install::Install;
use crate::terminal::pane::{Found, find};
use crate::terminal::supervise::status::{State, Status};

/// Between two looks whether the panes of new supervisors are still there. Only one that cannot even
/// begin closes its pane, so this need not be quick.
const PANES: Duration = Duration::from_millis(500);

/// What was known of an agent's supervisor when it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// It had made so many starts; the next one is meant.
    Starts {
        /// The supervisor's process.
        pid: i32,
        /// Starts it had made.
        starts: u32,
    },
    /// The supervisor is just being made. A record by this process, which may still be ending, is a
    /// predecessor's.
    Another {
        /// Process and its start in clock ticks.
        than: Option<(i32, u64)>,
    },
    /// It lives, and its record is lost; it writes a new one when it has done what it was told.
    Unrecorded {
        /// The supervisor's process.
        pid: i32,
        /// Its start in clock ticks.
        start_ticks: u64,
    },
}

impl Before {
    /// A living supervisor that had made so many starts.
    pub fn of(status: &Status, starts: u32) -> Self {
        Before::Starts {
            pid: status.pid,
            starts,
        }
    }

    /// Any supervisor but the one of this record.
    pub fn another_than(status: Option<&Status>) -> Self {
        Before::Another {
            than: status.map(|s| (s.pid, s.start_ticks)),
        }
    }
}

/// One agent that is waited for.
#[derive(Debug)]
pub struct Wanted {
    agent: String,
    before: Before,
    result: Option<&'static str>,
    error: Option<Error>,
}

impl Wanted {
    /// An agent whose supervisor was told, or could not be.
    pub fn new(agent: &str, told: Result<Before>) -> Self {
        let (before, error) = match told {
            Ok(before) => (before, None),
            Err(e) => (Before::Another { than: None }, Some(e)),
        };
        Self {
            agent: agent.to_owned(),
            before,
            result: error.is_some().then_some("failed"),
            error,
        }
    }

    fn fail(&mut self, error: Error) {
        self.result = Some("failed");
        self.error = Some(error);
    }
}

/// Waits until each agent was started or has died of it.
pub fn for_starts(install: &Install, mut wanted: Vec<Wanted>, timeout: Duration) -> Vec<Done> {
    let deadline = Instant::now() + timeout;
    let mut next_panes = Instant::now() + PANES;
    while look(install, &mut wanted, started) && Instant::now() < deadline {
        if Instant::now() >= next_panes {
            missing_panes(install, &mut wanted);
            next_panes = Instant::now() + PANES;
        }
        std::thread::sleep(LOOK);
    }
    done(install, wanted)
}

/// Waits until each agent is down.
pub fn for_stops(install: &Install, mut wanted: Vec<Wanted>, timeout: Duration) -> Vec<Done> {
    let deadline = Instant::now() + timeout;
    while look(install, &mut wanted, stopped) && Instant::now() < deadline {
        std::thread::sleep(LOOK);
    }
    done(install, wanted)
}

/// Whether a stop has come to an end: `None` as long as it has not.
fn stopped(status: Option<&Status>, before: Before) -> Option<&'static str> {
    let status = status.filter(|s| s.alive());
    match (status, before) {
        (Some(s), _) if s.state != State::Stopped => None,
        (None, Before::Unrecorded { pid, start_ticks }) if procfs::is_same(pid, start_ticks) => {
            None
        }
        _ => Some("done"),
    }
}

/// Whether a start has come to an end: `None` as long as it has not.
fn started(status: Option<&Status>, before: Before) -> Option<&'static str> {
    let status = status.filter(|s| s.this_boot())?;
    let alive = status.alive();
    match before {
        Before::Starts { pid, starts } if status.pid == pid && status.starts <= starts => {
            return (!alive).then_some("failed");
        }
        Before::Another { than } if !alive || than == Some((status.pid, status.start_ticks)) => {
            return None;
        }
        _ => {}
    }
    match status.state {
        State::Running => Some("done"),
        State::Starting | State::Stopping => (!alive).then_some("failed"),
        State::Stopped if status.last.as_ref().is_some_and(|e| e.clean()) => Some("done"),
        State::Stopped | State::Backoff | State::Failed => Some("failed"),
    }
}

/// One look at the records; true as long as something is waited for.
fn look(
    install: &Install,
    wanted: &mut [Wanted],
    settled: impl Fn(Option<&Status>, Before) -> Option<&'static str>,
) -> bool {
    let mut waiting = false;
    for one in wanted.iter_mut().filter(|w| w.result.is_none()) {
        match Status::load(&install.paths, &one.agent) {
            Ok(status) => one.result = settled(status.as_ref(), one.before),
            Err(e) => one.fail(e),
        }
        waiting |= one.result.is_none();
    }
    waiting
}

/// Gives up on agents whose pane is not there (any more).
fn missing_panes(install: &Install, wanted: &mut [Wanted]) {
    let Ok(panes) = install.tmux().panes() else {
        return;
    };
    for one in wanted.iter_mut().filter(|w| w.result.is_none()) {
        if matches!(find(&panes, &one.agent), Found::Vacant | Found::Missing) {
            let mosaic = install.mosaic.display();
            one.fail(
                Error::no(format!("the pane of `{}` closed at once", one.agent))
                    .hint(format!("does `{mosaic} --version` run?")),
            );
        }
    }
}

fn done(install: &Install, wanted: Vec<Wanted>) -> Vec<Done> {
    wanted
        .into_iter()
        .map(|w| Done {
            job: Job {
                unit: install.agent_unit(&w.agent),
                result: w.result.unwrap_or("timeout").to_owned(),
            },
            agent: w.agent,
            error: w.error,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::supervise::status::{Ended, VERSION};

    #[test]
    fn a_start_is_over_when_this_start_is() {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let ticks = procfs::stat(own).map_or(0, |s| s.start);
        let new = Before::Another { than: None };
        let predecessor = Before::Another {
            than: Some((own, ticks)),
        };
        let after = |starts| Before::Starts { pid: own, starts };
        let clean = Some(Ended::exited(0));
        let dead = Some(Ended::exited(3));
        let table = [
            (new, State::Running, None, true, Some("done")),
            (new, State::Running, None, false, None),
            (new, State::Starting, None, true, None),
            (new, State::Backoff, None, true, Some("failed")),
            (predecessor, State::Failed, None, true, None),
            (after(3), State::Running, None, true, None),
            (after(2), State::Running, None, true, Some("done")),
            (after(2), State::Starting, None, true, None),
            (after(2), State::Starting, None, false, Some("failed")),
            (after(3), State::Failed, None, true, None),
            (after(3), State::Failed, None, false, Some("failed")),
            (after(2), State::Failed, dead.clone(), true, Some("failed")),
            (after(2), State::Stopped, clean, true, Some("done")),
            (after(2), State::Stopped, dead, true, Some("failed")),
        ];
        for (before, state, last, alive, want) in table {
            let status = Status {
                version: VERSION,
                pid: own,
                start_ticks: if alive { ticks } else { ticks + 1 },
                boot: procfs::boot_id(),
                pane: "%1".into(),
                state,
                child: None,
                starts: 3,
                restarts: 0,
                last,
                since: jiff::Timestamp::UNIX_EPOCH,
                next_start: None,
            };
            assert_eq!(
                started(Some(&status), before),
                want,
                "{before:?} {state:?} {alive}"
            );
        }
        assert_eq!(started(None, new), None);
    }
}
