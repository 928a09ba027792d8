//! Learns at once when an agent's state may have changed, and says how. What an agent writes of
//! itself, its run record and its death wake the watcher (inotify, pidfds); a slow look at everything
//! is the safety net, and finds what only a title or a screen tells. Panes are looked at more often
//! only for agents that somebody waits for.
//!
//! ```text
//! files of accounts ─ inotify ─┐
//! run records ────── inotify ──┤
//! processes ──────── pidfds ───┼─> due ─> one list of panes ─> state::observe ─> Change
//! clock ── slow look, polls ───┘
//! ```

mod files;
mod lives;
mod screens;
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, poll};
use serde::Serialize;

pub use files::{Topic, Wanted};
pub use screens::Asks;

use files::Files;
use lives::Lives;
use screens::Screens;
use watched::Watched;

use crate::error::{Error, Result};
use crate::host::process::timespec;
use crate::host::tmux::Pane;
use crate::install::Install;
use crate::launch;
use crate::state::{Evidence, Life, State, observe_by};
use crate::terminal::pane::{Found, find};

/// Between two slow looks at everything. What only they find is nothing anybody waits for.
const SLOW: Duration = Duration::from_secs(5);
/// Between two looks at an agent that somebody waits for and that writes no files: its pane or its
/// port is all there is. A person hardly notices it, and a look costs a fraction of a millisecond.
const POLL: Duration = Duration::from_millis(200);
/// The same for an agent that writes files: only what it does not write (a broken-off turn) is found.
const SLOW_POLL: Duration = Duration::from_secs(1);
/// Least time between two looks at one agent that somebody waits for: a turn writes many lines.
const SOON: Duration = Duration::from_millis(15);
/// The same for all others.
const RELAXED: Duration = Duration::from_millis(250);

/// A change of an agent's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// When it was seen.
    pub time: Timestamp,
    /// The agent.
    pub agent: String,
    /// What it did before; `None` at the first look.
    pub from: Option<State>,
    /// What it does now.
    pub to: State,
    /// Why that is believed.
    pub evidence: Evidence,
}

/// What woke the caller.
#[derive(Debug, Default)]
pub struct Woken {
    /// Changes of state, in the order they were seen.
    pub changes: Vec<Change>,
    /// What else may have changed, of that which was asked for: the event log, the mailbox, who is in
    /// the fleet.
    pub topics: BTreeSet<Topic>,
    /// One of the caller's own descriptors is ready, or a signal came.
    pub called: bool,
}

impl Woken {
    fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.topics.is_empty() && !self.called
    }
}

/// A descriptor of the caller's that wakes it.
#[derive(Debug, Clone, Copy)]
pub enum Other<'a> {
    /// When it can be read.
    Read(BorrowedFd<'a>),
    /// When its other end is closed.
    Closed(BorrowedFd<'a>),
}

/// Which agents are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// Whoever is installed, as that changes.
    Everybody,
    /// These.
    Only(BTreeSet<String>),
}

/// Watches agents.
pub struct Watcher {
    install: Install,
    whom: Whom,
    agents: BTreeMap<String, Watched>,
    files: Files,
    screens: Screens,
    lives: Lives,
    waited: BTreeSet<String>,
    slow: Instant,
}

impl Watcher {
    /// Begins. The first [`Watcher::next`] gives each agent's present state.
    ///
    /// # Errors
    /// The system has no more inotify instances for this user.
    pub fn new(install: &Install, whom: Whom, asks: Asks) -> Result<Self> {
        let files = Files::new().map_err(|e| {
            Error::io("cannot watch files", e)
                .hint("raise the limit: `sysctl fs.inotify.max_user_instances`")
        })?;
        let mut watcher = Self {
            install: install.clone(),
            whom,
            agents: BTreeMap::new(),
            files,
            screens: Screens::new(install, asks),
            lives: Lives::default(),
            waited: BTreeSet::new(),
            slow: Instant::now() + SLOW,
        };
        let launches = Wanted::Any(install.paths.state.join("launch"));
        watcher
            .files
            .want(&Topic::Fleet, BTreeSet::from([launches]));
        watcher.reload();
        Ok(watcher)
    }

    /// From now on changes of these files are told as this topic.
    pub fn also(&mut self, topic: &Topic, files: BTreeSet<Wanted>) {
        self.files.want(topic, files);
    }

