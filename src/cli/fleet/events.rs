//! `mosaic fleet events`: the log of starts, exits and restarts.

use std::process::ExitCode;

use crate::cli::Context;
use crate::cli::context::Selection;
use crate::error::Result;
use crate::record::{self, Event, What};
use crate::ui::cell;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    /// How many, newest last
    #[arg(short = 'n', long, default_value_t = 40)]
    lines: usize,
    /// One JSON document per line
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let install = context.install()?;
    let agents = context.select(&args.selection)?;
    let mut events = record::events(&install.paths, None);
    events.retain(|e| agents.is_empty() || agents.contains(&e.agent));
    let skip = events.len().saturating_sub(args.lines);
    let events = &events[skip..];
    if args.json {
        for event in events {
            context.ui.json_line(event);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = events
        .iter()
        .map(|e| vec![cell(local(e.time)), cell(&e.agent), cell(describe(e))])
        .collect();
    context.ui.table(&["TIME", "AGENT", "EVENT"], &rows);
    Ok(ExitCode::SUCCESS)
}

/// A time as a person reads it here.
pub fn local(time: jiff::Timestamp) -> String {
    time.to_zoned(jiff::tz::TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

/// An event in words.
pub fn describe(event: &Event) -> String {
    match &event.what {
        What::Started { pid, pane, resumed } => {
            format!(
                "started, pid {pid}, pane {pane}{}",
                if *resumed {
                    ", conversation resumed"
                } else {
                    ""
                }
            )
        }
        What::Ready { after_ms } => format!("ready after {after_ms} ms"),
        What::NotReady { seen } => format!("not seen at its prompt: {seen}"),
        What::Exited { .. } | What::Refused { .. } => event.end().unwrap_or_default(),
        What::Kickstart { receipt, why } if why.is_empty() => format!("kickstart {receipt}"),
        What::Kickstart { receipt, why } => format!("kickstart {receipt}: {why}"),
        What::NoticeFailed { notice, why } => format!("{notice} failed: {why}"),
        What::RestartMessage { receipt, why } if why.is_empty() => {
            format!("restart message {receipt}")
        }
        What::RestartMessage { receipt, why } => format!("restart message {receipt}: {why}"),
        What::Command { verb, detail } if detail.is_empty() => format!("asked to {verb}"),
        What::Command { verb, detail } => format!("asked to {verb}: {detail}"),
    }
}
