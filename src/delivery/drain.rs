//! Works on an agent's queue: what broke off is found out about, then messages are delivered in order,
//! one after the other, each only when the one before it is on the agent's record. Where none waits, the
//! record is looked at once for those that have left. Whoever has
//! something to send does this, for its own message and all that wait before it; so does the courier.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::channel::Channel;
use super::deliver::{Place, Step, deliver, look_up};
use super::held::bare;
use super::machine::Machine;
use super::mailbox::{Journal, Mailbox, Row, Stage, looked_for_since};
use super::receipt::{Receipt, Rung};
use super::recover::{LATE, recover};
use super::stop::Stop;
use crate::error::{Error, Result};
use crate::install::Install;
use crate::launch::Launch;

/// How long a submitted message keeps the next one waiting while the agent's record does not show it.
/// The slowest measured record takes 0.8 s.
pub const IN_FLIGHT: SignedDuration = SignedDuration::from_secs(2);

/// The same where the next one has the very same text: a late record of the first would be taken for the
/// second's.
const TWIN: SignedDuration = SignedDuration::from_secs(30);

/// Between two looks for a record that is about to come.
const LOOK: Duration = Duration::from_millis(10);

/// Between two looks at an agent that cannot take a message; a look costs two calls of tmux.
const PAUSE: Duration = Duration::from_millis(60);

/// Between two looks once the wait has become a long one.
const LONG_PAUSE: Duration = Duration::from_millis(250);

/// From when on a wait is a long one.
const LONG: SignedDuration = SignedDuration::from_secs(5);

/// A wait that is shorter is not told of.
const WORTH_SAYING: SignedDuration = SignedDuration::from_millis(400);

/// How far to go.
pub struct DrainOptions<'a> {
    /// The message that is waited for, and the receipt asked for it. `None`: work until nothing waits.
    pub until: Option<(&'a str, Rung)>,
    /// How long to wait for an agent that cannot take a message; zero delivers what can be delivered
    /// now.
    pub wait: Duration,
    /// Asked between the steps: whether to leave off.
    pub stop: &'a dyn Fn() -> bool,
    /// Told when what is waited for is another thing than before.
    pub waiting: &'a dyn Fn(&str),
}

