//! The demo agent as a state machine: input, signals and time in, effects out. Pure.
//!
//! It owns draft, turns, queue, dialog and personas. Bytes are left to [`super::keys`] and
//! [`super::render`], files to [`super::transcript`], the machine to [`super::terminal`]. Times are
//! counted from the start of the process.

use std::collections::VecDeque;
use std::time::Duration;

use super::draft::Draft;
use super::keys::Input;
use super::persona::Personas;
use super::transcript::{Earlier, Reason, Record, State};

/// What the approval dialog asks.
pub const QUESTION: &str = "Do you want to proceed?";

/// A message that holds this makes the agent ask.
const ASK: &str = "PLEASE ASK";

/// A message that holds this finds the provider refusing; a number behind it is for how many
/// milliseconds, else until the turn is broken off.
const LIMIT: &str = "PLEASE LIMIT";

/// A message that holds this and a number is worked on for so many milliseconds.
const WORK: &str = "PLEASE WORK";

/// Between two pictures of the spinner, as in Claude Code.
const SPINNER_STEP: Duration = Duration::from_millis(120);

/// Spinner pictures for each picture in the title.
const TITLE_STEPS: u32 = 8;

/// A second Ctrl-C counts as such for this long.
const QUIT_WINDOW: Duration = Duration::from_secs(2);

/// Between two lines of the `flood` persona.
const FLOOD_STEP: Duration = Duration::from_millis(5);

/// Status of the crashing personas.
pub const CRASH: u8 = 3;

/// Characters of a first line that an answer repeats.
const ECHO_CHARS: usize = 200;

/// What a process starts with.
pub struct Setup {
    pub personas: Personas,
    /// How long a turn takes.
    pub think: Duration,
    /// Never asks.
    pub yolo: bool,
    pub pid: u32,
    /// The conversation to go on with.
    pub earlier: Option<Earlier>,
    /// Makes an id for a conversation.
    pub new_id: Box<dyn FnMut() -> String>,
}

/// What the process has to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Append to the transcript.
    Record(Record),
    /// Print above the box.
    Print(Line),
    /// Draw everything anew.
    Redraw,
    /// End with this status; nothing follows.
    Exit(u8),
}

/// A piece of output, broken into rows by the renderer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    User(String),
    Answer(String),
    Note(String),
}

/// Signals the agent knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Hangup,
    Interrupt,
    Quit,
    Terminate,
}

impl Signal {
    pub const ALL: [Signal; 4] = [
        Signal::Hangup,
        Signal::Interrupt,
        Signal::Quit,
        Signal::Terminate,
    ];

    /// The number, the same on every Linux.
    pub const fn number(self) -> u8 {
        match self {
            Signal::Hangup => 1,
            Signal::Interrupt => 2,
            Signal::Quit => 3,
            Signal::Terminate => 15,
        }
    }

    /// The exit status the shell's convention gives it.
    const fn code(self) -> u8 {
        128 + self.number()
    }
}

/// What is to be seen, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub bottom: Bottom,
    /// First lines of the queued messages.
    pub queued: Vec<String>,
    /// None: the title is left alone.
    pub title: Option<&'static str>,
}

/// The live rows at the bottom of the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bottom {
    Box {
        text: String,
        /// In characters of `text`.
        cursor: usize,
        /// Shown dim in an empty box.
        placeholder: Option<&'static str>,
        /// Time in the turn, and the spinner's step.
        working: Option<(Duration, u32)>,
        /// The turn waits for the provider.
        limited: bool,
        status: String,
    },
    Dialog {
        /// The row the menu cursor is on.
        highlighted: usize,
        /// First line of what is asked about.
        about: Option<String>,
    },
}

enum Phase {
    Idle,
    Working {
        since: Duration,
        until: Duration,
        text: String,
        limited: bool,
    },
    Waiting {
        highlighted: usize,
        /// The message the dialog is about; none at the start.
        text: Option<String>,
    },
}

