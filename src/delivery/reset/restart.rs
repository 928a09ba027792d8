//! Resets by a new process with a new conversation.

use super::forget::{Before, forget_conversation};
use super::idle::no_draft;
use super::interrupt::at_rest;
use super::{Done, ResetOptions};
use crate::delivery::guard::Hold;
use crate::delivery::stop::{Reached, Stop};
use crate::delivery::wait_ready;
use crate::error::{Error, Kind, Result};
use crate::install::Install;
use crate::launch::Launch;
use crate::record::Run;

pub(super) fn by_restart(
    install: &Install,
    launch: &Launch,
    options: &ResetOptions,
    restart: &dyn Fn() -> Result<()>,
) -> Result<Done, Stop> {
    let agent = launch.agent.name.as_str();
    // From the restart on something was done, and a second try would do it again.
    let failed = |e: Error| Stop {
        reached: Reached::Nothing,
        retry: false,
        hint: e.hints.first().cloned(),
        reason: e.to_string(),
        seen: Vec::new(),
    };
    let old = Run::load(&install.paths, agent)
        .ok()
        .flatten()
        .filter(Run::alive);
    let mut evidence = Vec::new();
    // No sender types between the look and the restart.
    let hold = if !options.force && old.is_some() {
        let hold = Hold::take(install, agent, options.wait)?;
        let seen = at_rest(install, launch, options)?;
        no_draft(agent, &seen.0)?;
        evidence.extend(seen.1);
        Some(hold)
    } else {
        None
    };
    let before = Before::of(&install.paths, agent).map_err(failed)?;
    if let Err(e) = forget_conversation(&install.paths, agent) {
        return Err(failed(before.undo(&install.paths, agent, e)));
    }
    // The agent's start sends the kickstart, and needs the pane for that.
    drop(hold);
    if let Err(e) = restart() {
        return Err(not_restarted(install, agent, old.as_ref(), &before, e));
    }
    let ready = wait_ready(install, launch, options.ready_wait).map_err(failed)?;
    let new = Run::load(&install.paths, agent).map_err(failed)?;
    if let (Some(old), Some(new)) = (&old, &new)
        && (old.pid, old.start_ticks) == (new.pid, new.start_ticks)
    {
        return Err(failed(Error::no(format!(
            "`{agent}` was not restarted: process {} is still the same",
            old.pid
        ))));
    }
    if !ready.is_ready() {
        return Err(failed(Error::no(format!(
            "`{agent}` was restarted and is {}: {}",
            ready.state, ready.evidence.what
        ))));
    }
    let pid = new.as_ref().map_or(0, |run| run.pid);
    Ok(Done {
        evidence: {
            evidence.push(format!("new process {pid}"));
            evidence.push(format!("ready after {} ms", ready.after_ms));
            evidence
        },
        conversation: new.and_then(|run| run.conversation),
        pending: None,
    })
}

/// What a restart that failed leaves behind. As long as no new process took the new conversation, the
/// agent keeps the old one, and as long as the old process runs as well, nothing was done.
fn not_restarted(
    install: &Install,
    agent: &str,
    old: Option<&Run>,
    before: &Before,
    e: Error,
) -> Stop {
    let busy = e.kind == Kind::Busy;
    let now = Run::load(&install.paths, agent).ok().flatten();
    let process = |run: &Run| (run.pid, run.start_ticks);
    let alive = now.as_ref().filter(|run| run.alive());
    let untouched = alive.map(process) == old.map(process);
    let begun = before.started_since(now.as_ref());
    let e = if begun {
        e.because("a new process was started with a new conversation")
    } else {
        before.undo(&install.paths, agent, e)
    };
    Stop {
        reached: Reached::Nothing,
        retry: busy && untouched && !begun,
        hint: e.hints.first().cloned(),
        reason: e.to_string(),
        seen: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::host::files;
    use crate::paths::Paths;
    use crate::record::ConversationRecord;
    use crate::report::{self, What};
    use crate::terminal::run::current_conversation;

    #[test]
    fn a_forgotten_conversation_is_kept_by_name_and_not_taken_up_again() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths {
            home: dir.path().into(),
            roster: dir.path().join("roster.yaml"),
            state: dir.path().join("state"),
            runtime: dir.path().join("run"),
            units: dir.path().join("units"),
        };
        assert_eq!(forget_conversation(&paths, "c").unwrap(), None);
        let record = ConversationRecord {
            version: 1,
            runtime: "claude".into(),
            directory: "/w".into(),
            id: "first".into(),
            file: None,
            begun: true,
            reported: true,
            earlier: vec![],
        };
        files::write_atomic(
            &paths.conversation("c"),
            files::to_json(&record).as_bytes(),
            files::PRIVATE,
        )
        .unwrap();
        let session = What::Session {
            id: Some("second".into()),
            file: Some("/t".into()),
            reason: "clear".into(),
        };
        report::append(&report::path(&paths, "c"), session).unwrap();
        // A restart that fails takes it back.
        let install = Install {
            version: 1,
            mode: crate::install::Mode::Supervisor,
            unit_prefix: "mosaic".into(),
            paths: paths.clone(),
            socket_name: "s".into(),
            socket: dir.path().join("s"),
            holder_session: "h".into(),
            tmux: "/tmux".into(),
            mosaic: "/mosaic".into(),
            path: String::new(),
        };
        let busy = || Error::new(Kind::Busy, "the job takes too long");
        let before = Before::of(&paths, "c").unwrap();
        let was = current_conversation(&paths, "c").unwrap();
        forget_conversation(&paths, "c").unwrap();
        assert!(!report::path(&paths, "c").exists());
        let stop = not_restarted(&install, "c", None, &before, busy());
        assert!(stop.retry, "{stop:?}");
        assert_eq!(current_conversation(&paths, "c").unwrap(), was);
        assert!(report::path(&paths, "c").exists());
        // Unless a new process has taken the new conversation.
        forget_conversation(&paths, "c").unwrap();
        let new = current_conversation(&paths, "c").unwrap();
        let run = serde_json::json!({
            "version": 1, "pid": i32::MAX, "start_ticks": 1, "boot": "b", "digest": "d",
            "pane": "%1", "tty": "/dev/pts/1", "started": "2026-01-02T03:04:05Z",
            "conversation": null, "resumed": false
        });
        files::write_atomic(
            &paths.run("c"),
            files::to_json(&run).as_bytes(),
            files::PRIVATE,
        )
        .unwrap();
        let stop = not_restarted(&install, "c", None, &before, busy());
        assert!(
            !stop.retry && stop.reason.contains("new process"),
            "{stop:?}"
        );
        assert_eq!(current_conversation(&paths, "c").unwrap(), new);
        std::fs::remove_file(paths.run("c")).unwrap();
        before.restore(&paths, "c").unwrap();
        assert_eq!(
            forget_conversation(&paths, "c").unwrap().as_deref(),
            Some("second")
        );
        let now = current_conversation(&paths, "c").unwrap().unwrap();
        assert_eq!((now.begun, now.file), (false, None));
        assert_eq!(now.earlier, ["first", "second"]);
        assert!(!["first", "second"].contains(&now.id.as_str()));
    }
}
