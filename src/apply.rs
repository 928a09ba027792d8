//! Executes a plan: stop, write, reload, start. Decides nothing; goes on after a failure of one
//! agent, and says of each action what came of it.

use std::path::Path;

use serde::Serialize;

use crate::desired::Desired;
use crate::error::{Error, Result};
use crate::host::files;
use crate::host::manager::{Job, Unit, Verb};
use crate::inventory::reload_mark;
use crate::plan::{Action, Plan, What};
use crate::record::{self, What as Event};
use crate::services::Services;

/// What came of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The action.
    #[serde(flatten)]
    pub action: Action,
    /// It is done, or was rightly put off.
    pub ok: bool,
    /// What was seen, for a person.
    pub detail: String,
    /// What to type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What came of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In order of execution.
    pub outcomes: Vec<Outcome>,
    /// A signal came; what follows in the plan was not begun.
    pub interrupted: bool,
}

impl Report {
    /// Whether everything that was to be done is done.
    pub fn ok(&self) -> bool {
        !self.interrupted && self.outcomes.iter().all(|o| o.ok)
    }
}

/// Executes the actions in order. `stop` is asked between steps: when true, the rest is left out
/// (running again does it). The caller holds the apply lock.
pub fn apply(
    plan: &Plan,
    desired: &Desired,
    services: &Services<'_>,
    stop: &dyn Fn() -> bool,
) -> Report {
    let mut run = Run {
        desired,
        services,
        report: Report::default(),
        writes_failed: false,
    };
    let actions = &plan.actions;
    let mut at = 0;
    while at < actions.len() {
        if stop() {
            run.report.interrupted = true;
            break;
        }
        // Jobs of one kind go to the manager together.
        let verb = job_verb(&actions[at].what);
        let mut end = at + 1;
        while end < actions.len() && verb.is_some() && job_verb(&actions[end].what) == verb {
            end += 1;
        }
        match verb {
            Some(verb) => run.jobs(verb, &actions[at..end]),
            None => run.step(&actions[at]),
        }
        at = end;
    }
    run.report
}

fn job_verb(what: &What) -> Option<Verb> {
    match what {
        What::Stop { .. } => Some(Verb::Stop),
        What::Start { .. } => Some(Verb::Start),
        What::Restart { .. } => Some(Verb::Restart),
        _ => None,
    }
}

fn agent_of(what: &What) -> Option<&str> {
    match what {
        What::Stop { agent }
        | What::Start { agent }
        | What::Restart { agent }
        | What::Close { agent }
        | What::Deferred { agent } => Some(agent),
        _ => None,
    }
}

struct Run<'a> {
    desired: &'a Desired,
    services: &'a Services<'a>,
    report: Report,
    writes_failed: bool,
}

