//! What a supervisor says of itself: a small record that it rewrites at each change, for `status`
//! and for those who wait for a start or a stop.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::process::WaitStatus;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::host::{files, procfs};
use crate::paths::Paths;
use crate::terminal::stopped::Ending;

/// Version written; older ones must load for ever.
pub const VERSION: u32 = 1;

/// Exit statuses that agents end with when they are asked to stop, as the units' `SuccessExitStatus=`.
const CLEAN_STATUSES: [i32; 3] = [0, 129, 143];
/// HUP, INT, PIPE, TERM: what systemd counts as a clean end.
const CLEAN_SIGNALS: [i32; 4] = [1, 2, 13, 15];

/// What a supervisor is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The agent was started and is not ready yet.
    Starting,
    /// The agent runs.
    Running,
    /// The agent died and is started again at `next_start`.
    Backoff,
    /// The agent is told to end.
    Stopping,
    /// It is down because somebody stopped it, or because it was done.
    Stopped,
    /// It is down because it could not be kept up.
    Failed,
}

/// How an agent ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// systemd's word (`success`, `exit-code`, `signal`, `core-dump`, `timeout`, `start-limit-hit`),
    /// or `resources` (it could not be started at all), `pane-closed`, `supervisor-gone`.
    pub result: String,
    /// `si_code`: 1 exited, 2 killed, 3 dumped; 0 for neither.
    pub code: i32,
    /// Exit status, or the signal's number.
    pub status: i32,
}

impl Ended {
    /// It ended by itself with an exit status.
    pub fn exited(status: i32) -> Self {
        let clean = CLEAN_STATUSES.contains(&status);
        Self {
            result: if clean { "success" } else { "exit-code" }.into(),
            code: 1,
            status,
        }
    }

    /// A signal ended it.
    pub fn killed(signal: i32, dumped: bool) -> Self {
        let result = match dumped {
            true => "core-dump",
            false if CLEAN_SIGNALS.contains(&signal) => "success",
            false => "signal",
        };
        Self {
            result: result.into(),
            code: if dumped { 3 } else { 2 },
            status: signal,
        }
    }

    /// Nothing was started.
    pub fn never_ran(result: &str) -> Self {
        Self {
            result: result.into(),
            code: 0,
            status: 0,
        }
    }

    /// From wait(2).
    pub fn of(status: WaitStatus) -> Self {
        // wait(2): the bit 0x80 of a signalled status says that a core was dumped.
        match status.terminating_signal() {
            Some(signal) => Self::killed(signal, status.as_raw() & 0x80 != 0),
            None => Self::exited(status.exit_status().unwrap_or(-1)),
        }
    }

    /// The same end with another result.
    #[must_use]
    pub fn with_result(mut self, result: &str) -> Self {
        self.result = result.into();
        self
    }

    /// The exit status, if it ended with one.
    pub fn exit_status(&self) -> Option<i32> {
        (self.code == 1).then_some(self.status)
    }

    /// Whether systemd would call this end clean.
    pub fn clean(&self) -> bool {
        match self.code {
            1 => CLEAN_STATUSES.contains(&self.status),
            2 => CLEAN_SIGNALS.contains(&self.status),
            _ => false,
        }
    }

    /// In the words systemd gives to `ExecStopPost=`.
    pub fn words(&self) -> Ending {
        let signal = || match signal_hook::low_level::signal_name(self.status) {
            Some(name) => name.trim_start_matches("SIG").to_owned(),
            None => self.status.to_string(),
        };
        let (code, status) = match self.code {
            1 => ("exited", self.status.to_string()),
            2 => ("killed", signal()),
            3 => ("dumped", signal()),
            _ => ("", String::new()),
        };
        Ending {
            result: self.result.clone(),
            code: code.into(),
            status,
        }
    }
}

/// The record, at [`Paths::supervisor`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Format version.
    pub version: u32,
    /// The supervisor's process.
    pub pid: i32,
    /// Its start in clock ticks.
    pub start_ticks: u64,
    /// The boot.
    pub boot: String,
    /// Its pane.
    pub pane: String,
    /// What it is doing.
    pub state: State,
    /// The agent's process.
    pub child: Option<i32>,
    /// Starts this supervisor has made: who asked for one sees the number grow.
    pub starts: u32,
    /// Automatic restarts since the last start by hand.
    pub restarts: u32,
    /// How the agent ended last.
    pub last: Option<Ended>,
    /// Since when `state` holds.
    pub since: jiff::Timestamp,
    /// When the agent is started again, in [`State::Backoff`].
    pub next_start: Option<jiff::Timestamp>,
}

impl Status {
    /// Whether the supervisor lives.
    pub fn alive(&self) -> bool {
        self.this_boot() && procfs::is_same(self.pid, self.start_ticks)
    }

    /// Whether the record is of this boot.
    pub fn this_boot(&self) -> bool {
        self.boot == procfs::boot_id()
    }

    /// Reads an agent's record; `None` when it never had a supervisor.
    ///
    /// # Errors
    /// Damaged.
    pub fn load(paths: &Paths, agent: &str) -> Result<Option<Self>> {
        files::read_json(&paths.supervisor(agent))
    }

    /// Reads all records, by agent. Those that cannot be read are left out, and said so in the log.
    pub fn load_all(paths: &Paths) -> BTreeMap<String, Self> {
        let names = std::fs::read_dir(paths.supervisors())
            .map(|d| d.flatten().map(|e| e.file_name()).collect::<Vec<_>>())
            .unwrap_or_default();
        names
            .iter()
            .filter_map(|n| Path::new(n).to_str()?.strip_suffix(".json"))
            .filter(|agent| crate::names::check(agent).is_ok())
            .filter_map(|agent| match Self::load(paths, agent) {
                Ok(status) => Some((agent.to_owned(), status?)),
                Err(e) => {
                    tracing::warn!("{e}");
                    None
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn endings_in_systemds_words() {
        let words = |e: Ended| {
            let w = e.words();
            (w.result, w.code, w.status)
        };
        let want = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(words(Ended::exited(3)), want("exit-code", "exited", "3"));
        assert_eq!(words(Ended::exited(143)), want("success", "exited", "143"));
        assert_eq!(
            words(Ended::killed(1, false)),
            want("success", "killed", "HUP")
        );
        assert_eq!(
            words(Ended::killed(9, false)),
            want("signal", "killed", "KILL")
        );
        assert_eq!(
            words(Ended::killed(11, true)),
            want("core-dump", "dumped", "SEGV")
        );
        assert_eq!(
            words(Ended::killed(40, false)),
            want("signal", "killed", "40")
        );
        assert_eq!(
            words(Ended::never_ran("resources")),
            want("resources", "", "")
        );
    }

    #[test]
    fn the_first_format_loads() {
        let text = r#"{"version":1,"pid":7,"start_ticks":12,"boot":"b","pane":"%3","state":"backoff","child":null,
            "starts":2,"restarts":1,"last":{"result":"exit-code","code":1,"status":3},
            "since":"2026-01-02T03:04:05Z","next_start":"2026-01-02T03:04:07Z"}"#;
        let status: Status = serde_json::from_str(text).unwrap();
        assert_eq!(
            (status.state, status.last),
            (State::Backoff, Some(Ended::exited(3)))
        );
    }
}
