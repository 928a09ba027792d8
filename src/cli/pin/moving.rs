//! `mosaic pin move`: the only way in which a chat gets to another node.

use std::process::ExitCode;

use serde::Serialize;

use crate::cli::Context;
use crate::cli::context::{complete_agents, unknown_agent};
use crate::error::{Error, Result};
use crate::launch;
use crate::routing::observe::Observer;
use crate::routing::pins::{Pin, Pins};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The chat, by exact name
    #[arg(value_name = "CHAT")]
    chat: String,
    /// Its new node, by exact name
    #[arg(value_name = "NODE", add = clap_complete::ArgValueCandidates::new(complete_agents))]
    node: String,
    /// Move it only if it is still at this revision, as `pin show` prints it
    #[arg(long, value_name = "N")]
    revision: Option<i64>,
    /// JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    from: &'a str,
    pin: &'a Pin,
}

/// Runs it.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let install = context.install()?;
    let mut pins = Pins::open(&install.paths)?;
    let pin = super::require(&pins, &args.chat)?;
    if pin.is_its_nodes() {
        return Err(Error::no(format!(
            "the chat `{}` cannot be moved from `{}`",
            pin.chat, pin.node
        ))
        .because("that server made it: its conversation lives there, and no other node knows it")
        .hint("begin a new chat on another node; `mosaic pin release` forgets this one"));
    }
    let observer = Observer::new(&install)?;
    let Some(known) = observer.nodes().iter().find(|k| k.node.id == args.node) else {
        return Err(unknown_agent(
            &args.node,
            &launch::installed(&install.paths),
        ));
    };
    let from = pin.node.clone();
    let moved = match from == args.node {
        true => pin,
        false => pins.move_to(
            &pin.chat,
            &known.node,
            args.revision.unwrap_or(pin.revision),
        )?,
    };
    if args.json {
        context.ui.json(&Document {
            version: super::VERSION,
            from: &from,
            pin: &moved,
        });
    } else if from == moved.node {
        context
            .ui
            .line(format!("{}: is on {from} already", moved.chat));
    } else {
        context.ui.line(format!(
            "{}: moved from {from} to {}",
            moved.chat, moved.node
        ));
    }
    if from != moved.node {
        context.ui.warn(format!(
            "{} knows nothing of what was said in `{}` so far: that stays with {from}",
            moved.node, moved.chat
        ));
    }
    Ok(ExitCode::SUCCESS)
}
