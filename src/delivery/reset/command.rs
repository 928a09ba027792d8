//! Resets by the agent CLI's own command, typed into its box.

use std::time::{Duration, Instant};

use super::idle::{LOOK, wait_idle};
use super::{Done, ResetOptions};
use crate::delivery::channel::{ChannelKind, Mark};
use crate::delivery::guard::{Hold, Target};
use crate::delivery::opencode;
use crate::delivery::send::put;
use crate::delivery::stop::{Reached, Stop};
use crate::install::Install;
use crate::launch::Launch;
use crate::report;

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
    let channels = launch.agent.spec.channels.as_deref();
    if channels.is_some_and(|c| c.contains(&ChannelKind::OpencodeHttp)) {
        return by_http(install, launch, options);
    }
    let target = Target::of(install, launch)?;
    let hold = target.lock(options.wait)?;
    wait_idle(install, launch, options.wait)?;
    let (_, submitted) = put(&target, &hold, command, options.wait)?;
    let conversation = wait_new_conversation(&target, &hold, command, &submitted.mark)?;
    let mut evidence = vec![format!("`{command}`: the agent reports a new conversation")];
    // The context is empty by now; that the agent is slow to show its prompt does not undo it.
    evidence.push(match wait_idle(install, launch, SETTLE_WAIT) {
        Ok(()) => "idle again".to_owned(),
        Err(stop) => format!("not seen idle again: {}", stop.reason),
    });
    Ok(Done {
        evidence,
        conversation,
    })
}

/// opencode makes a new session without its terminal.
fn by_http(install: &Install, launch: &Launch, options: &ResetOptions) -> Result<Done, Stop> {
    let _hold = Hold::take(install, launch.agent.name.as_str(), options.wait)?;
    let fresh = opencode::new_session(install, launch, options.wait)?;
    Ok(Done {
        evidence: fresh.evidence,
        conversation: Some(fresh.session),
    })
}

/// Waits until the agent says which conversation it is in now.
fn wait_new_conversation(
    target: &Target<'_>,
    _hold: &Hold,
    command: &str,
    mark: &Mark,
) -> Result<Option<String>, Stop> {
    let begun = Instant::now();
    loop {
        let reports = target.reported(mark);
        if let Some((id, file)) = report::last_session(&reports) {
            return Ok(id.or_else(|| file.map(|f| f.to_string_lossy().into_owned())));
        }
        if begun.elapsed() >= PROOF_WAIT {
            return Err(Stop {
                reached: Reached::Typed,
                reason: format!(
                    "`{command}` was submitted, but the agent reports no new conversation"
                ),
                hint: Some("look at it with `mosaic agent attach`, or use `--restart`".into()),
                retry: false,
                seen: Vec::new(),
            });
        }
        std::thread::sleep(LOOK / 2);
    }
}
