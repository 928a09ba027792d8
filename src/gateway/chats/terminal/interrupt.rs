//! Breaks off what a chat on a terminal has under way: what waits in the mailbox is taken back, and the
//! turn is broken off by the agent CLI's own key, if it is this chat's turn.

use std::time::Duration;

use axum::http::StatusCode;

use super::{install_of, launch_of, seen};
use crate::delivery::Mailbox;
use crate::delivery::followed::follow;
use crate::delivery::guard::Hold;
use crate::delivery::mailbox::{Row, Stage};
use crate::delivery::reset::interrupt;
use crate::delivery::stop::Stop;
use crate::gateway::chats::Api;
use crate::gateway::chats::wire::{Cancelled, idle};
use crate::gateway::reply::Reply;
use crate::install::Install;
use crate::launch::Launch;
use crate::routing::pins::Pin;
use crate::state::State;

/// How long the pane is waited for: whoever delivers holds it for a second or two.
const HOLD: Duration = Duration::from_secs(5);

/// Breaks a chat's turn off.
///
/// # Errors
/// 409: it asks something, which is left to a person. 503: it works on all the same, or cannot be reached.
pub async fn cancel(api: &Api, pin: &Pin) -> Result<Cancelled, Reply> {
    let install = install_of(&api.gateway, &pin.node)?;
    let pin = pin.clone();
    api.delivering
        .run(&api.gateway.stopping, move |_| {
            let launch = launch_of(&install, &pin.node, &pin.chat)?;
            let mailbox = Mailbox::open(&install.paths)?;
            let mut taken_back = Vec::new();
            for row in mailbox.of_chat(&pin.chat, pin.created)? {
                if row.stage == Stage::Queued && mailbox.cancel(&row.id)?.stage == Stage::Cancelled
                {
                    taken_back.push(row.id);
                }
            }
            let done = |interrupted, what: String| Cancelled {
                chat: pin.chat.clone(),
                node: pin.node.clone(),
                interrupted,
                taken_back: taken_back.clone(),
                what,
            };
            let stopped = |stop: Stop| failed(&pin.node, &pin.chat, stop);
            let _hold = Hold::take(&install, &pin.node, HOLD).map_err(stopped)?;
            if let Some(other) = not_its_turn(&install, &launch, &mailbox, &pin)? {
                return Ok(done(false, other));
            }
            match press(&install, &launch).map_err(stopped)? {
                Some(what) => Ok(done(true, what)),
                None => Ok(done(false, format!("`{}` is not working", pin.node))),
            }
        })
        .await?
}

/// Breaks off whatever turn a node is in.
///
/// # Errors
/// As of [`cancel`].
pub async fn break_off(api: &Api, node: &str) -> Result<Option<String>, Reply> {
    let install = install_of(&api.gateway, node)?;
    let node = node.to_owned();
    api.delivering
        .run(&api.gateway.stopping, move |_| {
            let launch = launch_of(&install, &node, "")?;
            let stopped = |stop: Stop| failed(&node, "", stop);
            let _hold = Hold::take(&install, &node, HOLD).map_err(stopped)?;
            press(&install, &launch).map_err(stopped)
        })
        .await?
}

/// Presses the key while the agent works; a dialog is told of, and left alone.
fn press(install: &Install, launch: &Launch) -> Result<Option<String>, Stop> {
    let agent = launch.agent.name.as_str();
    let now = seen(install, launch);
    if now.state == State::Waiting {
        return Err(Stop {
            retry: false,
            ..Stop::refused(format!(
                "`{agent}` asks something, and no key answers it: {}",
                now.evidence.what
            ))
        }
        .hint(format!("answer it: `mosaic agent approve {agent}`")));
    }
    interrupt(install, launch)
}

/// Why the turn that the agent is in is not this chat's; `None` when it is. The last message that was
/// handed to it began its turn, unless that turn has ended.
fn not_its_turn(
    install: &Install,
    launch: &Launch,
    mailbox: &Mailbox,
    pin: &Pin,
) -> crate::error::Result<Option<String>> {
    let node = launch.agent.name.as_str();
    let last = mailbox.last_with_agent(node)?;
    let rows = follow(install, launch, mailbox, last.into_iter().collect())?;
    Ok(other_turn(node, &pin.chat, rows.last()))
}

fn other_turn(node: &str, chat: &str, last: Option<&Row>) -> Option<String> {
    let last = last.filter(|row| row.stage != Stage::Answered);
    match last {
        Some(row) if row.chat.as_deref() == Some(chat) => None,
        _ => Some(idle(node, chat)),
    }
}

fn failed(node: &str, chat: &str, stop: Stop) -> Reply {
    let status = match stop.retry {
        true => StatusCode::SERVICE_UNAVAILABLE,
        false => StatusCode::CONFLICT,
    };
    let hint = stop.hint.map(|h| format!("; {h}")).unwrap_or_default();
    let of = match chat {
        "" => String::new(),
        chat => format!(" of the chat `{chat}`"),
    };
    Reply::new(
        status,
        format!(
            "the turn{of} on the node `{node}` was not broken off: {}{hint}",
            stop.reason
        ),
    )
}
