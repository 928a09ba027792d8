//! What becomes of a reset: its ways, and the report about one.

use serde::Serialize;

use crate::delivery::receipt::Receipt;
use crate::error::{EXIT_OK, Kind};

/// The way to an empty context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The runtime's command that empties the context.
    Clear,
    /// The runtime's command that begins a new conversation.
    New,
    /// A new process with a new conversation.
    Restart,
}

impl Mode {
    /// As printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Clear => "clear",
            Mode::New => "new",
            Mode::Restart => "restart",
        }
    }
}

/// What became of a reset. Its JSON form is what `--json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResetReport {
    /// Which agent.
    pub agent: String,
    /// The way that was asked for.
    pub asked: Mode,
    /// The way that was taken; another one where the runtime has no command for it.
    pub mode: Mode,
    /// Why another way was taken than was asked for.
    pub fell_back: Option<String>,
    /// The context is proved to be empty.
    pub reset: bool,
    /// What proves it, and what was done.
    pub evidence: Vec<String>,
    /// The new conversation, where the agent named it.
    pub conversation: Option<String>,
    /// Why it failed.
    pub reason: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Trying again may help: nothing was done.
    pub retry: bool,
    /// What became of the kickstart; `None` where none is sent.
    pub kickstart: Option<Receipt>,
    /// From call to report.
    pub elapsed_ms: u64,
}

impl ResetReport {
    /// Exit status: 0 reset, and the kickstart submitted where there is one; 75 where trying again may
    /// help; else 1.
    pub fn exit_code(&self) -> u8 {
        match (&self.kickstart, self.reset) {
            (None, true) => EXIT_OK,
            (Some(receipt), true) if receipt.succeeded() => EXIT_OK,
            (_, false) if self.retry => Kind::Busy.exit_code(),
            _ => Kind::No.exit_code(),
        }
    }

    /// The context is empty, and the kickstart submitted where there is one.
    pub fn done(&self) -> bool {
        self.exit_code() == EXIT_OK
    }

    /// One line for a person; hints are left to the caller.
    pub fn line(&self) -> String {
        let agent = &self.agent;
        let fell_back = match &self.fell_back {
            Some(why) => format!(" ({why})"),
            None => String::new(),
        };
        let mut line = match &self.reason {
            Some(reason) => format!("{agent}: not reset: {reason}"),
            None => format!(
                "{agent}: {}{fell_back} in {} ms ({})",
                self.mode.as_str(),
                self.elapsed_ms,
                self.evidence.join("; ")
            ),
        };
        match &self.kickstart {
            Some(r) if r.succeeded() => {
                line.push_str(&format!("; kickstart {}", r.receipt.as_str()))
            }
            Some(r) => line.push_str(&format!(
                "; kickstart {}: {}",
                r.receipt.as_str(),
                r.reason.as_deref().unwrap_or_default()
            )),
            None => {}
        }
        line
    }
}

impl std::fmt::Display for ResetReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.line())
    }
}