    /// Somebody waits for a change of these agents, and of no others: they are looked at more often
    /// where nothing tells by itself.
    pub fn wait_for(&mut self, agents: BTreeSet<String>) {
        if self.waited == agents {
            return;
        }
        let now = Instant::now();
        for (name, watched) in &mut self.agents {
            if agents.contains(name) && !self.waited.contains(name) {
                watched.due(now);
            }
        }
        self.waited = agents;
    }

    /// What an agent was seen doing last; `None` for one that is not watched.
    pub fn state(&self, agent: &str) -> Option<(State, &Evidence)> {
        let (state, evidence) = self.agents.get(agent)?.seen.as_ref()?;
        Some((*state, evidence))
    }

    /// Whether an agent was observed since then.
    pub fn seen_since(&self, agent: &str, then: Instant) -> bool {
        self.agents
            .get(agent)
            .is_some_and(|w| w.seen.is_some() && w.looked > then)
    }

    /// Names of the agents that are watched.
    pub fn agents(&self) -> impl Iterator<Item = &str> {
        self.agents.keys().map(String::as_str)
    }

    /// An agent's launch file, as it is now.
    pub fn launch(&self, agent: &str) -> Option<&launch::Launch> {
        Some(&self.agents.get(agent)?.launch)
    }

    /// An agent is looked at as soon as may be.
    pub fn look_at(&mut self, agent: &str) {
        if let Some(watched) = self.agents.get_mut(agent) {
            watched.due(Instant::now());
        }
    }

