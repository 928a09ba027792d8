//! stub
use crate::cli::Context;
use crate::error::Result;
use std::process::ExitCode;
#[derive(Debug, clap::Args)]
pub struct Args {}
pub fn run(_: &Context<'_>, _: &Args) -> Result<ExitCode> {
    Ok(ExitCode::SUCCESS)
}
