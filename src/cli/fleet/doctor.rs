//! `mosaic fleet doctor`: what keeps a fleet from working here.

use std::process::ExitCode;

use crate::cli::{Context, answer};
use crate::doctor::{Level, examine};
use crate::error::Result;
use crate::install::Install;
use crate::ui::{Tone, cell, toned};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// JSON
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let install = Install::load(&context.paths.state)?;
    let fleet = context.roster();
    let why = fleet
        .as_ref()
        .err()
        .map(ToString::to_string)
        .unwrap_or_default();
    let found = examine(
        &context.paths,
        install.as_ref(),
        fleet.as_ref().map_err(|_| why.as_str()),
    );
    if args.json {
        context.ui.json(&found);
    } else {
        let rows: Vec<_> = found
            .iter()
            .map(|f| {
                let (word, tone) = match f.level {
                    Level::Ok => ("ok", Tone::Good),
                    Level::Warn => ("warn", Tone::Attention),
                    Level::Fail => ("FAIL", Tone::Bad),
                };
                vec![
                    toned(word, tone),
                    cell(&f.subject),
                    cell(&f.seen),
                    cell(&f.fix),
                ]
            })
            .collect();
        context
            .ui
            .table(&["", "SUBJECT", "SEEN", "WHAT TO TYPE"], &rows);
    }
    Ok(answer(found.iter().all(|f| f.level != Level::Fail)))
}
