//! The terminal of the demo agent: raw mode, waiting for input and signals, writing without ever
//! blocking, and giving everything back.
//!
//! Decides nothing. Without a terminal that is read (a stopped tmux server) what cannot be written
//! is kept, so that signals are still served.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios};

use super::model::Signal;
use super::render::Size;

/// The terminal's number of "window changed", the same on every Linux.
const SIGWINCH: i32 = 28;

/// How long the last words may take when nobody reads them.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// One read. A terminal hands out 4 kB at most; more is for other things on standard input.
const READ: usize = 16 * 1024;

/// The terminal on standard input and output.
pub struct Terminal {
    input: OwnedFd,
    output: OwnedFd,
    saved: Termios,
    signals: Vec<(Signal, UnixStream)>,
    resized: UnixStream,
    unwritten: Vec<u8>,
    /// Nobody is at the other end any more.
    gone: bool,
}

/// Why [`Terminal::wait`] came back.
#[derive(Debug, Default)]
pub struct Wake {
    pub input: Vec<u8>,
    pub signals: Vec<Signal>,
    pub resized: bool,
    /// The other end is gone; said once.
    pub hangup: bool,
}

impl Terminal {
    /// Takes hold of the terminal and of the signals; changes nothing yet.
    ///
    /// # Errors
    /// Standard input or output is no terminal, or descriptors run out.
    pub fn open() -> io::Result<Self> {
        let saved = rustix::termios::tcgetattr(io::stdin())?;
        rustix::termios::tcgetattr(io::stdout())?;
        let signals = Signal::ALL
            .into_iter()
            .map(|signal| Ok((signal, watch(signal.number().into())?)))
            .collect::<io::Result<_>>()?;
        Ok(Self {
            input: rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?,
            output: own_output()?,
            saved,
            signals,
            resized: watch(SIGWINCH)?,
            unwritten: Vec::new(),
            gone: false,
        })
    }

    /// Every key as it comes, without echo. What was typed before is lost.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn raw(&self) -> io::Result<()> {
        let mut raw = self.saved.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(&self.input, OptionalActions::Flush, &raw)?;
        Ok(())
    }

    /// The size; 24 by 80 where it is not known.
    pub fn size(&self) -> Size {
        let size = rustix::termios::tcgetwinsize(&self.output).ok();
        let known = |n: u16, default: usize| if n == 0 { default } else { n.into() };
        Size {
            rows: known(size.map_or(0, |s| s.ws_row), 24),
            columns: known(size.map_or(0, |s| s.ws_col), 80),
        }
    }

    /// Writes as much as the terminal takes and keeps the rest.
    pub fn write(&mut self, bytes: &[u8]) {
        if self.gone {
            return;
        }
        self.unwritten.extend_from_slice(bytes);
        while !self.unwritten.is_empty() {
            match rustix::io::write(&self.output, &self.unwritten) {
                Ok(0) | Err(Errno::AGAIN) => return,
                Ok(n) => drop(self.unwritten.drain(..n)),
                Err(Errno::INTR) => {}
                // Whether this is the end is for the input to say.
                Err(_) => self.unwritten.clear(),
            }
        }
    }

    /// True while the terminal has not taken what was written.
    pub fn is_behind(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Waits for input (if `read`), a signal, a resize, a hangup, room to write, or the timeout;
    /// with none of them for ever. May come back for no reason.
    ///
    /// # Errors
    /// Waiting itself failed: out of memory.
    pub fn wait(&mut self, timeout: Option<Duration>, read: bool) -> io::Result<Wake> {
        let wanted = if read {
            PollFlags::IN
        } else {
            PollFlags::empty()
        };
        let mut fds: Vec<PollFd<'_>> = self
            .signals
            .iter()
            .map(|(_, pipe)| pipe)
            .chain([&self.resized])
            .map(|pipe| PollFd::new(pipe, PollFlags::IN))
            .collect();
        if !self.gone {
            fds.push(PollFd::new(&self.input, wanted));
            if !self.unwritten.is_empty() {
                fds.push(PollFd::new(&self.output, PollFlags::OUT));
            }
        }
        let timeout = timeout.map(|t| Timespec {
            tv_sec: t.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: t.subsec_nanos().into(),
        });
        let result = poll(&mut fds, timeout.as_ref());
        let ready: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        match result {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Wake::default()),
            Err(error) => return Err(error.into()),
        }

        let mut wake = Wake::default();
        for ((signal, pipe), flags) in self.signals.iter().zip(&ready) {
            if !flags.is_empty() && drained(pipe) {
                wake.signals.push(*signal);
            }
        }
        let after = self.signals.len();
        wake.resized = !ready[after].is_empty() && drained(&self.resized);
        if let Some(flags) = ready.get(after + 1) {
            if flags.contains(PollFlags::IN) {
                wake.hangup = !self.read(&mut wake.input);
            } else if !flags.is_empty() {
                wake.hangup = true;
            }
        }
        if wake.hangup {
            self.gone = true;
            self.unwritten.clear();
        }
        self.write(&[]);
        Ok(wake)
    }

    /// Reads once; false at the end of the input.
    fn read(&self, into: &mut Vec<u8>) -> bool {
        let mut buffer = [0; READ];
        match rustix::io::read(&self.input, &mut buffer) {
            Ok(0) => false,
            Ok(n) => {
                into.extend_from_slice(&buffer[..n]);
                true
            }
            Err(Errno::INTR | Errno::AGAIN) => true,
            Err(_) => false,
        }
    }

    /// Writes the last words, waiting a little for a slow reader.
    pub fn last_words(&mut self, bytes: &[u8]) {
        self.write(bytes);
        if self.is_behind() {
            let timeout = Timespec {
                tv_sec: 0,
                tv_nsec: LAST_WORDS.subsec_nanos().into(),
            };
            let mut fds = [PollFd::new(&self.output, PollFlags::OUT)];
            if poll(&mut fds, Some(&timeout)).is_ok() {
                self.write(&[]);
            }
        }
    }
}

impl Drop for Terminal {
    /// The modes go back whatever happened, a panic included.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.last_words(b"\x1b[?7h\x1b[?2004l\x1b[?25h\x1b[0m\r\n");
        }
        // `Now`: waiting for a reader could last for ever.
        let _ = rustix::termios::tcsetattr(&self.input, OptionalActions::Now, &self.saved);
    }
}

/// Opens the terminal a second time: not to block is a property of the open file, and the one on
/// standard output is shared with others. Where that is not possible the shared one must do.
fn own_output() -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let own = rustix::fs::open("/proc/self/fd/1", flags, Mode::empty());
    match own {
        Ok(fd) => Ok(fd),
        Err(_) => Ok(rustix::io::fcntl_dupfd_cloexec(io::stdout().as_fd(), 3)?),
    }
}

/// A socket that becomes readable when the signal arrives.
fn watch(signal: i32) -> io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(signal, writer)?;
    Ok(reader)
}

/// Empties the socket and says whether anything was in it.
fn drained(pipe: &UnixStream) -> bool {
    let mut buffer = [0; 64];
    let mut any = false;
    while matches!(rustix::io::read(pipe, &mut buffer), Ok(n) if n > 0) {
        any = true;
    }
    any
}
