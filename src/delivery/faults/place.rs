//! One process: its way into the scripted agent, its mailbox, its lock. Every call is a step at which it
//! may die or lose its turn, before and after what it does.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::agent::{Doing, Way};
use super::world::World;
use crate::delivery::channel::{
    Channel, ChannelKind, Found, Left, Mark, Outgoing, Submitted, TakenBack,
};
use crate::delivery::deliver::{Composed, Place};
use crate::delivery::mailbox::{Journal, Mailbox, NewMessage, Outcome, Row, Stage};
use crate::delivery::silence::Better;
use crate::delivery::stop::{Reached, Stop};
use crate::error::Result;
use crate::host::owner::Owner;

/// A process.
#[derive(Clone)]
pub struct Process {
    pub world: Arc<World>,
    /// Which actor it is of.
    pub me: usize,
    pub owner: Owner,
}

impl Process {
    pub fn step(&self, what: &str) {
        self.world.step(self.me, what);
    }

    fn clock(&self) -> u64 {
        self.world.state().clock
    }
}

/// The agent, until dropped.
pub struct Held(Process);

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.0.world.state();
        if state.held == Some(self.0.owner.pid) {
            state.held = None;
        }
    }
}

impl Place for Process {
    type Hold = Held;

    fn agent(&self) -> &str {
        "a"
    }

    fn owner(&self) -> &Owner {
        &self.owner
    }

    fn alive(&self, owner: &Owner) -> bool {
        self.world.state().living.contains(&owner.pid)
    }

    fn now(&self) -> Timestamp {
        self.world.now()
    }

    fn sleep(&self, time: Duration) {
        self.world.sleep(self.me, time);
    }

    fn hold(&self) -> std::result::Result<Option<Held>, Stop> {
        self.step("hold");
        let mut state = self.world.state();
        if state.held.is_some() {
            return Ok(None);
        }
        state.held = Some(self.owner.pid);
        drop(state);
        Ok(Some(Held(self.clone())))
    }

    fn channel(&self, row: &Row) -> std::result::Result<Box<dyn Channel + '_>, Stop> {
        self.step("channel");
        let state = self.world.state();
        let silent = !state.agent.up() || state.agent.silent.is_some();
        let begun = matches!(row.stage, Stage::Typing | Stage::Typed);
        let typed = begun && row.channel == Some(ChannelKind::Paste);
        let since = state.agent.silent.map_or(state.clock, |(since, _)| since);
        let (kind, better) = match state.agent.way {
            Way::Socket if !state.agent.up() => return Err(Stop::busy("nobody answers")),
            Way::Socket => (ChannelKind::PiSocket, None),
            Way::Both if !typed && !silent => (ChannelKind::PiSocket, None),
            Way::Both if !typed => {
                let better = Better {
                    kind: ChannelKind::PiSocket,
                    why: Stop::busy("the socket is silent"),
                    silent: Duration::from_millis(state.clock.saturating_sub(since)),
                };
                (ChannelKind::Paste, Some(better))
            }
            Way::Box | Way::Both => (ChannelKind::Paste, None),
        };
        Ok(Box::new(Wire {
            process: self.clone(),
            kind,
            better,
            ready: std::cell::Cell::new(0),
        }))
    }

    fn compose(&self, row: &Row, way: ChannelKind) -> std::result::Result<Composed, Stop> {
        // Where there is a choice, the box takes one of the texts for a command.
        let both = self.world.state().agent.way == Way::Both;
        if both && way == ChannelKind::Paste && row.text == "twin" {
            return Err(Stop::refused("a command"));
        }
        Ok(Composed {
            text: format!("<{}>", row.text),
            file: None,
        })
    }

    fn told(&self, row: &Row) {
        self.step(&format!("told {} {}", row.id, row.stage.as_str()));
    }
}

/// The way in.
struct Wire {
    process: Process,
    kind: ChannelKind,
    better: Option<Better>,
    /// The agent's process that was found ready.
    ready: std::cell::Cell<u32>,
}

/// A text in the pieces it is pasted in.
fn pieces(text: &str) -> Vec<&str> {
    let third = text.len().div_ceil(3);
    text.as_bytes()
        .chunks(third)
        .filter_map(|c| std::str::from_utf8(c).ok())
        .collect()
}

