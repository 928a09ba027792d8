//! Who keeps agents running: systemd's user manager, or a supervisor in each pane. One set of verbs
//! for both; agents are named, units are this module's business.

use std::time::Duration;

use crate::error::Result;
use crate::host::manager::{Detail, Job, Manager, Unit, Verb};
use crate::install::{Install, Mode};
use crate::resident::Resident;
use crate::terminal::supervised;

/// Longest time for a fleet's jobs: the units' own start time-out, and as much for a slow machine.
const JOBS_TIMEOUT: Duration = Duration::from_secs(180);

/// The services of an installed fleet.
pub struct Services<'a> {
    install: &'a Install,
    manager: Option<Manager>,
}

impl<'a> Services<'a> {
    /// Connects, as the install record says.
    ///
    /// # Errors
    /// The fleet runs under systemd and its manager cannot be reached. There is no silent fallback:
    /// a second set of agents beside the installed ones would be worse than none.
    pub fn connect(install: &'a Install) -> Result<Self> {
        let manager = match install.mode {
            Mode::Systemd => Some(Manager::connect()?),
            Mode::Supervisor => None,
        };
        Ok(Self { install, manager })
    }

    /// The manager, where there is one.
    pub fn manager(&self) -> Option<&Manager> {
        self.manager.as_ref()
    }

    /// The record it serves.
    pub fn install(&self) -> &Install {
        self.install
    }

    /// Agents that are known to whoever keeps them: name of the unit, state, main process.
    ///
    /// # Errors
    /// The manager does not answer.
    pub fn agents(&self) -> Result<Vec<Unit>> {
        self.list(Detail::Process)
    }

    /// The same with everything that is known; the tmux server's unit is among them.
    ///
    /// # Errors
    /// The manager does not answer.
    pub fn details(&self) -> Result<Vec<Unit>> {
        self.list(Detail::Full)
    }

    fn list(&self, detail: Detail) -> Result<Vec<Unit>> {
        match &self.manager {
            Some(manager) => manager.units(
                &[&self.install.agent_pattern(), &self.install.holder_unit()],
                detail,
            ),
            None => Ok(supervised::list(self.install)),
        }
    }

    /// The process of a server that answers on the socket and is not the fleet's own.
    ///
    /// # Errors
    /// The manager or tmux do not answer.
    pub fn foreign_server(&self) -> Result<Option<i32>> {
        let tmux = self.install.tmux();
        let pid = match tmux.server_pid() {
            Ok(pid) => pid,
            Err(_) => return Ok(None),
        };
        match &self.manager {
            Some(manager) => {
                let holder = manager.units(&[&self.install.holder_unit()], Detail::Process)?;
                let own = holder.iter().any(|u| u.main_pid == pid);
                Ok((!own).then_some(pid))
            }
            None => Ok(tmux.server_mark()?.is_none().then_some(pid)),
        }
    }

    /// Starts the tmux server; no error when it runs.
    ///
    /// # Errors
    /// It does not come.
    pub fn start_server(&self) -> Result<()> {
        crate::terminal::holder::revive_socket(self.install);
        match &self.manager {
            Some(manager) => {
                let unit = self.install.holder_unit();
                manager.reset_failed(std::slice::from_ref(&unit))?;
                let jobs = manager.jobs(Verb::Start, std::slice::from_ref(&unit), JOBS_TIMEOUT)?;
                match jobs.first() {
                    Some(job) if job.result == "done" => Ok(()),
                    job => Err(
                        crate::error::Error::unavailable("the tmux server did not start")
                            .because(format!(
                                "{unit}: {}",
                                job.map_or("no job", |j| j.result.as_str())
                            ))
                            .hint(format!("see `systemctl --user status {unit}`")),
                    ),
                }
            }
            None => supervised::start_server(self.install),
        }
    }

