//! The door to tmux: the only code that runs it. One dedicated server, always by its absolute
//! socket path, always with `-N` (no client ever starts a server) and `-u` (without it tabs and
//! separators in formats are garbled). Panes are addressed by id, sessions by `=NAME`; no target
//! is ever left to prefix or pattern matching.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::{self, Output, RunError};
use crate::error::Error;

/// Oldest tmux whose targets, formats and `-N` behave as used here.
pub const OLDEST: (u32, u32) = (3, 2);

/// Between fields of formats: printable, so it survives, and in no name mosaic accepts.
const SEP: char = '\u{241f}';

/// Longest time for one call. Calls take milliseconds; a stopped server must not hang mosaic.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The server option that [`conf`] sets: what tells mosaic's servers from others.
const SERVER_MARK: &str = "@mosaic_fleet";

/// Hooks that tell of a closed session, of a pane whose program ended, and of a pane closed by hand,
/// for which tmux runs neither of the others while the session stays.
pub const CLOSING_HOOKS: [&str; 3] = ["session-closed", "pane-exited", "after-kill-pane"];

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

/// One pane, as listed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Pane {
    /// `%N`.
    pub id: String,
    /// The process tmux itself started in it.
    pub pid: i32,
    /// The terminal's path.
    pub tty: String,
    /// Its program has ended.
    pub dead: bool,
    /// Copy mode or another mode is on.
    pub in_mode: bool,
    /// Clients that show the session.
    pub viewers: u32,
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
    /// Cursor row, from 0.
    pub cursor_y: u16,
    /// When its window last printed something, in seconds since the epoch.
    pub activity: i64,
    /// The agent that mosaic made the pane for; empty for others.
    pub agent: String,
    /// The agent that mosaic made the session for; empty for others.
    pub owner: String,
    /// Session name.
    pub session: String,
    /// Title set by the program.
    pub title: String,
}

const PANE_FIELDS: [&str; 14] = [
    "pane_id",
    "pane_pid",
    "pane_tty",
    "pane_dead",
    "pane_in_mode",
    "session_attached",
    "pane_width",
    "pane_height",
    "cursor_y",
    "window_activity",
    "@mosaic_agent",
    "@mosaic_session",
    "session_name",
    "pane_title",
];

pub(super) fn pane_format() -> String {
    PANE_FIELDS
        .map(|f| format!("#{{{f}}}"))
        .join(&SEP.to_string())
}

pub(super) fn parse_pane(line: &str) -> Option<Pane> {
    let mut f = line.splitn(PANE_FIELDS.len(), SEP);
    let mut next = || f.next();
    Some(Pane {
        id: next()?.to_owned(),
        pid: next()?.parse().unwrap_or(0),
        tty: next()?.to_owned(),
        dead: next()? == "1",
        in_mode: next()? != "0",
        viewers: next()?.parse().unwrap_or(0),
        width: next()?.parse().unwrap_or(0),
        height: next()?.parse().unwrap_or(0),
        cursor_y: next()?.parse().unwrap_or(0),
        activity: next()?.parse().unwrap_or(0),
        agent: next()?.to_owned(),
        owner: next()?.to_owned(),
        session: next()?.to_owned(),
        title: next()?.to_owned(),
    })
}

/// A terminal that shows the server's sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The terminal's path; empty for a control client.
    pub tty: String,
    /// What it calls itself, e.g. `xterm-256color`.
    pub term: String,
}

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
        let out = process::run(c, input, TIMEOUT)?;
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

    /// Every pane of the server.
    ///
    /// # Errors
    /// `NoServer` when nobody listens.
    pub fn panes(&self) -> Result<Vec<Pane>, TmuxError> {
        match self.call(&["list-panes", "-a", "-F", &pane_format()], None) {
            Ok(out) => Ok(out.stdout.lines().filter_map(parse_pane).collect()),
            // A server that has just started and holds no session says so in this way.
            Err(TmuxError::NoTarget(_)) => Ok(Vec::new()),
            Err(TmuxError::Refused { message, .. }) if message.contains("no current") => {
                Ok(Vec::new())
            }
            Err(e) => Err(e),
        }
    }

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

    /// The server's process id, which also says that it answers.
    ///
    /// # Errors
    /// `NoServer` when nobody listens.
    pub fn server_pid(&self) -> Result<i32, TmuxError> {
        let out = self.call(&["display-message", "-p", "#{pid}"], None)?;
        Ok(out.stdout.trim().parse().unwrap_or(0))
    }

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

    /// Reads a server option that mosaic set to mark its own servers; `None` when unset.
    ///
    /// # Errors
    /// `NoServer`.
    pub fn server_mark(&self) -> Result<Option<String>, TmuxError> {
        let out = self.call(&["show-options", "-s", "-q", "-v", SERVER_MARK], None)?;
        let text = out.stdout.trim().to_owned();
        Ok((!text.is_empty()).then_some(text))
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

    /// A control client on a session, for [`super::control`]: without a size of its own, which would
    /// be every window's, and without the panes' output.
    pub(super) fn control_command(&self, session: &str) -> Command {
        let mut c = self.client();
        c.args(["-C", "attach-session", "-f", "ignore-size,no-output", "-t"]);
        c.arg(word(&format!("={session}")));
        c
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
    fn words_from_outside_are_neither_separators_nor_formats() {
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
        let directory = directory_word(Path::new("/a#(touch x)##b#;"));
        assert_eq!(directory, "/a##(touch x)####b##\\;");
    }

    #[test]
    fn a_title_may_hold_anything() {
        let line = [
            "%3",
            "42",
            "/dev/pts/3",
            "0",
            "0",
            "1",
            "200",
            "50",
            "48",
            "1795000000",
            "coder0",
            "coder0",
            "coder0",
            "a␟b\u{7f}",
        ]
        .join("\u{241f}");
        let pane = parse_pane(&line);
        assert_eq!(pane.as_ref().map(|p| p.title.as_str()), Some("a␟b\u{7f}"));
        assert_eq!(
            pane.map(|p| (p.pid, p.viewers, p.activity)),
            Some((42, 1, 1_795_000_000))
        );
        assert_eq!(parse_pane("short"), None);
    }
}
