//! `mosaic agent send`: a message, with proof of how far it got.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::message::message_text;
use super::pane::{self, PaneArgs};
use super::reset::reset_by;
use super::send_to::{self, ToArgs};
use super::{print_json, print_outcome, worst};
use crate::cli::Context;
use crate::cli::context::Selection;
use crate::cli::there::HostArg;
use crate::delivery::mailbox::{Draft, Options, Style};
use crate::delivery::{self, Mode, Post, Receipt, ResetOptions, ResetReport, Rung, task};
use crate::error::{Error, Result};
use crate::host::interrupt::Interrupt;
use crate::install::Install;
use crate::launch::Launch;

/// How long the receipt is waited for, unless told otherwise: a turn under way is seldom over sooner, and
/// nobody likes to wait longer for a prompt to come back.
const TIMEOUT: u64 = 30;

/// The same for an answer.
pub(super) const ANSWER_TIMEOUT: u64 = 600;

/// So many agents are waited for at a time; each is looked at by calls of tmux.
const AT_A_TIME: usize = 8;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub(super) selection: Selection,
    #[command(flatten)]
    there: HostArg,
    #[command(flatten)]
    pub(super) pane: PaneArgs,
    #[command(flatten)]
    pub(super) to: ToArgs,
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
    /// The text goes as it is: no preamble, and a leading `!` or `/` means what it means to the agent
    #[arg(long, conflicts_with = "command")]
    raw: bool,
    /// The message is a command of the agent's own, such as `/compact`
    #[arg(long, conflicts_with = "as_file")]
    command: bool,
    /// Write the text to a file and send a line that points to it; done by itself where it is too long
    #[arg(long)]
    as_file: bool,
    /// What to wait for [default: accepted; for `--command` submitted]
    #[arg(long, value_name = "RECEIPT", value_enum)]
    until: Option<Until>,
    /// How long to wait for that, in seconds; the message stays in the mailbox afterwards
    /// [default: 30; for an answer 600]
    #[arg(long, alias = "wait", value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Only put it into the mailbox: the same as `--until queued`
    #[arg(long, conflicts_with_all = ["until", "no_queue", "timeout"])]
    queue: bool,
    /// It begins a task: an agent with `reset_between_tasks` that was told anything since its last reset
    /// is reset first
    #[arg(long, conflicts_with = "queue")]
    pub(super) task: bool,
    /// Take the message back if it cannot be delivered in time
    #[arg(long)]
    no_queue: bool,
    /// Name the message: whatever is sent under the same id again is not delivered twice
    #[arg(long, value_name = "ID")]
    pub(super) id: Option<String>,
    /// Do not deliver it after this time, for example `2h`
    #[arg(long, value_name = "TIME", value_parser = time)]
    expires: Option<Duration>,
    /// What to do about a draft that somebody left in the agent's box
    #[arg(long, value_name = "POLICY", value_enum, default_value = "wait")]
    draft: Draft,
    /// Print the receipts as JSON: one document for one agent, an array for several
    #[arg(long)]
    pub(super) json: bool,
}

/// Receipts that can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Until {
    /// It is in the mailbox.
    Queued,
    /// The agent was seen to take it.
    Submitted,
    /// The agent's own record has it.
    Accepted,
    /// The turn that it began has ended.
    Answered,
}

/// Reads `2h`, `90s`, `1h 30m`.
fn time(text: &str) -> std::result::Result<Duration, String> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|t| Duration::try_from(t).ok())
        .filter(|t| !t.is_zero())
        .ok_or_else(|| "give a time such as `90s`, `30m` or `2h`".to_owned())
}

impl Args {
    /// How long the receipt is waited for, in seconds.
    pub(super) fn seconds(&self) -> u64 {
        self.seconds_for(self.until())
    }

    fn seconds_for(&self, until: Rung) -> u64 {
        self.timeout.unwrap_or(match until {
            Rung::Answered => ANSWER_TIMEOUT,
            _ => TIMEOUT,
        })
    }