/// Whether a line of the record is taken for a message: it may have more after it, as with real
/// agents, see [`crate::delivery::channel::same`].
fn holds(line: &str, message: &str) -> bool {
    line.starts_with(message.trim_end_matches('>'))
}

impl Wire {
    fn busy(doing: &Doing) -> Stop {
        Stop::busy(format!("it is {doing:?}"))
    }

    fn vanished(&self) -> bool {
        self.process.world.state().agent.process != self.ready.get()
    }

    fn paste(&self, text: &str, from: usize) -> std::result::Result<(), Stop> {
        let all = pieces(text);
        let mut done = all[..from].concat();
        for piece in &all[from..] {
            self.process.step(&format!("paste {piece}"));
            if self.vanished() {
                return Err(Stop {
                    reached: Reached::Nothing,
                    ..Stop::busy("it vanished")
                });
            }
            let mut state = self.process.world.state();
            // A dialog swallows what is pasted.
            let state_ = &mut *state;
            if !matches!(state_.agent.doing, Doing::Dialog(_)) {
                let lost = state_.agent.lossy && !state_.agent.calm && state_.dice.one_in(6);
                let most = if lost { piece.len() / 2 } else { piece.len() };
                state_.agent.text.push_str(&piece[..most]);
            }
            drop(state);
            done.push_str(piece);
            self.process.step("look");
            let state = self.process.world.state();
            if state.agent.text != done {
                let shown = state.agent.text.clone();
                drop(state);
                if self.vanished() {
                    return Err(Stop::busy("it vanished"));
                }
                return Err(Stop::typed(format!("the box shows `{shown}`")));
            }
        }
        Ok(())
    }
}

impl Channel for Wire {
    fn kind(&self) -> ChannelKind {
        self.kind
    }

    fn better(&self) -> Option<&Better> {
        self.better.as_ref()
    }

    fn ready(&self, _wait: Duration) -> std::result::Result<(), Stop> {
        self.process.step("ready");
        let state = self.process.world.state();
        self.ready.set(state.agent.process);
        match &state.agent.doing {
            Doing::Idle if state.agent.text.is_empty() => Ok(()),
            Doing::Idle if self.kind == ChannelKind::PiSocket => Ok(()),
            Doing::Idle => Err(Stop::busy("a draft stands in the box")),
            other => Err(Self::busy(other)),
        }
    }

    fn mark(&self) -> Mark {
        self.process.step("mark");
        let clock = self.process.clock();
        Mark {
            account: self.process.world.state().agent.readable(clock) as u64,
            process: Some(crate::record::Process {
                pid: i32::try_from(self.ready.get()).unwrap_or(0),
                start_ticks: 0,
            }),
            ..Mark::default()
        }
    }

    fn put(&self, message: &Outgoing<'_>) -> std::result::Result<Option<String>, Stop> {
        if self.kind() == ChannelKind::PiSocket {
            return Ok(None);
        }
        self.paste(message.text, 0)?;
        Ok(Some("the box held it".to_owned()))
    }

