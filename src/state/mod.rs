//! What an agent is doing, and how that is known. [`decide`] is pure: it weighs what the agent
//! reports of itself, the terminal's title and the screen. [`observe`] collects these.
//!
//! The agent's own reports lead. The screen corrects them where an agent is known not to report: an
//! interrupted turn, a denied dialog. What nothing tells is `unknown`, and unknown is never idle.

pub mod account;
pub mod gemini;
pub mod goose;
pub mod look;
pub mod observe;
pub mod opencode;
pub mod rest;
#[cfg(test)]
pub mod samples;
pub mod screen;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

pub use observe::{Observation, excerpt, observe, observe_by, observe_with};

use crate::report::{Report, What};
use screen::{Rules, Seen};

/// A title follows a report, or goes before it, by some tenths of a second; only after this time
/// do they contradict each other.
const SETTLE: SignedDuration = SignedDuration::from_secs(2);

/// How long an agent that shows nothing yet counts as starting. The slowest measured one takes nine
/// seconds to its prompt on an idle machine.
const STARTING: SignedDuration = SignedDuration::from_secs(60);

/// How long a turn goes on by the agent's report before the screen is asked whether it is held up by
/// its provider. A turn with tools reports more often than this, so that few screens are looked at.
const HELD_UP: SignedDuration = SignedDuration::from_secs(10);

/// How long a limit without an end counts. Providers count requests by the minute and by some hours;
/// after this time a try tells more than the old refusal does.
const LIMIT_LASTS: SignedDuration = SignedDuration::from_mins(15);

/// What an agent is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Its process runs and it does not stand at its prompt yet.
    Starting,
    /// It stands at its prompt with nothing to do.
    Idle,
    /// It is in a turn.
    Working,
    /// It asks a person something.
    Waiting,
    /// Its provider refuses more requests for now. It is parked, not broken.
    RateLimited,
    /// It runs, and nothing tells what it does.
    Unknown,
    /// Its process is gone.
    Exited,
    /// It is not started again.
    Failed,
}

impl State {
    /// As printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Idle => "idle",
            State::Working => "working",
            State::Waiting => "waiting",
            State::RateLimited => "rate-limited",
            State::Unknown => "unknown",
            State::Exited => "exited",
            State::Failed => "failed",
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a state was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The agent said so, by a hook or an extension.
    Report,
    /// The agent's record of the conversation.
    Transcript,
    /// The terminal's title.
    Title,
    /// The screen.
    Screen,
    /// The service manager or the process table.
    Unit,
    /// Nothing tells.
    None,
}

/// Why a state is believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Where it was seen.
    pub source: Source,
    /// What was seen, for a person.
    pub what: String,
    /// Since when, where that is known.
    pub since: Option<Timestamp>,
}

impl Evidence {
    /// What the service manager says.
    pub fn unit(what: impl Into<String>) -> Self {
        Self {
            source: Source::Unit,
            what: what.into(),
            since: None,
        }
    }
}

impl std::fmt::Display for Evidence {
    /// `title: ✳ demo`; a dash where nothing tells.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let source = match self.source {
            Source::Report => "report",
            Source::Transcript => "transcript",
            Source::Title => "title",
            Source::Screen => "screen",
            Source::Unit => "unit",
            Source::None => "-",
        };
        if self.what.is_empty() {
            f.write_str(source)
        } else {
            write!(f, "{source}: {}", self.what)
        }
    }
}

/// Whether the agent's process lives, as the caller knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Up,
    /// It is being started, or comes back in a moment.
    Starting(String),
    /// It is gone; how.
    Exited(String),
    /// It is gone and does not come back; why.
    Failed(String),
}

