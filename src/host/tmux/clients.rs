//! Terminals and programs that attach to the server.

use std::process::Command;

use super::{SEP, Tmux, TmuxError, word};

/// A terminal that shows the server's sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The terminal's path; empty for a control client.
    pub tty: String,
    /// What it calls itself, e.g. `xterm-256color`.
    pub term: String,
}

impl Tmux {
    /// The terminals that are attached.
    ///
    /// # Errors
    /// `NoServer` when nobody listens.
    pub fn clients(&self) -> Result<Vec<Client>, TmuxError> {
        let format =
            format!("#{{client_control_mode}}{SEP}#{{client_tty}}{SEP}#{{client_termname}}");
        let out = self.call(&["list-clients", "-F", &format], None)?;
        let one = |line: &str| {
            let mut fields = line.split(SEP);
            let control = fields.next()? == "1";
            let client = Client {
                tty: fields.next()?.to_owned(),
                term: fields.next()?.to_owned(),
            };
            (!control).then_some(client)
        };
        Ok(out.stdout.lines().filter_map(one).collect())
    }

    /// A command for a person's terminal that shows a session.
    pub fn attach_command(&self, session: &str, read_only: bool) -> Command {
        let mut c = self.client();
        c.args(["attach-session", "-t", &word(&format!("={session}"))]);
        if read_only {
            c.arg("-r");
        }
        c
    }

    /// A control client on a session, for [`crate::host::control`]: without a size of its own, which would
    /// be every window's, and without the panes' output.
    pub(in crate::host) fn control_command(&self, session: &str) -> Command {
        let mut c = self.client();
        c.args(["-C", "attach-session", "-f", "ignore-size,no-output", "-t"]);
        c.arg(word(&format!("={session}")));
        c
    }
}
