//! The server itself: its program's version, its configuration and mark, its start and its end.

use std::path::Path;
use std::process::Command;

use super::{TIMEOUT, Tmux, TmuxError, word};
use crate::error::Error;
use crate::host::process;

/// Oldest tmux whose targets, formats and `-N` behave as used here.
pub const OLDEST: (u32, u32) = (3, 2);

/// The server option that [`conf`] sets: what tells mosaic's servers from others.
pub(super) const SERVER_MARK: &str = "@mosaic_fleet";

/// Hooks that tell of a closed session, of a pane whose program ended, and of a pane closed by hand,
/// for which tmux runs neither of the others while the session stays.
pub const CLOSING_HOOKS: [&str; 3] = ["session-closed", "pane-exited", "after-kill-pane"];

impl Tmux {
    /// Reads a server option that mosaic set to mark its own servers; `None` when unset.
    ///
    /// # Errors
    /// `NoServer`.
    pub fn server_mark(&self) -> Result<Option<String>, TmuxError> {
        let out = self.call(&["show-options", "-s", "-q", "-v", SERVER_MARK], None)?;
        let text = out.stdout.trim().to_owned();
        Ok((!text.is_empty()).then_some(text))
    }

    /// The foreground server, for a service manager that wants the server as its main process.
    pub fn server_command(&self, conf: &Path) -> Command {
        let mut c = process::command(&self.program);
        c.arg("-D")
            .arg("-u")
            .arg("-S")
            .arg(&self.socket)
            .arg("-f")
            .arg(conf);
        c.env_remove("TMUX").env_remove("TMUX_PANE");
        c
    }

    /// Starts a server in the background, with a first session (a server without one would end).
    /// The only call that may start a server.
    ///
    /// # Errors
    /// tmux refused, or the session exists.
    pub fn start_server(
        &self,
        conf: &Path,
        session: &str,
        command: &[String],
    ) -> Result<(), TmuxError> {
        let mut c = process::command(&self.program);
        c.arg("-u").arg("-S").arg(&self.socket).arg("-f").arg(conf);
        c.args(["new-session", "-d", "-s", session, "-c", "/", "--"]);
        c.args(command.iter().map(|w| word(w)));
        // Every session inherits the server's environment. A server started from within an agent
        // must not pass that agent's marks on, nor its service manager's socket.
        for name in [
            "TMUX",
            "TMUX_PANE",
            "NOTIFY_SOCKET",
            "MOSAIC_AGENT",
            "MOSAIC_STATE",
            "MOSAIC_REPORTS",
        ] {
            c.env_remove(name);
        }
        let _told_of = self.told_of();
        let out = process::run(c, None, TIMEOUT)?;
        if out.status.success() {
            Ok(())
        } else {
            Err(TmuxError::Refused {
                verb: "new-session".into(),
                message: out.stderr,
            })
        }
    }

    /// Ends the server with everything in it, without the hooks that would run for each session. No
    /// error when it is not there.
    ///
    /// # Errors
    /// The server hangs.
    pub fn kill_server(&self) -> Result<(), TmuxError> {
        let mut args = Vec::new();
        for hook in CLOSING_HOOKS {
            args.extend(["set-hook", "-gu", hook, ";"]);
        }
        args.push("kill-server");
        match self.call(&args, None) {
            Ok(_) | Err(TmuxError::NoServer(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// Asks a tmux program for its version.
///
/// # Errors
/// It is missing (kind `Unavailable`), or older than [`OLDEST`].
pub fn check_version(program: &Path) -> crate::error::Result<String> {
    let mut c = process::command(program);
    c.arg("-V");
    let out = process::run(c, None, TIMEOUT).map_err(|e| Error::from(TmuxError::from(e)))?;
    let text = out.stdout.trim().to_owned();
    match parse_version(&text) {
        Some(v) if v >= OLDEST => Ok(text),
        Some(_) => Err(Error::unavailable(format!(
            "`{}` is {text}; mosaic needs tmux {}.{} or newer",
            program.display(),
            OLDEST.0,
            OLDEST.1
        ))
        .hint("install a newer tmux, or put one first on PATH")),
        None => Err(Error::unavailable(format!(
            "cannot tell the version of `{}` from `{text}`",
            program.display()
        ))),
    }
}

/// Reads `tmux 3.3a`, `tmux next-3.5`, `tmux master` (newest).
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let v = text.strip_prefix("tmux ")?;
    if v == "master" {
        return Some((u32::MAX, 0));
    }
    let v = v.trim_start_matches(|c: char| !c.is_ascii_digit());
    let mut parts = v.split('.');
    let number = |s: &str| {
        s.chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
            .parse()
            .ok()
    };
    Some((
        number(parts.next()?)?,
        parts.next().and_then(number).unwrap_or(0),
    ))
}

/// The tmux.conf of a fleet's server. It is read instead of the user's: `base-index`,
/// `remain-on-exit` or `destroy-unattached` there would break targets and recovery.
pub fn conf(history: u32) -> String {
    format!(
        "\
# Written by mosaic for its own server; your ~/.tmux.conf is not read there. Changes are overwritten.
set -s exit-empty off
set -s escape-time 10
set -s set-clipboard off
set -s buffer-limit 50
set -s {SERVER_MARK} 1
set -g default-terminal tmux-256color
set -g default-size 200x50
set -g history-limit {history}
set -g base-index 0
set -g pane-base-index 0
set -g destroy-unattached off
set -g remain-on-exit off
set -g detach-on-destroy on
set -g window-size latest
set -g update-environment ''
set -g automatic-rename off
set -g allow-rename off
set -g set-titles off
set -g status-left-length 40
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(parse_version("tmux 3.3a"), Some((3, 3)));
        assert_eq!(parse_version("tmux next-3.6"), Some((3, 6)));
        assert_eq!(parse_version("tmux 2.9a"), Some((2, 9)));
        assert_eq!(parse_version("tmux master"), Some((u32::MAX, 0)));
        assert_eq!(parse_version("screen 4"), None);
        assert!(parse_version("tmux 3.10") > parse_version("tmux 3.9"));
    }
}
