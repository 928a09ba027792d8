//! `mosaic pin list`: every pin in one table.

use std::process::ExitCode;

use serde::Serialize;

use crate::cli::Context;
use crate::cli::context::complete_agents;
use crate::error::Result;
use crate::routing::pins::{Pin, Pins};
use crate::ui::{Tone, cell, span, toned};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only those on this node
    #[arg(long, value_name = "NODE", add = clap_complete::ArgValueCandidates::new(complete_agents))]
    node: Option<String>,
    /// JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    version: u32,
    pins: Vec<Pin>,
}

/// Runs it.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let mut pins = Pins::open(&context.install()?.paths)?.list()?;
    if let Some(node) = &args.node {
        pins.retain(|p| p.node == *node);
    }
    if args.json {
        context.ui.json(&Document {
            version: super::VERSION,
            pins,
        });
        return Ok(ExitCode::SUCCESS);
    }
    let now = jiff::Timestamp::now().as_second();
    let ago = |t: jiff::Timestamp| span(now - t.as_second());
    let rows: Vec<_> = pins
        .iter()
        .map(|p| {
            vec![
                toned(&p.chat, Tone::Strong),
                cell(&p.node),
                cell(p.dialect.as_str()),
                cell(p.native.as_deref().unwrap_or("-")),
                cell(ago(p.created)),
                cell(ago(p.used)),
            ]
        })
        .collect();
    context.ui.table(
        &["CHAT", "NODE", "DIALECT", "NATIVE", "PINNED", "USED"],
        &rows,
    );
    Ok(ExitCode::SUCCESS)
}
