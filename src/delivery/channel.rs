//! The ways into an agent. One contract for all of them, so that what decides about a delivery
//! (journal, order, receipts, what to do after a crash) knows no agent CLI and no terminal, and can be
//! tested against a scripted agent that crashes at every step.
//!
//! The steps are apart so that each can be recorded before the next one: [`Channel::ready`] does
//! nothing to the agent, [`Channel::put`] puts the message where it is not yet submitted (a paste into
//! the box; nothing for channels that hand over in one step), [`Channel::submit`] submits it,
//! [`Channel::find`] looks for it in the agent's own record.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::codex::CodexServer;
use super::held::bare;
use super::mailbox::Draft;
use super::opencode::OpencodeHttp;
use super::paste::Paste;
use super::pi::PiSocket;
use super::silence::{self, Better};
use super::stop::Stop;
use crate::install::Install;
use crate::launch::Launch;
use crate::record::Process;
use crate::record::Run;
use crate::report::{Report, What};
use crate::runtime::survey::channels;

/// A way into an agent. A runtime lists its ways, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelKind {
    /// The socket of mosaic's extension inside pi.
    PiSocket,
    /// opencode's HTTP interface.
    OpencodeHttp,
    /// codex's app-server.
    CodexServer,
    /// The guarded paste into the terminal.
    Paste,
}

impl ChannelKind {
    /// As written in YAML and printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            ChannelKind::PiSocket => "pi-socket",
            ChannelKind::OpencodeHttp => "opencode-http",
            ChannelKind::CodexServer => "codex-server",
            ChannelKind::Paste => "paste",
        }
    }
}

/// A message on its way: composed, sanitised, exactly as the agent is to get it.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Its id, the same at every attempt; channels that know ids use it against doubles.
    pub id: &'a str,
    /// The text.
    pub text: &'a str,
    /// It is a command of the agent CLI, not text for the model.
    pub command: bool,
}

/// How long the records of an agent were right before a message was put: its own record comes later
/// than this. Stored with the message, so that it can be looked for after a crash.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Position in the agent's [`crate::state::account::Account`].
    pub account: u64,
    /// The transcript and its length, where there was one.
    #[serde(default)]
    pub transcript: Option<(PathBuf, u64)>,
    /// Session, thread or conversation at that time, for channels that name one.
    #[serde(default)]
    pub session: Option<String>,
    /// The process that it is typed into.
    #[serde(default)]
    pub process: Option<Process>,
}

/// What was seen of a submitted message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// What proves it.
    pub evidence: String,
    /// The agent itself acknowledged it: it is accepted already.
    pub accepted: bool,
}

/// What the agent's own record says of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// It has it.
    Accepted {
        /// What proves it.
        evidence: String,
        /// The text as recorded, where that is known: some agent CLIs change it.
        recorded: Option<String>,
    },
    /// The turn that it began has ended.
    Answered {
        /// What proves it.
        evidence: String,
        /// The text as recorded.
        recorded: Option<String>,
        /// What the agent said last in that turn; empty where it said nothing.
        answer: String,
    },
}

/// What an attempt that broke off has left before the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// The whole message, and nothing else, or nothing that submitting it again could double: it can be
    /// submitted.
    Whole,
    /// Something else; what.
    Other(String),
    /// It cannot be seen for now; why.
    Unseen(Stop),
}

/// What came of taking back what an attempt has left before the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TakenBack {
    /// The box is empty again; what proves it.
    Done(String),
    /// It stays as it is, or as far as it was taken back by then; why.
    No(String),
    /// It cannot be seen for now; why.
    Unseen(Stop),
}

/// A way into one agent. The caller holds the agent ([`super::guard::Hold`]) from `ready` to the end of
/// `submit`.
pub trait Channel {
    /// Which one.
    fn kind(&self) -> ChannelKind;

    /// The better way that this one stands in for, where that may come yet.
    fn better(&self) -> Option<&Better> {
        None
    }

