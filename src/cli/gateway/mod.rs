//! `mosaic gateway`: one local URL for every node of the fleet.

mod run;

use std::process::ExitCode;

use clap::Subcommand;

use super::Context;
use crate::error::Result;

/// Verbs of `mosaic gateway`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Be the fleet's gateway, in the foreground, until interrupted
    Run(run::Args),
}

/// Runs a verb.
pub fn run<'a>(context: &dyn Fn() -> Result<Context<'a>>, verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Run(args) => run::run(context, args),
    }
}
