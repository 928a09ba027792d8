//! Makes sessions, windows and panes, each with its mark, and closes them.

use std::path::Path;

use super::server::SERVER_MARK;
use super::{SEP, Tmux, TmuxError, word};

/// What a new session is made of.
#[derive(Debug)]
pub struct NewSession<'a> {
    /// Session name.
    pub name: &'a str,
    /// Mark of the pane and of the session; empty for none.
    pub agent: &'a str,
    /// Directory for panes a person opens beside it.
    pub directory: &'a Path,
    /// Program and arguments, run without a shell.
    pub command: &'a [String],
}

/// A pane just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPane {
    /// `%N`.
    pub pane: String,
    /// The terminal's path.
    pub tty: String,
    /// The process started in it.
    pub pid: i32,
}

/// A directory as `-c` takes it: tmux expands formats there, and `#(…)` among them runs a shell.
fn directory_word(directory: &Path) -> String {
    word(&directory.to_string_lossy().replace('#', "##"))
}

fn new_pane_format() -> String {
    format!("#{{pane_id}}{SEP}#{{pane_tty}}{SEP}#{{pane_pid}}")
}

fn parse_new_pane(verb: &str, line: &str) -> Result<NewPane, TmuxError> {
    let mut fields = line.split(SEP);
    let made = (|| {
        Some(NewPane {
            pane: fields.next()?.to_owned(),
            tty: fields.next()?.to_owned(),
            pid: fields.next()?.parse().ok()?,
        })
    })();
    made.ok_or_else(|| TmuxError::Refused {
        verb: verb.into(),
        message: format!("answered `{line}`"),
    })
}

impl Tmux {
    /// Makes a detached session with one pane; the marks are set in the same request, so no
    /// moment exists in which the pane is there and unmarked. Only in a server of mosaic's own.
    ///
    /// # Errors
    /// `Foreign`; the session exists, or the server is gone.
    pub fn new_session(&self, new: &NewSession<'_>) -> Result<NewPane, TmuxError> {
        let dir = directory_word(new.directory);
        let command: Vec<String> = new.command.iter().map(|w| word(w)).collect();
        let format = new_pane_format();
        // Asking for an unset option fails, and a failed command ends its request: no other server
        // can take the socket between the question and the session.
        let mut args = vec![
            "show-options",
            "-s",
            SERVER_MARK,
            ";",
            "new-session",
            "-d",
            "-s",
            new.name,
            "-c",
            &dir,
            "-P",
            "-F",
            &format,
            "--",
        ];
        args.extend(command.iter().map(String::as_str));
        let target = format!("={}:", new.name);
        if !new.agent.is_empty() {
            args.extend([
                ";",
                "set-option",
                "-p",
                "-t",
                &target,
                "@mosaic_agent",
                new.agent,
                ";",
                "set-option",
                "-t",
                &target,
                "@mosaic_session",
                new.agent,
            ]);
        }
        let out = self.call(&args, None).map_err(|e| match e {
            TmuxError::Refused { message, .. } if message.contains(SERVER_MARK) => {
                TmuxError::Foreign(self.socket.clone())
            }
            TmuxError::Refused { message, .. } => TmuxError::Refused {
                verb: "new-session".into(),
                message,
            },
            e => e,
        })?;
        // The first line is the mark.
        parse_new_pane("new-session", out.stdout.lines().nth(1).unwrap_or_default())
    }

    /// Makes the pane in a session of mosaic's that lost it: beside what a person has there, or in a
    /// window of its own where that leaves no room. What has the keyboard keeps it.
    ///
    /// # Errors
    /// The session or the server is gone.
    pub fn new_pane(&self, new: &NewSession<'_>) -> Result<NewPane, TmuxError> {
        let dir = directory_word(new.directory);
        let command: Vec<String> = new.command.iter().map(|w| word(w)).collect();
        let format = new_pane_format();
        let target = format!("={}:", new.name);
        let make = |verb| {
            let mut args = vec![
                verb, "-d", "-t", &target, "-c", &dir, "-P", "-F", &format, "--",
            ];
            args.extend(command.iter().map(String::as_str));
            let out = self.call(&args, None)?;
            parse_new_pane(verb, out.stdout.trim_end())
        };
        let made = match make("split-window") {
            Err(TmuxError::Refused { message, .. }) if message.contains("no space") => {
                make("new-window")
            }
            other => other,
        }?;
        let mark = [
            "set-option",
            "-p",
            "-t",
            &made.pane,
            "@mosaic_agent",
            new.agent,
        ];
        match self.call(&mark, None) {
            Ok(_) => Ok(made),
            Err(e) => {
                // Without its mark nobody would find it again.
                let _ = self.kill_pane(&made.pane);
                Err(e)
            }
        }
    }

    /// Makes a window of a session, behind the others, and leaves the session's present one in front.
    ///
    /// # Errors
    /// The session or the server is gone.
    pub fn new_window(
        &self,
        session: &str,
        name: &str,
        command: &[String],
    ) -> Result<(), TmuxError> {
        let target = word(&format!("={session}:"));
        let words: Vec<String> = command.iter().map(|w| word(w)).collect();
        let mut args = vec![
            "new-window",
            "-d",
            "-t",
            &target,
            "-n",
            name,
            "-c",
            "/",
            "--",
        ];
        args.extend(words.iter().map(String::as_str));
        self.call(&args, None).map(drop)
    }

    /// Ends a session and the programs of its panes. No error when it is not there.
    ///
    /// # Errors
    /// The server is gone or hangs.
    pub fn kill_session(&self, name: &str) -> Result<(), TmuxError> {
        let target = word(&format!("={name}"));
        match self.call(&["kill-session", "-t", &target], None) {
            Ok(_) | Err(TmuxError::NoTarget(_) | TmuxError::NoServer(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Closes one pane by id. No error when it is not there.
    ///
    /// # Errors
    /// The server hangs.
    pub fn kill_pane(&self, id: &str) -> Result<(), TmuxError> {
        match self.call(&["kill-pane", "-t", id], None) {
            Ok(_) | Err(TmuxError::NoTarget(_) | TmuxError::NoServer(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_neither_a_separator_nor_a_format() {
        let directory = directory_word(Path::new("/a#(touch x)##b#;"));
        assert_eq!(directory, "/a##(touch x)####b##\\;");
    }
}
