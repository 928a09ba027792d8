//! Tasks that start from an empty context: whether an agent must be reset before its next one.

use std::time::Duration;

use jiff::Timestamp;

use super::channel::same;
use super::kickstart;
use super::mailbox::{Mailbox, Which};
use crate::error::Result;
use crate::host::lock::{self, Lock};
use crate::install::Install;
use crate::launch::Launch;
use crate::record::{self, Event, What};
use crate::report::{self, Report};
use crate::state::account::Account;

/// Takes an agent for one task, from the reset to the message: another task would else come between.
///
/// # Errors
/// Others hold it all the time.
pub fn hold(install: &Install, agent: &str, wait: Duration) -> Result<Lock> {
    let path = install.paths.pane_lock(agent).with_extension("task.lock");
    lock::exclusive(&path, &format!("the next task of `{agent}`"), wait)
}

/// Whether the agent was told anything but its kickstart since its context was emptied last, and its
/// roster wants tasks to begin with an empty one. A message that is known by its id already is no new
/// task.
///
/// # Errors
/// The mailbox or the agent's account cannot be read.
pub fn reset_is_due(install: &Install, launch: &Launch, id: Option<&str>) -> Result<bool> {
    if !launch.agent.reset_between_tasks {
        return Ok(false);
    }
    let agent = launch.agent.name.as_str();
    let mailbox = Mailbox::open(&install.paths)?;
    let rows = mailbox.list(Some(agent), Which::All)?;
    if id.is_some_and(|id| rows.iter().any(|row| row.id == id)) {
        return Ok(false);
    }
    let emptied = emptied(&record::events(&install.paths, Some(agent)));
    // Without an account nobody knows what a person typed.
    let Some(account) = Account::of(install, launch) else {
        return Ok(true);
    };
    let own = kickstart::texts(launch);
    Ok(told(&account.since(0)?, emptied, &own))
}

/// When the agent's context was emptied last: by a reset, or by a start with a new conversation.
fn emptied(events: &[Event]) -> Timestamp {
    let last = events.iter().rev().find(|e| match &e.what {
        What::Started { resumed, .. } => !resumed,
        What::Command { verb, detail } => verb == "reset" && !detail.contains(" failed: "),
        _ => false,
    });
    last.map_or(Timestamp::MIN, |e| e.time)
}

/// Whether a message reached the agent since then that is none of mosaic's own. A conversation begun
/// by hand is an empty context too.
fn told(reports: &[Report], since: Timestamp, own: &[String]) -> bool {
    let mut told = false;
    for report in reports.iter().filter(|r| r.time >= since) {
        match &report.what {
            report::What::Prompt { text } => told |= !own.iter().any(|o| same(text, o)),
            report::What::Session { reason, .. } if matches!(reason.as_str(), "clear" | "new") => {
                told = false;
            }
            _ => {}
        }
    }
    told
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_agent_is_used_once_it_was_told_anything_but_its_kickstart() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let prompt = |text: &str| report::What::Prompt { text: text.into() };
        let clear = || report::What::Session {
            id: None,
            file: None,
            reason: "clear".into(),
        };
        let own = ["begin".to_owned()];
        let table = [
            (vec![], false),
            (vec![prompt("begin")], false),
            (vec![prompt("begin"), prompt("do it")], true),
            (vec![prompt("do it"), clear()], false),
            (vec![clear(), prompt("do it"), report::What::Idle], true),
        ];
        for (whats, want) in table {
            let reports: Vec<Report> = whats
                .into_iter()
                .zip(1..)
                .map(|(what, n)| Report { time: at(n), what })
                .collect();
            assert_eq!(told(&reports, at(0), &own), want, "{reports:?}");
            assert!(!told(&reports, at(100), &own));
        }
    }

    #[test]
    fn a_context_is_emptied_by_a_reset_that_worked_and_by_a_fresh_start() {
        let event = |second, what| Event {
            time: Timestamp::from_second(second).unwrap(),
            agent: "a".into(),
            what,
        };
        let reset = |detail: &str| What::Command {
            verb: "reset".into(),
            detail: detail.into(),
        };
        let started = |resumed| What::Started {
            pid: 1,
            pane: "%1".into(),
            resumed,
        };
        let events = [
            event(1, started(false)),
            event(2, reset("clear")),
            event(3, reset("clear failed: it is working")),
            event(4, started(true)),
        ];
        let seconds = |n: usize| emptied(&events[..n]).as_second();
        assert_eq!((seconds(1), seconds(2), seconds(4)), (1, 2, 2));
        assert_eq!(emptied(&[]), Timestamp::MIN);
    }
}