/// The agent.
pub struct Model {
    setup: Setup,
    draft: Draft,
    /// A draft that was put aside, until the next message is submitted.
    aside: Option<Draft>,
    phase: Phase,
    queue: VecDeque<String>,
    session: String,
    /// No earlier conversation and no reset so far.
    first_session: bool,
    /// In this conversation.
    messages: u64,
    /// By this process.
    accepted: u64,
    swallow_enter: bool,
    quit_hint_until: Option<Duration>,
    next_flood: Duration,
    flooded: u64,
    recorded: Option<State>,
    exited: bool,
    effects: Vec<Effect>,
}

impl Model {
    /// An agent that has not started yet.
    pub fn new(mut setup: Setup) -> Self {
        let (session, messages) = match &setup.earlier {
            Some(earlier) => (earlier.id.clone(), earlier.messages),
            None => ((setup.new_id)(), 0),
        };
        let mut draft = Draft::default();
        if let Some(text) = &setup.personas.draft {
            draft.paste(text, Duration::ZERO);
        }
        let phase = if setup.personas.dialog_open {
            Phase::Waiting {
                highlighted: 0,
                text: None,
            }
        } else {
            Phase::Idle
        };
        Self {
            first_session: setup.earlier.is_none(),
            draft,
            aside: None,
            phase,
            queue: VecDeque::new(),
            session,
            messages,
            accepted: 0,
            swallow_enter: false,
            quit_hint_until: None,
            next_flood: Duration::ZERO,
            flooded: 0,
            recorded: None,
            exited: false,
            effects: Vec::new(),
            setup,
        }
    }

    pub fn personas(&self) -> &Personas {
        &self.setup.personas
    }

    /// The process lives: before the prompt is drawn.
    pub fn start(&mut self) -> Vec<Effect> {
        let reason = match self.setup.earlier {
            Some(_) => Reason::Resume,
            None => Reason::Start,
        };
        self.record_session(reason);
        if self.messages > 0 {
            self.note(format!("resumed: {} messages", self.messages));
        }
        std::mem::take(&mut self.effects)
    }

    /// The prompt is drawn: the first state.
    pub fn drawn(&mut self) -> Vec<Effect> {
        self.finish()
    }

    /// The `daemon` persona's process runs.
    pub fn daemon(&mut self, pid: u32) -> Vec<Effect> {
        self.record(Record::Daemon { pid });
        std::mem::take(&mut self.effects)
    }

    /// One key or paste.
    pub fn input(&mut self, input: Input, now: Duration) -> Vec<Effect> {
        if self.exited {
            return Vec::new();
        }
        if input == Input::CtrlL {
            self.effects.push(Effect::Redraw);
        } else if let Phase::Waiting { .. } = self.phase {
            self.dialog_input(&input, now);
        } else {
            self.box_input(input, now);
        }
        self.finish()
    }

    /// A signal arrived. None of the effects: it is ignored.
    pub fn signal(&mut self, signal: Signal) -> Vec<Effect> {
        let personas = &self.setup.personas;
        let ignored = match signal {
            Signal::Hangup => personas.ignore_term || personas.never_exit_on_hangup,
            Signal::Terminate => personas.ignore_term,
            Signal::Interrupt | Signal::Quit => false,
        };
        if !ignored {
            let code = match signal {
                Signal::Hangup if personas.exit_0_on_hangup => 0,
                signal => signal.code(),
            };
            self.exit(code, Some(signal));
        }
        std::mem::take(&mut self.effects)
    }

    /// The terminal is gone. No effects: the agent lives on without one.
    ///
    /// The kernel sends a session leader SIGHUP as well, sooner or later than this is seen; the
    /// same end is told either way.
    pub fn hangup(&mut self) -> Vec<Effect> {
        let personas = &self.setup.personas;
        if personas.never_exit_on_hangup {
            return Vec::new();
        }
        if personas.ignore_term {
            self.exit(Signal::Hangup.code(), None);
            return std::mem::take(&mut self.effects);
        }
        self.signal(Signal::Hangup)
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration) -> Vec<Effect> {
        if self.exited {
            return Vec::new();
        }
        if self.quit_hint_until.is_some_and(|until| until <= now) {
            self.quit_hint_until = None;
        }
        if self.floods() && self.next_flood <= now {
            self.flooded += 1;
            self.next_flood = now + FLOOD_STEP;
            self.print(Line::Answer(format!("flood {}", self.flooded)));
        }
        if let Phase::Working { until, .. } = self.phase
            && until <= now
            && let Phase::Working { text, .. } = std::mem::replace(&mut self.phase, Phase::Idle)
        {
            let answer = answer(&text);
            self.print(Line::Answer(answer.clone()));
            self.record(Record::Assistant { text: answer });
            self.next_turn(now);
        }
        self.finish()
    }

