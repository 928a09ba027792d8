//! What an agent is told after a restart that took its conversation up again. No agent CLI finishes
//! a turn that it was cut off in: the history is there, and the agent stands idle.

use jiff::Timestamp;

use super::kickstart::words;
use super::receipt::Receipt;
use super::{Ready, host_name};
use crate::error::Result;
use crate::fleet::OnRestart;
use crate::host::files;
use crate::install::Install;
use crate::launch::Launch;
use crate::record::{self, Process, Run, What};
use crate::report::{self, Report};
use crate::state::account::Account;

/// What the file names the restart message in errors and events.
const WHAT: &str = "the restart message";

/// Sends the restart message if this start calls for one: the roster has one, the start resumed a
/// conversation, and, unless it is always wanted, the agent was in a turn when it ended. Sent once
/// for a start, however often this is called. `ready` is as for the kickstart.
///
/// # Errors
/// The record of the start, or that of the message, cannot be read or written; nothing was sent.
pub fn at_start(
    install: &Install,
    launch: &Launch,
    ready: Option<&Ready>,
) -> Result<Option<Receipt>> {
    let agent = launch.agent.name.as_str();
    let Some(template) = &launch.agent.on_restart_message else {
        return Ok(None);
    };
    let Some(run) = Run::load(&install.paths, agent)?.filter(|run| run.resumed) else {
        return Ok(None);
    };
    if launch.agent.on_restart == OnRestart::Interrupted
        && !interrupted(install, launch, run.started)
    {
        return Ok(None);
    }
    // Marked before it is sent: better no message than two.
    let mark = install.paths.told(agent);
    let this = Process {
        pid: run.pid,
        start_ticks: run.start_ticks,
    };
    if files::read_json::<Process>(&mark)?.as_ref() == Some(&this) {
        return Ok(None);
    }
    files::write_record(&mark, files::to_json(&this).as_bytes())?;
    let receipt = match ready.filter(|r| !r.is_ready()) {
        Some(ready) => Receipt::refused(
            agent,
            format!("`{agent}` is {}: {}", ready.state, ready.evidence.what),
        ),
        None => words(install, launch, &host_name(), WHAT, template),
    };
    record::event(
        &install.paths,
        agent,
        What::RestartMessage {
            receipt: receipt.receipt.as_str().to_owned(),
            why: receipt.reason.clone().unwrap_or_default(),
        },
    );
    Ok(Some(receipt))
}

/// Whether the agent's account says that it was in a turn when this start replaced it. An agent that
/// gives no account was not, as far as anybody knows.
fn interrupted(install: &Install, launch: &Launch, started: Timestamp) -> bool {
    let Some(account) = Account::of(install, launch) else {
        return false;
    };
    let told = |reports: &[Report]| in_turn(reports, started);
    // The end tells nearly always; long output after the last turn does not.
    told(&account.last(None).unwrap_or_default())
        .or_else(|| told(&account.since(0).unwrap_or_default()))
        .unwrap_or(false)
}

/// Whether the last report before `started` that tells of a turn is of one under way; `None` where
/// none tells. A farewell tells nothing: an agent that is ended in a turn says it too.
fn in_turn(reports: &[Report], started: Timestamp) -> Option<bool> {
    let before = reports.iter().rev().filter(|r| r.time < started);
    let mut telling = before.filter_map(|r| match &r.what {
        report::What::Prompt { .. }
        | report::What::Working
        | report::What::Answer { .. }
        | report::What::Waiting { .. } => Some(true),
        report::What::Idle | report::What::Limited { .. } => Some(false),
        report::What::Session { reason, .. } if matches!(reason.as_str(), "clear" | "new") => {
            Some(false)
        }
        report::What::Session { .. } | report::What::Ended { .. } => None,
    });
    telling.next()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::report::What;

    #[test]
    fn a_turn_is_under_way_until_the_agent_said_that_it_ended() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let session = |reason: &str| What::Session {
            id: None,
            file: None,
            reason: reason.into(),
        };
        let ended = || What::Ended {
            reason: String::new(),
        };
        let prompt = || What::Prompt { text: "x".into() };
        let asked = || What::Waiting {
            question: "?".into(),
        };
        let said = || What::Answer { text: "x".into() };
        let table: Vec<(Vec<What>, Option<bool>)> = vec![
            (vec![], None),
            (vec![session("startup")], None),
            (vec![prompt()], Some(true)),
            (vec![prompt(), What::Working, said()], Some(true)),
            (vec![What::Working, asked()], Some(true)),
            (vec![What::Working, ended()], Some(true)),
            (vec![What::Working, session("resume")], Some(true)),
            (vec![What::Working, session("clear")], Some(false)),
            (
                vec![What::Working, said(), What::Idle, ended()],
                Some(false),
            ),
        ];
        for (whats, want) in table {
            let reports: Vec<Report> = whats
                .into_iter()
                .zip(1..)
                .map(|(what, n)| Report { time: at(n), what })
                .collect();
            assert_eq!(in_turn(&reports, at(100)), want, "{reports:?}");
        }
        // What this start's own agent reports is not about the one before.
        let later = Report {
            time: at(100),
            what: What::Working,
        };
        assert_eq!(in_turn(&[later], at(100)), None);
    }
}
