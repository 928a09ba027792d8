//! Puts texts and keys into panes that are alive. Whether that may be done is for others to know.

use super::{Tmux, TmuxError};

impl Tmux {
    /// Pastes text into a pane byte for byte, bracketed if its program asked for that. The buffer
    /// has a name of its own (two senders using the unnamed buffer get each other's text) and is gone
    /// afterwards. A dead pane is refused in the same request: tmux 3.3a crashes on such a paste.
    ///
    /// # Errors
    /// `DeadPane`; or the pane is gone: nothing was pasted.
    pub fn paste(&self, pane: &str, text: &[u8]) -> Result<(), TmuxError> {
        let buffer = format!("mosaic-{}", uuid::Uuid::new_v4().simple());
        let paste = format!("paste-buffer -d -p -r -b {buffer} -t {pane}");
        let dead = format!("delete-buffer -b {buffer} ; display-message -p MOSAIC-DEAD");
        // One call for both: starting a client takes longer than all that it does.
        let done = self.call(
            &[
                "load-buffer",
                "-b",
                &buffer,
                "-",
                ";",
                "if-shell",
                "-F",
                "-t",
                pane,
                "#{pane_dead}",
                &dead,
                &paste,
            ],
            Some(text),
        );
        match done {
            Ok(out) if out.stdout.contains("MOSAIC-DEAD") => {
                Err(TmuxError::DeadPane(pane.to_owned()))
            }
            Ok(_) => Ok(()),
            Err(e) => {
                let _ = self.call(&["delete-buffer", "-b", &buffer], None);
                Err(e)
            }
        }
    }

    /// Presses one named key (tmux's names: `Enter`, `Escape`, `C-u`) in a pane that is alive.
    ///
    /// # Errors
    /// `DeadPane`; or the pane is gone.
    pub fn key(&self, pane: &str, key: &str) -> Result<(), TmuxError> {
        let press = format!("send-keys -t {pane} {key}");
        let out = self.call(
            &[
                "if-shell",
                "-F",
                "-t",
                pane,
                "#{pane_dead}",
                "display-message -p MOSAIC-DEAD",
                &press,
            ],
            None,
        )?;
        if out.stdout.contains("MOSAIC-DEAD") {
            return Err(TmuxError::DeadPane(pane.to_owned()));
        }
        Ok(())
    }

    /// Leaves copy mode, in which keys are commands.
    ///
    /// # Errors
    /// The pane is gone.
    pub fn leave_mode(&self, pane: &str) -> Result<(), TmuxError> {
        match self.call(&["send-keys", "-X", "-t", pane, "cancel"], None) {
            Ok(_) => Ok(()),
            Err(TmuxError::Refused { message, .. }) if message.contains("not in a mode") => Ok(()),
            Err(e) => Err(e),
        }
    }
}