    /// When [`Model::tick`] is due; None: nothing is timed.
    pub fn deadline(&self, now: Duration) -> Option<Duration> {
        let (turn, spinner) = match &self.phase {
            Phase::Working { since, until, .. } => {
                let next = since.saturating_add(SPINNER_STEP * (step(*since, now) + 1));
                (Some(*until), Some(next))
            }
            Phase::Idle | Phase::Waiting { .. } => (None, None),
        };
        let flood = self.floods().then_some(self.next_flood);
        let echo = self.draft.next_shown(now);
        let due = [turn, spinner, flood, echo, self.quit_hint_until];
        due.into_iter().flatten().min()
    }

    /// What is to be seen.
    pub fn view(&self, now: Duration) -> View {
        let working = match &self.phase {
            Phase::Working { since, .. } => Some((now.saturating_sub(*since), step(*since, now))),
            Phase::Idle | Phase::Waiting { .. } => None,
        };
        let title = match working {
            None => "✳ demo",
            Some((_, step)) if (step / TITLE_STEPS).is_multiple_of(2) => "⠂ demo",
            Some(_) => "⠐ demo",
        };
        let bottom = if let Phase::Waiting { highlighted, text } = &self.phase {
            Bottom::Dialog {
                highlighted: *highlighted,
                about: text.as_deref().map(first_line),
            }
        } else {
            let (text, cursor) = self.draft.shown(now);
            Bottom::Box {
                placeholder: self.first_session.then_some("Try \"hello\""),
                text,
                cursor,
                working,
                limited: matches!(self.phase, Phase::Working { limited: true, .. }),
                status: match self.quit_hint_until {
                    Some(_) => "press ctrl-c again to quit".into(),
                    None => format!("demo · {} messages · ? for help", self.messages),
                },
            }
        };
        View {
            bottom,
            queued: self.queue.iter().map(|text| first_line(text)).collect(),
            title: (!self.setup.personas.no_title).then_some(title),
        }
    }

    fn box_input(&mut self, input: Input, now: Duration) {
        let hinted = self.quit_hint_until.take().is_some_and(|until| now < until);
        match input {
            Input::Char(c) => self.draft.insert(c),
            Input::NewLine => self.draft.insert('\n'),
            Input::Paste(mut text) => {
                let kept = self.setup.personas.cut_first_paste;
                let at = kept.and_then(|n| text.char_indices().nth(usize::try_from(n).ok()?));
                if let Some((at, _)) = at {
                    text.truncate(at);
                    self.setup.personas.cut_first_paste = None;
                }
                let late = self.setup.personas.late_echo;
                self.draft.paste(
                    &text,
                    late.map_or(Duration::ZERO, |late| now.saturating_add(late)),
                );
                let personas = &self.setup.personas;
                self.swallow_enter = personas.swallow_first_enter || personas.complete_first_enter;
            }
            Input::Enter if std::mem::take(&mut self.swallow_enter) => {
                if self.setup.personas.complete_first_enter {
                    "in.rs ".chars().for_each(|c| self.draft.insert(c));
                }
            }
            Input::Enter if self.draft.take_backslash() => self.draft.insert('\n'),
            Input::Enter => self.submit(now),
            Input::Backspace => self.draft.backspace(),
            Input::Delete => self.draft.delete(),
            Input::CtrlU => self.draft.clear(),
            Input::CtrlS if self.draft.is_empty() => {
                self.draft = self.aside.take().unwrap_or_default();
            }
            Input::CtrlS => self.aside = Some(std::mem::take(&mut self.draft)),
            Input::Left => self.draft.left(),
            Input::Right => self.draft.right(),
            Input::Home => self.draft.home(),
            Input::End => self.draft.end(),
            Input::CtrlC if !self.draft.is_empty() => self.draft.clear(),
            Input::Escape | Input::CtrlC if matches!(self.phase, Phase::Working { .. }) => {
                self.phase = Phase::Idle;
                self.note("interrupted".into());
                self.record(Record::Interrupted);
                self.next_turn(now);
            }
            Input::CtrlC if hinted => self.exit(0, None),
            Input::CtrlC => self.quit_hint_until = Some(now + QUIT_WINDOW),
            Input::Escape | Input::Up | Input::Down | Input::CtrlL => {}
        }
    }

