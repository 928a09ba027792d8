//! A message to a terminal: by the delivery engine, with its receipt.

use std::cell::Cell;
use std::time::{Duration, Instant};

use axum::http::StatusCode;

use super::{install_of, launch_of};
use crate::delivery::mailbox::{Journal as _, Options, Row, Stage, Style};
use crate::delivery::sanitise::sanitise;
use crate::delivery::{self, Mailbox, Post, Receipt, Rung};
use crate::error::Kind;
use crate::gateway::chats::Api;
use crate::gateway::chats::wire::{Say, Until};
use crate::gateway::reply::Reply;
use crate::install::Install;
use crate::launch::Launch;
use crate::record::Run;

/// How long a receipt is waited for unless told otherwise, as `mosaic agent send` does.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The same for an answer, as `mosaic agent ask` does.
const ANSWER: Duration = Duration::from_secs(600);

/// What is said of an agent that is down.
const GONE: &str = "it does not run";

/// The longest wait: beyond an hour a client does better to read the conversation.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// The receipt.
    Receipt(Box<Receipt>),
    /// The agent is down, and nothing was stored; why.
    Down(String),
}

/// How long the receipt of a message is waited for.
pub fn timeout(say: &Say) -> Duration {
    say.timeout_secs
        .map(Duration::from_secs)
        .unwrap_or(match say.until {
            Some(Until::Answered) => ANSWER,
            _ => TIMEOUT,
        })
        .min(LONGEST)
}

/// Says something in a chat.
///
/// # Errors
/// The client's answer: 400, 409 for an id of another message, 503 for a node that is down.
pub async fn say(api: &Api, node: &str, chat: &str, say: Say) -> Result<Receipt, Reply> {
    let post = Post {
        timeout: timeout(&say),
        text: say.text.into_bytes(),
        id: say.id,
        sender: delivery::sender(say.sender.as_deref(), None),
        host: delivery::host_name(),
        chat: Some(chat.to_owned()),
        options: Options {
            style: if say.raw { Style::Raw } else { Style::Message },
            ..Options::default()
        },
        until: say.until.unwrap_or(Until::Accepted).into(),
        no_queue: false,
        expires: say.expires_secs.map(Duration::from_secs),
    };
    match send(api, node, post).await? {
        Outcome::Receipt(receipt) => Ok(*receipt),
        Outcome::Down(why) => Err(Reply::down(node, chat, &why)),
    }
}

/// Sends, on a thread of its own. A client that goes away leaves the message in the mailbox, where the
/// courier finds it.
///
/// # Errors
/// 400, 409, 503.
pub async fn send(api: &Api, node: &str, post: Post) -> Result<Outcome, Reply> {
    let install = install_of(&api.gateway, node)?;
    let node = node.to_owned();
    api.delivering
        .run(&api.gateway.stopping, move |left| {
            let chat = post.chat.clone().unwrap_or_default();
            let launch = launch_of(&install, &node, &chat)?;
            if post.until == Rung::Queued || known(&install, &post)? {
                return hand_over(&install, &launch, &post, left).map(Outcome::of);
            }
            if !alive(&install, &node) {
                return Ok(Outcome::Down(GONE.to_owned()));
            }
            again(&install, &post)?;
            let begun = Instant::now();
            let gone = Cell::new(false);
            let stop = || {
                gone.set(!alive(&install, &node));
                gone.get() || left()
            };
            let receipt = hand_over(&install, &launch, &post, &stop)?;
            if !gone.get() || receipt.succeeded() {
                return Ok(Outcome::of(receipt));
            }
            if receipt.receipt == Rung::Queued && taken_back(&install, &receipt.id)? {
                return Ok(Outcome::Down(GONE.to_owned()));
            }
            // It died with the message in hand: what became of that is found out when it is back.
            let rest = Post {
                id: Some(receipt.id),
                timeout: post.timeout.saturating_sub(begun.elapsed()),
                ..post
            };
            hand_over(&install, &launch, &rest, left).map(Outcome::of)
        })
        .await?
}

impl Outcome {
    fn of(receipt: Receipt) -> Self {
        Self::Receipt(Box::new(receipt))
    }
}

fn alive(install: &Install, node: &str) -> bool {
    let run = Run::load(&install.paths, node).ok().flatten();
    run.is_some_and(|r| r.alive())
}

