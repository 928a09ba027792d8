//! The door to tmux: the only code that runs it. One dedicated server, always by its absolute
//! socket path, always with `-N` (no client ever starts a server) and `-u` (without it tabs and
//! separators in formats are garbled). Panes are addressed by id, sessions by `=NAME`; no target
//! is ever left to prefix or pattern matching.

mod clients;
mod listing;
mod making;
mod quiet;
mod reading;
mod server;
mod typing;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

pub use clients::Client;
pub use listing::Pane;
pub(super) use listing::{pane_format, parse_pane};
pub use making::{NewPane, NewSession};
pub use server::{CLOSING_HOOKS, OLDEST, check_version, conf};

use super::process::{self, Output, RunError};
use crate::error::Error;

/// Between fields of formats: printable, so it survives, and in no name mosaic accepts.
const SEP: char = '\u{241f}';

/// Longest time for one call. Calls take milliseconds; a stopped server must not hang mosaic.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A tmux server's address.
#[derive(Debug, Clone)]
pub struct Tmux {
    /// The program, absolute.
    pub program: PathBuf,
    /// The socket, absolute.
    pub socket: PathBuf,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum TmuxError {
    /// Nobody listens on the socket.
    #[error("no tmux server on `{}`", .0.display())]
    NoServer(PathBuf),
    /// The target does not exist.
    #[error("{0}")]
    NoTarget(String),
    /// The server does not carry mosaic's mark: nothing was made in it.
    #[error("the tmux server on `{}` was not started by mosaic", .0.display())]
    Foreign(PathBuf),
    /// The pane's program has ended; nothing was pasted into it.
    #[error("pane {0} is dead")]
    DeadPane(String),
    /// The program could not be run, or hung.
    #[error(transparent)]
    Run(#[from] RunError),
    /// tmux refused.
    #[error("tmux {verb}: {message}")]
    Refused {
        /// The tmux command.
        verb: String,
        /// What it said.
        message: String,
    },
}

impl From<TmuxError> for Error {
    fn from(e: TmuxError) -> Self {
        match &e {
            TmuxError::NoServer(socket) => {
                Error::unavailable(format!("no tmux server answers on `{}`", socket.display()))
                    .hint("run `mosaic fleet start`")
            }
            TmuxError::Run(RunError::Timeout { .. }) => Error::busy("tmux does not answer")
                .because(&e)
                .hint("is the tmux server stopped or overloaded? see `mosaic fleet doctor`"),
            TmuxError::Run(RunError::Start { .. }) => Error::unavailable("cannot run tmux")
                .because(&e)
                .hint("install tmux 3.2 or newer, for example `apt install tmux`"),
            TmuxError::Foreign(_) => Error::config(e.to_string()),
            TmuxError::NoTarget(_) | TmuxError::DeadPane(_) => Error::no(e.to_string()),
            _ => Error::no("tmux failed").because(&e),
        }
    }
}

/// Whether tmux's words, in lower case, say that nobody listens. A socket that this user may not
/// enter says nothing of the kind.
fn says_no_server(stderr: &str) -> bool {
    [
        "no server running",
        "error connecting to",
        "server exited",
        "lost server",
    ]
    .iter()
    .any(|words| stderr.contains(words))
        && !stderr.ends_with("(permission denied)")
}

/// A word for tmux's command line that arrives as it is: a `;` at a word's end parts commands there,
/// unless a backslash stands before it. For every word that comes from outside.
fn word(text: &str) -> String {
    text.strip_suffix(';')
        .map_or_else(|| text.to_owned(), |rest| format!("{rest}\\;"))
}

impl Tmux {
    fn client(&self) -> Command {
        let mut c = process::command(&self.program);
        c.arg("-N").arg("-u").arg("-S").arg(&self.socket);
        // A client inside another tmux must not be told where that one is.
        c.env_remove("TMUX").env_remove("TMUX_PANE");
        c
    }

    fn call(&self, args: &[&str], input: Option<&[u8]>) -> Result<Output, TmuxError> {
        let mut c = self.client();
        c.args(args);
        let told_of = self.told_of();
        let out = process::run(c, input, TIMEOUT)?;
        drop(told_of);
        tracing::debug!(args = ?args.iter().map(|a| a.chars().take(80).collect::<String>()).collect::<Vec<_>>(), status = ?out.status.code(), stderr = out.stderr, "tmux");
        if out.status.success() {
            return Ok(out);
        }
        let e = out.stderr.to_lowercase();
        if says_no_server(&e) {
            return Err(TmuxError::NoServer(self.socket.clone()));
        }
        if e.contains("can't find") || e.contains("no such") {
            return Err(TmuxError::NoTarget(out.stderr));
        }
        Err(TmuxError::Refused {
            verb: args.first().copied().unwrap_or_default().to_owned(),
            message: if out.stderr.is_empty() {
                format!("{}", out.status)
            } else {
                out.stderr
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_door_is_not_an_empty_house() {
        for (text, want) in [
            ("no server running on /tmp/tmux-7/x", true),
            (
                "error connecting to /tmp/x (no such file or directory)",
                true,
            ),
            ("error connecting to /tmp/x (connection refused)", true),
            ("error connecting to /tmp/x (permission denied)", false),
            ("server exited unexpectedly", true),
            ("can't find session: a", false),
        ] {
            assert_eq!(says_no_server(text), want, "{text}");
        }
    }

    #[test]
    fn words_from_outside_are_no_separators() {
        for (text, want) in [
            ("", ""),
            ("a;b", "a;b"),
            (";", "\\;"),
            ("a;;", "a;\\;"),
            ("a\\;", "a\\\\;"),
            ("#(x)", "#(x)"),
        ] {
            assert_eq!(word(text), want, "{text}");
        }
    }
}
