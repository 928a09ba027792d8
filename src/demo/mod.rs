//! The demo agent: a small TUI that behaves like the command line of a coding agent, without a
//! model behind it. With it a fleet comes up on a bare machine, and tests meet honest trouble.
//!
//! ```text
//! bytes ─keys─> input ─┐                    ┌─ records ─> transcript
//! signals, clock ──────┴─> model ─ effects ─┤
//!                                           └─ lines, view ─> render ─> bytes
//! ```
//! `model`, `keys`, `draft`, `text` and `render` are pure; `terminal`, `transcript`
//! and `daemon` touch the machine; this file joins them. It is a program of its own that happens
//! to live in this binary: it draws on its terminal itself and does not print through the rest.

mod daemon;
mod draft;
mod keys;
mod model;
mod persona;
mod render;
mod terminal;
mod text;
mod transcript;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::error::{Error, Kind};
use keys::Decoder;
use model::{Effect, Line, Model, Setup};
use persona::Personas;
use render::Painter;
use terminal::Terminal;
use transcript::{Record, Transcript};

/// How long an ESC may stay alone before it counts as the key. Terminals send a sequence in one
/// go; this only has to outlast a busy machine.
const ESCAPE_TIME: Duration = Duration::from_millis(50);

/// Lines of output kept for a terminal that does not take them; older ones are dropped.
const BACKLOG: usize = 1_000;

/// Boxed: an error is large, and every step of the loop returns one.
type Result<T> = std::result::Result<T, Box<Error>>;

/// Arguments of the demo agent.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoArgs {
    /// Transcript, one JSON object a line; created if missing, resumed if it holds messages
    #[arg(long, value_name = "FILE")]
    session: Option<PathBuf>,

    /// Scripted misbehaviour, such as `flood,slow-start=500`
    #[arg(
        long,
        value_name = "LIST",
        env = "MOSAIC_DEMO_PERSONA",
        default_value = "",
        hide_default_value = true,
        value_parser = Personas::parse
    )]
    persona: Personas,

    /// How long a turn takes, in milliseconds
    #[arg(
        long,
        value_name = "N",
        env = "MOSAIC_DEMO_THINK_MS",
        default_value_t = 300
    )]
    think_ms: u64,

    /// Never asks for approval
    #[arg(long)]
    yolo: bool,
}

/// Runs the demo agent on the terminal of standard input and output until it is told to go.
///
/// The status is 0 after Ctrl-C twice, 128 and the signal's number after a signal, 129 when the
/// terminal hangs up, 3 when a persona crashes.
pub fn run(args: DemoArgs) -> ExitCode {
    if args.persona.crash_at_start {
        return ExitCode::from(model::CRASH);
    }
    match Agent::open(args).and_then(Agent::run) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Nobody is left to tell when this fails too.
            let _ = report(&error);
            ExitCode::from(error.kind.exit_code())
        }
    }
}

fn report(error: &Error) -> std::io::Result<()> {
    let mut stderr = std::io::stderr().lock();
    writeln!(stderr, "error: {}", error.message)?;
    for cause in &error.causes {
        writeln!(stderr, "caused by: {cause}")?;
    }
    for hint in &error.hints {
        writeln!(stderr, "hint: {hint}")?;
    }
    Ok(())
}

/// The parts, and what waits to be done.
struct Agent {
    started: Instant,
    terminal: Terminal,
    transcript: Option<Transcript>,
    model: Model,
    painter: Painter,
    decoder: Decoder,
    /// When an ESC left alone becomes a key.
    escape_due: Option<Duration>,
    lines: Vec<Line>,
    records: Vec<Record>,
    exit: Option<u8>,
}

