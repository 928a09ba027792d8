//! One attempt to deliver one message. What was done is written down before the next step is taken, so
//! that whoever comes after a crash knows how far it can have got: [`super::recover`] goes on from
//! there.
//!
//! Knows no agent CLI, no terminal, no clock and no SQLite; all of these are behind [`Journal`],
//! [`Place`] and [`Channel`].

use std::time::Duration;

use jiff::Timestamp;

use super::channel::{Channel, ChannelKind, Found, Outgoing};
use super::mailbox::{Journal, Row, Stage, Standing};
use super::silence::{HOPE, PREFER};
use super::stop::{Reached, Stop};
use crate::error::Result;
use crate::host::owner::Owner;

/// What delivering needs of the machine it happens on.
pub trait Place {
    /// While it is held, nobody else delivers to the agent; let go of by dropping, and by the kernel
    /// when the process dies.
    type Hold;

    /// The agent.
    fn agent(&self) -> &str;

    /// This process.
    fn owner(&self) -> &Owner;

    /// Whether another process lives.
    fn alive(&self, owner: &Owner) -> bool;

    /// The present.
    fn now(&self) -> Timestamp;

    /// Passes time.
    fn sleep(&self, time: Duration);

    /// Takes the agent for this process alone; `None` when another one has it.
    ///
    /// # Errors
    /// It cannot be taken at all.
    fn hold(&self) -> Result<Option<Self::Hold>, Stop>;

    /// The best way into the agent that stands at the moment, for this message: commands are typed, and
    /// what was typed is gone on with there.
    ///
    /// # Errors
    /// None does. Nothing was done.
    fn channel(&self, row: &Row) -> Result<Box<dyn Channel + '_>, Stop>;

    /// Exactly what is to be put before the agent by this way, and the file written for it, if it goes
    /// as one.
    ///
    /// # Errors
    /// It can never be delivered as it is.
    fn compose(&self, row: &Row, way: ChannelKind) -> Result<Composed, Stop>;

    /// Tells the world of a message that got as far as it gets for now.
    fn told(&self, row: &Row);
}

/// A message as it is put before the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    /// The text.
    pub text: String,
    /// The file that holds the message, where the text only points to it.
    pub file: Option<std::path::PathBuf>,
}

/// What came of a step.
#[derive(Debug)]
pub enum Step {
    /// Something was written down; look again.
    Moved,
    /// It cannot go on for now; why. Nothing of it was done.
    Waits(Stop),
}

/// Delivers a queued message, if the agent can take it now. The caller holds the agent.
///
/// # Errors
/// The journal cannot be read or written. What had been done by then is found out by
/// [`super::recover`].
pub fn deliver(
    journal: &dyn Journal,
    place: &impl Place,
    channel: &dyn Channel,
    mut row: Row,
) -> Result<Step> {
    let now = place.now();
    if row.expires.is_some_and(|t| t <= now) {
        row.stage = Stage::Expired;
        return saved(journal, place, row);
    }
    if let Some(better) = channel.better().filter(|b| b.silent < PREFER) {
        return Ok(Step::Waits(better.why.clone()));
    }
    let composed = match place.compose(&row, channel.kind()) {
        Ok(composed) => composed,
        // What only this way cannot take waits for the better one.
        Err(stop)
            if channel
                .better()
                .is_some_and(|b| b.silent < HOPE && place.compose(&row, b.kind).is_ok()) =>
        {
            let why = channel.better().map(|b| b.why.clone());
            let why = why.unwrap_or_else(|| Stop::busy(""));
            let reason = format!("{}, and by its terminal: {}", why.reason, stop.reason);
            return Ok(Step::Waits(Stop { reason, ..why }));
        }
        Err(stop) => return refused(journal, place, row, stop),
    };
    if let Err(stop) = channel.ready_for(Duration::ZERO, row.options.draft) {
        return match stop.retry {
            true => Ok(Step::Waits(stop)),
            false => refused(journal, place, row, stop),
        };
    }
    row.mark = Some(channel.mark());
    row.composed = Some(composed.text.clone());
    row.outcome.as_file = composed.file;
    row.channel = Some(channel.kind());
    row.owner = Some(place.owner().clone());
    row.attempts += 1;
    row.outcome.standing = Standing::Unknown;
    row.stage = Stage::Typing;
    row.changed = place.now();
    if !journal.save(&mut row)? {
        // Cancelled in this very moment.
        return Ok(Step::Moved);
    }
    let message = Outgoing {
        id: &row.id.clone(),
        text: &composed.text,
        command: row.command(),
    };
    row.outcome.evidence.clear();
    match channel.put(&message) {
        Ok(seen) => row.outcome.evidence.extend(seen),
        Err(stop) => {
            if stop.reached == Reached::Typed {
                row.outcome.standing = Standing::Unentered;
            }
            return stopped(journal, place, row, stop);
        }
    }
    submit(journal, place, channel, row, &message)
}

