//! An agent's conversation as mosaic records it, forgotten so that the next start begins a new one,
//! and brought back where that start never came.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::host::files;
use crate::paths::Paths;
use crate::record::{ConversationRecord, Run};
use crate::report;
use crate::terminal::run::current_conversation;

/// What tells an agent's conversation, as it was before it was forgotten.
pub(super) struct Before {
    /// The record, with what the reports told.
    record: Option<ConversationRecord>,
    /// There were reports.
    reports: bool,
    /// The process that was recorded last, alive or not.
    process: Option<(i32, u64)>,
}

impl Before {
    pub(super) fn of(paths: &Paths, agent: &str) -> Result<Self> {
        Ok(Self {
            record: current_conversation(paths, agent)?,
            reports: report::path(paths, agent).exists(),
            process: Run::load(paths, agent)?.map(|run| (run.pid, run.start_ticks)),
        })
    }

    pub(super) fn started_since(&self, now: Option<&Run>) -> bool {
        now.is_some_and(|run| Some((run.pid, run.start_ticks)) != self.process)
    }

    /// Takes [`forget_conversation`] back, so that the next start takes the old conversation up again.
    pub(super) fn restore(&self, paths: &Paths, agent: &str) -> Result<()> {
        let Some(record) = &self.record else {
            return Ok(());
        };
        files::write_atomic(
            &paths.conversation(agent),
            files::to_json(record).as_bytes(),
            files::PRIVATE,
        )?;
        let reports = report::path(paths, agent);
        let aside = aside(&reports);
        // An agent that still runs may have reported more since.
        if self.reports && !reports.exists() && aside.exists() {
            std::fs::rename(&aside, &reports)
                .map_err(|e| Error::io(format!("cannot move `{}` back", aside.display()), e))?;
        }
        Ok(())
    }

    /// Restores, and adds to the error what became of that.
    pub(super) fn undo(&self, paths: &Paths, agent: &str, e: Error) -> Error {
        match self.restore(paths, agent) {
            Ok(()) => e,
            Err(other) => e.because(format!(
                "`{agent}` begins a new conversation at its next start: {other}"
            )),
        }
    }
}

/// Where reports are kept that are believed no longer.
fn aside(reports: &Path) -> PathBuf {
    reports.with_extension("jsonl.1")
}

/// Makes the agent's next start begin a new conversation. The old one stays where the agent keeps it,
/// its id in the record's list of earlier ones. Returns that id.
///
/// # Errors
/// The record cannot be read or written; the next start then takes the old conversation up again.
pub fn forget_conversation(paths: &Paths, agent: &str) -> Result<Option<String>> {
    let Some(mut record) = current_conversation(paths, agent)? else {
        return Ok(None);
    };
    let old = std::mem::replace(&mut record.id, uuid::Uuid::new_v4().to_string());
    record.earlier.push(old.clone());
    record.file = None;
    record.begun = false;
    record.reported = false;
    files::write_atomic(
        &paths.conversation(agent),
        files::to_json(&record).as_bytes(),
        files::PRIVATE,
    )?;
    // The last report names the old conversation, and a start believes the reports.
    let reports = report::path(paths, agent);
    if reports.exists() {
        let aside = aside(&reports);
        std::fs::rename(&reports, &aside)
            .map_err(|e| Error::io(format!("cannot move `{}` aside", reports.display()), e))?;
    }
    Ok(Some(old))
}