    /// What it is asked for besides a message, that a question cannot have.
    pub(super) fn no_question(&self) -> Option<&'static str> {
        match self {
            _ if self.until.is_some() => Some("--until"),
            _ if self.queue => Some("--queue"),
            _ if self.command => Some("--command"),
            _ if self.pane.pane.is_some() => Some("--pane"),
            _ => None,
        }
    }

    fn until(&self) -> Rung {
        match self.until {
            _ if self.queue => Rung::Queued,
            Some(Until::Queued) => Rung::Queued,
            Some(Until::Submitted) => Rung::Submitted,
            Some(Until::Accepted) => Rung::Accepted,
            Some(Until::Answered) => Rung::Answered,
            // A command need not leave a record.
            None if self.command => Rung::Submitted,
            None => Rung::Accepted,
        }
    }

    /// What is sent, under all that was said about it.
    pub(super) fn post(&self, text: Vec<u8>, until: Rung) -> Post {
        let style = match (self.command, self.raw, self.no_preamble) {
            (true, _, _) => Style::Command,
            (_, true, _) => Style::Raw,
            (_, _, true) => Style::Bare,
            _ => Style::Message,
        };
        Post {
            text,
            id: self.id.clone(),
            sender: delivery::sender(
                self.sender.as_deref(),
                std::env::var("MOSAIC_AGENT").ok().as_deref(),
            ),
            host: self.pane.host_label(),
            chat: self.to.chat().map(str::to_owned),
            options: Options {
                style,
                draft: self.draft,
                as_file: self.as_file,
                ..Options::default()
            },
            until,
            timeout: Duration::from_secs(self.seconds_for(until)),
            no_queue: self.no_queue,
            expires: self.expires,
        }
    }
}

/// Sends to several agents at a time; a failure does not keep the rest from getting theirs.
pub fn run(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    if args.pane.pane.is_some() {
        return pane::send(context, args);
    }
    send(context, args, args.until(), &|receipt| {
        print(context, receipt)
    })
}

/// Sends until each has the receipt, which is shown by `show` unless JSON is asked for.
pub(super) fn send(
    context: &Context<'_>,
    args: &Args,
    until: Rung,
    show: &dyn Fn(&Receipt),
) -> Result<ExitCode> {
    if args.to.chat().is_some() {
        return send_to::run(context, args, until, show);
    }
    let install = context.install()?;
    let agents = context.select(&args.selection)?;
    if agents.is_empty() {
        return Err(Error::usage("no agent named")
            .hint("name agents, or use `--class CLASS`: `mosaic agent send coder0 -m 'hello'`"));
    }
    if args.id.is_some() && agents.len() > 1 {
        return Err(Error::usage("`--id` names one message, to one agent")
            .hint("send to each agent under an id of its own"));
    }
    let launches = agents
        .iter()
        .map(|agent| Launch::load(&install.paths.launch(agent)))
        .collect::<Result<Vec<_>>>()?;
    let one = args.post(text(args)?, until);
    let mut all = Vec::new();
    let mut failed = Vec::new();
    let sent = |result: Result<Sent>| match result {
        Ok(sent) => {
            sent.say(context, args, show);
            all.push(sent);
        }
        Err(e) => failed.push(e),
    };
    deliver(context, args, &install, &launches, &one, sent)?;
    if args.json {
        if all.iter().all(|sent| sent.reset.is_none()) {
            let receipts: Vec<&Receipt> = all.iter().map(|sent| &sent.receipt).collect();
            print_json(context.ui, &receipts);
        } else {
            let documents: Vec<Value> = all.iter().map(Sent::document).collect();
            print_json(context.ui, &documents);
        }
    }
    if let Some(e) = Error::all(failed) {
        return Err(e);
    }
    Ok(worst(all.iter().map(|s| s.receipt.exit_code())))
}

