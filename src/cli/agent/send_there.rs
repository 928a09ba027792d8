//! `agent send -H HOST`: the message goes along on standard input; its id is made here, so that a
//! connection that was lost can be asked about. Where mosaic is missing there, the embedded sender
//! goes along too.

use std::process::ExitCode;

use serde_json::json;

use super::pane;
use super::send::{Args, text};
use crate::cli::Context;
use crate::cli::there::{Given, There, Verb, exit_code, give, unreached};
use crate::error::{Error, Result};
use crate::remote::sender::{self, Socket};
use crate::remote::{End, Host};

/// Sends.
pub fn send_there(
    context: &Context<'_>,
    args: &Args,
    verb: &Verb<'_>,
    host: &Host,
) -> Result<ExitCode> {
    let raw = text(args)?;
    let id = verb.id();
    let there = There::new(context, host, args.json);
    match give(context, &there, verb, &id, &raw)? {
        Given::Ended(status) => Ok(exit_code(status)),
        Given::Missing if verb.words.last().is_some_and(|w| w == "ask") => {
            Err(Error::unavailable(format!("no mosaic on `{host}`"))
                .because("only mosaic there can read the agent's answer")
                .hint("install mosaic there, or send without waiting: `mosaic agent send -H …`"))
        }
        Given::Missing if args.to.chat().is_some() => {
            Err(Error::unavailable(format!("no mosaic on `{host}`"))
                .because("only mosaic there knows where the chat is")
                .hint("install mosaic there, or name the agent: `mosaic agent send -H … AGENT`"))
        }
        Given::Missing => embedded(context, args, &there, host, &id, &raw),
        Given::Unknown { id, why } => {
            uncertain(context, args, host, &id, &why);
            Ok(exit_code(1))
        }
    }
}

/// By bash and tmux there.
fn embedded(
    context: &Context<'_>,
    args: &Args,
    there: &There<'_>,
    host: &Host,
    id: &str,
    raw: &[u8],
) -> Result<ExitCode> {
    let socket = match &args.pane.socket {
        Some(name) => Socket::Name(name.clone()),
        None => Socket::Default,
    };
    let pane = pane::described(args, id, socket, context.ui.verbose())?;
    let (message, dropped) = pane::composed(args, raw, host.label(), &pane.name)?;
    let words = pane.args()?;
    let mut lost = None;
    for _ in 0..2 {
        let (end, lines) =
            there.script(&words, sender::script(), message.clone(), pane::bound(args))?;
        match end {
            End::Exit(127) => {
                return Err(Error::unavailable(format!(
                    "neither mosaic nor bash is installed on `{host}`"
                ))
                .hint("install mosaic there, or bash, tmux and base64"));
            }
            End::Exit(status) => {
                return pane::receipt(context, args, &lines, status, Some(host), &dropped);
            }
            End::NotStarted(why) if lost.is_none() => return Err(unreached(host, &why)),
            End::NotStarted(_) => break,
            End::Lost(why) => lost = Some(why),
        }
    }
    uncertain(context, args, host, id, &lost.unwrap_or_default());
    Ok(exit_code(1))
}

/// Nobody knows, and that is said.
fn uncertain(context: &Context<'_>, args: &Args, host: &Host, id: &str, why: &str) {
    for agent in names(args) {
        let receipt = json!({
            "id": id,
            "agent": agent,
            "host": host.to_string(),
            "receipt": "uncertain",
            "evidence": [],
            "reason": format!("the connection to `{host}` was lost: {why}"),
            "hint": "look there before you send it again: `mosaic agent tail -H`",
            "retry": false,
            "screen": [],
            "dropped": [],
            "elapsed_ms": 0,
            "channel": "ssh",
        });
        pane::show(context, args.json, &receipt);
    }
}

fn names(args: &Args) -> Vec<String> {
    if let Some(chat) = args.to.chat() {
        return vec![chat.to_owned()];
    }
    match (&args.pane.pane, &args.selection.class) {
        (Some(pane), _) => vec![pane.clone()],
        (None, Some(class)) => vec![class.clone()],
        (None, None) => args
            .selection
            .agents
            .iter()
            .map(ToString::to_string)
            .collect(),
    }
}
