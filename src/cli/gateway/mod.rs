//! `mosaic gateway`: one local URL for every node of the fleet.

mod install_goose;
mod run;
mod status;

use std::process::ExitCode;

use clap::Subcommand;

use super::Context;
use crate::error::Result;

/// Verbs of `mosaic gateway`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Be the fleet's gateway, in the foreground, until interrupted
    Run(run::Args),
    /// Show whether it runs, where clients find it, and its nodes; exit 0 when it answers
    Status(status::Args),
    /// Show or write what Goose Desktop needs to use it for its backend
    InstallGoose(install_goose::Args),
}

/// Runs a verb.
pub fn run<'a>(context: &dyn Fn() -> Result<Context<'a>>, verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Run(args) => run::run(context, args),
        Verb::Status(args) => status::run(&context()?, &args),
        Verb::InstallGoose(args) => install_goose::run(&context()?, &args),
    }
}
