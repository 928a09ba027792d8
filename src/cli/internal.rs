//! What units, panes and hooks run. Not for people, and stable only as far as the units of the
//! same installation go.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use crate::delivery::codex::reporter;
use crate::delivery::{kickstart, ready, restarted};
use crate::demo;
use crate::error::{Error, Result};
use crate::install::Install;
use crate::launch::Launch;
use crate::names::AgentName;
use crate::record::{self, Run, What};
use crate::report;
use crate::terminal::{holder, placeholder, stopped, supervise};

/// See the module.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Hold a pane's terminal open for an agent
    Pane {
        /// Printed first
        banner: Option<String>,
    },
    /// Become the fleet's tmux server
    Holder {
        #[arg(long)]
        state: PathBuf,
    },
    /// Wait for the server and make the holder session
    HolderReady {
        #[arg(long)]
        state: PathBuf,
    },
    /// Restart agents that lost their pane
    Orphans {
        #[arg(long)]
        state: PathBuf,
    },
    /// Wait until an agent stands at its prompt
    Started {
        #[arg(long)]
        state: PathBuf,
        agent: AgentName,
    },
    /// Record how an agent ended
    Stopped {
        #[arg(long)]
        state: PathBuf,
        agent: AgentName,
    },
    /// Supervise an agent in its pane
    Supervise {
        #[arg(long)]
        state: PathBuf,
        agent: AgentName,
    },
    /// Run codex's app-server beside a codex, and report what it tells
    CodexServer {
        #[arg(long)]
        socket: PathBuf,
        #[arg(long)]
        reports: PathBuf,
        /// Program and arguments of the app-server
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Report what a Claude Code hook says on standard input
    ReportClaude,
    /// A small agent for trials and tests
    DemoAgent(demo::DemoArgs),
}

/// Runs it.
pub fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Pane { banner } => {
            placeholder::run(banner.as_deref())
                .map_err(|e| Error::io("cannot hold the pane", e))?;
        }
        Verb::Holder { state } => match holder::become_server(&state)? {},
        Verb::HolderReady { state } => holder::ready(&state)?,
        Verb::Orphans { state } => holder::orphans(&state)?,
        Verb::Started { state, agent } => started(&state, agent.as_str())?,
        Verb::Stopped { state, agent } => {
            let ending = stopped::Ending::from_env(&|key| std::env::var(key).ok());
            stopped::stopped(&state, agent.as_str(), &ending)?;
        }
        Verb::Supervise { state, agent } => return supervise::supervise(&state, agent.as_str()),
        Verb::CodexServer {
            socket,
            reports,
            command,
        } => {
            return reporter::run(&reporter::Beside {
                socket: &socket,
                reports: &reports,
                command: &command,
            });
        }
        Verb::ReportClaude => report_claude()?,
        Verb::DemoAgent(args) => return Ok(demo::run(args)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Fails only when the agent has died: an agent that stands at a login dialog is up, and its unit
/// must not be torn down for it, nor for a kickstart that was not delivered.
fn started(state: &std::path::Path, agent: &str) -> Result<()> {
    let install = Install::require(state)?;
    let launch = Launch::load(&install.paths.launch(agent))?;
    let timeout = std::time::Duration::from_millis(launch.agent.ready_timeout_ms);
    let mut seen = None;
    if !timeout.is_zero() {
        let ready = match ready::wait_ready(&install, &launch, timeout) {
            Ok(ready) => ready,
            // What keeps mosaic from looking (a rule that is none, no tmux for a moment) is no reason
            // to end an agent that lives.
            Err(e) if lives(&install, agent) => {
                tracing::warn!("{e}");
                let seen = e.to_string();
                record::event(&install.paths, agent, What::NotReady { seen });
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        let what = if ready.is_ready() {
            What::Ready {
                after_ms: ready.after_ms,
            }
        } else {
            What::NotReady {
                seen: format!("{} ({})", ready.state, ready.evidence),
            }
        };
        record::event(&install.paths, agent, what);
        seen = Some(ready);
    }
    // A start either begins a conversation or resumes one.
    for (what, sent) in [
        (
            "kickstart",
            kickstart::at_start(&install, &launch, seen.as_ref()),
        ),
        (
            "restart message",
            restarted::at_start(&install, &launch, seen.as_ref()),
        ),
    ] {
        match sent {
            Ok(Some(receipt)) if !receipt.succeeded() => {
                tracing::warn!("{what} of {}", receipt.line());
            }
            Ok(_) => {}
            Err(e) => tracing::warn!("{e}"),
        }
    }
    Ok(())
}

/// Whether the agent's recorded process runs.
fn lives(install: &Install, agent: &str) -> bool {
    Run::load(&install.paths, agent).is_ok_and(|run| run.is_some_and(|r| r.alive()))
}

/// Never fails: a hook that fails would disturb the agent.
fn report_claude() -> Result<()> {
    use std::io::Read as _;
    let Some(path) = std::env::var_os(report::VARIABLE).map(PathBuf::from) else {
        return Ok(());
    };
    // A prompt may be long, but not without bound.
    let mut input = String::new();
    let _ = std::io::stdin()
        .take(16 * 1024 * 1024)
        .read_to_string(&mut input);
    for what in report::from_claude_hook(&input) {
        if let Err(e) = report::append(&path, what) {
            tracing::warn!("{e}");
        }
    }
    Ok(())
}