    fn submit(&self, message: &Outgoing<'_>, _mark: &Mark) -> std::result::Result<Submitted, Stop> {
        if self.kind() == ChannelKind::PiSocket {
            self.process.step("hand over");
            let mut state = self.process.world.state();
            let state = &mut *state;
            let silent = state.agent.silent.is_some();
            if state.agent.process != self.ready.get() || !state.agent.up() || silent {
                return Err(Stop::busy("nobody answers"));
            }
            if state.agent.doing != Doing::Idle {
                return Err(Self::busy(&state.agent.doing));
            }
            if !state.agent.ids.iter().any(|i| i == message.id) {
                state.agent.ids.push(message.id.to_owned());
                state
                    .agent
                    .take(message.text.to_owned(), state.clock, &mut state.dice);
            }
            // The answer may be lost on its way.
            if state.dice.one_in(12) {
                return Err(Stop::unknown("it did not answer"));
            }
            return Ok(Submitted {
                evidence: "it took it".to_owned(),
                accepted: true,
            });
        }
        let mut process = self.ready.get();
        for enters in 0..3 {
            self.process.step("last look");
            let state = self.process.world.state();
            if process == 0 {
                process = state.agent.process;
            }
            if state.agent.process != process {
                return Err(match enters {
                    0 if self.ready.get() != 0 => Stop::busy("it vanished"),
                    _ => Stop::unknown("it vanished"),
                });
            }
            if state.agent.doing != Doing::Idle || state.agent.text != message.text {
                return Err(Stop::typed("Enter was not pressed"));
            }
            drop(state);
            // No step between the look and the key: the guard looks right before it presses.
            {
                let mut state = self.process.world.state();
                let state = &mut *state;
                state.agent.enter(state.clock, &mut state.dice);
            }
            self.process.step("Enter");
            let state = self.process.world.state();
            if state.agent.process != process {
                return Err(Stop::unknown("it vanished after Enter"));
            }
            if state.agent.text.is_empty() {
                return Ok(Submitted {
                    evidence: "the box let it go".to_owned(),
                    accepted: false,
                });
            }
            if state.agent.text != message.text {
                return Err(Stop::typed("the box shows something else"));
            }
        }
        Err(Stop::typed("the box still holds it"))
    }

    fn left(&self, message: &Outgoing<'_>, _mark: &Mark) -> Left {
        if self.kind() == ChannelKind::PiSocket {
            return Left::Other("nothing shows".to_owned());
        }
        self.process.step("what is left");
        let state = self.process.world.state();
        self.ready.set(0);
        if state.agent.doing != Doing::Idle {
            return Left::Unseen(Self::busy(&state.agent.doing));
        }
        let shown = state.agent.text.clone();
        self.ready.set(state.agent.process);
        drop(state);
        if shown == message.text {
            return Left::Whole;
        }
        let all = pieces(message.text);
        match (1..all.len()).find(|n| all[..*n].concat() == shown) {
            Some(from) => match self.paste(message.text, from) {
                Ok(()) => Left::Whole,
                Err(stop) => Left::Unseen(stop),
            },
            None => Left::Other(format!("its box shows `{shown}`")),
        }
    }

    fn take_back(&self, message: &Outgoing<'_>, mark: &Mark) -> TakenBack {
        let mut last: Option<String> = None;
        for _ in 0..8 {
            self.process.step("look before a key");
            let mut state = self.process.world.state();
            if mark.process.as_ref().map(|p| p.pid) != i32::try_from(state.agent.process).ok() {
                return TakenBack::No("it vanished".to_owned());
            }
            if state.agent.doing != Doing::Idle {
                return TakenBack::Unseen(Self::busy(&state.agent.doing));
            }
            let shown = state.agent.text.clone();
            let ours = match &last {
                None => !shown.is_empty() && message.text.starts_with(&shown),
                Some(last) => last.starts_with(&shown),
            };
            if !ours {
                return TakenBack::No(format!("its box shows `{shown}`"));
            }
            if shown.is_empty() {
                return TakenBack::Done("the box is empty".to_owned());
            }
            // No step between the look and the key.
            state.agent.clear();
            last = Some(shown);
        }
        TakenBack::No("it is not emptied".to_owned())
    }

    fn find(&self, message: &Outgoing<'_>, mark: &Mark) -> Found {
        self.process.step("find");
        let state = self.process.world.state();
        if self.kind == ChannelKind::PiSocket && state.agent.ids.iter().any(|i| i == message.id) {
            return Found::Accepted {
                evidence: "it says so".to_owned(),
                recorded: None,
            };
        }
        let from = usize::try_from(mark.account).unwrap_or(usize::MAX);
        let line = state
            .agent
            .record
            .iter()
            .filter(|l| l.from <= state.clock)
            .skip(from)
            .find(|l| holds(&l.text, message.text));
        match line {
            None => Found::Nothing,
            Some(l) if l.ends <= state.clock => Found::Answered {
                evidence: "its turn ended".to_owned(),
                recorded: Some(l.text.clone()),
                answer: "done".to_owned(),
            },
            Some(l) => Found::Accepted {
                evidence: "its record has it".to_owned(),
                recorded: Some(l.text.clone()),
            },
        }
    }
}