/// All that [`decide`] weighs.
#[derive(Debug)]
pub struct Signs<'a> {
    /// Whether the process lives.
    pub life: &'a Life,
    /// When it started.
    pub started: Option<Timestamp>,
    /// The present.
    pub now: Timestamp,
    /// What the agent reported since it started, oldest first, at least the last report.
    pub reports: &'a [Report],
    /// Where these come from.
    pub reported_by: Source,
    /// The terminal's title.
    pub title: &'a str,
    /// The rules that read title and screen; `None` where the runtime has none.
    pub rules: Option<&'a Rules>,
    /// The screen, where it was looked at.
    pub screen: Option<&'a Seen>,
}

/// A state, why it is believed, and whether a look at the screen could correct it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The state.
    pub state: State,
    /// Why.
    pub evidence: Evidence,
    /// The signs contradict each other, and the screen has not been looked at.
    pub look: bool,
}

fn verdict(
    state: State,
    source: Source,
    what: impl Into<String>,
    since: Option<Timestamp>,
) -> Verdict {
    Verdict {
        state,
        evidence: Evidence {
            source,
            what: what.into(),
            since,
        },
        look: false,
    }
}

/// Decides.
pub fn decide(signs: &Signs<'_>) -> Verdict {
    match signs.life {
        Life::Failed(why) => return verdict(State::Failed, Source::Unit, why, None),
        Life::Exited(how) => return verdict(State::Exited, Source::Unit, how, None),
        Life::Starting(what) => return verdict(State::Starting, Source::Unit, what, None),
        Life::Up => {}
    }
    let title = signs.rules.and_then(|r| r.title(signs.title));
    // Its screen has the question.
    if signs.rules.is_some_and(|r| r.title_waits(signs.title))
        && signs.screen.is_none_or(|s| s.dialog.is_some())
    {
        return match signs.screen {
            Some(seen) => waiting_on_screen(seen),
            None => Verdict {
                look: true,
                ..verdict(
                    State::Waiting,
                    Source::Title,
                    format!("title `{}`", signs.title),
                    None,
                )
            },
        };
    }
    match signs.reports.last() {
        Some(report) => by_report(signs, report, title),
        None => by_looks(signs, title),
    }
}

fn by_report(signs: &Signs<'_>, report: &Report, title: Option<bool>) -> Verdict {
    let since = Some(report.time);
    let reported = |state, what: &str| verdict(state, signs.reported_by, what, since);
    let settled = signs.now.duration_since(report.time) > SETTLE;
    let ends_turn = signs.rules.is_some_and(|r| r.data.ends_turn);
    match &report.what {
        What::Working | What::Prompt { .. } => {
            let what = if report.what == What::Working {
                "turn under way"
            } else {
                "a message was submitted"
            };
            let base = reported(State::Working, what);
            match signs.screen {
                Some(seen) => correct(base, signs, seen, title, settled),
                // A broken-off turn is reported by nobody in some agent CLIs, nor is a provider that
                // refuses as long as they try again.
                None => Verdict {
                    look: settled && (title == Some(false) || (ends_turn && title.is_none()))
                        || signs.rules.is_some_and(|r| !r.data.limited.is_empty())
                            && signs.now.duration_since(report.time) > HELD_UP,
                    ..base
                },
            }
        }
        What::Waiting { question } => {
            let base = reported(
                State::Waiting,
                if question.is_empty() {
                    "asks for approval"
                } else {
                    question
                },
            );
            match signs.screen {
                Some(seen) => correct(base, signs, seen, title, settled),
                None if title == Some(true) => title_working(signs),
                // A denied dialog is reported by nobody either.
                None => Verdict {
                    look: settled,
                    ..base
                },
            }
        }
        What::Idle => idle(signs, title, reported(State::Idle, "turn ended")),
        What::Session { reason, .. } if matches!(reason.as_str(), "clear" | "new") => idle(
            signs,
            title,
            reported(State::Idle, "a new conversation began"),
        ),
        // It says so early in its start, perhaps before it stands at its prompt.
        What::Session { .. } if signs.screen.is_some_and(|s| s.input.is_some()) => idle(
            signs,
            title,
            reported(State::Idle, "its conversation is open"),
        ),
        What::Session { .. } if title == Some(false) && signs.screen.is_none() && settled => {
            Verdict {
                look: true,
                ..reported(State::Idle, "its conversation is open")
            }
        }
        What::Session { .. } => by_looks(signs, title),
        // Said in the midst of a turn.
        What::Answer { .. } => {
            let base = reported(State::Working, "it said something; its turn goes on");
            match signs.screen {
                _ if !ends_turn || title == Some(true) => base,
                None => Verdict { look: true, ..base },
                Some(seen) if rest::at_rest(seen) && rest::settled(report.time, signs.now) => {
                    reported(State::Idle, "it answered, and its input box is back")
                }
                Some(seen) => correct(base, signs, seen, title, false),
            }
        }
        What::Limited { what, until } => limited(signs, report, what, *until),
        What::Ended { reason } => {
            reported(State::Unknown, &format!("it said that it ends: {reason}"))
        }
    }
}

