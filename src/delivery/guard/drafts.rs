//! A person's draft in the box: put aside where the agent CLI gives it back by itself. Never destroyed.

use std::time::{Duration, Instant};

use super::looking::Look;
use super::{LOOK, Target};
use crate::delivery::held::bare;
use crate::delivery::stop::Stop;
use crate::state::screen::Seen;

/// How long the box may take to show that the draft is gone.
const ASIDE_WAIT: Duration = Duration::from_secs(2);

impl Target<'_> {
    /// Presses the runtime's key that puts a draft aside, if the screen that was looked at shows one
    /// whole. `true` once the box is seen to be empty.
    ///
    /// # Errors
    /// The key did not do that.
    pub(super) fn put_aside(&self, look: &Look) -> Result<bool, Stop> {
        let (Some(key), Some(input)) = (&self.rules.data.typing.stash, &look.seen.input) else {
            return Ok(false);
        };
        // The key is a toggle: on an empty box it would bring an old draft back.
        if input.empty || input.shell || look.seen.dialog.is_some() || look.pane.in_mode {
            return Ok(false);
        }
        self.idle(look)?;
        self.tmux.key(&look.pane.id, key)?;
        let begun = Instant::now();
        loop {
            let seen = self.seen(&look.pane)?;
            if seen.input.as_ref().is_some_and(|i| i.empty) {
                self.aside.replace(Some(input.text.clone()));
                return Ok(true);
            }
            if begun.elapsed() >= ASIDE_WAIT {
                return Err(Stop::refused(format!(
                    "the draft in the box of `{}` did not go aside at `{key}`",
                    self.agent
                ))
                .hint(format!(
                    "send or clear it there: `mosaic agent attach {}`",
                    self.agent
                ))
                .seen(&seen));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Whether the box shows nothing but the draft that was put aside: it came back, so the message
    /// has gone.
    pub(super) fn is_back(&self, seen: &Seen) -> bool {
        match (&*self.aside.borrow(), &seen.input) {
            (Some(aside), Some(input)) => !input.empty && bare(aside) == bare(&input.text),
            _ => false,
        }
    }
}
