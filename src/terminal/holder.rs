//! The tmux server's own unit: becoming the server, making its first session, and finding agents
//! whose pane went away under them.

use std::convert::Infallible;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::host::manager::{Detail, Manager, Unit};
use crate::host::tmux::{self, NewSession, TmuxError};
use crate::host::{lock, process, procfs};
use crate::install::{Install, Mode};

/// How long an agent gets to end by itself after its pane closed. Those that end take milliseconds.
const GRACE: Duration = Duration::from_millis(1500);
/// How long the look for leftovers of killed supervisors waits for further ones. Agents need no
/// grace there: one whose supervisor lives is not looked at.
const GATHER: Duration = Duration::from_millis(100);
/// How long the server may take until it answers.
const READY_WAIT: Duration = Duration::from_secs(10);

/// Becomes the tmux server in the foreground; returns only on failure.
///
/// # Errors
/// Kind `Config` when a server that is not this unit's holds the socket.
pub fn become_server(state: &Path) -> Result<Infallible> {
    let install = Install::require(state)?;
    prepare_socket_dir(&install.socket)?;
    let tmux = install.tmux();
    if let Ok(pid) = tmux.server_pid() {
        return Err(foreign_server(&install, pid));
    }
    let error = tmux.server_command(&install.paths.tmux_conf()).exec();
    Err(Error::unavailable(format!("cannot execute `{}`", install.tmux.display())).because(error))
}

/// The fleet's own server, when it lives and its socket file is gone: no client reaches it, and a
/// second server would be started beside it.
pub fn deaf_server(install: &Install) -> Option<i32> {
    let socket = install.socket.to_string_lossy().into_owned();
    if install.socket.exists() {
        return None;
    }
    procfs::tmux_servers()
        .into_iter()
        .find(|(_, words)| words.contains(&socket))
        .map(|(pid, _)| pid)
}

/// Makes a server that lost its socket file create it again (tmux does so on SIGUSR1). True when
/// it answers afterwards.
pub fn revive_socket(install: &Install) -> bool {
    let Some(pid) = deaf_server(install).and_then(rustix::process::Pid::from_raw) else {
        return false;
    };
    tracing::warn!(
        pid = pid.as_raw_nonzero().get(),
        "the tmux server's socket file is gone: asking for a new one"
    );
    if prepare_socket_dir(&install.socket).is_err()
        || rustix::process::kill_process(pid, rustix::process::Signal::USR1).is_err()
    {
        return false;
    }
    let deadline = Instant::now() + READY_WAIT;
    while Instant::now() < deadline {
        if install.tmux().server_pid().is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// The error for a server on the fleet's socket that the holder unit did not start.
pub fn foreign_server(install: &Install, pid: i32) -> Error {
    Error::config(format!(
        "another tmux server (pid {pid}) holds the socket `{}`",
        install.socket.display()
    ))
    .hint(format!(
        "move what runs in it elsewhere, then end it: `tmux -L {} kill-server`",
        install.socket_name
    ))
    .hint("or choose another `tmux: {socket_name: …}` in the roster and run `mosaic fleet install-systemd`")
}

/// Makes the socket's directory as tmux does: mode 0700, owned by this user; anything else there
/// is refused, since another user could have put it there.
///
/// # Errors
/// The directory cannot be made, or belongs to somebody else.
pub fn prepare_socket_dir(socket: &Path) -> Result<()> {
    let dir = socket.parent().unwrap_or(Path::new("/"));
    match std::fs::DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            let meta = std::fs::symlink_metadata(dir)
                .map_err(|e| Error::io(format!("cannot look at `{}`", dir.display()), e))?;
            if !meta.is_dir()
                || meta.uid() != rustix::process::getuid().as_raw()
                || meta.mode() & 0o077 != 0
            {
                return Err(Error::config(format!(
                    "the tmux directory `{}` is not a directory that only you can enter",
                    dir.display()
                ))
                .hint("remove it, or set TMUX_TMPDIR to a directory of yours and install again"));
            }
            Ok(())
        }
        Err(e) => Err(Error::io(
            format!("cannot make the tmux directory `{}`", dir.display()),
            e,
        )),
    }
}

