//! opencode's HTTP interface: a message goes to opencode itself, under an id of mosaic's making, and is
//! looked up by that id afterwards. The terminal is not involved, so a person's draft stays as it is,
//! and nothing of the text is changed on the way.
//!
//! A message is handed over to an opencode at rest only. opencode would take one at any time, but
//! what it holds back until the end of a turn is not begun when that turn is interrupted or a
//! permission is refused, and two that wait reach the model in one request.

mod asks;
mod client;
mod ids;
mod reset;
mod session;

use std::time::{Duration, Instant};

pub use asks::{Ask, Reply, pending, reply};
pub use ids::native;
pub use reset::{Fresh, new_session};

use super::channel::{
    Channel, ChannelKind, Found, Left, Mark, Outgoing, Submitted, find_in, running,
};
use super::stop::{Reached, Stop};
use crate::host::files;
use crate::install::Install;
use crate::launch::Launch;
use crate::record::{NodeRecord, Run};
use crate::state::account::Account;
use client::{Client, Failure, Prompt, Status};
use session::{Place, Shown};

/// How long after its start opencode may refuse connections without being taken for broken. Its port
/// was measured to answer after 3 s and its terminal to stand after 5 to 15 s, on a busy machine.
const STARTING: Duration = Duration::from_secs(60);

/// Between two looks at a working agent.
const LOOK: Duration = Duration::from_millis(50);

/// Between two looks for a message just handed over. Measured: it is there after 20 ms.
const FIND: Duration = Duration::from_millis(10);

/// How long the terminal may take to show a session. Measured: 30 ms.
const SHOW: Duration = Duration::from_secs(2);

/// How many messages at the end of a session are looked at for the answer to one. Each step of a turn
/// is a message, with the output of its tools; what was said last stands at the end.
const TURN: u32 = 50;

/// The channel.
#[derive(Debug)]
pub struct OpencodeHttp {
    client: Client,
    agent: String,
    run: Run,
    account: Account,
    /// The role and the model of the launch, which opencode's interface knows nothing of.
    launched: session::Choice,
}

impl OpencodeHttp {
    /// Whether the opencode of this very process answers and reports, or may still come to do so.
    ///
    /// # Errors
    /// It does not; nothing was done.
    pub fn connect(install: &Install, launch: &Launch) -> Result<Self, Stop> {
        let channel = Self::of(install, launch)?;
        if !channel.young() {
            channel.answering()?;
            if channel.shown() == Shown::Unknown {
                return Err(Stop::busy(format!(
                    "`{}` has not said which session it shows",
                    channel.agent
                ))
                .hint("mosaic's plugin is missing in it: was it started with `--pure`?"));
            }
        }
        Ok(channel)
    }

    /// Finds it, and asks nothing yet.
    fn of(install: &Install, launch: &Launch) -> Result<Self, Stop> {
        let agent = launch.agent.name.as_str();
        let run = running(install, agent)?;
        let node = files::read_json::<NodeRecord>(&install.paths.node(agent))
            .map_err(|e| Stop::of(&e))?
            .ok_or_else(|| {
                Stop::refused(format!("`{agent}` was started without a port for messages"))
                    .hint(format!("`mosaic fleet restart {agent}`"))
            })?;
        let account = Account::of(install, launch)
            .ok_or_else(|| Stop::refused(format!("the runtime of `{agent}` gives no reports")))?;
        Ok(Self {
            client: Client::new(node.port, &node.secret),
            agent: agent.to_owned(),
            run,
            account,
            launched: session::Choice::of(&launch.agent.command),
        })
    }

    fn young(&self) -> bool {
        let age = jiff::Timestamp::now().duration_since(self.run.started);
        age.unsigned_abs() < STARTING
    }

    fn shown(&self) -> Shown {
        session::shown(&self.account, self.run.started)
    }

    fn failed(&self, failure: &Failure) -> Stop {
        Stop::busy(format!(
            "opencode in `{}` does not answer: {failure}",
            self.agent
        ))
        .hint(format!("look at it: `mosaic agent attach {}`", self.agent))
    }

    fn answering(&self) -> Result<(), Stop> {
        self.client.health(client::ASK).map_err(|f| self.failed(&f))
    }

    /// Whether it can take a message now.
    fn rests(&self) -> Result<(), Stop> {
        let busy = self.client.status().map_err(|f| self.failed(&f))?;
        if let Some(status) = busy.values().next() {
            // A question does not end the turn that it stands in.
            return Err(match asks::first(&self.client) {
                Ok(Some(ask)) => Stop::busy(format!("`{}` asks: {}", self.agent, ask.question))
                    .hint(format!("answer it: `mosaic agent approve {}`", self.agent)),
                _ => Stop::busy(match status {
                    Status::Retry { message } => {
                        format!(
                            "the provider of `{}` refuses requests: {message}",
                            self.agent
                        )
                    }
                    _ => format!("`{}` is working", self.agent),
                }),
            });
        }
        match self.shown() {
            Shown::Unknown => Err(Stop::busy(format!("`{}` is starting", self.agent))),
            Shown::Home | Shown::Session(_) => Ok(()),
        }
    }

    /// The session that gets the message, made where there is none yet.
    fn session(&self, mark: &Place) -> Result<String, Stop> {
        if let Some(session) = &mark.session {
            return Ok(session.clone());
        }
        let session = self.client.create().map_err(|f| self.failed(&f))?.id;
        // Not shown is not lost: it is a view, and the message is in the record.
        let before = self.account.mark();
        if self.client.select(&session).is_ok() {
            session::wait_shown(&self.account, before, &session, SHOW);
        }
        Ok(session)
    }

