//! `mosaic pin release`: forgets chats.

use std::process::ExitCode;

use crate::cli::Context;
use crate::error::Result;
use crate::routing::pins::Pins;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Chats, by exact name
    #[arg(value_name = "CHAT", required = true)]
    chats: Vec<String>,
}

/// Runs it. Nothing is taken from the nodes: what they know of the chats stays with them.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let pins = Pins::open(&context.install()?.paths)?;
    for chat in &args.chats {
        let pin = pins.pin(chat)?;
        let released = pins.release(chat)?;
        context.ui.line(match pin.filter(|_| released) {
            Some(pin) => format!("{chat}: released from {}", pin.node),
            None => format!("{chat}: was not pinned"),
        });
    }
    Ok(ExitCode::SUCCESS)
}