    /// Swallows all but its own keys, pastes included, as the real dialogs do.
    fn dialog_input(&mut self, input: &Input, now: Duration) {
        let Phase::Waiting { highlighted, .. } = &mut self.phase else {
            return;
        };
        let yes = match input {
            Input::Up => {
                *highlighted = 0;
                return;
            }
            Input::Down => {
                *highlighted = 1;
                return;
            }
            Input::Enter => *highlighted == 0,
            Input::Char('1' | 'y') => true,
            Input::Char('2' | 'n') | Input::Escape => false,
            _ => return,
        };
        let Phase::Waiting { text, .. } = std::mem::replace(&mut self.phase, Phase::Idle) else {
            return;
        };
        self.record(if yes {
            Record::Approved
        } else {
            Record::Denied
        });
        match text {
            Some(text) if yes => self.work(text, now),
            _ => {
                self.note(if yes { "approved" } else { "denied" }.into());
                self.next_turn(now);
            }
        }
    }

    /// Takes the draft: at once when idle, else into the queue.
    fn submit(&mut self, now: Duration) {
        let mut text = self.draft.text();
        if self.setup.personas.expand_tabs {
            text = text.replace('\t', "    ");
        }
        if text.trim().is_empty() {
            return;
        }
        if let Command::Unknown(word) = Command::of(&text) {
            self.note(format!("unknown command: {word}"));
            return;
        }
        self.draft = self.aside.take().unwrap_or_default();
        match self.phase {
            Phase::Idle => self.dispatch(text, now),
            Phase::Working { .. } | Phase::Waiting { .. } => {
                self.record(Record::Queued { text: text.clone() });
                self.queue.push_back(text);
            }
        }
    }

    fn dispatch(&mut self, text: String, now: Duration) {
        match Command::of(&text) {
            Command::Reset(reason) => {
                self.session = (self.setup.new_id)();
                self.messages = 0;
                self.first_session = false;
                self.record_session(reason);
                self.note("context cleared".into());
            }
            Command::Help => self.note(HELP.into()),
            Command::Shell => {
                self.note(format!("{text}\nshell commands are not run here"));
                self.record(Record::Shell { text });
            }
            Command::Unknown(_) | Command::None => self.accept(text, now),
        }
    }

    fn accept(&mut self, text: String, now: Duration) {
        self.messages += 1;
        self.accepted += 1;
        self.print(Line::User(text.clone()));
        self.record(Record::User {
            text: text.clone(),
            session: self.session.clone(),
        });
        if self.setup.personas.crash_after == Some(self.accepted) {
            self.exited = true;
            self.effects.push(Effect::Exit(CRASH));
        } else if text.contains(ASK) && !self.setup.yolo {
            self.phase = Phase::Waiting {
                highlighted: 0,
                text: Some(text),
            };
        } else {
            self.work(text, now);
        }
    }

    fn work(&mut self, text: String, now: Duration) {
        let limit = asked(&text, LIMIT).map(|time| time.unwrap_or(Duration::MAX));
        let time = limit.or_else(|| asked(&text, WORK).flatten());
        self.phase = Phase::Working {
            since: now,
            until: now.saturating_add(time.unwrap_or(self.setup.think)),
            text,
            limited: limit.is_some(),
        };
    }

