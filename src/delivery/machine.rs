//! The real place of a delivery: this process, its clock, the agent's pane lock, the ways into the
//! agent, the event log.

use std::cell::RefCell;
use std::time::Duration;

use jiff::Timestamp;

use super::as_file;
use super::channel::{self, Channel, ChannelKind};
use super::compose::{Envelope, compose};
use super::deliver::{Composed, Place};
use super::guard::Hold;
use super::mailbox::{Options, Row, Stage, Style};
use super::stop::Stop;
use crate::host::owner::Owner;
use crate::install::Install;
use crate::launch::Launch;
use crate::record;
use crate::runtime::{Leading, Typing};

/// See the module.
#[derive(Debug)]
pub struct Machine<'a> {
    install: &'a Install,
    launch: &'a Launch,
    owner: Owner,
    told: RefCell<Vec<String>>,
    /// Taken before the message was stored; for the first who asks.
    early: RefCell<Option<Hold>>,
}

impl<'a> Machine<'a> {
    /// For one agent.
    pub fn new(install: &'a Install, launch: &'a Launch) -> Self {
        Self {
            install,
            launch,
            owner: Owner::this(),
            told: RefCell::new(Vec::new()),
            early: RefCell::new(None),
        }
    }

    /// Takes the agent, if nobody has it, before a message is stored: the courier, woken by that, would
    /// else be in the sender's way.
    pub fn hold_early(&self) {
        self.early.replace(self.hold().unwrap_or_default());
    }

    /// Lets go of what [`Machine::hold_early`] took and nobody has asked for since.
    pub fn let_go(&self) {
        self.early.take();
    }

    /// Ids of the messages whose stage changed here, in order.
    pub fn told_of(&self) -> Vec<String> {
        self.told.borrow().clone()
    }
}

impl Place for Machine<'_> {
    type Hold = Hold;

    fn agent(&self) -> &str {
        self.launch.agent.name.as_str()
    }

    fn owner(&self) -> &Owner {
        &self.owner
    }

    fn alive(&self, owner: &Owner) -> bool {
        owner.lives()
    }

    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn hold(&self) -> Result<Option<Hold>, Stop> {
        if let Some(hold) = self.early.take() {
            return Ok(Some(hold));
        }
        match Hold::take(self.install, self.agent(), Duration::ZERO) {
            Ok(hold) => Ok(Some(hold)),
            Err(stop) if stop.retry => Ok(None),
            Err(stop) => Err(stop),
        }
    }

    fn channel(&self, row: &Row) -> Result<Box<dyn Channel + '_>, Stop> {
        let begun = matches!(row.stage, Stage::Typing | Stage::Typed);
        let typed = begun && row.channel == Some(ChannelKind::Paste);
        channel::open_for(self.install, self.launch, typed || row.command())
    }

    fn compose(&self, row: &Row, way: ChannelKind) -> Result<Composed, Stop> {
        let whole = Text {
            id: &row.id,
            sender: &row.sender,
            host: &row.host,
            text: &row.text,
            options: &row.options,
        };
        let composed = composed(self.install, self.launch, &whole, Some(way))?;
        if let Some(file) = &composed.file {
            as_file::write(file, &row.text).map_err(|e| Stop::of(&e))?;
        }
        Ok(composed)
    }

    fn told(&self, row: &Row) {
        let mut told = self.told.borrow_mut();
        if !told.contains(&row.id) {
            told.push(row.id.clone());
        }
        // An attempt that is put off is none, and an answer is in the agent's own record.
        if matches!(row.stage, Stage::Queued | Stage::Answered) {
            return;
        }
        let mut detail = row.stage.as_str().to_owned();
        // The kickstart and the restart message are nobody's.
        if !row.sender.is_empty() {
            detail.push_str(&format!(" from {}", row.sender));
        }
        if let Some(reason) = &row.outcome.reason {
            detail.push_str(&format!(": {reason}"));
        }
        detail.push_str(&format!(" ({})", row.id));
        record::event(
            &self.install.paths,
            self.agent(),
            record::What::Command {
                verb: "send".into(),
                detail,
            },
        );
    }
}

/// A message as given, with what decides about its form.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// Of the message.
    pub id: &'a str,
    /// Who sends.
    pub sender: &'a str,
    /// The sender's host.
    pub host: &'a str,
    /// The cleaned text.
    pub text: &'a str,
    /// How it is to be delivered.
    pub options: &'a Options,
}

/// What is put before the agent for a message by a way, or by the best one that may stand when it is
/// delivered. Writes nothing.
///
/// # Errors
/// It can never be delivered as it is: it is empty, or would be a command, or is none.
pub fn composed(
    install: &Install,
    launch: &Launch,
    message: &Text<'_>,
    way: Option<ChannelKind>,
) -> Result<Composed, Stop> {
    let agent = launch.agent.name.as_str();
    // What is never typed cannot become a command.
    let text = Typing {
        bang: Leading::Text,
        slash: Leading::Text,
        ..Typing::default()
    };
    let screen = launch.agent.spec.screen.as_ref();
    let may_be_typed = match way {
        Some(way) => way == ChannelKind::Paste,
        None => {
            let channels = launch.agent.spec.channels.as_deref();
            channels.is_none_or(|all| all.iter().all(|c| *c == ChannelKind::Paste))
        }
    };
    let typing = match screen {
        Some(screen) if may_be_typed => screen.typing.clone(),
        _ => text,
    };
    let envelope = Envelope {
        host: message.host,
        sender: message.sender,
        agent,
    };
    let style = message.options.style;
    let one_line = !message.text.trim_end().contains('\n');
    if style == Style::Command && !(message.text.starts_with('/') && one_line) {
        return Err(Stop::refused("a command is one line that begins with `/`")
            .hint("leave `--command` out"));
    }
    let put = |text: &str| {
        let as_it_is = Typing {
            bang: Leading::Text,
            slash: Leading::Text,
            ..typing.clone()
        };
        let (envelope, typing) = match style {
            Style::Message => (Some(&envelope), &typing),
            Style::Bare => (None, &typing),
            Style::Raw | Style::Command => (None, &as_it_is),
        };
        compose(text, envelope, typing)
            .map_err(|refusal| Stop::refused(refusal.to_string()).hint(refusal.hint()))
    };
    if message.options.as_file || as_file::needed(message.text, &typing) {
        if style == Style::Command {
            return Err(Stop::refused("a command cannot go as a file"));
        }
        let file = as_file::path(&install.paths, agent, message.id);
        let text = put(&as_file::line(&file, message.text))?;
        return Ok(Composed {
            text,
            file: Some(file),
        });
    }
    Ok(Composed {
        text: put(message.text)?,
        file: None,
    })
}
