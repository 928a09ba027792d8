//! The caller's side of [`crate::terminal::supervise`]: what the verbs do to agents where there is no
//! service manager, in the shape that [`crate::host::manager`] has for systemd. Signals go only to
//! processes whose start time matches the record.

mod leftovers;
mod list;
mod waiting;

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

pub use leftovers::end_leftovers;
pub use list::{list, records};
use waiting::{Before, Wanted};

use super::pane::{self, Found, find};
use super::supervise::status::{State, Status};
use super::{holder, supervise};
use crate::error::{Error, Result};
use crate::host::manager::{Job, Verb};
use crate::host::tmux::{NewSession, Pane, TmuxError};
use crate::host::{files, lock, process, procfs};
use crate::install::Install;

/// Between two looks at the records of those that are waited for.
const LOOK: Duration = Duration::from_millis(10);
/// How long a supervisor that was told to end may take: what it gives its agent, and some.
const END: Duration = Duration::from_secs(15);
/// How long another mosaic may take to start the server.
const SERVER: Duration = Duration::from_secs(15);

/// What became of one agent.
#[derive(Debug, Clone)]
pub struct Done {
    /// The agent.
    pub agent: String,
    /// As systemd would put it: unit name, and `done`, `failed` or `timeout`.
    pub job: Job,
    /// Why it could not even be tried.
    pub error: Option<Error>,
}

/// Starts the fleet's tmux server with its holder session, unless it runs. Idempotent.
///
/// # Errors
/// Kind `Config` when a server that mosaic did not start holds the socket; nothing is changed then.
pub fn start_server(install: &Install) -> Result<()> {
    holder::prepare_socket_dir(&install.socket)?;
    let _lock = lock::exclusive(
        &install.paths.runtime.join("locks/server"),
        "the start of the tmux server",
        SERVER,
    )?;
    let tmux = install.tmux();
    match tmux.server_pid() {
        Ok(_) => {}
        Err(TmuxError::NoServer(_)) => {
            tmux.start_server(
                &install.paths.tmux_conf(),
                &install.holder_session,
                &holder::holder_command(install),
            )?;
        }
        Err(e) => return Err(e.into()),
    }
    if tmux.server_mark()?.is_none() {
        return Err(holder::foreign_server(install, tmux.server_pid()?));
    }
    holder::ready(&install.paths.state)
}

/// Starts agents: makes the sessions that are missing, wakes supervisors whose agent is down, leaves
/// agents alone that are up. Waits until each is ready or has died, at most `timeout` for all.
/// One that dies before it is ready counts as `failed`, though its supervisor may try again.
///
/// # Errors
/// No server, or a foreign one. What fails for single agents is in their result.
pub fn start(install: &Install, agents: &[&str], timeout: Duration) -> Result<Vec<Done>> {
    raise(install, agents, Signal::USR1, timeout)
}

/// Restarts agents; those that are down are started.
///
/// # Errors
/// As [`start`].
pub fn restart(install: &Install, agents: &[&str], timeout: Duration) -> Result<Vec<Done>> {
    raise(install, agents, Signal::USR2, timeout)
}

/// Stops agents; their panes stay. Waits until each is down, at most `timeout` for all.
///
/// # Errors
/// None at present; what fails for single agents is in their result.
pub fn stop(install: &Install, agents: &[&str], timeout: Duration) -> Result<Vec<Done>> {
    let wanted = agents
        .iter()
        .map(|agent| Wanted::new(agent, stop_one(install, agent)))
        .collect();
    Ok(waiting::for_stops(install, wanted, timeout))
}

/// Does what [`crate::host::manager::Manager::jobs`] does for units.
///
/// # Errors
/// As [`start`] and [`stop`].
pub fn jobs(
    install: &Install,
    verb: Verb,
    agents: &[&str],
    timeout: Duration,
) -> Result<Vec<Done>> {
    match verb {
        Verb::Start => start(install, agents, timeout),
        Verb::Stop => stop(install, agents, timeout),
        Verb::Restart => restart(install, agents, timeout),
    }
}