    /// Stops the tmux server with everything in it.
    ///
    /// # Errors
    /// It cannot be stopped.
    pub fn stop_server(&self) -> Result<()> {
        match &self.manager {
            Some(manager) => manager
                .jobs(Verb::Stop, &[self.install.holder_unit()], JOBS_TIMEOUT)
                .map(drop),
            None => supervised::stop_all(self.install),
        }
    }

    /// Starts a resident; no error when it runs. One of another version of mosaic, or one that listens
    /// elsewhere than it should, is started anew. The server is up.
    ///
    /// # Errors
    /// It does not come.
    pub fn start_resident(&self, which: Resident) -> Result<()> {
        let old = match which.running(self.install) {
            Some(record) if record.mosaic != env!("CARGO_PKG_VERSION") => true,
            Some(record) if which == Resident::Gateway => {
                crate::gateway::listen::is_elsewhere(self.install, &record)?
            }
            _ => false,
        };
        match &self.manager {
            Some(manager) => {
                let unit = which.unit(self.install);
                let verb = if old { Verb::Restart } else { Verb::Start };
                manager.reset_failed(std::slice::from_ref(&unit))?;
                let jobs = manager.jobs(verb, std::slice::from_ref(&unit), JOBS_TIMEOUT)?;
                match jobs.first() {
                    Some(job) if job.result == "done" => Ok(()),
                    job => Err(crate::error::Error::no(format!(
                        "the {} did not start",
                        which.name()
                    ))
                    .because(format!(
                        "{unit}: {}",
                        job.map_or("no job", |j| j.result.as_str())
                    ))
                    .hint(format!("see `systemctl --user status {unit}`"))),
                }
            }
            None => {
                if old {
                    which.stop(self.install)?;
                }
                which.start(self.install)
            }
        }
    }

    /// Ends a resident, and waits for that. No error when there is none; one that somebody runs by hand is
    /// theirs.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop_resident(&self, which: Resident) -> Result<()> {
        match &self.manager {
            Some(manager) => {
                let unit = which.unit(self.install);
                let known = manager.units(&[&unit], Detail::Process)?;
                if known.iter().all(|u| u.active == "inactive") {
                    return Ok(());
                }
                manager.jobs(Verb::Stop, &[unit], JOBS_TIMEOUT).map(drop)
            }
            None if which.running(self.install).is_some_and(|r| r.by_hand) => Ok(()),
            None => which.stop(self.install),
        }
    }

    /// Closes an agent's session, or one of its name that somebody else made; what keeps the agent
    /// ends with it. No error when there is none.
    ///
    /// # Errors
    /// tmux hangs.
    pub fn close(&self, agent: &str) -> Result<()> {
        if self.manager.is_none() {
            supervised::remove(self.install, agent)?;
        }
        Ok(self.install.tmux().kill_session(agent)?)
    }

    /// Starts, stops or restarts agents, all at once, and waits for the end of each. The jobs bear
    /// the agents' names.
    ///
    /// # Errors
    /// The manager does not answer.
    pub fn jobs(&self, verb: Verb, agents: &[String]) -> Result<Vec<Job>> {
        if agents.is_empty() {
            return Ok(Vec::new());
        }
        let Some(manager) = &self.manager else {
            let names: Vec<&str> = agents.iter().map(String::as_str).collect();
            let done = supervised::jobs(self.install, verb, &names, JOBS_TIMEOUT)?;
            return Ok(done
                .into_iter()
                .map(|one| Job {
                    unit: one.agent,
                    result: match one.error {
                        Some(e) => e.to_string(),
                        None => one.job.result,
                    },
                })
                .collect());
        };
        let units: Vec<String> = agents.iter().map(|a| self.install.agent_unit(a)).collect();
        if verb != Verb::Stop {
            // A unit at its start limit refuses otherwise; asking by hand means: try again.
            manager.reset_failed(&units)?;
        }
        let mut jobs = manager.jobs(verb, &units, JOBS_TIMEOUT)?;
        for job in &mut jobs {
            if let Some(agent) = self.install.agent_of_unit(&job.unit) {
                job.unit = agent.to_owned();
            }
        }
        Ok(jobs)
    }
}
