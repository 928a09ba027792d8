//! The ssh client: its options, and the connection that later calls share.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Host;
use super::quote::{line, quote};
use crate::error::Result;
use crate::host::{files, process};
use crate::paths::Paths;

/// Seconds until a host that does not answer is given up.
const CONNECT: u32 = 10;

/// Seconds that a connection is kept for the next call.
const PERSIST: u32 = 60;

/// Longest directory for the shared connections' sockets: ssh adds a name of 40 characters and, while
/// it makes the socket, 17 more, and a socket address holds 107 (unix(7)).
const LONGEST: usize = 107 - 1 - 40 - 17;

/// What runs `mosaic` there. ssh gives commands a short PATH, without the places of programs that a
/// user installed. The line of readiness comes before the message is read, and a message whose line
/// does not end is not delivered: the connection was lost in its midst. (No single quotes in it, and
/// one line, so that any login shell passes it on.)
const RUN: &str = r#"PATH=$PATH:$HOME/.local/bin:$HOME/.cargo/bin; command -v mosaic >/dev/null 2>&1 || exit 127; echo mosaic-remote ready; exec mosaic "$@" </dev/null"#;

/// The same for a verb that reads a message on standard input.
const RUN_WITH_MESSAGE: &str = r#"PATH=$PATH:$HOME/.local/bin:$HOME/.cargo/bin; command -v mosaic >/dev/null 2>&1 || exit 127; echo mosaic-remote ready; IFS= read -r m || exit 76; printf %s "$m" | base64 -d | mosaic "$@""#;

/// What runs a script that comes as the first line of standard input, in base64.
const LOAD: &str =
    r#"IFS= read -r s || exit 76; s=$(printf %s "$s" | base64 -d) || exit 76; eval "$s""#;

/// The way to one host.
#[derive(Debug, Clone)]
pub struct Ssh {
    host: Host,
    /// Where sockets of shared connections are; `None` where no directory is short enough.
    sockets: Option<PathBuf>,
    /// Nobody is there to type a password.
    batch: bool,
}

impl Ssh {
    /// Prepares the way. `terminal`: a person is there whom ssh may ask.
    pub fn to(host: &Host, paths: &Paths, terminal: bool) -> Self {
        let sockets = [&paths.runtime, &paths.state]
            .map(|dir| dir.join("ssh"))
            .into_iter()
            .find(|dir| dir.as_os_str().len() <= LONGEST && files::make_private_dir(dir).is_ok());
        Self {
            host: host.clone(),
            sockets,
            batch: !terminal,
        }
    }

    /// mosaic there, with these arguments; `message`: it reads one on standard input.
    ///
    /// # Errors
    /// A word that cannot be passed on.
    pub fn mosaic(&self, args: &[String], message: bool) -> Result<Command> {
        let script = if message { RUN_WITH_MESSAGE } else { RUN };
        self.run("sh", script, args)
    }

    /// bash there, for a script that comes on standard input.
    ///
    /// # Errors
    /// A word that cannot be passed on.
    pub fn script(&self, args: &[String]) -> Result<Command> {
        self.run("bash", LOAD, args)
    }

    fn run(&self, shell: &str, script: &str, args: &[String]) -> Result<Command> {
        let words = line(args)?;
        let remote = format!("exec {shell} -c {} {shell} {words}", quote(script)?);
        let mut command = process::command("ssh");
        command
            .args(self.options())
            .arg("--")
            .arg(self.host.as_str());
        command.arg(remote.trim_end());
        Ok(command)
    }

    fn options(&self) -> Vec<String> {
        let mut all = vec![
            format!("ConnectTimeout={CONNECT}"),
            // A connection that went dead is noticed after fifteen seconds.
            "ServerAliveInterval=5".to_owned(),
            "ServerAliveCountMax=3".to_owned(),
            "ClearAllForwardings=yes".to_owned(),
        ];
        if self.batch {
            all.push("BatchMode=yes".to_owned());
        }
        if let Some(dir) = &self.sockets {
            all.push("ControlMaster=auto".to_owned());
            all.push(format!("ControlPath={}/%C", escaped(dir)));
            all.push(format!("ControlPersist={PERSIST}"));
        }
        let mut words = vec!["-T".to_owned()];
        words.extend(all.into_iter().flat_map(|o| ["-o".to_owned(), o]));
        words
    }
}

/// A path in the value of an option: ssh expands `%` and splits at blanks.
fn escaped(path: &Path) -> String {
    let text = path.to_string_lossy().replace('%', "%%");
    if text.contains([' ', '"']) {
        format!("\"{}\"", text.replace('"', "\\\""))
    } else {
        text
    }
}

/// The local bash for the same script, where no other host is meant.
pub fn local_script(args: &[String]) -> Command {
    let mut command = process::command("bash");
    command.args(["-c", LOAD, "bash"]).args(args);
    command
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ssh(batch: bool) -> Ssh {
        Ssh {
            host: "me@box".parse().unwrap(),
            sockets: Some("/run/user/7/a b/%h".into()),
            batch,
        }
    }

    fn words(command: &Command) -> Vec<String> {
        let args = command.get_args();
        args.map(|a| a.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn the_command_stands_behind_the_host_and_every_word_is_quoted() {
        let args = ["agent".to_owned(), "it's $(id)".to_owned()];
        let all = words(&ssh(true).mosaic(&args, true).unwrap());
        let at = all.iter().position(|w| w == "--").unwrap();
        assert_eq!(all[at + 1], "me@box");
        assert_eq!(all.len(), at + 3);
        assert!(
            all[at + 2].starts_with("exec sh -c 'PATH=$PATH"),
            "{}",
            all[at + 2]
        );
        assert!(
            all[at + 2].ends_with(r"' sh agent 'it'\''s $(id)'"),
            "{}",
            all[at + 2]
        );
        assert!(all.contains(&"BatchMode=yes".to_owned()));
        assert!(
            all.contains(&"ControlPath=\"/run/user/7/a b/%%h\"/%C".to_owned())
                || all.contains(&"ControlPath=\"/run/user/7/a b/%%h/%C\"".to_owned()),
            "{all:?}"
        );
        let asking = words(&ssh(false).mosaic(&args, false).unwrap());
        assert!(!asking.contains(&"BatchMode=yes".to_owned()));
    }

    #[test]
    fn a_word_with_a_line_feed_is_refused() {
        assert!(ssh(true).mosaic(&["a\nb".to_owned()], false).is_err());
    }

    #[test]
    fn sockets_are_private_and_short_or_there_are_none() {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let at = |name: &str| dir.path().join(name);
        let mut paths = Paths {
            home: at("h"),
            roster: at("roster.yaml"),
            state: at(&"x".repeat(90)),
            runtime: at("r"),
            units: at("u"),
        };
        let host: Host = "box".parse().unwrap();
        let found = Ssh::to(&host, &paths, false);
        assert_eq!(found.sockets.as_deref(), Some(at("r/ssh").as_path()));
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(at("r/ssh")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        paths.runtime = at(&"y".repeat(90));
        assert_eq!(Ssh::to(&host, &paths, false).sockets, None);
    }
}