/// Ends an agent for good: agent, supervisor, session, record. Idempotent; a session that mosaic did
/// not make is left alone.
///
/// # Errors
/// tmux hangs, or the supervisor does not end.
pub fn remove(install: &Install, agent: &str) -> Result<()> {
    let before = Status::load(&install.paths, agent).unwrap_or_default();
    stop(install, &[agent], END)?;
    let tmux = install.tmux();
    let panes = match tmux.panes() {
        Err(TmuxError::NoServer(_)) => Vec::new(),
        other => other?,
    };
    match find(&panes, agent) {
        Found::Ours(pane) if pane.session == agent => tmux.kill_session(agent)?,
        // A person has moved it into a session of theirs.
        Found::Ours(pane) => tmux.kill_pane(&pane.id)?,
        Found::Vacant | Found::Foreign | Found::Missing => {}
    }
    if let Some(status) = before {
        wait_gone(agent, &status)?;
    }
    end_leftovers(install, Some(agent));
    forget(install, agent)
}

/// Ends everything: agents, supervisors, and the tmux server if mosaic started it. Idempotent.
///
/// # Errors
/// tmux hangs, or a supervisor does not end.
pub fn stop_all(install: &Install) -> Result<()> {
    let all = Status::load_all(&install.paths);
    let names: Vec<&str> = all.keys().map(String::as_str).collect();
    stop(install, &names, END)?;
    let tmux = install.tmux();
    match tmux.server_mark() {
        Ok(Some(_)) => {
            let server = tmux
                .server_pid()
                .ok()
                .and_then(|pid| Some((pid, procfs::stat(pid)?.start)));
            tmux.kill_server()?;
            let deadline = Instant::now() + END;
            while let Some((pid, start)) = server
                && procfs::is_same(pid, start)
            {
                if Instant::now() > deadline {
                    return Err(Error::busy(format!(
                        "the tmux server (pid {pid}) does not end"
                    )));
                }
                std::thread::sleep(LOOK);
            }
        }
        Ok(None) | Err(TmuxError::NoServer(_)) => {}
        Err(e) => return Err(e.into()),
    }
    let mut failures = Vec::new();
    for (agent, status) in &all {
        match wait_gone(agent, status) {
            Ok(()) => forget(install, agent)?,
            Err(e) => failures.push(e),
        }
    }
    end_leftovers(install, None);
    Error::all(failures).map_or(Ok(()), Err)
}

/// Starts or restarts, by the signal that the supervisor takes for it.
fn raise(
    install: &Install,
    agents: &[&str],
    signal: Signal,
    timeout: Duration,
) -> Result<Vec<Done>> {
    start_server(install)?;
    let panes = install.tmux().panes()?;
    let supervised =
        |agent: &&str| matches!(find(&panes, agent), Found::Ours(p) if is_supervisor(p.pid));
    if !agents.iter().all(supervised) {
        // What a killed supervisor left would stand beside the new agent.
        end_leftovers(install, None);
    }
    let wanted = agents
        .iter()
        .map(|agent| Wanted::new(agent, raise_one(install, agent, &panes, signal)))
        .collect();
    Ok(waiting::for_starts(install, wanted, timeout))
}

