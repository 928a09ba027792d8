//! What has to be done to get from the inventory to the desired state, and why. The planner is a
//! pure function; a plan leaves no choice to whoever executes it.

mod decide;
#[cfg(test)]
pub(crate) mod tests;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use decide::{Options, Scope, decide};

/// Version of a stored plan.
pub const VERSION: u32 = 1;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// What is done.
    #[serde(flatten)]
    pub what: What,
    /// Why.
    pub reason: String,
}

/// What can be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "action")]
pub enum What {
    /// Not possible until a person acts; apply does the rest and then fails.
    Blocked {
        /// What stands in the way of what.
        subject: String,
        /// What to type.
        hint: String,
    },
    /// To be done later: the agent must not be disturbed now.
    Deferred {
        /// Agent.
        agent: String,
    },
    /// Stop an agent.
    Stop {
        /// Agent.
        agent: String,
    },
    /// Close an agent's session.
    Close {
        /// Agent.
        agent: String,
    },
    /// Write a file.
    Write {
        /// Path.
        path: PathBuf,
    },
    /// Remove a file.
    Remove {
        /// Path.
        path: PathBuf,
    },
    /// Make a link.
    Link {
        /// Path.
        path: PathBuf,
        /// What it points to.
        target: PathBuf,
    },
    /// Remove a link.
    Unlink {
        /// Path.
        path: PathBuf,
    },
    /// Make the service manager read its unit files.
    Reload,
    /// Start the tmux server.
    StartServer,
    /// Start an agent.
    Start {
        /// Agent.
        agent: String,
    },
    /// Restart an agent.
    Restart {
        /// Agent.
        agent: String,
    },
}

impl What {
    /// Verb and object, for a table.
    pub fn words(&self) -> (&'static str, String) {
        let path = |p: &PathBuf| p.display().to_string();
        match self {
            What::Blocked { subject, .. } => ("blocked", subject.clone()),
            What::Deferred { agent } => ("deferred", agent.clone()),
            What::Stop { agent } => ("stop", agent.clone()),
            What::Close { agent } => ("close", agent.clone()),
            What::Write { path: p } => ("write", path(p)),
            What::Remove { path: p } => ("remove", path(p)),
            What::Link { path: p, .. } => ("link", path(p)),
            What::Unlink { path: p } => ("unlink", path(p)),
            What::Reload => ("reload", "service manager".into()),
            What::StartServer => ("start", "tmux server".into()),
            What::Start { agent } => ("start", agent.clone()),
            What::Restart { agent } => ("restart", agent.clone()),
        }
    }

    /// Phase of execution: stop, write, reload, start. Lower first.
    fn phase(&self) -> u8 {
        match self {
            What::Blocked { .. } | What::Deferred { .. } => 0,
            What::Stop { .. } => 1,
            What::Close { .. } => 2,
            What::Write { .. } | What::Link { .. } => 3,
            What::Remove { .. } | What::Unlink { .. } => 4,
            What::Reload => 5,
            What::StartServer => 6,
            What::Start { .. } => 7,
            What::Restart { .. } => 8,
        }
    }
}

/// A plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Format version.
    pub version: u32,
    /// What it was made from; apply refuses when that has changed.
    pub fingerprint: String,
    /// What was allowed when it was made.
    pub options: Options,
    /// In order of execution.
    pub actions: Vec<Action>,
}

impl Plan {
    /// Nothing to do and nothing put off.
    pub fn in_sync(&self) -> bool {
        self.actions.is_empty()
    }
}
