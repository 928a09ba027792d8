//! `mosaic agent send`: a message, with proof that it was submitted.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::pane::{self, PaneArgs};
use super::{print_json, print_outcome, worst};
use crate::cli::Context;
use crate::cli::context::Selection;
use crate::cli::there::HostArg;
use crate::delivery::{self, Message, Receipt};
use crate::error::{Error, Result};
use crate::launch::Launch;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub(super) selection: Selection,
    #[command(flatten)]
    there: HostArg,
    #[command(flatten)]
    pub(super) pane: PaneArgs,
    /// The message; `-` or nothing reads standard input
    #[arg(
        short,
        long,
        value_name = "TEXT",
        conflicts_with = "file",
        allow_hyphen_values = true
    )]
    message: Option<String>,
    /// Read the message from a file; `-` reads standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Name yourself in the preamble [default: the agent that runs this, else `user`]
    #[arg(short = 'S', long, value_name = "NAME")]
    pub(super) sender: Option<String>,
    /// Leave out the line's beginning `[host:sender -> host:agent]`
    #[arg(long)]
    pub(super) no_preamble: bool,
    /// How long to wait, in seconds, for an agent that is not ready to be typed to
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(super) wait: u64,
    /// Print the receipts as JSON: one document for one agent, an array for several
    #[arg(long)]
    pub(super) json: bool,
}

/// Sends to one agent after the other; a failure does not keep the rest from getting theirs.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    if args.pane.pane.is_some() {
        return pane::send(context, args);
    }
    let install = context.install()?;
    let agents = context.select(&args.selection)?;
    if agents.is_empty() {
        return Err(Error::usage("no agent named")
            .hint("name agents, or use `--class CLASS`: `mosaic agent send coder0 -m 'hello'`"));
    }
    let text = text(args)?;
    let message = Message {
        text,
        sender: delivery::sender(
            args.sender.as_deref(),
            std::env::var("MOSAIC_AGENT").ok().as_deref(),
        ),
        host: args.pane.host_label(),
        preamble: !args.no_preamble,
        wait: Duration::from_secs(args.wait),
        accept_wait: Duration::from_secs(2),
    };
    let mut receipts = Vec::new();
    for agent in &agents {
        let launch = Launch::load(&install.paths.launch(agent))?;
        let receipt = delivery::send(&install, &launch, &message);
        if !args.json {
            print(context, &receipt);
        }
        receipts.push(receipt);
    }
    if args.json {
        print_json(context.ui, &receipts);
    }
    Ok(worst(receipts.iter().map(Receipt::exit_code)))
}

fn print(context: &Context<'_>, receipt: &Receipt) {
    print_outcome(context.ui, receipt.succeeded(), &receipt.line());
    for row in &receipt.screen {
        context.ui.status(format!("  | {row}"));
    }
    if let Some(hint) = &receipt.hint {
        context.ui.hint(hint);
    }
}

pub(super) fn text(args: &Args) -> Result<Vec<u8>> {
    // Enough to tell "too long" in words; far beyond what any agent takes by its prompt.
    const MOST: u64 = 16 * 1024 * 1024;
    let read = |what: &str, reader: &mut dyn std::io::Read| -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        reader
            .take(MOST)
            .read_to_end(&mut bytes)
            .map_err(|e| Error::io(format!("cannot read the message from {what}"), e))?;
        Ok(bytes)
    };
    let bytes = match (&args.message, &args.file) {
        (Some(text), _) if text != "-" => text.clone().into_bytes(),
        (_, Some(path)) if path.as_os_str() != "-" => {
            let mut file = std::fs::File::open(path).map_err(|e| {
                Error::config(format!("cannot read the message from `{}`", path.display()))
                    .because(e)
            })?;
            read(&format!("`{}`", path.display()), &mut file)?
        }
        _ => {
            use std::io::IsTerminal as _;
            if std::io::stdin().is_terminal() && args.message.is_none() && args.file.is_none() {
                return Err(Error::usage("no message")
                    .hint("give it with `-m TEXT`, `-f FILE`, or on standard input"));
            }
            read("standard input", &mut std::io::stdin())?
        }
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Error::usage("the message is empty")
            .hint("give it with `-m TEXT`, `-f FILE`, or on standard input"));
    }
    Ok(bytes)
}
