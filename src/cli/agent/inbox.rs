//! `mosaic agent inbox`: messages that wait for their agent, and those that were not delivered.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use serde::Serialize;

use super::send::print;
use super::{print_json, worst};
use crate::cli::Context;
use crate::cli::context::Selection;
use crate::delivery::mailbox::{Mailbox, Row, Stage, Which, looked_for_since};
use crate::delivery::{self, DrainOptions, Receipt};
use crate::error::{Error, Result};
use crate::host::interrupt::Interrupt;
use crate::launch::Launch;
use crate::ui::{Tone, cell, one_line, plain, span, toned};

/// Version of the JSON form of a list.
const VERSION: u32 = 1;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List messages that wait, and dead letters
    List(List),
    /// Show one message whole
    Show(Show),
    /// Take messages back that have not left yet
    Cancel(Cancel),
    /// Send messages again that were not delivered
    Retry(Retry),
    /// Deliver what can be delivered now
    Flush(Flush),
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    selection: Selection,
    /// Also those that were delivered or cancelled, as long as they are kept
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// The message's id
    id: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Cancel {
    /// The messages' ids
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Retry {
    /// The messages' ids
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Also what may have arrived already: it may arrive twice then
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Flush {
    #[command(flatten)]
    selection: Selection,
    /// How long to wait for agents that cannot take a message, in seconds each
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    timeout: u64,
    /// Print the receipts as JSON
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    match &args.verb {
        Verb::List(args) => list(context, args),
        Verb::Show(args) => show(context, args),
        Verb::Cancel(args) => cancel(context, args),
        Verb::Retry(args) => retry(context, args),
        Verb::Flush(args) => flush(context, args),
    }
}

/// A list as JSON.
#[derive(Serialize)]
struct Listed<'a> {
    version: u32,
    messages: &'a [Row],
}

fn list(context: &Context<'_>, args: &List) -> Result<ExitCode> {
    let install = context.install()?;
    let mailbox = Mailbox::open(&install.paths)?;
    let which = if args.all {
        Which::All
    } else {
        Which::PendingAndDead
    };
    let mut rows = mailbox.list(None, which)?;
    if !args.selection.agents.is_empty() || args.selection.class.is_some() {
        let agents = context.select(&args.selection)?;
        rows.retain(|r| agents.contains(&r.agent));
    }
    if args.json {
        context.ui.json(&Listed {
            version: VERSION,
            messages: &rows,
        });
        return Ok(ExitCode::SUCCESS);
    }
    if rows.is_empty() {
        context.ui.status("no messages");
        return Ok(ExitCode::SUCCESS);
    }
    let now = jiff::Timestamp::now();
    let table: Vec<_> = rows
        .iter()
        .map(|r| {
            let why = r.outcome.reason.as_deref().unwrap_or("-");
            vec![
                cell(&r.id),
                toned(&r.agent, Tone::Strong),
                toned(
                    r.stage.as_str(),
                    if r.stage.dead() {
                        Tone::Bad
                    } else {
                        Tone::Plain
                    },
                ),
                cell(span(now.duration_since(r.created).as_secs())),
                cell(&r.sender),
                cell(start(&r.text)),
                cell(start(why)),
            ]
        })
        .collect();
    context.ui.table(
        &["ID", "AGENT", "STATE", "AGE", "FROM", "TEXT", "WHY"],
        &table,
    );
    Ok(ExitCode::SUCCESS)
}

/// The beginning of a text, for a column.
fn start(text: &str) -> String {
    const MOST: usize = 40;
    let line = one_line(text);
    match line.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.into_owned(),
    }
}

fn show(context: &Context<'_>, args: &Show) -> Result<ExitCode> {
    let install = context.install()?;
    let row = Mailbox::open(&install.paths)?.require(&args.id)?;
    if args.json {
        context.ui.json(&row);
        return Ok(ExitCode::SUCCESS);
    }
    let line = |name: &str, value: &str| {
        context.ui.line(format!("{name:<10} {}", one_line(value)));
    };
    line("id", &row.id);
    line("agent", &row.agent);
    line("state", row.stage.as_str());
    line("from", &format!("{}:{}", row.host, row.sender));
    if let Some(chat) = &row.chat {
        line("chat", chat);
    }
    line("created", &row.created.to_string());
    line("changed", &row.changed.to_string());
    if let Some(t) = row.expires {
        line("expires", &t.to_string());
    }
    line("attempts", &row.attempts.to_string());
    if let Some(channel) = row.channel {
        line("channel", channel.as_str());
    }
    for one in &row.outcome.evidence {
        line("evidence", one);
    }
    if let Some(reason) = &row.outcome.reason {
        line("reason", reason);
    }
    if !row.outcome.altered.is_empty() {
        line("altered", &row.outcome.altered.join(", "));
    }
    if let Some(file) = &row.outcome.as_file {
        line("as file", &file.display().to_string());
    }
    context.ui.line("");
    context.ui.line(plain(&row.text));
    if let Some(hint) = &row.outcome.hint {
        context.ui.hint(hint);
    }
    Ok(ExitCode::SUCCESS)
}