/// Sees to it that the agent has a supervisor that is about to start it, or has done so.
fn raise_one(install: &Install, agent: &str, panes: &[Pane], signal: Signal) -> Result<Before> {
    let status = Status::load(&install.paths, agent)?;
    let unknown = Before::another_than(status.as_ref());
    match find(panes, agent) {
        Found::Foreign => return Err(pane::foreign(install, agent)),
        Found::Ours(pane) if !pane.dead && is_supervisor(pane.pid) => {
            let status = status.filter(|s| s.pid == pane.pid && s.alive());
            let Some(status) = status else {
                // Its record is lost, or it has only just begun.
                if let Some(process) = ready_supervisor(pane.pid) {
                    tell(agent, process, signal)?;
                }
                return Ok(unknown);
            };
            let up = matches!(status.state, State::Starting | State::Running);
            if !(up && signal == Signal::USR1) {
                tell(agent, (status.pid, status.start_ticks), signal)?;
                return Ok(Before::of(&status, status.starts));
            }
            return Ok(Before::of(&status, status.starts.saturating_sub(1)));
        }
        // Dead, or a placeholder from when the fleet ran under systemd.
        Found::Ours(pane) => install.tmux().kill_pane(&pane.id)?,
        Found::Vacant | Found::Missing => {}
    }
    let command = [
        install.mosaic.to_string_lossy().into_owned(),
        "internal".into(),
        "supervise".into(),
        "--state".into(),
        install.paths.state.to_string_lossy().into_owned(),
        agent.to_owned(),
    ];
    let directory = crate::launch::Launch::load(&install.paths.launch(agent))
        .map(|l| l.agent.working_directory)
        .ok()
        .filter(|d| d.is_dir());
    let new = NewSession {
        name: agent,
        agent,
        directory: directory.as_deref().unwrap_or(Path::new("/")),
        command: &command,
    };
    let tmux = install.tmux();
    match tmux.new_session(&new) {
        Ok(_) => Ok(unknown),
        Err(TmuxError::Refused { message, .. }) if message.contains("duplicate") => {
            // A person keeps panes there; or another mosaic made it between our look and now, whose
            // supervisor starts the agent.
            if find(&tmux.panes()?, agent) == Found::Vacant {
                tmux.new_pane(&new)?;
            }
            Ok(unknown)
        }
        Err(e) => Err(e.into()),
    }
}

/// Tells a supervisor to stop its agent. One that is gone needs no telling, what it left does.
fn stop_one(install: &Install, agent: &str) -> Result<Before> {
    let found = Status::load(&install.paths, agent)?;
    let before = Before::another_than(found.as_ref());
    if let Some(status) = found.as_ref().filter(|s| s.alive()) {
        if status.state != State::Stopped {
            tell(agent, (status.pid, status.start_ticks), Signal::TERM)?;
        }
        return Ok(before);
    }
    if let Some(process) = in_pane(install, agent) {
        tell(agent, process, Signal::TERM)?;
        return Ok(Before::Unrecorded {
            pid: process.0,
            start_ticks: process.1,
        });
    }
    if found.is_some() {
        end_leftovers(install, Some(agent));
        // It was said to be failed; now somebody wants it down, and so it is.
        forget(install, agent)?;
    }
    Ok(before)
}

/// Signals a supervisor, by its pid and its start in clock ticks.
fn tell(agent: &str, (pid, start): (i32, u64), signal: Signal) -> Result<()> {
    process::signal(pid, start, signal)
        .map(drop)
        .map_err(|e| Error::io(format!("cannot signal the supervisor of `{agent}`"), e))
}

/// Waits until a supervisor whose pane was closed has ended.
fn wait_gone(agent: &str, status: &Status) -> Result<()> {
    let deadline = Instant::now() + END;
    while status.alive() {
        if Instant::now() > deadline {
            return Err(Error::busy(format!(
                "the supervisor of `{agent}` (pid {}) does not end",
                status.pid
            )));
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Removes what a supervisor that is gone has left in the runtime directory.
fn forget(install: &Install, agent: &str) -> Result<()> {
    files::remove(&install.paths.supervisor(agent))?;
    files::remove(&install.paths.supervisors().join(format!("{agent}.notify")))?;
    Ok(())
}

/// Pid and start of a process that is a supervisor and takes signals: it has its name only once the
/// handlers are installed, and would die of a signal before.
fn ready_supervisor(pid: i32) -> Option<(i32, u64)> {
    procfs::stat(pid)
        .filter(|s| s.comm == supervise::NAME.to_string_lossy() && s.state != 'Z')
        .map(|s| (pid, s.start))
}

/// The living supervisor in an agent's pane, for when its record is lost.
fn in_pane(install: &Install, agent: &str) -> Option<(i32, u64)> {
    match find(&install.tmux().panes().ok()?, agent) {
        Found::Ours(pane) if !pane.dead => ready_supervisor(pane.pid),
        _ => None,
    }
}

/// Whether a process is a supervisor, or about to become one.
fn is_supervisor(pid: i32) -> bool {
    procfs::stat(pid).is_some_and(|s| s.comm == supervise::NAME.to_string_lossy())
        || std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
            let mut words = line.split(|b| *b == 0).skip(1);
            words.next() == Some(b"internal") && words.next() == Some(b"supervise")
        })
}
