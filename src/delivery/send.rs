//! Sends a message: cleans it, stores it in the mailbox, and works on its agent's queue until it has the
//! receipt asked for.

use std::time::{Duration, Instant};

use super::channel::supported;
use super::drain::{DrainOptions, drain, drain_on};
use super::guard::{Submitted, Target};
use super::machine::{Machine, Text, composed};
use super::mailbox::{Draft, Mailbox, NewMessage, Options, Row, Stage, Style};
use super::receipt::{Receipt, Rung};
use super::sanitise::sanitise;
use super::stop::Stop;
use crate::error::Result;
use crate::install::Install;
use crate::launch::Launch;

/// How long the agent's own record is waited for after the box let the message go. The slowest
/// measured one takes 0.8 s, for the first message of a session.
pub const ACCEPT_WAIT: Duration = Duration::from_secs(2);

/// How long a sender waits for the pane and then for an empty box, unless told otherwise.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(10);

/// A message to be sent, and what is asked for it.
#[derive(Debug, Clone)]
pub struct Post {
    /// The text as given, of any bytes.
    pub text: Vec<u8>,
    /// Its id; a random one when `None`. A message of the same id is never delivered twice.
    pub id: Option<String>,
    /// Who sends, see [`sender`].
    pub sender: String,
    /// Short name of this host, see [`host_name`].
    pub host: String,
    /// The chat that it belongs to.
    pub chat: Option<String>,
    /// How it is to be delivered.
    pub options: Options,
    /// The receipt asked for.
    pub until: Rung,
    /// How long it is waited for.
    pub timeout: Duration,
    /// What has not left when time is up is taken back.
    pub no_queue: bool,
    /// Not delivered after this time from now.
    pub expires: Option<Duration>,
}

/// Sends, and waits for the receipt asked for. `stop` is asked meanwhile whether to leave off;
/// `waiting` is told what is waited for. The message stays in the mailbox when time is up, and is
/// delivered by whoever works on the agent's queue next.
///
/// # Errors
/// The mailbox cannot be read or written; or its id belongs to another message.
pub fn post(
    install: &Install,
    launch: &Launch,
    post: &Post,
    stop: &dyn Fn() -> bool,
    waiting: &dyn Fn(&str),
) -> Result<Receipt> {
    let begun = Instant::now();
    let clean = sanitise(&post.text);
    let agent = launch.agent.name.as_str();
    let id = match &post.id {
        Some(id) => id.clone(),
        None => uuid::Uuid::new_v4().to_string(),
    };
    let form = Text {
        id: &id,
        sender: &post.sender,
        host: &post.host,
        text: &clean.text,
        options: &post.options,
    };
    // What can never be delivered is not stored.
    if let Err(refused) = supported(launch).and_then(|()| composed(install, launch, &form, None)) {
        return Ok(Receipt {
            id,
            chat: post.chat.clone(),
            asked: post.until,
            dropped: clean.dropped,
            ..Receipt::stopped(agent, refused)
        });
    }
    let now = jiff::Timestamp::now();
    let mailbox = Mailbox::open(&install.paths)?;
    let machine = Machine::new(install, launch);
    if post.until > Rung::Queued {
        machine.hold_early();
    }
    let row = mailbox.enqueue(&NewMessage {
        id: Some(id),
        agent: agent.to_owned(),
        sender: post.sender.clone(),
        host: post.host.clone(),
        chat: post.chat.clone(),
        text: clean.text,
        dropped: clean.dropped,
        options: post.options.clone(),
        expires: post
            .expires
            .and_then(|t| jiff::SignedDuration::try_from(t).ok())
            .and_then(|t| now.checked_add(t).ok()),
    })?;
    if !row.stage.pending() {
        // It was sent before: only its record is looked at, which may take as long as its turn.
        machine.let_go();
    }
    if post.until == Rung::Queued {
        return Ok(row.receipt(post.until, begun.elapsed()));
    }
    let drained = drain_on(
        &mailbox,
        &machine,
        &DrainOptions {
            until: Some((&row.id, post.until)),
            wait: post.timeout,
            stop,
            waiting,
        },
    )?;
    let mut row = drained.row.unwrap_or(row);
    let mut waits = drained.waits;
    if stop()
        && let Some(waits) = &mut waits
    {
        waits.reason = format!("interrupted while waiting: {}", waits.reason);
    }
    let mut taken_back = false;
    if post.no_queue && row.stage == Stage::Queued {
        row = mailbox.cancel(&row.id)?;
        taken_back = row.stage == Stage::Cancelled;
    }
    Ok(at_the_end(&row, post.until, begun, waits, taken_back))
}

