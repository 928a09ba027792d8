//! Reads what panes show.

use super::{SEP, Tmux, TmuxError};

impl Tmux {
    /// The visible rows of a pane with colour and style sequences, each without trailing blanks.
    ///
    /// # Errors
    /// No such pane.
    pub fn screen(&self, pane: &str) -> Result<String, TmuxError> {
        Ok(self
            .call(&["capture-pane", "-p", "-e", "-t", pane], None)?
            .stdout)
    }

    /// The visible rows of several panes in one call, in order.
    ///
    /// # Errors
    /// One of the panes is gone.
    pub fn screens(&self, panes: &[&str]) -> Result<Vec<String>, TmuxError> {
        if panes.is_empty() {
            return Ok(Vec::new());
        }
        let mark = format!("{SEP}{SEP}mosaic{SEP}");
        let mut args = Vec::new();
        for pane in panes {
            args.extend([
                "capture-pane",
                "-p",
                "-e",
                "-t",
                pane,
                ";",
                "display-message",
                "-p",
                &mark,
                ";",
            ]);
        }
        args.pop();
        let out = self.call(&args, None)?.stdout;
        let end = format!("{mark}\n");
        Ok(out
            .split(end.as_str())
            .take(panes.len())
            .map(str::to_owned)
            .collect())
    }

    /// The last `lines` rows of a pane, scrollback included, plain or with style sequences.
    ///
    /// # Errors
    /// No such pane.
    pub fn history(&self, pane: &str, lines: u32, styled: bool) -> Result<String, TmuxError> {
        let start = format!("-{lines}");
        let mut args = vec!["capture-pane", "-p", "-J", "-S", &start, "-t", pane];
        if styled {
            args.push("-e");
        }
        Ok(self.call(&args, None)?.stdout)
    }
}
