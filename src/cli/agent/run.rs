//! `mosaic agent run NAME`: what the units and supervisors execute.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::error::Result;
use crate::names::AgentName;
use crate::terminal::run::{Terminal, run as become_agent};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The fleet's state directory
    #[arg(long)]
    state: PathBuf,
    /// The pane, when a supervisor has it
    #[arg(long, requires = "tty")]
    pane: Option<String>,
    /// The pane's terminal, when a supervisor has given it up
    #[arg(long, requires = "pane")]
    tty: Option<PathBuf>,
    /// The agent
    agent: AgentName,
}

/// Becomes the agent.
pub fn run(args: &Args) -> Result<ExitCode> {
    let terminal = match (&args.pane, &args.tty) {
        (Some(pane), Some(tty)) => Terminal::Given {
            pane: pane.clone(),
            tty: tty.clone(),
        },
        _ => Terminal::Pane,
    };
    match become_agent(&args.state, args.agent.as_str(), terminal)? {}
}
