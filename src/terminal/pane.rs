//! Finds or makes an agent's pane, and tells when its terminal is free.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::host::procfs;
use crate::host::tmux::{NewSession, Pane, TmuxError};
use crate::install::Install;
use crate::record::{Process, Run};

/// How long the tmux server may take to come (back): its unit restarts it after a tenth of a second,
/// a loaded machine needs longer.
const SERVER_WAIT: Duration = Duration::from_secs(10);
/// How long a placeholder may take from its start to the release of the terminal.
const RELEASE_WAIT: Duration = Duration::from_secs(10);

/// Between two tries. A session takes milliseconds to go, a server some tens of them to come.
const LOOK: Duration = Duration::from_millis(25);

/// A pane whose terminal is free to be taken.
#[derive(Debug)]
pub struct Free {
    /// `%N`.
    pub pane: String,
    /// The terminal.
    pub tty: PathBuf,
    /// What holds the pane open; `None` when a supervisor does.
    pub placeholder: Option<Process>,
}

/// What is found on the socket for an agent.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A pane that mosaic made for this agent.
    Ours(&'a Pane),
    /// The session that mosaic made for this agent, with panes of a person's only.
    Vacant,
    /// A session of the agent's name that mosaic did not make.
    Foreign,
    /// Nothing.
    Missing,
}

/// Looks for an agent's pane in a list: by mosaic's mark, wherever a person may have moved it; a
/// session of the name with neither pane nor session marked is somebody else's.
pub fn find<'a>(panes: &'a [Pane], agent: &str) -> Found<'a> {
    match panes.iter().find(|p| p.agent == agent) {
        Some(pane) => Found::Ours(pane),
        None if panes.iter().any(|p| p.session == agent && p.owner == agent) => Found::Vacant,
        None if panes.iter().any(|p| p.session == agent) => Found::Foreign,
        None => Found::Missing,
    }
}

/// The error for a foreign session.
pub fn foreign(install: &Install, agent: &str) -> Error {
    Error::config(format!(
        "session `{agent}` on socket `{}` was not made by mosaic",
        install.socket_name
    ))
    .hint(format!(
        "run `mosaic fleet start {agent} --replace` to end it and put the agent in its place"
    ))
    .hint(format!(
        "or end it yourself: `tmux -L {} kill-session -t ={agent}`",
        install.socket_name
    ))
}

/// The pane of the agent's last start, when its placeholder still holds it: known without asking
/// tmux, so that a restart costs no question whose answer grows with the fleet.
pub fn recorded(install: &Install, agent: &str) -> Option<Free> {
    let run = Run::load(&install.paths, agent).ok().flatten()?;
    let placeholder = run.placeholder.clone()?;
    let stat = procfs::stat(placeholder.pid)?;
    let holds = match std::fs::read_link(format!("/proc/{}/fd/0", placeholder.pid)) {
        Ok(tty) => tty == run.tty,
        // From a user namespace of its own (sandbox `strict`) an agent may not look; a placeholder
        // never changes its terminal, so that the other marks are enough.
        Err(e) => e.kind() == std::io::ErrorKind::PermissionDenied,
    };
    (run.boot == procfs::boot_id()
        && stat.start == placeholder.start_ticks
        && stat.comm == super::placeholder::RELEASED.to_string_lossy()
        && stat.tty == 0
        && holds)
        .then_some(Free {
            pane: run.pane,
            tty: run.tty,
            placeholder: Some(placeholder),
        })
}

