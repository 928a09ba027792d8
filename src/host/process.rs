//! Runs other programs to their end: with a deadline, with text on standard input, never through a
//! shell. Replacing this process and starting supervised children are in [`crate::terminal`].

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

/// What a finished program left.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output, bytes that are no UTF-8 replaced.
    pub stdout: String,
    /// Standard error, likewise, trimmed.
    pub stderr: String,
}

/// Why a program could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It could not be started.
    #[error("cannot start `{program}`: {error}")]
    Start {
        /// The program.
        program: String,
        /// The system's reason.
        error: std::io::Error,
    },
    /// It did not end in time and was killed.
    #[error("`{program}` did not answer within {seconds} s")]
    Timeout {
        /// The program.
        program: String,
        /// The deadline that passed.
        seconds: f64,
    },
    /// A pipe broke in a way that is not the program's doing.
    #[error("cannot talk to `{program}`: {error}")]
    Pipe {
        /// The program.
        program: String,
        /// The system's reason.
        error: std::io::Error,
    },
}

/// Starts a command for [`run`].
#[allow(clippy::disallowed_methods, reason = "this is the door")]
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(program)
}

/// Runs a command to its end and collects what it prints. The child is killed when `timeout`
/// passes; nothing of it is left behind.
///
/// # Errors
/// It could not be started, or did not end in time. An exit status other than zero is no error here.
pub fn run(
    mut command: Command,
    input: Option<&[u8]>,
    timeout: Duration,
) -> Result<Output, RunError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let deadline = Instant::now() + timeout;
    command
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| RunError::Start {
        program: program.clone(),
        error,
    })?;
    let result = converse(&mut child, input, deadline);
    match result {
        Ok(Some((stdout, stderr))) => {
            if let Some(status) =
                wait_until(&mut child, deadline).map_err(|error| RunError::Pipe {
                    program: program.clone(),
                    error,
                })?
            {
                return Ok(Output {
                    status,
                    stdout: String::from_utf8_lossy(&stdout).into_owned(),
                    stderr: String::from_utf8_lossy(&stderr).trim().to_owned(),
                });
            }
        }
        Ok(None) => {}
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            return Err(RunError::Pipe { program, error });
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    Err(RunError::Timeout {
        program,
        seconds: timeout.as_secs_f64(),
    })
}

