//! stub
#[derive(Debug, clap::Args)]
pub struct Args {}
pub fn run(_: &crate::cli::Context<'_>, _: &Args) -> crate::error::Result<std::process::ExitCode> {
    Ok(std::process::ExitCode::SUCCESS)
}