/// The receipt when waiting is over: what it still waits for is said.
fn at_the_end(
    row: &Row,
    asked: Rung,
    begun: Instant,
    waits: Option<Stop>,
    taken_back: bool,
) -> Receipt {
    let mut receipt = row.receipt(asked, begun.elapsed());
    let Some(waits) = waits.filter(|_| !receipt.succeeded()) else {
        return receipt;
    };
    if taken_back {
        // Nothing of it was delivered, and nothing will be.
        return Receipt {
            reason: Some(waits.reason),
            hint: waits.hint,
            screen: waits.seen,
            retry: true,
            ..receipt
        };
    }
    if matches!(
        row.stage,
        Stage::Queued | Stage::Typing | Stage::Submitted | Stage::Accepted
    ) {
        let then = match row.stage {
            Stage::Queued => "; it stays in the mailbox and is delivered later",
            _ => "",
        };
        receipt.reason = Some(format!("{}{then}", waits.reason));
        receipt.hint = waits.hint;
        receipt.screen = waits.seen;
        receipt.retry = true;
    }
    receipt
}

/// A message of mosaic's own to an agent: delivered now, before all that wait, or not at all.
#[derive(Debug, Clone)]
pub struct Message {
    /// The text as given, of any bytes.
    pub text: Vec<u8>,
    /// Who sends, see [`sender`].
    pub sender: String,
    /// Short name of this host, see [`host_name`].
    pub host: String,
    /// Whether sender and receiver are named before the text.
    pub preamble: bool,
    /// How long to wait until it can be delivered.
    pub wait: Duration,
    /// How long more to wait for the agent's own record.
    pub accept_wait: Duration,
}

/// Who sends: as told by the user, else the agent this process runs in, else `user`.
pub fn sender(told: Option<&str>, agent: Option<&str>) -> String {
    let given = |text: &&str| !text.trim().is_empty();
    told.filter(given)
        .or(agent.filter(given))
        .unwrap_or("user")
        .to_owned()
}

/// The short name of this host.
pub fn host_name() -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    let short = name.split('.').next().unwrap_or_default();
    if short.is_empty() { "localhost" } else { short }.to_owned()
}

/// Sends a message of mosaic's own. Whatever happens is told by the receipt.
pub fn send(install: &Install, launch: &Launch, message: &Message) -> Receipt {
    let style = if message.preamble {
        Style::Message
    } else {
        Style::Bare
    };
    let one = Post {
        text: message.text.clone(),
        id: None,
        sender: message.sender.clone(),
        host: message.host.clone(),
        chat: None,
        options: Options {
            style,
            draft: Draft::Wait,
            first: true,
            ..Options::default()
        },
        until: Rung::Submitted,
        timeout: message.wait,
        no_queue: true,
        expires: None,
    };
    let sent = post(install, launch, &one, &|| false, &|_| {}).and_then(|receipt| {
        if !receipt.succeeded() {
            return Ok(receipt);
        }
        // It is submitted; that the agent has it on record is worth a moment.
        let drained = drain(
            install,
            launch,
            &DrainOptions {
                until: Some((&receipt.id, Rung::Accepted)),
                wait: message.accept_wait,
                ..DrainOptions::default()
            },
        )?;
        let elapsed = Duration::from_millis(receipt.elapsed_ms);
        Ok(drained
            .row
            .map_or(receipt, |row| row.receipt(Rung::Submitted, elapsed)))
    });
    match sent {
        Ok(receipt) => receipt,
        Err(e) => Receipt::stopped(launch.agent.name.as_str(), Stop::of(&e)),
    }
}

/// [`send`], for what records by itself what it sent.
pub(super) fn deliver(install: &Install, launch: &Launch, message: &Message) -> Receipt {
    send(install, launch, message)
}

/// Waits for an empty box, fills it, submits: for a text that is no message. The caller holds the agent.
pub(super) fn put(
    target: &Target<'_>,
    _hold: &super::guard::Hold,
    text: &str,
    wait: Duration,
) -> std::result::Result<(String, Submitted), Stop> {
    let (pane, _) = target.ready(wait, Draft::Wait)?;
    let mark = target.mark();
    let held = target.fill(&pane, text)?;
    let done = target.submit(text, &mark, Instant::now())?;
    Ok((held, done))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sender_is_told_or_the_agent_or_the_user() {
        assert_eq!(sender(Some("rev0"), Some("coder0")), "rev0");
        assert_eq!(sender(None, Some("coder0")), "coder0");
        assert_eq!(sender(Some(" "), None), "user");
        assert!(!host_name().contains('.'));
    }
}