/// The mailbox of a process.
pub enum Box_ {
    /// Scripted; as durable as the real one.
    Memory(Process),
    /// The real one.
    Sqlite(Process, Mailbox),
}

impl Box_ {
    pub fn sqlite(process: &Process, path: &Path) -> Self {
        let poke = path.with_extension("poke");
        let mailbox = Mailbox::at(path, &poke).expect("a mailbox");
        Self::Sqlite(process.clone(), mailbox)
    }

    fn process(&self) -> &Process {
        match self {
            Self::Memory(p) | Self::Sqlite(p, _) => p,
        }
    }

    pub fn enqueue(&self, id: &str, text: &str) -> Result<Row> {
        self.process().step(&format!("enqueue {id}"));
        let new = NewMessage {
            id: Some(id.to_owned()),
            agent: "a".to_owned(),
            text: text.to_owned(),
            ..NewMessage::default()
        };
        let row = match self {
            Self::Sqlite(_, mailbox) => mailbox.enqueue(&new)?,
            Self::Memory(p) => {
                let now = p.world.now();
                let mut state = p.world.state();
                match state.rows.iter().find(|r| r.id == id) {
                    Some(row) => row.clone(),
                    None => {
                        let row = Row {
                            id: id.to_owned(),
                            agent: "a".to_owned(),
                            seq: state.rows.len() as i64 + 1,
                            revision: 0,
                            sender: String::new(),
                            host: String::new(),
                            chat: None,
                            text: text.to_owned(),
                            options: new.options,
                            stage: Stage::Queued,
                            composed: None,
                            mark: None,
                            channel: None,
                            outcome: Outcome::default(),
                            created: now,
                            changed: now,
                            expires: None,
                            attempts: 0,
                            owner: None,
                        };
                        state.rows.push(row.clone());
                        row
                    }
                }
            }
        };
        self.process().step(&format!("enqueued {id}"));
        Ok(row)
    }

    pub fn cancel(&self, id: &str) -> Result<Row> {
        self.process().step(&format!("cancel {id}"));
        loop {
            let mut row = self.row(id)?.expect("a row");
            if row.stage != Stage::Queued {
                return Ok(row);
            }
            row.stage = Stage::Cancelled;
            if self.save(&mut row)? {
                return Ok(row);
            }
        }
    }

    pub fn all(&self) -> Vec<Row> {
        match self {
            Self::Memory(p) => p.world.state().rows.clone(),
            Self::Sqlite(_, mailbox) => mailbox
                .list(None, crate::delivery::mailbox::Which::All)
                .expect("the list"),
        }
    }
}

impl Journal for Box_ {
    fn row(&self, id: &str) -> Result<Option<Row>> {
        self.process().step("read");
        match self {
            Self::Memory(p) => Ok(p.world.state().rows.iter().find(|r| r.id == id).cloned()),
            Self::Sqlite(_, mailbox) => mailbox.row(id),
        }
    }

    fn open_rows(&self, agent: &str, since: Timestamp) -> Result<Vec<Row>> {
        self.process().step("read all");
        match self {
            Self::Memory(p) => {
                let state = p.world.state();
                let open = |r: &&Row| {
                    r.stage.pending()
                        || (matches!(r.stage, Stage::Submitted | Stage::Uncertain)
                            && r.changed >= since)
                };
                Ok(state.rows.iter().filter(open).cloned().collect())
            }
            Self::Sqlite(_, mailbox) => mailbox.open_rows(agent, since),
        }
    }

    fn save(&self, row: &mut Row) -> Result<bool> {
        let p = self.process();
        p.step(&format!("save {} {}", row.id, row.stage.as_str()));
        let saved = match self {
            Self::Memory(p) => {
                let mut state = p.world.state();
                match state
                    .rows
                    .iter_mut()
                    .find(|r| r.id == row.id && r.revision == row.revision)
                {
                    Some(old) => {
                        row.revision += 1;
                        old.clone_from(row);
                        true
                    }
                    None => false,
                }
            }
            Self::Sqlite(_, mailbox) => mailbox.save(row)?,
        };
        p.step(if saved { "saved" } else { "not saved" });
        Ok(saved)
    }
}