    fn next_turn(&mut self, now: Duration) {
        while !self.exited
            && matches!(self.phase, Phase::Idle)
            && let Some(text) = self.queue.pop_front()
        {
            self.dispatch(text, now);
        }
    }

    fn floods(&self) -> bool {
        self.setup.personas.flood && !matches!(self.phase, Phase::Waiting { .. })
    }

    fn exit(&mut self, code: u8, signal: Option<Signal>) {
        if !self.exited {
            self.exited = true;
            self.record(Record::Exit {
                code,
                signal: signal.map(|signal| i32::from(signal.number())),
            });
            self.effects.push(Effect::Exit(code));
        }
    }

    fn record_session(&mut self, reason: Reason) {
        let id = self.session.clone();
        let record = Record::session(id, reason, self.setup.pid, self.messages);
        self.record(record);
    }

    fn record(&mut self, record: Record) {
        self.effects.push(Effect::Record(record));
    }

    fn print(&mut self, line: Line) {
        self.effects.push(Effect::Print(line));
    }

    fn note(&mut self, text: String) {
        self.print(Line::Note(text));
    }

    /// Records the state if it changed, and hands the effects out.
    fn finish(&mut self) -> Vec<Effect> {
        let (state, question) = match self.phase {
            Phase::Idle => (State::Idle, None),
            Phase::Working { limited: true, .. } => (State::Limited, None),
            Phase::Working { .. } => (State::Working, None),
            Phase::Waiting { .. } => (State::Waiting, Some(QUESTION)),
        };
        if !self.exited && self.recorded != Some(state) {
            self.recorded = Some(state);
            self.record(Record::State { state, question });
        }
        std::mem::take(&mut self.effects)
    }
}

const HELP: &str = "enter sends, \\ and enter adds a line, esc interrupts, ctrl-u clears the box
/clear and /new reset the context, ctrl-c twice quits
a message with `PLEASE ASK` opens the approval dialog, one with `PLEASE LIMIT` is refused by the provider,
one with `PLEASE WORK 9000` takes 9 s";

/// What a text asks the agent itself to do.
enum Command<'a> {
    Reset(Reason),
    Help,
    Shell,
    /// A word in the shape of a command that is none.
    Unknown(&'a str),
    /// A message.
    None,
}

impl<'a> Command<'a> {
    fn of(text: &'a str) -> Self {
        let word = text.split_whitespace().next().unwrap_or_default();
        let name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if text.starts_with('!') {
            return Self::Shell;
        }
        if text == "?" {
            return Self::Help;
        }
        // A path such as `/etc/hosts` is text.
        match text.strip_prefix('/') {
            Some(rest) if rest.starts_with(name) && word[1..].chars().all(name) => match word {
                "/clear" => Self::Reset(Reason::Clear),
                "/new" => Self::Reset(Reason::New),
                "/help" => Self::Help,
                _ => Self::Unknown(word),
            },
            _ => Self::None,
        }
    }
}

/// The milliseconds behind a word, where the text holds it; `None` inside where no number follows.
fn asked(text: &str, word: &str) -> Option<Option<Duration>> {
    let (_, rest) = text.split_once(word)?;
    let number = rest.split_whitespace().next().and_then(|n| n.parse().ok());
    Some(number.map(Duration::from_millis))
}

fn first_line(text: &str) -> String {
    text.split('\n').next().unwrap_or_default().to_owned()
}

fn answer(text: &str) -> String {
    let line = first_line(text);
    let mut first: String = line.chars().take(ECHO_CHARS).collect();
    if first.len() < line.len() {
        first.push('…');
    }
    let lines = text.lines().count();
    format!("echo: {first} ({lines} lines, {} bytes)", text.len())
}

/// Spinner steps since the turn began.
fn step(since: Duration, now: Duration) -> u32 {
    let steps = now.saturating_sub(since).as_millis() / SPINNER_STEP.as_millis();
    u32::try_from(steps).unwrap_or(u32::MAX - 1)
}

#[cfg(test)]
mod tests;
