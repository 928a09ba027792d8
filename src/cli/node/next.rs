//! `mosaic node next`: where the next new chat goes, whatever the scores. Used up by the first chat that
//! is placed.

use std::process::ExitCode;

use serde::Serialize;

use super::document::VERSION;
use crate::cli::Context;
use crate::error::{Error, Result};
use crate::routing::observe::Observer;
use crate::routing::pins::Pins;
use crate::routing::select::Selector;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node, or which nodes, as for `node place`; without it the present target is shown
    #[arg(value_name = "SELECTOR", conflicts_with = "clear")]
    target: Option<Selector>,
    /// Take it back
    #[arg(long)]
    clear: bool,
    /// JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    version: u32,
    next_chat_target: Option<String>,
}

/// Runs it.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let install = context.install()?;
    let mut pins = Pins::open(&install.paths)?;
    if let Some(target) = &args.target {
        let observer = Observer::new(&install)?;
        if !observer.nodes().iter().any(|k| target.matches(&k.node)) {
            return Err(Error::config(format!("no node is `{target}`"))
                .hint("`mosaic node list` shows names, classes and labels"));
        }
        pins.set_next_target(Some(target))?;
    } else if args.clear {
        pins.set_next_target(None)?;
    }
    let target = pins.ledger()?.history.next_target;
    if args.json {
        context.ui.json(&Document {
            version: VERSION,
            next_chat_target: target.as_ref().map(ToString::to_string),
        });
        return Ok(ExitCode::SUCCESS);
    }
    context.ui.line(match &target {
        Some(target) => target.to_string(),
        None => "-".to_owned(),
    });
    context.ui.status(match &target {
        Some(target) => format!("the next new chat goes to `{target}`, and no other one"),
        None => "the next new chat goes where the policy says".to_owned(),
    });
    Ok(ExitCode::SUCCESS)
}