/// Waits until the server answers, then makes the holder session. The unit's `ExecStartPost=`.
///
/// # Errors
/// The server does not come, or is not the fleet's own (kind `Config`).
pub fn ready(state: &Path) -> Result<()> {
    let install = Install::require(state)?;
    let tmux = install.tmux();
    let deadline = Instant::now() + READY_WAIT;
    let panes = loop {
        match tmux.panes() {
            Ok(panes) => break panes,
            Err(TmuxError::NoServer(_)) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10))
            }
            Err(e) => return Err(e.into()),
        }
    };
    // The unit's other process may be about to find a person's server on the socket.
    if tmux.server_mark()?.is_none() {
        return Err(foreign_server(&install, tmux.server_pid()?));
    }
    if !panes.iter().any(|p| p.session == install.holder_session) {
        let made = tmux.new_session(&NewSession {
            name: &install.holder_session,
            agent: "",
            directory: Path::new("/"),
            command: &holder_command(&install),
        });
        match made {
            Ok(_) => {}
            // Somebody else made it between our look and now.
            Err(TmuxError::Refused { message, .. }) if message.contains("duplicate") => {}
            Err(TmuxError::Foreign(_)) => {
                return Err(foreign_server(&install, tmux.server_pid()?));
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// What the holder session runs.
pub fn holder_command(install: &Install) -> Vec<String> {
    vec![
        install.mosaic.to_string_lossy().into_owned(),
        "internal".into(),
        "pane".into(),
        "mosaic: this session holds the fleet's tmux server; agents have sessions of their own"
            .into(),
    ]
}

/// The tmux.conf with the hooks that look for orphans whenever a session or a pane closes.
pub fn conf(install: &Install, history: u32) -> String {
    let mut text = tmux::conf(history);
    // tmux's own quotes end at `"`, `\` and `$`.
    let escaped: String = orphans_command(install)
        .chars()
        .flat_map(|c| match c {
            '"' | '\\' | '$' => vec!['\\', c],
            c => vec![c],
        })
        .collect();
    // A person may have opened panes beside the agent's, so that the session stays: the end of each
    // pane counts.
    for hook in tmux::CLOSING_HOOKS {
        text.push_str(&format!(
            "set-hook -g {hook} {{ run-shell -b \"{escaped}\" }}\n"
        ));
    }
    text
}

/// The shell command, as tmux's `run-shell` takes it, that looks for orphans. tmux expands formats
/// there, so `#` is doubled.
pub fn orphans_command(install: &Install) -> String {
    format!(
        "{} internal orphans --state {}",
        process::shell_quote(&install.mosaic.to_string_lossy()),
        process::shell_quote(&install.paths.state.to_string_lossy())
    )
    .replace('#', "##")
}

/// Restarts agents that live on although their pane is gone (some never end on a hangup); without a
/// service manager, ends what a killed supervisor left behind. Runs in the background after a session
/// or a pane closed and after the server came back.
///
/// # Errors
/// No manager, or it refuses.
pub fn orphans(state: &Path) -> Result<()> {
    let install = Install::require(state)?;
    let lock_path = install.paths.runtime.join("locks/orphans");
    // One look serves all sessions that closed before it; who comes while it waits need not stay.
    let Ok(waiting) = lock::exclusive(&lock_path, "the look for orphans", Duration::ZERO) else {
        return Ok(());
    };
    if install.mode == Mode::Supervisor {
        std::thread::sleep(GATHER);
        drop(waiting);
        super::supervised::end_leftovers(&install, None);
        return Ok(());
    }
    std::thread::sleep(GRACE);
    drop(waiting);
    let manager = Manager::connect()?;
    // The units first: one that starts after this look is not in it, and one that started before has
    // its pane in the list that follows.
    let units = manager.agents(&install)?;
    // No answer is not "no panes": the socket file may be deleted, or the server on its way back,
    // which looks for orphans itself.
    let panes = install.tmux().panes()?;
    for unit in units {
        let Some(agent) = install.agent_of_unit(&unit.name) else {
            continue;
        };
        if lives(&unit) && !on_a_pane_of(agent, unit.main_pid, &panes) {
            // It may have been stopped or restarted meanwhile.
            let now = manager.units(&[&unit.name], Detail::Process)?;
            if !now.iter().any(|n| lives(n) && n.main_pid == unit.main_pid) {
                continue;
            }
            tracing::warn!(
                agent,
                pid = unit.main_pid,
                "lives on without a pane: restarting it"
            );
            manager.try_restart_no_wait(&unit.name)?;
        }
    }
    Ok(())
}

fn lives(unit: &Unit) -> bool {
    unit.active == "active" && unit.main_pid > 0
}

/// Whether a process has a pane of this agent as its controlling terminal. After a hangup it has
/// none.
pub fn on_a_pane_of(agent: &str, pid: i32, panes: &[tmux::Pane]) -> bool {
    let Some(stat) = procfs::stat(pid) else {
        return false;
    };
    panes
        .iter()
        .filter(|p| p.agent == agent)
        .any(|p| procfs::tty_number(&p.tty) == Some(stat.tty))
}
