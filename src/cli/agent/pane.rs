//! `agent send --pane`: into any pane of tmux, past the roster; and the flags that only this way and
//! other hosts have.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::send::{Args, text};
use crate::cli::Context;
use crate::cli::there::{exit_code, named};
use crate::delivery::compose::{Envelope, compose};
use crate::delivery::sanitise::{Dropped, sanitise};
use crate::delivery::{self};
use crate::error::{Error, Result};
use crate::remote::sender::{self, Pane, Socket};
use crate::remote::{End, Exchange, Host, exchange, ssh};
use crate::runtime::Typing;
use crate::ui::{Tone, one_line};

/// Further flags of `send`.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct PaneArgs {
    /// Any pane instead of an agent: `SESSION:WINDOW.PANE` or `%N`, exact. mosaic knows neither its
    /// state nor its record: a draft or a dialog there is not seen
    #[arg(long, value_name = "PANE", conflicts_with_all = ["agents", "class"])]
    pub pane: Option<String>,
    /// With --pane: name of the tmux socket, as `tmux -L` [default: the fleet's; on a host without
    /// mosaic tmux's own]
    #[arg(short = 'L', long, value_name = "NAME")]
    pub socket: Option<String>,
    /// With --pane: how often Enter is pressed at most
    #[arg(short = 'r', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20))]
    pub submits: Option<u32>,
    /// Name this host in the preamble [default: its short name]
    #[arg(short = 'n', long, value_name = "LABEL")]
    pub host_label: Option<String>,
    /// With --pane: also into a shell, or into the pane of an agent
    #[arg(long)]
    pub force: bool,
}

impl PaneArgs {
    /// The name of this host in preambles.
    pub fn host_label(&self) -> String {
        let told = self.host_label.clone().filter(|l| !l.trim().is_empty());
        told.unwrap_or_else(delivery::host_name)
    }
}

/// The message as it goes into a pane, and what was changed in it.
///
/// # Errors
/// It is empty or too long, or a program there might take it as a command.
pub fn composed(
    args: &Args,
    raw: &[u8],
    host: &str,
    name: &str,
) -> Result<(Vec<u8>, Vec<Dropped>)> {
    let clean = sanitise(raw);
    let sender = delivery::sender(
        args.sender.as_deref(),
        std::env::var("MOSAIC_AGENT").ok().as_deref(),
    );
    let sender = match sender.contains(':') {
        true => sender,
        false => format!("{}:{sender}", args.pane.host_label()),
    };
    let envelope = Envelope {
        host,
        sender: &sender,
        agent: name,
    };
    let text = compose(
        &clean.text,
        (!args.no_preamble).then_some(&envelope),
        &Typing::default(),
    )
    .map_err(|refusal| Error::no(refusal.to_string()).hint(refusal.hint()))?;
    Ok((sender::message(text.as_bytes())?, clean.dropped))
}

/// What the script is told.
///
/// # Errors
/// No agent and no pane is named, or more than one.
pub fn described(args: &Args, id: &str, socket: Socket, verbose: bool) -> Result<Pane> {
    if args.task {
        return Err(Error::usage("`--task` needs an agent that mosaic knows")
            .because("a pane is never reset"));
    }
    let target = match (&args.pane.pane, args.selection.agents.as_slice()) {
        (Some(pane), _) => pane.clone(),
        (None, [agent]) => agent.to_string(),
        (None, _) => {
            return Err(Error::usage("one agent, or one pane, is needed there")
                .because("mosaic is not installed on that host, so nothing there knows a class"));
        }
    };
    Ok(Pane {
        id: id.to_owned(),
        name: target.clone(),
        target,
        socket,
        submits: args.pane.submits.unwrap_or(3),
        wait: args.seconds(),
        force: args.pane.force,
        verbose,
    })
}

/// How long the script may take: others that send, the echo, and each Enter.
pub fn bound(args: &Args) -> Duration {
    let enters = u64::from(args.pane.submits.unwrap_or(3));
    Duration::from_secs(60 + args.seconds() + 3 * enters)
}

/// Prints the script's receipt, and passes its status on.
///
/// # Errors
/// It printed none.
pub fn receipt(
    context: &Context<'_>,
    args: &Args,
    lines: &[String],
    status: i32,
    host: Option<&Host>,
    dropped: &[Dropped],
) -> Result<ExitCode> {
    let document = lines
        .iter()
        .rev()
        .find_map(|l| serde_json::from_str::<Value>(l).ok());
    let Some(mut receipt) = document.filter(Value::is_object) else {
        return Err(Error::bug(format!(
            "the sender ended with status {status} and no receipt: {}",
            one_line(&lines.join(" "))
        )));
    };
    receipt["dropped"] = serde_json::to_value(dropped).unwrap_or_default();
    if let Some(host) = host {
        receipt = named(receipt, host);
    }
    show(context, args.json, &receipt);
    Ok(exit_code(status))
}

/// Prints a receipt that came as a document.
pub fn show(context: &Context<'_>, json: bool, receipt: &Value) {
    if json {
        return context.ui.json(receipt);
    }
    let text = |key: &str| receipt[key].as_str().unwrap_or_default().to_owned();
    let at = match text("host") {
        host if host.is_empty() => String::new(),
        host => format!("{host} "),
    };
    let how = match receipt["reason"].as_str() {
        Some(reason) => format!(": {reason}"),
        None => format!(
            " in {} ms ({})",
            receipt["elapsed_ms"],
            receipt["evidence"][0].as_str().unwrap_or_default()
        ),
    };
    let line = format!("{at}{}: {}{how}", text("agent"), text("receipt"));
    let tone = match text("receipt").as_str() {
        "submitted" | "accepted" | "answered" => Tone::Good,
        _ => Tone::Bad,
    };
    let style = tone.style();
    context
        .ui
        .line(format!("{style}{}{style:#}", one_line(&line)));
    if let Some(hint) = receipt["hint"].as_str() {
        context.ui.hint(hint);
    }
}

/// Sends into a pane of this host.
pub fn send(context: &Context<'_>, args: &Args) -> Result<ExitCode> {
    let socket = match &args.pane.socket {
        Some(name) => Socket::Name(name.clone()),
        None => {
            let install = context.install().map_err(|e| {
                e.hint("or name the tmux server of the pane: `-L NAME` (`-L default` is your own)")
            })?;
            Socket::Path(install.socket.to_string_lossy().into_owned())
        }
    };
    let raw = text(args)?;
    let id = match &args.id {
        Some(id) => id.clone(),
        None => uuid::Uuid::new_v4().to_string(),
    };
    let pane = described(args, &id, socket, context.ui.verbose())?;
    let (message, dropped) = composed(args, &raw, &args.pane.host_label(), &pane.name)?;
    let mut lines = Vec::new();
    let end = exchange(
        ssh::local_script(&pane.args()?),
        &Exchange {
            first: Some(sender::script()),
            message: Some(message),
            connect: Some(bound(args)),
            finish: Some(bound(args)),
        },
        &mut |line| lines.push(line.to_owned()),
        &mut |line| context.ui.pass_on(line),
    )?;
    match end {
        End::Exit(status) => receipt(context, args, &lines, status, None, &dropped),
        End::NotStarted(why) => {
            Err(Error::no(format!("cannot send into `{}`", pane.target)).because(why))
        }
        End::Lost(why) => Err(Error::no(format!(
            "whether the message `{id}` stands in `{}` is not known",
            pane.target
        ))
        .because(why)
        .hint("look at the pane before you send it again")),
    }
}
