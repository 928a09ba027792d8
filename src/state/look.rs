//! Looks at a pane: captures its screen, asks its terminal where the runtime's rules need that, and
//! reads what both show.

use std::path::Path;

use super::screen::{Rules, Seen, read};
use crate::host::tmux::{Pane, Tmux, TmuxError};
use crate::host::tty;

/// Looks.
///
/// # Errors
/// The screen cannot be captured.
pub fn look(tmux: &Tmux, pane: &Pane, rules: &Rules) -> Result<Seen, TmuxError> {
    look_by(|id| tmux.screen(id), pane, rules)
}

/// Looks, with a capture of the caller's own.
///
/// # Errors
/// The capture's.
pub fn look_by<E>(
    capture: impl Fn(&str) -> Result<String, E>,
    pane: &Pane,
    rules: &Rules,
) -> Result<Seen, E> {
    // Asked before and after: a box that went away in between must not be believed.
    let raw = || !rules.data.input.raw || tty::is_raw(Path::new(&pane.tty)).unwrap_or(false);
    let before = raw();
    let seen = read(&capture(&pane.id)?, pane.width, rules);
    Ok(if before && raw() {
        seen
    } else {
        seen.without_box()
    })
}
