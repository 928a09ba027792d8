//! What is left on the screen and in the log when an agent has ended: the unit's `ExecStopPost=`
//! step, or the supervisor's.

use std::path::Path;

use super::pane::recorded;
use crate::error::Result;
use crate::host::tty;
use crate::install::Install;
use crate::record::{self, What};

pub use crate::record::Ending;

impl Ending {
    /// From the environment systemd gives to `ExecStopPost=`.
    pub fn from_env(var: &dyn Fn(&str) -> Option<String>) -> Self {
        let get = |key| var(key).unwrap_or_default();
        Self {
            result: get("SERVICE_RESULT"),
            code: get("EXIT_CODE"),
            status: get("EXIT_STATUS"),
        }
    }
}

/// Leaves a line on the agent's pane and logs the event.
///
/// # Errors
/// No install record. A pane that is gone is no error.
pub fn stopped(state: &Path, agent: &str, ending: &Ending) -> Result<()> {
    let install = Install::require(state)?;
    log(&install, agent, ending);
    if let Some(free) = recorded(&install, agent)
        && let Ok(file) = tty::open(&free.tty)
    {
        leave(&file, agent, ending, "");
    }
    Ok(())
}

/// Puts an agent's end into the event log.
pub fn log(install: &Install, agent: &str, ending: &Ending) {
    record::event(
        &install.paths,
        agent,
        What::Exited {
            how: ending.code.clone(),
            status: ending.status.clone(),
            result: ending.result.clone(),
        },
    );
}

/// Leaves the alternate screen of a program that died in it (it would look alive), and writes a
/// line saying what happened and, where given, what comes next.
pub fn leave(tty: &std::fs::File, agent: &str, ending: &Ending, next: &str) {
    let now = jiff::Zoned::now().strftime("%H:%M:%S");
    let what = format!("{agent} ended at {now}: {}{next}", ending.describe());
    let _ = tty::write_all(tty, tty::LEAVE);
    banner(tty, &what);
}

/// Writes a line of mosaic's own on a pane.
pub fn banner(tty: &std::fs::File, text: &str) {
    // A program that died may have left the terminal without output processing: CR and LF both.
    let _ = tty::write_all(
        tty,
        format!("\r\n\x1b[2m── {text} ──\x1b[0m\r\n").as_bytes(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_in_words() {
        let e = |result: &str, code: &str, status: &str| {
            Ending {
                result: result.into(),
                code: code.into(),
                status: status.into(),
            }
            .describe()
        };
        assert_eq!(e("exit-code", "exited", "3"), "exit code 3");
        assert_eq!(e("signal", "killed", "KILL"), "killed by SIGKILL");
        assert_eq!(e("timeout", "", ""), "result timeout");
        assert_eq!(e("", "", ""), "ended");
    }
}