impl Run<'_> {
    fn done(&mut self, action: &Action, result: Result<String>) {
        let (ok, detail, hint) = match result {
            Ok(detail) => (true, detail, None),
            Err(e) => (false, e.to_string(), e.hints.first().cloned()),
        };
        self.report.outcomes.push(Outcome {
            action: action.clone(),
            ok,
            detail,
            hint,
        });
    }

    fn step(&mut self, action: &Action) {
        let result = match &action.what {
            What::Blocked { hint, .. } => Err(Error::no(action.reason.clone()).because(hint)),
            What::Deferred { .. } => Ok("deferred".to_owned()),
            What::Close { agent } => self.services.close(agent).map(|()| "closed".into()),
            What::Write { path } => self.write(path),
            What::Remove { path } => self
                .mark_reload(path)
                .and_then(|()| files::remove(path))
                .map(|_| {
                    self.forget(path);
                    if let Some(dir) = path
                        .parent()
                        .filter(|d| d.extension().is_some_and(|e| e == "d"))
                    {
                        files::remove_dir_if_empty(dir);
                    }
                    "removed".to_owned()
                }),
            What::Link { path, target } => self.link(path, target),
            What::Unlink { path } => self
                .mark_reload(path)
                .and_then(|()| files::remove(path))
                .map(|_| "removed".to_owned()),
            What::Reload => self.reload(),
            What::StartServer => self.services.start_server().map(|()| "running".to_owned()),
            What::Stop { .. } | What::Start { .. } | What::Restart { .. } => {
                Err(Error::bug("a job outside its batch"))
            }
        };
        if result.is_err()
            && matches!(
                action.what,
                What::Write { .. } | What::Link { .. } | What::Reload
            )
        {
            self.writes_failed = true;
        }
        self.done(action, result);
    }

    /// A unit that failed stays listed as failed without its file.
    fn forget(&self, path: &Path) {
        let install = self.services.install();
        if let Some(name) = path.file_stem().and_then(|n| n.to_str())
            && install.paths.launch(name) == path
            && let Some(manager) = self.services.manager()
        {
            // Nothing hangs on it.
            let _ = manager.reset_failed(&[install.agent_unit(name)]);
        }
    }

    /// Written before the first change to what systemd reads, so that an interruption between a
    /// write and the reload is seen by the next run.
    fn mark_reload(&self, path: &Path) -> Result<()> {
        let install = self.services.install();
        if path.starts_with(&install.paths.units) && !reload_mark(install).exists() {
            files::write_atomic(&reload_mark(install), b"", files::PRIVATE)?;
        }
        Ok(())
    }

    fn write(&self, path: &Path) -> Result<String> {
        let file = self
            .desired
            .files
            .get(path)
            .ok_or_else(|| Error::bug(format!("nothing to write to `{}`", path.display())))?;
        self.mark_reload(path)?;
        files::write_atomic(path, file.text.as_bytes(), file.mode)?;
        Ok("written".to_owned())
    }

    fn link(&self, path: &Path, target: &Path) -> Result<String> {
        self.mark_reload(path)?;
        if let Some(dir) = path.parent() {
            files::make_private_dir(dir)?;
        }
        if std::fs::symlink_metadata(path).is_ok_and(|m| !m.is_symlink()) {
            return Err(Error::no(format!(
                "a file that mosaic did not write is at `{}`",
                path.display()
            ))
            .hint(format!("move it away: `mv {0} {0}.old`", path.display())));
        }
        files::remove(path)?;
        std::os::unix::fs::symlink(target, path)
            .map_err(|e| Error::io(format!("cannot link `{}`", path.display()), e))?;
        Ok("linked".to_owned())
    }

    fn reload(&self) -> Result<String> {
        if let Some(manager) = self.services.manager() {
            manager.reload()?;
        }
        files::remove(&reload_mark(self.services.install()))?;
        Ok("reloaded".to_owned())
    }

    fn jobs(&mut self, verb: Verb, actions: &[Action]) {
        if self.writes_failed && verb != Verb::Stop {
            // Starting from half-written files would start something nobody asked for.
            for action in actions {
                self.done(
                    action,
                    Err(Error::no("not tried: a file could not be written")),
                );
            }
            return;
        }
        let agents: Vec<String> = actions
            .iter()
            .filter_map(|a| agent_of(&a.what))
            .map(str::to_owned)
            .collect();
        let result = run_jobs(self.services, verb, &agents);
        for action in actions {
            let agent = agent_of(&action.what).unwrap_or_default();
            let one = match &result {
                Ok(all) => all.iter().find(|(name, _)| name == agent).map_or_else(
                    || Err(Error::bug(format!("no result for `{agent}`"))),
                    |(_, r)| r.clone(),
                ),
                Err(e) => Err(e.clone()),
            };
            self.done(action, one);
        }
    }
}

/// Runs jobs and then looks at what they left: `done` only says that the start succeeded, while an
/// agent may have died a moment later.
///
/// # Errors
/// The manager does not answer. Failures of single agents are in the list.
pub fn run_jobs(
    services: &Services<'_>,
    verb: Verb,
    agents: &[String],
) -> Result<Vec<(String, Result<String>)>> {
    let install = services.install();
    let begun = jiff::Timestamp::now();
    for agent in agents {
        match verb {
            Verb::Stop => {}
            Verb::Start | Verb::Restart => {
                record::release(&install.paths, agent)?;
            }
        }
        record::event(
            &install.paths,
            agent,
            Event::Command {
                verb: verb.word().to_owned(),
                detail: String::new(),
            },
        );
    }
    let jobs = services.jobs(verb, agents)?;
    let units = services.details()?;
    Ok(agents
        .iter()
        .map(|agent| {
            let job = jobs.iter().find(|j| j.unit == *agent);
            let unit = units.iter().find(|u| u.name == install.agent_unit(agent));
            (agent.clone(), judge(install, verb, agent, job, unit, begun))
        })
        .collect())
}

fn judge(
    install: &crate::install::Install,
    verb: Verb,
    agent: &str,
    job: Option<&Job>,
    unit: Option<&Unit>,
    begun: jiff::Timestamp,
) -> Result<String> {
    let result = job.map_or("unknown", |j| j.result.as_str());
    let active = unit.map_or("inactive", |u| u.active.as_str());
    match verb {
        Verb::Stop if matches!(active, "inactive" | "failed") => Ok("stopped".to_owned()),
        Verb::Stop => Err(Error::no(format!("`{agent}` does not stop"))
            .because(format!("job {result}, unit {active}"))),
        _ if result == "done" && active == "active" => Ok("running".to_owned()),
        _ => {
            // An end from before says nothing of this start.
            let last = record::last_exit(&install.paths, agent)
                .filter(|event| event.time >= begun)
                .and_then(|event| event.end());
            let mut e = Error::no(format!("`{agent}` does not run"));
            if let Some(last) = last {
                e = e.because(last);
            }
            let sub = unit.map_or("dead", |u| u.sub.as_str());
            Err(e.because(format!("job {result}, unit {active} ({sub})")))
        }
    }
}