/// Runs a command of a person's as a process group of its own, without input, until its first process
/// ends; what that one put into the background goes on. All of the group is killed when `timeout`
/// passes. Of what it prints only the end of standard error is kept.
///
/// # Errors
/// As [`run`].
pub fn run_group(mut command: Command, timeout: Duration) -> Result<Output, RunError> {
    use std::io::{Seek as _, SeekFrom};
    use std::os::unix::process::CommandExt as _;
    const KEPT: i64 = 4096;
    let program = command.get_program().to_string_lossy().into_owned();
    let start = |error| RunError::Start {
        program: program.clone(),
        error,
    };
    // Not a pipe: a process in the background may hold it open for ever, and nobody would read it.
    let mut said = tempfile::tempfile().map_err(start)?;
    let stderr = said.try_clone().map_err(start)?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .process_group(0);
    let mut child = command.spawn().map_err(start)?;
    let pipe = |error| RunError::Pipe {
        program: program.clone(),
        error,
    };
    let Some(status) = wait_until(&mut child, Instant::now() + timeout).map_err(pipe)? else {
        let group = rustix::process::Pid::from_child(&child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = child.wait();
        return Err(RunError::Timeout {
            program,
            seconds: timeout.as_secs_f64(),
        });
    };
    let mut stderr = Vec::new();
    let read = said
        .seek(SeekFrom::End(0))
        .and_then(|end| {
            let from = i64::try_from(end).unwrap_or(0).saturating_sub(KEPT).max(0);
            said.seek(SeekFrom::Start(from.unsigned_abs()))
        })
        .and_then(|_| said.read_to_end(&mut stderr));
    read.map_err(pipe)?;
    Ok(Output {
        status,
        stdout: String::new(),
        stderr: String::from_utf8_lossy(&stderr).trim().to_owned(),
    })
}

/// Feeds and drains the child's pipes in one poll loop, so that neither side can block the other.
/// `None` when the deadline passed.
fn converse(
    child: &mut Child,
    input: Option<&[u8]>,
    deadline: Instant,
) -> std::io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let mut stdin = child.stdin.take();
    let mut pending = input.unwrap_or_default();
    if let Some(pipe) = &stdin {
        rustix::io::ioctl_fionbio(pipe, true)?;
    }
    let mut stdout = child.stdout.take();
    let mut stderr = child.stderr.take();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut buffer = vec![0u8; 64 * 1024];
    while stdout.is_some() || stderr.is_some() || stdin.is_some() {
        if pending.is_empty() {
            stdin = None;
            if stdout.is_none() && stderr.is_none() {
                break;
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let mut fds = Vec::with_capacity(3);
        if let Some(pipe) = &stdout {
            fds.push(PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN));
        }
        if let Some(pipe) = &stderr {
            fds.push(PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN));
        }
        if let Some(pipe) = &stdin {
            fds.push(PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::OUT));
        }
        match poll(&mut fds, Some(&timespec(left))) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(e) => return Err(e.into()),
        }
        let mut ready = fds
            .iter()
            .map(|f| !f.revents().is_empty())
            .collect::<Vec<_>>()
            .into_iter();
        let out_ready = stdout.is_some() && ready.next() == Some(true);
        let err_ready = stderr.is_some() && ready.next() == Some(true);
        let in_ready = stdin.is_some() && ready.next() == Some(true);
        if out_ready && let Some(pipe) = &mut stdout {
            match pipe.read(&mut buffer)? {
                0 => stdout = None,
                n => out.extend_from_slice(&buffer[..n]),
            }
        }
        if err_ready && let Some(pipe) = &mut stderr {
            match pipe.read(&mut buffer)? {
                0 => stderr = None,
                n => err.extend_from_slice(&buffer[..n]),
            }
        }
        if in_ready && let Some(pipe) = &mut stdin {
            match pipe.write(pending) {
                Ok(n) => pending = &pending[n..],
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                // The program has read enough; its status tells the rest.
                Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => pending = &[],
                Err(e) => return Err(e),
            }
        }
    }
    Ok(Some((out, err)))
}

/// Waits for a child until the deadline; `None` when it passed.
fn wait_until(child: &mut Child, deadline: Instant) -> std::io::Result<Option<ExitStatus>> {
    if let Some(status) = child.try_wait()? {
        return Ok(Some(status));
    }
    let pid = rustix::process::Pid::from_child(child);
    if let Ok(fd) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(&fd, PollFlags::IN)];
            match poll(&mut fds, Some(&timespec(left))) {
                Err(rustix::io::Errno::INTR) if !left.is_zero() => {}
                _ => return child.try_wait(),
            }
        }
    }
    while Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
    }
    Ok(None)
}

