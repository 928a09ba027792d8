//! What becomes of a message whose delivery broke off: its process died, or it stands before the agent
//! and could not be submitted. What the agent's record shows was delivered; what stands whole in its box
//! is submitted; what certainly nobody submitted, and could be taken back out of the box, is queued as
//! before; the rest is uncertain. Nothing else is ever put before the agent a second time.

use jiff::SignedDuration;

use super::channel::{Channel, Found, Left, TakenBack};
use super::deliver::{Place, Step, because, found_in, refused, saved, submit, untried};
use super::mailbox::{Draft, Journal, Row, Stage, Standing};
use super::stop::Stop;
use crate::error::Result;

/// How long an agent's record may lag behind the Enter. The slowest measured one takes 0.8 s on an idle
/// machine; what is called uncertain too early is called accepted later.
pub const LATE: SignedDuration = SignedDuration::from_secs(4);

/// How long a process that lives is believed to be still at it, although it has let go of the agent: it
/// may be writing down what it did.
const FINISHING: SignedDuration = SignedDuration::from_secs(15);

/// So often a message is taken back out of the box; then it is refused.
const TAKE_BACKS: u32 = 2;

/// Finds out about a message in [`Stage::Typing`] or [`Stage::Typed`]. The caller holds the agent.
///
/// # Errors
/// The journal cannot be read or written.
pub fn recover(
    journal: &dyn Journal,
    place: &impl Place,
    channel: &dyn Channel,
    mut row: Row,
) -> Result<Step> {
    let age = place.now().duration_since(row.changed);
    if let Some(owner) = &row.owner
        && row.stage == Stage::Typing
        && owner != place.owner()
        && place.alive(owner)
        && age < FINISHING
    {
        return Ok(Step::Waits(Stop::busy(format!(
            "process {} is delivering an earlier message",
            owner.pid
        ))));
    }
    let copy = row.clone();
    let (Some(message), Some(mark)) = (copy.outgoing(), &copy.mark) else {
        // Nothing was ever written without them.
        row.stage = Stage::Uncertain;
        because(
            &mut row,
            Stop::unknown("what was delivered is not on record"),
        );
        return saved(journal, place, row);
    };
    let found = channel.find(&message, mark);
    if found != Found::Nothing {
        return match found_in(row, found) {
            Some(row) => saved(journal, place, row),
            None => Ok(Step::Moved),
        };
    }
    if row.stage == Stage::Typed && row.outcome.standing == Standing::Emptied {
        return match age < LATE {
            true => Ok(Step::Waits(Stop::busy(format!(
                "the box of `{}` was emptied of an earlier message just now",
                place.agent()
            )))),
            false => again(journal, place, row),
        };
    }
    let mut left = match channel.left(&message, mark) {
        Left::Whole => {
            row.owner = Some(place.owner().clone());
            row.stage = Stage::Typing;
            row.outcome.standing = Standing::Unknown;
            row.changed = place.now();
            if !journal.save(&mut row)? {
                return Ok(Step::Moved);
            }
            row.outcome
                .evidence
                .push("the box held it after the attempt had broken off".to_owned());
            return submit(journal, place, channel, row, &message);
        }
        Left::Unseen(stop) => return Ok(Step::Waits(stop)),
        Left::Other(what) => what,
    };
    if age < LATE {
        return Ok(Step::Waits(Stop::busy(format!(
            "what became of an earlier message to `{}` is not known yet",
            place.agent()
        ))));
    }
    // A draft that was put aside for it comes back after the next message only.
    let unentered = row.stage == Stage::Typed && row.outcome.standing == Standing::Unentered;
    if unentered && row.options.draft != Draft::Stash {
        match channel.take_back(&message, mark) {
            TakenBack::Done(evidence) => {
                row.outcome.standing = Standing::Emptied;
                row.outcome.taken_back += 1;
                row.outcome.evidence.push(evidence);
                return saved(journal, place, row);
            }
            TakenBack::Unseen(stop) => return Ok(Step::Waits(stop)),
            TakenBack::No(what) => left = what,
        }
    }
    row.stage = Stage::Uncertain;
    row.outcome.standing = Standing::Unknown;
    let before = row
        .outcome
        .reason
        .take()
        .unwrap_or_else(|| "its delivery broke off".to_owned());
    let agent = place.agent();
    because(
        &mut row,
        Stop::unknown(format!(
            "{before}; the agent's record does not show it, and {left}"
        ))
        .hint(format!(
            "look at it: `mosaic agent attach {agent}`; `mosaic agent inbox retry {} --yes` sends it again",
            copy.id
        )),
    );
    saved(journal, place, row)
}

/// Nothing of it is before the agent any more, and nothing of it was submitted.
fn again(journal: &dyn Journal, place: &impl Place, mut row: Row) -> Result<Step> {
    let (agent, times) = (place.agent(), row.outcome.taken_back);
    let reason = row.outcome.reason.take().unwrap_or_default();
    if times >= TAKE_BACKS {
        let why = format!("it was typed and taken back {times} times: {reason}");
        let hint = format!("`mosaic agent inbox retry {}` tries it again", row.id);
        return refused(journal, place, row, Stop::refused(why).hint(hint));
    }
    let evidence = std::mem::take(&mut row.outcome.evidence);
    untried(&mut row);
    (row.outcome.hint, row.outcome.screen) = (None, Vec::new());
    row.outcome.as_file = None;
    row.outcome.evidence = evidence;
    row.outcome.reason = Some(format!(
        "it was taken back out of the box of `{agent}`: {reason}"
    ));
    saved(journal, place, row)
}