fn hand_over(
    install: &Install,
    launch: &Launch,
    post: &Post,
    stop: &dyn Fn() -> bool,
) -> Result<Receipt, Reply> {
    delivery::post(install, launch, post, stop, &|_| {}).map_err(|e| match e.kind {
        Kind::Usage if taken(install, post) => Reply::new(StatusCode::CONFLICT, e.to_string()),
        _ => Reply::from(e),
    })
}

/// Takes a message back whose agent died before anything of it had left: its sender is told that the node
/// is down, and may send it again under its id.
fn taken_back(install: &Install, id: &str) -> Result<bool, Reply> {
    let mailbox = Mailbox::open(&install.paths)?;
    loop {
        let mut row = mailbox.require(id)?;
        if row.stage != Stage::Queued {
            return Ok(false);
        }
        row.stage = Stage::Cancelled;
        row.outcome.reason = Some(GONE.to_owned());
        row.changed = jiff::Timestamp::now();
        if mailbox.save(&mut row)? {
            return Ok(true);
        }
    }
}

/// Puts a message into the queue again that [`taken_back`] took out of it.
fn again(install: &Install, post: &Post) -> Result<(), Reply> {
    let Some(id) = &post.id else { return Ok(()) };
    let mailbox = Mailbox::open(&install.paths)?;
    let text = sanitise(&post.text).text;
    let ours = |row: &Row| {
        row.stage == Stage::Cancelled
            && row.outcome.reason.as_deref() == Some(GONE)
            && row.text == text
    };
    if mailbox.row(id)?.as_ref().is_some_and(ours) {
        mailbox.retry(id)?;
    }
    Ok(())
}

/// Whether the message was sent before and has come as far as is asked: then nobody is needed for it.
fn known(install: &Install, post: &Post) -> Result<bool, Reply> {
    let Some(id) = &post.id else {
        return Ok(false);
    };
    let row = Mailbox::open(&install.paths)?.row(id)?;
    Ok(row.is_some_and(|row| !row.stage.pending() && row.stage.rung() >= post.until))
}

/// Whether its id belongs to a message that is stored.
fn taken(install: &Install, post: &Post) -> bool {
    let row = |id: &String| Mailbox::open(&install.paths)?.row(id);
    let stored = post.id.as_ref().map(row);
    matches!(stored, Some(Ok(Some(_))))
}

/// The status for a receipt: 200 for the one asked for or a better one, 202 for a message that is only to
/// be stored, 409 where it certainly was not delivered and will not be, 504 where time was up or what
/// became of it is not known: the receipt says how it stands.
pub fn status_of(receipt: Rung, asked: Rung, succeeded: bool) -> StatusCode {
    match (succeeded, receipt) {
        (true, Rung::Queued) if asked == Rung::Queued => StatusCode::ACCEPTED,
        (true, _) => StatusCode::OK,
        (false, Rung::Refused) => StatusCode::CONFLICT,
        (false, _) => StatusCode::GATEWAY_TIMEOUT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_follows_the_receipt() {
        for (receipt, asked, succeeded, status) in [
            (Rung::Queued, Rung::Queued, true, 202),
            (Rung::Accepted, Rung::Queued, true, 200),
            (Rung::Accepted, Rung::Accepted, true, 200),
            (Rung::Queued, Rung::Accepted, false, 504),
            (Rung::Typed, Rung::Accepted, false, 504),
            (Rung::Uncertain, Rung::Accepted, false, 504),
            (Rung::Accepted, Rung::Answered, false, 504),
            (Rung::Refused, Rung::Queued, false, 409),
        ] {
            assert_eq!(
                status_of(receipt, asked, succeeded).as_u16(),
                status,
                "{receipt:?} {asked:?}"
            );
        }
    }

    #[test]
    fn waits_are_bounded() {
        let of = |until, timeout_secs| {
            timeout(&Say {
                until,
                timeout_secs,
                ..Say::default()
            })
            .as_secs()
        };
        assert_eq!(of(None, None), 30);
        assert_eq!(of(Some(Until::Answered), None), 600);
        assert_eq!(of(None, Some(0)), 0);
        assert_eq!(of(None, Some(u64::MAX)), 3600);
    }
}
