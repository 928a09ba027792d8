//! Approvals: what an agent asks a person, and answering that, deliberately and nothing else.
//!
//! A dialog on the screen is read by its runtime's rules ([`crate::state::screen::Dialog`]) and answered
//! by keys ([`keys`]); an agent CLI with an interface of its own for it is asked and answered there.
//! Which option allows something this once is data; where that is not known, a person names the option.

mod keys;
mod native;

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::delivery::guard::Target;
use crate::delivery::stop::Stop;
use crate::host::files;
use crate::install::Install;
use crate::launch::Launch;
use crate::record;
use crate::state::screen::{Choice, Dialog, Seen};
use crate::state::{self, State};

/// How long the pane may be held by a sender.
const HOLD_WAIT: Duration = Duration::from_secs(5);

/// How long after the answer to wait for what the agent does next.
const AFTER_WAIT: Duration = Duration::from_secs(2);

/// Between two looks at what the agent does.
const LOOK: Duration = Duration::from_millis(40);

/// Where a question is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A dialog on the screen.
    Screen,
    /// The agent CLI's own interface.
    Api,
}

/// What an agent asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Question {
    /// Names it: the same as long as not a letter of it changes.
    pub id: String,
    /// In one line.
    pub question: String,
    /// What can be answered; empty where that is not known.
    pub options: Vec<Choice>,
    /// Number of the option that allows it this once; `None` where that is not known.
    pub approve: Option<usize>,
    /// Number of the option that denies it.
    pub deny: Option<usize>,
    /// Key that denies it where no option does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel: Option<String>,
    /// Where it is asked.
    pub source: Source,
    /// The rows that ask it.
    pub screen: Vec<String>,
}

impl Question {
    /// The one on a screen; `None` where no dialog is open.
    pub fn on(seen: &Seen) -> Option<Self> {
        match (&seen.menu, &seen.dialog) {
            (Some(dialog), _) => Some(Self::of(dialog)),
            (None, Some(rows)) => Some(Self {
                id: id(rows),
                question: state::question(seen),
                options: Vec::new(),
                approve: None,
                deny: None,
                cancel: None,
                source: Source::Screen,
                screen: rows.clone(),
            }),
            (None, None) => None,
        }
    }

    fn of(dialog: &Dialog) -> Self {
        let number = |at: Option<usize>| at.map(|at| dialog.choices[at].number);
        // The mark may be moved without changing what is asked.
        let labels = dialog.choices.iter().map(|c| &c.label);
        let unmarked: Vec<String> = dialog.about.iter().chain(labels).cloned().collect();
        Self {
            id: id(&unmarked),
            question: dialog.question.clone(),
            options: dialog.choices.clone(),
            approve: number(dialog.approve),
            deny: number(dialog.deny),
            cancel: dialog.cancel.clone(),
            source: Source::Screen,
            screen: dialog.rows.clone(),
        }
    }

    /// The text of an option.
    pub fn label(&self, number: usize) -> Option<&str> {
        let choice = self.options.iter().find(|c| c.number == number)?;
        Some(&choice.label)
    }
}

/// Long enough that two questions of one agent never share it, short enough to be typed.
fn id(rows: &[String]) -> String {
    files::digest(rows.join("\n").as_bytes())
        .chars()
        .take(12)
        .collect()
}

/// A person's decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Allow it, this once.
    Approve,
    /// Refuse it.
    Deny,
    /// Take the option of this number.
    Option(usize),
}

/// What became of an answer. Its JSON form is what `--json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answered {
    /// Which agent.
    pub agent: String,
    /// The dialog was answered and is gone.
    pub answered: bool,
    /// What was asked, where something was.
    pub question: Option<Question>,
    /// The text of the option that was taken, or the key that was pressed.
    pub chosen: Option<String>,
    /// What proves it.
    pub evidence: Vec<String>,
    /// What the agent does now.
    pub state: Option<State>,
    /// Why it was not answered.
    pub reason: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// A key was pressed: the dialog may be answered.
    pub touched: bool,
    /// Milliseconds from call to report.
    pub elapsed_ms: u64,
}

impl Answered {
    /// One line for a person; hints are left to the caller.
    pub fn line(&self) -> String {
        let agent = &self.agent;
        match (&self.reason, &self.chosen) {
            (Some(reason), _) => format!("{agent}: {reason}"),
            (None, chosen) => format!(
                "{agent}: answered `{}` with `{}` in {} ms ({})",
                self.question.as_ref().map_or("", |q| q.question.as_str()),
                chosen.as_deref().unwrap_or_default(),
                self.elapsed_ms,
                self.evidence.join("; ")
            ),
        }
    }
}