/// Sends a signal to the process of this number that began at `start` (clock ticks, proc(5)), and to
/// no other one that may have got the number since. False when it is gone.
///
/// # Errors
/// The process is another user's.
pub fn signal(pid: i32, start: u64, signal: rustix::process::Signal) -> std::io::Result<bool> {
    use rustix::io::Errno;
    let Some(number) = rustix::process::Pid::from_raw(pid) else {
        return Ok(false);
    };
    // The descriptor is opened before the look: what it refers to cannot change afterwards.
    let sent = match rustix::process::pidfd_open(number, rustix::process::PidfdFlags::empty()) {
        Ok(fd) if super::procfs::is_same(pid, start) => {
            rustix::process::pidfd_send_signal(&fd, signal)
        }
        // Linux before 5.3, or a sandbox that does not know the call.
        Err(Errno::NOSYS | Errno::PERM | Errno::MFILE | Errno::NFILE)
            if super::procfs::is_same(pid, start) =>
        {
            rustix::process::kill_process(number, signal)
        }
        _ => return Ok(false),
    };
    match sent {
        Ok(()) => Ok(true),
        Err(Errno::SRCH) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// A text as one word of a POSIX shell.
pub fn shell_quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A poll timeout.
pub fn timespec(d: Duration) -> rustix::time::Timespec {
    rustix::time::Timespec {
        tv_sec: d.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: d.subsec_nanos().into(),
    }
}

/// Looks a program up as a shell would: a name on `path` (colon-separated), a path as it is,
/// relative to `cwd`.
pub fn find_program(program: &str, path: &str, cwd: &Path) -> Option<std::path::PathBuf> {
    which::which_in(program, Some(path), cwd).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sh(script: &str) -> Command {
        let mut c = command("/bin/sh");
        c.args(["-c", script]);
        c
    }

    #[test]
    fn large_text_goes_both_ways_without_deadlock() {
        let text = vec![b'x'; 3_000_000];
        let out = run(
            sh("cat; echo done >&2"),
            Some(&text),
            Duration::from_secs(20),
        )
        .unwrap();
        assert_eq!(out.stdout.len(), text.len());
        assert_eq!(out.stderr, "done");
        assert!(out.status.success());
    }

    #[test]
    fn a_hung_program_is_killed_in_time() {
        let begun = Instant::now();
        let e = run(sh("exec sleep 60"), None, Duration::from_millis(150)).unwrap_err();
        assert!(matches!(e, RunError::Timeout { .. }), "{e}");
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_group_ends_with_its_deadline_and_a_background_process_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let mut slow = sh("sleep 60 & echo $! >pid; wait");
        slow.current_dir(dir.path());
        let e = run_group(slow, Duration::from_millis(500)).unwrap_err();
        assert!(matches!(e, RunError::Timeout { .. }), "{e}");
        let pid = std::fs::read_to_string(dir.path().join("pid")).unwrap();
        let pid = pid.trim().parse().unwrap();
        let gone = || crate::host::procfs::stat(pid).is_none_or(|s| s.state == 'Z');
        let deadline = Instant::now() + Duration::from_secs(10);
        while !gone() {
            assert!(Instant::now() < deadline, "the group lives on");
            std::thread::sleep(Duration::from_millis(5));
        }
        let begun = Instant::now();
        let out = run_group(
            sh("sleep 5 & echo one >&2; echo two >&2; exit 4"),
            Duration::from_secs(20),
        )
        .unwrap();
        assert_eq!(
            (out.status.code(), out.stderr.as_str()),
            (Some(4), "one\ntwo")
        );
        assert!(begun.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn a_program_that_reads_nothing_is_no_error() {
        let text = vec![b'x'; 1_000_000];
        let out = run(sh("exit 7"), Some(&text), Duration::from_secs(20)).unwrap();
        assert_eq!(out.status.code(), Some(7));
    }

    #[test]
    fn a_signal_reaches_only_the_process_that_is_meant() {
        let mut child = sh("exec sleep 60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let start = crate::host::procfs::stat(pid).unwrap().start;
        assert!(!signal(pid, start + 1, rustix::process::Signal::KILL).unwrap());
        assert!(child.try_wait().unwrap().is_none());
        assert!(signal(pid, start, rustix::process::Signal::KILL).unwrap());
        child.wait().unwrap();
        assert!(!signal(pid, start, rustix::process::Signal::KILL).unwrap());
    }

    #[test]
    fn a_missing_program_says_so() {
        let e = run(
            command("/nonexistent/program"),
            None,
            Duration::from_secs(1),
        )
        .unwrap_err();
        assert!(e.to_string().contains("/nonexistent/program"), "{e}");
    }
}
