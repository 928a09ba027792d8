//! The door to systemd's user manager: over D-Bus where there is a session bus, else by `systemctl
//! --user`, which talks to the manager's private socket. Callers see one set of blocking calls.

mod dbus;
mod systemctl;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::install::Install;

/// Longest time for a question to the manager. Answers take milliseconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// What is known of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Unit {
    /// Unit name.
    pub name: String,
    /// `loaded`, `not-found`, `masked` …
    pub load: String,
    /// `active`, `inactive`, `failed`, `activating` …
    pub active: String,
    /// `running`, `dead`, `auto-restart` …
    pub sub: String,
    /// Main process, 0 for none.
    pub main_pid: i32,
    /// Automatic restarts since the last start by hand.
    pub restarts: u32,
    /// Of a failed unit: `exit-code`, `signal`, `oom-kill`, `start-limit-hit` …
    pub result: String,
    /// Bytes; `None` where nobody counts.
    pub memory: Option<u64>,
    /// Last change of state, microseconds since the epoch; 0 for never.
    pub since_usec: u64,
}

/// The end of a job.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Job {
    /// Unit name.
    pub unit: String,
    /// `done`, `failed`, `dependency`, `timeout`, `canceled`, `skipped`; or `unknown` when the manager
    /// did not say in time.
    pub result: String,
}

/// What is asked of units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Start those that are not active.
    Start,
    /// Stop.
    Stop,
    /// Stop and start.
    Restart,
}

impl Verb {
    /// `systemctl`'s word.
    pub fn word(self) -> &'static str {
        match self {
            Verb::Start => "start",
            Verb::Stop => "stop",
            Verb::Restart => "restart",
        }
    }
}

/// A connection to the user manager.
pub enum Manager {
    /// Over the session bus.
    Bus(dbus::Bus),
    /// Through `systemctl --user`.
    Systemctl(systemctl::Systemctl),
}

/// Which properties a listing reads besides the state; each costs a round trip per unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Names and states only.
    States,
    /// And the main process.
    Process,
    /// And everything in [`Unit`].
    Full,
}

impl Manager {
    /// Connects to the calling user's manager.
    ///
    /// # Errors
    /// Kind `Unavailable`: no manager, a stale socket, a hung manager, or the caller is root by
    /// `sudo` (a manager answers its own user only). Each says what to type.
    pub fn connect() -> Result<Self> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let Some(runtime) = runtime else {
            return Err(explain_sudo(
                Error::unavailable("cannot reach the systemd user manager")
                    .because("XDG_RUNTIME_DIR is not set: this is no login session")
                    .hint("log in as the user (ssh, or `machinectl shell USER@`), not by `su`")
                    .hint("or run without it: `mosaic fleet up --no-systemd`"),
            ));
        };
        let private = runtime.join("systemd/private");
        if !private.exists() {
            return Err(explain_sudo(
                Error::unavailable("cannot reach the systemd user manager")
                    .because(format!("no socket at {}", private.display()))
                    .hint("log in with a user session, or run `mosaic fleet up --no-systemd`"),
            ));
        }
        // An explicit choice for tests and for buses that misbehave.
        let forced = std::env::var("MOSAIC_MANAGER").unwrap_or_default();
        if forced != "systemctl" {
            match dbus::Bus::connect(&runtime) {
                // A bus without the manager on it is of no use.
                Ok(Some(bus)) => {
                    let asked = Instant::now();
                    match bus.version() {
                        Ok(_) => return Ok(Manager::Bus(bus)),
                        // The bus works and the manager hangs: systemctl would only wait as long again.
                        Err(e) if forced == "dbus" || asked.elapsed() >= CALL_TIMEOUT => {
                            return Err(e);
                        }
                        Err(e) => tracing::debug!("no manager on the bus, using systemctl: {e}"),
                    }
                }
                Ok(None) => tracing::debug!("no session bus: using systemctl"),
                Err(e) if forced == "dbus" => return Err(e),
                Err(e) => tracing::debug!("session bus unusable, using systemctl: {e}"),
            }
        }
        systemctl::Systemctl::connect()
            .map(Manager::Systemctl)
            .map_err(explain_sudo)
    }

    /// How it is reached, for doctor and verify.
    pub fn transport(&self) -> &'static str {
        match self {
            Manager::Bus(_) => "D-Bus",
            Manager::Systemctl(_) => "systemctl",
        }
    }

    /// systemd's version, e.g. `252.38-1~deb12u1`.
    ///
    /// # Errors
    /// The manager does not answer.
    pub fn version(&self) -> Result<String> {
        match self {
            Manager::Bus(m) => m.version(),
            Manager::Systemctl(m) => m.version(),
        }
    }

    /// Units whose names match one of the globs and that the manager has loaded. Units that are
    /// neither running nor referred to may be missing.
    ///
    /// # Errors
    /// The manager does not answer.
    pub fn units(&self, patterns: &[&str], detail: Detail) -> Result<Vec<Unit>> {
        let mut units = match self {
            Manager::Bus(m) => m.units(patterns, detail),
            Manager::Systemctl(m) => m.units(patterns, detail),
        }?;
        units.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(units)
    }

    /// The agents' units with their main processes.
    ///
    /// # Errors
    /// The manager does not answer.
    pub fn agents(&self, install: &Install) -> Result<Vec<Unit>> {
        self.units(&[&install.agent_pattern()], Detail::Process)
    }

    /// Makes the manager read unit files again.
    ///
    /// # Errors
    /// The manager refuses or does not answer.
    pub fn reload(&self) -> Result<()> {
        match self {
            Manager::Bus(m) => m.reload(),
            Manager::Systemctl(m) => m.reload(),
        }
    }

    /// Queues a job for each unit in one go and waits until all have ended or `timeout` passed.
    /// A job's `done` says only that the start succeeded; read the units afterwards.
    ///
    /// # Errors
    /// The manager does not answer, or refuses a job; jobs queued before that run on.
    pub fn jobs(&self, verb: Verb, units: &[String], timeout: Duration) -> Result<Vec<Job>> {
        if units.is_empty() {
            return Ok(Vec::new());
        }
        match self {
            Manager::Bus(m) => m.jobs(verb, units, timeout),
            Manager::Systemctl(m) => m.jobs(verb, units, timeout),
        }
    }

    /// Queues a restart and returns at once. A unit that is down, or about to be, stays down.
    ///
    /// # Errors
    /// The manager refuses.
    pub fn try_restart_no_wait(&self, unit: &str) -> Result<()> {
        match self {
            Manager::Bus(m) => m.try_restart_no_wait(unit),
            Manager::Systemctl(m) => m.try_restart_no_wait(unit),
        }
    }

    /// Forgets failures and start limits of units; those that are not loaded are left out.
    ///
    /// # Errors
    /// The manager does not answer.
    pub fn reset_failed(&self, units: &[String]) -> Result<()> {
        match self {
            Manager::Bus(m) => m.reset_failed(units),
            Manager::Systemctl(m) => m.reset_failed(units),
        }
    }
}

fn explain_sudo(e: Error) -> Error {
    if let Ok(user) = std::env::var("SUDO_USER")
        && rustix::process::getuid().is_root()
    {
        return e
            .because("this is root by sudo; a user manager answers only its own user")
            .hint(format!("run mosaic as `{user}`, without sudo"));
    }
    e
}

/// Numbers that systemd uses for "not counted" and "no limit".
fn counted(value: u64) -> Option<u64> {
    (value != u64::MAX && value != 0).then_some(value)
}
