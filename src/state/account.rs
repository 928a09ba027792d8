//! An agent's account of itself: one stream of [`Report`]s whatever its source, a file that hooks or
//! an extension write, the CLI's own transcript or database, or its HTTP interface. What tells state,
//! proves receipts and gives answers reads only this.

use std::path::PathBuf;

use jiff::Timestamp;

use super::gemini::Gemini;
use super::goose::Goose;
use super::observe::{expand, record, transcript};
use super::rest::Rest;
use crate::error::Result;
use crate::install::Install;
use crate::launch::Launch;
use crate::record::{ConversationRecord, Run};
use crate::report::{self, Report};
use crate::runtime::Reports;

/// Where an agent's account is read.
#[derive(Debug, Clone)]
pub enum Account {
    /// A file of lines.
    Lines {
        /// The file; it may not exist yet.
        path: PathBuf,
        /// How a line is read.
        format: Format,
    },
    /// Gemini CLI's conversations. Positions are milliseconds.
    Gemini(Gemini, Option<Rest>),
    /// A session of goose. Positions are ids of messages.
    Goose(Goose, Option<Rest>),
}

/// How the lines of an account are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// mosaic's own report lines.
    Reports,
    /// The demo agent's transcript.
    Demo,
}

impl Account {
    /// Finds it; `None` for a runtime that gives none, or whose source has no place yet.
    pub fn of(install: &Install, launch: &Launch) -> Option<Self> {
        Some(match launch.agent.spec.reports? {
            Reports::ClaudeHooks
            | Reports::PiExtension
            | Reports::OpencodePlugin
            | Reports::CodexServer => Self::Lines {
                path: report::path(&install.paths, launch.agent.name.as_str()),
                format: Format::Reports,
            },
            Reports::DemoTranscript => Self::Lines {
                path: transcript(install, launch)?,
                format: Format::Demo,
            },
            Reports::GeminiChats => {
                let run = Run::load(&install.paths, launch.agent.name.as_str()).ok()??;
                let record = record(install, launch)?;
                // The log of what was typed knows the process by the id it was started with.
                let id = run
                    .conversation
                    .clone()
                    .unwrap_or_else(|| record.id.clone());
                let first = ConversationRecord { id, ..record };
                let rule = launch.agent.spec.transcript.as_ref()?;
                let gemini = Gemini {
                    pattern: expand(install, launch, &rule.file, &first),
                    id: first.id,
                    started: Some(run.started),
                    notes: report::path(&install.paths, launch.agent.name.as_str()),
                };
                Self::Gemini(gemini, Rest::of(install, launch))
            }
            Reports::GooseSessions => {
                let place = launch.agent.spec.conversation.as_ref()?.exists.as_ref()?;
                let record = record(install, launch)?;
                let place = expand(install, launch, place, &record);
                Self::Goose(Goose::at(&place)?, Rest::of(install, launch))
            }
        })
    }

    /// The position behind all there is so far; see [`Account::since`].
    pub fn mark(&self) -> u64 {
        match self {
            Self::Lines { path, .. } => report::position(path),
            Self::Gemini(..) => Gemini::mark(),
            Self::Goose(goose, _) => goose.mark(),
        }
    }

    /// What was added since a mark, oldest first.
    ///
    /// # Errors
    /// The source exists and cannot be read.
    pub fn since(&self, mark: u64) -> Result<Vec<Report>> {
        let (mut reports, rest) = match self {
            Self::Lines { path, format } => (format.parse(&report::since(path, mark)?), &None),
            Self::Gemini(gemini, rest) => (gemini.since(mark)?, rest),
            Self::Goose(goose, rest) => (goose.since(mark)?, rest),
        };
        if let Some(rest) = rest {
            rest.end_turn(&mut reports);
        }
        Ok(reports)
    }

    /// The last reports since the agent's start, oldest first: at least what tells its present state.
    ///
    /// # Errors
    /// The source exists and cannot be read.
    pub fn last(&self, started: Option<Timestamp>) -> Result<Vec<Report>> {
        // One report holds a whole message, so the last one may be long.
        const STEPS: [u64; 3] = [8 * 1024, 256 * 1024, 4 * 1024 * 1024];
        match self {
            Self::Lines { path, format } => {
                for step in STEPS {
                    let (text, whole) = report::last_lines(path, step)?;
                    let mut reports = format.parse(&text);
                    if whole || !reports.is_empty() {
                        // Those of an earlier process say nothing of this one.
                        reports.retain(|r| started.is_none_or(|t| r.time >= t));
                        return Ok(reports);
                    }
                }
                Ok(Vec::new())
            }
            Self::Gemini(gemini, _) => gemini.last(started),
            Self::Goose(goose, _) => goose.last(started),
        }
    }

    /// Files whose change means that there is something new; empty where nothing on disk tells.
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Lines { path, .. } => vec![path.clone()],
            Self::Gemini(gemini, _) => gemini.files(),
            Self::Goose(goose, _) => goose.files(),
        }
    }
}

impl Format {
    /// Reads reports from lines; those that are none are left out.
    pub fn parse(self, text: &str) -> Vec<Report> {
        match self {
            Self::Reports => report::parse(text),
            Self::Demo => text.lines().filter_map(report::from_demo_line).collect(),
        }
    }
}

/// [`Account::last`] of an agent; nothing for one that gives none.
///
/// # Errors
/// As there.
pub fn last(install: &Install, launch: &Launch, started: Option<Timestamp>) -> Result<Vec<Report>> {
    match Account::of(install, launch) {
        Some(account) => account.last(started),
        None => Ok(Vec::new()),
    }
}
