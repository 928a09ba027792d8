//! The socket of mosaic's extension inside pi: a message goes to pi itself, which says whether it has
//! taken it. The terminal is not involved, so a person's draft stays as it is, and nothing of the text
//! is changed on the way.
//!
//! One request and one answer a connection, each a JSON line; the extension is
//! `src/runtime/reporters/pi.ts`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use super::channel::{Channel, ChannelKind, Found, Mark, Outgoing, Submitted, find_in, running};
use super::stop::{Reached, Stop};
use crate::host::unix_socket::connect_within;
use crate::install::Install;
use crate::launch::Launch;
use crate::paths::Paths;
use crate::record::Run;
use crate::state::account::Account;

/// Environment variable that tells the extension where to listen.
pub const VARIABLE: &str = "MOSAIC_PI_SOCKET";

/// For a question about the state. Measured: below 10 ms; a pi whose event loop stands still answers
/// nothing.
const ASK: Duration = Duration::from_secs(2);

/// For a message. The extension itself gives up after ten seconds.
const SEND: Duration = Duration::from_secs(12);

/// Between two looks at a working agent.
const LOOK: Duration = Duration::from_millis(50);

/// Where the extension of an agent listens. In the runtime directory, as a socket's path holds 107
/// bytes at most (unix(7)).
pub fn socket(paths: &Paths, agent: &str) -> PathBuf {
    paths.runtime.join("sock").join(format!("{agent}.pi"))
}

/// What the extension answers.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    ok: bool,
    /// It certainly did nothing.
    nothing: bool,
    busy: bool,
    idle: bool,
    again: bool,
    taken: bool,
    session: Option<String>,
    why: String,
}

/// Why a request has no answer.
enum Failure {
    /// The extension certainly did not see it.
    NotSent(std::io::Error),
    /// It may have.
    NoAnswer(std::io::Error),
}

/// The channel.
#[derive(Debug)]
pub struct PiSocket {
    path: PathBuf,
    agent: String,
    run: Run,
    account: Option<Account>,
}

impl PiSocket {
    /// Whether the extension of this very process answers.
    ///
    /// # Errors
    /// It does not; nothing was done.
    pub fn connect(install: &Install, launch: &Launch) -> Result<Self, Stop> {
        let agent = launch.agent.name.as_str();
        let run = running(install, agent)?;
        let channel = Self {
            path: socket(&install.paths, agent),
            agent: agent.to_owned(),
            run,
            account: Account::of(install, launch),
        };
        channel.status()?;
        Ok(channel)
    }

    fn status(&self) -> Result<Answer, Stop> {
        match ask(&self.path, &json!({"op": "status"}), ASK) {
            Ok(answer) if answer.ok => Ok(answer),
            Ok(answer) => Err(Stop::busy(format!(
                "mosaic's extension in `{}` answers: {}",
                self.agent, answer.why
            ))),
            Err(Failure::NotSent(e) | Failure::NoAnswer(e)) => Err(Stop::busy(format!(
                "mosaic's extension in `{}` does not answer: {e}",
                self.agent
            ))
            .hint(format!("look at it: `mosaic agent attach {}`", self.agent))),
        }
    }
}

impl Channel for PiSocket {
    fn kind(&self) -> ChannelKind {
        ChannelKind::PiSocket
    }

    fn ready(&self, wait: Duration) -> Result<(), Stop> {
        let begun = Instant::now();
        loop {
            let stop = match self.status() {
                Ok(answer) if answer.idle => return Ok(()),
                Ok(_) => Stop::busy(format!("`{}` is working", self.agent)),
                Err(stop) => stop,
            };
            if begun.elapsed() >= wait || !self.run.alive() {
                return Err(stop);
            }
            std::thread::sleep(LOOK);
        }
    }

    fn mark(&self) -> Mark {
        Mark {
            account: self.account.as_ref().map_or(0, Account::mark),
            transcript: None,
            process: None,
            session: self.status().ok().and_then(|a| a.session),
        }
    }

