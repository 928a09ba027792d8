//! `mosaic fleet validate` and `mosaic fleet schema`.

use std::process::ExitCode;

use crate::cli::Context;
use crate::error::Result;
use crate::roster::schema;

/// Arguments of `validate`.
#[derive(Debug, clap::Args)]
pub struct ValidateArgs {
    /// Print the resolved fleet as JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `schema`.
#[derive(Debug, clap::Args)]
pub struct SchemaArgs {}

/// Checks the roster; all problems in one run.
pub fn validate(context: &Context<'_>, args: &ValidateArgs) -> Result<ExitCode> {
    let fleet = context.roster()?;
    if args.json {
        context.ui.json(&fleet);
    } else {
        context.ui.line(format!(
            "{}: valid, {} agents, {} enabled",
            context.paths.roster.display(),
            fleet.agents.len(),
            fleet.agents.iter().filter(|a| a.enabled).count()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the schema.
pub fn schema(context: &Context<'_>, _: &SchemaArgs) -> Result<ExitCode> {
    context.ui.write(&schema::schema());
    Ok(ExitCode::SUCCESS)
}