/// The agent reported that its provider refuses. Nothing reports the end of that but the next turn.
fn limited(signs: &Signs<'_>, report: &Report, what: &str, until: Option<Timestamp>) -> Verdict {
    let what = if what.is_empty() {
        "its provider refuses requests"
    } else {
        what
    };
    let said = match until {
        Some(until) => format!("{what}, until {until:.0}"),
        None => what.to_owned(),
    };
    let base = verdict(
        State::RateLimited,
        signs.reported_by,
        said,
        Some(report.time),
    );
    match signs.screen {
        Some(seen) if seen.dialog.is_some() => return waiting_on_screen(seen),
        Some(seen) if seen.limited => return base,
        Some(seen) if seen.working => {
            return verdict(State::Working, Source::Screen, working_row(seen), None);
        }
        _ => {}
    }
    let over = until.map_or(
        signs.now.duration_since(report.time) > LIMIT_LASTS,
        |until| until <= signs.now,
    );
    if !over {
        return base;
    }
    let reported = verdict(
        State::Idle,
        signs.reported_by,
        format!("its turn ended at a limit that should be over: {what}"),
        Some(until.unwrap_or(report.time)),
    );
    match signs.screen {
        Some(_) => idle(signs, None, reported),
        None => Verdict {
            look: true,
            ..reported
        },
    }
}

/// The agent reported that it is at rest.
fn idle(signs: &Signs<'_>, title: Option<bool>, reported: Verdict) -> Verdict {
    if title == Some(true) {
        return title_working(signs);
    }
    match signs.screen {
        Some(seen) if seen.dialog.is_some() => waiting_on_screen(seen),
        Some(seen) if seen.limited => limited_on_screen(seen),
        Some(seen) if seen.working => {
            verdict(State::Working, Source::Screen, working_row(seen), None)
        }
        Some(seen) if seen.input.is_none() => verdict(
            State::Unknown,
            Source::Screen,
            format!(
                "at rest by its own report, but no input box on the screen: {}",
                last_row(seen)
            ),
            None,
        ),
        _ => reported,
    }
}

/// Holds a report of work or of a question against the screen.
fn correct(
    base: Verdict,
    signs: &Signs<'_>,
    seen: &Seen,
    title: Option<bool>,
    settled: bool,
) -> Verdict {
    if seen.dialog.is_some() {
        return if base.state == State::Waiting {
            base
        } else {
            waiting_on_screen(seen)
        };
    }
    let Some(_) = &seen.input else {
        return base;
    };
    if seen.limited {
        return limited_on_screen(seen);
    }
    if seen.working || title == Some(true) {
        return match base.state {
            State::Working => base,
            _ if seen.working => verdict(State::Working, Source::Screen, working_row(seen), None),
            _ => title_working(signs),
        };
    }
    // The box is there and nothing moves. Right after a report that only means that the screen has
    // not been drawn yet, and behind a long draft it means nothing.
    if !settled || seen.covered {
        return base;
    }
    let was = if base.state == State::Waiting {
        "a question"
    } else {
        "work"
    };
    let what =
        format!("{was} was reported, but the input box is back and no work shows: broken off");
    verdict(
        State::Idle,
        if title == Some(false) {
            Source::Title
        } else {
            Source::Screen
        },
        what,
        None,
    )
}

