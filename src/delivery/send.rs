//! Sends one message to one agent: cleaned, composed, typed under guard, proved.

use std::time::{Duration, Instant};

use super::channel::Mark;
use super::compose::{Envelope, compose};
use super::guard::{Hold, Submitted, Target};
use super::receipt::{Receipt, Rung};
use super::sanitise::{Dropped, sanitise};
use super::stop::{Reached, Stop};
use crate::install::Install;
use crate::launch::Launch;
use crate::record;

/// How long the agent's own record is waited for after the box let the message go. The slowest
/// measured one takes 0.8 s, for the first message of a session.
pub const ACCEPT_WAIT: Duration = Duration::from_secs(2);

/// Between two looks into a transcript.
const TRANSCRIPT_LOOK: Duration = Duration::from_millis(150);

/// How long a sender waits for the pane and then for an empty box, unless told otherwise.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(10);

/// A message.
#[derive(Debug, Clone)]
pub struct Message {
    /// The text as given, of any bytes.
    pub text: Vec<u8>,
    /// Who sends, see [`sender`].
    pub sender: String,
    /// Short name of this host, see [`host_name`].
    pub host: String,
    /// Whether sender and receiver are named before the text.
    pub preamble: bool,
    /// How long to wait for the pane, and then for an empty box.
    pub wait: Duration,
    /// How long to wait for the agent's own record.
    pub accept_wait: Duration,
}

/// Who sends: as told by the user, else the agent this process runs in, else `user`.
pub fn sender(told: Option<&str>, agent: Option<&str>) -> String {
    let given = |text: &&str| !text.trim().is_empty();
    told.filter(given)
        .or(agent.filter(given))
        .unwrap_or("user")
        .to_owned()
}

/// The short name of this host.
pub fn host_name() -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    let short = name.split('.').next().unwrap_or_default();
    if short.is_empty() { "localhost" } else { short }.to_owned()
}

/// Sends, and records that in the event log. Whatever happens is told by the receipt.
pub fn send(install: &Install, launch: &Launch, message: &Message) -> Receipt {
    let receipt = deliver(install, launch, message);
    let mut detail = format!("{} from {}", receipt.receipt.as_str(), message.sender);
    if let Some(reason) = &receipt.reason {
        detail.push_str(&format!(": {reason}"));
    }
    detail.push_str(&format!(" ({})", receipt.id));
    record::event(
        &install.paths,
        &receipt.agent,
        record::What::Command {
            verb: "send".into(),
            detail,
        },
    );
    receipt
}

/// Sends; what the message was is recorded by the caller.
pub(super) fn deliver(install: &Install, launch: &Launch, message: &Message) -> Receipt {
    let begun = Instant::now();
    let clean = sanitise(&message.text);
    let agent = launch.agent.name.as_str();
    let attempt = || -> Result<(Rung, Vec<String>), Stop> {
        let target = Target::of(install, launch)?;
        let envelope = Envelope {
            host: &message.host,
            sender: &message.sender,
            agent,
        };
        let typing = launch
            .agent
            .spec
            .screen
            .as_ref()
            .map(|s| s.typing.clone())
            .unwrap_or_default();
        let text = compose(&clean.text, message.preamble.then_some(&envelope), &typing).map_err(
            |refusal| Stop {
                reached: Reached::Nothing,
                hint: Some(refusal.hint().to_owned()),
                reason: refusal.to_string(),
                retry: false,
                seen: Vec::new(),
            },
        )?;
        let hold = target.lock(message.wait)?;
        let (held, done) = put(&target, &hold, &text, message.wait)?;
        // The next sender need not wait for this agent's record.
        drop(hold);
        let mut evidence = vec![held, done.evidence];
        let record = accepted(&target, &text, &done.mark, message.accept_wait);
        let rung = if record.is_some() {
            Rung::Accepted
        } else {
            Rung::Submitted
        };
        evidence.extend(record.map(str::to_owned));
        Ok((rung, evidence))
    };
    receipt(agent, begun, clean.dropped.clone(), attempt())
}

/// Waits for an empty box, fills it, submits.
pub(super) fn put(
    target: &Target<'_>,
    hold: &Hold,
    text: &str,
    wait: Duration,
) -> Result<(String, Submitted), Stop> {
    let begun = Instant::now();
    let pane = target.ready(hold, wait)?;
    let held = target.fill(hold, &pane, text)?;
    let done = target.submit(hold, text, Instant::now(), begun, wait)?;
    Ok((held, done))
}

/// Waits for the agent's own record of the text: its report, else its transcript. Says which.
fn accepted(target: &Target<'_>, text: &str, mark: &Mark, wait: Duration) -> Option<&'static str> {
    let begun = Instant::now();
    let mut read = begun;
    loop {
        if target.prompted(text, mark) {
            return Some("the agent reported it");
        }
        let late = begun.elapsed() >= wait;
        // Longer to read than a report, and seldom needed.
        if late || read.elapsed() >= TRANSCRIPT_LOOK {
            if target.in_transcript(text, mark) {
                return Some("the agent's transcript holds it");
            }
            read = Instant::now();
        }
        if late {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn receipt(
    agent: &str,
    begun: Instant,
    dropped: Vec<Dropped>,
    result: Result<(Rung, Vec<String>), Stop>,
) -> Receipt {
    let mut receipt = Receipt {
        id: uuid::Uuid::new_v4().to_string(),
        agent: agent.to_owned(),
        receipt: Rung::Refused,
        evidence: Vec::new(),
        reason: None,
        hint: None,
        retry: false,
        screen: Vec::new(),
        dropped,
        elapsed_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        channel: "paste",
    };
    match result {
        Ok((rung, evidence)) => {
            receipt.receipt = rung;
            receipt.evidence = evidence;
        }
        Err(stop) => {
            receipt.receipt = match stop.reached {
                Reached::Nothing => Rung::Refused,
                Reached::Typed => Rung::Typed,
                Reached::Unknown => Rung::Uncertain,
            };
            receipt.retry = stop.retry && !stop.touched();
            receipt.reason = Some(stop.reason);
            receipt.hint = stop.hint;
            receipt.screen = stop.seen;
        }
    }
    receipt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sender_is_told_or_the_agent_or_the_user() {
        assert_eq!(sender(Some("rev0"), Some("coder0")), "rev0");
        assert_eq!(sender(None, Some("coder0")), "coder0");
        assert_eq!(sender(Some(" "), None), "user");
        assert!(!host_name().contains('.'));
    }
}
