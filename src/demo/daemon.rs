//! The process the `daemon` persona leaves behind: in a session of its own, off the terminal, and
//! no child of the agent.

use std::io;
use std::process::{Command, Stdio};

/// The shell ends at once, so that `sleep` is an orphan. `setsid` does not fork here, because a
/// background process of a script leads no process group: `$!` is `sleep` itself. Ten minutes are
/// longer than any test and short enough not to be a nuisance.
const SCRIPT: &str = "setsid sleep 600 </dev/null >/dev/null 2>&1 & echo $!";

/// Starts it and returns its pid.
///
/// # Errors
/// There is no shell, or it does not say a pid.
#[allow(
    clippy::disallowed_methods,
    reason = "the demo agent stands for a foreign program, which starts what it likes"
)]
pub fn start() -> io::Result<u32> {
    let output = Command::new("/bin/sh")
        .args(["-c", SCRIPT])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim()
        .parse()
        .map_err(|_| io::Error::other(format!("the shell said `{}`", text.trim())))
}
