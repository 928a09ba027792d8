//! Says what an agent does and how that is known: which authority decided and what it said last, which
//! rule fitted which rows, what would make it another state, and which way a message would take. For
//! agents that do not run as well.

mod otherwise;
mod ways;

use jiff::Timestamp;
use serde::Serialize;

use crate::approval::{self, Question};
use crate::error::Result;
use crate::host::procfs;
use crate::host::tmux::{Pane, TmuxError};
use crate::install::Install;
use crate::launch::Launch;
use crate::record::{self, Run};
use crate::report::{Report, What};
use crate::runtime::Reports;
use crate::services::Services;
use crate::state::account::{self, Account};
use crate::state::screen::{Match, Part, Rules, Seen};
use crate::state::{self, Evidence, Life, Observation, Source, State};

pub use ways::Way;

/// Version of the JSON document.
pub const VERSION: u32 = 1;

/// Reports that are shown, the newest ones.
const SHOWN: usize = 5;

/// All that is known.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// Format version.
    pub version: u32,
    /// Which agent.
    pub agent: String,
    /// Its runtime.
    pub runtime: String,
    /// What it does.
    pub state: State,
    /// How that is known.
    pub evidence: Evidence,
    /// What decides for this runtime, best first.
    pub authority: Authority,
    /// Rows that rules matched.
    pub matched: Vec<Match>,
    /// What the title tells.
    pub title: Title,
    /// Its input box.
    pub input: Option<Input>,
    /// What it asks.
    pub question: Option<Question>,
    /// The last rows of its screen.
    pub screen: Vec<String>,
    /// What would make it another state.
    pub otherwise: Vec<String>,
    /// What is not known, and why.
    pub missing: Vec<String>,
    /// The ways of its runtime, best first.
    pub channels: Vec<Way>,
    /// Why a message would not go in at once.
    pub held_back: Option<String>,
    /// Its pane.
    pub pane: Option<ShownPane>,
    /// Its process.
    pub process: Option<Process>,
    /// How it ended last.
    pub last_exit: Option<String>,
}

/// Where an agent's state is read.
#[derive(Debug, Clone, Serialize)]
pub struct Authority {
    /// The one that leads: `claude-hooks`, `screen`, `health`, `none` …
    pub name: String,
    /// Files it is read from.
    pub files: Vec<std::path::PathBuf>,
    /// The last reports, oldest first.
    pub last: Vec<Said>,
}

/// A report.
#[derive(Debug, Clone, Serialize)]
pub struct Said {
    /// When.
    pub time: Timestamp,
    /// Milliseconds ago.
    pub age_ms: i64,
    /// What, in one line.
    pub what: String,
}

/// A terminal's title.
#[derive(Debug, Clone, Serialize)]
pub struct Title {
    /// Its text.
    pub text: String,
    /// `working`, `idle`, or `nothing`.
    pub tells: &'static str,
}

/// An input box.
#[derive(Debug, Clone, Serialize)]
pub struct Input {
    /// `empty`, `draft`, `collapsed` or `shell`.
    pub holds: &'static str,
    /// The beginning of its text.
    pub text: String,
    /// Only its end is shown.
    pub tail: bool,
}

/// A pane.
#[derive(Debug, Clone, Serialize)]
pub struct ShownPane {
    /// tmux's id.
    pub id: String,
    /// Its session.
    pub session: String,
    /// Columns and rows.
    pub size: (u16, u16),
    /// Copy mode or another mode of tmux is on.
    pub in_mode: bool,
    /// Terminals that show it.
    pub viewers: u32,
    /// The program in the foreground of its terminal.
    pub foreground: Option<String>,
    /// That is the agent.
    pub agent_in_foreground: bool,
}

/// A process.
#[derive(Debug, Clone, Serialize)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// When it started.
    pub started: Timestamp,
    /// It runs.
    pub alive: bool,
    /// Its pane is its terminal.
    pub on_pane: bool,
}

/// Looks at an agent from all sides.
///
/// # Errors
/// tmux or the service manager hang or refuse. That they are not there is no error.
pub fn explain(install: &Install, launch: &Launch) -> Result<Explanation> {
    let agent = launch.agent.name.as_str();
    let panes = match install.tmux().panes() {
        Ok(panes) => panes,
        Err(TmuxError::NoServer(_)) => Vec::new(),
        Err(e) => return Err(e.into()),
    };
    let (life, no_manager) = life(install, agent);
    let seen = state::observe_with(install, launch, life, &panes, true);
    let rules = launch.agent.spec.screen.as_ref();
    let rules = rules.and_then(|r| Rules::shared(r).ok());
    let title = seen.pane.as_ref().map_or("", |p| p.title.as_str());
    let started = seen.run.as_ref().map(|r| r.started);
    let reports = account::last(install, launch, started);
    let mut missing = missing(launch, &seen);
    missing.extend(no_manager);
    if let Err(e) = &reports {
        missing.push(format!("its reports cannot be read: {e}"));
    }
    let reports = reports.unwrap_or_default();
    let screen = seen.screen.as_ref();
    Ok(Explanation {
        version: VERSION,
        agent: agent.to_owned(),
        runtime: launch.agent.runtime.clone(),
        state: seen.state,
        authority: Authority {
            name: authority(launch),
            files: Account::of(install, launch).map_or_else(Vec::new, |a| a.files()),
            last: said(&reports),
        },
        matched: screen.map_or_else(Vec::new, |s| s.matched.clone()),
        title: Title {
            text: title.to_owned(),
            tells: match rules.as_ref().and_then(|r| r.title(title)) {
                Some(true) => "working",
                Some(false) => "idle",
                None => "nothing",
            },
        },
        input: screen.and_then(input),
        question: match seen.state {
            State::Waiting => approval::asked(install, launch, screen),
            _ => screen.and_then(Question::on),
        },
        screen: screen.map_or_else(Vec::new, |s| s.foot.clone()),
        otherwise: otherwise::of(launch, &seen, &reports),
        missing,
        channels: ways::of(install, launch),
        held_back: match (seen.state, seen.draft()) {
            (State::Idle, Some(draft)) => Some(format!(
                "the terminal takes none: a draft stands in its box: `{draft}`"
            )),
            (State::Idle, None) => None,
            (other, _) => Some(format!("a message waits until it is idle; it is {other}")),
        },
        pane: seen.pane.as_ref().map(|p| shown(p, seen.run.as_ref())),
        process: seen.run.as_ref().map(|run| Process {
            pid: run.pid,
            started: run.started,
            alive: run.alive(),
            on_pane: seen.on_pane,
        }),
        last_exit: record::last_exit(&install.paths, agent).and_then(|e| e.end()),
        evidence: seen.evidence,
    })
}

