//! Resets by the agent CLI's own command, typed into its box.

use std::time::{Duration, Instant};

use regex::Regex;

use super::idle::{LOOK, no_draft, wait_idle};
use super::interrupt::at_rest;
use super::{Done, ResetOptions, ResetReport};
use crate::delivery::channel::{ChannelKind, Mark};
use crate::delivery::guard::{Hold, Target};
use crate::delivery::opencode;
use crate::delivery::send::put;
use crate::delivery::stop::{Reached, Stop};
use crate::install::Install;
use crate::launch::Launch;
use crate::report;
use crate::runtime::{ResetProof, RuntimeSpec};
use crate::state::account::Account;

/// How long the new conversation is waited for. Measured: 80 ms on an idle machine.
const PROOF_WAIT: Duration = Duration::from_secs(5);

/// How long the agent may take to stand at its prompt again after the command.
const SETTLE_WAIT: Duration = Duration::from_secs(10);

pub(super) fn by_command(
    install: &Install,
    launch: &Launch,
    command: &str,
    options: &ResetOptions,
) -> Result<Done, Stop> {
    if by_its_server(&launch.agent.spec) {
        return by_http(install, launch, options);
    }
    let target = Target::of(install, launch)?;
    let hold = target.lock(options.wait)?;
    let (seen, interrupted) = at_rest(install, launch, options)?;
    no_draft(launch.agent.name.as_str(), &seen)?;
    let mut evidence = Vec::from_iter(interrupted);
    let before = session(install, launch);
    let (_, submitted) = put(&target, &hold, command, options.wait)?;
    let rule = launch.agent.spec.reset.clone().unwrap_or_default();
    let (conversation, pending) = match rule.proof {
        ResetProof::Reported => {
            let id = wait_new_conversation(&target, command, &submitted.mark)?;
            evidence.push(format!("`{command}`: the agent reports a new conversation"));
            (id, None)
        }
        ResetProof::NextMessage => {
            wait_empty(install, launch, command, rule.empty.as_deref())?;
            evidence.push(format!("`{command}`: the screen shows an empty context"));
            let mark = submitted.mark;
            (None, Some(Pending { before, mark }))
        }
    };
    // The context is empty by now; that the agent is slow to show its prompt does not undo it.
    evidence.push(match wait_idle(install, launch, SETTLE_WAIT) {
        Ok(_) => "idle again".to_owned(),
        Err(stop) => format!("not seen idle again: {}", stop.reason),
    });
    Ok(Done {
        evidence,
        conversation,
        pending,
    })
}

/// Whether the agent makes a new conversation without its terminal.
pub(super) fn by_its_server(spec: &RuntimeSpec) -> bool {
    let channels = spec.channels.as_deref();
    channels.is_some_and(|c| c.contains(&ChannelKind::OpencodeHttp))
}

/// opencode makes a new session without its terminal.
fn by_http(install: &Install, launch: &Launch, options: &ResetOptions) -> Result<Done, Stop> {
    let _hold = Hold::take(install, launch.agent.name.as_str(), options.wait)?;
    let mut evidence = Vec::new();
    if options.interrupt {
        evidence.extend(at_rest(install, launch, options)?.1);
    }
    let fresh = opencode::new_session(install, launch, options.wait)?;
    evidence.extend(fresh.evidence);
    Ok(Done {
        evidence,
        conversation: Some(fresh.session),
        pending: None,
    })
}

/// A proof that comes with the next message.
pub(super) struct Pending {
    /// The conversation before the reset, where the agent had named one.
    before: Option<String>,
    mark: Mark,
}

impl Pending {
    /// Holds what the kickstart's record says against the conversation before.
    pub(super) fn settle(self, install: &Install, launch: &Launch, report: &mut ResetReport) {
        let sent = report.kickstart.as_ref().is_some_and(|k| k.succeeded());
        let now = sent
            .then(|| named_since(install, launch, &self.mark))
            .flatten();
        match now {
            Some(id) if self.before.as_ref() == Some(&id) => {
                report.reset = false;
                report.reason = Some(format!(
                    "the kickstart stands in the old conversation `{id}`"
                ));
                report.hint = Some("use `--restart`".to_owned());
            }
            Some(id) => {
                report
                    .evidence
                    .push("the kickstart's record names a new conversation".to_owned());
                report.conversation = Some(id);
            }
            None => report
                .evidence
                .push("the new conversation is named with its next message".to_owned()),
        }
    }
}

/// The conversation that the agent has named last.
fn session(install: &Install, launch: &Launch) -> Option<String> {
    let account = Account::of(install, launch)?;
    let reports = account.last(None).unwrap_or_default();
    report::last_session(&reports)
        .or_else(|| report::last_session(&account.since(0).unwrap_or_default()))
        .and_then(name)
}

fn named_since(install: &Install, launch: &Launch, mark: &Mark) -> Option<String> {
    // A new conversation may be a new file, and the mark is a place in the old one.
    let account = Account::of(install, launch)?;
    let since = account.since(mark.account).unwrap_or_default();
    report::last_session(&since)
        .or_else(|| report::last_session(&account.last(None).unwrap_or_default()))
        .and_then(name)
}

fn name((id, file): (Option<String>, Option<std::path::PathBuf>)) -> Option<String> {
    id.or_else(|| file.map(|f| f.to_string_lossy().into_owned()))
}

fn unproved(reason: String) -> Stop {
    Stop {
        reached: Reached::Typed,
        ..Stop::refused(reason).hint("look at it with `mosaic agent attach`, or use `--restart`")
    }
}

/// Waits until the agent says which conversation it is in now.
fn wait_new_conversation(
    target: &Target<'_>,
    command: &str,
    mark: &Mark,
) -> Result<Option<String>, Stop> {
    let begun = Instant::now();
    loop {
        let reports = target.reported(mark);
        if let Some(session) = report::last_session(&reports) {
            return Ok(name(session));
        }
        if begun.elapsed() >= PROOF_WAIT {
            return Err(unproved(format!(
                "`{command}` was submitted, but the agent reports no new conversation"
            )));
        }
        std::thread::sleep(LOOK / 2);
    }
}

/// Waits until the screen is that of an empty context: an empty box, and the row that tells it.
fn wait_empty(
    install: &Install,
    launch: &Launch,
    command: &str,
    row: Option<&str>,
) -> Result<(), Stop> {
    let row = row
        .map(Regex::new)
        .transpose()
        .map_err(|e| unproved(format!("`reset.empty` is not a regular expression: {e}")))?;
    let begun = Instant::now();
    loop {
        let seen = wait_idle(install, launch, SETTLE_WAIT).map_err(|stop| Stop {
            reached: Reached::Typed,
            retry: false,
            ..stop
        })?;
        let input = seen.screen.as_ref().and_then(|s| s.input.as_ref());
        let empty = input.is_some_and(|i| i.empty);
        let told = match (&row, &seen.pane) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(row), Some(pane)) => install
                .tmux()
                .screen(&pane.id)?
                .lines()
                .any(|line| row.is_match(line.trim_end())),
        };
        if empty && told {
            return Ok(());
        }
        if begun.elapsed() >= PROOF_WAIT {
            return Err(unproved(format!(
                "`{command}` was submitted, but the screen does not show an empty context"
            )));
        }
        std::thread::sleep(LOOK);
    }
}