/// Finds the agent's pane or makes it, and waits until its placeholder has let go of the terminal.
///
/// # Errors
/// A foreign session has the name, or a foreign server the socket (kind `Config`); no server; the placeholder does not let go.
pub fn obtain(
    install: &Install,
    agent: &str,
    directory: &std::path::Path,
    banner: &str,
) -> Result<Free> {
    if let Some(free) = recorded(install, agent) {
        return Ok(free);
    }
    let tmux = install.tmux();
    let command = [
        install.mosaic.to_string_lossy().into_owned(),
        "internal".into(),
        "pane".into(),
        banner.to_owned(),
    ];
    let new = NewSession {
        name: agent,
        agent,
        directory,
        command: &command,
    };
    let mut revived = false;
    let deadline = Instant::now() + SERVER_WAIT;
    loop {
        match tmux.new_session(&new) {
            Ok(made) => return released(agent, made.pane, made.tty, made.pid),
            // Only now is it worth looking at what there is.
            Err(TmuxError::Refused { message, .. }) if message.contains("duplicate session") => {
                let panes = tmux.panes()?;
                match find(&panes, agent) {
                    Found::Ours(pane) if !pane.dead && is_placeholder(pane.pid) => {
                        return released(agent, pane.id.clone(), pane.tty.clone(), pane.pid);
                    }
                    // Dead (a person set remain-on-exit there), or still a supervisor's from before
                    // the units. The session may hold panes of a person: only this one goes.
                    Found::Ours(pane) => tmux.kill_pane(&pane.id)?,
                    // A person closed the pane and kept what they had opened beside it.
                    Found::Vacant => match tmux.new_pane(&new) {
                        Ok(made) => return released(agent, made.pane, made.tty, made.pid),
                        Err(TmuxError::NoTarget(_) | TmuxError::NoServer(_)) => {}
                        Err(e) => return Err(e.into()),
                    },
                    Found::Foreign => return Err(foreign(install, agent)),
                    // Closed between the two questions.
                    Found::Missing => {}
                }
                if Instant::now() > deadline {
                    return Err(Error::busy(format!(
                        "session `{agent}` does not make room for its agent"
                    )));
                }
                std::thread::sleep(LOOK);
            }
            Err(TmuxError::Foreign(_)) => {
                return Err(super::holder::foreign_server(install, tmux.server_pid()?));
            }
            Err(TmuxError::NoServer(_)) if Instant::now() < deadline => {
                if !std::mem::replace(&mut revived, true) {
                    super::holder::revive_socket(install);
                }
                std::thread::sleep(LOOK);
            }
            Err(e) => return Err(e.into()),
        }
    }
}

fn released(agent: &str, pane: String, tty: String, pid: i32) -> Result<Free> {
    let start_ticks = wait_released(agent, pid)?;
    Ok(Free {
        pane,
        tty: tty.into(),
        placeholder: Some(Process { pid, start_ticks }),
    })
}

/// Whether a pane's own process is a placeholder, or just about to become one.
fn is_placeholder(pid: i32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
        let mut words = line.split(|b| *b == 0);
        words.next();
        words.next() == Some(b"internal") && words.next() == Some(b"pane")
    })
}

/// Waits until the placeholder has given its terminal up; answers with its start ticks.
fn wait_released(agent: &str, pid: i32) -> Result<u64> {
    let name = super::placeholder::RELEASED.to_string_lossy();
    let deadline = Instant::now() + RELEASE_WAIT;
    loop {
        match procfs::stat(pid) {
            Some(stat) if stat.comm == name && stat.tty == 0 => return Ok(stat.start),
            Some(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
            Some(stat) => {
                return Err(Error::busy(format!(
                    "the pane of `{agent}` does not give its terminal up"
                ))
                .because(format!("process {pid} is `{}`", stat.comm)));
            }
            None => {
                return Err(Error::busy(format!(
                    "the pane of `{agent}` closed while it was taken over"
                )));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pane(id: &str, agent: &str, owner: &str, session: &str) -> Pane {
        Pane {
            id: id.into(),
            pid: 1,
            tty: "/dev/pts/1".into(),
            dead: false,
            in_mode: false,
            viewers: 0,
            width: 80,
            height: 24,
            cursor_y: 0,
            activity: 0,
            agent: agent.into(),
            owner: owner.into(),
            session: session.into(),
            title: String::new(),
        }
    }

    #[test]
    fn a_neighbour_is_never_taken_for_the_agent() {
        let panes = [
            pane("%1", "coder10", "coder10", "coder10"),
            pane("%2", "", "", "coder"),
            pane("%3", "rev", "", "elsewhere"),
            pane("%4", "", "split", "split"),
            pane("%5", "", "renamed", "other"),
        ];
        assert_eq!(find(&panes, "coder1"), Found::Missing);
        assert_eq!(find(&panes, "coder"), Found::Foreign);
        assert_eq!(find(&panes, "rev"), Found::Ours(&panes[2]));
        assert_eq!(find(&panes, "elsewhere"), Found::Foreign);
        assert_eq!(find(&panes, "split"), Found::Vacant);
        assert_eq!(find(&panes, "renamed"), Found::Missing);
        assert_eq!(find(&panes, "other"), Found::Foreign);
    }
}