    fn put(&self, _message: &Outgoing<'_>) -> Result<Option<String>, Stop> {
        Ok(None)
    }

    fn submit(&self, message: &Outgoing<'_>, _mark: &Mark) -> Result<Submitted, Stop> {
        if message.command {
            return Err(Stop::refused("pi's socket takes messages, not commands"));
        }
        let request = json!({"op": "send", "id": message.id, "text": message.text});
        let attach = || format!("look at it: `mosaic agent attach {}`", self.agent);
        match ask(&self.path, &request, SEND) {
            Ok(answer) if answer.ok => Ok(Submitted {
                evidence: if answer.again {
                    "pi had taken it before"
                } else {
                    "pi took it"
                }
                .to_owned(),
                accepted: true,
            }),
            Ok(answer) => Err(Stop {
                reached: if answer.nothing {
                    Reached::Nothing
                } else {
                    Reached::Unknown
                },
                retry: answer.busy,
                ..Stop::refused(format!("`{}` answers: {}", self.agent, answer.why))
            }
            .hint(attach())),
            Err(Failure::NotSent(e)) => Err(Stop::busy(format!(
                "the message cannot be handed to `{}`: {e}",
                self.agent
            ))
            .hint(attach())),
            Err(Failure::NoAnswer(e)) => Err(Stop::unknown(format!(
                "the message was handed to `{}`, which did not answer: {e}",
                self.agent
            ))
            .hint(attach())),
        }
    }

    fn find(&self, message: &Outgoing<'_>, mark: &Mark) -> Found {
        if let Some(account) = &self.account
            && let Ok(reports) = account.since(mark.account)
        {
            let found = find_in(&reports, message.text);
            if found != Found::Nothing {
                return found;
            }
        }
        match ask(&self.path, &json!({"op": "find", "id": message.id}), ASK) {
            Ok(answer) if answer.taken => Found::Accepted {
                evidence: "pi says that it took it".to_owned(),
                recorded: None,
            },
            _ => Found::Nothing,
        }
    }
}

/// Asks once.
fn ask(path: &Path, request: &serde_json::Value, wait: Duration) -> Result<Answer, Failure> {
    use Failure::{NoAnswer, NotSent};
    let mut stream = connect_within(path, wait).map_err(NotSent)?;
    // A request counts only with its final newline, so one that broke off was not sent; but whether
    // the last write got through is not known for certain.
    let body = request.to_string();
    stream.write_all(body.as_bytes()).map_err(NotSent)?;
    stream.write_all(b"\n").map_err(NoAnswer)?;
    let mut line = String::new();
    BufReader::new(&stream)
        .read_line(&mut line)
        .map_err(NoAnswer)?;
    serde_json::from_str(&line)
        .map_err(|e| NoAnswer(std::io::Error::new(std::io::ErrorKind::InvalidData, e)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::net::UnixListener;

    fn served(answers: &'static [&'static str]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            for answer in answers {
                let (stream, _) = listener.accept().unwrap();
                let mut line = String::new();
                BufReader::new(&stream).read_line(&mut line).unwrap();
                (&stream).write_all(answer.as_bytes()).unwrap();
            }
        });
        (dir, path)
    }

    #[test]
    fn an_answer_tells_and_its_absence_too() {
        let (_dir, path) = served(&["{\"ok\":true,\"idle\":true}\n", "", "nonsense\n"]);
        let one = json!({"op": "status"});
        assert!(matches!(ask(&path, &one, ASK), Ok(a) if a.ok && a.idle));
        // Closed without an answer: it may have done anything.
        assert!(matches!(ask(&path, &one, ASK), Err(Failure::NoAnswer(_))));
        assert!(matches!(ask(&path, &one, ASK), Err(Failure::NoAnswer(_))));
        let nobody = path.with_file_name("nobody");
        assert!(matches!(ask(&nobody, &one, ASK), Err(Failure::NotSent(_))));
    }
}
