//! `mosaic courier`: the resident that delivers what waits and tells of changes.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::Context;
use crate::courier;
use crate::error::Result;
use crate::install::Install;

/// Verbs of `mosaic courier`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Be the fleet's courier, in the foreground, until interrupted
    Run(Args),
}

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The fleet's state directory; what the unit gives
    #[arg(long, value_name = "DIR", hide = true)]
    state: Option<PathBuf>,
}

/// Runs a verb. The unit tells the state directory, and must not depend on the environment it
/// happens to have.
pub fn run<'a>(context: &dyn Fn() -> Result<Context<'a>>, verb: Verb) -> Result<ExitCode> {
    let Verb::Run(args) = verb;
    let install = match args.state {
        Some(state) => Install::require(&state)?,
        None => context()?.install()?,
    };
    courier::run(&install)?;
    Ok(ExitCode::SUCCESS)
}