/// Delivers one message to several agents, some at a time; each result is given to `sent`.
///
/// # Errors
/// Signals cannot be listened for.
pub(super) fn deliver(
    context: &Context<'_>,
    args: &Args,
    install: &Install,
    launches: &[Launch],
    one: &Post,
    sent: impl FnMut(Result<Sent>),
) -> Result<()> {
    let mut sent = sent;
    // Whoever breaks off is told how the message stands.
    let interrupt = Interrupt::listen()?;
    for some in launches.chunks(AT_A_TIME) {
        let interrupt = &interrupt;
        let (told, heard) = std::sync::mpsc::channel();
        let ended: Vec<Result<Sent>> = std::thread::scope(|scope| {
            let running: Vec<_> = some
                .iter()
                .map(|launch| {
                    let told = told.clone();
                    scope.spawn(move || {
                        let waiting = |what: &str| {
                            // Nobody listens any more at the end only.
                            let _ = told.send(format!("{}: waiting: {what}", launch.agent.name));
                        };
                        let stop = || interrupt.is_set();
                        match args.task {
                            true => for_task(install, launch, one, &stop, &waiting),
                            false => {
                                Sent::plain(delivery::post(install, launch, one, &stop, &waiting))
                            }
                        }
                    })
                })
                .collect();
            drop(told);
            heard.iter().for_each(|line| context.ui.status(line));
            let ended = |r: std::thread::ScopedJoinHandle<'_, Result<Sent>>| {
                r.join()
                    .unwrap_or_else(|_| Err(Error::bug("a send failed")))
            };
            running.into_iter().map(ended).collect()
        });
        ended.into_iter().for_each(&mut sent);
    }
    Ok(())
}

/// A message, and the reset before it.
pub(super) struct Sent {
    reset: Option<ResetReport>,
    pub(super) receipt: Receipt,
}

impl Sent {
    fn plain(receipt: Result<Receipt>) -> Result<Self> {
        receipt.map(|receipt| Self {
            reset: None,
            receipt,
        })
    }

    /// Says what became of it; the receipt is shown by `show` unless JSON is asked for.
    pub(super) fn say(&self, context: &Context<'_>, args: &Args, show: &dyn Fn(&Receipt)) {
        let Self { reset, receipt } = self;
        if let Some(report) = reset.as_ref().filter(|_| !args.json) {
            print_outcome(context.ui, report.done(), &report.line());
        }
        if receipt.as_file.is_some() && !args.as_file {
            context.ui.status(format!(
                "{}: too long to be typed: it goes as a file",
                receipt.agent
            ));
        }
        if !args.json {
            show(receipt);
        }
    }

    /// The receipt as it is printed; the reset stands in it.
    pub(super) fn document(&self) -> Value {
        let mut document = serde_json::to_value(&self.receipt).unwrap_or_default();
        if let Some(reset) = &self.reset {
            document["reset"] = serde_json::to_value(reset).unwrap_or_default();
        }
        document
    }
}

/// Resets where a new task needs that, and sends only if that worked.
fn for_task(
    install: &Install,
    launch: &Launch,
    one: &Post,
    stop: &dyn Fn() -> bool,
    waiting: &dyn Fn(&str),
) -> Result<Sent> {
    let agent = launch.agent.name.as_str();
    let _task = task::hold(install, agent, one.timeout)?;
    let mut reset = None;
    if task::reset_is_due(install, launch, one.id.as_deref())? {
        let options = ResetOptions {
            wait: one.timeout,
            ..ResetOptions::new(delivery::host_name())
        };
        let report = reset_by(install, launch, Mode::Clear, &options);
        if !report.reset {
            let why = report.reason.clone().unwrap_or_default();
            let receipt = Receipt {
                chat: one.chat.clone(),
                hint: report.hint.clone(),
                retry: report.retry,
                asked: one.until,
                ..Receipt::refused(agent, format!("the reset before it failed: {why}"))
            };
            return Ok(Sent {
                reset: Some(report),
                receipt,
            });
        }
        reset = Some(report);
    }
    let receipt = delivery::post(install, launch, one, stop, waiting)?;
    Ok(Sent { reset, receipt })
}

pub(super) fn print(context: &Context<'_>, receipt: &Receipt) {
    print_outcome(context.ui, receipt.succeeded(), &receipt.line());
    for row in &receipt.screen {
        context.ui.status(format!("  | {row}"));
    }
    if let Some(hint) = &receipt.hint {
        context.ui.hint(hint);
    }
    if !receipt.succeeded() && receipt.receipt == Rung::Queued {
        context.ui.hint(format!(
            "`mosaic agent inbox cancel {}` takes it back",
            receipt.id
        ));
    }
}

pub(super) fn text(args: &Args) -> Result<Vec<u8>> {
    message_text(args.message.as_deref(), args.file.as_deref())
}
