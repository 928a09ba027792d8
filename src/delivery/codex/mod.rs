//! codex's app-server: mosaic starts one beside each codex, whose terminal interface attaches to it, and
//! hands messages to the conversation that the terminal shows. The terminal is not involved, so a
//! person's draft stays as it is and nothing of the text is changed on the way.
//!
//! A message carries its id into codex's own record of the conversation ([`rollout`]), which proves that
//! it is there, and whether its turn has ended, also after a crash.

pub mod approval;
pub mod reporter;
pub mod rollout;
pub mod rpc;
pub mod thread;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use super::channel::{Channel, ChannelKind, Found, Left, Mark, Outgoing, Submitted, running};
use super::stop::Stop;
use crate::install::Install;
use crate::launch::Launch;
use crate::paths::Paths;
use crate::record::Run;
use crate::report;
use crate::state::account::Account;
use crate::terminal::pane;
use rpc::{Client, Failure};
use thread::{Status, Thread};

/// How long a message that codex took may be on its way into the record. Measured: 20 to 50 ms.
const RECORDED: Duration = Duration::from_secs(3);

/// Between two looks at the record.
const LOOK: Duration = Duration::from_millis(5);

/// Where the app-server of an agent listens. In the runtime directory, as a socket's path holds 107
/// bytes at most (unix(7)).
pub fn socket(paths: &Paths, agent: &str) -> PathBuf {
    paths.runtime.join("sock").join(format!("{agent}.codex"))
}

/// The channel.
#[derive(Debug)]
pub struct CodexServer<'a> {
    install: &'a Install,
    agent: String,
    run: Run,
    account: Option<Account>,
    client: RefCell<Client>,
}

impl<'a> CodexServer<'a> {
    /// Connects to the app-server of a running agent.
    ///
    /// # Errors
    /// It does not answer; nothing was done.
    pub fn connect(install: &'a Install, launch: &Launch) -> Result<Self, Stop> {
        let agent = launch.agent.name.as_str();
        let run = running(install, agent)?;
        let client = Client::connect(&socket(&install.paths, agent)).map_err(|e| {
            Stop::busy(format!("the app-server of `{agent}` does not answer: {e}"))
                .hint(format!("`mosaic fleet restart {agent}`"))
        })?;
        Ok(Self {
            install,
            agent: agent.to_owned(),
            run,
            account: Account::of(install, launch),
            client: RefCell::new(client),
        })
    }

    /// The conversation that the terminal shows.
    ///
    /// # Errors
    /// There is none yet, or it is not known which.
    fn thread(&self) -> Result<Thread, Stop> {
        let lost = |e: Failure| {
            Stop::busy(format!(
                "the app-server of `{}` does not answer: {e}",
                self.agent
            ))
        };
        let attach = || format!("look at it: `mosaic agent attach {}`", self.agent);
        let client = &mut *self.client.borrow_mut();
        let mut ids = thread::loaded(client).map_err(lost)?;
        let title = (ids.len() > 1).then(|| self.title()).flatten();
        if let Some(id) = title.and_then(|title| thread::shown(&ids, &title).cloned()) {
            ids = vec![id];
        }
        let mut threads = Thread::among(client, &ids).map_err(lost)?;
        match (threads.pop(), threads.is_empty()) {
            (Some(only), true) => Ok(only),
            (None, _) => Err(Stop::busy(format!(
                "codex in `{}` has no conversation open yet",
                self.agent
            ))
            .hint(attach())),
            (Some(_), false) => Err(Stop::busy(format!(
                "codex in `{}` has several conversations open, and its title does not tell which it shows",
                self.agent
            ))
            .hint(attach())),
        }
    }

    /// Names a thread and the process that has it open.
    fn session(&self, thread: &Thread) -> String {
        format!("{} {} {}", thread.id, self.run.pid, self.run.start_ticks)
    }

    fn title(&self) -> Option<String> {
        let panes = self.install.tmux().panes().ok()?;
        match pane::find(&panes, &self.agent) {
            pane::Found::Ours(pane) => Some(pane.title.clone()),
            _ => None,
        }
    }

    /// Waits until the record shows a message.
    fn recorded(&self, message: &Outgoing<'_>, mark: &Mark, wait: Duration) -> Option<String> {
        let begun = Instant::now();
        loop {
            match self.find(message, mark) {
                Found::Accepted { evidence, .. } | Found::Answered { evidence, .. } => {
                    return Some(evidence);
                }
                Found::Nothing if begun.elapsed() >= wait => return None,
                Found::Nothing => std::thread::sleep(LOOK),
            }
        }
    }
}

