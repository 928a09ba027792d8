//! What tmux runs in an agent's pane: it gives the terminal up for the agent to take, keeps the
//! slave side open so that the pane outlives the agent, and ends when the pane is closed. One per
//! agent, for weeks: it holds nothing, and never wakes.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::event::{PollFd, PollFlags, poll};

use crate::host::tty;

/// Name the process takes once the terminal is free. Seeing it in /proc is the proof that the
/// terminal can be taken: a name set after the fact cannot be raced, while a missing controlling
/// terminal alone is also seen before tmux's child has acquired one.
pub const RELEASED: &std::ffi::CStr = c"mosaic-pane";

/// Runs until the pane is closed. `banner` is printed first.
///
/// # Errors
/// Standard input is no terminal; there is nothing to give up.
pub fn run(banner: Option<&str>) -> std::io::Result<()> {
    // Handled, not ignored: an ignored signal would be inherited by anything started from here.
    for signal in [
        signal_hook::consts::SIGHUP,
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGQUIT,
        signal_hook::consts::SIGTSTP,
        signal_hook::consts::SIGTTIN,
        signal_hook::consts::SIGTTOU,
    ] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    let stdin = std::io::stdin();
    if let Some(text) = banner {
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), "{text}");
    }
    tty::give_up(&stdin)?;
    let _ = std::env::set_current_dir("/");
    rustix::thread::set_name(RELEASED)?;
    loop {
        // No events asked for: only a hangup or an error ends the poll, never a key.
        let mut fds = [PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::empty())];
        match poll(&mut fds, None) {
            Ok(_)
                if fds[0]
                    .revents()
                    .intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) =>
            {
                return Ok(());
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}
