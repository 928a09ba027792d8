//! How a watcher asks tmux: by a client for each question, or by one control client that stays, as
//! residents do.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::host::control::Control;
use crate::host::tmux::{Pane, Tmux, TmuxError};
use crate::install::Install;

/// Who asks tmux.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// A client for each question.
    Clients,
    /// One that stays attached to the holder session, and comes back when the server does.
    OneClient,
}

/// How long after its loss the client is attached anew. A server that is just coming up is left in
/// peace; plain clients do meanwhile.
const AGAIN: Duration = Duration::from_secs(3);

/// Lists panes and captures screens.
#[derive(Debug)]
pub struct Screens {
    tmux: Tmux,
    session: String,
    asks: Asks,
    // Captures happen in the midst of a look that reads everything else of the watcher.
    control: RefCell<Option<Control>>,
    /// When the client was lost last.
    lost: Cell<Option<Instant>>,
}

impl Screens {
    /// Nothing is asked yet.
    pub fn new(install: &Install, asks: Asks) -> Self {
        Self {
            tmux: install.tmux(),
            session: install.holder_session.clone(),
            asks,
            control: RefCell::new(None),
            lost: Cell::new(None),
        }
    }

    /// Every pane of the server; none without a server.
    ///
    /// # Errors
    /// tmux hangs or cannot be run.
    pub fn panes(&self) -> Result<Vec<Pane>, TmuxError> {
        match self
            .by_control(Control::panes)
            .unwrap_or_else(|| self.tmux.panes())
        {
            Err(TmuxError::NoServer(_)) => Ok(Vec::new()),
            other => other,
        }
    }

    /// The visible rows of a pane; `None` when it cannot be seen.
    pub fn screen(&self, pane: &str) -> Option<String> {
        self.by_control(|c| c.screen(pane))
            .unwrap_or_else(|| self.tmux.screen(pane))
            .ok()
    }

    /// Asks the client that stays, which is attached anew where it was lost. `None` where there is
    /// none, or the server has no holder session: then a client of its own is needed.
    fn by_control<T>(
        &self,
        ask: impl Fn(&mut Control) -> Result<T, TmuxError>,
    ) -> Option<Result<T, TmuxError>> {
        if self.asks == Asks::Clients {
            return None;
        }
        let mut slot = self.control.borrow_mut();
        if let Some(control) = slot.as_mut() {
            match ask(control) {
                // It was attached to a server that is gone; there may be another one by now.
                Err(_) if !control.open() => {
                    *slot = None;
                    self.lost.set(Some(Instant::now()));
                }
                answer => return Some(answer),
            }
        }
        if self.lost.get().is_some_and(|t| t.elapsed() < AGAIN) {
            return None;
        }
        match Control::attach(&self.tmux, &self.session) {
            Ok(control) => Some(ask(slot.insert(control))),
            Err(e) => {
                tracing::debug!("no control client: {e}");
                self.lost.set(Some(Instant::now()));
                None
            }
        }
    }

    /// The client's output, for a poll.
    pub fn fd(&self) -> Option<OwnedFd> {
        let slot = self.control.borrow();
        slot.as_ref()?.fd().try_clone_to_owned().ok()
    }

    /// Reads what the client was told. True when its server has gone.
    pub fn drain(&self) -> bool {
        let mut slot = self.control.borrow_mut();
        let Some(control) = slot.as_mut() else {
            return false;
        };
        control.drain();
        let gone = !control.open();
        if gone {
            *slot = None;
            self.lost.set(Some(Instant::now()));
        }
        gone
    }
}