    /// What to ask of which model: as in the session so far, else as the agent was launched.
    fn choice(&self, session: &str) -> session::Choice {
        let last = self.client.messages(session, 1).unwrap_or_default();
        session::Choice::last(&last).unwrap_or_else(|| self.launched.clone())
    }

    /// Waits until the session holds the message. `None` when it could not be asked.
    fn holds_it(&self, session: &str, native: &str, wait: Duration) -> Option<bool> {
        let begun = Instant::now();
        loop {
            let found = self.client.message(session, native);
            if let Ok(Some(_)) = found {
                return Some(true);
            }
            if begun.elapsed() >= wait {
                return found.ok().map(|_| false);
            }
            std::thread::sleep(FIND);
        }
    }
}

impl Channel for OpencodeHttp {
    fn kind(&self) -> ChannelKind {
        ChannelKind::OpencodeHttp
    }

    fn ready(&self, wait: Duration) -> Result<(), Stop> {
        let begun = Instant::now();
        loop {
            match self.rests() {
                Ok(()) => return Ok(()),
                Err(stop) if begun.elapsed() >= wait => return Err(stop),
                Err(_) if !self.run.alive() => {
                    return Err(Stop::busy(format!("`{}` ended", self.agent))
                        .hint(format!("`mosaic fleet start {}`", self.agent)));
                }
                Err(_) => std::thread::sleep(LOOK),
            }
        }
    }

    fn mark(&self) -> Mark {
        let session = match self.shown() {
            Shown::Session(id) => Some(session::root(&self.client, id)),
            Shown::Home | Shown::Unknown => None,
        };
        let time = jiff::Timestamp::now().as_millisecond();
        Mark {
            process: None,
            account: self.account.mark(),
            transcript: None,
            session: Some(Place { session, time }.to_string()),
        }
    }

    fn put(&self, _message: &Outgoing<'_>) -> Result<Option<String>, Stop> {
        Ok(None)
    }

    fn submit(&self, message: &Outgoing<'_>, mark: &Mark) -> Result<Submitted, Stop> {
        if message.command {
            return Err(Stop::refused(
                "opencode's HTTP interface takes messages, not commands",
            ));
        }
        let place = Place::of(mark).ok_or_else(|| Stop::refused("the message has no mark"))?;
        let session = self.session(&place)?;
        let native = ids::native(message.id, place.time);
        let attach = || format!("look at it: `mosaic agent attach {}`", self.agent);
        let taken = || Submitted {
            evidence: format!("opencode has it as msg_{native} in {session}"),
            accepted: true,
        };
        let choice = self.choice(&session);
        let prompt = Prompt {
            native: &native,
            id: message.id,
            text: message.text,
            agent: choice.agent,
            model: choice.model,
        };
        match self.client.prompt(&session, &prompt) {
            Ok(()) => Ok(match self.holds_it(&session, &native, client::ASK) {
                Some(true) => taken(),
                _ => Submitted {
                    evidence: "opencode took it".to_owned(),
                    accepted: false,
                },
            }),
            Err(Failure::NotSent(why)) => Err(Stop::busy(format!(
                "the message cannot be handed to `{}`: {why}",
                self.agent
            ))
            .hint(attach())),
            Err(refused @ Failure::Refused { .. }) => Err(Stop {
                reached: Reached::Nothing,
                ..Stop::refused(format!(
                    "opencode in `{}` refuses it: {refused}",
                    self.agent
                ))
            }
            .hint(attach())),
            Err(Failure::NoAnswer(why)) => match self.holds_it(&session, &native, client::ASK) {
                Some(true) => Ok(taken()),
                // It may yet be read from the connection; see `left` for what is done about that.
                _ => Err(Stop {
                    reached: match place.session {
                        Some(_) => Reached::Typed,
                        None => Reached::Unknown,
                    },
                    ..Stop::refused(format!(
                        "the message was handed to `{}`, which did not answer: {why}",
                        self.agent
                    ))
                }
                .hint(attach())),
            },
        }
    }

    /// A message whose fate is not known can be handed over again under the same ids: opencode then has
    /// it once, whether the first one arrived or not. That holds within one session only.
    fn left(&self, message: &Outgoing<'_>, mark: &Mark) -> Left {
        match Place::of(mark) {
            Some(Place {
                session: Some(_), ..
            }) if !message.command => match self.rests() {
                Ok(()) => Left::Whole,
                Err(stop) => Left::Unseen(stop),
            },
            _ => Left::Other("it may be in a session that was made for it".to_owned()),
        }
    }

    fn find(&self, message: &Outgoing<'_>, mark: &Mark) -> Found {
        // The file is cheaper than a question, and is there when the agent is not.
        if let Ok(reports) = self.account.since(mark.account) {
            let found = find_in(&reports, message.text);
            if found != Found::Nothing {
                return found;
            }
        }
        let Some(place) = Place::of(mark) else {
            return Found::Nothing;
        };
        let native = ids::native(message.id, place.time);
        let sessions = match place.session {
            Some(session) => vec![session],
            // It was made for this message, if at all.
            None => session::newest(&self.client),
        };
        for session in sessions {
            if let Ok(Some(found)) = self.client.message(&session, &native) {
                return session::answered(&self.client, &session, &native, found.text());
            }
        }
        Found::Nothing
    }
}

#[cfg(test)]
mod tests;
