//! What each agent looks like now, from one question to the service manager and one to tmux,
//! whatever the fleet's size.

use serde::Serialize;

use crate::approval::{self, Question};
use crate::error::Result;
use crate::fleet::Persona;
use crate::host::manager::Unit;
use crate::host::tmux::{Pane, TmuxError};
use crate::install::{Install, Mode};
use crate::launch::Launch;
use crate::record::{self, Run};
use crate::resident::Resident;
use crate::routing::policy::Policy;
use crate::services::Services;
use crate::state::{self, Evidence, State};
use crate::terminal::holder::on_a_pane_of;
use crate::terminal::pane::{Found, find};

/// Version of the JSON document.
pub const VERSION: u32 = 1;

/// Threads that read the agents' files; more than a handful only contend for the same cores.
const READERS: usize = 4;

/// The fleet.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Format version.
    pub version: u32,
    /// Who keeps the agents running.
    pub mode: Mode,
    /// The tmux server.
    pub server: Server,
    /// The courier; `null` when none runs.
    pub courier: Option<Courier>,
    /// The gateway; `null` when none runs.
    pub gateway: Option<Gateway>,
    /// The fleet has a gateway of its own.
    #[serde(skip)]
    pub wants_gateway: bool,
    /// In name order.
    pub agents: Vec<AgentStatus>,
}

/// The courier.
#[derive(Debug, Clone, Serialize)]
pub struct Courier {
    /// Its process.
    pub pid: i32,
    /// Since when it runs.
    pub since: jiff::Timestamp,
    /// mosaic's version that it is of.
    pub version: String,
}

/// The gateway.
#[derive(Debug, Clone, Serialize)]
pub struct Gateway {
    /// Its process.
    pub pid: i32,
    /// Since when it runs.
    pub since: jiff::Timestamp,
    /// mosaic's version that it is of.
    pub version: String,
    /// Where clients find it; `null` while it does not listen yet.
    pub url: Option<String>,
}

/// The tmux server.
#[derive(Debug, Clone, Serialize)]
pub struct Server {
    /// Socket path.
    pub socket: std::path::PathBuf,
    /// It answers.
    pub up: bool,
    /// systemd's words for its unit; empty without systemd.
    pub active: String,
    /// Automatic restarts.
    pub restarts: u32,
}

/// One agent.
#[derive(Debug, Clone, Serialize)]
pub struct AgentStatus {
    /// Name.
    pub name: String,
    /// Class.
    pub class: String,
    /// Runtime.
    pub runtime: String,
    /// The roster wants it to run.
    pub enabled: bool,
    /// Reset rule.
    pub persistent_persona: Persona,
    /// systemd's active state.
    pub active: String,
    /// systemd's sub state.
    pub sub: String,
    /// What the agent is doing.
    pub state: State,
    /// How that is known.
    pub evidence: Evidence,
    /// What it asks, with the options, where its state is `waiting` and its screen shows that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<Question>,
    /// Since when the unit is in its state.
    pub since: Option<jiff::Timestamp>,
    /// Automatic restarts.
    pub restarts: u32,
    /// How it ended last; absent when it never did.
    pub last_exit: Option<String>,
    /// Bytes in use by all its processes.
    pub memory: Option<u64>,
    /// Main process.
    pub pid: Option<i32>,
    /// Pane id.
    pub pane: Option<String>,
    /// Terminals that show it.
    pub viewers: u32,
    /// What is wrong with it, in words; empty when nothing is.
    pub problems: Vec<String>,
}

/// Looks.
///
/// # Errors
/// The manager does not answer. No tmux server is no error.
pub fn collect(install: &Install) -> Result<Status> {
    let (asked, known) = std::thread::scope(|scope| {
        let known = scope.spawn(|| known(install));
        (ask(install), known.join())
    });
    let units = asked.units?;
    let (panes, up) = match asked.panes? {
        Some(panes) => (panes, true),
        None => (Vec::new(), false),
    };
    let holder = units.iter().find(|u| u.name == install.holder_unit());
    let known =
        known.map_err(|_| crate::error::Error::bug("reading the launch files panicked"))??;
    let look = |known: &Known| {
        let unit_name = install.agent_unit(known.launch.agent.name.as_str());
        let unit = units.iter().find(|u| u.name == unit_name);
        agent(install, known, unit.cloned().unwrap_or_default(), &panes)
    };
    // A server that hangs is waited for: each has a thread of its own, so that one wait is enough.
    // The others only read files, a few threads' work.
    let (nodes, others): (Vec<&Known>, Vec<&Known>) = known
        .iter()
        .partition(|k| k.launch.agent.spec.health_path().is_some());
    let part = others.len().div_ceil(READERS).max(1);
    let mut agents = std::thread::scope(|scope| {
        let asked: Vec<_> = nodes
            .chunks(1)
            .chain(others.chunks(part))
            .map(|some| scope.spawn(|| some.iter().map(|k| look(k)).collect::<Vec<_>>()))
            .collect();
        asked
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .map_err(|_| crate::error::Error::bug("the look at an agent panicked"))
            })
            .collect::<Result<Vec<_>>>()
    })?
    .concat();
    agents.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Status {
        version: VERSION,
        mode: install.mode,
        server: Server {
            socket: install.socket.clone(),
            up,
            active: holder.map(|u| u.active.clone()).unwrap_or_default(),
            restarts: holder.map_or(0, |u| u.restarts),
        },
        courier: Resident::Courier.running(install).map(|r| Courier {
            pid: r.pid,
            since: r.started,
            version: r.mosaic,
        }),
        gateway: Resident::Gateway.running(install).map(|r| Gateway {
            pid: r.pid,
            since: r.started,
            version: r.mosaic,
            url: r.listens.map(|l| l.url),
        }),
        wants_gateway: Policy::load(&install.paths).is_ok_and(|p| p.gateway),
        agents,
    })
}

