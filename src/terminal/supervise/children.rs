//! The processes below a supervisor: starting the agent, hearing of its end, and ending whatever it
//! leaves behind, wherever in the process tree that has gone.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Signal, WaitOptions, WaitStatus};

use super::signals::Signals;
use crate::error::{Error, Result};
use crate::host::{files, process, procfs};

/// How long the agent gets to end when it is told to, as the units' `TimeoutStopSec=`.
pub const STOP: Duration = Duration::from_secs(5);
/// How long what it leaves behind gets.
const LEFTOVERS: Duration = Duration::from_secs(1);
/// How long to wait for what was killed. Only a process that hangs in the kernel takes longer, and
/// nothing helps against it.
const KILLED: Duration = Duration::from_secs(5);
/// Between two looks at the process tree, when nothing tells that it has changed.
const LOOK: Duration = Duration::from_millis(20);

/// The agent, its readiness hook, and everything below.
#[derive(Debug)]
pub struct Children {
    own: i32,
    main: Option<i32>,
    hook: Option<i32>,
    /// How the agent ended, until it is taken.
    ended: Option<WaitStatus>,
    ready: Option<Ready>,
}

/// Where the agent says that it has taken its terminal over: systemd's protocol, sd_notify(3).
#[derive(Debug)]
struct Ready {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Children {
    /// Becomes the parent of every orphan below this process. `socket` is where the readiness socket
    /// is made; without one, an agent counts as ready once it was started.
    ///
    /// # Errors
    /// The system's.
    pub fn adopt(socket: &Path) -> std::io::Result<Self> {
        let own = rustix::process::getpid();
        rustix::process::set_child_subreaper(Some(own))?;
        Ok(Self {
            own: own.as_raw_nonzero().get(),
            main: None,
            hook: None,
            ended: None,
            ready: Ready::bind(socket),
        })
    }

    /// The agent's process.
    pub fn main(&self) -> Option<i32> {
        self.main
    }
    /// Whether the readiness hook runs.
    pub fn hook(&self) -> bool {
        self.hook.is_some()
    }
    /// What to wait on for word from the agent.
    pub fn ready_fd(&self) -> Option<BorrowedFd<'_>> {
        self.ready.as_ref().map(|r| r.socket.as_fd())
    }

    /// Starts the agent. True when it will say by itself that it is ready.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(&mut self, mut command: Command) -> Result<bool> {
        // Word from an earlier agent is none of this one's.
        self.take_ready();
        if let Some(ready) = &self.ready {
            command.env("NOTIFY_SOCKET", &ready.path);
        }
        self.main = Some(spawn(&mut command)?);
        self.ended = None;
        Ok(self.ready.is_some())
    }

    /// Starts the readiness hook, silent and without a terminal.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start_hook(&mut self, mut command: Command) -> Result<()> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.hook = Some(spawn(&mut command)?);
        Ok(())
    }

    /// Whether the agent has said that it is ready since this was last asked.
    pub fn take_ready(&mut self) -> bool {
        let Some(ready) = &self.ready else {
            return false;
        };
        let mut said = false;
        let mut buffer = [0u8; 4096];
        while let Ok(length) = ready.socket.recv(&mut buffer) {
            said |= buffer[..length]
                .split(|b| *b == b'\n')
                .any(|line| line == b"READY=1");
        }
        said
    }

    /// Reaps whoever has ended, adopted orphans too. False when there are no children left.
    pub fn reap(&mut self) -> bool {
        loop {
            let (pid, status) = match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => (pid.as_raw_nonzero().get(), status),
                Ok(None) => return true,
                Err(_) => return false,
            };
            if self.main == Some(pid) {
                self.main = None;
                self.ended = Some(status);
            } else if self.hook == Some(pid) {
                self.hook = None;
            }
        }
    }

    /// How the agent ended; told once.
    pub fn take_ended(&mut self) -> Option<WaitStatus> {
        self.ended.take()
    }

    /// Hangs up on the agent and everything below and waits until the agent has ended, at most
    /// [`STOP`]. False when it has not.
    pub fn hang_up(&mut self, signals: &Signals) -> bool {
        let deadline = Instant::now() + STOP;
        let mut told = BTreeSet::new();
        loop {
            self.reap();
            if self.main.is_none() {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            self.tell(&[Signal::HUP, Signal::CONT], &mut told);
            signals.nap(LOOK);
        }
    }

    /// Ends everything below this process: politely first if `politely`, then by force. When this
    /// returns there is nothing left, but for processes that hang in the kernel.
    pub fn end_all(&mut self, signals: &Signals, politely: bool) {
        let begun = Instant::now();
        let patience = if politely { LEFTOVERS } else { Duration::ZERO };
        let mut told = BTreeSet::new();
        loop {
            // Also the dead are waited for: where the first process of a container does not reap,
            // what this one leaves would stay for ever.
            if !self.reap() {
                return;
            }
            let left = if begun.elapsed() < patience {
                // Shells end by a hangup, what ran under nohup(1) by a termination.
                self.tell(&[Signal::HUP, Signal::TERM, Signal::CONT], &mut told)
            } else {
                // Each time anew: what forks while it is looked at is found by the next look.
                self.tell(&[Signal::KILL], &mut BTreeSet::new())
            };
            if begun.elapsed() > patience + KILLED {
                tracing::warn!("{left} processes do not end though they were killed");
                return;
            }
            signals.nap(LOOK);
        }
    }

    /// Sends signals to everything below that was not told yet; how many processes there are.
    fn tell(&self, what: &[Signal], told: &mut BTreeSet<(i32, u64)>) -> usize {
        let all = procfs::all();
        let below = procfs::below(&all, self.own);
        for (pid, stat) in &below {
            if told.insert((*pid, stat.start)) {
                for signal in what {
                    if let Err(e) = process::signal(*pid, stat.start, *signal) {
                        tracing::debug!("cannot signal {pid}: {e}");
                    }
                }
            }
        }
        below.len()
    }
}

impl Ready {
    fn bind(path: &Path) -> Option<Self> {
        let make = || -> Result<UnixDatagram> {
            files::make_private_dir(path.parent().unwrap_or(Path::new("/")))?;
            files::remove(path)?;
            let socket = UnixDatagram::bind(path)
                .map_err(|e| Error::io(format!("cannot make `{}`", path.display()), e))?;
            socket
                .set_nonblocking(true)
                .map_err(|e| Error::io("cannot prepare a socket", e))?;
            Ok(socket)
        };
        match make() {
            Ok(socket) => Some(Self {
                socket,
                path: path.to_owned(),
            }),
            Err(e) => {
                tracing::warn!("{e}");
                None
            }
        }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        let _ = files::remove(&self.path);
    }
}

/// Starts a program; [`Children::reap`] hears of its end.
fn spawn(command: &mut Command) -> Result<i32> {
    let child = command.spawn().map_err(|e| {
        Error::io(
            format!("cannot start `{}`", command.get_program().to_string_lossy()),
            e,
        )
    })?;
    Ok(rustix::process::Pid::from_child(&child)
        .as_raw_nonzero()
        .get())
}
