//! A server of the agent CLI that runs beside its terminal interface: started by `agent run` before it
//! becomes the agent, through a process of mosaic's own that ends either with the other
//! ([`crate::delivery::codex::reporter`]).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::delivery::codex;
use crate::error::{Error, Result};
use crate::host::unix_socket::connect_within;
use crate::host::{files, process};
use crate::install::Install;
use crate::paths::Paths;
use crate::report;

/// How long the server may take until it listens. Measured: 0.2 s on an idle machine.
const LISTENS: Duration = Duration::from_secs(25);

/// How long the server of an earlier start may take to go.
const EARLIER: Duration = Duration::from_secs(5);

/// For a connection; a server that stands still takes none.
const CONNECT: Duration = Duration::from_secs(2);

/// Between two tries.
const TRY: Duration = Duration::from_millis(10);

/// What to start.
#[derive(Debug)]
pub struct Server<'a> {
    /// The agent's program, which is the server's too.
    pub program: &'a Path,
    /// The server's arguments.
    pub args: &'a [String],
    /// The agent's environment.
    pub env: &'a BTreeMap<OsString, OsString>,
    /// The agent's working directory.
    pub directory: &'a Path,
}

/// Fills `{socket}` and `{directory}` of arguments.
pub fn fill(args: &[String], paths: &Paths, agent: &str, directory: &Path) -> Vec<String> {
    let socket = codex::socket(paths, agent);
    // A basic string of TOML and a string of JSON escape these two alike; other control characters are
    // refused in a roster's paths.
    let directory = directory.to_string_lossy();
    let quoted = directory.replace('\\', "\\\\").replace('"', "\\\"");
    args.iter()
        .map(|a| {
            a.replace("{socket}", &socket.to_string_lossy())
                .replace("{directory}", &quoted)
        })
        .collect()
}

/// Starts it as a child of this process, which is about to become the agent, and waits until it listens.
///
/// # Errors
/// It ended, or does not listen; nothing is left running.
pub fn start(install: &Install, agent: &str, server: &Server<'_>) -> Result<()> {
    let paths = &install.paths;
    let socket = codex::socket(paths, agent);
    if let Some(dir) = socket.parent() {
        files::make_private_dir(dir)?;
    }
    wait_for_earlier(&socket, EARLIER)?;
    let log = paths.agent_dir(agent).join("server.log");
    let failed = |what: &str| format!("{what} the server of `{agent}`");
    let out = std::fs::File::create(&log).map_err(|e| Error::io(failed("cannot log"), e))?;
    let err = out
        .try_clone()
        .map_err(|e| Error::io(failed("cannot log"), e))?;
    let mut child = process::command(&install.mosaic)
        .args(["internal", "codex-server", "--socket"])
        .arg(&socket)
        .arg("--reports")
        .arg(report::path(paths, agent))
        .arg("--")
        .arg(server.program)
        .args(server.args)
        .env_clear()
        .envs(server.env)
        .current_dir(server.directory)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .map_err(|e| Error::io(failed("cannot start"), e))?;
    let begun = Instant::now();
    loop {
        if connect_within(&socket, CONNECT).is_ok() {
            return Ok(());
        }
        let ended = child
            .try_wait()
            .map_err(|e| Error::io(failed("cannot watch"), e))?
            .map(|status| format!("it ended: {status}"));
        let late = (begun.elapsed() > LISTENS)
            .then(|| format!("it does not listen after {} s", LISTENS.as_secs()));
        if let Some(why) = ended.or(late) {
            // It ends its server itself when its parent, this process, is gone.
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let last = said.lines().rev().find(|l| !l.trim().is_empty());
            let mut e = Error::no(failed("cannot run")).because(why);
            if let Some(last) = last {
                e = e.because(last.trim());
            }
            return Err(e.hint(format!("read `{}`", log.display())));
        }
        std::thread::sleep(TRY);
    }
}

/// Waits until nobody listens: a server that lost its agent is ended in a moment by the process that
/// started it, and an agent that attached to it now would stand before a dead one.
fn wait_for_earlier(socket: &Path, wait: Duration) -> Result<()> {
    let begun = Instant::now();
    while connect_within(socket, CONNECT).is_ok() {
        if begun.elapsed() > wait {
            return Err(
                Error::busy(format!("another server listens at `{}`", socket.display()))
                    .hint(format!("see whose it is: `fuser {}`", socket.display())),
            );
        }
        std::thread::sleep(TRY);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn arguments_are_filled() {
        let paths = Paths {
            home: "/h".into(),
            roster: "/r".into(),
            state: "/s".into(),
            runtime: "/run".into(),
            units: "/u".into(),
        };
        let args = ["unix://{socket}", r#"projects={"{directory}"={}}"#, "-x"].map(str::to_owned);
        let got = fill(&args, &paths, "a", Path::new(r#"/w/my.dir/"q"\"#));
        assert_eq!(got[0], "unix:///run/sock/a.codex");
        assert_eq!(got[1], r#"projects={"/w/my.dir/\"q\"\\"={}}"#);
        assert_eq!(got[2], "-x");
    }

    #[test]
    fn a_server_of_an_earlier_start_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let old = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(wait_for_earlier(&socket, Duration::from_millis(50)).is_err());
        let ends = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            drop(old);
        });
        wait_for_earlier(&socket, Duration::from_secs(20)).unwrap();
        ends.join().unwrap();
    }
}