/// What tmux and the service manager say of the whole fleet.
#[derive(Debug)]
pub struct Asked {
    /// Every pane; `None` without a server.
    pub panes: Result<Option<Vec<Pane>>>,
    /// The agents' units, and the tmux server's.
    pub units: Result<Vec<Unit>>,
}

/// Asks both at the same time: one question takes about as long as the other.
pub fn ask(install: &Install) -> Asked {
    let tmux = install.tmux();
    std::thread::scope(|scope| {
        let panes = scope.spawn(|| tmux.panes());
        let units = Services::connect(install).and_then(|s| s.details());
        let panes = match panes.join() {
            Ok(Ok(panes)) => Ok(Some(panes)),
            Ok(Err(TmuxError::NoServer(_))) => Ok(None),
            Ok(Err(e)) => Err(e.into()),
            Err(_) => Err(crate::error::Error::bug("the question to tmux panicked")),
        };
        Asked { panes, units }
    })
}

/// What an agent does, where its unit alone tells that; `None` of one that is up.
pub fn by_unit(unit: &Unit) -> Option<(State, Evidence)> {
    let state = match unit.active.as_str() {
        "active" | "reloading" => return None,
        "activating" => State::Starting,
        "failed" => State::Failed,
        _ => State::Exited,
    };
    Some((state, unit_evidence(unit)))
}

/// What mosaic's own files say of an agent.
struct Known {
    launch: Launch,
    /// It runs with another launch file than the one on disk.
    outdated: bool,
    last_exit: Option<String>,
}

/// Reads the files of all agents: as long as the other two questions take, so it is done meanwhile.
fn known(install: &Install) -> Result<Vec<Known>> {
    crate::launch::installed(&install.paths)
        .into_iter()
        .map(|name| {
            let launch = Launch::load(&install.paths.launch(&name))?;
            let run = Run::load(&install.paths, &name).ok().flatten();
            Ok(Known {
                outdated: run.is_some_and(|r| r.digest != launch.digest()),
                last_exit: record::last_exit(&install.paths, &name).and_then(|e| e.end()),
                launch,
            })
        })
        .collect()
}

fn agent(install: &Install, known: &Known, unit: Unit, panes: &[Pane]) -> AgentStatus {
    let launch = &known.launch;
    let a = &launch.agent;
    let name = a.name.as_str();
    let pane = match find(panes, name) {
        Found::Ours(pane) => Some(pane),
        _ => None,
    };
    let up = unit.active == "active";
    let mut problems = Vec::new();
    if find(panes, name) == Found::Foreign {
        problems.push("a session of its name was not made by mosaic".to_owned());
    }
    if up && unit.main_pid > 0 && !on_a_pane_of(name, unit.main_pid, panes) {
        problems.push("active, no pane".to_owned());
    }
    if up && known.outdated {
        problems.push("runs with older settings".to_owned());
    }
    if a.enabled && unit.active == "failed" {
        problems.push(format!("failed: {}", unit.result));
    }
    let (state, evidence, question) = match by_unit(&unit) {
        Some((state, evidence)) => (state, evidence, None),
        None => {
            let mut seen = state::observe(install, launch, panes, false);
            // What it asks stands on its screen only.
            if seen.state == State::Waiting && seen.screen.is_none() {
                seen = state::observe(install, launch, panes, true);
            }
            let question = (seen.state == State::Waiting)
                .then(|| approval::asked(install, launch, seen.screen.as_ref()))
                .flatten();
            (seen.state, seen.evidence, question)
        }
    };
    AgentStatus {
        name: name.to_owned(),
        class: a.class.clone(),
        runtime: a.runtime.clone(),
        enabled: a.enabled,
        persistent_persona: a.persistent_persona,
        active: if unit.active.is_empty() {
            "inactive".into()
        } else {
            unit.active.clone()
        },
        sub: if unit.sub.is_empty() {
            "dead".into()
        } else {
            unit.sub.clone()
        },
        state,
        evidence,
        question,
        since: jiff::Timestamp::from_microsecond(unit.since_usec.try_into().unwrap_or(0))
            .ok()
            .filter(|_| unit.since_usec > 0),
        restarts: unit.restarts,
        last_exit: known.last_exit.clone(),
        memory: unit.memory.filter(|_| up),
        pid: (unit.main_pid > 0).then_some(unit.main_pid),
        pane: pane.map(|p| p.id.clone()),
        viewers: pane.map_or(0, |p| p.viewers),
        problems,
    }
}

fn unit_evidence(unit: &Unit) -> Evidence {
    let what = if unit.active.is_empty() {
        "no unit loaded".to_owned()
    } else {
        format!("{} ({})", unit.active, unit.sub)
    };
    Evidence::unit(what)
}
