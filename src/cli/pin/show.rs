//! `mosaic pin show`: where one chat is.

use std::process::ExitCode;

use crate::cli::Context;
use crate::error::Result;
use crate::routing::pins::Pins;
use crate::ui::one_line;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The chat, by exact name
    #[arg(value_name = "CHAT")]
    chat: String,
    /// JSON
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let pin = super::require(&Pins::open(&context.install()?.paths)?, &args.chat)?;
    if args.json {
        context.ui.json(&pin);
        return Ok(ExitCode::SUCCESS);
    }
    let line = |name: &str, value: &str| {
        context.ui.line(format!("{name:<9} {}", one_line(value)));
    };
    line("chat", &pin.chat);
    line("node", &pin.node);
    line("dialect", pin.dialect.as_str());
    if let Some(native) = &pin.native {
        line("native", native);
    }
    line("pinned", &pin.created.to_string());
    line("used", &pin.used.to_string());
    line("revision", &pin.revision.to_string());
    Ok(ExitCode::SUCCESS)
}
