//! `mosaic node drain` and `undrain`: nodes that get no new chats.

use std::process::ExitCode;

use crate::cli::Context;
use crate::cli::context::{complete_agents, unknown_agent};
use crate::error::Result;
use crate::launch;
use crate::names::AgentName;
use crate::routing::pins::Pins;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Nodes, by exact name
    #[arg(value_name = "NODE", required = true, add = clap_complete::ArgValueCandidates::new(complete_agents))]
    nodes: Vec<AgentName>,
}

/// Runs either. What one node is refused for keeps the others from nothing.
pub fn run(context: &Context<'_>, args: &Args, drain: bool) -> Result<ExitCode> {
    let pins = Pins::open(&context.install()?.paths)?;
    let installed = launch::installed(&context.paths);
    let ledger = pins.ledger()?;
    // A drained one that left the roster can be forgotten.
    let known = |name: &AgentName| {
        installed.iter().any(|n| n == name.as_str()) || ledger.drained.contains(name.as_str())
    };
    if let Some(name) = args.nodes.iter().find(|name| !known(name)) {
        return Err(unknown_agent(name.as_str(), &installed));
    }
    for name in &args.nodes {
        let changed = pins.drain(name.as_str(), drain)?;
        let chats = ledger.chats.get(name.as_str()).copied().unwrap_or(0);
        let kept = match chats {
            0 => "it has no chats".to_owned(),
            1 => "its chat stays".to_owned(),
            n => format!("its {n} chats stay"),
        };
        context.ui.line(match (drain, changed) {
            (true, true) => format!("{name}: drained; {kept}"),
            (true, false) => format!("{name}: drained already; {kept}"),
            (false, true) => format!("{name}: gets chats again"),
            (false, false) => format!("{name}: was not drained"),
        });
    }
    Ok(ExitCode::SUCCESS)
}
