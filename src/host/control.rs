//! A tmux client in control mode (tmux(1), CONTROL MODE): one process that stays attached, so that a
//! question costs a hundredth of a millisecond instead of a process. For residents only. It has no
//! size and gets no output of panes; whoever holds it drains it, since a server cannot end while a
//! client does not read.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use super::process::{RunError, timespec};
use super::tmux::{Pane, Tmux, TmuxError};

/// Longest time for an answer. One takes far below a millisecond; a stopped server gives none.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The same for the first one, which others wait for.
const BEGIN: Duration = Duration::from_secs(1);

/// An attached client. Dropping it detaches.
#[derive(Debug)]
pub struct Control {
    tmux: Tmux,
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    unread: Vec<u8>,
    open: bool,
    /// It was answered once.
    attached: bool,
}

impl Control {
    /// Attaches to a session that exists.
    ///
    /// # Errors
    /// `NoServer`, `NoTarget`; the server is asked so much that it must not begin; or tmux cannot be run.
    pub fn attach(tmux: &Tmux, session: &str) -> Result<Self, TmuxError> {
        let _quiet = tmux.quiet().ok_or_else(|| TmuxError::Refused {
            verb: "attach-session".to_owned(),
            message: "it must not begin now: see quiet.rs".to_owned(),
        })?;
        let mut command = tmux.control_command(session);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let start = |error| {
            TmuxError::Run(RunError::Start {
                program: tmux.program.display().to_string(),
                error,
            })
        };
        let mut child = command.spawn().map_err(start)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(start(ErrorKind::BrokenPipe.into()));
        };
        rustix::io::ioctl_fionbio(&stdout, true).map_err(|e| start(e.into()))?;
        let mut control = Self {
            tmux: tmux.clone(),
            child,
            stdin,
            stdout,
            unread: Vec::new(),
            open: true,
            attached: false,
        };
        // Says at once whether it is attached.
        control.ask_within("display-message -p ok", BEGIN)?;
        control.attached = true;
        Ok(control)
    }

    /// Every pane of the server.
    ///
    /// # Errors
    /// The server is gone or hangs: this client is of no more use.
    pub fn panes(&mut self) -> Result<Vec<Pane>, TmuxError> {
        let text = self.ask(&format!(
            "list-panes -a -F '{}'",
            super::tmux::pane_format()
        ))?;
        Ok(text.lines().filter_map(super::tmux::parse_pane).collect())
    }

    /// The visible rows of a pane, as [`Tmux::screen`] has them.
    ///
    /// # Errors
    /// As [`Control::panes`], or no such pane.
    pub fn screen(&mut self, pane: &str) -> Result<String, TmuxError> {
        self.ask(&format!("capture-pane -p -e -t {pane}"))
    }

    /// Whether it is attached, as far as it was told.
    pub fn open(&self) -> bool {
        self.open
    }

    /// Its output, for a poll: when there is some, [`Control::drain`] is due.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.stdout.as_fd()
    }

    /// Reads what the server tells unasked, and forgets it.
    pub fn drain(&mut self) {
        self.read();
        while let Some(line) = self.take_line() {
            self.heed(&line);
        }
    }

    /// Runs one command and gives what it prints.
    fn ask(&mut self, command: &str) -> Result<String, TmuxError> {
        self.ask_within(command, TIMEOUT)
    }

    fn ask_within(&mut self, command: &str, timeout: Duration) -> Result<String, TmuxError> {
        let gone = || TmuxError::NoServer(self.tmux.socket.clone());
        if !self.open
            || self
                .stdin
                .write_all(format!("{command}\n").as_bytes())
                .is_err()
        {
            self.open = false;
            return Err(gone());
        }
        let deadline = Instant::now() + timeout;
        let mut reply: Option<Reply> = None;
        loop {
            while let Some(line) = self.take_line() {
                let Some(open) = &mut reply else {
                    self.heed(&line);
                    reply = Reply::begin(&line);
                    continue;
                };
                match open.add(&line) {
                    None => {}
                    Some(true) => return Ok(std::mem::take(&mut open.text)),
                    Some(false) => return Err(TmuxError::NoTarget(open.text.trim().to_owned())),
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if !self.open || left.is_zero() {
                let timed_out = self.open;
                self.open = false;
                return Err(if timed_out {
                    TmuxError::Run(RunError::Timeout {
                        program: self.tmux.program.display().to_string(),
                        seconds: timeout.as_secs_f64(),
                    })
                } else {
                    TmuxError::NoServer(self.tmux.socket.clone())
                });
            }
            let mut fds = [PollFd::new(&self.stdout, PollFlags::IN)];
            let _ = poll(&mut fds, Some(&timespec(left)));
            self.read();
        }
    }

    /// Takes what is there to read.
    fn read(&mut self) {
        let mut part = [0; 16 * 1024];
        loop {
            match self.stdout.read(&mut part) {
                Ok(0) => {
                    self.open = false;
                    return;
                }
                Ok(n) => self.unread.extend_from_slice(&part[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.open = false;
                    return;
                }
            }
        }
    }

    fn take_line(&mut self) -> Option<String> {
        let end = self.unread.iter().position(|b| *b == b'\n')?;
        let line = String::from_utf8_lossy(&self.unread[..end]).into_owned();
        self.unread.drain(..=end);
        Some(line)
    }

    /// Takes what the server tells unasked. A row of a screen, in an answer, may look the same.
    fn heed(&mut self, line: &str) {
        if line == "%exit" || line.starts_with("%exit ") {
            self.open = false;
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // It ends by itself when its input closes; a server that hangs must not keep us.
        let child = &mut self.child;
        let mut end = || {
            let _ = child.kill();
            let _ = child.wait();
        };
        match self.attached {
            true => self.tmux.ending(&mut end),
            // It never was one that others are told of; and whoever began it has the lock still.
            false => end(),
        }
    }
}

/// The answer to a command of ours, between `%begin` and `%end`. Rows of a screen that look like a
/// guard are told by its time and number.
#[derive(Debug)]
struct Reply {
    guard: String,
    text: String,
}

impl Reply {
    /// Of answers that begin, those to this client's own commands have the flag 1.
    fn begin(line: &str) -> Option<Self> {
        let guard = line.strip_prefix("%begin ")?;
        guard.ends_with(" 1").then(|| Self {
            guard: guard.to_owned(),
            text: String::new(),
        })
    }

    /// `None` as long as it goes on; then whether the command succeeded.
    fn add(&mut self, line: &str) -> Option<bool> {
        match line.split_once(' ') {
            Some(("%end", rest)) if rest == self.guard => Some(true),
            Some(("%error", rest)) if rest == self.guard => Some(false),
            _ => {
                self.text.push_str(line);
                self.text.push('\n');
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A client of a server that answers as told: once at the start, then for each line of input.
    fn served(dir: &std::path::Path, answer: &str) -> Control {
        use std::os::unix::fs::PermissionsExt as _;
        let program = dir.join("tmux");
        let script = format!(
            "#!/bin/sh\nread q; printf '%%begin 1 1 1\\nok\\n%%end 1 1 1\\n'\nwhile read q; do printf '{answer}'; done\n"
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let tmux = Tmux {
            program,
            socket: dir.join("s"),
        };
        Control::attach(&tmux, "x").unwrap()
    }

    #[test]
    fn a_row_that_looks_like_the_end_of_the_server_is_a_row() {
        let dir = tempfile::tempdir().unwrap();
        let answer = r"%%begin 1 2 1\n%%exit now\n%%exit\n%%end 1 2 1\n";
        let mut control = served(dir.path(), answer);
        for _ in 0..2 {
            assert_eq!(control.screen("%1").unwrap(), "%exit now\n%exit\n");
            assert!(control.open());
        }
        let mut control = served(dir.path(), r"%%exit\n");
        assert!(control.screen("%1").is_err());
        assert!(!control.open());
    }

    #[test]
    fn an_answer_ends_at_its_own_guard() {
        assert!(Reply::begin("%begin 17 4 0").is_none());
        assert!(Reply::begin("%session-changed $1 a").is_none());
        let Some(mut reply) = Reply::begin("%begin 17 5 1") else {
            panic!("it is one")
        };
        assert_eq!(reply.add("a row"), None);
        assert_eq!(reply.add("%end 17 4 1"), None);
        assert_eq!(reply.add("%error 17 5 1"), Some(false));
        assert_eq!(reply.add("%end 17 5 1"), Some(true));
        assert_eq!(reply.text, "a row\n%end 17 4 1\n");
    }
}
