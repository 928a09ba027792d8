//! `mosaic agent attach`: an agent's terminal in this one.

use std::io::IsTerminal as _;
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use crate::cli::Context;
use crate::cli::context::complete_agents;
use crate::error::{Error, Result};
use crate::names::AgentName;
use crate::terminal::pane::{Found, find, foreign};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The agent
    #[arg(add = clap_complete::ArgValueCandidates::new(complete_agents))]
    agent: AgentName,
    /// Look, but type nothing (a guard against slips, no security)
    #[arg(short, long)]
    read_only: bool,
}

/// Becomes a tmux client.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let install = context.install()?;
    context.launch(&args.agent)?;
    if !std::io::stdin().is_terminal() {
        return Err(Error::usage("attach needs a terminal").hint(format!(
            "`mosaic agent tail {}` prints the screen",
            args.agent
        )));
    }
    let tmux = install.tmux();
    let panes = tmux.panes()?;
    let session = match find(&panes, args.agent.as_str()) {
        Found::Ours(pane) => pane.session.clone(),
        Found::Foreign => return Err(foreign(&install, args.agent.as_str())),
        Found::Vacant | Found::Missing => {
            return Err(Error::no(format!("`{}` has no pane", args.agent))
                .hint(format!("start it: `mosaic fleet start {}`", args.agent)));
        }
    };
    // Inside another tmux a nested client is what was asked for: the servers are different.
    let error = tmux.attach_command(&session, args.read_only).exec();
    Err(Error::unavailable("cannot run tmux").because(error))
}
