//! The pane's own program where there is no service manager: it starts the agent on the pane's
//! terminal, starts it again by the restart rule, and sees to it that nothing the agent started
//! outlives it. When the agent is down the supervisor stays, so that the pane stays.
//!
//! ```text
//! tmux server ── pane ── supervisor (`mosaic internal supervise`), no terminal, reaps orphans
//!                 │ pty      └─ `mosaic agent run NAME` ── take_over(tty) ── exec ── the agent
//! ```
//!
//! It is driven by signals ([`crate::terminal::supervised`] sends them): TERM stops the agent, USR1
//! starts it and forgets its failures, USR2 restarts it; closing the pane ends both. One agent has
//! one supervisor: a second one waits for the first to end.

mod children;
pub mod policy;
mod signals;
pub mod status;

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use children::Children;
use policy::{History, Rule, Verdict};
use signals::Signals;
use status::{Ended, State, Status};

use super::stopped;
use crate::error::{Error, Result};
use crate::host::{files, lock, process, procfs, tty};
use crate::install::Install;
use crate::launch::Launch;
use crate::record::{self, What};

/// Name the process takes once the terminal is free; also how an agent knows its parent.
pub const NAME: &std::ffi::CStr = c"mosaic-super";
/// How long a predecessor may take to end: the time it gives its agent, and some.
const PREDECESSOR: Duration = Duration::from_secs(15);

/// Supervises an agent until the pane is closed.
///
/// # Errors
/// Not in a pane of tmux; or another supervisor has the agent.
pub fn supervise(state: &Path, agent: &str) -> Result<ExitCode> {
    let install = Install::require(state)?;
    let pane = std::env::var("TMUX_PANE").map_err(|_| {
        Error::usage("a supervisor is started by tmux, in a pane of its own")
            .hint(format!("run `mosaic fleet start {agent}`"))
    })?;
    let stdin = std::io::stdin();
    let name = rustix::termios::ttyname(&stdin, Vec::new())
        .map_err(|e| Error::usage("standard input is no terminal").because(e))?;
    let terminal = PathBuf::from(name.to_string_lossy().into_owned());
    let lock = install.paths.supervisors().join(format!("{agent}.lock"));
    let _lock = lock::exclusive(&lock, &format!("the supervision of `{agent}`"), PREDECESSOR)?;

    let system = |e: std::io::Error| Error::io(format!("cannot supervise `{agent}`"), e);
    let signals = Signals::register().map_err(system)?;
    let children = Children::adopt(&install.paths.supervisors().join(format!("{agent}.notify")))
        .map_err(system)?;
    let file = tty::open(&terminal).map_err(system)?;
    tty::give_up(&stdin).map_err(system)?;
    // No directory is kept busy.
    let _ = std::env::set_current_dir("/");
    rustix::thread::set_name(NAME).map_err(|e| system(e.into()))?;

    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let status = Status {
        version: status::VERSION,
        pid,
        start_ticks: procfs::stat(pid).map_or(0, |s| s.start),
        boot: procfs::boot_id(),
        pane: pane.clone(),
        state: State::Starting,
        child: None,
        starts: 0,
        restarts: 0,
        last: None,
        since: jiff::Timestamp::now(),
        next_start: None,
    };
    Supervisor {
        state: state.to_owned(),
        agent: agent.to_owned(),
        rule: Launch::load(&install.paths.launch(agent))
            .ok()
            .map(|l| Rule::of(&l.agent)),
        install,
        pane,
        terminal,
        file,
        signals,
        children,
        history: History::default(),
        clock: Instant::now(),
        due: None,
        hooked: false,
        status,
    }
    .run()
    .map_err(system)
}

struct Supervisor {
    state: PathBuf,
    agent: String,
    install: Install,
    pane: String,
    terminal: PathBuf,
    file: File,
    signals: Signals,
    children: Children,
    /// As last read; `None` as long as there was no readable launch file.
    rule: Option<Rule>,
    history: History,
    clock: Instant,
    /// When the next start is due.
    due: Option<Instant>,
    /// The readiness hook was started for the running agent.
    hooked: bool,
    status: Status,
}

impl Supervisor {
    fn run(mut self) -> std::io::Result<ExitCode> {
        self.start();
        loop {
            let timeout = match self.due {
                _ if self.signals.pending() => Some(Duration::ZERO),
                due => due.map(|d| d.saturating_duration_since(Instant::now())),
            };
            if self
                .signals
                .wait(self.file.as_fd(), self.children.ready_fd(), timeout)?
            {
                self.close();
                return Ok(ExitCode::SUCCESS);
            }
            self.children.reap();
            if let Some(status) = self.children.take_ended() {
                self.died(Ended::of(status));
            }
            if self.children.take_ready() && self.status.state == State::Starting {
                self.ready();
            }
            if self.status.state == State::Starting && self.ran_hook() {
                self.enter(State::Running);
            }
            if self.signals.take_stop() {
                self.stop();
            }
            if self.signals.take_restart() {
                // Not recorded as stopped in between: who waits for the start would believe it.
                self.halt();
                self.start_by_hand();
            }
            if self.signals.take_start() {
                if matches!(self.status.state, State::Starting | State::Running) {
                    // Who asks may do so because the record is lost.
                    self.look_up_install();
                    self.enter(self.status.state);
                } else {
                    self.start_by_hand();
                }
            }
            if self.due.is_some_and(|due| due <= Instant::now()) {
                self.status.restarts = self.status.restarts.saturating_add(1);
                self.start();
            }
        }
    }

    fn start_by_hand(&mut self) {
        self.history.reset();
        self.status.restarts = 0;
        self.start();
    }