    /// Waits until the agent can take a message: it is idle, and nothing of a person's is in the way.
    /// Does nothing to the agent but end copy mode.
    ///
    /// # Errors
    /// Always [`super::stop::Reached::Nothing`]; `retry` says whether waiting longer may help.
    fn ready(&self, wait: Duration) -> Result<(), Stop>;

    /// The same, with what is to be done about a person's draft where that is in the way.
    ///
    /// # Errors
    /// As there.
    fn ready_for(&self, wait: Duration, _draft: Draft) -> Result<(), Stop> {
        self.ready(wait)
    }

    /// Whether the agent keeps a record in which messages can be found.
    fn records(&self) -> bool {
        true
    }

    /// What is on record so far.
    fn mark(&self) -> Mark;

    /// Puts the message where it is not yet submitted, and says what proves that it is there whole.
    /// Channels that hand over in one step do nothing and return `None`.
    ///
    /// # Errors
    /// `Nothing` only if certainly not a byte of it reached the agent.
    fn put(&self, message: &Outgoing<'_>) -> Result<Option<String>, Stop>;

    /// Submits what was put.
    ///
    /// # Errors
    /// `Nothing` only in channels without [`Channel::put`], and only if the agent certainly has nothing.
    fn submit(&self, message: &Outgoing<'_>, mark: &Mark) -> Result<Submitted, Stop>;

    /// What stands of a message that an attempt has put there before it broke off. May complete it,
    /// where it is certain which part of it is missing; never begins it anew.
    fn left(&self, _message: &Outgoing<'_>, _mark: &Mark) -> Left {
        Left::Other("nothing shows how far it came".to_owned())
    }

    /// Takes back what [`Channel::put`] has left of a message that nobody submitted, where nothing else
    /// stands there. A person's text is never touched.
    fn take_back(&self, _message: &Outgoing<'_>, _mark: &Mark) -> TakenBack {
        TakenBack::No("nothing can be taken back".to_owned())
    }

    /// Looks for the message in the agent's own record since the mark. Never changes anything.
    fn find(&self, message: &Outgoing<'_>, mark: &Mark) -> Found;
}

/// What a running agent recorded at its start: what each native way begins with.
///
/// # Errors
/// It does not run, or its record is damaged.
pub(super) fn running(install: &Install, agent: &str) -> Result<Run, Stop> {
    Run::load(&install.paths, agent)
        .map_err(|e| Stop::of(&e))?
        .filter(Run::alive)
        .ok_or_else(|| {
            Stop::busy(format!("`{agent}` is not running"))
                .hint(format!("`mosaic fleet start {agent}`"))
        })
}

/// The ways into an agent, best first.
pub fn ways(launch: &Launch) -> Vec<ChannelKind> {
    channels(&launch.agent.spec)
}

/// Whether messages can be delivered to agents of this runtime at all.
///
/// # Errors
/// They cannot.
pub fn supported(launch: &Launch) -> Result<(), Stop> {
    if ways(launch).is_empty() {
        let agent = launch.agent.name.as_str();
        return Err(Stop::refused(format!(
            "messages to agents of runtime `{}` are not supported",
            launch.agent.runtime
        ))
        .hint(format!(
            "type it yourself: `mosaic agent attach {agent}`; a runtime of your own needs `screen` rules in the roster's `runtimes:`"
        )));
    }
    Ok(())
}

/// Opens the best way into an agent that stands at the moment. Nothing is handed over by that, so the
/// next best one may be taken. A command of the agent CLI goes by the terminal where there is a choice.
///
/// # Errors
/// None stands: why the best one does not.
pub fn open_for<'a>(
    install: &'a Install,
    launch: &'a Launch,
    typed: bool,
) -> Result<Box<dyn Channel + 'a>, Stop> {
    supported(launch)?;
    let mut ways = ways(launch);
    if typed && ways.contains(&ChannelKind::Paste) {
        ways = vec![ChannelKind::Paste];
    }
    let mut first: Option<(ChannelKind, Stop)> = None;
    let agent = launch.agent.name.as_str();
    for kind in ways {
        let opened: Result<Box<dyn Channel + 'a>, Stop> = match kind {
            ChannelKind::PiSocket => PiSocket::connect(install, launch).map(|c| Box::new(c) as _),
            ChannelKind::Paste => {
                let better = first
                    .clone()
                    .and_then(|(kind, why)| Better::of(&install.paths, agent, kind, why));
                Paste::connect(install, launch).map(|c| Box::new(c.instead_of(better)) as _)
            }
            ChannelKind::OpencodeHttp => {
                OpencodeHttp::connect(install, launch).map(|c| Box::new(c) as _)
            }
            ChannelKind::CodexServer => {
                CodexServer::connect(install, launch).map(|c| Box::new(c) as _)
            }
        };
        match opened {
            Ok(channel) => {
                if kind != ChannelKind::Paste {
                    silence::over(&install.paths, agent);
                }
                return Ok(channel);
            }
            Err(stop) => first = first.or(Some((kind, stop))),
        }
    }
    Err(first.map(|(_, stop)| stop).unwrap_or_else(|| {
        Stop::refused(format!(
            "there is no way into `{}` that this mosaic knows",
            launch.agent.name
        ))
    }))
}