impl Channel for CodexServer<'_> {
    fn kind(&self) -> ChannelKind {
        ChannelKind::CodexServer
    }

    fn ready(&self, wait: Duration) -> Result<(), Stop> {
        let begun = Instant::now();
        loop {
            let stop = match self.thread() {
                Ok(thread) => match thread.status {
                    Status::Idle => return Ok(()),
                    Status::Working => Stop::busy(format!("`{}` is working", self.agent)),
                    Status::Waiting => Stop::busy(format!("`{}` asks for approval", self.agent))
                        .hint(format!("`mosaic agent attach {}`", self.agent)),
                },
                Err(stop) => stop,
            };
            let left = wait.saturating_sub(begun.elapsed());
            if left.is_zero() || !self.run.alive() {
                return Err(stop);
            }
            // A change of any thread's state is told to everybody; the bound is for what is not told.
            let pause = left.min(Duration::from_millis(250));
            if self.client.borrow_mut().event(pause).is_err() {
                return Err(stop);
            }
        }
    }

    fn mark(&self) -> Mark {
        let thread = self.thread().ok();
        let length = |path: PathBuf| {
            let length = report::length(&path);
            (path, length)
        };
        Mark {
            process: None,
            account: self.account.as_ref().map_or(0, Account::mark),
            transcript: thread.as_ref().and_then(|t| t.rollout.clone()).map(length),
            session: thread.map(|t| self.session(&t)),
        }
    }

    fn put(&self, _message: &Outgoing<'_>) -> Result<Option<String>, Stop> {
        Ok(None)
    }

    fn submit(&self, message: &Outgoing<'_>, mark: &Mark) -> Result<Submitted, Stop> {
        if message.command {
            return Err(Stop::refused(
                "codex's app-server takes messages, not commands",
            ));
        }
        // Meanwhile another one may be shown, or the agent may have been started anew.
        let thread = self.thread()?;
        if mark.session.as_deref() != Some(&self.session(&thread)) {
            return Err(Stop::busy(format!(
                "`{}` is in another conversation than a moment ago",
                self.agent
            )));
        }
        let attach = || format!("look at it: `mosaic agent attach {}`", self.agent);
        let request = json!({
            "threadId": thread.id,
            "clientUserMessageId": message.id,
            "input": [{"type": "text", "text": message.text}],
        });
        let taken = self.client.borrow_mut().call("turn/start", request);
        match taken {
            Ok(got) => {
                let turn = got.pointer("/turn/id").and_then(|v| v.as_str());
                let recorded = self.recorded(message, mark, RECORDED);
                Ok(Submitted {
                    accepted: recorded.is_some(),
                    evidence: recorded
                        .unwrap_or_else(|| format!("codex began turn {}", turn.unwrap_or("?"))),
                })
            }
            Err(Failure::Refused(why)) => Err(Stop::refused(format!(
                "codex in `{}` answers: {why}",
                self.agent
            ))
            .hint(attach())),
            Err(e @ Failure::NotSent(_)) => Err(Stop::busy(format!(
                "the message cannot be handed to `{}`: {e}",
                self.agent
            ))
            .hint(attach())),
            Err(e @ Failure::NoAnswer(_)) => match self.recorded(message, mark, RECORDED) {
                Some(evidence) => Ok(Submitted {
                    evidence,
                    accepted: true,
                }),
                None => Err(Stop::unknown(format!(
                    "the message was handed to `{}`, and nothing shows that it took it: {e}",
                    self.agent
                ))
                .hint(attach())),
            },
        }
    }

    fn left(&self, message: &Outgoing<'_>, mark: &Mark) -> Left {
        let thread = match self.thread() {
            Ok(thread) => thread,
            Err(stop) => return Left::Unseen(stop),
        };
        // One that ended may have handed a message to the model without a line in its record.
        if mark.session.as_deref() != Some(&self.session(&thread)) {
            return Left::Other("its conversation or its process is another one by now".to_owned());
        }
        if thread.status != Status::Idle {
            return Left::Unseen(Stop::busy(format!("`{}` is in a turn", self.agent)));
        }
        // The very process that would have it is at rest, and a message it takes is on record at once.
        match self.recorded(message, mark, RECORDED) {
            None => Left::Whole,
            // It came just now; whoever asks looks again.
            Some(evidence) => Left::Unseen(Stop::busy(evidence)),
        }
    }

    fn find(&self, message: &Outgoing<'_>, mark: &Mark) -> Found {
        let Some((path, length)) = &mark.transcript else {
            return Found::Nothing;
        };
        look(path, *length, message.id)
    }
}

/// Looks for a message in a rollout that was `length` bytes long before it.
fn look(path: &Path, length: u64, id: &str) -> Found {
    report::lines_since(path, length).map_or(Found::Nothing, |lines| rollout::find(&lines, id))
}

#[cfg(test)]
mod tests;