/// Submits what was put. Used for a first attempt and for one that is taken up again.
///
/// # Errors
/// As [`deliver`].
pub fn submit(
    journal: &dyn Journal,
    place: &impl Place,
    channel: &dyn Channel,
    mut row: Row,
    message: &Outgoing<'_>,
) -> Result<Step> {
    let mark = row.mark.clone().unwrap_or_default();
    match channel.submit(message, &mark) {
        Ok(done) => {
            row.outcome.evidence.push(done.evidence);
            row.outcome.reason = None;
            row.outcome.hint = None;
            row.outcome.screen.clear();
            row.stage = match done.accepted {
                true => Stage::Accepted,
                false => Stage::Submitted,
            };
            saved(journal, place, row)
        }
        Err(stop) => stopped(journal, place, row, stop),
    }
}

/// Looks for a submitted message in its agent's record, and writes down what is new there. Needs no
/// hold: it only looks. Returns whether something was new.
///
/// # Errors
/// The journal cannot be written.
pub fn look_up(
    journal: &dyn Journal,
    place: &impl Place,
    channel: &dyn Channel,
    row: Row,
) -> Result<bool> {
    let (Some(message), Some(mark)) = (row.outgoing(), &row.mark) else {
        return Ok(false);
    };
    let found = channel.find(&message, mark);
    match found_in(row, found) {
        Some(row) => saved(journal, place, row).map(|_| true),
        None => Ok(false),
    }
}

/// A row with what was found; `None` when that is nothing new.
pub(super) fn found_in(mut row: Row, found: Found) -> Option<Row> {
    let (stage, evidence, recorded, answer) = match found {
        Found::Nothing => return None,
        Found::Accepted { .. } if row.stage == Stage::Accepted => return None,
        Found::Accepted { evidence, recorded } => (Stage::Accepted, evidence, recorded, None),
        Found::Answered {
            evidence,
            recorded,
            answer,
        } => (Stage::Answered, evidence, recorded, Some(answer)),
    };
    row.stage = stage;
    row.outcome.evidence.push(evidence);
    row.outcome.reason = None;
    row.outcome.hint = None;
    row.outcome.screen.clear();
    row.outcome.answer = answer;
    if let (Some(recorded), Some(sent)) = (recorded, &row.composed) {
        row.outcome.altered = super::altered::altered(sent, &recorded);
    }
    Some(row)
}

/// Writes down that an attempt stopped, by how far it had come.
fn stopped(journal: &dyn Journal, place: &impl Place, mut row: Row, stop: Stop) -> Result<Step> {
    row.stage = match stop.reached {
        Reached::Nothing if stop.retry => Stage::Queued,
        Reached::Nothing => Stage::Refused,
        Reached::Typed => Stage::Typed,
        Reached::Unknown => Stage::Uncertain,
    };
    if row.stage == Stage::Queued {
        let waits = stop.clone();
        untried(&mut row);
        return match saved(journal, place, row)? {
            Step::Moved => Ok(Step::Waits(waits)),
            waits => Ok(waits),
        };
    }
    because(&mut row, stop);
    saved(journal, place, row)
}

/// As if it had not been tried.
pub(super) fn untried(row: &mut Row) {
    row.stage = Stage::Queued;
    (row.owner, row.mark, row.composed, row.channel) = (None, None, None, None);
    row.outcome.evidence.clear();
    row.outcome.standing = Standing::Unknown;
}

pub(super) fn refused(
    journal: &dyn Journal,
    place: &impl Place,
    mut row: Row,
    stop: Stop,
) -> Result<Step> {
    row.stage = Stage::Refused;
    because(&mut row, stop);
    saved(journal, place, row)
}

/// Notes why a message got no farther.
pub(super) fn because(row: &mut Row, stop: Stop) {
    row.outcome.reason = Some(stop.reason);
    row.outcome.hint = stop.hint;
    row.outcome.screen = stop.seen;
}

/// Writes a row down and tells of it.
pub(super) fn saved(journal: &dyn Journal, place: &impl Place, mut row: Row) -> Result<Step> {
    row.changed = place.now();
    // Refused when another process found out about it first; then its word stands.
    if journal.save(&mut row)? {
        place.told(&row);
    }
    Ok(Step::Moved)
}