    /// What the installation says now counts: the program or the records may have moved.
    fn look_up_install(&mut self) {
        if let Ok(install) = Install::require(&self.state) {
            self.install = install;
        }
    }

    /// Starts the agent; what goes wrong is treated as its death.
    fn start(&mut self) {
        self.look_up_install();
        self.due = None;
        self.history.started(self.clock.elapsed());
        self.status.starts = self.status.starts.saturating_add(1);
        self.hooked = false;
        let mut command = self.command(&["agent", "run"]);
        command
            .arg("--pane")
            .arg(&self.pane)
            .arg("--tty")
            .arg(&self.terminal)
            .arg(&self.agent);
        match self.children.start(command) {
            Ok(will_tell) => {
                self.status.child = self.children.main();
                self.enter(State::Starting);
                if !will_tell {
                    self.ready();
                }
            }
            Err(e) => {
                record::event(
                    &self.install.paths,
                    &self.agent,
                    What::Refused { why: e.to_string() },
                );
                stopped::banner(&self.file, &format!("{}: {e}", self.agent));
                self.died(Ended::never_ran("resources"));
            }
        }
    }

    /// The agent has its terminal: waits in the background until it stands at its prompt, as the
    /// units' `ExecStartPost=` does. Failure of that is no failure of the agent.
    fn ready(&mut self) {
        let mut command = self.command(&["internal", "started"]);
        command.arg(&self.agent);
        self.hooked = true;
        if let Err(e) = self.children.start_hook(command) {
            tracing::warn!("{e}");
        }
    }

    fn ran_hook(&self) -> bool {
        self.hooked && !self.children.hook()
    }

    /// The agent ended by itself.
    fn died(&mut self, ended: Ended) {
        self.status.child = None;
        // Nothing of it may stand on the terminal beside its successor.
        self.children.end_all(&self.signals, true);
        if let Ok(launch) = Launch::load(&self.install.paths.launch(&self.agent)) {
            self.rule = Some(Rule::of(&launch.agent));
        }
        stopped::log(&self.install, &self.agent, &ended.words());
        let verdict = match &self.rule {
            Some(rule) => policy::decide(rule, &mut self.history, &ended, self.clock.elapsed()),
            None => Verdict::Failed {
                why: "it has no launch file".into(),
                limit: false,
            },
        };
        let mut next = String::new();
        if let Verdict::Again { after } = &verdict
            && after.as_secs() > 0
        {
            next = format!("; starting again in {} s", after.as_secs_f64());
        }
        stopped::leave(&self.file, &self.agent, &ended.words(), &next);
        let described = ended.words().describe();
        self.status.last = Some(ended);
        match verdict {
            Verdict::Again { after } => {
                self.due = Some(Instant::now() + after);
                self.status.next_start = jiff::Timestamp::now().checked_add(after).ok();
                self.enter(State::Backoff);
            }
            Verdict::Done => self.enter(State::Stopped),
            Verdict::Failed { why, limit } => {
                if limit {
                    self.status.last = self
                        .status
                        .last
                        .take()
                        .map(|e| e.with_result("start-limit-hit"));
                }
                let agent = &self.agent;
                stopped::banner(
                    &self.file,
                    &format!(
                        "{agent} failed: {why}; last: {described} · mosaic fleet start {agent}"
                    ),
                );
                self.enter(State::Failed);
            }
        }
    }

    /// Somebody wants the agent down; the pane stays.
    fn stop(&mut self) {
        self.halt();
        self.enter(State::Stopped);
    }

    fn halt(&mut self) {
        self.look_up_install();
        self.due = None;
        if let Some(ended) = self.end_agent() {
            stopped::log(&self.install, &self.agent, &ended.words());
            stopped::leave(&self.file, &self.agent, &ended.words(), "");
            self.status.last = Some(ended);
        }
    }

    /// The pane was closed: there is nothing to supervise an agent on.
    fn close(&mut self) {
        let was_up = !matches!(self.status.state, State::Stopped | State::Failed);
        let ended = self.end_agent();
        if let Some(ended) = &ended {
            stopped::log(&self.install, &self.agent, &ended.words());
        }
        if was_up {
            self.status.last = Some(
                ended
                    .unwrap_or(Ended::never_ran(""))
                    .with_result("pane-closed"),
            );
            self.enter(State::Failed);
        } else {
            self.enter(self.status.state);
        }
    }

    /// Ends the agent and everything it has started. `None` when it was not up.
    fn end_agent(&mut self) -> Option<Ended> {
        let mut in_time = true;
        if self.children.main().is_some() {
            self.enter(State::Stopping);
            in_time = self.children.hang_up(&self.signals);
        }
        self.children.end_all(&self.signals, in_time);
        self.status.child = None;
        let ended = Ended::of(self.children.take_ended()?);
        Some(if in_time {
            ended
        } else {
            ended.with_result("timeout")
        })
    }

    /// `mosaic WORDS --state STATE`.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = process::command(&self.install.mosaic);
        command.args(words).arg("--state").arg(&self.state);
        command
    }

    /// Changes the state and says so. A record that cannot be written must not stop an agent.
    fn enter(&mut self, state: State) {
        if state != State::Backoff {
            self.status.next_start = None;
        }
        if state != self.status.state {
            self.status.state = state;
            self.status.since = jiff::Timestamp::now();
        }
        let path = self.install.paths.supervisor(&self.agent);
        if let Err(e) = files::write_record(&path, files::to_json(&self.status).as_bytes()) {
            tracing::warn!("{e}");
        }
    }
}
