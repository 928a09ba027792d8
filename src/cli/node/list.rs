//! `mosaic node list`: every node in one table.

use std::process::ExitCode;
use std::time::Duration;

use super::document::{Document, NodeDocument, document};
use crate::cli::Context;
use crate::error::Result;
use crate::host::interrupt::Interrupt;
use crate::routing::choose::Chooser;
use crate::ui::{Tone, bytes, cell, toned};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One JSON document; with --watch one per line
    #[arg(long)]
    json: bool,
    /// Show it again every two seconds until interrupted
    #[arg(long)]
    watch: bool,
}

/// Runs it.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let mut chooser = Chooser::new(&context.install()?)?;
    if args.watch {
        return watch(context, &mut chooser, args.json);
    }
    let ledger = chooser.pins()?.ledger()?;
    let document = document(&chooser, &ledger);
    if args.json {
        context.ui.json(&document);
    } else {
        print(context, &document);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(context: &Context<'_>, document: &Document<'_>) {
    let rows: Vec<_> = document.nodes.iter().map(row).collect();
    context.ui.table(
        &[
            "NODE",
            "CLASS",
            "RUNTIME",
            "DIALECT",
            "HEALTH",
            "STATE",
            "CHATS",
            "SCORE",
            "RTT",
            "CPU",
            "MEMORY",
            "DISK FREE",
            "ENDPOINT",
            "WHY NOT",
        ],
        &rows,
    );
    if let Some(target) = document.next_target() {
        context
            .ui
            .status(format!("the next new chat goes to `{target}`"));
    }
}

fn row(node: &NodeDocument<'_>) -> Vec<crate::ui::TableCell> {
    let dash = |text: Option<String>| cell(text.unwrap_or_else(|| "-".to_owned()));
    let health = node.health.unwrap_or("unknown");
    let chats = match node.max_chats {
        Some(most) => format!("{}/{most}", node.chats),
        None => node.chats.to_string(),
    };
    let why: Vec<&str> = node.rejected.iter().map(|r| r.why.as_str()).collect();
    vec![
        toned(node.id, Tone::Strong),
        cell(node.class),
        cell(node.runtime),
        cell(node.dialect.as_str()),
        toned(
            health,
            match health {
                "healthy" => Tone::Good,
                "unfit" | "unknown" => Tone::Attention,
                _ => Tone::Bad,
            },
        ),
        cell(node.state),
        cell(chats),
        dash(node.score.map(|s| format!("{s:.1}"))),
        dash(node.rtt_ms.map(|ms| format!("{ms:.1}ms"))),
        dash(node.load.map(|l| format!("{:.0}%", l.cpu_load_pct))),
        dash(node.load.map(|l| format!("{:.0}%", l.memory_used_pct))),
        dash(node.load.map(|l| bytes(l.disk_available_bytes))),
        dash(node.endpoint.clone()),
        match why.is_empty() {
            true => cell("-"),
            false => toned(why.join("; "), Tone::Faint),
        },
    ]
}

fn watch(context: &Context<'_>, chooser: &mut Chooser, json: bool) -> Result<ExitCode> {
    const PERIOD: Duration = Duration::from_secs(2);
    const STEP: Duration = Duration::from_millis(100);
    let interrupt = Interrupt::listen()?;
    let pins = chooser.pins()?;
    while !interrupt.is_set() && !context.ui.closed() {
        let ledger = pins.ledger()?;
        let document = document(chooser, &ledger);
        if json {
            context.ui.json_line(&document);
        } else {
            context.ui.write("\x1b[H\x1b[2J");
            print(context, &document);
        }
        let mut left = PERIOD;
        while !left.is_zero() && !interrupt.is_set() {
            std::thread::sleep(STEP);
            left = left.saturating_sub(STEP);
        }
        chooser.refresh()?;
    }
    Ok(ExitCode::SUCCESS)
}
