//! Observes the nodes: whether each can take a chat, how far away it is, how busy its machine is. What a
//! node would say of itself is not asked for; the observer measures.
//!
//! ```text
//! launch files, ports ─ known ──┐
//! tmux, manager, reports ─ look ┼─> Advert
//! health routes ─ server ───────┤
//! /proc, statvfs ─ host::load ──┘
//! ```
//!
//! Everything is asked at the same time and nothing is waited for beyond the time given, whatever hangs.

mod known;
mod late;
mod look;
mod server;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

pub use known::{Endpoint, Known};

use super::node::{Advert, Health, Load};
use crate::delivery::send::host_name;
use crate::error::Result;
use crate::host::load::{self, Meter};
use crate::install::Install;
use crate::state::State;
use known::Files;
use late::Late;
use look::{Looked, Seen, look};
use server::{Found, Server};

/// Longest time for an observation: a node that needs more has no place among those that answer in
/// milliseconds, and a client that waits for its chat is waiting for this too.
pub const LONGEST: Duration = Duration::from_secs(1);

/// What counts as the load where the system does not tell: nothing is placed on what is not known.
const UNTOLD: f64 = 100.0;

/// Observes the nodes of this host.
pub struct Observer {
    install: Install,
    host: String,
    files: Files,
    nodes: Vec<Known>,
    servers: BTreeMap<String, Server>,
    looking: Late<Looked>,
    disks: BTreeMap<PathBuf, Late<Option<u64>>>,
    meter: Meter,
}

impl std::fmt::Debug for Observer {
    /// Without the servers, which hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observer")
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}

impl Observer {
    /// Of an installed fleet; the nodes are read, and none is asked yet.
    ///
    /// # Errors
    /// As of [`Observer::refresh`].
    pub fn new(install: &Install) -> Result<Self> {
        let mut observer = Self {
            install: install.clone(),
            host: host_name(),
            files: Files::default(),
            nodes: Vec::new(),
            servers: BTreeMap::new(),
            looking: Late::default(),
            disks: BTreeMap::new(),
            meter: Meter::default(),
        };
        observer.refresh()?;
        Ok(observer)
    }

    /// Reads the files again that are other ones than before. A damaged one makes its node unfit and leaves
    /// the others alone.
    ///
    /// # Errors
    /// None at present; what can be read of a fleet may change.
    pub fn refresh(&mut self) -> Result<()> {
        self.nodes = self.files.nodes(&self.install.paths, &self.host);
        let nodes = &self.nodes;
        self.servers
            .retain(|id, server| nodes.iter().any(|k| k.node.id == *id && server.is_of(k)));
        for known in nodes {
            if !self.servers.contains_key(&known.node.id)
                && let Some(server) = Server::of(known)
            {
                self.servers.insert(known.node.id.clone(), server);
            }
        }
        self.disks
            .retain(|dir, _| nodes.iter().any(|k| k.node.working_directory == *dir));
        Ok(())
    }

    /// The nodes, in the order of their names: every enabled agent is one.
    pub fn nodes(&self) -> &[Known] {
        &self.nodes
    }