/// Looks for a message in what an agent reported since its mark: its prompt, then what was said, then
/// the end of the turn.
pub fn find_in(reports: &[Report], text: &str) -> Found {
    let Some(at) = reports
        .iter()
        .position(|r| matches!(&r.what, What::Prompt { text: got } if same(got, text)))
    else {
        return Found::Nothing;
    };
    let recorded = match &reports[at].what {
        What::Prompt { text } => Some(text.clone()),
        _ => None,
    };
    let mut answer = String::new();
    for report in &reports[at + 1..] {
        match &report.what {
            What::Answer { text } => answer.clone_from(text),
            What::Idle => {
                return Found::Answered {
                    evidence: "the agent reported the end of the turn".to_owned(),
                    recorded,
                    answer,
                };
            }
            _ => {}
        }
    }
    Found::Accepted {
        evidence: "the agent reported it".to_owned(),
        recorded,
    }
}

/// Whether an agent's report is of this text. Some put more around a message; a short one could be
/// part of another.
pub fn same(got: &str, text: &str) -> bool {
    const TELLING: usize = 20;
    let (got, want) = (bare(got), bare(text));
    got == want || (want.chars().count() >= TELLING && got.contains(&want))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_report_is_of_the_text_or_holds_a_long_one_whole() {
        assert!(same("[a:b -> a:c] go  on\n", "[a:b -> a:c] go on"));
        assert!(same(
            "<pasted>\n[a:b -> a:c] a longer message\n</pasted>",
            "[a:b -> a:c] a longer message"
        ));
        assert!(!same("yes, go on", "yes"));
        assert!(!same("", "x"));
    }

    #[test]
    fn an_answer_is_what_was_said_after_the_message_and_before_the_turn_ended() {
        let reports: Vec<Report> = [
            What::Answer { text: "old".into() },
            What::Idle,
            What::Prompt { text: "go".into() },
            What::Working,
            What::Answer {
                text: "first".into(),
            },
            What::Answer {
                text: "last".into(),
            },
            What::Idle,
            What::Answer {
                text: "later".into(),
            },
        ]
        .map(|what| Report {
            time: jiff::Timestamp::UNIX_EPOCH,
            what,
        })
        .to_vec();
        assert_eq!(find_in(&reports, "stop"), Found::Nothing);
        assert!(matches!(
            find_in(&reports[..5], "go"),
            Found::Accepted { .. }
        ));
        let Found::Answered { answer, .. } = find_in(&reports, "go") else {
            panic!("not answered");
        };
        assert_eq!(answer, "last");
    }
}
