//! SIGINT and SIGTERM as a question that long verbs ask between their steps, and as a descriptor for
//! those that sleep in a poll.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::error::{Error, Result};

/// Set once a signal has come. A second one ends the process at once.
#[derive(Debug, Clone)]
pub struct Interrupt(Arc<Listening>);

#[derive(Debug)]
struct Listening {
    flag: Arc<AtomicBool>,
    /// Readable once a signal has come; never read, so that it stays so.
    wake: UnixStream,
}

impl Interrupt {
    /// Begins to listen.
    ///
    /// # Errors
    /// The system refuses handlers.
    pub fn listen() -> Result<Self> {
        // Once per process: a second handler would see the first one's flag set and end at once.
        static LISTENING: OnceLock<Arc<Listening>> = OnceLock::new();
        if let Some(listening) = LISTENING.get() {
            return Ok(Self(Arc::clone(listening)));
        }
        let system = |e| Error::io("cannot listen for signals", e);
        let (wake, write) = UnixStream::pair().map_err(system)?;
        let flag = Arc::new(AtomicBool::new(false));
        let listening = Arc::clone(LISTENING.get_or_init(|| {
            Arc::new(Listening {
                flag: Arc::clone(&flag),
                wake,
            })
        }));
        for signal in [
            signal_hook::consts::SIGINT,
            signal_hook::consts::SIGTERM,
            signal_hook::consts::SIGHUP,
        ] {
            // The order matters: the shutdown looks at the flag before this signal sets it. 128 + n is
            // what shells report for a death by signal n.
            signal_hook::flag::register_conditional_shutdown(
                signal,
                128 + signal,
                Arc::clone(&flag),
            )
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .and_then(|_| signal_hook::low_level::pipe::register(signal, write.try_clone()?))
            .map_err(system)?;
        }
        Ok(Self(listening))
    }

    /// A signal has come.
    pub fn is_set(&self) -> bool {
        self.0.flag.load(Ordering::SeqCst)
    }
}

impl AsFd for Interrupt {
    /// Readable once a signal has come.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.wake.as_fd()
    }
}