/// Nothing was reported since the start.
fn by_looks(signs: &Signs<'_>, title: Option<bool>) -> Verdict {
    let young = signs
        .started
        .is_some_and(|t| signs.now.duration_since(t) < STARTING);
    if title == Some(true) && !signs.screen.is_some_and(|s| s.limited) {
        return title_working(signs);
    }
    match (signs.screen, signs.rules) {
        (Some(seen), Some(rules)) => {
            if seen.dialog.is_some() {
                waiting_on_screen(seen)
            } else if seen.limited {
                limited_on_screen(seen)
            } else if seen.working {
                verdict(State::Working, Source::Screen, working_row(seen), None)
            } else if seen.input.is_some()
                && (!rules.data.working.is_empty() || rules.data.input.raw || title == Some(false))
            {
                verdict(
                    State::Idle,
                    Source::Screen,
                    "the input box is there and no work shows",
                    None,
                )
            } else if young && seen.input.is_none() {
                verdict(
                    State::Starting,
                    Source::Screen,
                    "no input box yet",
                    signs.started,
                )
            } else {
                verdict(
                    State::Unknown,
                    Source::Screen,
                    format!("no rule fits the screen: {}", last_row(seen)),
                    None,
                )
            }
        }
        (None, Some(_)) if young && title.is_none() => Verdict {
            look: true,
            ..verdict(
                State::Starting,
                Source::Unit,
                "started, nothing reported yet",
                signs.started,
            )
        },
        (None, Some(_)) => Verdict {
            look: true,
            ..verdict(
                State::Unknown,
                Source::None,
                "nothing reported, and the screen was not looked at",
                None,
            )
        },
        (_, None) => verdict(
            State::Unknown,
            Source::None,
            "its runtime has no way to tell",
            signs.started,
        ),
    }
}

fn title_working(signs: &Signs<'_>) -> Verdict {
    verdict(
        State::Working,
        Source::Title,
        format!("title `{}`", signs.title),
        None,
    )
}

fn waiting_on_screen(seen: &Seen) -> Verdict {
    verdict(State::Waiting, Source::Screen, question(seen), None)
}

/// What an open dialog asks: the row that ends in a question mark, else the question within a row,
/// else its marked choice.
pub fn question(seen: &Seen) -> String {
    if let Some(menu) = &seen.menu {
        return menu.question.clone();
    }
    let rows = seen.dialog.as_deref().unwrap_or_default();
    let ends = || rows.iter().rev().find(|r| r.trim_end().ends_with('?'));
    let holds = || {
        let within = |r: &String| r.split_once("? ").map(|(asked, _)| format!("{asked}?"));
        rows.iter().rev().find_map(within)
    };
    let marked = || {
        let found = seen.matched.iter().find(|m| m.rule == "dialog")?;
        Some(format!("a choice is open at `{}`", found.text.trim()))
    };
    ends()
        .cloned()
        .or_else(holds)
        .or_else(marked)
        .map(|r| r.trim().to_owned())
        .unwrap_or_default()
}

fn limited_on_screen(seen: &Seen) -> Verdict {
    verdict(
        State::RateLimited,
        Source::Screen,
        row_of(seen, "limited"),
        None,
    )
}

fn working_row(seen: &Seen) -> String {
    row_of(seen, "working")
}

fn row_of(seen: &Seen, rule: &str) -> String {
    seen.matched
        .iter()
        .find(|m| m.rule == rule)
        .map(|m| m.text.trim().to_owned())
        .unwrap_or_default()
}

fn last_row(seen: &Seen) -> String {
    seen.foot.last().map_or_else(
        || "a blank screen".to_owned(),
        |r| format!("`{}`", r.trim()),
    )
}

#[cfg(test)]
mod tests;
