//! What became of messages that are with their agents: looked up in the agents' own records, which needs
//! no way into an agent, and no agent that runs. Nothing is handed over and nobody is waited for.

use jiff::Timestamp;

use super::channel::{ChannelKind, Found, find_in};
use super::codex::rollout;
use super::deliver::found_in;
use super::mailbox::{Journal, Mailbox, Row, Stage};
use crate::error::Result;
use crate::install::Install;
use crate::launch::Launch;
use crate::report;
use crate::state::account::Account;

/// Looks for those of `rows` whose record may have grown, and writes down what is new. Returns the rows as
/// they stand then.
///
/// # Errors
/// The mailbox cannot be read or written.
pub fn follow(
    install: &Install,
    launch: &Launch,
    mailbox: &Mailbox,
    rows: Vec<Row>,
) -> Result<Vec<Row>> {
    let account = Account::of(install, launch);
    rows.into_iter()
        .map(|row| {
            let open = matches!(
                row.stage,
                Stage::Submitted | Stage::Uncertain | Stage::Accepted
            );
            let found = match open && row.agent == launch.agent.name.as_str() {
                true => found_in(row.clone(), look(account.as_ref(), &row)),
                false => None,
            };
            let Some(mut found) = found else {
                return Ok(row);
            };
            found.changed = Timestamp::now();
            if mailbox.save(&mut found)? {
                return Ok(found);
            }
            // Somebody else found out about it first.
            Ok(mailbox.row(&row.id)?.unwrap_or(row))
        })
        .collect()
}

fn look(account: Option<&Account>, row: &Row) -> Found {
    let (Some(message), Some(mark)) = (row.outgoing(), &row.mark) else {
        return Found::Nothing;
    };
    if row.channel == Some(ChannelKind::CodexServer) {
        return match &mark.transcript {
            Some((path, length)) => report::lines_since(path, *length)
                .map_or(Found::Nothing, |lines| rollout::find(&lines, message.id)),
            None => Found::Nothing,
        };
    }
    match account.map(|a| a.since(mark.account)) {
        Some(Ok(reports)) => find_in(&reports, message.text),
        _ => Found::Nothing,
    }
}