fn cancel(context: &Context<'_>, args: &Cancel) -> Result<ExitCode> {
    let install = context.install()?;
    let mailbox = Mailbox::open(&install.paths)?;
    each(context, &args.ids, args.json, |id| {
        let row = mailbox.cancel(id)?;
        if row.stage == Stage::Cancelled {
            return Ok(row);
        }
        Err(Error::no(format!(
            "the message `{id}` is {}: too late to take it back",
            row.stage.as_str()
        )))
    })
}

fn retry(context: &Context<'_>, args: &Retry) -> Result<ExitCode> {
    let install = context.install()?;
    let mailbox = Mailbox::open(&install.paths)?;
    let done = each(context, &args.ids, args.json, |id| {
        let row = mailbox.require(id)?;
        if row.stage == Stage::Uncertain && !args.yes {
            let agreed = context.ui.interactive()
                && context.ui.confirm(&format!(
                    "`{id}` may have reached `{}` already; send it again, perhaps twice?",
                    row.agent
                ));
            if !agreed {
                return Err(Error::no(format!(
                    "the message `{id}` was not sent again: it may have reached `{}` already",
                    row.agent
                ))
                .hint(
                    "look into the agent's conversation; `--yes` sends it again, perhaps twice",
                ));
            }
        }
        mailbox.retry(id)
    })?;
    context
        .ui
        .hint("`mosaic agent inbox flush` delivers it now, if its agent is idle");
    Ok(done)
}

/// Does something to each message; a failure does not keep the rest from it.
fn each(
    context: &Context<'_>,
    ids: &[String],
    json: bool,
    change: impl Fn(&str) -> Result<Row>,
) -> Result<ExitCode> {
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for id in ids {
        match change(id) {
            Ok(row) => rows.push(row),
            Err(e) => failed.push(e),
        }
    }
    if json {
        print_json(context.ui, &rows);
    } else {
        for row in &rows {
            context
                .ui
                .line(one_line(&format!("{}: {}", row.id, row.stage.as_str())));
        }
    }
    match Error::all(failed) {
        Some(e) => Err(e),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn flush(context: &Context<'_>, args: &Flush) -> Result<ExitCode> {
    let install = context.install()?;
    let mailbox = Mailbox::open(&install.paths)?;
    let waits = |agent: &String| mailbox.pending(agent).is_ok_and(|rows| !rows.is_empty());
    let named = !args.selection.agents.is_empty() || args.selection.class.is_some();
    let agents = if named {
        context.select(&args.selection)?
    } else {
        // Where nothing waits, the record may by now show what has left.
        mailbox.agents_with_open(looked_for_since(jiff::Timestamp::now()))?
    };
    let interrupt = Interrupt::listen()?;
    let (mut receipts, mut failed, mut left) = (Vec::new(), Vec::new(), false);
    for agent in &agents {
        let drained = Launch::load(&install.paths.launch(agent)).and_then(|launch| {
            delivery::drain(
                &install,
                &launch,
                &DrainOptions {
                    wait: Duration::from_secs(args.timeout),
                    stop: &|| interrupt.is_set(),
                    waiting: &|what| context.ui.status(format!("{agent}: waiting: {what}")),
                    ..DrainOptions::default()
                },
            )
        });
        match drained {
            Ok(drained) => {
                if let Some(stop) = drained.waits.filter(|_| waits(agent)) {
                    left = true;
                    context
                        .ui
                        .status(format!("{agent}: still waits: {}", stop.reason));
                    if let Some(hint) = stop.hint {
                        context.ui.hint(hint);
                    }
                }
                receipts.extend(drained.receipts);
            }
            // An agent that is no more has no record either.
            Err(e) if named || waits(agent) => failed.push(e),
            Err(_) => {}
        }
    }
    if args.json {
        context.ui.json(&receipts);
    } else {
        receipts.iter().for_each(|r| print(context, r));
        if receipts.is_empty() && !left {
            context.ui.status("nothing waits");
        }
    }
    if let Some(e) = Error::all(failed) {
        return Err(e);
    }
    let busy = left.then_some(crate::error::Kind::Busy.exit_code());
    Ok(worst(receipts.iter().map(Receipt::exit_code).chain(busy)))
}