impl Agent {
    fn open(args: DemoArgs) -> Result<Self> {
        if !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
            return Err(Error::usage("the demo agent needs a terminal")
                .because("standard input or output is none")
                .hint("run it in a terminal or in a tmux pane")
                .into());
        }
        let mut transcript = None;
        let mut earlier = None;
        if let Some(path) = args.session.filter(|_| !args.persona.no_transcript) {
            let (opened, found) = Transcript::open(&path).map_err(|error| {
                Error::io(
                    format!("cannot open transcript `{}`", path.display()),
                    error,
                )
            })?;
            transcript = Some(opened);
            earlier = found;
        }
        let terminal = Terminal::open()
            .map_err(|error| Error::io("cannot take hold of the terminal", error))?;
        let model = Model::new(Setup {
            personas: args.persona,
            think: Duration::from_millis(args.think_ms),
            yolo: args.yolo,
            pid: std::process::id(),
            earlier,
            new_id: Box::new(|| uuid::Uuid::new_v4().to_string()),
        });
        Ok(Self {
            started: Instant::now(),
            painter: Painter::new(terminal.size(), model.personas()),
            terminal,
            transcript,
            model,
            decoder: Decoder::default(),
            escape_due: None,
            lines: Vec::new(),
            records: Vec::new(),
            exit: None,
        })
    }

    /// Lives to the end and gives the terminal back.
    fn run(mut self) -> Result<u8> {
        let effects = self.model.start();
        self.take(effects);
        self.append();
        if self.model.personas().daemon {
            let pid = daemon::start()
                .map_err(|error| Error::io("cannot start a process to leave behind", error))?;
            let effects = self.model.daemon(pid);
            self.take(effects);
        }
        let half = self.model.personas().slow_start.map(|time| time / 2);
        self.dawdle(half)?;
        if self.exit.is_none() {
            self.terminal
                .raw()
                .map_err(|error| Error::io("cannot set the terminal to raw mode", error))?;
            self.dawdle(half)?;
        }
        if self.exit.is_none() {
            // It may have been resized meanwhile.
            self.painter.resize(self.terminal.size());
            self.terminal.write(&self.painter.enter());
            let effects = self.model.drawn();
            self.take(effects);
        }
        let code = loop {
            if self.exit.is_none() {
                self.draw();
            }
            self.append();
            if let Some(code) = self.exit {
                break code;
            }
            self.step()?;
        };
        let goodbye = self.painter.leave(code != 0);
        self.terminal.last_words(&goodbye);
        Ok(code)
    }

    /// Lets the time pass without a look at the keyboard; signals are served.
    fn dawdle(&mut self, time: Option<Duration>) -> Result<()> {
        let Some(time) = time else {
            return Ok(());
        };
        let until = self.now() + time;
        while self.exit.is_none() && self.now() < until {
            let left = until.saturating_sub(self.now());
            self.wake(Some(left), false)?;
        }
        Ok(())
    }

    /// Waits for something to happen, and lets it happen.
    fn step(&mut self) -> Result<()> {
        let now = self.now();
        let due = [self.model.deadline(now), self.escape_due];
        let due = due.into_iter().flatten().min();
        self.wake(due.map(|due| due.saturating_sub(now)), true)?;

        let now = self.now();
        if self.escape_due.is_some_and(|due| due <= now) {
            self.escape_due = None;
            if let Some(input) = self.decoder.flush() {
                let effects = self.model.input(input, now);
                self.take(effects);
            }
        }
        let effects = self.model.tick(now);
        self.take(effects);
        Ok(())
    }

    fn wake(&mut self, timeout: Option<Duration>, read: bool) -> Result<()> {
        let wake = self
            .terminal
            .wait(timeout, read)
            .map_err(|error| Error::new(Kind::Bug, "cannot wait for input").because(error))?;
        let now = self.now();
        for signal in wake.signals {
            let effects = self.model.signal(signal);
            self.take(effects);
        }
        if wake.resized {
            self.painter.resize(self.terminal.size());
        }
        for input in self.decoder.feed(&wake.input) {
            let effects = self.model.input(input, now);
            self.take(effects);
        }
        if !wake.input.is_empty() {
            self.escape_due = self.decoder.is_undecided().then_some(now + ESCAPE_TIME);
        }
        if wake.hangup {
            let effects = self.model.hangup();
            self.take(effects);
        }
        Ok(())
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Record(record) => self.records.push(record),
                Effect::Print(line) => self.lines.push(line),
                Effect::Redraw => self.painter.redraw(),
                Effect::Exit(code) => self.exit = Some(code),
            }
        }
    }

    /// Draws, unless the terminal has not even taken the last frame.
    fn draw(&mut self) {
        if self.terminal.is_behind() {
            let older = self.lines.len().saturating_sub(BACKLOG);
            self.lines.drain(..older);
            return;
        }
        let lines = std::mem::take(&mut self.lines);
        let view = self.model.view(self.now());
        let frame = self.painter.frame(&view, lines);
        self.terminal.write(&frame);
    }

    /// Writes the records; after drawing, so that whoever reads of a state can see it.
    fn append(&mut self) {
        let records = std::mem::take(&mut self.records);
        let Some(transcript) = &mut self.transcript else {
            return;
        };
        for record in records {
            if let Err(error) = transcript.append(&record) {
                let text = format!("cannot write the transcript: {error}");
                self.lines.push(Line::Note(text));
            }
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}
