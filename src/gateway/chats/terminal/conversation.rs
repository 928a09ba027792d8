//! What was said in a chat on a terminal: the mailbox has what was sent, the agent's own record what it
//! answered.

use jiff::Timestamp;

use super::{install_of, launch_of};
use crate::delivery::Mailbox;
use crate::delivery::followed::follow;
use crate::delivery::mailbox::{Row, Stage};
use crate::error::Result;
use crate::gateway::chats::Api;
use crate::gateway::chats::wire::{Message, Role};
use crate::gateway::reply::Reply;
use crate::install::Install;
use crate::launch::Launch;
use crate::routing::pins::Pin;

/// The conversation of a chat, as far as it is known now.
///
/// # Errors
/// 503: the node is not in the fleet. 500: the mailbox cannot be read.
pub async fn conversation(api: &Api, pin: &Pin) -> Result<Vec<Message>, Reply> {
    let install = install_of(&api.gateway, &pin.node)?;
    let pin = pin.clone();
    api.looking
        .run(&api.gateway.stopping, move |_| {
            let launch = launch_of(&install, &pin.node, &pin.chat)?;
            let rows = rows(&install, &launch, &pin.chat, pin.created)?;
            Ok(rows.iter().flat_map(messages_of).collect())
        })
        .await?
}

/// The messages of a chat since it was placed, each as far as its agent's record has it now. One that was
/// sent to the node before the chat was moved by hand stands as it stood. Blocks.
///
/// # Errors
/// The mailbox cannot be read or written.
pub fn rows(install: &Install, launch: &Launch, chat: &str, since: Timestamp) -> Result<Vec<Row>> {
    let mailbox = Mailbox::open(&install.paths)?;
    let rows = mailbox.of_chat(chat, since)?;
    follow(install, launch, &mailbox, rows)
}

/// A sent message, and its answer where there is one.
pub fn messages_of(row: &Row) -> Vec<Message> {
    let reason = match row.stage {
        Stage::Cancelled => Some("it was cancelled before it was delivered".to_owned()),
        Stage::Expired => Some("its time was over before it could be delivered".to_owned()),
        _ => row.outcome.reason.clone(),
    };
    let sent = Message {
        time: Some(row.created),
        receipt: Some(row.stage.rung()),
        reason,
        sender: Some(row.sender.clone()),
        ..Message::said(row.id.clone(), Role::User, row.text.clone())
    };
    let answer = row
        .outcome
        .answer
        .as_ref()
        .filter(|_| row.stage == Stage::Answered);
    let answer = answer.map(|text| Message {
        time: Some(row.changed),
        reply_to: Some(row.id.clone()),
        ..Message::said(format!("{}.answer", row.id), Role::Agent, text.clone())
    });
    [Some(sent), answer].into_iter().flatten().collect()
}
