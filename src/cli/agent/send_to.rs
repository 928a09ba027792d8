//! `agent send --to … --chat …`: a message to the agent that a chat is on, or is placed on now. The chat
//! stays there, whatever becomes of the agent.

use std::process::ExitCode;

use super::send::{Args, deliver, text};
use super::worst;
use crate::cli::Context;
use crate::delivery::channel::supported;
use crate::delivery::{Receipt, Rung};
use crate::error::{Error, Result};
use crate::routing::choose::{Chooser, Source};
use crate::routing::node::Health;
use crate::routing::observe::Known;
use crate::routing::pins::{Pin, Placing};
use crate::routing::placement::Wish;
use crate::routing::select::Selector;

/// Arguments.
#[derive(Debug, Default, clap::Args)]
pub struct ToArgs {
    /// Send it to the agent of this chat; a new one is placed on the best of these agents, and stays
    /// there: `class:implementer`, `label:gpu=yes`, several by comma [default: any agent]
    #[arg(
        long,
        value_name = "SELECTOR",
        requires = "chat",
        conflicts_with_all = ["agents", "class", "pane"]
    )]
    to: Option<Selector>,
    /// The chat, for `--to`: a name of your choice
    #[arg(long, value_name = "ID", conflicts_with_all = ["agents", "class", "pane"])]
    chat: Option<String>,
}

impl ToArgs {
    /// The chat that it goes to, in place of agents that are named.
    pub(super) fn chat(&self) -> Option<&str> {
        self.chat.as_deref()
    }
}

/// Sends.
pub(super) fn run(
    context: &Context<'_>,
    args: &Args,
    until: Rung,
    show: &dyn Fn(&Receipt),
) -> Result<ExitCode> {
    let chat = args.to.chat().unwrap_or_default();
    // What is wrong with the message is found before anything is pinned.
    let post = args.post(text(args)?, until);
    let install = context.install()?;
    let mut chooser = Chooser::new(&install)?;
    let selector = args.to.to.clone().unwrap_or_default();
    let mut pins = chooser.pins()?;
    let placing = match pins.pin(chat)? {
        Some(pin) => Placing::Was(pin),
        None => {
            deliverable(&mut chooser, &selector)?;
            let wish = Wish {
                selector: selector.clone(),
                ..Wish::default()
            };
            chooser.place_chat(&mut pins, chat, &wish)?
        }
    };
    // Whether a node is down must not be believed of some seconds ago.
    if chooser.source() == Source::Gateway && matches!(placing, Placing::Was(_)) {
        chooser.observe();
    }
    let pin = placing.pin();
    let known = node_of(&chooser, pin)?;
    match &placing {
        Placing::New(pin) => context.ui.status(format!("{chat}: placed on {}", pin.node)),
        Placing::Was(pin) if !selector.matches(&known.node) => context.ui.warn(format!(
            "{chat} is on {}, which is not `{selector}`; a chat stays where it is",
            pin.node
        )),
        Placing::Was(_) => {}
    }
    if until > Rung::Queued
        && let Some(health) = chooser.advert(&pin.node).map(|a| &a.health)
    {
        up(pin, health)?;
    }
    let (mut sent, mut failed) = (None, None);
    let launches = [known.launch.as_ref().clone()];
    deliver(
        context,
        args,
        &install,
        &launches,
        &post,
        |result| match result {
            Ok(one) => sent = Some(one),
            Err(e) => failed = Some(e),
        },
    )?;
    if let Some(e) = failed {
        return Err(e);
    }
    pins.used([chat])?;
    let Some(sent) = sent else {
        return Err(Error::bug("a message was neither sent nor refused"));
    };
    sent.say(context, args, show);
    if args.json {
        let mut document = sent.document();
        document["node"] = pin.node.as_str().into();
        document["placed"] = matches!(placing, Placing::New(_)).into();
        context.ui.json(&document);
    }
    Ok(worst(std::iter::once(sent.receipt.exit_code())))
}

/// Leaves nodes out that take no messages but by HTTP.
fn deliverable(chooser: &mut Chooser, selector: &Selector) -> Result<()> {
    let takes = |known: &Known| supported(&known.launch).is_ok();
    let meant = chooser.nodes().iter().filter(|k| selector.matches(&k.node));
    let (some, others): (Vec<&Known>, Vec<&Known>) = meant.partition(|k| takes(k));
    if some.is_empty()
        && let Some(first) = others.first()
    {
        return Err(no_channel(first));
    }
    chooser.only(takes);
    Ok(())
}

/// The node of a chat, which messages can be delivered to.
fn node_of<'a>(chooser: &'a Chooser, pin: &Pin) -> Result<&'a Known> {
    let (chat, node) = (&pin.chat, &pin.node);
    let known = chooser.node(node).ok_or_else(|| {
        Error::no(format!(
            "the chat `{chat}` is on `{node}`, which is no node any more"
        ))
        .because("it is disabled, or no longer in the roster")
        .hint(format!(
            "bring it back, or put the chat elsewhere by hand: `mosaic pin move {chat} NODE`"
        ))
    })?;
    match supported(&known.launch) {
        Ok(()) => Ok(known),
        Err(_) => Err(no_channel(known)),
    }
}

fn no_channel(known: &Known) -> Error {
    let (id, runtime) = (&known.node.id, &known.node.runtime);
    Error::no(format!("`{id}` takes no messages by the delivery engine"))
        .because(format!("an agent of runtime `{runtime}` is a server, which only HTTP clients talk to"))
        .hint("chats with servers go through the gateway: `mosaic gateway run`, or `routing: {gateway: true}` in the roster")
}

/// Whether the node of a chat is there. One that waits for a person or for its provider is; its queue is
/// the delivery engine's business.
fn up(pin: &Pin, health: &Health) -> Result<()> {
    match health {
        Health::Healthy | Health::Unfit(_) => Ok(()),
        Health::Refused(why) | Health::Timeout(why) | Health::Unauthorized(why) => {
            let (chat, node) = (&pin.chat, &pin.node);
            Err(Error::no(format!(
                "the node `{node}` of the chat `{chat}` is down, and the chat stays there"
            ))
            .because(why)
            .hint(format!("start it: `mosaic fleet start {node}`"))
            .hint("or let the message wait for it: the same command with `--queue`")
            .hint(format!(
                "or put the chat elsewhere by hand: `mosaic pin move {chat} NODE`"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::routing::node::Dialect;
    use crate::routing::pins::Standing;

    #[test]
    fn a_node_that_is_down_is_named_with_its_chat_and_one_that_waits_is_not_down() {
        let pin = Pin {
            chat: "ISSUE-12".into(),
            node: "coder0".into(),
            dialect: Dialect::Tui,
            standing: Standing::Held,
            native: None,
            revision: 0,
            created: jiff::Timestamp::UNIX_EPOCH,
            used: jiff::Timestamp::UNIX_EPOCH,
        };
        assert!(up(&pin, &Health::Healthy).is_ok());
        assert!(up(&pin, &Health::Unfit("waiting: Run it?".into())).is_ok());
        let e = up(&pin, &Health::Refused("exited: inactive (dead)".into())).unwrap_err();
        assert_eq!(
            e.to_string(),
            "the node `coder0` of the chat `ISSUE-12` is down, and the chat stays there: exited: inactive (dead)"
        );
        assert_eq!(e.kind.exit_code(), 1);
        assert!(e.hints.iter().any(|h| h.contains("--queue")), "{e:?}");
    }
}