/// What a waiting agent asks, as well as that can be told: by its interface, else by its screen where
/// that was looked at.
pub fn asked(install: &Install, launch: &Launch, seen: Option<&Seen>) -> Option<Question> {
    native::of(launch)
        .and_then(|native| native.pending(install, launch).ok().flatten())
        .or_else(|| seen.and_then(Question::on))
}

/// What an agent asks now; `None` where it asks nothing that can be seen.
///
/// # Errors
/// Its pane cannot be looked at, or is not its own.
pub fn pending(install: &Install, launch: &Launch) -> Result<Option<Question>, Stop> {
    if let Some(native) = native::of(launch) {
        let asked = native.pending(install, launch)?;
        if asked.is_some() || native.knows_all() {
            return Ok(asked);
        }
    }
    let target = Target::of(install, launch)?;
    Ok(Question::on(&target.looked()?.1))
}

/// Answers what the agent asks now, whatever that was called before; with `expected`, only that
/// question. Whatever happens is told by the report, and recorded in the event log.
pub fn answer(
    install: &Install,
    launch: &Launch,
    decision: Decision,
    expected: Option<&str>,
) -> Answered {
    let begun = Instant::now();
    let agent = launch.agent.name.as_str();
    let mut report = Answered {
        agent: agent.to_owned(),
        answered: false,
        question: None,
        chosen: None,
        evidence: Vec::new(),
        state: None,
        reason: None,
        hint: None,
        touched: false,
        elapsed_ms: 0,
    };
    let native = native::of(launch).filter(|native| {
        native.knows_all() || native.pending(install, launch).is_ok_and(|q| q.is_some())
    });
    let result = match native {
        Some(native) => native.answer(install, launch, decision, expected, &mut report),
        None => by_keys(install, launch, decision, expected, &mut report),
    };
    match result {
        Ok(()) => report.answered = true,
        Err(stop) => {
            report.touched = stop.touched();
            report.reason = Some(stop.reason);
            report.hint = stop.hint;
        }
    }
    report.elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let detail = report.line();
    let prefix = format!("{agent}: ");
    record::event(
        &install.paths,
        agent,
        record::What::Command {
            verb: "answer".into(),
            detail: detail.strip_prefix(&prefix).unwrap_or(&detail).to_owned(),
        },
    );
    report
}

/// Answers a dialog on the screen.
fn by_keys(
    install: &Install,
    launch: &Launch,
    decision: Decision,
    expected: Option<&str>,
    report: &mut Answered,
) -> Result<(), Stop> {
    let target = Target::of(install, launch)?;
    let _hold = target.lock(HOLD_WAIT)?;
    let mut pane = Pane {
        target: &target,
        id: None,
    };
    let done = keys::answer(&mut pane, decision, expected, &mut report.question)?;
    report.chosen = Some(done.chosen);
    report.evidence.push(done.evidence);
    let after = after(install, launch);
    report.evidence.push(format!("now {after}"));
    report.state = Some(after);
    Ok(())
}

/// What the agent does once its dialog is gone. A dialog that it denied itself is reported by nobody,
/// so that its report of it holds on for a moment.
fn after(install: &Install, launch: &Launch) -> State {
    let begun = Instant::now();
    loop {
        let panes = install.tmux().panes().unwrap_or_default();
        let seen = state::observe(install, launch, &panes, true);
        // Another question may come at once.
        let asks = seen.screen.as_ref().is_some_and(|s| s.dialog.is_some());
        if seen.state != State::Waiting || asks {
            return seen.state;
        }
        if begun.elapsed() >= AFTER_WAIT {
            return match seen.screen {
                Some(screen) if screen.input.is_some() => State::Idle,
                _ => seen.state,
            };
        }
        std::thread::sleep(LOOK);
    }
}

/// The agent's pane, as the keys need it.
struct Pane<'t, 'a> {
    target: &'t Target<'a>,
    /// tmux's id of it, as of the last look.
    id: Option<String>,
}

impl keys::Pane for Pane<'_, '_> {
    fn look(&mut self) -> Result<Seen, Stop> {
        let (mut pane, mut seen) = self.target.looked()?;
        if pane.in_mode {
            self.target.leave_mode(&pane)?;
            (pane, seen) = self.target.looked()?;
        }
        self.id = (!pane.in_mode).then_some(pane.id);
        Ok(seen)
    }

    fn press(&mut self, key: &str) -> Result<(), Stop> {
        match self.id.take() {
            // One key a look.
            Some(id) => self.target.press(&id, key),
            None => Err(Stop::busy(
                "the pane is in a mode of tmux that does not end: no key was pressed",
            )),
        }
    }

    fn sleep(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}
