//! `mosaic agent status`: the same as `fleet status`, for single agents.

use std::process::ExitCode;

use crate::cli::context::Selection;
use crate::cli::there::HostArg;
use crate::cli::{Context, fleet};
use crate::error::Result;
use crate::status;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    there: HostArg,
    /// JSON
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let install = context.install()?;
    let mut names = context.select(&args.selection)?;
    let mut status = status::collect(&install)?;
    if names.is_empty() {
        names = status.agents.iter().map(|a| a.name.clone()).collect();
    }
    if args.json {
        status.agents.retain(|a| names.contains(&a.name));
        context.ui.json(&status);
    } else {
        fleet::status::print(context, &status, Some(&names));
    }
    Ok(ExitCode::SUCCESS)
}