    /// Observes all nodes, for about `wait` at most, which is never more than [`LONGEST`]. The processor's
    /// load is that since the observation before; the first one samples it for a tenth of a second.
    pub fn observe(&mut self, wait: Duration) -> Vec<Advert> {
        let wait = wait.min(LONGEST);
        let deadline = Instant::now() + wait;
        self.begin();
        let sample = self.meter.begin().min(wait);
        // A server that hangs is waited for: each has a thread of its own, so that one wait is enough.
        let mut found: BTreeMap<String, Found> = std::thread::scope(|scope| {
            let asked: Vec<_> = self
                .servers
                .iter_mut()
                .map(|(id, server)| (id.clone(), scope.spawn(move || server.ask(wait))))
                .collect();
            std::thread::sleep(sample);
            let answers = asked.into_iter();
            answers
                .filter_map(|(id, thread)| Some((id, thread.join().ok()?)))
                .collect()
        });
        let cpu = self.meter.read().unwrap_or(UNTOLD);
        let answered = Timestamp::now();
        let mut looked = self.looking.answer(deadline);
        let mut disks: BTreeMap<&PathBuf, Option<u64>> = BTreeMap::new();
        for (dir, asked) in &mut self.disks {
            disks.insert(dir, asked.answer(deadline).flatten());
        }
        let memory = load::memory_used_pct().unwrap_or(UNTOLD);
        self.nodes
            .iter()
            .map(|known| {
                let id = &known.node.id;
                let seen = looked.as_mut().and_then(|l| l.agents.remove(id));
                let disk = disks.get(&known.node.working_directory).copied().flatten();
                let load = Load {
                    cpu_load_pct: cpu,
                    memory_used_pct: memory,
                    disk_available_bytes: disk.unwrap_or(0),
                    agent_memory_bytes: seen.as_ref().and_then(|s| s.memory),
                    agent_cpu_seconds: seen.as_ref().and_then(|s| s.cpu_seconds),
                };
                let looked_at = looked.as_ref().map(|l| l.at);
                let answer = Answer {
                    known,
                    seen,
                    found: found.remove(id),
                    wait,
                };
                let observed = match answer.known.is_server() {
                    true => answered,
                    // An answer may be that to a question of an earlier observation.
                    false => looked_at.unwrap_or(answered),
                };
                answer.advert(observed, load)
            })
            .collect()
    }

    /// Asks what may hang, unless it still does.
    fn begin(&mut self) {
        let install = self.install.clone();
        let launches: Vec<_> = self.nodes.iter().map(|k| Arc::clone(&k.launch)).collect();
        self.looking.ask(move || look(&install, &launches));
        for known in &self.nodes {
            let dir = &known.node.working_directory;
            if !self.disks.contains_key(dir) {
                self.disks.insert(dir.clone(), Late::default());
            }
        }
        for (dir, asked) in &mut self.disks {
            let dir = dir.clone();
            asked.ask(move || load::disk_available(&dir));
        }
    }
}

/// What is known of one node after an observation.
struct Answer<'a> {
    known: &'a Known,
    seen: Option<Seen>,
    found: Option<Found>,
    wait: Duration,
}

impl Answer<'_> {
    fn advert(&self, observed: Timestamp, load: Load) -> Advert {
        let (health, state) = match &self.known.damaged {
            Some(why) => (Health::Unfit(why.clone()), State::Unknown),
            None if self.known.is_server() => self.server(),
            None => self.screen(),
        };
        Advert {
            id: self.known.node.id.clone(),
            observed,
            health,
            load,
            rtt_ms: self.found.as_ref().map_or(0.0, |f| f.rtt_ms),
            state: state.as_str().to_owned(),
        }
    }

    /// Of a server: its own answer tells, and of one that gives none whoever keeps it.
    fn server(&self) -> (Health, State) {
        let kept = self.seen.as_ref().and_then(|s| Some((s.state?, &s.health)));
        let Some(found) = &self.found else {
            let why = match (&self.known.endpoint, kept) {
                (_, Some((_, Health::Refused(why)))) => why.clone(),
                (None, _) => "it has no port: it was never started".to_owned(),
                (Some(_), _) => "it was not asked".to_owned(),
            };
            return (Health::Refused(why), kept.map_or(State::Exited, |k| k.0));
        };
        match (&found.health, kept) {
            (Health::Healthy, kept) => (Health::Healthy, kept.map_or(State::Idle, |k| k.0)),
            (Health::Refused(why), Some((state, Health::Refused(kept)))) => {
                (Health::Refused(format!("{kept}; {why}")), state)
            }
            (health, Some((state, _))) => (health.clone(), state),
            (health, None) => (health.clone(), State::Unknown),
        }
    }

    /// Of a plain TUI.
    fn screen(&self) -> (Health, State) {
        match &self.seen {
            Some(seen) => (seen.health.clone(), seen.state.unwrap_or(State::Unknown)),
            None => {
                let ms = self.wait.as_millis();
                let why = format!("neither tmux nor the service manager answered within {ms} ms");
                (Health::Timeout(why), State::Unknown)
            }
        }
    }
}

#[cfg(test)]
mod tests;
