//! From a roster to a converged machine: the one sequence load → render → observe → plan → apply,
//! for the verbs and for the canary fleets of verify.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::apply::{self, Report};
use crate::desired::{self, Desired, Lookup};
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::host::tmux::Pane;
use crate::host::{files, lock, process};
use crate::install::Install;
use crate::inventory::{self, Inventory};
use crate::launch::Launch;
use crate::paths::Paths;
use crate::plan::{self, Options, Plan};
use crate::services::Services;
use crate::state;

/// How long a second mosaic waits for the first to finish applying before it says busy.
const LOCK_WAIT: Duration = Duration::from_secs(20);

/// Takes the lock that every verb holds which changes the fleet, from before it reads roster and
/// records until it is done. `doing` says what it is wanted for.
///
/// # Errors
/// Kind `Busy` when another process keeps it.
pub fn lock(paths: &Paths, doing: &str) -> Result<lock::Lock> {
    lock::exclusive(&paths.apply_lock(), "the fleet", LOCK_WAIT)
        .map_err(|e| e.context(format!("cannot {doing}")))
}

/// Programs and files of this machine.
pub struct Machine;

impl Lookup for Machine {
    fn program(&self, name: &str, path: &str, directory: &Path) -> Option<PathBuf> {
        process::find_program(name, path, directory)
    }

    fn canonical(&self, directory: &Path) -> PathBuf {
        directory
            .canonicalize()
            .unwrap_or_else(|_| directory.to_owned())
    }

    fn digest(&self, paths: &[PathBuf]) -> String {
        let mut all = Vec::new();
        for path in paths {
            match std::fs::read(path) {
                Ok(bytes) => {
                    all.extend_from_slice(b"present\n");
                    all.extend_from_slice(files::digest(&bytes).as_bytes());
                }
                Err(_) => all.extend_from_slice(b"missing\n"),
            }
        }
        files::digest(&all)
    }
}

/// A fleet that is ready to be planned.
pub struct Convergence<'a> {
    /// The install record as it should be.
    pub install: &'a Install,
    /// What should be.
    pub desired: Desired,
    services: Services<'a>,
}

impl<'a> Convergence<'a> {
    /// Renders the desired state and connects to the services.
    ///
    /// # Errors
    /// The manager cannot be reached.
    pub fn new(install: &'a Install, fleet: &Fleet) -> Result<Self> {
        Ok(Self {
            install,
            desired: desired::render(install, fleet, &Machine),
            services: Services::connect(install)?,
        })
    }

    /// The services.
    pub fn services(&self) -> &Services<'a> {
        &self.services
    }

    /// Looks at the machine.
    ///
    /// # Errors
    /// Manager or tmux do not answer.
    pub fn observe(&self) -> Result<Inventory> {
        let files: BTreeSet<PathBuf> = self.desired.files.keys().cloned().collect();
        let agents: BTreeSet<String> = self.desired.agents.keys().cloned().collect();
        inventory::observe(
            self.install,
            &files,
            &agents,
            &self.services,
            &|agent, panes| occupied(self.install, agent, panes),
        )
    }

    /// Plans.
    ///
    /// # Errors
    /// See [`Convergence::observe`].
    pub fn plan(&self, options: Options) -> Result<Plan> {
        let found = self.observe()?;
        let old = |agent: &str| Launch::load(&self.install.paths.running_launch(agent)).ok();
        Ok(plan::decide(
            self.install,
            &self.desired,
            &found,
            &old,
            options,
        ))
    }

    /// Executes a plan that was just made, under the lock.
    pub fn apply(&self, plan: &Plan, stop: &dyn Fn() -> bool) -> Report {
        // What agents write to is there before they start: a sandbox opens only what exists.
        let paths = &self.install.paths;
        let own = self.desired.agents.keys().map(|name| paths.agent_dir(name));
        let shared = ["conversations", "exits", "log", "nodes"].map(|name| paths.state.join(name));
        for dir in own.chain(shared).chain([paths.runtime.clone()]) {
            // A failure shows at the first write into it, with its reason.
            let _ = files::make_private_dir(&dir);
        }
        apply::apply(plan, &self.desired, &self.services, stop)
    }

    /// Executes a plan made earlier.
    ///
    /// # Errors
    /// Kind `Busy` when the machine or the roster has changed since: nothing is done.
    pub fn apply_stored(&self, stored: &Plan, stop: &dyn Fn() -> bool) -> Result<Report> {
        let now = self.plan(stored.options)?;
        // The actions too: an agent may have begun to work since.
        if now.fingerprint != stored.fingerprint || now.actions != stored.actions {
            return Err(Error::busy(
                "the plan is stale: roster or machine have changed since it was made",
            )
            .hint("make a new one: `mosaic fleet plan --out FILE`"));
        }
        Ok(self.apply(&now, stop))
    }
}

/// Why a running agent must not be disturbed; `None` when it is known to be idle.
pub fn occupied(install: &Install, agent: &str, panes: &[Pane]) -> Option<String> {
    let Ok(launch) = Launch::load(&install.paths.launch(agent)) else {
        return Some("its state is unknown".to_owned());
    };
    let seen = state::observe(install, &launch, panes, true);
    match (seen.state, seen.draft()) {
        (state::State::Exited | state::State::Failed, _) => None,
        // What a person has typed is gone with the process.
        (state::State::Idle, Some(draft)) => Some(format!("a draft stands in its box: `{draft}`")),
        (state::State::Idle, None) => None,
        (other, _) => Some(other.to_string()),
    }
}
