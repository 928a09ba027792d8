//! The first message of a conversation, sent by the start that began it or after a reset; and the
//! words that a roster has for an agent in general.

use std::path::Path;

use jiff::Timestamp;

use super::receipt::Receipt;
use super::send::{ACCEPT_WAIT, DEFAULT_WAIT, Message, deliver};
use super::template::fill;
use super::{Ready, host_name};
use crate::error::{Error, Result};
use crate::fleet::{Kickstart, KickstartOn};
use crate::host::files;
use crate::install::Install;
use crate::launch::Launch;
use crate::record::{self, Run, What};

/// Sends the kickstart if the agent's start calls for one: it is wanted at a start, and the start
/// began a conversation. `ready` is how the wait for the prompt ended; `None` where nobody waited.
/// An agent that is not ready gets none: it would be typed into a dialog. What becomes of it is an
/// event.
///
/// # Errors
/// The record of the start cannot be read.
pub fn at_start(
    install: &Install,
    launch: &Launch,
    ready: Option<&Ready>,
) -> Result<Option<Receipt>> {
    let agent = launch.agent.name.as_str();
    let resumed = Run::load(&install.paths, agent)?.is_none_or(|run| run.resumed);
    let wanted = matches!(
        launch.agent.kickstart_on,
        KickstartOn::Start | KickstartOn::Both
    );
    if resumed || !wanted || launch.agent.kickstart.is_none() {
        return Ok(None);
    }
    if let Some(ready) = ready.filter(|r| !r.is_ready()) {
        let why = format!("`{agent}` is {}: {}", ready.state, ready.evidence.what);
        let receipt = Receipt::refused(agent, why);
        recorded(install, &receipt);
        return Ok(Some(receipt));
    }
    Ok(kickstart(install, launch, &host_name()))
}

/// Records what became of a kickstart.
pub(super) fn recorded(install: &Install, receipt: &Receipt) {
    record::event(
        &install.paths,
        &receipt.agent,
        What::Kickstart {
            receipt: receipt.receipt.as_str().to_owned(),
            why: receipt.reason.clone().unwrap_or_default(),
        },
    );
}

/// Whether a kickstart was submitted to an agent since then.
pub(super) fn sent_since(install: &Install, agent: &str, since: Timestamp) -> bool {
    record::events(&install.paths, Some(agent)).iter().any(|e| {
        e.time >= since && matches!(&e.what, What::Kickstart { why, .. } if why.is_empty())
    })
}

/// Sends an agent's kickstart and records what became of it; `None` when it has none.
pub fn kickstart(install: &Install, launch: &Launch, host: &str) -> Option<Receipt> {
    let template = match launch.agent.kickstart.as_ref()? {
        Kickstart::Text(text) => Ok(text.clone()),
        Kickstart::File(path) => read(path),
    };
    let receipt = match template {
        Ok(template) => words(install, launch, host, "the kickstart", &template),
        Err(e) => not_sent(launch, &e),
    };
    recorded(install, &receipt);
    Some(receipt)
}

/// Fills a text of the roster in and delivers it; the caller records that. `what` is what errors call
/// it.
pub(super) fn words(
    install: &Install,
    launch: &Launch,
    host: &str,
    what: &str,
    template: &str,
) -> Receipt {
    match filled(launch, host, what, template) {
        Ok(text) => deliver(
            install,
            launch,
            &Message {
                text: text.into_bytes(),
                sender: String::new(),
                host: host.to_owned(),
                preamble: false,
                wait: DEFAULT_WAIT,
                accept_wait: ACCEPT_WAIT,
            },
        ),
        Err(e) => not_sent(launch, &e),
    }
}

fn filled(launch: &Launch, host: &str, what: &str, template: &str) -> Result<String> {
    let agent = &launch.agent;
    let directory = agent.working_directory.to_string_lossy();
    let variables = [
        ("agent", agent.name.as_str()),
        ("class", &agent.class),
        ("host", host),
        ("working_directory", &directory),
    ];
    fill(what, template, &variables)
}

/// What mosaic says to an agent of its own accord: kickstart and restart message, filled in.
pub(super) fn texts(launch: &Launch) -> Vec<String> {
    let kickstart = launch.agent.kickstart.as_ref().and_then(|k| match k {
        Kickstart::Text(text) => Some(text.clone()),
        Kickstart::File(path) => read(path).ok(),
    });
    let own = kickstart
        .into_iter()
        .chain(launch.agent.on_restart_message.clone());
    own.filter_map(|t| filled(launch, &host_name(), "", &t).ok())
        .collect()
}

fn not_sent(launch: &Launch, e: &Error) -> Receipt {
    Receipt {
        hint: e.hints.first().cloned(),
        ..Receipt::refused(launch.agent.name.as_str(), e.to_string())
    }
}

fn read(path: &Path) -> Result<String> {
    files::read_optional(path)?.ok_or_else(|| {
        Error::config(format!(
            "the kickstart file `{}` does not exist",
            path.display()
        ))
    })
}
