//! What wakes a supervisor: signals, the closing of its pane, word from the agent that it is ready.
//! Between them it sleeps without a timer.

use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::{
    SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2,
};

use crate::host::process::timespec;

/// Signals that have arrived. All are handled, none ignored: an ignored signal would be inherited by
/// the agent.
#[derive(Debug)]
pub struct Signals {
    wake: UnixStream,
    stop: Arc<AtomicBool>,
    start: Arc<AtomicBool>,
    restart: Arc<AtomicBool>,
}

impl Signals {
    /// Installs the handlers.
    ///
    /// # Errors
    /// The system's.
    pub fn register() -> std::io::Result<Self> {
        let (wake, write) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        // The flag first: handlers run in order of registration, so it is set when the byte arrives.
        let flag = |signal| -> std::io::Result<Arc<AtomicBool>> {
            let flag = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
            Ok(flag)
        };
        let (stop, start, restart) = (flag(SIGTERM)?, flag(SIGUSR1)?, flag(SIGUSR2)?);
        // A hangup comes with the release of the terminal too; the pane itself tells when it closes.
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU] {
            flag(signal)?;
        }
        for signal in [SIGTERM, SIGUSR1, SIGUSR2, SIGCHLD] {
            signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
        }
        Ok(Self {
            wake,
            stop,
            start,
            restart,
        })
    }

    /// Whether a request waits to be taken.
    pub fn pending(&self) -> bool {
        [&self.stop, &self.start, &self.restart]
            .iter()
            .any(|f| f.load(Ordering::SeqCst))
    }

    /// Takes a request to stop the agent (SIGTERM).
    pub fn take_stop(&self) -> bool {
        self.stop.swap(false, Ordering::SeqCst)
    }
    /// Takes a request to start the agent (SIGUSR1).
    pub fn take_start(&self) -> bool {
        self.start.swap(false, Ordering::SeqCst)
    }
    /// Takes a request to restart the agent (SIGUSR2).
    pub fn take_restart(&self) -> bool {
        self.restart.swap(false, Ordering::SeqCst)
    }

    /// Sleeps until a signal arrives, the terminal hangs up, `ready` has something to read, or the
    /// timeout passes. True when the terminal has hung up.
    ///
    /// # Errors
    /// The system's.
    pub fn wait(
        &self,
        terminal: BorrowedFd<'_>,
        ready: Option<BorrowedFd<'_>>,
        timeout: Option<Duration>,
    ) -> std::io::Result<bool> {
        let mut fds = vec![
            // No events asked for: only a hangup or an error ends the poll, never a key.
            PollFd::from_borrowed_fd(terminal, PollFlags::empty()),
            PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN),
        ];
        fds.extend(ready.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        match poll(&mut fds, timeout.map(timespec).as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let closed = fds[0]
            .revents()
            .intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
        self.drain();
        Ok(closed)
    }

    /// Sleeps for a short while, or until a signal arrives.
    pub fn nap(&self, time: Duration) {
        let mut fds = [PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN)];
        let _ = poll(&mut fds, Some(&timespec(time)));
        self.drain();
    }

    fn drain(&self) {
        let mut buffer = [0u8; 64];
        while (&self.wake)
            .read(&mut buffer)
            .is_ok_and(|n| n == buffer.len())
        {}
    }
}