/// What the service manager says of the agent's life; `None`, and why, where it cannot be asked.
fn life(install: &Install, agent: &str) -> (Option<Life>, Option<String>) {
    let units = match Services::connect(install).and_then(|s| s.agents()) {
        Ok(units) => units,
        Err(e) => {
            return (
                None,
                Some(format!("the service manager was not asked: {e}")),
            );
        }
    };
    let name = install.agent_unit(agent);
    let Some(unit) = units.iter().find(|u| u.name == name) else {
        return (None, None);
    };
    let what = format!("{} ({})", unit.active, unit.sub);
    let life = match unit.active.as_str() {
        "active" | "reloading" => Life::Up,
        "activating" => Life::Starting(what),
        "failed" => Life::Failed(what),
        _ => Life::Exited(what),
    };
    (Some(life), None)
}

/// What leads for a runtime; see the table in `docs/runtimes.md`.
pub fn authority(launch: &Launch) -> String {
    let spec = &launch.agent.spec;
    match (spec.reports, &spec.screen, &spec.node) {
        (Some(reports), _, _) => name_of(reports),
        (None, Some(_), _) => "screen".to_owned(),
        (None, None, Some(_)) => "health".to_owned(),
        (None, None, None) => "none".to_owned(),
    }
}

fn name_of(reports: Reports) -> String {
    serde_json::to_value(reports)
        .ok()
        .and_then(|v| v.as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn said(reports: &[Report]) -> Vec<Said> {
    let now = Timestamp::now();
    reports[reports.len().saturating_sub(SHOWN)..]
        .iter()
        .map(|r| Said {
            time: r.time,
            age_ms: i64::try_from(now.duration_since(r.time).as_millis()).unwrap_or(i64::MAX),
            what: match &r.what {
                What::Session { reason, .. } => format!("session: {reason}"),
                What::Prompt { text } => format!("prompt: {}", state::excerpt(text)),
                What::Working => "working".to_owned(),
                What::Idle => "idle".to_owned(),
                What::Waiting { question } => format!("waiting: {}", state::excerpt(question)),
                What::Answer { text } => format!("answer: {}", state::excerpt(text)),
                What::Limited { what, until } => match until {
                    Some(until) => format!("limited until {until:.0}: {what}"),
                    None => format!("limited: {what}"),
                },
                What::Ended { reason } => format!("ended: {reason}"),
            },
        })
        .collect()
}

fn input(seen: &Seen) -> Option<Input> {
    let input = seen.input.as_ref()?;
    Some(Input {
        holds: match () {
            () if input.empty => "empty",
            () if input.shell => "shell",
            () if !input.collapsed.is_empty() => "collapsed",
            () => "draft",
        },
        text: state::excerpt(&input.text),
        tail: input.part == Part::Tail,
    })
}

fn shown(pane: &Pane, run: Option<&Run>) -> ShownPane {
    let stat = run.and_then(|r| procfs::stat(r.pid));
    let on_pane = stat
        .as_ref()
        .is_some_and(|s| procfs::tty_number(&pane.tty) == Some(s.tty));
    let foreground = stat.as_ref().filter(|_| on_pane).map(|s| s.foreground);
    ShownPane {
        id: pane.id.clone(),
        session: pane.session.clone(),
        size: (pane.width, pane.height),
        in_mode: pane.in_mode,
        viewers: pane.viewers,
        foreground: foreground
            .and_then(procfs::stat)
            .map(|s| format!("{} ({})", s.comm, foreground.unwrap_or_default())),
        agent_in_foreground: on_pane && stat.is_some_and(|s| s.foreground == s.group),
    }
}

/// What is not known of this agent, and why.
fn missing(launch: &Launch, seen: &Observation) -> Vec<String> {
    let spec = &launch.agent.spec;
    let mut missing = Vec::new();
    if !matches!(
        seen.state,
        State::Unknown | State::Starting | State::Working | State::Idle
    ) && seen.evidence.source == Source::Unit
    {
        return missing;
    }
    if spec.reports.is_none() && spec.node.is_none() {
        missing.push("it reports nothing of itself".to_owned());
    }
    match (&spec.screen, &seen.screen) {
        (None, _) if spec.node.is_none() => {
            missing.push("its runtime has no rules for its screen".to_owned());
        }
        (Some(_), None) if seen.pane.is_none() => {
            missing.push("it has no pane, so its screen cannot be looked at".to_owned());
        }
        (Some(_), None) => missing.push("its screen could not be looked at".to_owned()),
        (Some(_), Some(screen)) if seen.state == State::Unknown => {
            if screen.input.is_none() {
                missing.push("no input box is on its screen".to_owned());
            }
            if screen.dialog.is_none() {
                missing.push("no dialog of a known form is on its screen".to_owned());
            }
        }
        _ => {}
    }
    missing
}
