//! A node's conversation from its agent's own record: each prompt, and all that was said in the turn after
//! it as one message, which grows while the turn lasts.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;

use super::wire::{AgentMessage, ConversationRole};
use crate::gateway::chats::{Api, terminal};
use crate::gateway::reply::Reply;
use crate::report::{Report, What};
use crate::state::account::Account;

/// Most messages that are given, the newest: records reach back to the agent's first day.
const MOST: usize = 1000;

/// A conversation, and what its record looked like when it was read.
pub struct Said {
    /// Oldest first.
    pub messages: Vec<AgentMessage>,
    /// For [`said`].
    pub print: u64,
}

/// What was said on a node so far; `None` where its record is as it was when it had the print `before`.
///
/// # Errors
/// 503: the node is not in the fleet. 500: its record cannot be read.
pub async fn said(api: &Api, node: &str, before: Option<u64>) -> Result<Option<Said>, Reply> {
    let install = terminal::install_of(&api.gateway, node)?;
    let node = node.to_owned();
    api.looking
        .run(&api.gateway.stopping, move |_| {
            let launch = terminal::launch_of(&install, &node, "")?;
            let account = Account::of(&install, &launch);
            let print = account.as_ref().map_or(0, print);
            if before == Some(print) {
                return Ok(None);
            }
            let reports = match account {
                Some(account) => account.since(0)?,
                None => Vec::new(),
            };
            let mut messages = messages(&reports);
            messages.drain(..messages.len().saturating_sub(MOST));
            Ok(Some(Said { messages, print }))
        })
        .await?
}

/// Changes with the files of a record.
fn print(account: &Account) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in account.files() {
        let meta = std::fs::metadata(&path).ok();
        let of = meta.map(|m| (m.mtime(), m.mtime_nsec(), m.size(), m.ino()));
        (path, of).hash(&mut hasher);
    }
    hasher.finish()
}

fn messages(reports: &[Report]) -> Vec<AgentMessage> {
    let mut said: Vec<AgentMessage> = Vec::new();
    for report in reports {
        let (role, text) = match &report.what {
            What::Prompt { text } => (ConversationRole::User, text),
            What::Answer { text } => (ConversationRole::Agent, text),
            _ => continue,
        };
        match said.last_mut() {
            Some(last) if role == ConversationRole::Agent && last.role == role => {
                last.content.push_str("\n\n");
                last.content.push_str(text);
            }
            _ => said.push(AgentMessage {
                id: said.len() as u64,
                content: text.clone(),
                role,
                time: report.time,
            }),
        }
    }
    said
}

/// What is new or has grown.
pub fn changed<'a>(before: &[AgentMessage], now: &'a [AgentMessage]) -> Vec<&'a AgentMessage> {
    let first = before.first().map_or(0, |m| m.id);
    let known = |m: &AgentMessage| {
        let at = usize::try_from(m.id.checked_sub(first)?).ok()?;
        before.get(at)
    };
    now.iter().filter(|m| known(m) != Some(m)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn report(what: What) -> Report {
        Report {
            time: Timestamp::UNIX_EPOCH,
            what,
        }
    }

    #[test]
    fn a_turn_is_one_message_that_grows() {
        let prompt = |text: &str| report(What::Prompt { text: text.into() });
        let answer = |text: &str| report(What::Answer { text: text.into() });
        let all = [
            prompt("one"),
            report(What::Working),
            answer("a"),
            answer("b"),
            report(What::Idle),
            prompt("two"),
            prompt("three"),
        ];
        let texts = |n: usize| -> Vec<(u64, String)> {
            let said = messages(&all[..n]);
            said.into_iter().map(|m| (m.id, m.content)).collect()
        };
        let of = |id, text: &str| (id, text.to_owned());
        assert_eq!(texts(3), [of(0, "one"), of(1, "a")]);
        assert_eq!(
            texts(7),
            [of(0, "one"), of(1, "a\n\nb"), of(2, "two"), of(3, "three")]
        );
        let (before, now) = (messages(&all[..3]), messages(&all));
        let ids: Vec<u64> = changed(&before, &now).iter().map(|m| m.id).collect();
        assert_eq!(ids, [1, 2, 3]);
        assert!(changed(&now, &now).is_empty());
        // The oldest are left out at some time; the rest is what it was.
        assert!(changed(&now, &now[2..]).is_empty());
        assert_eq!(changed(&now[2..], &now).len(), 2);
    }
}
