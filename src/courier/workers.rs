//! The threads that work on mailboxes: one at a time for an agent, some at a time for the fleet. Each
//! ends with its work, and says so by a descriptor that the courier polls.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

use crate::delivery::drain::{DrainOptions, drain};
use crate::delivery::receipt::Rung;
use crate::error::{Error, Result};
use crate::install::Install;
use crate::launch::Launch;

/// Deliveries at one time. Each mostly waits; more would only make a crowd before the tmux server.
const AT_ONCE: usize = 16;

/// How long a delivery waits for the agent to be ready for it: some draw their box only after they
/// have said that they are idle. What takes longer (a draft) is tried again later.
const READY: Duration = Duration::from_millis(400);

/// How long the agent's record is waited for then. The slowest measured one takes 0.8 s.
const RECORD: Duration = Duration::from_secs(3);

/// Enough for SQLite, regular expressions and HTTP; a thread's usual two megabytes are not needed.
const STACK: usize = 512 * 1024;

/// What came of a piece of work.
#[derive(Debug)]
pub struct Done {
    /// The agent.
    pub agent: String,
    /// The message is out of the way: delivered, or at its end.
    pub moved: bool,
}

/// The threads.
#[derive(Debug)]
pub struct Workers {
    install: Arc<Install>,
    sender: mpsc::Sender<Done>,
    done: mpsc::Receiver<Done>,
    wake: Arc<OwnedFd>,
    stop: Arc<AtomicBool>,
    running: usize,
}

impl Workers {
    /// None yet.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub fn new(install: &Install) -> Result<Self> {
        let (sender, done) = mpsc::channel();
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|e| Error::io("cannot make an event descriptor", std::io::Error::from(e)))?;
        Ok(Self {
            install: Arc::new(install.clone()),
            sender,
            done,
            wake: Arc::new(wake),
            stop: Arc::new(AtomicBool::new(false)),
            running: 0,
        })
    }

    /// Whether one more can begin.
    pub fn free(&self) -> bool {
        self.running < AT_ONCE
    }

    /// Begins to work on an agent's mailbox until this message is accepted, or cannot be for now. Without
    /// one: does what can be done now, which is to look into its record where nothing waits.
    pub fn begin(&mut self, launch: &Launch, message: Option<&str>) {
        let (install, launch) = (Arc::clone(&self.install), launch.clone());
        let (sender, wake) = (self.sender.clone(), Arc::clone(&self.wake));
        let (stop, message) = (Arc::clone(&self.stop), message.map(str::to_owned));
        self.running += 1;
        let name = launch.agent.name.to_string();
        let work = move || {
            let agent = launch.agent.name.to_string();
            // A delivery that panics must neither hang its agent for good nor end the courier.
            let moved = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match &message {
                Some(message) => work(&install, &launch, message, &stop),
                None => look(&install, &launch),
            }))
            .unwrap_or(false);
            let _ = sender.send(Done { agent, moved });
            let _ = rustix::io::write(&*wake, &1u64.to_ne_bytes());
        };
        let spawned = std::thread::Builder::new()
            .name(name.clone())
            .stack_size(STACK)
            .spawn(work);
        if let Err(e) = spawned {
            tracing::warn!("cannot start a thread for `{name}`: {e}");
            let _ = self.sender.send(Done {
                agent: name,
                moved: false,
            });
            let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
        }
    }

    /// Those that have ended.
    pub fn ended(&mut self) -> Vec<Done> {
        let mut count = [0; 8];
        let _ = rustix::io::read(&*self.wake, &mut count);
        let done: Vec<Done> = self.done.try_iter().collect();
        self.running -= done.len();
        done
    }

    /// Tells all to leave off, and waits a while for them. What they leave is on record.
    pub fn end(mut self, patience: Duration) {
        self.stop.store(true, Ordering::SeqCst);
        let deadline = Instant::now() + patience;
        while self.running > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.done.recv_timeout(left) {
                Ok(_) => self.running -= 1,
                Err(_) => return,
            }
        }
    }
}

impl AsFd for Workers {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

fn look(install: &Install, launch: &Launch) -> bool {
    let looked = drain(install, launch, &DrainOptions::default());
    if let Err(e) = &looked {
        tracing::warn!("`{}`: {e}", launch.agent.name);
    }
    looked.is_ok()
}

fn work(install: &Install, launch: &Launch, message: &str, stop: &AtomicBool) -> bool {
    for (rung, wait) in [(Rung::Submitted, READY), (Rung::Accepted, RECORD)] {
        let options = DrainOptions {
            until: Some((message, rung)),
            wait,
            stop: &|| stop.load(Ordering::SeqCst),
            ..DrainOptions::default()
        };
        match drain(install, launch, &options) {
            Ok(drained) => {
                if let Some(waits) = &drained.waits {
                    tracing::debug!(agent = %launch.agent.name, "waits: {}", waits.reason);
                }
                if drained.row.is_some_and(|row| row.stage.pending()) {
                    return false;
                }
            }
            Err(e) => {
                tracing::warn!("`{}`: {e}", launch.agent.name);
                return false;
            }
        }
    }
    true
}