impl Default for DrainOptions<'_> {
    fn default() -> Self {
        Self {
            until: None,
            wait: Duration::ZERO,
            stop: &|| false,
            waiting: &|_| {},
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Drained {
    /// Messages whose stage this call changed, as they stood at its end.
    pub receipts: Vec<Receipt>,
    /// Why the first one that still waits does; `None` when nothing waits, or the message waited for
    /// has its receipt.
    pub waits: Option<Stop>,
    /// The message waited for, as it stood at the end.
    pub row: Option<Row>,
}

/// Works on an agent's queue.
///
/// # Errors
/// The mailbox cannot be read or written. A message that was under way then is found out about by the
/// next call.
pub fn drain(install: &Install, launch: &Launch, options: &DrainOptions<'_>) -> Result<Drained> {
    let mailbox = Mailbox::open(&install.paths)?;
    drain_on(&mailbox, &Machine::new(install, launch), options)
}

/// The same with a mailbox that is open already.
///
/// # Errors
/// As [`drain`].
pub fn drain_on(
    mailbox: &Mailbox,
    machine: &Machine<'_>,
    options: &DrainOptions<'_>,
) -> Result<Drained> {
    let mut drained = run(mailbox, machine, options)?;
    for id in machine.told_of() {
        if let Some(row) = mailbox.row(&id)? {
            drained
                .receipts
                .push(row.receipt(Rung::Submitted, Duration::ZERO));
        }
    }
    Ok(drained)
}

/// The same over any journal and place.
///
/// # Errors
/// As [`drain`].
pub fn run(
    journal: &dyn Journal,
    place: &impl Place,
    options: &DrainOptions<'_>,
) -> Result<Drained> {
    let begun = place.now();
    let late = |now: Timestamp| {
        SignedDuration::try_from(options.wait).is_ok_and(|wait| now.duration_since(begun) >= wait)
    };
    let mut drained = Drained::default();
    let mut said = String::new();
    let mut tried = false;
    loop {
        let (mut watched, mut taken) = (false, false);
        if let Some((id, rung)) = options.until {
            let row = own(journal, id)?;
            let over = finished(&row, rung, tried);
            watched = matches!(
                row.stage,
                Stage::Submitted | Stage::Accepted | Stage::Uncertain
            );
            drained.row = Some(row.clone());
            if over {
                drained.waits = None;
                return Ok(drained);
            }
            if watched {
                // Its queue is nobody's business any more, only its record.
                tried = true;
                let step = match place.channel(&row) {
                    Ok(channel) if look_up(journal, place, &*channel, row.clone())? => continue,
                    Ok(channel) if !channel.records() => Err(no_record(place.agent())),
                    Ok(_) => Ok(Stop::busy(match row.stage {
                        Stage::Accepted => format!("`{}` is at its answer", place.agent()),
                        _ => format!("the record of `{}` does not show it yet", place.agent()),
                    })),
                    Err(stop) => Ok(stop),
                };
                match step {
                    Ok(stop) => drained.waits = Some(stop),
                    Err(stop) => {
                        drained.waits = Some(stop);
                        return Ok(drained);
                    }
                }
            }
        }
        if !watched {
            match place.hold() {
                Ok(Some(hold)) => {
                    let step = pass(journal, place)?;
                    drop(hold);
                    tried = true;
                    match step {
                        Some(Step::Moved) => continue,
                        Some(Step::Waits(stop)) => drained.waits = Some(stop),
                        None if options.until.is_none() => {
                            drained.waits = None;
                            return Ok(drained);
                        }
                        None => {}
                    }
                }
                Ok(None) => {
                    taken = true;
                    // What was seen of the agent before says more.
                    drained.waits.get_or_insert_with(|| {
                        Stop::busy(format!("another process delivers to `{}`", place.agent()))
                    });
                }
                Err(stop) => drained.waits = Some(stop),
            }
        }
        let now = place.now();
        if late(now) || (options.stop)() {
            if let Some((id, _)) = options.until {
                drained.row = Some(own(journal, id)?);
            }
            return Ok(drained);
        }
        let worth = now.duration_since(begun) >= WORTH_SAYING;
        if let Some(stop) = drained.waits.as_ref()
            && worth
            && worth_telling(&said, &stop.reason, taken)
        {
            said.clone_from(&stop.reason);
            (options.waiting)(&said);
        }
        let long = now.duration_since(begun) >= LONG;
        // A look at the mailbox costs little.
        let pause = match (watched || taken, long) {
            (true, false) => LOOK,
            (false, false) => PAUSE,
            (true, true) => PAUSE,
            (false, true) => LONG_PAUSE,
        };
        // Not beyond the end: a short wait is kept to the millisecond.
        let left = SignedDuration::try_from(options.wait)
            .unwrap_or(SignedDuration::MAX)
            .saturating_sub(now.duration_since(begun));
        place.sleep(pause.min(left.unsigned_abs()));
    }
}

/// Whether a wait is another one than the last that was told. The lock is held by the courier again and
/// again while it looks at an agent, so that wait is told only before any other.
fn worth_telling(said: &str, reason: &str, taken: bool) -> bool {
    reason != said && (!taken || said.is_empty())
}

fn own(journal: &dyn Journal, id: &str) -> Result<Row> {
    journal
        .row(id)?
        .ok_or_else(|| Error::no(format!("the message `{id}` is no longer in the mailbox")))
}

/// Whether a sender need not wait longer. What an earlier attempt left is looked at once more first.
fn finished(row: &Row, asked: Rung, tried: bool) -> bool {
    match row.stage {
        Stage::Typed | Stage::Uncertain => tried || asked == Rung::Queued,
        Stage::Refused | Stage::Cancelled | Stage::Expired => true,
        Stage::Queued | Stage::Typing | Stage::Submitted | Stage::Accepted | Stage::Answered => {
            row.stage.rung() >= asked
        }
    }
}

fn no_record(agent: &str) -> Stop {
    Stop::busy(format!(
        "`{agent}` keeps no record that mosaic can read: more than `submitted` is never known"
    ))
    .hint("ask for `--until submitted`")
}

/// One step at an agent's queue; `None` when there is nothing to do. The caller holds the agent.
fn pass(journal: &dyn Journal, place: &impl Place) -> Result<Option<Step>> {
    let now = place.now();
    let rows = journal.open_rows(place.agent(), looked_for_since(now))?;
    if !rows.iter().any(|r| r.stage.pending()) {
        return Ok(looked_up(journal, place, &rows)?.then_some(Step::Moved));
    }
    let over = |r: &&Row| r.stage == Stage::Queued && r.expires.is_some_and(|t| t <= now);
    if let Some(row) = rows.iter().find(over) {
        let mut row = row.clone();
        row.stage = Stage::Expired;
        return super::deliver::saved(journal, place, row).map(Some);
    }
    let next = rows.iter().find(|r| r.stage == Stage::Queued);
    for row in rows.iter().filter(|r| r.stage != Stage::Queued) {
        let age = now.duration_since(row.changed);
        let channel = match place.channel(row) {
            Ok(channel) => channel,
            Err(stop) => return no_channel(journal, place, &rows, stop).map(Some),
        };
        let channel: &dyn Channel = &*channel;
        match row.stage {
            Stage::Typing | Stage::Typed => {
                return recover(journal, place, channel, row.clone()).map(Some);
            }
            // Its record may have come late.
            Stage::Submitted | Stage::Uncertain => {
                if look_up(journal, place, channel, row.clone())? {
                    return Ok(Some(Step::Moved));
                }
                // Commands leave no record in some agent CLIs.
                let twin = next.is_some_and(|n| holds(row, n));
                let wait = match row.stage {
                    Stage::Submitted | Stage::Uncertain if twin && !row.command() => TWIN,
                    Stage::Submitted if !row.command() => IN_FLIGHT,
                    Stage::Submitted => SignedDuration::ZERO,
                    _ => LATE,
                };
                if age < wait && channel.records() {
                    return Ok(Some(Step::Waits(Stop::busy(format!(
                        "the record of `{}` does not show the message before it yet",
                        place.agent()
                    )))));
                }
            }
            _ => {}
        }
    }
    let Some(row) = next else {
        return Ok(None);
    };
    // From here on a record of this text would be the second's: the first is no longer looked for.
    let twins = rows
        .iter()
        .filter(|r| r.stage != Stage::Queued && r.mark.is_some() && holds(row, r));
    for twin in twins {
        let mut twin = twin.clone();
        twin.mark = None;
        journal.save(&mut twin)?;
    }
    match place.channel(row) {
        Ok(channel) => deliver(journal, place, &*channel, row.clone()).map(Some),
        Err(stop) => no_channel(journal, place, &rows, stop).map(Some),
    }
}

/// Nothing waits: looks once for those that have left and whose record nobody has seen, since their sender
/// may be gone. Whether one was found. What cannot be looked at now is left for the next time.
fn looked_up(journal: &dyn Journal, place: &impl Place, rows: &[Row]) -> Result<bool> {
    let mut found = false;
    for row in rows {
        if let Ok(channel) = place.channel(row) {
            found |= look_up(journal, place, &*channel, row.clone())?;
        }
    }
    Ok(found)
}

/// Whether a record of the one could be taken for the other's: it has its text in it, see
/// [`super::channel::same`].
fn holds(one: &Row, other: &Row) -> bool {
    bare(&one.text).contains(&bare(&other.text))
}

/// No way into the agent stands. What was never begun and cannot ever be delivered is refused; all else
/// waits.
fn no_channel(journal: &dyn Journal, place: &impl Place, rows: &[Row], stop: Stop) -> Result<Step> {
    let Some(row) = rows.iter().find(|r| r.stage == Stage::Queued) else {
        return Ok(Step::Waits(stop));
    };
    if stop.retry {
        return Ok(Step::Waits(stop));
    }
    let mut row = row.clone();
    row.stage = Stage::Refused;
    super::deliver::because(&mut row, stop);
    super::deliver::saved(journal, place, row)
}

#[cfg(test)]
mod tests {
    use super::worth_telling;

    #[test]
    fn a_lock_that_comes_and_goes_is_not_told_each_time() {
        let table = [
            ("", "lock", true, true),
            ("lock", "lock", true, false),
            ("lock", "working", false, true),
            ("working", "lock", true, false),
            ("working", "working", false, false),
            ("working", "a dialog", false, true),
        ];
        for (said, reason, taken, expected) in table {
            assert_eq!(
                worth_telling(said, reason, taken),
                expected,
                "{said} {reason}"
            );
        }
    }
}
