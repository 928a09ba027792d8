//! The guarded paste: the only way by which mosaic types into an agent.
//!
//! Nothing is typed unless the pane is the agent's own, the agent's process is in the foreground
//! there, and an empty input box is on the screen ([`looking`]). The box must be seen to hold exactly
//! what was put into it ([`filling`]) before Enter is pressed ([`submitting`]). What was typed and
//! cannot be proved stays where it is: a text is never taken back by keys on a guess, but only where all
//! that stands in the box is seen to be mosaic's own ([`taking_back`]). What the agent
//! itself says is read by [`evidence`].

mod answering;
mod drafts;
mod evidence;
mod filling;
mod left;
mod looking;
mod submitting;
mod taking_back;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use crate::host::lock::{self, Lock};
use crate::host::tmux::{Pane, Tmux, TmuxError};
use crate::install::Install;
use crate::launch::Launch;
use crate::state::account::Account;
use crate::state::excerpt;
use crate::state::look::look;
use crate::state::screen::{Rules, Seen};

use super::channel::Mark;
use super::stop::Stop;

/// Between two looks at a screen. A look takes some milliseconds itself; agent CLIs draw within 30.
const LOOK: Duration = Duration::from_millis(5);

/// A draft or a dialog must be seen twice this far apart: in the midst of drawing, a screen may show
/// anything.
const TWICE: Duration = Duration::from_millis(120);

/// How long an agent may take to draw the dialog that it has reported. Measured: 100 ms.
const ASKING: jiff::SignedDuration = jiff::SignedDuration::from_secs(2);

/// An agent that can be typed into.
/// Only for as long as the pane is held, see [`Hold`]: nothing here checks that it is.
#[derive(Debug)]
pub struct Target<'a> {
    install: &'a Install,
    launch: &'a Launch,
    agent: &'a str,
    tmux: Tmux,
    rules: Arc<Rules>,
    /// A draft that was put aside, and comes back once the message is submitted.
    aside: RefCell<Option<String>>,
    /// Where the agent reports what it was told; `None` where nobody knows.
    pub reports: Option<Account>,
}

/// The pane, held for one sender until dropped.
#[derive(Debug)]
pub struct Hold {
    _lock: Lock,
}

impl Hold {
    /// Takes an agent's pane, whatever its runtime.
    ///
    /// # Errors
    /// Others hold it all the time.
    pub fn take(install: &Install, agent: &str, wait: Duration) -> Result<Self, Stop> {
        let path = install.paths.pane_lock(agent);
        match lock::exclusive(&path, &format!("the pane of `{agent}`"), wait) {
            Ok(lock) => Ok(Self { _lock: lock }),
            Err(e) => Err(Stop {
                retry: e.kind == crate::error::Kind::Busy,
                hint: e.hints.first().cloned(),
                ..Stop::refused(e.to_string())
            }),
        }
    }
}

/// What was seen of a submitted text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Where to look for its record.
    pub mark: Mark,
    /// What proves it.
    pub evidence: String,
}

impl<'a> Target<'a> {
    /// Checks that the runtime is one whose screen is known.
    ///
    /// # Errors
    /// The runtime has no screen rules, or they are broken.
    pub fn of(install: &'a Install, launch: &'a Launch) -> Result<Self, Stop> {
        let agent = launch.agent.name.as_str();
        let spec = &launch.agent.spec;
        let Some(data) = &spec.screen else {
            return Err(Stop::refused(format!(
                "messages to agents of runtime `{}` are not supported yet",
                launch.agent.runtime
            ))
            .hint(format!("type it yourself: `mosaic agent attach {agent}`; a runtime of your own needs `screen` rules in the roster's `runtimes:`")));
        };
        let rules = Rules::shared(data).map_err(|e| Stop::refused(e.to_string()))?;
        Ok(Self {
            install,
            launch,
            agent,
            tmux: install.tmux(),
            rules,
            aside: RefCell::new(None),
            reports: Account::of(install, launch),
        })
    }

    /// Takes the pane for this sender alone.
    ///
    /// # Errors
    /// Others hold it all the time.
    pub fn lock(&self, wait: Duration) -> Result<Hold, Stop> {
        Hold::take(self.install, self.agent, wait)
    }

    fn seen(&self, pane: &Pane) -> Result<Seen, TmuxError> {
        look(&self.tmux, pane, &self.rules)
    }
}
