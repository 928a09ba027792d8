//! What [`crate::approval`] needs of an agent's pane: a look under all of the paste's guards, and single
//! keys.

use super::Target;
use crate::delivery::stop::Stop;
use crate::host::tmux::{Pane, TmuxError};
use crate::state::screen::Seen;

impl Target<'_> {
    /// Looks once: pane, process and screen are the agent's own, and it is in the foreground.
    ///
    /// # Errors
    /// They are not; nothing was done.
    pub fn looked(&self) -> Result<(Pane, Seen), Stop> {
        self.look()
            .map(|look| (look.pane, look.seen))
            .map_err(|(stop, _)| stop)
    }

    /// Presses one key, for what is not a message. The caller holds the pane and has just looked.
    ///
    /// # Errors
    /// `typed` where the key may have been pressed all the same.
    pub fn press(&self, pane: &str, key: &str) -> Result<(), Stop> {
        self.tmux.key(pane, key).map_err(|e| match e {
            // A call that did not end may have been carried out.
            TmuxError::Run(_) => {
                Stop::typed(format!("whether `{key}` was pressed is not known: {e}"))
            }
            e => Stop::from(e),
        })
    }

    /// Leaves copy mode.
    ///
    /// # Errors
    /// The pane is gone.
    pub fn leave_mode(&self, pane: &Pane) -> Result<(), Stop> {
        Ok(self.tmux.leave_mode(&pane.id)?)
    }
}
