//! The first message of a conversation, sent by the start that began it. The same message after a
//! reset is [`super::reset`]'s.

use jiff::Timestamp;

use super::receipt::Receipt;
use super::{Ready, host_name, reset};
use crate::error::Result;
use crate::fleet::KickstartOn;
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
    Ok(reset::kickstart(install, launch, &host_name()))
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
