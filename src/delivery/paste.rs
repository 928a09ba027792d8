//! The guarded paste as a [`Channel`]: the way into any agent that has a terminal and nothing better.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use super::channel::{Channel, ChannelKind, Found, Left, Mark, Outgoing, Submitted, TakenBack};
use super::guard::Target;
use super::mailbox::Draft;
use super::silence::Better;
use super::stop::{Reached, Stop};
use crate::host::tmux::Pane;
use crate::install::Install;
use crate::launch::Launch;
use crate::record::Run;

/// The channel.
#[derive(Debug)]
pub struct Paste<'a> {
    target: Target<'a>,
    /// The pane and process that were found ready.
    ready: RefCell<Option<(Pane, Run)>>,
    /// When the last piece was put into the box.
    pasted: RefCell<Instant>,
    better: Option<Better>,
}

impl<'a> Paste<'a> {
    /// Checks that the screen of the agent's runtime is known. Looks at nothing yet.
    ///
    /// # Errors
    /// It is not.
    pub fn connect(install: &'a Install, launch: &'a Launch) -> Result<Self, Stop> {
        Ok(Self {
            target: Target::of(install, launch)?,
            ready: RefCell::new(None),
            pasted: RefCell::new(Instant::now()),
            better: None,
        })
    }

    /// It stands in for a better way.
    #[must_use]
    pub fn instead_of(self, better: Option<Better>) -> Self {
        Self { better, ..self }
    }

    /// Whether the process that was found ready is gone. What stood in its box is gone with it.
    fn vanished(&self) -> bool {
        self.ready
            .borrow()
            .as_ref()
            .is_some_and(|(_, run)| !run.alive())
    }
}

impl Channel for Paste<'_> {
    fn kind(&self) -> ChannelKind {
        ChannelKind::Paste
    }

    fn better(&self) -> Option<&Better> {
        self.better.as_ref()
    }

    fn ready(&self, wait: Duration) -> Result<(), Stop> {
        self.ready_for(wait, Draft::Wait)
    }

    fn ready_for(&self, wait: Duration, draft: Draft) -> Result<(), Stop> {
        let ready = self.target.ready(wait, draft)?;
        self.ready.replace(Some(ready));
        Ok(())
    }

    fn records(&self) -> bool {
        self.target.records()
    }

    fn mark(&self) -> Mark {
        let ready = self.ready.borrow();
        Mark {
            process: ready.as_ref().map(|(_, run)| run.process()),
            ..self.target.mark()
        }
    }

    fn put(&self, message: &Outgoing<'_>) -> Result<Option<String>, Stop> {
        let ready = self.ready.borrow();
        let Some((pane, _)) = &*ready else {
            return Err(Stop::refused(
                "the agent was not looked at before the paste",
            ));
        };
        let filled = self.target.fill(pane, message.text);
        self.pasted.replace(Instant::now());
        match filled {
            Ok(held) => Ok(Some(held)),
            // Enter was never pressed, and the box it stood in is no more.
            Err(stop) if stop.touched() && self.vanished() => Err(Stop {
                reached: Reached::Nothing,
                retry: true,
                reason: format!(
                    "the agent ended while the message was typed: {}",
                    stop.reason
                ),
                ..stop
            }),
            Err(stop) => Err(stop),
        }
    }

    fn submit(&self, message: &Outgoing<'_>, mark: &Mark) -> Result<Submitted, Stop> {
        let pasted = *self.pasted.borrow();
        let done = self.target.submit(message.text, mark, pasted)?;
        Ok(Submitted {
            evidence: done.evidence,
            accepted: false,
        })
    }

    fn left(&self, message: &Outgoing<'_>, _mark: &Mark) -> Left {
        self.target.left(message.text)
    }

    fn take_back(&self, message: &Outgoing<'_>, mark: &Mark) -> TakenBack {
        self.target.take_back(message.text, mark.process.as_ref())
    }

    fn find(&self, message: &Outgoing<'_>, mark: &Mark) -> Found {
        self.target.find(message.text, mark)
    }
}