    /// Waits until something has changed, one of `others` can be read, or the time has come.
    ///
    /// # Errors
    /// The system's. What tmux or the service manager do not tell is asked again later.
    pub fn next(&mut self, others: &[Other<'_>], until: Option<Instant>) -> Result<Woken> {
        let mut woken = Woken::default();
        loop {
            let now = Instant::now();
            if now >= self.slow {
                self.slow = now + SLOW;
                self.look(true, &mut woken);
            } else if self.agents.values().any(|w| w.is_due(now)) {
                self.look(false, &mut woken);
            }
            if !woken.is_empty() || until.is_some_and(|t| Instant::now() >= t) {
                return Ok(woken);
            }
            self.sleep(others, until, &mut woken)?;
        }
    }

    /// Sleeps until something may have happened, and notes what.
    fn sleep(
        &mut self,
        others: &[Other<'_>],
        until: Option<Instant>,
        woken: &mut Woken,
    ) -> Result<()> {
        let next = self
            .agents
            .values()
            .filter_map(Watched::when)
            .chain(until)
            .fold(self.slow, Instant::min);
        let control = self.screens.fd();
        let lives: Vec<(&String, BorrowedFd<'_>)> = self
            .agents
            .iter()
            .filter_map(|(name, w)| Some((name, w.process()?)))
            .collect();
        let files = self.files.inotify().as_fd();
        let mut fds: Vec<PollFd<'_>> = [files]
            .into_iter()
            .map(|fd| (fd, PollFlags::IN))
            .chain(others.iter().map(|other| match other {
                Other::Read(fd) => (*fd, PollFlags::IN),
                Other::Closed(fd) => (*fd, PollFlags::empty()),
            }))
            .chain(lives.iter().map(|(_, fd)| (*fd, PollFlags::IN)))
            .chain(control.as_ref().map(|c| (c.as_fd(), PollFlags::IN)))
            .map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags))
            .collect();
        let left = next.saturating_duration_since(Instant::now());
        match poll(&mut fds, Some(&timespec(left))) {
            Ok(0) => return Ok(()),
            // The caller may want to look at a flag that the signal has set.
            Err(rustix::io::Errno::INTR) => {
                woken.called = true;
                return Ok(());
            }
            Ok(_) => {}
            Err(e) => return Err(Error::io("cannot wait for changes", e)),
        }
        let ready: Vec<bool> = fds.iter().map(|f| !f.revents().is_empty()).collect();
        drop(fds);
        let (own, rest) = ready.split_at(1 + others.len());
        woken.called |= own[1..].iter().any(|r| *r);
        let gone: Vec<String> = lives
            .iter()
            .zip(rest)
            .filter(|(_, ready)| **ready)
            .map(|((name, _), _)| (*name).clone())
            .collect();
        let spoke = control.is_some() && rest.last() == Some(&true);
        let now = Instant::now();
        for name in gone {
            if let Some(watched) = self.agents.get_mut(&name) {
                watched.ended();
                watched.due(now);
            }
        }
        if spoke && self.screens.drain() {
            // The server is gone, and every agent with it.
            self.slow = now;
        }
        if own[0] {
            self.note(woken);
        }
        Ok(())
    }

    /// Takes what the files tell.
    fn note(&mut self, woken: &mut Woken) {
        let now = Instant::now();
        for topic in self.files.changed() {
            match topic {
                Topic::Agent(name) => {
                    let pause = if self.waited.contains(&name) {
                        SOON
                    } else {
                        RELAXED
                    };
                    if let Some(watched) = self.agents.get_mut(&name) {
                        watched.due(now.max(watched.looked + pause));
                    }
                }
                Topic::Fleet => {
                    self.reload();
                    woken.topics.insert(Topic::Fleet);
                }
                other => {
                    woken.topics.insert(other);
                }
            }
        }
    }

    /// Reads the launch files again.
    fn reload(&mut self) {
        let mut names: BTreeSet<String> =
            launch::installed(&self.install.paths).into_iter().collect();
        if let Whom::Only(only) = &self.whom {
            names.retain(|n| only.contains(n));
        }
        let left: Vec<String> = self.agents.keys().cloned().collect();
        for name in left.iter().filter(|n| !names.contains(*n)) {
            self.agents.remove(name);
            self.files
                .want(&Topic::Agent(name.clone()), BTreeSet::new());
        }
        for name in names {
            let path = self.install.paths.launch(&name);
            let launch = match launch::Launch::load(&path) {
                Ok(launch) => launch,
                Err(e) => {
                    tracing::warn!("{e}");
                    continue;
                }
            };
            match self.agents.get_mut(&name) {
                Some(watched) if watched.launch == launch => {}
                Some(watched) => {
                    watched.launch = launch;
                    watched.due(Instant::now());
                }
                None => {
                    self.agents.insert(name, Watched::new(launch));
                }
            }
        }
    }

    /// Looks at the agents that are due; with `all`, also at those of which anything differs from
    /// the last look.
    fn look(&mut self, all: bool, woken: &mut Woken) {
        let now = Instant::now();
        let panes = match self.screens.panes() {
            Ok(panes) => panes,
            Err(e) => {
                tracing::warn!("{e}");
                for watched in self.agents.values_mut().filter(|w| w.is_due(now)) {
                    watched.due_not_before(now + SLOW_POLL);
                }
                return;
            }
        };
        let mut due: Vec<String> = Vec::new();
        for (name, watched) in &mut self.agents {
            let pane = match find(&panes, name) {
                Found::Ours(pane) => Some(pane),
                _ => None,
            };
            let waited = self.waited.contains(name);
            if watched.is_due(now) || all {
                let differs = watched.differs(&self.install, pane, waited, now);
                if differs || watched.is_forced(now) {
                    due.push(name.clone());
                } else {
                    watched.unchanged(now, waited);
                }
            } else if watched.titled_otherwise(pane) {
                due.push(name.clone());
            }
        }
        self.observe(&due, &panes, now, woken);
    }

    fn observe(&mut self, due: &[String], panes: &[Pane], now: Instant, woken: &mut Woken) {
        let down: Vec<&str> = due
            .iter()
            .map(String::as_str)
            .filter(|n| {
                self.agents
                    .get(*n)
                    .is_some_and(|w| w.asks_its_keeper(&self.install))
            })
            .collect();
        let mut lives = self.lives.of(&self.install, &down);
        for name in due {
            let Some(watched) = self.agents.get_mut(name) else {
                continue;
            };
            let waited = self.waited.contains(name);
            let life: Option<Life> = lives.remove(name);
            let seen = observe_by(
                &self.install,
                &watched.launch,
                life,
                panes,
                false,
                &|pane| self.screens.screen(pane),
            );
            let from = watched.seen.as_ref().map(|(state, _)| *state);
            self.files
                .want(&Topic::Agent(name.clone()), watched.files(&self.install));
            watched.saw(&seen, now, waited);
            if from != Some(seen.state) {
                woken.changes.push(Change {
                    time: Timestamp::now(),
                    agent: name.clone(),
                    from,
                    to: seen.state,
                    evidence: seen.evidence,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;
